//! TLS for a client that speaks frames, and for who stands between one and its server.
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

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

impl TlsClient {
    async fn connect(&self, port: u16) -> std::io::Result<TlsStream<TcpStream>> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut answer = [0; 1];
        stream.write_all(&msg::SSL_REQUEST).await?;
        stream.read_exact(&mut answer).await?;
        assert_eq!(answer, *b"S", "the server has TLS");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(self.config.clone()).connect(name, stream).await
    }

    /// Stands before the server at `port` with a certificate of its own, and passes on what either side says; returns its
    /// port. It lives as long as the test.
    pub async fn stand_between(self, port: u16, shown: &Certificate) -> u16 {
        let key = PrivateKeyDer::from_pem_file(&shown.key).expect("a private key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(certificates(shown), key)
            .expect("a key that fits");
        let (acceptor, between) = (TlsAcceptor::from(Arc::new(config)), Arc::new(self));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (acceptor, between) = (acceptor.clone(), Arc::clone(&between));
                tokio::spawn(async move {
                    let mut request = [0; 8];
                    client.read_exact(&mut request).await?;
                    client.write_all(b"S").await?;
                    let mut client = acceptor.accept(client).await?;
                    let mut server = between.connect(port).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        own
    }
}

impl Wire {
    /// Connects, asks for TLS and shakes hands; also the hash of the server's certificate (SHA-256, as its
    /// signature uses) for channel binding.
    ///
    /// # Errors
    /// What ended the handshake.
    pub async fn connect_tls(port: u16, client: &TlsClient) -> std::io::Result<(Self, Vec<u8>)> {
        let stream = client.connect(port).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).expect("a certificate");
        let hash = Sha256::digest(shown.as_ref()).to_vec();
        Ok((Self::over(stream), hash))
    }
}
