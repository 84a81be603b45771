//! Handshakes in memory, with certificates made by the openssl command.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use super::*;

/// A directory of certificates, removed at the end.
struct Authority {
    directory: PathBuf,
}

impl Drop for Authority {
    fn drop(&mut self) {
        // Nothing depends on its absence.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Authority {
    /// `ca.pem` signs `server.pem` (localhost, 127.0.0.1), `client.pem` (CN alice) and `named.pem` (CN only).
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("pointsman-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let authority = Self { directory };
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 \
            -subj /CN=authority -keyout ca.key -out ca.pem",
        );
        authority.issue("server", "/CN=server", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-sha384");
        authority.issue("client", "/CN=alice", "basicConstraints=CA:FALSE", "-sha256");
        authority.issue("named", "/CN=localhost", "basicConstraints=CA:FALSE", "-sha256");
        authority
    }

    fn issue(&self, name: &str, subject: &str, extension: &str, hash: &str) {
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj {subject} \
            -keyout {name}.key -out {name}.csr"
        ));
        std::fs::write(self.path("extension"), extension).unwrap();
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 {hash} \
            -extfile extension -out {name}.pem"
        ));
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .output()
            .expect("the openssl command");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn client_tls(&self, name: &str, asked: ClientCertificate) -> ClientTls {
        ClientTls {
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
            client_ca: Some(self.path("ca.pem")),
            client_certificate: asked,
            required: false,
        }
    }

    fn server_tls(&self, mode: TlsMode, certificate: Option<&str>) -> ServerTls {
        let path = |suffix: &str| certificate.map(|name| self.path(&format!("{name}.{suffix}")));
        ServerTls { mode, ca: Some(self.path("ca.pem")), certificate: path("pem"), key: path("key") }
    }
}

/// Both sides shake hands through memory; the client says hello.
fn handshake(client: &ClientTls, server: &ServerTls, host: &str) -> Result<Option<String>, rustls::Error> {
    let acceptance = acceptance(client).unwrap();
    let connector = connection(server).unwrap().unwrap();
    let mut near = rustls::ClientConnection::new(connector, server_name(host).unwrap())?;
    let mut far = rustls::ServerConnection::new(acceptance.config)?;
    while near.is_handshaking() || far.is_handshaking() {
        let mut bytes = Vec::new();
        while near.wants_write() {
            near.write_tls(&mut bytes).unwrap();
        }
        let mut reader = bytes.as_slice();
        while !reader.is_empty() {
            far.read_tls(&mut reader).unwrap();
            far.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while far.wants_write() {
            far.write_tls(&mut bytes).unwrap();
        }
        let mut reader = bytes.as_slice();
        while !reader.is_empty() {
            near.read_tls(&mut reader).unwrap();
            near.process_new_packets()?;
        }
    }
    assert_eq!(far.alpn_protocol(), Some(ALPN));
    near.writer().write_all(b"hello").unwrap();
    let mut bytes = Vec::new();
    near.write_tls(&mut bytes).unwrap();
    far.read_tls(&mut bytes.as_slice()).unwrap();
    far.process_new_packets()?;
    let mut hello = [0; 5];
    far.reader().read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
    Ok(far.peer_certificates().and_then(|chain| common_name(&chain[0])))
}

#[test]
fn modes_verify_what_libpq_says() {
    let own = Authority::new("own");
    let other = Authority::new("other");
    let plain = own.client_tls("server", ClientCertificate::None);
    for (mode, host, fits) in [
        (TlsMode::VerifyFull, "localhost", true),
        (TlsMode::VerifyFull, "127.0.0.1", true),
        (TlsMode::VerifyFull, "elsewhere", false),
        (TlsMode::VerifyCa, "elsewhere", true),
        (TlsMode::Require, "elsewhere", true),
    ] {
        let result = handshake(&plain, &own.server_tls(mode, None), host);
        assert_eq!(result.is_ok(), fits, "{mode:?} {host}: {result:?}");
    }
    assert!(handshake(&plain, &other.server_tls(TlsMode::VerifyCa, None), "localhost").is_err());
    assert!(handshake(&plain, &other.server_tls(TlsMode::Require, None), "localhost").is_ok());
    assert!(connection(&own.server_tls(TlsMode::Disable, None)).unwrap().is_none());
    let named = own.client_tls("named", ClientCertificate::None);
    assert!(handshake(&named, &own.server_tls(TlsMode::VerifyFull, None), "localhost").is_ok());
    assert!(handshake(&named, &own.server_tls(TlsMode::VerifyFull, None), "otherhost").is_err());
}

#[test]
fn a_trusted_self_signed_certificate_will_do() {
    let authority = Authority::new("self");
    let mut tls = authority.client_tls("ca", ClientCertificate::None);
    tls.client_ca = None;
    assert!(handshake(&tls, &authority.server_tls(TlsMode::VerifyFull, None), "authority").is_ok());
    assert!(handshake(&tls, &authority.server_tls(TlsMode::VerifyFull, None), "localhost").is_err());
}

#[test]
fn client_certificates_are_optional_or_required() {
    let authority = Authority::new("client");
    let with = authority.server_tls(TlsMode::VerifyFull, Some("client"));
    let without = authority.server_tls(TlsMode::VerifyFull, None);
    let required = authority.client_tls("server", ClientCertificate::Required);
    let optional = authority.client_tls("server", ClientCertificate::Optional);
    assert_eq!(handshake(&required, &with, "localhost").unwrap().as_deref(), Some("alice"));
    assert!(handshake(&required, &without, "localhost").is_err());
    assert_eq!(handshake(&optional, &with, "localhost").unwrap().as_deref(), Some("alice"));
    assert_eq!(handshake(&optional, &without, "localhost").unwrap(), None);
}

#[test]
fn the_end_point_hash_is_that_of_the_signature() {
    let authority = Authority::new("hash");
    authority.issue("long", "/CN=long", "basicConstraints=CA:FALSE", "-sha512");
    for (name, openssl) in [("ca", "sha256"), ("server", "sha384"), ("client", "sha256"), ("long", "sha512")]
    {
        authority.openssl(&format!("x509 -in {name}.pem -outform DER -out {name}.der"));
        authority.openssl(&format!("dgst -{openssl} -binary -out {name}.hash {name}.der"));
        let der = std::fs::read(authority.path(&format!("{name}.der"))).unwrap();
        assert_eq!(
            end_point_hash(&der),
            std::fs::read(authority.path(&format!("{name}.hash"))).ok(),
            "{name}"
        );
    }
    authority.openssl("req -x509 -newkey ed25519 -nodes -subj /CN=e -keyout e.key -out e.pem");
    let chain = read_certificates(&authority.path("e.pem")).unwrap();
    assert_eq!(end_point_hash(&chain[0]), None);
    assert_eq!((end_point_hash(b"junk"), common_name(b"junk")), (None, None));
    authority.openssl("req -x509 -newkey rsa:2048 -sha1 -nodes -subj /CN=r -keyout r.key -out r.pem");
    let chain = read_certificates(&authority.path("r.pem")).unwrap();
    assert_eq!(end_point_hash(&chain[0]).map(|hash| hash.len()), Some(32));
}

#[test]
fn errors_name_the_file() {
    let authority = Authority::new("errors");
    let good = authority.client_tls("server", ClientCertificate::None);
    let told = |tls: &ClientTls| acceptance(tls).unwrap_err().to_string();
    let missing = ClientTls { key: authority.path("absent"), ..good.clone() };
    assert!(told(&missing).starts_with(&format!("{}: ", authority.path("absent").display())));
    let swapped = ClientTls { certificate: authority.path("server.key"), ..good.clone() };
    assert!(told(&swapped).ends_with("server.key: no certificate in PEM form"));
    let keyless = ClientTls { key: authority.path("server.pem"), ..good.clone() };
    assert!(told(&keyless).ends_with("server.pem: no private key in PEM form"));
    let foreign = ClientTls { key: authority.path("client.key"), ..good.clone() };
    assert!(told(&foreign).contains("client.key: the private key is not that of the certificate"));
    authority.openssl("rsa -aes128 -passout pass:x -in ca.key -out locked.key".replace("rsa", "ec").as_str());
    let locked = ClientTls { key: authority.path("locked.key"), ..good };
    assert!(told(&locked).contains("encrypted"));
    assert!(matches!(server_name("two words"), Err(TlsError::Host(_))));
}
