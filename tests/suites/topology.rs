//! Which server is which, and how it does: failover without loss and without needless errors, slow and returning replicas.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pointsman_tests::{Forwarder, PASSWORD, Proxy, Stage, Wire, eventually, within};
use tokio::sync::Mutex;

use crate::common::{SOON, reads_reach_replica, server_of, unique};

const INTERVAL: Duration = Duration::from_millis(500);
/// The first row of those who write after a fencing.
const AFTER: u32 = 2_000_000_000;
const HEALTH: &str = "health: {interval: 500ms, timeout: 1s}\n";

/// A value of one server's metric.
async fn of_server(proxy: &Proxy, name: &str, port: u16, labels: &[&str]) -> f64 {
    let address = format!("127.0.0.1:{port}\"");
    let labels: Vec<&str> = labels.iter().copied().chain([address.as_str()]).collect();
    proxy.metric(name, &labels).await
}

async fn is_in_state(proxy: &Proxy, port: u16, state: &str) -> bool {
    of_server(proxy, "pointsman_server_state", port, &[&format!("state=\"{state}\"")]).await == 1.0
}

/// What clients were told.
#[derive(Debug, Default)]
struct Told {
    /// Rows whose insertion was acknowledged, and when.
    acknowledged: Vec<(u32, Instant)>,
    /// SQLSTATEs of failures.
    failed: Vec<String>,
}

/// Inserts rows of its own until told to stop; a lost connection is made anew.
async fn insert(proxy: Arc<Proxy>, table: String, first: u32, told: Arc<Mutex<Told>>, stop: Arc<AtomicBool>) {
    let mut wire = proxy.wire().await;
    for id in first.. {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let frames = wire.query(&format!("INSERT INTO {table} VALUES ({id})")).await;
        match frames.iter().find(|frame| frame.tag == b'E') {
            None if frames.iter().any(|frame| frame.tag == b'C') => {
                told.lock().await.acknowledged.push((id, Instant::now()));
            }
            error => {
                told.lock()
                    .await
                    .failed
                    .push(error.map_or_else(|| "closed".into(), |frame| frame.sqlstate()));
                wire = proxy.wire().await;
            }
        }
    }
}

/// The new primary has all that was acknowledged.
async fn assert_nothing_lost(stage: &Stage, table: &str, told: &Told) {
    let rows = stage.replica().admin().await.query(&format!("SELECT id FROM {table}"), &[]).await;
    let there: std::collections::HashSet<i32> = rows.expect("rows").iter().map(|row| row.get(0)).collect();
    let lost: Vec<_> = told.acknowledged.iter().filter(|(id, _)| !there.contains(&(*id as i32))).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

/// The primary dies under load and a replica is promoted: nothing acknowledged is lost, writes are taken within two
/// health intervals, nothing goes to the old primary, which comes back too, and no read to a replica that follows it.
#[tokio::test]
async fn promotion_under_load_loses_nothing() {
    let stage = Stage::new().replicas(2).start().await;
    let proxy = Arc::new(stage.proxy(HEALTH).await);
    let table = unique("promoted");
    proxy.wire().await.run(&format!("CREATE TABLE {table} (id int PRIMARY KEY)")).await;
    // Acknowledged means that both replicas have it.
    stage.primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 2 (*)'").await;
    stage.primary.sql("SELECT pg_reload_conf()").await;
    let (told, stop) = (Arc::new(Mutex::new(Told::default())), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let (proxy, told, stop) = (Arc::clone(&proxy), Arc::clone(&told), Arc::clone(&stop));
            tokio::spawn(insert(proxy, table.clone(), number * 1_000_000, told, stop))
        })
        .collect();
    eventually("writes flow", SOON, || async { told.lock().await.acknowledged.len() > 200 }).await;
    stage.primary.stop("KILL").await;
    stage.replica().promote().await;
    let promoted = Instant::now();
    let moved = || async { told.lock().await.acknowledged.last().is_some_and(|(_, at)| *at > promoted) };
    eventually("writes are taken by the new primary", SOON, moved).await;
    let first = told.lock().await.acknowledged.iter().map(|(_, at)| *at).find(|at| *at > promoted);
    let took = first.expect("a write after the promotion") - promoted;
    assert!(took < INTERVAL * 2, "writes moved after {took:?}");
    stage.primary.start().await;
    let before = stage.primary.log().matches("INSERT INTO").count();
    eventually("the old primary is fenced", SOON, || is_in_state(&proxy, stage.primary.port, "fenced")).await;
    let count = told.lock().await.acknowledged.len();
    eventually("writes go on", SOON, || async { told.lock().await.acknowledged.len() > count + 200 }).await;
    stop.store(true, Ordering::Release);
    for writer in writers {
        within("a writer ends", SOON, writer).await.expect("a writer does not panic");
    }
    assert_eq!(stage.primary.log().matches("INSERT INTO").count(), before, "writes to the old primary");
    let told = told.lock().await;
    assert_nothing_lost(&stage, &table, &told).await;
    // Only what was under way when the primary died may fail: one statement of each writer.
    assert!(told.failed.len() <= 4, "{:?}", told.failed);
    let mut reader = proxy.wire().await;
    let marker = unique("after");
    for _ in 0..20 {
        reader.run(&format!("SELECT count(*) FROM {table} /* {marker} */")).await;
    }
    assert_eq!(
        server_of(&stage, &marker).await,
        "replica0",
        "the other replica follows the old primary still"
    );
}

/// A replica is promoted under load while the primary goes on: that is fenced, later stopped, and comes back. Nothing that
/// was acknowledged is lost, and no statement that begins after the fencing goes to it.
#[tokio::test]
async fn promotion_beside_a_living_primary_loses_nothing() {
    let stage = Stage::new().replicas(2).start().await;
    let proxy = Arc::new(stage.proxy(HEALTH).await);
    let table = unique("beside");
    proxy.wire().await.run(&format!("CREATE TABLE {table} (id int PRIMARY KEY)")).await;
    // Acknowledged means that both replicas have it: the old primary, which loses one, acknowledges nothing more.
    stage.primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 2 (*)'").await;
    stage.primary.sql("SELECT pg_reload_conf()").await;
    let (told, stop) = (Arc::new(Mutex::new(Told::default())), Arc::new(AtomicBool::new(false)));
    let write = |from: u32| {
        let (proxy, told, stop) = (Arc::clone(&proxy), Arc::clone(&told), Arc::clone(&stop));
        tokio::spawn(insert(proxy, table.clone(), from, told, stop))
    };
    let acknowledged = |from: u32| {
        let told = Arc::clone(&told);
        async move { told.lock().await.acknowledged.iter().filter(|(id, _)| *id >= from).count() }
    };
    let mut writers: Vec<_> = (0..4).map(|number| write(number * 1_000_000)).collect();
    eventually("writes flow", SOON, || async { acknowledged(0).await > 200 }).await;
    stage.replica().promote().await;
    let fenced = || is_in_state(&proxy, stage.primary.port, "fenced");
    eventually("the old primary is fenced", SOON, fenced).await;
    // What these send was sent after the fencing. The others may wait on the old primary for what cannot come.
    writers.extend((0..4).map(|number| write(AFTER + number * 1_000_000)));
    eventually("the new primary takes writes", SOON, || async { acknowledged(AFTER).await > 200 }).await;
    stage.primary.stop("INT").await;
    stage.primary.start().await;
    eventually("the old primary is fenced again", SOON, fenced).await;
    let count = acknowledged(0).await;
    eventually("writes go on", SOON, || async { acknowledged(0).await > count + 200 }).await;
    stop.store(true, Ordering::Release);
    for writer in writers {
        within("a writer ends", SOON, writer).await.expect("a writer does not panic");
    }
    let log = stage.primary.log();
    let insert = format!("INSERT INTO {table} VALUES (");
    let sent = log.split(&insert).skip(1);
    let late: Vec<u32> = sent.filter_map(|rest| rest.split(')').next()?.parse().ok()).collect();
    assert!(late.len() > 200 && late.iter().all(|id| *id < AFTER), "writes to the fenced primary");
    assert_nothing_lost(&stage, &table, &*told.lock().await).await;
    let failed = &told.lock().await.failed;
    assert!(failed.len() <= 4, "only what the old primary had may fail: {failed:?}");
}

/// Statements that were not sent when the primary went away wait for the next one; a cancel ends the wait.
#[tokio::test]
async fn statements_not_sent_wait_for_a_primary() {
    let stage = Stage::new().replicas(1).start().await;
    let proxy = stage.proxy("health: {interval: 200ms, timeout: 1s}\nfailover_wait: 20s\n").await;
    let table = unique("waited");
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(proxy.wire().await);
    }
    clients[0].run(&format!("CREATE TABLE {table} (id int)")).await;
    stage.wait_replayed().await;
    stage.primary.stop("INT").await;
    let mut cancelled = clients.pop().expect("a client");
    cancelled.send(&pointsman_tests::msg::query(&format!("INSERT INTO {table} VALUES (9)"))).await;
    let waits = clients.into_iter().enumerate().map(|(number, mut wire)| {
        let sql = format!("INSERT INTO {table} VALUES ({number})");
        tokio::spawn(async move { wire.run(&sql).await })
    });
    let waits: Vec<_> = waits.collect();
    cancelled.quiet(Duration::from_millis(500)).await;
    cancelled.cancel(proxy.port).await;
    let frames = within("the cancel ends the wait", SOON, cancelled.until(b'Z')).await;
    assert_eq!(frames[0].sqlstate(), "57014");
    stage.replica().promote().await;
    for wait in waits {
        within("the insert is done", SOON, wait).await.expect("no statement fails");
    }
    assert_eq!(stage.replica().value(&format!("SELECT count(*) FROM {table}")).await, "5");
}

/// The wait has an end, and the primary that comes back by itself serves those who wait.
#[tokio::test]
async fn the_wait_for_a_primary_is_bounded() {
    let stage = Stage::new().start().await;
    let health = "health: {interval: 200ms, timeout: 1s}\n";
    let proxy = stage.proxy(&format!("{health}failover_wait: 600ms\n")).await;
    let patient = stage.proxy(&format!("{health}failover_wait: 30s\n")).await;
    let (mut wire, mut waiting) = (proxy.wire().await, patient.wire().await);
    let write = "SELECT pg_advisory_xact_lock(1)";
    wire.run(write).await;
    waiting.run(write).await;
    stage.primary.stop("INT").await;
    let begun = Instant::now();
    let sqlstate = wire.error(write).await;
    assert!(sqlstate.starts_with("08") || sqlstate.starts_with("57P"), "{sqlstate}");
    assert!(begun.elapsed() >= Duration::from_millis(600), "{:?}", begun.elapsed());
    let waits = tokio::spawn(async move { waiting.run(write).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    stage.primary.start().await;
    within("the statement is done", SOON, waits).await.expect("it does not fail");
}

/// Two servers claim to be the primary on one timeline: neither is believed, and no write is taken.
#[tokio::test]
async fn two_equal_claims_stop_writes() {
    let stage = Stage::new().replicas(1).start().await;
    let proxy = stage.proxy("health: {interval: 100ms, timeout: 1s}\nfailover_wait: 300ms\n").await;
    let table = unique("claimed");
    let mut wire = proxy.wire().await;
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    stage.replica().start_as_stray().await;
    eventually("both are fenced", SOON, || async {
        is_in_state(&proxy, stage.primary.port, "fenced").await
            && is_in_state(&proxy, stage.replica().port, "fenced").await
    })
    .await;
    assert_eq!(wire.error(&format!("INSERT INTO {table} VALUES (1)")).await, "08006");
    stage.replica().stop("INT").await;
    eventually("one claim is believed again", SOON, || async {
        wire_takes(&proxy, &format!("INSERT INTO {table} VALUES (2)")).await
    })
    .await;
}

async fn wire_takes(proxy: &Proxy, sql: &str) -> bool {
    let mut wire: Wire = proxy.wire().await;
    wire.query(sql).await.iter().all(|frame| frame.tag != b'E')
}

/// A replica that answers late is slow only after several late answers in a row, gets no reads then, and is up again
/// after several good ones.
#[tokio::test]
async fn a_slow_replica_is_left_and_taken_back() {
    let stage = Stage::new().replicas(2).start().await;
    let (first, second) =
        (Forwarder::to(stage.replicas[0].port).await, Forwarder::to(stage.replicas[1].port).await);
    let url = |port: u16| format!("postgres://postgres:{PASSWORD}@127.0.0.1:{port}/app");
    let proxy = stage
        .proxy(&format!(
            "replicas: [\"{}\", \"{}\"]\nhealth: {{interval: 100ms, timeout: 2s, slow: 60ms, failures: 3, recoveries: 3}}\n",
            url(first.port),
            url(second.port)
        ))
        .await;
    reads_reach_replica(&stage, &mut proxy.wire().await).await;
    eventually("both are up", SOON, || async {
        is_in_state(&proxy, first.port, "up").await && is_in_state(&proxy, second.port, "up").await
    })
    .await;
    first.delay(Duration::from_millis(100));
    eventually("it is slow", SOON, || is_in_state(&proxy, first.port, "slow")).await;
    assert!(of_server(&proxy, "pointsman_server_round_trip_seconds", first.port, &[]).await > 0.06);
    let marker = unique("slow");
    let mut wire = proxy.wire().await;
    for _ in 0..30 {
        wire.run(&format!("SELECT 1 /* {marker} */")).await;
    }
    assert_eq!(server_of(&stage, &marker).await, "replica1");
    // Better slow than none.
    stage.replicas[1].stop("INT").await;
    eventually("the slow one serves", SOON, || async {
        let marker = unique("only");
        proxy.wire().await.run(&format!("SELECT 1 /* {marker} */")).await;
        server_of(&stage, &marker).await == "replica0"
    })
    .await;
    first.delay(Duration::ZERO);
    eventually("it is up", SOON, || is_in_state(&proxy, first.port, "up")).await;
}

/// A replica that has come back gets a share of the reads that grows.
#[tokio::test]
async fn a_replica_that_comes_back_starts_slowly() {
    let stage = Stage::new().replicas(2).start().await;
    let proxy = stage.proxy("health: {interval: 100ms, timeout: 1s}\nslow_start: 6s\n").await;
    let mut wire = proxy.wire().await;
    reads_reach_replica(&stage, &mut wire).await;
    let back = &stage.replicas[1];
    back.stop("INT").await;
    eventually("it is down", SOON, || is_in_state(&proxy, back.port, "down")).await;
    back.start().await;
    eventually("it is up", SOON, || is_in_state(&proxy, back.port, "up")).await;
    let first = share_of(&stage, &mut wire, 1).await;
    assert!(first < 0.3, "at first: {first}");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let later = share_of(&stage, &mut wire, 1).await;
    assert!(later > 0.3 && later < 0.7, "later: {later}");
}

/// The part of 300 reads that a replica serves.
async fn share_of(stage: &Stage, wire: &mut Wire, replica: usize) -> f64 {
    let marker = unique("share");
    for _ in 0..300 {
        wire.run(&format!("SELECT 1 /* {marker} */")).await;
    }
    let counted =
        || stage.replicas.iter().map(|replica| replica.log().matches(&marker).count()).collect::<Vec<_>>();
    eventually("the logs show the reads", SOON, || async { counted().iter().sum::<usize>() >= 300 }).await;
    counted()[replica] as f64 / 300.0
}
