//! Cancel requests reach the statement they are meant for, and no other.
use std::time::{Duration, Instant};

use pointsman_tests::{Wire, eventually, msg};
use tokio::task::JoinSet;

use crate::common::{SOON, server_of, shared, unique};

/// A cancel ends the statement it is meant for.
#[tokio::test]
async fn a_cancel_ends_its_statement() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    for sleeping in ["SELECT pg_sleep(30)", "SELECT pg_sleep(30) FROM generate_series(1, 2)"] {
        let start = Instant::now();
        let marker = unique("cancelled");
        wire.send(&msg::query(&format!("{sleeping} /* {marker} */"))).await;
        eventually("it runs", SOON, || async { stage.primary.logged(&marker) }).await;
        wire.cancel(proxy.port).await;
        let frames = wire.until(b'Z').await;
        assert!(frames.iter().any(|frame| frame.tag == b'E' && frame.sqlstate() == "57014"));
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(wire.value("SELECT 1").await, "1");
}

/// A cancel with a wrong key does nothing and its connection is closed.
#[tokio::test]
async fn a_wrong_key_cancels_nothing() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    wire.send(&msg::query("SELECT pg_sleep(1)")).await;
    let mut secret = wire.secret.to_vec();
    secret[0] ^= 0x55;
    for (process_id, secret) in
        [(wire.process_id, &secret[..]), (wire.process_id ^ 77, &wire.secret), (0, b"abcd")]
    {
        let mut other = Wire::connect(proxy.port).await;
        other.send(&msg::cancel(process_id, secret)).await;
        assert!(other.until_closed().await.is_empty());
    }
    let frames = wire.until(b'Z').await;
    assert!(frames.iter().all(|frame| frame.tag != b'E'));
}

/// A cancel of an idle client does nothing, to it or to whoever uses its last connection.
#[tokio::test]
async fn a_cancel_while_idle_does_nothing() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let mut idle = proxy.wire().await;
    idle.run("SELECT pg_backend_pid()").await;
    let mut busy = proxy.wire().await;
    let marker = unique("not_mine");
    busy.send(&msg::query(&format!("SELECT pg_sleep(1) /* {marker} */"))).await;
    server_of(shared().await, &marker).await;
    idle.cancel(proxy.port).await;
    let frames = busy.until(b'Z').await;
    assert!(frames.iter().all(|frame| frame.tag != b'E'), "another client's statement was cancelled");
    assert_eq!(idle.value("SELECT 1").await, "1");
}

/// A cancel kills the next client's query: the backend is held until the cancel connection has closed.
#[tokio::test]
async fn a_late_cancel_never_hits_the_next_client() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let port = proxy.port;
    let mut bystanders = JoinSet::new();
    for _ in 0..2 {
        let mut wire = proxy.wire().await;
        bystanders.spawn(async move {
            for _ in 0..150 {
                let frames = wire.query("SELECT pg_sleep(0.002)").await;
                assert!(frames.iter().all(|frame| frame.tag != b'E'), "a bystander was cancelled");
            }
        });
    }
    let mut cancelled = proxy.wire().await;
    let mut hit = 0;
    for round in 0..150_u64 {
        cancelled.send(&msg::query("SELECT pg_sleep(0.003)")).await;
        let (process_id, secret) = (cancelled.process_id, cancelled.secret.clone());
        let cancel = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_micros(round * 97 % 5000)).await;
            let mut other = Wire::connect(port).await;
            other.send(&msg::cancel(process_id, &secret)).await;
            other.until_closed().await;
        });
        let frames = cancelled.until(b'Z').await;
        hit += usize::from(frames.iter().any(|frame| frame.tag == b'E'));
        cancel.await.expect("the cancel is taken");
    }
    while let Some(done) = bystanders.join_next().await {
        done.expect("no bystander is cancelled");
    }
    assert!(hit > 0, "no cancel ever reached its statement");
}

/// Cancels dropped when the pool is full: they never queue.
#[tokio::test]
async fn a_cancel_does_not_queue_behind_a_full_pool() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 1, checkout_timeout: 30s}\n").await;
    let mut running = proxy.wire().await;
    let marker = unique("full_pool");
    running.send(&msg::query(&format!("SELECT pg_sleep(60) /* {marker} */"))).await;
    eventually("it runs", SOON, || async { stage.primary.logged(&marker) }).await;
    let mut waiters = Vec::new();
    for _ in 0..5 {
        let mut waiter = proxy.wire().await;
        waiter.send(&msg::query("SELECT pg_backend_pid()")).await;
        waiters.push(waiter);
    }
    let start = Instant::now();
    running.cancel(proxy.port).await;
    let frames = running.until(b'Z').await;
    assert!(frames.iter().any(|frame| frame.tag == b'E' && frame.sqlstate() == "57014"));
    assert!(start.elapsed() < Duration::from_secs(5), "the cancel waited for the pool");
    for mut waiter in waiters {
        let frames = waiter.until(b'Z').await;
        assert!(frames.iter().any(|frame| frame.tag == b'D'), "a waiter is served");
    }
}

/// A cancel inside a transaction fails that transaction only.
#[tokio::test]
async fn a_cancel_in_a_transaction_fails_it() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    wire.run("BEGIN").await;
    let marker = unique("in_transaction");
    wire.send(&msg::query(&format!("SELECT pg_sleep(30) /* {marker} */"))).await;
    eventually("it runs", SOON, || async { stage.primary.logged(&marker) }).await;
    wire.cancel(proxy.port).await;
    let frames = wire.until(b'Z').await;
    assert_eq!(&frames.last().expect("an end").body[..], b"E");
    wire.run("ROLLBACK").await;
    assert_eq!(wire.value("SELECT 1").await, "1");
}
