//! What the transport room is configured with: addresses to listen on, and TLS towards clients and servers.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix-domain socket (`<directory>/.s.PGSQL.<port>`, so that libpq finds it), and its mode.
    Unix {
        /// The socket's path.
        path: PathBuf,
        /// The socket file's permission bits, such as `0o777`.
        mode: u32,
    },
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix { path, .. } => write!(f, "{}", path.display()),
        }
    }
}

/// Whether a client shows a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientCertificate {
    /// Never asked for.
    #[default]
    None,
    /// Asked for; verified when shown.
    Optional,
    /// Asked for; no connection without.
    Required,
}

/// TLS on the client's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// PEM file with the certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// PEM file of the authorities that client certificates are verified against.
    pub client_ca: Option<PathBuf>,
    /// Whether clients show a certificate.
    pub client_certificate: ClientCertificate,
    /// Refuse TCP clients that do not ask for TLS.
    pub required: bool,
}

/// libpq's `sslmode`.
/// <https://www.postgresql.org/docs/current/libpq-ssl.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// Never.
    Disable,
    /// Plain first, TLS if the server refuses plain.
    Allow,
    /// TLS first, plain if the server has none.
    #[default]
    Prefer,
    /// TLS, certificate not verified.
    Require,
    /// TLS, chain verified.
    VerifyCa,
    /// TLS, chain and host name verified.
    VerifyFull,
}

/// TLS on the server's side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerTls {
    /// When TLS is used and what is verified.
    pub mode: TlsMode,
    /// PEM file of the authorities trusted; the system's web roots when absent.
    pub ca: Option<PathBuf>,
    /// PEM file with the certificate shown to the server.
    pub certificate: Option<PathBuf>,
    /// PEM file with that certificate's key.
    pub key: Option<PathBuf>,
}
