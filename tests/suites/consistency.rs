//! How fresh reads are: by the relations that they read, by level, and within the bound on lag.
use std::time::Duration;

use pointsman_tests::{Proxy, Stage, Wire, eventually, msg};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::common::{SOON, reads_reach_replica, server_of, unique};

/// A primary and two replicas that may be paused; a test holds the lock for as long as it uses them.
async fn paused() -> (&'static Stage, MutexGuard<'static, ()>) {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    static TURN: Mutex<()> = Mutex::const_new(());
    let turn = TURN.lock().await;
    let stage = STAGE.get_or_init(|| Stage::new().replicas(2).start()).await;
    resume(stage).await;
    (stage, turn)
}

async fn pause(stage: &Stage) {
    for replica in &stage.replicas {
        replica.sql("SELECT pg_wal_replay_pause()").await;
        let paused = || async { replica.value("SELECT pg_get_wal_replay_pause_state()").await == "paused" };
        eventually("replay is paused", SOON, paused).await;
    }
}

async fn resume(stage: &Stage) {
    for replica in &stage.replicas {
        replica.sql("SELECT pg_wal_replay_resume()").await;
    }
}

/// Which server answers `sql`.
async fn serves(stage: &Stage, wire: &mut Wire, sql: &str) -> String {
    let marker = unique("fresh");
    wire.run(&format!("{sql} /* {marker} */")).await;
    server_of(stage, &marker).await
}

/// Writes to one table do not take the reads of others away from the replicas, not even for a moment.
#[tokio::test]
async fn writes_to_one_table_leave_the_others_on_the_replicas() {
    let (stage, _turn) = paused().await;
    let (busy, quiet, calm) = (unique("busy"), unique("quiet"), unique("calm"));
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    wire.run(&format!(
        "CREATE TABLE {busy} (id int); CREATE TABLE {quiet} (id int); CREATE VIEW {calm} AS SELECT id FROM {quiet};
         CREATE FUNCTION {busy}_adds() RETURNS int LANGUAGE sql AS 'INSERT INTO {busy} VALUES (1) RETURNING 1'"
    ))
    .await;
    reads_reach_replica(stage, &mut wire).await;
    pause(stage).await;
    for _ in 0..20 {
        wire.run(&format!("INSERT INTO {busy} VALUES (1)")).await;
        assert!(serves(stage, &mut wire, &format!("SELECT * FROM {quiet}")).await.starts_with("replica"));
        assert!(serves(stage, &mut wire, &format!("SELECT * FROM {calm}")).await.starts_with("replica"));
        assert_eq!(serves(stage, &mut wire, &format!("SELECT * FROM {busy}")).await, "primary");
        assert_eq!(serves(stage, &mut wire, &format!("SELECT 1 FROM {quiet}, {busy}")).await, "primary");
    }
    wire.run(&format!("SELECT {busy}_adds()")).await;
    let unknown = serves(stage, &mut wire, &format!("SELECT * FROM {quiet}")).await;
    assert_eq!(unknown, "primary", "it is not known what a function writes");
    resume(stage).await;
}

/// A write changes more than the table it names: partitions, tables that triggers write, rows that a foreign key's
/// action removes, a view's table.
#[tokio::test]
async fn what_a_write_sets_off_is_seen() {
    let (stage, _turn) = paused().await;
    let name = unique("wide");
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    wire.run(&format!(
        "CREATE TABLE {name} (id int) PARTITION BY RANGE (id);
         CREATE TABLE {name}_part PARTITION OF {name} FOR VALUES FROM (0) TO (100);
         CREATE TABLE {name}_log (id int);
         CREATE TABLE {name}_logged (id int);
         CREATE FUNCTION {name}_logs() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN INSERT INTO {name}_log VALUES (NEW.id); RETURN NEW; END';
         CREATE TRIGGER logs AFTER INSERT ON {name}_logged FOR EACH ROW EXECUTE FUNCTION {name}_logs();
         CREATE TABLE {name}_owner (id int PRIMARY KEY);
         CREATE TABLE {name}_owned (owner int REFERENCES {name}_owner ON DELETE CASCADE);
         CREATE VIEW {name}_view AS SELECT id FROM {name}_owner;
         INSERT INTO {name}_owner VALUES (1); INSERT INTO {name}_owned VALUES (1)"
    ))
    .await;
    reads_reach_replica(stage, &mut wire).await;
    pause(stage).await;
    let steps = [
        (format!("INSERT INTO {name}_part VALUES (1)"), format!("SELECT count(*) FROM {name}"), "1"),
        (format!("INSERT INTO {name} VALUES (2)"), format!("SELECT count(*) FROM {name}_part"), "2"),
        (format!("INSERT INTO {name}_view VALUES (7)"), format!("SELECT count(*) FROM {name}_owner"), "2"),
        (format!("INSERT INTO {name}_logged VALUES (1)"), format!("SELECT count(*) FROM {name}_log"), "1"),
        (format!("DELETE FROM {name}_owner"), format!("SELECT count(*) FROM {name}_owned"), "0"),
    ];
    for (write, read, want) in steps {
        wire.run(&write).await;
        assert_eq!(wire.value(&read).await, want, "{write}; {read}");
    }
    resume(stage).await;
}

/// `session` sees its own writes only, `eventual` what the replica has.
#[tokio::test]
async fn levels_are_what_their_names_say() {
    let (stage, _turn) = paused().await;
    for (level, own) in [("session", "1"), ("eventual", "0")] {
        let table = unique(level);
        let proxy = stage.proxy(&format!("consistency: {level}\n")).await;
        let (mut writer, mut other) = (proxy.wire().await, proxy.wire().await);
        writer.run(&format!("CREATE TABLE {table} (id int)")).await;
        stage.wait_replayed().await;
        reads_reach_replica(stage, &mut writer).await;
        pause(stage).await;
        writer.run(&format!("INSERT INTO {table} VALUES (1)")).await;
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(writer.value(&count).await, own, "{level}: the session's own write");
        assert_eq!(other.value(&count).await, "0", "{level}: another's write is on no replica yet");
        resume(stage).await;
        eventually("the replicas follow", SOON, || async { proxy.wire().await.value(&count).await == "1" })
            .await;
    }
}

/// A replica past `max_lag` gets no reads at all, whatever they need; it does again once it has followed.
#[tokio::test]
async fn a_replica_past_the_bound_gets_no_reads() {
    let (stage, _turn) = paused().await;
    let table = unique("bound");
    let config = "consistency: eventual\nmax_lag: 400ms\nhealth: {interval: 100ms, timeout: 2s}\n";
    let proxy = stage.proxy(config).await;
    let mut wire = proxy.wire().await;
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    stage.wait_replayed().await;
    reads_reach_replica(stage, &mut wire).await;
    let read = format!("SELECT count(*) FROM {table}");
    let first = &stage.replicas[0];
    first.sql("SELECT pg_wal_replay_pause()").await;
    wire.run(&format!("INSERT INTO {table} VALUES (1)")).await;
    let address = format!("127.0.0.1:{}", first.port);
    let lag = || async { proxy.metric("pointsman_server_lag_seconds", &[&address]).await };
    eventually("the lag is past the bound", SOON, || async { lag().await > 0.5 }).await;
    for _ in 0..30 {
        assert_eq!(serves(stage, &mut wire, &read).await, "replica1");
    }
    let before = lag().await;
    eventually("the lag grows though nobody writes", SOON, || async { lag().await > before + 0.3 }).await;
    assert!(proxy.metric("pointsman_server_lag_bytes", &[&address]).await > 0.0);
    pause(stage).await;
    wire.run(&format!("INSERT INTO {table} VALUES (2)")).await;
    let primary = || async { serves(stage, &mut proxy.wire().await, &read).await == "primary" };
    eventually("no replica is within the bound", SOON, primary).await;
    resume(stage).await;
    let again = || async { serves(stage, &mut proxy.wire().await, &read).await == "replica0" };
    eventually("the replica is used again", SOON, again).await;
    eventually("there is no lag", SOON, || async { lag().await == 0.0 }).await;
}

/// `catch_up_wait`: the read waits for a replica instead of going to the primary, and goes there when none follows.
#[tokio::test]
async fn reads_wait_for_a_replica_to_follow() {
    let (stage, _turn) = paused().await;
    let table = unique("waits");
    let proxy = stage.proxy("catch_up_wait: 700ms\n").await;
    let mut wire = proxy.wire().await;
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    reads_reach_replica(stage, &mut wire).await;
    let read = format!("SELECT count(*) FROM {table}");
    for _ in 0..20 {
        wire.run(&format!("INSERT INTO {table} VALUES (1)")).await;
        assert!(serves(stage, &mut wire, &read).await.starts_with("replica"));
    }
    pause(stage).await;
    wire.run(&format!("INSERT INTO {table} VALUES (1)")).await;
    let begun = std::time::Instant::now();
    assert_eq!(wire.value(&read).await, "21");
    assert!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
    resume(stage).await;
}

/// A transaction on a replica waits for what its statements must see, and only for that.
#[tokio::test]
async fn a_transaction_on_a_replica_waits_for_what_it_reads() {
    let (stage, _turn) = paused().await;
    let (busy, quiet) = (unique("tx_busy"), unique("tx_quiet"));
    let proxy = stage.proxy("health: {interval: 200ms, timeout: 700ms}\n").await;
    let (mut reader, mut writer) = (proxy.wire().await, proxy.wire().await);
    writer.run(&format!("CREATE TABLE {busy} (id int); CREATE TABLE {quiet} (id int)")).await;
    reads_reach_replica(stage, &mut reader).await;
    let marker = unique("tx");
    reader.run("BEGIN READ ONLY").await;
    reader.run(&format!("SELECT 1 FROM {quiet} /* {marker} */")).await;
    assert!(server_of(stage, &marker).await.starts_with("replica"));
    pause(stage).await;
    writer.run(&format!("INSERT INTO {busy} VALUES (1)")).await;
    assert_eq!(reader.value(&format!("SELECT count(*) FROM {quiet}")).await, "0");
    assert_eq!(reader.error(&format!("SELECT count(*) FROM {busy}")).await, "40001");
    resume(stage).await;
}

/// The ways to commit a row into `table`.
async fn write(wire: &mut Wire, table: &str, number: usize) {
    let insert = format!("INSERT INTO {table} VALUES ({number})");
    match number % 7 {
        0 => {
            wire.run("BEGIN").await;
            wire.run(&insert).await;
            wire.run("COMMIT").await;
        }
        1 => drop(wire.run(&format!("SELECT {table}_adds({number})")).await),
        2 => {
            wire.send(&msg::query(&format!("COPY {table} FROM STDIN"))).await;
            wire.frame().await;
            wire.ask(&[msg::copy_data(format!("{number}\n").as_bytes()), msg::copy_done()].concat()).await;
        }
        3 => drop(wire.run(&format!("SELECT 1; {insert}; SELECT 2")).await),
        4 => {
            wire.run("BEGIN").await;
            wire.run(&insert).await;
            wire.run(&format!("PREPARE TRANSACTION '{table}'")).await;
            wire.run(&format!("COMMIT PREPARED '{table}'")).await;
        }
        5 => drop(wire.extended_value(&format!("{insert} RETURNING id"), &[]).await),
        _ => drop(wire.run(&insert).await),
    }
}

/// How often the session writes and reads: `CONSISTENCY_WRITES`, by default 10,000 times.
fn writes() -> usize {
    let told = std::env::var("CONSISTENCY_WRITES").ok();
    let told = told.map(|text| text.parse().expect("CONSISTENCY_WRITES is a number"));
    told.unwrap_or(if Proxy::is_direct() { 100 } else { 10_000 })
}

/// One session writes and reads 10,000 times, each way to commit in turn, while the replicas are paused and resumed at
/// random: neither it nor another session ever misses a write that was acknowledged.
#[tokio::test]
async fn ten_thousand_writes_are_seen_while_replicas_lag() {
    let (stage, _turn) = paused().await;
    let table = unique("lagging");
    // Reads wait for a replica for a moment, so that replicas serve many of them.
    let proxy = stage.proxy("catch_up_wait: 3ms\n").await;
    let (mut wire, mut other) = (proxy.wire().await, proxy.wire().await);
    wire.run(&format!("CREATE TABLE {table} (id int PRIMARY KEY); CREATE TABLE {table}_noise (id int)"))
        .await;
    wire.run(&format!(
        "CREATE FUNCTION {table}_adds(int) RETURNS int LANGUAGE sql AS 'INSERT INTO {table} VALUES ($1) RETURNING 1'"
    ))
    .await;
    reads_reach_replica(stage, &mut wire).await;
    let before = proxy.metric("pointsman_statements_total", &["replica"]).await;
    let (admins, mut turn) = ([stage.replicas[0].admin().await, stage.replicas[1].admin().await], 0_usize);
    for number in 1..=writes() {
        if number % 50 == 0 {
            turn += 1;
            let order = if turn % 3 == 0 { "pause" } else { "resume" };
            let sql = format!("SELECT pg_wal_replay_{order}()");
            admins[turn / 3 % 2].batch_execute(&sql).await.expect("replay is steered");
        }
        write(&mut wire, &table, number).await;
        let own = wire.value(&format!("SELECT max(id) FROM {table}")).await;
        assert_eq!(own, number.to_string(), "the session's own write, number {number}");
        if number % 4 == 0 {
            let seen = other.value(&format!("SELECT max(id) FROM {table}")).await;
            assert_eq!(seen, number.to_string(), "another session's write, number {number}");
        }
        if number % 500 == 0 {
            reads_reach_replica(stage, &mut other).await;
        }
    }
    let served = proxy.metric("pointsman_statements_total", &["replica"]).await - before;
    assert!(served > 50.0, "replicas must have served some of the reads: {served}");
    resume(stage).await;
}
