//! SIGHUP changes what has changed, SIGTERM lets transactions end, SIGINT twice ends at once.
use std::time::{Duration, Instant};

use pointsman_tests::{Stage, Wire, eventually, msg, tags, within};
use tokio::net::TcpStream;

use crate::common::{ADMIN, SOON, row_of, shared, unique};

/// Reload drops pools or statistics: clients, transactions, server connections and counters stay.
#[tokio::test]
async fn a_reload_keeps_what_did_not_change() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 2}\n").await;
    let mut wire = proxy.wire().await;
    let before = wire.value("SELECT pg_backend_pid()").await;
    wire.run("BEGIN").await;
    let pid = wire.value("SELECT pg_backend_pid()").await;
    assert_eq!(before, pid, "an idle pool reuses its connection");
    let counted = proxy.metric("pointsman_transactions_total", &[]).await;
    for _ in 0..3 {
        proxy.signal("HUP");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(wire.value("SELECT pg_backend_pid()").await, pid);
    }
    wire.run("COMMIT").await;
    assert_eq!(wire.value("SELECT pg_backend_pid()").await, pid);
    assert!(proxy.metric("pointsman_transactions_total", &[]).await >= counted, "counters go on");
}

/// A pool whose settings change takes them; another's connections stay.
#[tokio::test]
async fn a_reload_changes_a_pools_size() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 1, checkout_timeout: 500ms}\n").await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.run("BEGIN").await;
    one.run("SELECT 1").await;
    let frames = two.query("SELECT pg_backend_pid()").await;
    assert!(frames.iter().any(|frame| frame.tag == b'E'), "the pool is full");
    proxy.write_config(stage, "pool: {size: 2, checkout_timeout: 500ms}\n");
    proxy.signal("HUP");
    let mut served = false;
    for _ in 0..30 {
        let mut wire = proxy.wire().await;
        served = wire.query("SELECT pg_backend_pid()").await.iter().any(|frame| frame.tag == b'D');
        if served {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(served, "the new size is not taken");
    one.run("COMMIT").await;
}

/// New users may come after a reload, removed ones may not.
#[tokio::test]
async fn a_reload_changes_users() {
    let stage = shared().await;
    let auth = |name: &str| format!("auth: {{users: [{{name: {name}, password: password}}]}}\n");
    let proxy = stage.proxy(&auth("alice")).await;
    let mut staying = proxy.wire_as("alice").await;
    proxy.write_config(stage, &auth("bob"));
    proxy.signal("HUP");
    let may_come = |user: &'static str| {
        let port = proxy.port;
        async move {
            let mut wire = Wire::connect(port).await;
            let parameters = [("user", user), ("database", "app")];
            let credentials =
                pointsman_tests::Credentials::new(&parameters, pointsman_tests::Secret::Password("password"));
            wire.authenticate(&credentials).await.is_ok()
        }
    };
    eventually("bob may come", SOON, || may_come("bob")).await;
    assert!(!may_come("alice").await);
    assert_eq!(staying.value("SELECT session_user").await, "alice", "who is in stays");
}

/// A wrong configuration changes nothing and is told in the log.
#[tokio::test]
async fn a_wrong_reload_changes_nothing() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    proxy.write_config(stage, "poool: {size: 2}\n");
    proxy.signal("HUP");
    eventually("the log names the wrong key", SOON, || async { proxy.log().contains("poool") }).await;
    assert_eq!(wire.value("SELECT 1").await, "1");
    assert_eq!(proxy.wire().await.value("SELECT 1").await, "1");
}

/// SIGTERM: no new client, transactions may end, then the process ends with 0.
#[tokio::test]
async fn a_drain_waits_for_transactions() {
    let stage = shared().await;
    let proxy = stage.proxy("shutdown_timeout: 20s\n").await;
    let table = unique("drained");
    let (mut busy, mut idle) = (proxy.wire().await, proxy.wire().await);
    idle.run("SELECT 1").await;
    busy.run(&format!("CREATE TABLE {table} (id int)")).await;
    busy.run("BEGIN").await;
    busy.run(&format!("INSERT INTO {table} VALUES (1)")).await;
    proxy.signal("TERM");
    let frames = idle.until_closed().await;
    assert!(frames.iter().all(|frame| frame.tag == b'E' && frame.sqlstate() == "57P01"), "{frames:?}");
    assert!(!proxy.exited());
    let connect = || async {
        match TcpStream::connect(("127.0.0.1", proxy.port)).await {
            Err(_) => true,
            Ok(_) => {
                let mut wire = Wire::connect(proxy.port).await;
                let startup = msg::startup(msg::V3_0, &[("user", "app"), ("database", "app")]);
                wire.try_send(&startup).await.is_err() || !tags(&wire.until_closed().await).contains('R')
            }
        }
    };
    assert!(connect().await, "a new client is let in");
    busy.run(&format!("INSERT INTO {table} VALUES (2)")).await;
    busy.run("COMMIT").await;
    assert_eq!(proxy.wait_exit(SOON).await, 0);
    assert_eq!(stage.primary.value(&format!("SELECT count(*) FROM {table}")).await, "2");
}

/// A drain is bounded.
#[tokio::test]
async fn a_drain_is_bounded() {
    let proxy = shared().await.proxy("shutdown_timeout: 700ms\n").await;
    let mut busy = proxy.wire().await;
    busy.run("BEGIN").await;
    busy.run("SELECT 1").await;
    let start = Instant::now();
    proxy.signal("TERM");
    proxy.wait_exit(SOON).await;
    assert!(start.elapsed() >= Duration::from_millis(600) && start.elapsed() < Duration::from_secs(6));
}

/// Who waits for a primary when a drain begins is told so, and waits no longer: it was not sent.
#[tokio::test]
async fn a_drain_ends_waits_for_a_primary() {
    let stage = Stage::new().start().await;
    let config = "shutdown_timeout: 60s\nfailover_wait: 60s\nhealth: {interval: 200ms, timeout: 1s}\n";
    let proxy = stage.proxy(config).await;
    let mut waits = proxy.wire().await;
    waits.run("SELECT pg_advisory_xact_lock(1)").await;
    stage.primary.stop("INT").await;
    waits.send(&msg::query("SELECT pg_advisory_xact_lock(1)")).await;
    waits.quiet(Duration::from_millis(500)).await;
    proxy.signal("TERM");
    let frames = within("the wait ends", SOON, waits.until_closed()).await;
    assert_eq!(frames.first().map(|frame| frame.sqlstate()).as_deref(), Some("57P01"), "{frames:?}");
    assert_eq!(proxy.wait_exit(SOON).await, 0);
}

/// The same while everything is paused: for whoever waits with a statement, and for whoever waits to be let in.
#[tokio::test]
async fn a_drain_ends_a_pause() {
    let proxy = shared().await.proxy(&format!("{ADMIN}shutdown_timeout: 60s\n")).await;
    let mut console = Wire::login(proxy.port, "alice", "pointsman").await;
    let watch = proxy.console().await;
    let mut waits = proxy.wire().await;
    waits.run("SELECT 1").await;
    console.run("PAUSE").await;
    waits.send(&msg::query("SELECT 2")).await;
    let waiting = || async { row_of(&watch, "SHOW POOLS", "user", "app").await["cl_waiting"] == "1" };
    eventually("the statement waits", SOON, waiting).await;
    let port = proxy.port;
    let newcomer = tokio::spawn(async move {
        let mut wire = Wire::connect(port).await;
        let secret = pointsman_tests::Secret::Password("password");
        let credentials = pointsman_tests::Credentials::new(&[("user", "bob"), ("database", "app")], secret);
        wire.authenticate(&credentials).await.is_ok()
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!newcomer.is_finished(), "the newcomer waits");
    proxy.signal("TERM");
    let frames = within("the wait ends", SOON, waits.until_closed()).await;
    assert_eq!(frames.first().map(|frame| frame.sqlstate()).as_deref(), Some("57P01"), "{frames:?}");
    assert_eq!(proxy.wait_exit(SOON).await, 0);
    assert!(!newcomer.await.expect("it does not panic"), "the newcomer is not let in");
}

/// With nobody there a drain ends at once.
#[tokio::test]
async fn an_empty_drain_ends_at_once() {
    let proxy = shared().await.proxy("shutdown_timeout: 30s\n").await;
    proxy.wire().await.run("SELECT 1").await;
    let start = Instant::now();
    proxy.signal("TERM");
    assert_eq!(proxy.wait_exit(SOON).await, 0);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

/// SIGINT once drains, twice stops.
#[tokio::test]
async fn a_second_interrupt_stops() {
    let proxy = shared().await.proxy("shutdown_timeout: 60s\n").await;
    let mut busy = proxy.wire().await;
    busy.run("BEGIN").await;
    busy.run("SELECT 1").await;
    proxy.signal("INT");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!proxy.exited());
    proxy.signal("INT");
    proxy.wait_exit(Duration::from_secs(5)).await;
}
