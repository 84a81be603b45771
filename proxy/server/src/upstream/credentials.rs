//! What proves to a server that a connection may act for a user.

use std::fmt;

/// Proof of identity for a server login, in the strongest form known.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Nothing: the server trusts, or asks for a certificate.
    #[default]
    None,
    /// The password itself.
    Password(String),
    /// `md5` and the digest of password and user name: answers md5 challenges.
    Md5(String),
    /// The keys of a SCRAM login (RFC 5802): the client's from its own proof, the server's from the verifier.
    ScramKeys {
        /// `ClientKey`.
        client_key: [u8; 32],
        /// `ServerKey`.
        server_key: [u8; 32],
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Password(_) => "Password(..)",
            Self::Md5(_) => "Md5(..)",
            Self::ScramKeys { .. } => "ScramKeys(..)",
        })
    }
}
