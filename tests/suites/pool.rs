//! A few server connections serve many clients, within named limits and fairly.
use std::time::{Duration, Instant};

use pointsman_tests::{Proxy, Wire, eventually, msg};
use tokio::task::JoinSet;

use crate::common::{SOON, shared, unique};

/// A statement that must run on the primary.
const WORK: &str = "SELECT pg_backend_pid() FROM (SELECT random()) r";

/// Server connections that this user has on the primary.
async fn connections(user: &str) -> i64 {
    let admin = shared().await.primary.admin().await;
    let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND application_name <> 'outside'";
    admin.query_one(query, &[&user]).await.expect("a count").get(0)
}

/// A role of one test only, so that its connections can be counted.
async fn own_role(name: &str) -> String {
    let role = unique(name);
    shared()
        .await
        .primary
        .sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'password'; GRANT staff TO {role}"))
        .await;
    role
}

fn config(role: &str, pool: &str) -> String {
    format!("auth: {{users: [{{name: {role}, password: password}}]}}\npool: {{{pool}}}\n")
}

async fn busy(proxy: &Proxy, role: &str, seconds: f64) -> Wire {
    let mut wire = proxy.wire_as(role).await;
    wire.send(&msg::query(&format!("SELECT pg_sleep({seconds})"))).await;
    wire
}

/// `size` bounds what a hundred clients open.
#[tokio::test]
async fn size_bounds_connections() {
    let role = own_role("sized").await;
    let proxy = shared().await.proxy(&config(&role, "size: 3")).await;
    let mut clients = JoinSet::new();
    for _ in 0..100 {
        let mut wire = proxy.wire_as(&role).await;
        clients.spawn(async move {
            for _ in 0..5 {
                wire.value(WORK).await;
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.expect("every client is served");
        assert!(connections(&role).await <= 3);
    }
}

/// `overflow` adds connections under load, which close when idle.
#[tokio::test]
async fn overflow_comes_and_goes() {
    let role = own_role("overflowing").await;
    let proxy = shared().await.proxy(&config(&role, "size: 1, overflow: 2")).await;
    let mut wires = Vec::new();
    for _ in 0..3 {
        wires.push(busy(&proxy, &role, 0.5).await);
    }
    eventually("three run at once", SOON, || async { connections(&role).await == 3 }).await;
    for wire in &mut wires {
        wire.until(b'Z').await;
    }
    eventually("the overflow has closed", SOON, || async { connections(&role).await == 1 }).await;
}

/// `checkout_timeout` ends a wait with an error, and the client may go on.
#[tokio::test]
async fn a_wait_is_bounded() {
    let role = own_role("bounded").await;
    let proxy = shared().await.proxy(&config(&role, "size: 1, checkout_timeout: 300ms")).await;
    let mut first = busy(&proxy, &role, 1.5).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut second = proxy.wire_as(&role).await;
    let start = Instant::now();
    let frames = second.query(WORK).await;
    let error = frames.iter().find(|frame| frame.tag == b'E').expect("an error");
    assert!(["53300", "57P03", "08006", "57014"].contains(&error.sqlstate().as_str()), "{error}");
    assert!(start.elapsed() >= Duration::from_millis(250) && start.elapsed() < Duration::from_millis(1300));
    first.until(b'Z').await;
    let mut after = proxy.wire_as(&role).await;
    after.value(WORK).await;
}

/// `waiters_max` refuses at once the client that would wait beyond it.
#[tokio::test]
async fn waiters_are_bounded() {
    let role = own_role("waiting").await;
    let proxy = shared().await.proxy(&config(&role, "size: 1, waiters_max: 2, checkout_timeout: 10s")).await;
    let mut holder = busy(&proxy, &role, 1.5).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut waiters = Vec::new();
    for _ in 0..2 {
        let mut wire = proxy.wire_as(&role).await;
        wire.send(&msg::query(WORK)).await;
        waiters.push(wire);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut refused = proxy.wire_as(&role).await;
    let start = Instant::now();
    let frames = refused.query(WORK).await;
    assert!(frames.iter().any(|frame| frame.tag == b'E'), "the third waiter is refused");
    assert!(start.elapsed() < Duration::from_millis(700), "at once");
    holder.until(b'Z').await;
    for wire in &mut waiters {
        assert!(wire.until(b'Z').await.iter().any(|frame| frame.tag == b'D'));
    }
}

/// Who has left the queue takes no place in it.
#[tokio::test]
async fn those_who_left_do_not_wait() {
    let role = own_role("leaving").await;
    let proxy =
        shared().await.proxy(&config(&role, "size: 1, waiters_max: 2, checkout_timeout: 300ms")).await;
    let mut holder = busy(&proxy, &role, 3.0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    for round in 0..2 {
        let mut waiters = Vec::new();
        for _ in 0..2 {
            let mut wire = proxy.wire_as(&role).await;
            wire.send(&msg::query(WORK)).await;
            waiters.push(wire);
        }
        for wire in &mut waiters {
            let frames = wire.until(b'Z').await;
            let error = frames.iter().find(|frame| frame.tag == b'E').expect("an error");
            assert!(error.field('M').contains("within 300ms"), "round {round}: {error}");
        }
    }
    assert_eq!(proxy.metric("pointsman_pool_waiting_clients", &[&role]).await, 0.0);
    holder.until(b'Z').await;
}

/// Who waits longest is served first.
#[tokio::test]
async fn waiting_is_fair() {
    let role = own_role("fair").await;
    let proxy = shared().await.proxy(&config(&role, "size: 1")).await;
    let mut holder = busy(&proxy, &role, 0.6).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let (sender, mut order) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..6 {
        let mut wire = proxy.wire_as(&role).await;
        wire.send(&msg::query("SELECT pg_sleep(0.05)")).await;
        let sender = sender.clone();
        tokio::spawn(async move {
            wire.until(b'Z').await;
            sender.send(number).expect("the test listens");
        });
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    holder.until(b'Z').await;
    for number in 0..6 {
        assert_eq!(order.recv().await, Some(number));
    }
}

/// Nobody starves: a greedy client that pipelines does not keep the others waiting for long.
#[tokio::test]
async fn a_greedy_client_does_not_starve_others() {
    let role = own_role("greedy").await;
    let proxy = shared().await.proxy(&config(&role, "size: 1")).await;
    let mut greedy = proxy.wire_as(&role).await;
    greedy.send(&msg::query("SELECT pg_sleep(0.02)").repeat(150)).await;
    let mut modest = proxy.wire_as(&role).await;
    let start = Instant::now();
    modest.value(WORK).await;
    assert!(start.elapsed() < Duration::from_secs(2), "waited {:?}", start.elapsed());
    for _ in 0..150 {
        greedy.until(b'Z').await;
    }
}

/// `min_idle` connections are open after the first login, before any is needed.
#[tokio::test]
async fn min_idle_is_kept_ready() {
    let role = own_role("ready").await;
    let proxy = shared().await.proxy(&config(&role, "size: 5, min_idle: 3")).await;
    let mut wire = proxy.wire_as(&role).await;
    wire.value(WORK).await;
    eventually("three are open", SOON, || async { connections(&role).await >= 3 }).await;
}

/// `idle_timeout` closes what nobody uses.
#[tokio::test]
async fn idle_connections_close() {
    let role = own_role("idle").await;
    let proxy = shared().await.proxy(&config(&role, "size: 3, idle_timeout: 500ms")).await;
    let mut wire = proxy.wire_as(&role).await;
    wire.value(WORK).await;
    eventually("it is closed", SOON, || async { connections(&role).await == 0 }).await;
    wire.value(WORK).await;
}

/// `idle_timeout` closes idle connections down to `min_idle`, and no further.
#[tokio::test]
async fn min_idle_outlives_idle_timeout() {
    let role = own_role("kept").await;
    let proxy = shared().await.proxy(&config(&role, "size: 4, min_idle: 2, idle_timeout: 500ms")).await;
    let mut wires = Vec::new();
    for _ in 0..4 {
        wires.push(busy(&proxy, &role, 0.5).await);
    }
    eventually("four are open", SOON, || async { connections(&role).await == 4 }).await;
    for wire in &mut wires {
        wire.until(b'Z').await;
    }
    eventually("two are closed", SOON, || async { connections(&role).await == 2 }).await;
    // Idle for several times the timeout.
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        assert_eq!(connections(&role).await, 2);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// `recycle` replaces a connection by its age.
#[tokio::test]
async fn old_connections_are_replaced() {
    let role = own_role("recycled").await;
    let proxy = shared().await.proxy(&config(&role, "size: 1, recycle: 300ms")).await;
    let mut wire = proxy.wire_as(&role).await;
    let first = wire.value(WORK).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    wire.value(WORK).await;
    eventually("another connection serves", SOON, || async { connections(&role).await <= 1 }).await;
    assert_ne!(wire.value(WORK).await, first);
}

/// `pre_ping` finds a connection that died while idle before a client does.
#[tokio::test]
async fn a_dead_idle_connection_is_not_lent() {
    let role = own_role("pinged").await;
    let stage = shared().await;
    let proxy = stage.proxy(&config(&role, "size: 2, pre_ping: 1ms")).await;
    let mut wire = proxy.wire_as(&role).await;
    for _ in 0..5 {
        let pid = wire.value(WORK).await;
        stage.primary.sql(&format!("SELECT pg_terminate_backend({pid}, 5000)")).await;
        assert_ne!(wire.value(WORK).await, pid);
    }
}

/// `statement_timeout` cancels a statement that runs longer.
#[tokio::test]
async fn long_statements_are_cancelled() {
    let role = own_role("timed").await;
    let proxy = shared().await.proxy(&config(&role, "size: 1, statement_timeout: 300ms")).await;
    let mut wire = proxy.wire_as(&role).await;
    let start = Instant::now();
    assert_eq!(wire.error("SELECT pg_sleep(20)").await, "57014");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(wire.value("SELECT 1").await, "1");
}

/// `idle_transaction_timeout` frees a connection that a client holds for nothing.
#[tokio::test]
async fn idle_transactions_end() {
    let role = own_role("lazy").await;
    let config = config(&role, "size: 1, idle_transaction_timeout: 400ms");
    let proxy = shared().await.proxy(&config).await;
    let mut lazy = proxy.wire_as(&role).await;
    lazy.run("BEGIN").await;
    lazy.run("SELECT txid_current()").await;
    let mut other = proxy.wire_as(&role).await;
    let start = Instant::now();
    other.value(WORK).await;
    assert!(start.elapsed() < Duration::from_secs(5));
    let frames = lazy.until_closed().await;
    assert!(frames.iter().any(|frame| frame.tag == b'E' && frame.sqlstate() == "25P03"), "{frames:?}");
}

/// `timezone` and `application_name` are what clients that name none get.
#[tokio::test]
async fn usual_settings_are_given() {
    let role = own_role("usual").await;
    let pool = "size: 1, timezone: Europe/Oslo, application_name: through-pointsman";
    let proxy = shared().await.proxy(&config(&role, pool)).await;
    let mut wire = proxy.wire_as(&role).await;
    assert_eq!(wire.value("SHOW timezone").await, "Europe/Oslo");
    assert_eq!(wire.value("SHOW application_name").await, "through-pointsman");
    let own = [
        ("user", role.as_str()),
        ("database", "app"),
        ("application_name", "own"),
        ("TimeZone", "Asia/Aden"),
    ];
    let mut wire = Wire::login_with(proxy.port, &own).await;
    assert_eq!(wire.value("SHOW timezone").await, "Asia/Aden");
    assert_eq!(wire.value("SHOW application_name").await, "own");
}

/// In session mode with a replica, a client that begins with a read can write all the same.
#[tokio::test]
async fn session_mode_reads_on_the_primary() {
    let role = own_role("reading").await;
    let proxy = shared().await.proxy(&config(&role, "size: 5, mode: session")).await;
    for _ in 0..20 {
        let mut wire = proxy.wire_as(&role).await;
        assert_eq!(wire.value("SELECT 1").await, "1");
        wire.run("CREATE TEMP TABLE own (id int)").await;
        wire.run("INSERT INTO own VALUES (1)").await;
        assert_eq!(wire.value("SELECT pg_is_in_recovery()").await, "f");
        wire.send(&msg::terminate()).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// Session mode gives a client its connection for as long as it stays.
#[tokio::test]
async fn session_mode_keeps_the_connection() {
    let role = own_role("session").await;
    let proxy = shared().await.proxy(&config(&role, "size: 2, mode: session, checkout_timeout: 300ms")).await;
    let mut first = proxy.wire_as(&role).await;
    let pid = first.value(WORK).await;
    first.run("SET work_mem = '3MB'").await;
    first.run("CREATE TEMP TABLE kept (id int)").await;
    let mut second = proxy.wire_as(&role).await;
    assert_ne!(second.value(WORK).await, pid);
    for _ in 0..5 {
        assert_eq!(first.value(WORK).await, pid);
    }
    drop(first);
    let mut third = proxy.wire_as(&role).await;
    eventually("the connection is free again", SOON, || async { connections(&role).await <= 2 }).await;
    let mut work_mem = String::new();
    for _ in 0..20 {
        let frames = third.query("SHOW work_mem").await;
        if let Some(row) = frames.iter().find(|frame| frame.tag == b'D') {
            work_mem = row.values()[0].clone().unwrap_or_default();
            break;
        }
        third = proxy.wire_as(&role).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(work_mem, "4MB");
    assert_eq!(third.error("SELECT * FROM kept").await, "42P01");
}
