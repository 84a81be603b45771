//! Transactions belong to one client from `BEGIN` to their end, whatever that end is.
use std::time::Duration;

use pointsman_tests::{eventually, msg, pretty, tags};
use tokio::task::JoinSet;

use crate::common::{SOON, shared, unique};

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
