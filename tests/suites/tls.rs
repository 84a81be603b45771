//! TLS towards clients: channel binding, certificates, and what is refused in the open.
use std::time::Duration;

use pointsman_tests::pem::Certificate;
use pointsman_tests::wire::TlsClient;
use pointsman_tests::{Credentials, DATABASE, Frame, Proxy, Secret, Wire, msg, pretty};
use tokio::sync::OnceCell;

use crate::common::{server_of, shared, unique};

struct Papers {
    authority: Certificate,
    server: Certificate,
    client: Certificate,
    foreign: Certificate,
}

async fn papers() -> &'static Papers {
    static PAPERS: OnceCell<Papers> = OnceCell::const_new();
    let make = || async {
        let dir = shared().await.dir();
        let authority = Certificate::authority(dir, "authority");
        let stranger = Certificate::authority(dir, "stranger");
        let (server, client) = (authority.sign(dir, "proxy"), authority.sign(dir, "certuser"));
        Papers { foreign: stranger.sign(dir, "certuser2"), authority, server, client }
    };
    PAPERS.get_or_init(make).await
}

/// A proxy with TLS; `more` are further keys of `tls`, `rest` further top-level keys.
async fn proxy(more: &str, rest: &str) -> Proxy {
    let Papers { authority, server, .. } = papers().await;
    let (certificate, key) = (server.certificate.display(), server.key.display());
    let more = more.replace("$CA", &authority.certificate.display().to_string());
    let config = format!("tls: {{certificate: {certificate}, key: {key}{more}}}\n{rest}");
    shared().await.proxy(&config).await
}

async fn login(wire: &mut Wire, user: &str, secret: Secret<'_>) -> Result<Vec<Frame>, Vec<Frame>> {
    let credentials = Credentials::new(&[("user", user), ("database", DATABASE)], secret);
    wire.authenticate(&credentials).await
}

async fn over_tls(proxy: &Proxy, own: Option<&Certificate>) -> std::io::Result<(Wire, Vec<u8>)> {
    Wire::connect_tls(proxy.port, &TlsClient::new(&papers().await.authority, own)).await
}

/// SCRAM-SHA-256-PLUS binds the login to the server's certificate; a wrong binding or a downgrade fails.
#[tokio::test]
async fn scram_is_bound_to_the_channel() {
    let proxy = proxy("", "").await;
    let (mut wire, hash) = over_tls(&proxy, None).await.expect("TLS");
    let frames = login(&mut wire, "app", Secret::Bound("password", hash.clone())).await.expect("app logs in");
    assert!(frames[0].body.windows(19).any(|part| part == b"SCRAM-SHA-256-PLUS\0"));
    assert_eq!(wire.value("SELECT session_user").await, "app");
    let (mut wire, _) = over_tls(&proxy, None).await.expect("TLS");
    assert!(
        login(&mut wire, "app", Secret::Password("password")).await.is_ok(),
        "binding is the client's choice"
    );
    let (mut wire, _) = over_tls(&proxy, None).await.expect("TLS");
    let wrong = hash.iter().map(|byte| byte ^ 1).collect();
    assert!(login(&mut wire, "app", Secret::Bound("password", wrong)).await.is_err(), "a man in the middle");
    let (mut wire, _) = over_tls(&proxy, None).await.expect("TLS");
    let frames = login(&mut wire, "app", Secret::Unbound("password")).await.expect_err("a downgrade");
    assert_eq!(frames.last().expect("an error").sqlstate(), "28000", "{}", pretty(&frames));
    let mut plain = Wire::connect(proxy.port).await;
    let frames = login(&mut plain, "app", Secret::Password("password")).await.expect("in the open too");
    assert!(!frames[0].body.windows(4).any(|part| part == b"PLUS"));
}

/// A password in clear text is taken over TLS only.
#[tokio::test]
async fn clear_text_needs_tls() {
    let auth = "auth: {method: cleartext, users: [{name: app, password: password}]}\n";
    let proxy = proxy("", auth).await;
    let (mut wire, _) = over_tls(&proxy, None).await.expect("TLS");
    let frames = login(&mut wire, "app", Secret::Password("password")).await.expect("app logs in");
    assert_eq!(frames[0].body[..4], [0, 0, 0, 3]);
    assert_eq!(wire.value("SELECT session_user").await, "app");
    let (mut wire, _) = over_tls(&proxy, None).await.expect("TLS");
    let frames = login(&mut wire, "app", Secret::Password("wrong")).await.expect_err("a wrong password");
    assert_eq!(frames.last().expect("an error").sqlstate(), "28P01");
    let mut plain = Wire::connect(proxy.port).await;
    let frames = login(&mut plain, "app", Secret::Password("password")).await.expect_err("not in the open");
    assert!(frames.iter().all(|frame| frame.tag == b'E'), "it is not even asked for: {}", pretty(&frames));
}

/// A client's certificate proves who it is, by its common name.
#[tokio::test]
async fn a_certificate_is_a_login() {
    let papers = papers().await;
    let users = "users: [{name: certuser, password: password}, {name: alice, password: password}]";
    let auth = format!("auth: {{method: certificate, {users}}}\n");
    let proxy = proxy(", client_ca: $CA, client_certificate: optional", &auth).await;
    let (mut wire, _) = over_tls(&proxy, Some(&papers.client)).await.expect("TLS");
    login(&mut wire, "certuser", Secret::Password("")).await.expect("certuser logs in");
    assert_eq!(wire.value("SELECT session_user").await, "certuser");
    let (mut wire, _) = over_tls(&proxy, Some(&papers.client)).await.expect("TLS");
    let frames = login(&mut wire, "alice", Secret::Password("")).await.expect_err("another's name");
    assert!(frames.last().expect("an error").sqlstate().starts_with("28"), "{}", pretty(&frames));
    let (mut wire, _) = over_tls(&proxy, None).await.expect("TLS");
    assert!(login(&mut wire, "certuser", Secret::Password("")).await.is_err(), "no certificate");
    if let Ok((mut wire, _)) = over_tls(&proxy, Some(&papers.foreign)).await {
        assert!(login(&mut wire, "certuser", Secret::Password("")).await.is_err(), "a stranger's signature");
    }
    let mut plain = Wire::connect(proxy.port).await;
    assert!(login(&mut plain, "certuser", Secret::Password("")).await.is_err(), "no TLS");
}

/// A required certificate is required before anything is said.
#[tokio::test]
async fn a_certificate_may_be_required() {
    let papers = papers().await;
    let proxy = proxy(", client_ca: $CA, client_certificate: required", "").await;
    let (mut wire, _) = over_tls(&proxy, Some(&papers.client)).await.expect("TLS");
    login(&mut wire, "app", Secret::Password("password")).await.expect("app logs in");
    if let Ok((mut wire, _)) = over_tls(&proxy, None).await {
        assert!(login(&mut wire, "app", Secret::Password("password")).await.is_err());
    }
}

/// TLS may be required of every client.
#[tokio::test]
async fn tls_may_be_required() {
    let proxy = proxy(", required: true", "").await;
    let mut plain = Wire::connect(proxy.port).await;
    let frames = login(&mut plain, "app", Secret::Password("password")).await.expect_err("in the open");
    assert!(frames.last().expect("an error").sqlstate().starts_with("28"), "{}", pretty(&frames));
    let (mut wire, _) = over_tls(&proxy, None).await.expect("TLS");
    login(&mut wire, "app", Secret::Password("password")).await.expect("over TLS");
}

/// Holes before login: bytes sent in the open behind `SSLRequest` are never taken for what TLS brought.
#[tokio::test]
async fn bytes_behind_ssl_request_are_refused() {
    let proxy = proxy("", "").await;
    let startup = msg::startup(msg::V3_0, &[("user", "app"), ("database", DATABASE)]);
    for smuggled in [startup, msg::query("SELECT 1"), vec![0]] {
        let mut wire = Wire::connect(proxy.port).await;
        wire.patience = Duration::from_secs(5);
        wire.send(&[&msg::SSL_REQUEST[..], &smuggled].concat()).await;
        let mut heard = Vec::new();
        while let Some(byte) = wire.byte().await {
            heard.push(byte);
        }
        assert!(heard.first() != Some(&b'R') && heard.get(1) != Some(&b'R'), "{heard:?}");
    }
}

/// A cancel comes over TLS as well as in the open.
#[tokio::test]
async fn a_cancel_over_tls() {
    let proxy = proxy("", "").await;
    let (mut wire, hash) = over_tls(&proxy, None).await.expect("TLS");
    login(&mut wire, "app", Secret::Bound("password", hash)).await.expect("app logs in");
    let marker = unique("over_tls");
    wire.send(&msg::query(&format!("SELECT pg_sleep(30) /* {marker} */"))).await;
    server_of(shared().await, &marker).await;
    let (mut other, _) = over_tls(&proxy, None).await.expect("TLS");
    other.send(&msg::cancel(wire.process_id, &wire.secret)).await;
    other.until_closed().await;
    let frames = wire.until(b'Z').await;
    assert!(frames.iter().any(|frame| frame.tag == b'E' && frame.sqlstate() == "57014"));
}

/// Large results and large inputs pass through TLS whole.
#[tokio::test]
async fn large_values_over_tls() {
    let proxy = proxy("", "").await;
    let (mut wire, hash) = over_tls(&proxy, None).await.expect("TLS");
    login(&mut wire, "app", Secret::Bound("password", hash)).await.expect("app logs in");
    let value = "v".repeat(3_000_000);
    assert_eq!(wire.extended_value("SELECT length($1::text)", &[Some(&value)]).await, "3000000");
    assert_eq!(wire.extended_value("SELECT $1::text || '!'", &[Some(&value)]).await.len(), 3_000_001);
}
