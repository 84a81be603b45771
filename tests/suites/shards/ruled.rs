//! What a policy's rule says of a statement holds for each of its parts, on one shard and on several, in either protocol.
use std::time::Duration;

use pointsman_tests::{Frame, Proxy, Stage, Wire, eventually, msg, pretty};

use super::seen::column;
use super::world;
use crate::common::{SOON, policy};

/// Comments choose the rule. The limit on lag is far below the pause that the test makes.
const SPEC: &str = "\x20 tables:
    agents: {shard_key: id}
    interactions: {shard_key: initiator_id, read_from: primary}
  rules:
    - {name: loose, match: {comment: {read: 'loose'}}, route: replica, consistency: eventual}
    - {name: near, match: {comment: {read: 'near'}}, route: replica, consistency: eventual, max_lag: 500ms}
    - {name: choose, match: {comment: {read: 'choose'}}, overrides: allow, consistency: eventual}
    - {name: brief, match: {comment: {read: 'brief'}}, timeout: 300ms}
    - {name: never, match: {comment: {read: 'never'}}, refuse: {sqlstate: '42501', message: no}}
    - {name: keep, match: {reads: {any: [interactions]}}, consistency: eventual}
";

/// Two shards with a replica each, which have one agent and one interaction of each shard and will have no more.
async fn paused() -> (Stage, Proxy, Wire) {
    let stage = world::empty(Stage::new().shards(2).shard_servers(1)).await;
    let proxy = stage.proxy(&policy(&stage, SPEC)).await;
    let mut wire = world::social(&proxy).await;
    wire.run("INSERT INTO agents (id, name) VALUES (2, 'x'), (3, 'x')").await;
    wire.run("INSERT INTO interactions (initiator_id, id) VALUES (2, 1), (3, 1)").await;
    for shard in &stage.shards {
        let replica = shard.servers[1].admin_of(&shard.database).await;
        eventually("the replica follows", SOON, || async {
            let sql = "SELECT (SELECT count(*) FROM agents) + (SELECT count(*) FROM interactions)";
            replica.query_one(sql, &[]).await.is_ok_and(|row| row.get::<_, i64>(0) == 2)
        })
        .await;
        replica.batch_execute("SELECT pg_wal_replay_pause()").await.expect("replay is paused");
    }
    wire.run("INSERT INTO agents (id, name) VALUES (4, 'x'), (5, 'x')").await;
    wire.run("INSERT INTO interactions (initiator_id, id) VALUES (4, 1), (5, 1)").await;
    eventually("the proxy has replicas to read from", SOON, || async {
        let mut wire = world::social(&proxy).await;
        column(&mut wire, "SELECT id FROM agents /*read='loose'*/").await.len() == 2
    })
    .await;
    (stage, proxy, wire)
}

/// How many rows a read has, by the simple and by the extended protocol.
async fn each(wire: &mut Wire, sql: &str) -> [usize; 2] {
    let simple = column(wire, sql).await.len();
    let frames = wire.ask(&[msg::statement(sql, &[]), msg::sync()].concat()).await;
    assert!(frames.iter().all(|frame| frame.tag != b'E'), "{sql}: {}", pretty(&frames));
    [simple, frames.iter().filter(|frame| frame.tag == b'D').count()]
}

/// The same, where they agree.
async fn both(wire: &mut Wire, sql: &str) -> usize {
    let [simple, extended] = each(wire, sql).await;
    assert_eq!(simple, extended, "{sql}");
    simple
}

fn states(frames: &[Frame]) -> Vec<String> {
    frames.iter().filter(|frame| frame.tag == b'E').map(Frame::sqlstate).collect()
}

/// A replica that is behind shows less than the primary: how many rows there are tells who was asked.
#[tokio::test]
async fn parts_are_as_fresh_as_the_rule_says() {
    let (_stage, _proxy, mut wire) = paused().await;
    for (sql, fresh, stale) in [
        ("SELECT id FROM agents", 4, 2),
        ("SELECT id FROM agents ORDER BY id", 4, 2),
        ("SELECT id, count(*) FROM agents GROUP BY name, id", 4, 2),
        (
            "SELECT id FROM agents WHERE id IN (SELECT initiator_id + 0 FROM interactions WHERE initiator_id IN (4, 5))",
            2,
            0,
        ),
        ("SELECT id FROM agents WHERE id = 4", 1, 0),
    ] {
        assert_eq!(both(&mut wire, sql).await, fresh, "{sql}");
        let interactions = sql.contains("interactions");
        if !interactions {
            assert_eq!(both(&mut wire, &format!("{sql} /*read='loose'*/")).await, stale, "{sql}");
            assert_eq!(
                both(&mut wire, &format!("/* pointsman: route=primary */ {sql} /*read='choose'*/")).await,
                fresh
            );
            assert_eq!(
                both(&mut wire, &format!("/* pointsman: route=replica */ {sql} /*read='choose'*/")).await,
                stale
            );
        }
        // The replicas fall further behind than the rule lets them.
        let near = format!("{sql} /*read='near'*/");
        let since = std::time::Instant::now();
        while each(&mut wire, &near).await != [fresh, fresh] {
            assert!(since.elapsed() < SOON, "{near}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // A table that is read from the primary is, whatever else the rule says.
    assert_eq!(both(&mut wire, "SELECT initiator_id FROM interactions /*read='loose'*/").await, 4);
    assert_eq!(
        both(&mut wire, "SELECT initiator_id FROM interactions WHERE initiator_id = 4 /*read='loose'*/")
            .await,
        1
    );
    // What a rule said of one statement says nothing of the next.
    assert_eq!(both(&mut wire, "SELECT id FROM agents").await, 4);
}

/// Also of what is inside a transaction on several shards.
#[tokio::test]
async fn refusals_hold_in_either_protocol() {
    let (_stage, _proxy, mut wire) = paused().await;
    let sql = "SELECT id FROM agents /*read='never'*/";
    let extended = [msg::statement(sql, &[]), msg::sync()].concat();
    assert_eq!(states(&wire.query(sql).await), ["42501"]);
    assert_eq!(states(&wire.ask(&extended).await), ["42501"]);
    for bytes in [msg::query(sql), extended] {
        wire.run("BEGIN").await;
        wire.run("UPDATE agents SET name = 'y' WHERE id = 2").await;
        assert_eq!(states(&wire.ask(&bytes).await), ["42501"]);
        assert_eq!(states(&wire.query("SELECT 1").await), ["25P02"]);
        wire.run("ROLLBACK").await;
    }
}

/// A part that takes longer than the rule lets it is cancelled, and the next statement may take as long as it needs.
#[tokio::test]
async fn a_timeout_holds_for_each_part() {
    let (stage, _proxy, mut wire) = paused().await;
    let mut holder = stage.shards[1].wire().await;
    holder.run("BEGIN; LOCK TABLE agents IN ACCESS EXCLUSIVE MODE").await;
    let sql = "SELECT id FROM agents WHERE name <> 'z' /*read='brief'*/";
    assert_eq!(states(&wire.query(sql).await), ["57014"]);
    assert_eq!(states(&wire.ask(&[msg::statement(sql, &[]), msg::sync()].concat()).await), ["57014"]);
    wire.send(&msg::query("SELECT id FROM agents WHERE name <> 'w'")).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    holder.run("COMMIT").await;
    let frames = wire.until(b'Z').await;
    assert_eq!(frames.iter().filter(|frame| frame.tag == b'D').count(), 4, "{}", pretty(&frames));
}
