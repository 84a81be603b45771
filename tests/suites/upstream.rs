//! Towards the servers: TLS modes, Unix-domain sockets, replication connections.
use pointsman_tests::pem::Certificate;
use pointsman_tests::tools::postgres_command;
use pointsman_tests::wire::TlsClient;
use pointsman_tests::{Credentials, PASSWORD, Proxy, Secret, Stage, Wire, eventually, msg, pretty, tags};
use tokio::sync::OnceCell;

use crate::common::{SOON, shared, unique};

const APP: [(&str, &str); 2] = [("user", "app"), ("database", "app")];

struct Encrypted {
    stage: Stage,
    authority: Certificate,
    stranger: Certificate,
}

/// A server that speaks TLS with a certificate for `localhost` and 127.0.0.1.
async fn encrypted() -> &'static Encrypted {
    static STAGE: OnceCell<Encrypted> = OnceCell::const_new();
    let make = || async {
        let stage = Stage::new()
            .hba("hostnossl all alice 127.0.0.1/32 reject")
            .hba("hostssl all bob 127.0.0.1/32 reject")
            .hba("hostssl all certuser 127.0.0.1/32 cert")
            .start()
            .await;
        let authority = Certificate::authority(stage.dir(), "authority");
        let stranger = Certificate::authority(stage.dir(), "stranger");
        let server = authority.sign(stage.dir(), "server");
        let (certificate, key) = (server.certificate.display(), server.key.display());
        stage.primary.sql(&format!("ALTER SYSTEM SET ssl_cert_file = '{certificate}'")).await;
        stage.primary.sql(&format!("ALTER SYSTEM SET ssl_key_file = '{key}'")).await;
        let ca = authority.certificate.with_extension("ca.pem");
        std::fs::copy(&authority.certificate, &ca).expect("a copy for the server");
        pointsman_tests::tools::give_to_servers(&ca);
        stage.primary.sql(&format!("ALTER SYSTEM SET ssl_ca_file = '{}'", ca.display())).await;
        stage.primary.sql("ALTER SYSTEM SET ssl = on").await;
        stage.primary.sql("SELECT pg_reload_conf()").await;
        eventually("the server speaks TLS", SOON, || async { stage.primary.value("SHOW ssl").await == "on" })
            .await;
        Encrypted { stage, authority, stranger }
    };
    STAGE.get_or_init(make).await
}

/// A proxy whose connections to the server have these URL parameters.
async fn proxy(parameters: &str) -> Proxy {
    let Encrypted { stage, authority, stranger } = encrypted().await;
    let parameters = parameters
        .replace("$CA", &authority.certificate.display().to_string())
        .replace("$STRANGER", &stranger.certificate.display().to_string());
    let url = format!("postgres://postgres:{PASSWORD}@127.0.0.1:$PRIMARY/app{parameters}");
    stage.proxy(&format!("primary: \"{url}\"\n")).await
}

/// Whether the connection to the server is encrypted; or the SQLSTATE of the refusal.
async fn encryption(proxy: &Proxy, user: &str) -> String {
    let mut wire = proxy.wire_as(user).await;
    let sql = "SELECT ssl FROM pg_stat_ssl, (SELECT random()) r WHERE pid = pg_backend_pid()";
    let frames = wire.query(sql).await;
    match frames.iter().find(|frame| matches!(frame.tag, b'D' | b'E')) {
        Some(frame) if frame.tag == b'D' => frame.values()[0].clone().unwrap_or_default(),
        Some(frame) => frame.sqlstate(),
        None => "closed".to_owned(),
    }
}

/// libpq's `sslmode`s mean what they mean to libpq.
#[tokio::test]
async fn tls_modes_are_libpqs() {
    for (parameters, user, want) in [
        ("?sslmode=disable", "app", "f"),
        ("?sslmode=allow", "app", "f"),
        ("?sslmode=allow", "alice", "t"),
        ("?sslmode=prefer", "app", "t"),
        ("?sslmode=prefer", "bob", "f"),
        ("?sslmode=require", "app", "t"),
        ("?sslmode=verify-ca&sslrootcert=$CA", "app", "t"),
        ("?sslmode=verify-full&sslrootcert=$CA", "app", "t"),
    ] {
        let proxy = proxy(parameters).await;
        assert_eq!(encryption(&proxy, user).await, want, "{parameters} as {user}");
    }
}

/// SCRAM-SHA-256-PLUS binds logins to the server's certificate: who stands between with another is found out, though it is not
/// verified and all that is said is passed on.
#[tokio::test]
async fn logins_are_bound_to_the_channel() {
    let Encrypted { stage, authority, stranger } = encrypted().await;
    let url = |port: u16| format!("postgres://postgres:{PASSWORD}@127.0.0.1:{port}/app?sslmode=require");
    let proxy = stage.proxy(&format!("primary: \"{}\"\n", url(stage.primary.port))).await;
    assert_eq!(encryption(&proxy, "app").await, "t");
    let own = stranger.sign(stage.dir(), "between");
    let between = TlsClient::new(authority, None).stand_between(stage.primary.port, &own).await;
    refusal(stage, &url(between), "28000", "SCRAM channel binding check failed").await;
    // The server's own certificate and key, stolen: nothing is left to find out by.
    let server =
        Certificate { certificate: stage.dir().join("server.pem"), key: stage.dir().join("server.key") };
    let between = TlsClient::new(authority, None).stand_between(stage.primary.port, &server).await;
    let proxy = stage.proxy(&format!("primary: \"{}\"\n", url(between))).await;
    assert_eq!(encryption(&proxy, "app").await, "t");
}

/// A proxy that does not trust its server does not become ready, and says why in its log.
#[tokio::test]
async fn a_strange_server_is_refused() {
    let Encrypted { stage, authority, stranger } = encrypted().await;
    let wrong = stranger.certificate.display();
    let right = authority.certificate.display();
    for (host, parameters) in [
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={wrong}")),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={wrong}")),
        ("ip6-localhost.invalid", format!("sslmode=verify-full&sslrootcert={right}")),
    ] {
        let url = format!("postgres://postgres:{PASSWORD}@{host}:$PRIMARY/app?{parameters}");
        let config =
            format!("primary: \"{url}\"\npool: {{size: 2, checkout_timeout: 500ms, connect_timeout: 1s}}\n");
        let proxy = Proxy::start_unready(stage, &config).await;
        let mut wire = Wire::connect(proxy.port).await;
        let credentials = Credentials::new(&APP, Secret::Password(PASSWORD));
        let frames = match wire.authenticate(&credentials).await {
            Err(frames) => frames,
            Ok(_) => wire.query("SELECT 1 FROM (SELECT random()) r").await,
        };
        assert!(frames.iter().any(|frame| frame.tag == b'E'), "{parameters}:\n{}", pretty(&frames));
    }
}

/// Clients come by a Unix-domain socket, with the mode configured.
#[tokio::test]
async fn clients_come_by_unix_socket() {
    let stage = shared().await;
    let listen = "listen: [\"127.0.0.1:$CLIENT\", {unix: $DIR/.s.PGSQL.$CLIENT, mode: 0o770}]\n";
    let proxy = stage.proxy(listen).await;
    let path = stage.dir().join(format!(".s.PGSQL.{}", proxy.port));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).expect("a socket").permissions());
    assert_eq!(mode & 0o777, 0o770);
    let mut wire = Wire::connect_unix(&path).await;
    let credentials = Credentials::new(&APP, Secret::Password(PASSWORD));
    wire.authenticate(&credentials).await.expect("app logs in");
    assert_eq!(wire.value("SELECT 1").await, "1");
}

/// Servers are reached by a Unix-domain socket.
#[tokio::test]
async fn servers_are_reached_by_unix_socket() {
    let stage = shared().await;
    let url = format!("postgres://postgres:{PASSWORD}@:$PRIMARY/app?host=$DIR");
    let proxy = stage.proxy(&format!("primary: \"{url}\"\nreplicas: []\n")).await;
    let mut wire = proxy.wire().await;
    let sql = "SELECT inet_server_addr() IS NULL FROM (SELECT random()) r";
    assert_eq!(wire.value(sql).await, "t");
}

/// A physical replication connection passes through and streams.
#[tokio::test]
async fn physical_replication_passes_through() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let parameters = [("user", "streamer"), ("replication", "true")];
    let mut wire = Wire::login_with(proxy.port, &parameters).await;
    let frames = wire.run("IDENTIFY_SYSTEM").await;
    let identity = frames[1].values();
    assert_eq!(
        identity[0],
        Some(stage.primary.value("SELECT system_identifier FROM pg_control_system()").await)
    );
    assert_eq!(wire.value("SHOW wal_level").await, "logical");
    let target = stage.dir().join(unique("received"));
    std::fs::create_dir(&target).expect("a directory");
    pointsman_tests::tools::give_to_servers(&target);
    let end = stage.primary.value("SELECT pg_current_wal_insert_lsn() + 1000").await;
    let mut receive = postgres_command("pg_receivewal");
    receive.args([
        "-h",
        "127.0.0.1",
        "-U",
        "streamer",
        "--no-loop",
        "--no-sync",
        "-p",
        &proxy.port.to_string(),
    ]);
    receive.args(["--endpos", &end, "-D"]).arg(&target).env("PGPASSWORD", PASSWORD);
    let run = tokio::task::spawn_blocking(move || pointsman_tests::tools::run(&mut receive));
    let table = unique("received");
    stage.primary.sql(&format!("CREATE TABLE {table} AS SELECT generate_series(1, 10000)")).await;
    pointsman_tests::within("pg_receivewal ends", SOON * 2, run).await.expect("pg_receivewal runs");
    assert!(std::fs::read_dir(&target).expect("the directory").count() > 0);
}

/// A logical replication connection streams in both directions and ends in order.
#[tokio::test]
async fn logical_replication_passes_through() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let parameters = [("user", "streamer"), ("database", "app"), ("replication", "database")];
    let mut wire = Wire::login_with(proxy.port, &parameters).await;
    let slot = unique("slot");
    wire.run(&format!("CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL test_decoding")).await;
    wire.send(&msg::query(&format!("START_REPLICATION SLOT {slot} LOGICAL 0/0"))).await;
    assert_eq!(wire.frame().await.expect("an answer").tag, b'W');
    let table = unique("streamed");
    stage.primary.sql(&format!("CREATE TABLE {table} (id int); INSERT INTO {table} VALUES (42)")).await;
    loop {
        let frame = wire.frame().await.expect("the stream goes on");
        let text = String::from_utf8_lossy(&frame.body).into_owned();
        if frame.tag == b'd' && text.contains(&table) && text.contains("id[integer]:42") {
            break;
        }
    }
    let frames = wire.ask(&msg::copy_done()).await;
    assert!(tags(&frames).ends_with("CZ"), "{}", pretty(&frames));
    assert_eq!(wire.value("SELECT 1").await, "1");
    let mut other = proxy.wire().await;
    assert_eq!(other.value("SELECT 1").await, "1");
}

/// A certificate is shown to a server that asks for one.
#[tokio::test]
async fn a_client_certificate_is_shown() {
    let Encrypted { stage, authority, .. } = encrypted().await;
    let own = authority.sign(stage.dir(), "certuser");
    let url = format!(
        "postgres://postgres:{PASSWORD}@127.0.0.1:$PRIMARY/app?sslmode=require&sslcert={}&sslkey={}",
        own.certificate.display(),
        own.key.display()
    );
    let auth = "auth: {method: trust, users: [{name: certuser}]}\n";
    let proxy = stage.proxy(&format!("primary: \"{url}\"\n{auth}")).await;
    let mut wire = proxy.wire_as("certuser").await;
    let sql = "SELECT client_dn FROM pg_stat_ssl, (SELECT random()) r WHERE pid = pg_backend_pid()";
    assert_eq!(wire.value(sql).await, "/CN=certuser");
    let without =
        stage.proxy(&format!("primary: \"{}\"\n{auth}", url.split("&sslcert").next().expect("a URL"))).await;
    let mut wire = Wire::connect(without.port).await;
    let credentials = Credentials::new(&[("user", "certuser"), ("database", "app")], Secret::Password(""));
    let frames = wire.authenticate(&credentials).await.expect_err("no certificate");
    assert!(frames.last().expect("an error").sqlstate().starts_with("28"), "{}", pretty(&frames));
}

/// What a proxy logs of a server that it cannot use.
async fn complaint(stage: &Stage, url: &str, expected: &str) {
    refusal(stage, url, "08001", expected).await;
}

/// The same of a server that a client is told another SQLSTATE of.
async fn refusal(stage: &Stage, url: &str, sqlstate: &str, expected: &str) {
    let proxy = Proxy::start_unready(
        stage,
        &format!("primary: \"{url}\"\nreplicas: []\npool: {{connect_timeout: 1s}}\n"),
    )
    .await;
    let mut wire = Wire::connect(proxy.port).await;
    let credentials = Credentials::new(&APP, Secret::Password(PASSWORD));
    let frames = wire.authenticate(&credentials).await.expect_err("no server to use");
    assert!(frames.last().is_some_and(|frame| frame.sqlstate() == sqlstate), "{}", pretty(&frames));
    eventually("the log says why", SOON, || async { proxy.log().contains(expected) }).await;
}

/// `verify-full` refuses a server of another name, `verify-ca` does not mind; `require` refuses one without TLS.
#[tokio::test]
async fn a_servers_name_must_fit() {
    let Encrypted { authority, .. } = encrypted().await;
    let stage = Stage::new().start().await;
    let plain = format!("postgres://postgres:{PASSWORD}@127.0.0.1:$PRIMARY/app?sslmode");
    complaint(&stage, &format!("{plain}=require"), "does not support TLS").await;
    let server = authority.sign_for(stage.dir(), "elsewhere", "DNS:elsewhere.example");
    let (certificate, key) = (server.certificate.display(), server.key.display());
    stage.primary.sql(&format!("ALTER SYSTEM SET ssl_cert_file = '{certificate}'")).await;
    stage.primary.sql(&format!("ALTER SYSTEM SET ssl_key_file = '{key}'")).await;
    stage.primary.sql("ALTER SYSTEM SET ssl = on").await;
    stage.primary.sql("SELECT pg_reload_conf()").await;
    eventually("the server speaks TLS", SOON, || async { stage.primary.value("SHOW ssl").await == "on" })
        .await;
    let ca = authority.certificate.display();
    let proxy = stage.proxy(&format!("primary: \"{plain}=verify-ca&sslrootcert={ca}\"\n")).await;
    assert_eq!(encryption(&proxy, "app").await, "t");
    complaint(&stage, &format!("{plain}=verify-full&sslrootcert={ca}"), "not valid for").await;
}

/// Pointsman's own connections try the other way as clients' do: as a user whom the server takes only so, it becomes ready.
#[tokio::test]
async fn own_connections_try_the_other_way() {
    let Encrypted { stage, .. } = encrypted().await;
    for (user, mode, encrypted) in [("alice", "allow", "t"), ("bob", "prefer", "f")] {
        let url = format!("postgres://{user}:{PASSWORD}@127.0.0.1:$PRIMARY/app?sslmode={mode}");
        let proxy = stage.proxy(&format!("primary: \"{url}\"\n")).await;
        assert_eq!(encryption(&proxy, user).await, encrypted, "{user}");
    }
}

/// Stands before a server and answers each SSLRequest with `answer` and a closed connection.
async fn without_handshake(server: u16, answer: &'static [u8]) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut first = [0; 8];
                client.read_exact(&mut first).await?;
                if first == msg::SSL_REQUEST {
                    return client.write_all(answer).await;
                }
                let mut server = tokio::net::TcpStream::connect(("127.0.0.1", server)).await?;
                server.write_all(&first).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
            });
        }
    });
    port
}

/// Where TLS is preferred, a handshake that fails is followed by a connection in plain, as libpq does; an error in place of
/// an answer is heard.
#[tokio::test]
async fn a_failed_handshake_is_dealt_with() {
    let stage = shared().await;
    let port = without_handshake(stage.primary.port, b"S").await;
    let url =
        |port: u16, mode: &str| format!("postgres://postgres:{PASSWORD}@127.0.0.1:{port}/app?sslmode={mode}");
    let proxy = stage.proxy(&format!("primary: \"{}\"\nreplicas: []\n", url(port, "prefer"))).await;
    assert_eq!(encryption(&proxy, "app").await, "f");
    let frame = b"E\0\0\0\x29SFATAL\0VFATAL\0C53300\0Mno room here\0\0";
    for answer in [&frame[..], b"Eno room here\n\0"] {
        let port = without_handshake(stage.primary.port, answer).await;
        complaint(stage, &url(port, "require"), "no room here").await;
    }
}

/// A replication connection can be cancelled, is asked for in every way that PostgreSQL knows, and does not hold up an end.
#[tokio::test]
async fn replication_connections_are_like_others() {
    let stage = shared().await;
    let proxy = stage.proxy("shutdown_timeout: 20s\n").await;
    for word in ["t", "TRUE", "y", "yes", "on", "1"] {
        let mut wire = Wire::login_with(proxy.port, &[("user", "streamer"), ("replication", word)]).await;
        assert!(tags(&wire.query("IDENTIFY_SYSTEM").await).ends_with("CZ"), "{word}");
    }
    for word in ["f", "off", "o", "DATABASE", "2", ""] {
        let parameters = [("user", "streamer"), ("database", "app"), ("replication", word)];
        let mut heard = Vec::new();
        for port in [stage.primary.port, proxy.port] {
            let mut wire = Wire::connect(port).await;
            let outcome = wire.authenticate(&Credentials::new(&parameters, Secret::Password(PASSWORD))).await;
            let told = |frames: Vec<pointsman_tests::Frame>| {
                let error = frames.into_iter().find(|frame| frame.tag == b'E').expect("an error");
                (error.sqlstate(), error.field('M'), error.field('H'))
            };
            heard.push(outcome.map(drop).map_err(told));
        }
        assert_eq!(heard[0], heard[1], "{word:?}");
    }
    let parameters = [("user", "streamer"), ("database", "app"), ("replication", "database")];
    let mut wire = Wire::login_with(proxy.port, &parameters).await;
    let marker = unique("replicating");
    wire.send(&msg::query(&format!("SELECT pg_sleep(60) /* {marker} */"))).await;
    eventually("it runs", SOON, || async { stage.primary.logged(&marker) }).await;
    wire.cancel(proxy.port).await;
    let frames = wire.until(b'Z').await;
    assert!(frames.iter().any(|frame| frame.sqlstate() == "57014"), "{}", pretty(&frames));
    proxy.signal("TERM");
    assert_eq!(proxy.wait_exit(SOON).await, 0);
    assert!(wire.until_closed().await.is_empty());
}
