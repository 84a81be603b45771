//! Transactions belong to one client from `BEGIN` to their end, whatever that end is.
use std::time::Duration;

use pointsman_tests::{Stage, Wire, eventually, msg, pretty, tags};
use tokio::task::JoinSet;

use crate::common::{SOON, reads_reach_replica, server_of, shared, unique};

/// A client gone in a transaction is rolled back, and nobody inherits it.
#[tokio::test]
async fn a_vanished_client_is_rolled_back() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 1}\n").await;
    let table = unique("vanished");
    proxy.wire().await.run(&format!("CREATE TABLE {table} (id int)")).await;
    for leave in ["drop", "terminate", "failed"] {
        let mut wire = proxy.wire().await;
        wire.run("BEGIN").await;
        wire.run(&format!("INSERT INTO {table} VALUES (1)")).await;
        match leave {
            "terminate" => wire.send(&msg::terminate()).await,
            "failed" => drop(wire.query("SELECT 1/0").await),
            _ => {}
        }
        drop(wire);
        let mut next = proxy.wire().await;
        let frames = next.run(&format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(frames[1].values()[0].as_deref(), Some("0"), "{leave}");
        assert_eq!(&frames.last().expect("an end").body[..], b"I", "{leave}");
    }
}

/// A client gone while its statement runs: the statement is ended, its transaction rolled back.
#[tokio::test]
async fn a_client_gone_during_a_statement_does_not_block() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 1, checkout_timeout: 20s}\n").await;
    let marker = unique("gone_running");
    let mut wire = proxy.wire().await;
    wire.send(&msg::query(&format!("SELECT pg_sleep(3600) /* {marker} */"))).await;
    eventually("it runs", SOON, || async { stage.primary.logged(&marker) }).await;
    drop(wire);
    let mut next = proxy.wire().await;
    assert_eq!(next.value("SELECT 1 FROM (SELECT random()) r").await, "1");
}

/// A backend returned to the pool mid-transaction: check-in happens only at `ReadyForQuery` `I`.
#[tokio::test]
async fn transactions_of_many_clients_never_mix() {
    let proxy = shared().await.proxy("pool: {size: 2}\n").await;
    let table = unique("unmixed");
    proxy.wire().await.run(&format!("CREATE TABLE {table} (client int, step int)")).await;
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let mut wire = proxy.wire().await;
        let table = table.clone();
        clients.spawn(async move {
            for round in 0..10 {
                wire.run("BEGIN").await;
                let transaction = wire.value("SELECT txid_current()").await;
                for step in 0..3 {
                    wire.run(&format!("INSERT INTO {table} VALUES ({client}, {step})")).await;
                    assert_eq!(wire.value("SELECT txid_current()").await, transaction);
                }
                wire.run(if round % 2 == 0 { "COMMIT" } else { "ROLLBACK" }).await;
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.expect("every client keeps its transaction");
    }
    assert_eq!(proxy.wire().await.value(&format!("SELECT count(*) FROM {table}")).await, "120");
}

/// An error in a transaction leaves it failed, as `ReadyForQuery` says, until it ends.
#[tokio::test]
async fn a_failed_transaction_answers_as_postgresql() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let status = |frames: &[pointsman_tests::Frame]| frames.last().map(|frame| frame.body[0]);
    assert_eq!(status(&wire.query("BEGIN").await), Some(b'T'));
    assert_eq!(status(&wire.query("SELECT 1/0").await), Some(b'E'));
    let frames = wire.query("SELECT 1").await;
    assert_eq!(frames[0].sqlstate(), "25P02", "{}", pretty(&frames));
    assert_eq!(status(&frames), Some(b'E'));
    let frames = wire.query("COMMIT").await;
    assert_eq!(frames[0].text(), "ROLLBACK");
    assert_eq!(status(&frames), Some(b'I'));
    let frames = wire.query("COMMIT").await;
    assert_eq!(tags(&frames), "NCZ", "{}", pretty(&frames));
}

/// Savepoints work through the proxy, and `ROLLBACK TO` revives a failed transaction.
#[tokio::test]
async fn savepoints_revive_a_transaction() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let table = unique("savepoint");
    wire.run(&format!("CREATE TABLE {table} (id int PRIMARY KEY)")).await;
    wire.run("BEGIN").await;
    wire.run(&format!("INSERT INTO {table} VALUES (1)")).await;
    wire.run("SAVEPOINT s").await;
    assert_eq!(wire.error(&format!("INSERT INTO {table} VALUES (1)")).await, "23505");
    wire.run("ROLLBACK TO SAVEPOINT s").await;
    wire.run(&format!("INSERT INTO {table} VALUES (2)")).await;
    wire.run("COMMIT").await;
    assert_eq!(wire.value(&format!("SELECT count(*) FROM {table}")).await, "2");
}

/// `BEGIN` alone, then nothing, then a read: the transaction is there, and `COMMIT AND CHAIN` goes on.
#[tokio::test]
async fn chains_stay_in_a_transaction() {
    let proxy = shared().await.proxy("pool: {size: 2}\n").await;
    let mut wire = proxy.wire().await;
    wire.run("BEGIN").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let frames = wire.run("COMMIT AND CHAIN").await;
    assert_eq!(&frames.last().expect("an end").body[..], b"T");
    let pid = wire.value("SELECT pg_backend_pid()").await;
    assert_eq!(wire.value("SELECT pg_backend_pid()").await, pid);
    wire.run("ROLLBACK").await;
}

/// A two-phase transaction is prepared on one connection and committed on another.
#[tokio::test]
async fn prepared_transactions_outlive_their_connection() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let name = unique("two_phase");
    wire.run(&format!("CREATE TABLE {name} (id int)")).await;
    wire.run("BEGIN").await;
    wire.run(&format!("INSERT INTO {name} VALUES (1)")).await;
    wire.run(&format!("PREPARE TRANSACTION '{name}'")).await;
    assert_eq!(wire.value(&format!("SELECT count(*) FROM {name}")).await, "0");
    let mut other = proxy.wire().await;
    other.run(&format!("COMMIT PREPARED '{name}'")).await;
    assert_eq!(wire.value(&format!("SELECT count(*) FROM {name}")).await, "1");
}

/// A deferred constraint fails at `COMMIT`; the client hears it and the connection is clean.
#[tokio::test]
async fn an_error_at_commit_is_heard() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let mut wire = proxy.wire().await;
    let table = unique("deferred");
    wire.run(&format!("CREATE TABLE {table} (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")).await;
    wire.run("BEGIN").await;
    wire.run(&format!("INSERT INTO {table} VALUES (1), (1)")).await;
    assert_eq!(wire.error("COMMIT").await, "23505");
    assert_eq!(proxy.wire().await.value(&format!("SELECT count(*) FROM {table}")).await, "0");
}

/// Which server runs the transaction's statements, each by a marker of its own.
async fn served(stage: &Stage, wire: &mut Wire, sql: &str) -> String {
    let marker = unique("read_only");
    wire.run(&format!("{sql} /* {marker} */")).await;
    server_of(stage, &marker).await
}

/// `BEGIN READ ONLY` goes where its first statement may go: what a replica cannot do right, the primary does.
#[tokio::test]
async fn a_read_only_transaction_goes_where_it_can_run() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    reads_reach_replica(stage, &mut wire).await;
    for begin in
        ["BEGIN READ ONLY", "start transaction read only", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"]
    {
        // The refused definition below had the catalog read again.
        reads_reach_replica(stage, &mut wire).await;
        let frames = wire.run(begin).await;
        assert_eq!(tags(&frames), "CZ");
        assert_eq!(frames[1].body[..], b"T"[..]);
        assert_eq!(served(stage, &mut wire, "SELECT 1").await, "replica0", "{begin}");
        assert_eq!(served(stage, &mut wire, "SELECT count(*) FROM pg_am").await, "replica0", "{begin}");
        wire.run("SAVEPOINT a").await;
        assert_eq!(wire.error("CREATE TABLE never (id int)").await, "25006");
        wire.run("ROLLBACK TO a").await;
        assert_eq!(served(stage, &mut wire, "SELECT 2").await, "replica0", "{begin}");
        wire.run("COMMIT").await;
    }
    for first in [
        "SELECT pg_try_advisory_xact_lock(1)",
        "SELECT txid_current()",
        "SELECT pg_is_in_recovery()",
        "SET TRANSACTION READ WRITE",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SAVEPOINT a",
        "LISTEN chan",
        "NOTIFY chan",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    ] {
        wire.run("BEGIN READ ONLY").await;
        assert_eq!(served(stage, &mut wire, first).await, "primary", "{first}");
        assert_eq!(served(stage, &mut wire, "SELECT 1").await, "primary", "{first}");
        wire.run("COMMIT").await;
        wire.run("DISCARD ALL").await;
        reads_reach_replica(stage, &mut wire).await;
    }
}

/// What comes too late for the primary is refused, by both protocols, and fails the transaction as any error does.
#[tokio::test]
async fn what_is_for_the_primary_is_refused_on_a_replica() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    reads_reach_replica(stage, &mut wire).await;
    for late in [
        "SELECT pg_try_advisory_lock(1)",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT txid_current()",
        "SET TRANSACTION READ WRITE",
        "LISTEN chan",
        "NOTIFY chan",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    ] {
        for extended in [false, true] {
            wire.run("BEGIN READ ONLY").await;
            assert_eq!(served(stage, &mut wire, "SELECT 1").await, "replica0");
            let frames = match extended {
                false => wire.query(late).await,
                true => wire.ask(&[msg::statement(late, &[]), msg::sync()].concat()).await,
            };
            assert_eq!(tags(&frames), "EZ", "{late}: {}", pretty(&frames));
            assert_eq!((frames[0].sqlstate().as_str(), &frames[1].body[..]), ("25006", &b"E"[..]), "{late}");
            assert!(frames[0].field('H').contains("READ WRITE"), "{late}: {}", frames[0]);
            assert_eq!(wire.error("SELECT 1").await, "25P02", "{late}");
            wire.run("ROLLBACK").await;
        }
    }
}

/// A read-only transaction that no server knows of yet: ended at once, by both protocols, left, or drained.
#[tokio::test]
async fn a_transaction_held_back_ends_like_any_other() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 1}\n").await;
    let mut wire = proxy.wire().await;
    reads_reach_replica(stage, &mut wire).await;
    for (end, tag) in [("COMMIT", "COMMIT"), ("ROLLBACK", "ROLLBACK")] {
        wire.run("BEGIN READ ONLY").await;
        let frames = wire.run(end).await;
        assert!(frames[0].body.starts_with(tag.as_bytes()));
        assert_eq!(frames[1].body[..], b"I"[..]);
    }
    wire.run("BEGIN READ ONLY").await;
    assert_eq!(wire.error("SELEC").await, "42601");
    assert_eq!(wire.error("SELECT 1").await, "25P02");
    wire.run("ROLLBACK").await;
    wire.run("BEGIN READ ONLY").await;
    let begin_again = wire.run("BEGIN").await;
    assert!(tags(&begin_again).contains('N'), "a transaction is in progress already");
    assert_eq!(wire.error("CREATE TABLE never (id int)").await, "25006");
    wire.run("ROLLBACK").await;
    wire.run("BEGIN READ ONLY").await;
    let frames = wire.ask(&msg::sync()).await;
    assert_eq!(frames[0].body[..], b"T"[..]);
    assert_eq!(wire.extended_value("SELECT $1::int + 1", &[Some("1")]).await, "2");
    assert_eq!(wire.extended_value("SHOW transaction_read_only", &[]).await, "on");
    wire.run("COMMIT").await;
    wire.run("BEGIN READ ONLY").await;
    drop(wire);
    let mut open = proxy.wire().await;
    assert_eq!(open.value("SELECT 1").await, "1");
    open.run("BEGIN READ ONLY").await;
    proxy.signal("TERM");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(open.value("SELECT 2").await, "2", "a drain waits for the transaction");
    open.run("COMMIT").await;
    open.until_closed().await;
}
