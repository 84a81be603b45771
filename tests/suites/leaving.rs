//! Clients leave in order, half or without a word: what they sent before is finished as PostgreSQL would, and who has left the
//! queue for a connection is not served any more.
use std::time::Duration;

use pointsman_tests::{Proxy, Wire, eventually, msg, pretty, tags};

use crate::common::{SOON, shared, unique};

/// How a client leaves behind its last statement.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Leaves {
    Terminating,
    HalfClosing,
}

async fn leave(wire: &mut Wire, statements: &[u8], how: Leaves) -> String {
    match how {
        Leaves::Terminating => wire.send(&[statements, &msg::terminate()].concat()).await,
        Leaves::HalfClosing => {
            wire.send(statements).await;
            wire.end_sending().await;
        }
    }
    tags(&wire.until_closed().await)
}

/// What stands before `Terminate`, or before the end of the stream, is executed; a half-closed client hears the answers.
#[tokio::test]
async fn statements_before_a_goodbye_are_executed() {
    let proxy = shared().await.proxy("pool: {size: 2}\n").await;
    let table = unique("goodbye");
    let mut reader = proxy.wire().await;
    reader.run(&format!("CREATE TABLE {table} (id int)")).await;
    let simple = msg::query(&format!("INSERT INTO {table} SELECT 1 FROM pg_sleep(0.2)"));
    let extended = [msg::statement(&format!("INSERT INTO {table} VALUES (1)"), &[]), msg::sync()].concat();
    let copied =
        [msg::query(&format!("COPY {table} FROM STDIN")), msg::copy_data(b"1\n"), msg::copy_done()].concat();
    let mut rows = 0;
    for how in [Leaves::Terminating, Leaves::HalfClosing] {
        for (statements, answers) in [(&simple, "CZ"), (&extended, "12nCZ"), (&copied, "GCZ")] {
            let heard = leave(&mut proxy.wire().await, &[&statements[..], &simple].concat(), how).await;
            if how == Leaves::HalfClosing {
                assert_eq!(heard, format!("{answers}CZ"));
            }
            rows += 2;
            let count = format!("SELECT count(*) FROM {table}");
            eventually("both are executed", SOON, || async {
                proxy.wire().await.value(&count).await == rows.to_string()
            })
            .await;
        }
    }
}

/// What no `Sync` or `Flush` asked for is taken back, and so is a transaction or a copy that was not ended.
#[tokio::test]
async fn what_was_not_ended_is_taken_back() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 1}\n").await;
    let table = unique("unended");
    proxy.wire().await.run(&format!("CREATE TABLE {table} (id int)")).await;
    let insert = format!("INSERT INTO {table} VALUES (1)");
    let unended = [
        msg::statement(&insert, &[]),
        [msg::query("BEGIN"), msg::query(&insert)].concat(),
        [msg::query(&format!("COPY {table} FROM STDIN")), msg::copy_data(b"1\n")].concat(),
    ];
    for how in [Leaves::Terminating, Leaves::HalfClosing] {
        for statements in &unended {
            leave(&mut proxy.wire().await, statements, how).await;
            let count = format!("SELECT count(*) FROM {table}");
            assert_eq!(proxy.wire().await.value(&count).await, "0", "{how:?}");
        }
    }
}

/// A half-closed client that waits for a long statement is there, and hears its end.
#[tokio::test]
async fn a_half_closed_client_waits_for_its_answer() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    wire.send(&msg::query("SELECT 'slow' FROM pg_sleep(5)")).await;
    wire.end_sending().await;
    let frames: Vec<_> = wire.until_closed().await.into_iter().filter(|frame| frame.tag != b'S').collect();
    assert_eq!(tags(&frames), "TDCZ", "{}", pretty(&frames));
}

/// A client that leaves the queue for a connection is not served: its statement is never sent.
#[tokio::test]
async fn who_leaves_the_queue_is_not_served() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 1, checkout_timeout: 20s}\n").await;
    let (mut holder, mut leaver, mut stayer) = (proxy.wire().await, proxy.wire().await, proxy.wire().await);
    holder.run("BEGIN").await;
    holder.run("SELECT random()").await;
    let (left, stayed) = (unique("left_queue"), unique("stayed_in_queue"));
    leaver.send(&msg::query(&format!("SELECT random() /* {left} */"))).await;
    stayer.send(&msg::query(&format!("SELECT random() /* {stayed} */"))).await;
    eventually("two wait", SOON, || async {
        proxy.metric("pointsman_pool_waiting_clients", &[]).await >= 2.0
    })
    .await;
    drop(leaver);
    let connected = || async { proxy.metric("pointsman_clients", &[]).await };
    eventually("it has left", SOON, || async { connected().await <= 2.0 }).await;
    holder.run("COMMIT").await;
    assert!(tags(&stayer.until(b'Z').await).ends_with("CZ"));
    assert!(stage.primary.logged(&stayed));
    assert!(!stage.primary.logged(&left), "the statement of a client that has left is sent");
}

/// An order to stop reaches clients that wait for a connection, and so does a drain.
#[tokio::test]
async fn who_waits_hears_the_end() {
    for signal in ["QUIT", "TERM"] {
        let stage = shared().await;
        let proxy = stage.proxy("pool: {size: 1, checkout_timeout: 20s}\nshutdown_timeout: 15s\n").await;
        let (mut holder, mut waiter) = (proxy.wire().await, proxy.wire().await);
        holder.run("BEGIN").await;
        holder.run("SELECT random()").await;
        waiter.send(&msg::query("SELECT random()")).await;
        eventually("one waits", SOON, || async {
            proxy.metric("pointsman_pool_waiting_clients", &[]).await >= 1.0
        })
        .await;
        proxy.signal(signal);
        let frames = pointsman_tests::within("it hears of it", Duration::from_secs(5), waiter.until_closed());
        let frames = frames.await;
        // A process that ends at once may close the socket before a word.
        let told =
            frames.first().is_some_and(|frame| frame.sqlstate() == "57P01" && frame.field('S') == "FATAL");
        assert!(told || (signal == "QUIT" && frames.is_empty()), "{signal}: {}", pretty(&frames));
        if signal == "TERM" && !Proxy::is_direct() {
            assert_eq!(tags(&holder.run("COMMIT").await), "CZ", "an open transaction may end");
        }
    }
}

/// Half a request does not keep the others of its worker from being served while the proxy drains.
#[tokio::test]
async fn half_a_request_does_not_hold_up_a_drain() {
    let proxy = shared().await.proxy("workers: 1\nshutdown_timeout: 10s\n").await;
    let (mut half, mut whole) = (proxy.wire().await, proxy.wire().await);
    whole.run("BEGIN").await;
    half.send(&msg::query("SELECT 1")[..4]).await;
    assert_eq!(whole.value("SELECT 2").await, "2");
    proxy.signal("TERM");
    eventually("it drains", SOON, || async { proxy.log().contains("draining") }).await;
    assert_eq!(whole.value("SELECT 3").await, "3");
    whole.run("COMMIT").await;
    assert_eq!(
        whole.until_closed().await.first().map(pointsman_tests::Frame::sqlstate).as_deref(),
        Some("57P01")
    );
}

/// A connection on which half a message of its client is on the way serves nobody else.
#[tokio::test]
async fn half_a_message_meets_no_other_client() {
    let proxy = shared().await.proxy("pool: {size: 2}\n").await;
    let mut half = proxy.wire().await;
    let data = msg::copy_data(&[b'x'; 200]);
    half.send(&[msg::query("SELECT no_such_column"), msg::copy_done(), data[..20].to_vec()].concat()).await;
    assert_eq!(tags(&half.until(b'Z').await), "EZ");
    let mut other = proxy.wire().await;
    for number in 0..5 {
        assert_eq!(
            other.value(&format!("SELECT {number} FROM (SELECT random()) r")).await,
            number.to_string()
        );
    }
    half.send(&data[20..]).await;
    assert_eq!(half.value("SELECT 7").await, "7");
    assert_eq!(other.value("SELECT 8 FROM (SELECT random()) r").await, "8");
}
