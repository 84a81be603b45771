//! Transactions and writes over several shards: refused with a hint, or all or nothing.
use pointsman_tests::{Frame, Proxy, Stage, Wire, pretty};

use super::seen::{column, everywhere};
use super::world::{self, ONE_SHARD_WRITES, World};

/// A stage with rows, a proxy and a client. `more` is YAML.
async fn setting(more: &str) -> (Stage, Proxy, Wire) {
    let stage = world::empty(Stage::new().shards(4)).await;
    World::new(&stage).await.reset().await;
    let proxy = world::proxy(&stage, more).await;
    let wire = world::social(&proxy).await;
    (stage, proxy, wire)
}

/// The refusal that a statement gets.
async fn refusal(wire: &mut Wire, sql: &str) -> Frame {
    let frames = wire.query(sql).await;
    let error = frames.iter().find(|frame| frame.tag == b'E');
    let error = error.unwrap_or_else(|| panic!("{sql} is not refused:\n{}", pretty(&frames)));
    assert_eq!(error.sqlstate(), "0A000", "{sql}: {error}");
    assert!(frames.iter().all(|frame| frame.tag != b'D'), "{sql} gave rows");
    error.clone()
}

/// Without two-phase commit a transaction stays on its first shard.
#[tokio::test]
async fn a_transaction_is_pinned_to_its_first_shard() {
    if Proxy::is_direct() {
        return;
    }
    let (stage, _proxy, mut wire) = setting(ONE_SHARD_WRITES).await;
    wire.run("BEGIN").await;
    wire.run("UPDATE agents SET name = 'one' WHERE id = 1").await;
    assert_eq!(
        column(&mut wire, "SELECT name FROM agents WHERE id IN (1, 5) ORDER BY id LIMIT 1").await,
        ["one"]
    );
    wire.run("UPDATE agents SET name = 'five' WHERE id = 5").await;
    wire.run("COMMIT").await;
    wire.run("BEGIN").await;
    wire.run("UPDATE agents SET name = 'more' WHERE id = 1").await;
    let error = refusal(&mut wire, "UPDATE agents SET name = 'two' WHERE id = 2").await;
    assert!(error.field('H').contains("cross_shard_writes: two_phase"), "{error}");
    assert_eq!(wire.error("SELECT 1").await, "25P02");
    wire.run("ROLLBACK").await;
    let mut parts = world::parts(&stage).await;
    let names =
        everywhere(&mut parts, "SELECT name FROM agents WHERE name IN ('one', 'five', 'more', 'two')").await;
    assert_eq!(names, ["five", "one"]);
}

/// With it, a transaction that has written to several shards is committed or undone on all of them.
#[tokio::test]
async fn a_transaction_over_several_shards() {
    let (stage, _proxy, mut wire) = setting("").await;
    let mut parts = world::parts(&stage).await;
    for (end, want) in [("ROLLBACK", 0), ("COMMIT", 3)] {
        wire.run("BEGIN").await;
        for id in 1..=3 {
            wire.run(&format!("UPDATE agents SET name = 'together' WHERE id = {id}")).await;
        }
        let seen = column(&mut wire, "SELECT id FROM agents WHERE name = 'together' ORDER BY id").await;
        assert_eq!(seen, ["1", "2", "3"], "a transaction sees its own writes");
        wire.run(end).await;
        let found = everywhere(&mut parts, "SELECT id FROM agents WHERE name = 'together'").await;
        assert_eq!(found.len(), want, "after {end}");
        let prepared = everywhere(&mut parts, "SELECT gid FROM pg_prepared_xacts").await;
        assert_eq!(prepared, Vec::<String>::new(), "after {end}");
    }
}

/// An error on one shard fails the transaction on all.
#[tokio::test]
async fn an_error_fails_the_transaction_everywhere() {
    let (stage, _proxy, mut wire) = setting("").await;
    wire.run("BEGIN").await;
    wire.run("UPDATE agents SET name = 'gone' WHERE id = 1").await;
    assert_eq!(wire.error("INSERT INTO agents (id) VALUES (2)").await, "23505");
    assert_eq!(wire.error("SELECT id FROM agents WHERE id = 1").await, "25P02");
    let frames = wire.query("COMMIT").await;
    assert_eq!(frames[0].text(), "ROLLBACK", "{}", pretty(&frames));
    let mut parts = world::parts(&stage).await;
    assert_eq!(
        everywhere(&mut parts, "SELECT id FROM agents WHERE name = 'gone'").await,
        Vec::<String>::new()
    );
}

/// Savepoints hold on every shard that the transaction has come to.
#[tokio::test]
async fn savepoints_hold_everywhere() {
    let (stage, _proxy, mut wire) = setting("").await;
    wire.run("BEGIN").await;
    wire.run("UPDATE agents SET name = 'kept' WHERE id = 1").await;
    let frames = wire.query("SAVEPOINT a").await;
    if frames.iter().any(|frame| frame.tag == b'E' && frame.sqlstate() == "0A000") {
        wire.run("ROLLBACK").await;
        return;
    }
    wire.run("UPDATE agents SET name = 'undone' WHERE id = 2").await;
    wire.run("UPDATE agents SET name = 'undone' WHERE id = 1").await;
    wire.run("ROLLBACK TO a").await;
    wire.run("UPDATE agents SET name = 'kept' WHERE id = 3").await;
    wire.run("COMMIT").await;
    let mut parts = world::parts(&stage).await;
    let found =
        everywhere(&mut parts, "SELECT name || id FROM agents WHERE name IN ('kept', 'undone')").await;
    assert_eq!(found, ["kept1", "kept3"]);
}

/// A row does not move: the refusal says what does it.
#[tokio::test]
async fn a_key_is_not_updated() {
    let (stage, _proxy, mut wire) = setting("").await;
    if Proxy::is_direct() {
        return;
    }
    for sql in ["UPDATE agents SET id = 102 WHERE id = 1", "UPDATE agents SET id = id + 100"] {
        let error = refusal(&mut wire, sql).await;
        let hint = error.field('H');
        assert!(hint.contains("DELETE") && hint.contains("INSERT"), "{error}");
    }
    let sql = "INSERT INTO agents (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 102";
    refusal(&mut wire, sql).await;
    let mut parts = world::parts(&stage).await;
    assert_eq!(everywhere(&mut parts, "SELECT id FROM agents WHERE id BETWEEN 25 AND 999").await.len(), 0);
}

/// Writes without a key are refused without two-phase commit, and change nothing; with it they count all rows.
#[tokio::test]
async fn writes_without_a_key() {
    let (stage, proxy, mut wire) = setting(ONE_SHARD_WRITES).await;
    let mut parts = world::parts(&stage).await;
    let all = everywhere(&mut parts, "SELECT id FROM agents").await.len();
    if !Proxy::is_direct() {
        let writes = [
            "UPDATE agents SET name = 'all'",
            "DELETE FROM agents WHERE name IS NOT NULL OR name IS NULL",
            "INSERT INTO agents (id) VALUES (2001), (2002)",
            "INSERT INTO communities (id) VALUES (77)",
            "UPDATE communities SET name = 'all'",
        ];
        for sql in writes {
            let error = refusal(&mut wire, sql).await;
            assert!(error.field('H').contains("cross_shard_writes: two_phase"), "{sql}: {error}");
        }
        assert_eq!(everywhere(&mut parts, "SELECT id FROM agents WHERE name = 'all'").await.len(), 0);
        assert_eq!(everywhere(&mut parts, "SELECT id FROM agents").await.len(), all);
        assert_eq!(
            everywhere(&mut parts, "SELECT id FROM communities WHERE id = 77 OR name = 'all'").await.len(),
            0
        );
    }
    drop(proxy);
    let proxy = world::proxy(&stage, "").await;
    let mut wire = world::social(&proxy).await;
    let frames = wire.run("UPDATE agents SET name = 'all'").await;
    assert_eq!(frames[0].text(), format!("UPDATE {all}"));
    let frames = wire.run("INSERT INTO communities (id, name) VALUES (77, 'new') RETURNING id").await;
    assert_eq!(frames.iter().filter(|frame| frame.tag == b'D').count(), 1, "{}", pretty(&frames));
    let copies = everywhere(&mut parts, "SELECT name FROM communities WHERE id = 77").await;
    assert_eq!(copies, vec!["new"; parts.len()]);
    let frames = wire.run("DELETE FROM agents RETURNING id").await;
    assert_eq!(frames.iter().filter(|frame| frame.tag == b'D').count(), all);
    assert_eq!(everywhere(&mut parts, "SELECT id FROM agents").await.len(), 0);
}

/// Definitions are made on every shard; one that fails says where.
#[tokio::test]
async fn definitions_go_to_every_shard() {
    let (stage, _proxy, mut wire) = setting("").await;
    let mut parts = world::parts(&stage).await;
    wire.run("CREATE TABLE events (id bigint PRIMARY KEY, body text)").await;
    wire.run("CREATE INDEX events_body ON events (body)").await;
    wire.run("ALTER TABLE agents ADD COLUMN mood text DEFAULT 'fine'").await;
    let found = everywhere(&mut parts, "SELECT to_regclass('events_body')::text").await;
    assert_eq!(found, vec!["events_body"; parts.len()]);
    assert_eq!(column(&mut wire, "SELECT DISTINCT mood FROM agents").await, ["fine"]);
    if Proxy::is_direct() {
        return;
    }
    parts[2].run("CREATE TABLE only_there (id int)").await;
    let frames = wire.query("CREATE TABLE only_there (id int)").await;
    let error = frames.iter().find(|frame| frame.tag == b'E').expect("it fails on a shard");
    assert_eq!(error.sqlstate(), "42P07", "{error}");
    assert!(error.to_string().contains("s2"), "{error}");
    let found = everywhere(&mut parts, "SELECT to_regclass('only_there')::text").await;
    assert_eq!(found.iter().filter(|name| *name == "only_there").count(), 1, "all or nothing: {found:?}");
}
