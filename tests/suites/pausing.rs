//! PAUSE lets transactions end and keeps new statements waiting; RESUME lets them go; a pause given up leaves nothing behind.
use std::time::Duration;

use pointsman_tests::{Proxy, Wire, eventually, msg, tags};

use crate::common::{ADMIN, SOON, row_of, shared};

/// Long enough for what must not happen to happen.
const A_WHILE: Duration = Duration::from_millis(300);

async fn console(proxy: &Proxy) -> Wire {
    Wire::login(proxy.port, "alice", "pointsman").await
}

async fn paused(console: &tokio_postgres::Client) -> bool {
    row_of(console, "SHOW DATABASES", "name", "app").await["paused"] == "1"
}

/// The whole of it: a transaction ends, a statement waits longer than any check-out may, and goes.
#[tokio::test]
async fn a_pause_waits_for_transactions_and_keeps_statements_waiting() {
    let proxy = shared().await.proxy(&format!("{ADMIN}pool: {{size: 2, checkout_timeout: 200ms}}\n")).await;
    let (mut console, watch) = (console(&proxy).await, proxy.console().await);
    let (mut busy, mut idle) = (proxy.wire().await, proxy.wire().await);
    idle.run("SELECT 1").await;
    busy.run("BEGIN").await;
    busy.run("SELECT txid_current()").await;
    console.send(&msg::query("PAUSE")).await;
    eventually("the pause has begun", SOON, || paused(&watch)).await;
    idle.send(&msg::query("SELECT 2")).await;
    console.quiet(A_WHILE).await;
    busy.run("SELECT 3").await;
    busy.run("COMMIT").await;
    assert_eq!(tags(&console.until(b'Z').await), "CZ");
    let pool = row_of(&watch, "SHOW POOLS", "user", "app").await;
    assert_eq!(
        [&pool["sv_active"], &pool["sv_idle"], &pool["cl_waiting"], &pool["paused"]],
        ["0", "0", "1", "1"]
    );
    idle.quiet(A_WHILE).await;
    assert!(
        proxy.get("/readyz").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")),
        "it stays ready"
    );
    busy.send(&msg::query("SELECT 4")).await;
    busy.quiet(A_WHILE).await;
    assert_eq!(tags(&console.query("RESUME").await), "CZ");
    assert_eq!(tags(&idle.until(b'Z').await), "TDCZ");
    assert_eq!(tags(&busy.until(b'Z').await), "TDCZ");
    assert!(!paused(&watch).await);
}

/// Time that was paused does not count; what came before and after it does.
#[tokio::test]
async fn a_statement_waits_no_longer_than_it_may_after_the_pause() {
    let proxy = shared().await.proxy(&format!("{ADMIN}pool: {{size: 1, checkout_timeout: 400ms}}\n")).await;
    let (mut console, mut one, mut two) = (console(&proxy).await, proxy.wire().await, proxy.wire().await);
    one.run("SELECT 1").await;
    console.run("PAUSE app").await;
    two.send(&msg::query("SELECT 2")).await;
    two.quiet(Duration::from_millis(600)).await;
    console.run("RESUME app").await;
    assert_eq!(tags(&two.until(b'Z').await), "TDCZ");
    one.run("BEGIN").await;
    one.run("SELECT txid_current()").await;
    assert_eq!(two.error("SELECT txid_current()").await, "53300");
}

/// A pause that is given up, by a cancel or because its client left, takes back what it paused.
#[tokio::test]
async fn a_pause_that_is_given_up_is_taken_back() {
    let proxy = shared().await.proxy(ADMIN).await;
    let watch = proxy.console().await;
    let (mut busy, mut other) = (proxy.wire().await, proxy.wire().await);
    busy.run("BEGIN").await;
    busy.run("SELECT txid_current()").await;
    let mut first = console(&proxy).await;
    first.send(&msg::query("PAUSE app")).await;
    eventually("the pause has begun", SOON, || paused(&watch)).await;
    other.send(&msg::query("SELECT 1")).await;
    other.quiet(A_WHILE).await;
    first.cancel(proxy.port).await;
    let frames = first.until(b'Z').await;
    assert_eq!((tags(&frames).as_str(), frames[0].sqlstate().as_str()), ("EZ", "57014"));
    assert_eq!(tags(&other.until(b'Z').await), "TDCZ");
    first.send(&msg::query("PAUSE")).await;
    eventually("the pause has begun", SOON, || paused(&watch)).await;
    other.send(&msg::query("SELECT 2")).await;
    drop(first);
    assert_eq!(tags(&other.until(b'Z').await), "TDCZ");
    assert!(!paused(&watch).await);
    busy.run("COMMIT").await;
}

/// A session that keeps its connection is waited for until it gives the connection up.
#[tokio::test]
async fn a_pinned_session_is_waited_for() {
    let proxy = shared().await.proxy(ADMIN).await;
    let (mut console, watch, mut pinned) = (console(&proxy).await, proxy.console().await, proxy.wire().await);
    pinned.run("LISTEN something").await;
    console.send(&msg::query("PAUSE")).await;
    eventually("the pause has begun", SOON, || paused(&watch)).await;
    console.quiet(A_WHILE).await;
    assert_eq!(pinned.value("SELECT 1").await, "1", "what it holds serves it");
    pinned.run("UNLISTEN *").await;
    assert_eq!(tags(&console.until(b'Z').await), "CZ");
}

/// Who waits may leave or cancel, and then waits no longer.
#[tokio::test]
async fn whoever_waits_may_give_up() {
    let proxy = shared().await.proxy(ADMIN).await;
    let (mut console, watch) = (console(&proxy).await, proxy.console().await);
    let (mut leaves, mut cancels) = (proxy.wire().await, proxy.wire().await);
    leaves.run("SELECT 1").await;
    cancels.run("SELECT 1").await;
    console.run("PAUSE").await;
    leaves.send(&msg::query("SELECT 2")).await;
    cancels.send(&msg::query("SELECT 2")).await;
    let waiting = |count: &'static str| {
        let watch = &watch;
        move || async move { row_of(watch, "SHOW POOLS", "user", "app").await["cl_waiting"] == count }
    };
    eventually("both wait", SOON, waiting("2")).await;
    drop(leaves);
    eventually("one waits", SOON, waiting("1")).await;
    cancels.cancel(proxy.port).await;
    let frames = cancels.until(b'Z').await;
    assert_eq!((tags(&frames).as_str(), frames[0].sqlstate().as_str()), ("EZ", "57014"));
    console.run("RESUME").await;
    assert_eq!(cancels.value("SELECT 3").await, "3");
}

/// A database that nobody has asked for yet is paused with all others, and new clients wait.
#[tokio::test]
async fn newcomers_wait_too() {
    let proxy = shared().await.proxy(ADMIN).await;
    let mut console = console(&proxy).await;
    console.run("PAUSE").await;
    let mut newcomer = Wire::connect(proxy.port).await;
    let credentials = pointsman_tests::Credentials::new(
        &[("user", "app"), ("database", "app")],
        pointsman_tests::Secret::Password("password"),
    );
    let mut login = Box::pin(newcomer.authenticate(&credentials));
    assert!(tokio::time::timeout(A_WHILE, &mut login).await.is_err(), "the newcomer waits");
    console.run("RESUME").await;
    assert!(login.await.is_ok());
    assert_eq!(newcomer.value("SELECT 1").await, "1");
}
