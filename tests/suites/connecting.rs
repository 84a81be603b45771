//! Connecting to servers takes bounded time, and is tried again with patience.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pointsman_tests::{PASSWORD, Stage, Wire, eventually, msg, pretty, tags};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{SOON, shared, unique};

/// A statement that must run on the primary.
const WORK: &str = "SELECT 1 FROM (SELECT random()) r";

/// Server logins that failed: the pause before the next doubles from `login_retry` to `login_retry_max`, however many
/// clients ask; each hears the server's own refusal meanwhile. A login that may work is tried at once.
#[tokio::test]
async fn failed_logins_are_retried_with_patience() {
    let stage = shared().await;
    let role = unique("mistaken");
    stage.primary.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'another'; GRANT staff TO {role}")).await;
    let pool = "pool: {size: 2, login_retry: 200ms, login_retry_max: 800ms}\n";
    let users = format!("auth: {{users: [{{name: {role}, password: {PASSWORD}}}]}}\n");
    let proxy = stage.proxy(&format!("{users}{pool}")).await;
    let attempts = || {
        let log = stage.primary.log();
        log.lines()
            .filter(|line| line.contains("password authentication failed") && line.contains(&role))
            .count()
    };
    let since = Instant::now();
    let mut asked = 0;
    let mut refused = Vec::new();
    while since.elapsed() < Duration::from_secs(4) {
        let mut wire = Wire::connect(proxy.port).await;
        let credentials = pointsman_tests::Credentials::new(
            &[("user", &role), ("database", "app")],
            pointsman_tests::Secret::Password(PASSWORD),
        );
        let frames = match wire.authenticate(&credentials).await {
            Ok(_) => wire.query(WORK).await,
            Err(frames) => frames,
        };
        refused.extend(frames.iter().filter(|frame| frame.tag == b'E').map(pointsman_tests::Frame::sqlstate));
        asked += 1;
    }
    assert!(asked > 20 && refused.len() == asked, "{asked} clients, {} errors", refused.len());
    assert!(refused.iter().all(|sqlstate| sqlstate == "28P01"), "{refused:?}");
    // At 0, 0.2, 0.6, 1.4, 2.2, 3.0, 3.8 s, with what starting up and a slow machine add between.
    let failed = attempts();
    assert!((3..=8).contains(&failed), "{failed} attempts in {:?}", since.elapsed());
    stage.primary.sql(&format!("ALTER ROLE {role} PASSWORD '{PASSWORD}'")).await;
    eventually("it is tried again", SOON, || async {
        let mut wire = Wire::connect(proxy.port).await;
        let credentials = pointsman_tests::Credentials::new(
            &[("user", &role), ("database", "app")],
            pointsman_tests::Secret::Password(PASSWORD),
        );
        wire.authenticate(&credentials).await.is_ok() && tags(&wire.query(WORK).await).contains('D')
    })
    .await;
}

/// Stands before a server; once it is silent it takes connections and says nothing on them.
struct Gate {
    port: u16,
    silent: Arc<AtomicBool>,
}

impl Gate {
    async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let silent = Arc::new(AtomicBool::new(false));
        let is_silent = Arc::clone(&silent);
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut client, _)) = listener.accept().await {
                if is_silent.load(Ordering::Acquire) {
                    kept.push(client);
                    continue;
                }
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self { port, silent }
    }

    fn set_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Release);
    }
}

/// A server that takes connections and never answers: its clients hear it after `connect_timeout`, and go on.
#[tokio::test]
async fn a_silent_server_is_given_up() {
    let stage = Stage::new().start().await;
    let gate = Gate::before(stage.primary.port).await;
    let url = format!("postgres://postgres:{PASSWORD}@127.0.0.1:{}/app", gate.port);
    let config = "replicas: []\npool: {size: 2, connect_timeout: 600ms, login_retry_max: 200ms}\n\
        failover_wait: off\nhealth: {interval: 60s, timeout: 5s}\n";
    let proxy = stage.proxy(&format!("primary: \"{url}\"\n{config}")).await;
    let mut wire = proxy.wire().await;
    wire.run(WORK).await;
    gate.set_silent(true);
    stage
        .primary
        .sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'app'")
        .await;
    let since = Instant::now();
    let frames = wire.ask(&msg::query(WORK)).await;
    let took = since.elapsed();
    assert_eq!(tags(&frames), "EZ", "{}", pretty(&frames));
    assert_eq!(frames[0].sqlstate(), "08001", "{}", frames[0]);
    assert!(frames[0].field('M').contains("longer than 600ms"), "{}", frames[0]);
    assert!(took >= Duration::from_millis(550) && took < Duration::from_secs(5), "{took:?}");
    gate.set_silent(false);
    eventually("it is served again", SOON, || async {
        let mut wire = proxy.wire().await;
        tags(&wire.query(WORK).await).contains('D')
    })
    .await;
    wire.run(WORK).await;
}
