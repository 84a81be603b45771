//! Cancels, clients that leave and servers that die in the middle of a scatter.
use std::time::Duration;

use pointsman_tests::{Forwarder, Frame, Proxy, Stage, Wire, eventually, msg, pretty};

use super::seen::column;
use super::world::{self, World};
use crate::common::{SOON, unique};

async fn setting(servers: bool) -> (Stage, Proxy) {
    let builder = Stage::new().shards(4);
    let stage = world::empty(if servers { builder.shard_servers(0) } else { builder }).await;
    World::new(&stage).await.reset().await;
    let proxy = world::proxy(&stage, "").await;
    (stage, proxy)
}

/// One shard waits for a lock that this connection holds; the third of them where there are several.
async fn hold(stage: &Stage) -> Wire {
    let mut holder = if Proxy::is_direct() {
        Wire::login(stage.primary.port, "app", pointsman_tests::SOCIAL).await
    } else {
        stage.shards[2].wire().await
    };
    holder.run("BEGIN; LOCK TABLE agents IN ACCESS EXCLUSIVE MODE").await;
    holder
}

/// Statements of clients that some shard still runs.
async fn running(stage: &Stage, marker: &str) -> usize {
    counted(stage, marker, "").await
}

/// A part of the statement waits for the lock that is held.
async fn blocked(stage: &Stage, marker: &str) {
    eventually("a part waits for the lock", SOON, || async {
        counted(stage, marker, "AND wait_event_type = 'Lock'").await == 1
    })
    .await;
}

async fn counted(stage: &Stage, marker: &str, condition: &str) -> usize {
    let mut count = 0;
    for part in &mut world::parts(stage).await {
        let sql = format!(
            "SELECT pid FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid() \
             AND datname = current_database() AND query LIKE '%{marker}%' {condition}"
        );
        count += column(part, &sql).await.len();
    }
    count
}

fn errors(frames: &[Frame]) -> Vec<String> {
    frames.iter().filter(|frame| frame.tag == b'E').map(Frame::sqlstate).collect()
}

/// Every shard's part is cancelled, and the client goes on.
#[tokio::test]
async fn a_cancel_reaches_all_parts() {
    let (stage, proxy) = setting(false).await;
    let mut holder = hold(&stage).await;
    let mut wire = world::social(&proxy).await;
    for _ in 0..3 {
        let marker = unique("cancelled");
        wire.send(&msg::query(&format!("SELECT id, '{marker}' FROM agents ORDER BY id"))).await;
        blocked(&stage, &marker).await;
        wire.cancel(proxy.port).await;
        let frames = wire.until(b'Z').await;
        assert_eq!(errors(&frames), ["57014"], "{}", pretty(&frames));
        assert!(frames.iter().all(|frame| frame.tag != b'C'), "{}", pretty(&frames));
        eventually("nothing runs", SOON, || async { running(&stage, &marker).await == 0 }).await;
    }
    holder.run("ROLLBACK").await;
    assert_eq!(wire.value("SELECT count(*) FROM agents").await, "28");
}

/// An error of one part cancels the others, and nothing that comes after them in the transaction.
#[tokio::test]
async fn a_late_cancel_meets_no_other_statement() {
    let (mut stage, _) = setting(false).await;
    let way = Forwarder::to(stage.primary.port).await;
    way.delay_cancels(Duration::from_millis(100));
    stage.shards.iter_mut().for_each(|shard| shard.port = way.port);
    let proxy = world::proxy(&stage, "").await;
    let mut wire = world::social(&proxy).await;
    wire.run("BEGIN").await;
    for id in 1..=8 {
        wire.run("SAVEPOINT a").await;
        let frames = wire.query("SELECT id / 0 FROM agents").await;
        assert_eq!(errors(&frames), ["22012"], "{}", pretty(&frames));
        wire.run("ROLLBACK TO a").await;
        wire.run(&format!("SELECT pg_sleep(0.2) FROM agents WHERE id = {id}")).await;
    }
    wire.run("COMMIT").await;
}

/// A client that leaves takes nothing with it: its statements end and its connections serve others.
#[tokio::test]
async fn a_client_leaves_in_the_middle() {
    let (stage, proxy) = setting(false).await;
    let mut holder = hold(&stage).await;
    let marker = unique("left");
    for _ in 0..6 {
        let mut wire = world::social(&proxy).await;
        wire.send(&msg::query(&format!("SELECT id, '{marker}' FROM agents ORDER BY id"))).await;
        blocked(&stage, &marker).await;
        drop(wire);
    }
    if !Proxy::is_direct() {
        eventually("nothing runs", SOON, || async { running(&stage, &marker).await == 0 }).await;
    }
    holder.run("ROLLBACK").await;
    let mut wire = world::social(&proxy).await;
    assert_eq!(wire.value("SELECT count(*) FROM agents").await, "28");
}

/// Nor does one that leaves while rows stream.
#[tokio::test]
async fn a_client_leaves_while_rows_stream() {
    let (stage, proxy) = setting(false).await;
    for (number, part) in world::parts(&stage).await.iter_mut().enumerate() {
        let first = 10_000 + number;
        let sql = format!(
            "INSERT INTO agents (id, name) SELECT i, repeat('x', 1000) FROM generate_series({first}, 50000, 4) i"
        );
        part.run(&sql).await;
    }
    for _ in 0..8 {
        let mut wire = world::social(&proxy).await;
        wire.send(&msg::query("SELECT * FROM agents WHERE id >= 10000 ORDER BY id")).await;
        let frames = wire.frames(20).await;
        assert!(errors(&frames).is_empty(), "{}", pretty(&frames));
    }
    let mut wire = world::social(&proxy).await;
    assert_eq!(
        column(&mut wire, "SELECT id FROM agents WHERE id >= 10000 ORDER BY id LIMIT 2").await.len(),
        2
    );
    let mut slow = world::social(&proxy).await;
    slow.send(&msg::query("SELECT * FROM agents WHERE id >= 10000 ORDER BY id")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        wire.value("SELECT count(*) FROM agents WHERE id = 1").await,
        "1",
        "a slow reader is in nobody's way"
    );
    let frames = slow.until(b'Z').await;
    let ids: Vec<i64> = frames
        .iter()
        .filter(|frame| frame.tag == b'D')
        .filter_map(|frame| frame.values().swap_remove(0)?.parse().ok())
        .collect();
    assert!(ids.is_sorted() && ids.len() > 10_000, "{} rows", ids.len());
}

/// A shard that dies fails the statement: what has come is not taken for all. The others serve on, and it comes back.
#[tokio::test]
async fn a_shard_dies_in_the_middle() {
    if Proxy::is_direct() {
        return;
    }
    let (stage, proxy) = setting(true).await;
    let holder = hold(&stage).await;
    let mut wire = world::social(&proxy).await;
    let marker = unique("dying");
    wire.send(&msg::query(&format!("SELECT id, '{marker}' FROM agents"))).await;
    blocked(&stage, &marker).await;
    stage.shards[2].server().stop("QUIT").await;
    drop(holder);
    let frames = wire.until(b'Z').await;
    assert_eq!(errors(&frames).len(), 1, "{}", pretty(&frames));
    assert!(frames.iter().all(|frame| frame.tag != b'C'), "no end as if it were whole: {}", pretty(&frames));
    assert_eq!(wire.value("SELECT id FROM agents WHERE id = 1").await, "1");
    let start = std::time::Instant::now();
    let frames = wire.query("SELECT id FROM agents ORDER BY id").await;
    assert_eq!(errors(&frames).len(), 1, "{}", pretty(&frames));
    assert!(start.elapsed() < Duration::from_secs(15));
    stage.shards[2].server().start().await;
    eventually("all shards are back", SOON, || async {
        let mut wire = world::social(&proxy).await;
        wire.query("SELECT count(*) FROM agents").await.iter().any(|frame| frame.tag == b'D')
    })
    .await;
    assert_eq!(wire.value("SELECT count(*) FROM agents").await, "28");
}

/// An error of one shard is the client's; the others' parts end.
#[tokio::test]
async fn an_error_of_one_shard() {
    let (stage, proxy) = setting(false).await;
    let mut wire = world::social(&proxy).await;
    for _ in 0..5 {
        let marker = unique("failing");
        let frames = wire.query(&format!("SELECT id, '{marker}', 1 / (id - 6) FROM agents")).await;
        assert_eq!(errors(&frames), ["22012"], "{}", pretty(&frames));
        eventually("nothing runs", SOON, || async { running(&stage, &marker).await == 0 }).await;
        assert_eq!(wire.value("SELECT count(*) FROM agents").await, "28");
    }
}
