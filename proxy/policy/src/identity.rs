//! Who asks.

use std::net::IpAddr;

/// A session, as rules see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity<'a> {
    /// The user who logged in.
    pub user: &'a str,
    /// The database that the client asked for.
    pub database: &'a str,
    /// `application_name`.
    pub application: &'a str,
    /// The client's address; `None` for a Unix-domain socket.
    pub client: Option<IpAddr>,
}
