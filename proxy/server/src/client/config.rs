//! What the client room is configured with: limits before and after login, and how clients prove who they are.

use std::path::PathBuf;
use std::time::Duration;

/// Limits on what clients may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientLimits {
    /// Clients connected at once, logged in or not.
    pub clients_max: usize,
    /// Clients connected and not yet logged in.
    pub unauthenticated_max: usize,
    /// Time from accept to the end of login.
    pub login_timeout: Duration,
    /// Bytes of a startup packet (PostgreSQL: 10,000).
    pub startup_bytes_max: usize,
    /// Bytes of one message from a client (PostgreSQL: 1 GiB less one).
    pub message_bytes_max: usize,
    /// Prepared statements one client may hold.
    pub prepared_statements_max: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            clients_max: 20_000,
            unauthenticated_max: 1_000,
            login_timeout: Duration::from_secs(15),
            startup_bytes_max: 10_000,
            message_bytes_max: 0x3fff_ffff,
            prepared_statements_max: 10_000,
        }
    }
}

/// How clients prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthMethod {
    /// SCRAM-SHA-256 (and -PLUS over TLS); a user whose only secret is an md5 hash is asked for md5.
    #[default]
    Scram,
    /// md5 challenge; a user whose only secret is a SCRAM verifier is asked for SCRAM.
    Md5,
    /// Password in clear text, over TLS or a Unix-domain socket only.
    Cleartext,
    /// A TLS client certificate whose common name is the user's name.
    Certificate,
    /// No proof at all.
    Trust,
}

/// A secret as configured; what PostgreSQL keeps in `pg_authid.rolpassword`.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A password in clear text.
    Password(String),
    /// `md5` followed by the hex digest of password and user name.
    Md5(String),
    /// `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
    Verifier(String),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(..)",
            Self::Md5(_) => "Md5(..)",
            Self::Verifier(_) => "Verifier(..)",
        })
    }
}

/// One user of the YAML or of a userlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The role's name.
    pub name: String,
    /// Its secret; without one, only `Certificate` and `Trust` let it in.
    pub secret: Option<Secret>,
}

/// Where verifiers of users that are not listed come from: a query with the user's name as `$1` that
/// returns name and secret (PgBouncer's `auth_query`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthQuery {
    /// The query.
    pub sql: String,
    /// Database it runs in; the cluster's maintenance database when absent. Never the client's: a stranger names that.
    pub database: Option<String>,
    /// How long an answer is kept.
    pub keep: Duration,
}

/// Authentication of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// The method asked of every client.
    pub method: AuthMethod,
    /// Users listed in the configuration, the userlist's among them; a later one replaces an earlier.
    pub users: Vec<User>,
    /// The userlist's path, read again at reload.
    pub userlist: Option<PathBuf>,
    /// Runs as the cluster's own user (the URL's).
    pub auth_query: Option<AuthQuery>,
    /// Users who may use the admin console.
    pub admins: Vec<String>,
}
