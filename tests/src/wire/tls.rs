//! TLS for a client that speaks frames.
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Wire;
use crate::msg;
use crate::pem::Certificate;

/// What a client trusts and shows.
#[derive(Debug)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

impl TlsClient {
    /// Trusts `authority`; shows `own` when there is one.
    pub fn new(authority: &Certificate, own: Option<&Certificate>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificates(authority).remove(0)).expect("a certificate authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_root_certificates(roots);
        let config = match own {
            Some(own) => {
                let key = PrivateKeyDer::from_pem_file(&own.key).expect("a private key");
                builder.with_client_auth_cert(certificates(own), key).expect("a key that fits")
            }
            None => builder.with_no_client_auth(),
        };
        Self { config: Arc::new(config) }
    }
}

fn certificates(of: &Certificate) -> Vec<CertificateDer<'static>> {
    let found = CertificateDer::pem_file_iter(&of.certificate).expect("a PEM file");
    found.map(|certificate| certificate.expect("a certificate")).collect()
}

impl Wire {
    /// Connects, asks for TLS and shakes hands; also the hash of the server's certificate (SHA-256, as its
    /// signature uses) for channel binding.
    ///
    /// # Errors
    /// What ended the handshake.
    pub async fn connect_tls(port: u16, client: &TlsClient) -> std::io::Result<(Self, Vec<u8>)> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut answer = [0; 1];
        tokio::io::AsyncWriteExt::write_all(&mut stream, &msg::SSL_REQUEST).await?;
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await?;
        assert_eq!(answer, *b"S", "the server has TLS");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(client.config.clone()).connect(name, stream).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).expect("a certificate");
        let hash = Sha256::digest(shown.as_ref()).to_vec();
        Ok((Self::over(stream), hash))
    }
}
