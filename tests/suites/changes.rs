//! The change stream: made ready by a command, told of plainly where there is none.
use std::process::Command;
use std::time::Duration;

use pointsman_tests::{Stage, eventually, proxy::program};

use crate::cached::{agents, caching, comes_to, rule, warm};
use crate::common::{ADMIN, SOON, row_of, show};

/// What `pointsman changes init` says of the primary's database.
fn init(stage: &Stage, more: &[&str]) -> String {
    let url = format!("postgres://postgres:password@127.0.0.1:{}/app", stage.primary.port);
    let output = Command::new(program()).args(["changes", "init", "--primary", &url]).args(more).output();
    let output = output.expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Without a publication the cache serves what passes through here, and says what it does not hear; with one, it hears all,
/// definitions and grants by an event trigger.
#[tokio::test]
async fn a_stream_is_made_ready_and_told_of() {
    let stage = Stage::new().setting("wal_level = logical").start().await;
    let table = agents(&stage, "changing").await;
    let config = format!("cache: {{changes: {{definitions_interval: 1h}}}}\n{ADMIN}");
    let proxy = caching(&stage, &rule(&table, ", invalidate_by: [agent_id]"), &config).await;
    let (mut wire, console) = (proxy.wire().await, proxy.console().await);
    let read = format!("SELECT min(said) FROM {table} WHERE agent_id = 3");
    warm(&proxy, &mut wire, &read).await;
    let told = row_of(&console, "SHOW CACHE", "database", "app").await;
    assert_eq!((&*told["hears"], &*told["state"]), ("own_writes_only", "open"));
    assert!(told["told"].contains("pointsman changes init"), "{told:?}");
    assert!(proxy.log().contains("sees only writes that pass through here"), "{}", proxy.log());
    assert_eq!(proxy.metric("pointsman_cache_streaming", &["\"app\""]).await, 0.0);
    let script = init(&stage, &[]);
    assert!(script.contains("CREATE PUBLICATION \"pointsman\" FOR ALL TABLES;"), "{script}");
    assert!(init(&stage, &["--apply"]).contains("publication pointsman: made"));
    assert!(init(&stage, &["--apply"]).contains("publication pointsman: it is there already"));
    let streams = || async { proxy.metric("pointsman_cache_streaming", &["\"app\""]).await == 1.0 };
    eventually("the stream is found", Duration::from_secs(30), streams).await;
    warm(&proxy, &mut wire, &read).await;
    stage.primary.sql(&format!("UPDATE {table} SET said = 'elsewhere' WHERE agent_id = 3")).await;
    comes_to(&mut wire, &read, "elsewhere").await;
    warm(&proxy, &mut wire, &read).await;
    // Nothing but the trigger tells of this: definitions are compared once an hour.
    stage.primary.sql(&format!("REVOKE ALL ON {table} FROM PUBLIC")).await;
    comes_to(&mut wire, &read, "42501").await;
}

/// A broken stream closes the cache until it has begun anew, and what happened meanwhile is seen.
#[tokio::test]
async fn a_broken_stream_is_begun_anew() {
    let stage = Stage::new().setting("wal_level = logical").start().await;
    init(&stage, &["--apply"]);
    let table = agents(&stage, "broken").await;
    stage.primary.sql("SELECT pg_create_logical_replication_slot('mine', 'pgoutput')").await;
    for config in ["", "cache: {changes: {slot: mine}}\n"] {
        let proxy = caching(&stage, &rule(&table, ""), config).await;
        let mut wire = proxy.wire().await;
        let read = format!("SELECT min(said) FROM {table}");
        for round in 1..4 {
            warm(&proxy, &mut wire, &read).await;
            stage
                .primary
                .sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'",
                )
                .await;
            let said = format!("round {round} of {}", config.len());
            stage.primary.sql(&format!("UPDATE {table} SET said = '{said}'")).await;
            let broken = || async {
                proxy.metric("pointsman_cache_stream_breaks_total", &["\"app\""]).await >= f64::from(round)
            };
            eventually("the break is noticed", SOON, broken).await;
            comes_to(&mut wire, &read, &said).await;
        }
        warm(&proxy, &mut wire, &read).await;
    }
}

/// A slot that the primary would keep too much for is given up, and that is said; what passes through here goes on.
#[tokio::test]
async fn a_slot_is_not_kept_at_any_price() {
    let stage = Stage::new().setting("wal_level = logical").start().await;
    init(&stage, &["--apply"]);
    let table = agents(&stage, "retained").await;
    stage.primary.sql("SELECT pg_create_logical_replication_slot('dear', 'pgoutput')").await;
    let config = format!("cache: {{changes: {{slot: dear, retained_max: 1MiB}}}}\n{ADMIN}");
    let proxy = caching(&stage, &rule(&table, ""), &config).await;
    let (mut wire, console) = (proxy.wire().await, proxy.console().await);
    let read = format!("SELECT min(said) FROM {table}");
    warm(&proxy, &mut wire, &read).await;
    // A transaction that goes on for long holds the slot where it began.
    let mut long = stage.primary.wire().await;
    long.run("BEGIN").await;
    long.run("SELECT pg_current_xact_id()").await;
    stage
        .primary
        .sql(&format!("INSERT INTO {table} SELECT i, 0, repeat('x', 500) FROM generate_series(1000, 9000) i"))
        .await;
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'dear'";
    let gone = || async { stage.primary.value(slots).await == "0" };
    eventually("the slot is dropped", Duration::from_secs(30), gone).await;
    let told = || async {
        let row = row_of(&console, "SHOW CACHE", "database", "app").await;
        row["hears"] == "own_writes_only" && row["told"].contains("slot dear is not there")
    };
    eventually("that is said", Duration::from_secs(30), told).await;
    // What was in progress when the ledger was opened anew is waited for.
    long.run("COMMIT").await;
    warm(&proxy, &mut wire, &read).await;
    wire.run(&format!("UPDATE {table} SET said = 'own'")).await;
    assert_eq!(wire.value(&read).await, "own");
}

/// A stream begins when the transactions in progress are over; until then nothing is served, no sender is wasted, and why is
/// said.
#[tokio::test]
async fn a_stream_waits_for_old_transactions() {
    let stage = Stage::new().setting("wal_level = logical").start().await;
    init(&stage, &["--apply"]);
    let table = agents(&stage, "waited").await;
    let mut long = stage.primary.wire().await;
    long.run("BEGIN").await;
    long.run(&format!("UPDATE {table} SET said = 'long' WHERE agent_id = 3")).await;
    let proxy = caching(&stage, &rule(&table, ""), ADMIN).await;
    let (mut wire, console) = (proxy.wire().await, proxy.console().await);
    let told = || async {
        let rows = show(&console, "SHOW CACHE").await;
        rows.iter().any(|row| row["state"] == "closed" && row["told"].contains("transactions in progress"))
    };
    eventually("what is waited for is said", SOON, told).await;
    let senders = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'";
    let since = std::time::Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        assert_eq!(stage.primary.value(senders).await, "1");
        assert_eq!(wire.value(&format!("SELECT min(said) FROM {table}")).await, "first");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    long.run("COMMIT").await;
    let read = format!("SELECT min(said) FROM {table} WHERE agent_id = 3");
    warm(&proxy, &mut wire, &read).await;
    assert_eq!(wire.value(&read).await, "long");
}
