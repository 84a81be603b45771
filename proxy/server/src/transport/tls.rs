//! TLS set-up: certificates and keys from PEM files to rustls configurations, for clients and for servers.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config::{ClientCertificate, ClientTls, ServerTls, TlsMode};
use super::stream::Plain;

mod certificate;
#[cfg(test)]
mod tests;
mod verify;

pub use certificate::{common_name, end_point_hash};

/// PostgreSQL's protocol name in ALPN; PostgreSQL 17 asks for it where TLS comes before the first packet.
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>
const ALPN: &[u8] = b"postgresql";

/// Where distributions keep the authorities that the system trusts, the usual ones first.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A file has not what it should have.
    #[error("{}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        message: String,
    },
    /// A server's host is neither a DNS name nor an IP address.
    #[error("`{0}` is neither a DNS name nor an IP address")]
    Host(String),
}

/// What accepting TLS from clients takes.
#[derive(Debug, Clone)]
pub struct Acceptance {
    /// For `tokio_rustls::TlsAcceptor`.
    pub config: Arc<ServerConfig>,
    /// `tls-server-end-point` data of the certificate shown, for SCRAM-SHA-256-PLUS; none for a certificate whose
    /// signature names no hash (Ed25519).
    pub end_point_hash: Option<Vec<u8>>,
}

/// TLS towards clients: 1.2 and 1.3, no resumption (no client of PostgreSQL uses it, and tickets cost bytes at each login).
///
/// # Errors
/// A file that cannot be read, or is not a certificate chain with its key.
pub fn acceptance(tls: &ClientTls) -> Result<Acceptance, TlsError> {
    let chain = read_certificates(&tls.certificate)?;
    let key = read_key(&tls.key)?;
    let end_point_hash = chain.first().and_then(|leaf| end_point_hash(leaf));
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| content(&tls.certificate, error))?;
    let builder = match (&tls.client_ca, tls.client_certificate) {
        (Some(ca), ClientCertificate::Optional | ClientCertificate::Required) => {
            let roots = Arc::new(read_roots(ca)?.0);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::new(default_provider()));
            let verifier = match tls.client_certificate {
                ClientCertificate::Optional => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| content(ca, error))?)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config =
        builder.with_single_cert(chain, key).map_err(|error| key_error(&tls.key, &tls.certificate, error))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Acceptance { config: Arc::new(config), end_point_hash })
}

/// TLS towards a server; `None` where the mode never uses it.
///
/// # Errors
/// A file that cannot be read, or has not what it should have.
pub fn connection(tls: &ServerTls) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    let verifier: Arc<dyn ServerCertVerifier> = match tls.mode {
        TlsMode::Disable => return Ok(None),
        TlsMode::Allow | TlsMode::Prefer | TlsMode::Require => Arc::new(verify::Unverified::new()),
        TlsMode::VerifyCa | TlsMode::VerifyFull => {
            let (roots, trusted) = match &tls.ca {
                Some(path) => read_roots(path)?,
                None => (system_roots().clone(), Vec::new()),
            };
            Arc::new(verify::Verified::new(roots, trusted, tls.mode == TlsMode::VerifyFull))
        }
    };
    let subject = tls.certificate.as_deref().unwrap_or(Path::new("TLS"));
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| content(subject, error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => builder
            .with_client_auth_cert(read_certificates(certificate)?, read_key(key)?)
            .map_err(|error| key_error(key, certificate, error))?,
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Some(Arc::new(config)))
}

/// Shakes hands with a server. Files are read anew, so that a renewed certificate is shown from the next connection on.
///
/// # Errors
/// `InvalidInput` where TLS cannot be set up or the mode never uses it; else what the handshake says.
pub async fn connect(tls: &ServerTls, host: &str, plain: Plain) -> io::Result<TlsStream<Plain>> {
    let unfit = |error: TlsError| io::Error::new(io::ErrorKind::InvalidInput, error);
    let disabled = || io::Error::new(io::ErrorKind::InvalidInput, "TLS is disabled for this server");
    let config = connection(tls).map_err(unfit)?.ok_or_else(disabled)?;
    TlsConnector::from(config).connect(server_name(host).map_err(unfit)?, plain).await
}

/// The name under which a server is asked for, and verified.
///
/// # Errors
/// A host that can be neither.
pub fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Host(host.to_owned()))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| content(path, error))?;
    if chain.is_empty() {
        return Err(content(path, "no certificate in PEM form"));
    }
    Ok(chain)
}

/// A key in PKCS #8, PKCS #1 (RSA) or SEC 1 (elliptic curve) form.
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(path)?;
    if pem.windows(9).any(|window| window == b"ENCRYPTED") {
        return Err(content(path, "the private key is encrypted; store it without a passphrase"));
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => content(path, "no private key in PEM form"),
        other => content(path, other),
    })
}

/// The authorities of a file, as anchors and as they are.
fn read_roots(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsError> {
    let certificates = read_certificates(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(|error| content(path, error))?;
    }
    Ok((roots, certificates))
}

/// The system's authorities, or Mozilla's where the system keeps none; read once, for they are many.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        for path in SYSTEM_ROOTS {
            let Ok(certificates) = read_certificates(Path::new(path)) else { continue };
            let mut roots = RootCertStore::empty();
            let (added, _) = roots.add_parsable_certificates(certificates);
            if added > 0 {
                return roots;
            }
        }
        RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|cause| TlsError::Read { path: path.to_owned(), cause })
}

fn content(path: &Path, message: impl std::fmt::Display) -> TlsError {
    TlsError::Content { path: path.to_owned(), message: message.to_string() }
}

fn key_error(key: &Path, certificate: &Path, error: rustls::Error) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(_) => content(
            key,
            format!("the private key is not that of the certificate in {}", certificate.display()),
        ),
        other => content(key, other),
    }
}
