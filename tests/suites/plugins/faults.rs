//! Plugins that fail: it costs the statement at hand, and is told.

use std::time::{Duration, Instant};

use pointsman_tests::{Proxy, Stage, eventually};

use crate::common::{SOON, policy, shared};

use super::{error_of, notes, plugin};

async fn proxy(stage: &Stage, table: &str, config: &str, more: &str) -> Proxy {
    let spec = format!("  rules:\n    - {{name: asked, match: {{tables: [{table}]}}, plugins: [script]}}\n");
    stage.proxy(&format!("{}{}", policy(stage, &spec), plugin(stage, config, more))).await
}

const BAD: &str = r#"{"query": [{"has": "'trap'", "fault": "trap"}, {"has": "'spin'", "fault": "spin"}, {"has": "'grow'", "fault": "grow"}]}"#;

/// A trap, a loop and a hunger for memory: the statement fails with 58000, the session and all others go on.
#[tokio::test]
async fn a_failure_costs_one_statement() {
    let stage = shared().await;
    let table = notes(stage, "failing").await;
    let proxy = proxy(stage, &table, BAD, "    limits: {deadline: 300ms, failures: 1000}\n").await;
    let (mut wire, mut other) = (proxy.wire().await, proxy.wire().await);
    for (fault, kind) in [("trap", "trap"), ("spin", "deadline"), ("grow", "memory")] {
        let sql = format!("SELECT count(*) FROM {table} WHERE note <> '{fault}'");
        let since = Instant::now();
        let replies = wire.query(&sql).await;
        assert_eq!(error_of(&replies), "58000", "{fault}");
        assert!(since.elapsed() < SOON, "{fault} took {:?}", since.elapsed());
        assert_eq!(wire.value(&format!("SELECT count(*) FROM {table}")).await, "3", "after {fault}");
        assert_eq!(other.value(&format!("SELECT count(*) FROM {table}")).await, "3");
        let counted = proxy.metric("pointsman_plugins_failures_total", &[&format!("kind=\"{kind}\"")]).await;
        assert!(counted >= 1.0, "{kind}: {}", proxy.log());
    }
    wire.run("BEGIN").await;
    assert_eq!(error_of(&wire.query(&format!("SELECT id FROM {table} WHERE note <> 'trap'")).await), "58000");
    assert_eq!(error_of(&wire.query("SELECT 1").await), "25P02");
    wire.run("ROLLBACK").await;
}

/// One that keeps failing is disabled, loudly; statements fail at once then, and it is tried again.
#[tokio::test]
async fn one_that_keeps_failing_is_disabled() {
    let stage = shared().await;
    let table = notes(stage, "disabled").await;
    let proxy = proxy(
        stage,
        &table,
        BAD,
        "    limits: {deadline: 5s, failures: 3, retry: 500ms}\n    on_failure: {on-connect: open}\n",
    )
    .await;
    let mut wire = proxy.wire().await;
    for _ in 0..3 {
        assert_eq!(
            error_of(&wire.query(&format!("SELECT id FROM {table} WHERE note <> 'trap'")).await),
            "58000"
        );
    }
    assert_eq!(
        error_of(&wire.query(&format!("SELECT id FROM {table}")).await),
        "58000",
        "though it would pass"
    );
    assert_eq!(proxy.metric("pointsman_plugins_disabled", &[]).await, 1.0);
    assert!(proxy.log().contains("the plugin is disabled"), "{}", proxy.log());
    assert_eq!(wire.value("SELECT 1").await, "1", "no rule names it");
    eventually("it is tried again", SOON, || async {
        let mut wire = proxy.wire().await;
        error_of(&wire.query(&format!("SELECT id FROM {table}")).await).is_empty()
    })
    .await;
    assert_eq!(proxy.metric("pointsman_plugins_disabled", &[]).await, 0.0);
}

/// Where failures are open, a statement goes on as without the plugin.
#[tokio::test]
async fn a_failure_may_be_open() {
    let stage = shared().await;
    let table = notes(stage, "open").await;
    let more = "    limits: {deadline: 300ms, failures: 1000}\n    on_failure: open\n";
    let proxy = proxy(stage, &table, BAD, more).await;
    let mut wire = proxy.wire().await;
    for fault in ["trap", "spin", "grow"] {
        let sql = format!("SELECT count(*) FROM {table} WHERE note <> '{fault}'");
        assert_eq!(wire.value(&sql).await, "3", "{fault}");
    }
}

/// A loop on one worker keeps others' statements no longer than its deadline.
#[tokio::test]
async fn a_loop_keeps_others_for_its_deadline_at_most() {
    let stage = shared().await;
    let table = notes(stage, "looping").await;
    let proxy = proxy(stage, &table, BAD, "    limits: {deadline: 200ms, failures: 1000}\n").await;
    let (mut wire, mut other) = (proxy.wire().await, proxy.wire().await);
    let sql = format!("SELECT id FROM {table} WHERE note <> 'spin'");
    let ours = async { error_of(&wire.query(&sql).await) };
    let since = Instant::now();
    let theirs = async {
        for _ in 0..20 {
            assert_eq!(other.value("SELECT 1").await, "1");
        }
        since.elapsed()
    };
    let (fault, took) = tokio::join!(ours, theirs);
    assert_eq!(fault, "58000");
    assert!(took < Duration::from_secs(8), "{took:?}");
}
