//! A read never misses a write that was acknowledged before it, the client's own or another's.
use std::time::Duration;

use pointsman_tests::{Proxy, Stage, Wire, eventually, msg, pretty, tags};
use tokio::sync::OnceCell;

use crate::common::{SOON, reads_reach_replica, server_of, unique};

/// A stage whose replica may be paused; its tests hold this lock.
async fn paused() -> (&'static Stage, tokio::sync::MutexGuard<'static, ()>) {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let turn = TURN.lock().await;
    let stage = STAGE.get_or_init(|| Stage::new().replicas(1).start()).await;
    // A test that failed may have left it paused.
    stage.replica().sql("SELECT pg_wal_replay_resume()").await;
    (stage, turn)
}

async fn start(stage: &Stage, table: &str) -> (Proxy, Wire) {
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    reads_reach_replica(stage, &mut wire).await;
    (proxy, wire)
}

/// Waits until this very read is served by the replica: it has then replayed what the read must see.
async fn reaches_replica(stage: &Stage, wire: &mut Wire, read: &str) {
    let wire = tokio::sync::Mutex::new(wire);
    eventually("the read reaches the replica", SOON, || async {
        let marker = unique("of_the_table");
        wire.lock().await.run(&format!("{read} /* {marker} */")).await;
        server_of(stage, &marker).await == "replica0"
    })
    .await;
}

/// Stale read after one's own write: a stopped replica never serves a read that would miss it.
#[tokio::test]
async fn own_writes_are_seen_while_replay_is_paused() {
    let (stage, _turn) = paused().await;
    let table = unique("own_write");
    let (_proxy, mut wire) = start(stage, &table).await;
    stage.replica().sql("SELECT pg_wal_replay_pause()").await;
    for number in 1..=20 {
        wire.run(&format!("INSERT INTO {table} VALUES ({number})")).await;
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(wire.value(&count).await, number.to_string());
        assert_eq!(wire.extended_value(&count, &[]).await, number.to_string());
    }
    stage.replica().sql("SELECT pg_wal_replay_resume()").await;
    reads_reach_replica(stage, &mut wire).await;
    assert_eq!(wire.value(&format!("SELECT count(*) FROM {table}")).await, "20");
}

/// Each of several reads that one batch or one pipeline makes sees what it must, not only the first.
#[tokio::test]
async fn every_read_of_a_batch_is_fresh() {
    let (stage, _turn) = paused().await;
    let table = unique("in_a_batch");
    let (_proxy, mut wire) = start(stage, &table).await;
    wire.run(&format!("CREATE TABLE {table}_2 (id int)")).await;
    reads_reach_replica(stage, &mut wire).await;
    let counts = [format!("SELECT count(*) FROM {table}"), format!("SELECT count(*) FROM {table}_2")];
    let reads: Vec<u8> = counts.iter().flat_map(|sql| msg::statement(sql, &[])).collect();
    let batches = [
        [reads.clone(), msg::sync()].concat(),
        [msg::statement("BEGIN READ ONLY", &[]), reads, msg::sync()].concat(),
    ];
    let queries: Vec<u8> = counts.iter().flat_map(|sql| msg::query(sql)).collect();
    let pipelined: Vec<u8> =
        counts.iter().flat_map(|sql| [msg::statement(sql, &[]), msg::sync()].concat()).collect();
    stage.replica().sql("SELECT pg_wal_replay_pause()").await;
    wire.run(&format!("INSERT INTO {table}_2 VALUES (1)")).await;
    for batch in &batches {
        let frames = wire.ask(batch).await;
        let rows: Vec<_> =
            frames.iter().filter(|frame| frame.tag == b'D').map(|row| row.values()[0].clone()).collect();
        assert_eq!(rows, [Some("0".to_owned()), Some("1".to_owned())], "{}", pretty(&frames));
        wire.query("ROLLBACK").await;
    }
    for pipeline in [queries, pipelined] {
        wire.send(&pipeline).await;
        for expected in ["0", "1"] {
            let frames = wire.until(b'Z').await;
            let row = frames.iter().find(|frame| frame.tag == b'D').map(|row| row.values()[0].clone());
            assert_eq!(row, Some(Some(expected.to_owned())), "{}", pretty(&frames));
        }
    }
    stage.replica().sql("SELECT pg_wal_replay_resume()").await;
}

/// Another session's write, acknowledged before the read began, is seen.
#[tokio::test]
async fn others_writes_are_seen_while_replay_is_paused() {
    let (stage, _turn) = paused().await;
    let table = unique("others_write");
    let (proxy, mut writer) = start(stage, &table).await;
    let mut reader = proxy.wire().await;
    stage.replica().sql("SELECT pg_wal_replay_pause()").await;
    for number in 1..=20 {
        writer.run(&format!("INSERT INTO {table} VALUES ({number})")).await;
        assert_eq!(reader.value(&format!("SELECT max(id) FROM {table}")).await, number.to_string());
        let mut fresh = proxy.wire().await;
        assert_eq!(fresh.value(&format!("SELECT max(id) FROM {table}")).await, number.to_string());
    }
    stage.replica().sql("SELECT pg_wal_replay_resume()").await;
}

/// One snapshot serves a whole transaction: its first statement sees everything, and no later one waits for what it would not
/// see.
#[tokio::test]
async fn one_snapshot_is_fresh_and_then_stays() {
    let (stage, _turn) = paused().await;
    let table = unique("one_snapshot");
    let (proxy, mut wire) = start(stage, &table).await;
    let mut other = proxy.wire().await;
    let count = format!("SELECT count(*) FROM {table}");
    let (first, insert) = ("SELECT count(*) FROM pg_am", format!("INSERT INTO {table} VALUES (1)"));
    // What the first statement does not read must be there, too: the primary serves the transaction.
    stage.replica().sql("SELECT pg_wal_replay_pause()").await;
    wire.run(&insert).await;
    wire.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await;
    wire.run(first).await;
    assert_eq!(wire.value(&count).await, "1");
    wire.run("COMMIT").await;
    stage.replica().sql("SELECT pg_wal_replay_resume()").await;
    reaches_replica(stage, &mut wire, &count).await;

    wire.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await;
    let marker = unique("snapshot");
    wire.run(&format!("{first} /* {marker} */")).await;
    assert_eq!(server_of(stage, &marker).await, "replica0");
    stage.replica().sql("SELECT pg_wal_replay_pause()").await;
    other.run(&insert).await;
    assert_eq!(wire.value(&count).await, "1", "what was written since belongs to another snapshot");
    // The next transaction of the chain takes its own, which the replica cannot give.
    wire.run("COMMIT AND CHAIN").await;
    assert_eq!(wire.error(&count).await, "40001");
    wire.run("ROLLBACK").await;
    stage.replica().sql("SELECT pg_wal_replay_resume()").await;
}

/// Every way to write counts: transactions, COPY, functions, prepared statements, DDL, two-phase commit.
#[tokio::test]
async fn every_kind_of_write_is_seen() {
    let (stage, _turn) = paused().await;
    let table = unique("kinds");
    let (_proxy, mut wire) = start(stage, &table).await;
    let function = format!("{table}_adds");
    let body = format!("INSERT INTO {table} VALUES (1) RETURNING 1");
    wire.run(&format!("CREATE FUNCTION {function}() RETURNS int LANGUAGE sql AS '{body}'")).await;
    reads_reach_replica(stage, &mut wire).await;
    stage.replica().sql("SELECT pg_wal_replay_pause()").await;
    let insert = format!("INSERT INTO {table} VALUES (1)");
    let kinds: Vec<Vec<String>> = vec![
        vec!["BEGIN".into(), insert.clone(), "COMMIT".into()],
        vec![format!("BEGIN; {insert}; COMMIT")],
        vec!["BEGIN".into(), insert.clone(), "COMMIT AND CHAIN".into(), "ROLLBACK".into()],
        vec![format!("SELECT {function}()")],
        vec![format!("WITH w AS ({insert} RETURNING id) SELECT id FROM w")],
        vec![format!("PREPARE p AS {insert}"), "EXECUTE p".into()],
        vec![format!("DO $$ BEGIN {insert}; END $$")],
        vec!["BEGIN".into(), insert.clone(), format!("PREPARE TRANSACTION '{table}'")],
    ];
    let mut want = 0;
    for kind in kinds {
        for statement in &kind {
            wire.run(statement).await;
        }
        want += 1;
        if kind.len() == 3 && kind[2].starts_with("PREPARE TRANSACTION") {
            wire.run(&format!("COMMIT PREPARED '{table}'")).await;
        }
        assert_eq!(wire.value(&format!("SELECT count(*) FROM {table}")).await, want.to_string(), "{kind:?}");
    }
    wire.send(&msg::query(&format!("COPY {table} FROM STDIN"))).await;
    wire.frame().await;
    wire.ask(&[msg::copy_data(b"1\n"), msg::copy_done()].concat()).await;
    assert_eq!(wire.value(&format!("SELECT count(*) FROM {table}")).await, (want + 1).to_string());
    wire.run(&format!("ALTER TABLE {table} ADD note text")).await;
    assert_eq!(wire.value(&format!("SELECT note FROM {table} LIMIT 1")).await, "NULL");
    stage.replica().sql("SELECT pg_wal_replay_resume()").await;
}

/// `EXECUTE` by the extended protocol, and statements of a session about which not everything is known.
#[tokio::test]
async fn writes_by_names_of_the_connections_own_are_seen() {
    let (stage, _turn) = paused().await;
    let table = unique("own_names");
    let (proxy, mut writer) = start(stage, &table).await;
    let mut reader = proxy.wire().await;
    writer.run(&format!("PREPARE ins(int) AS INSERT INTO {table} VALUES ($1)")).await;
    reads_reach_replica(stage, &mut reader).await;
    stage.replica().sql("SELECT pg_wal_replay_pause()").await;
    let mut want = 0;
    for (name, sql) in [
        ("", "EXECUTE ins(1)".to_owned()),
        ("by_name", "EXECUTE ins(2)".to_owned()),
        // By now the session keeps its connection, and the names on it.
        ("own", format!("INSERT INTO {table} VALUES (3)")),
    ] {
        writer.ask(&[msg::parse(name, &sql), msg::sync()].concat()).await;
        for _ in 0..3 {
            let run = [msg::bind("", name, &[]), msg::execute("", 0), msg::sync()].concat();
            let frames = writer.ask(&run).await;
            assert_eq!(pointsman_tests::tags(&frames), "2CZ", "{sql}");
            want += 1;
            let count = reader.value(&format!("SELECT count(*) FROM {table}")).await;
            assert_eq!(count, want.to_string(), "{sql}");
        }
    }
    stage.replica().sql("SELECT pg_wal_replay_resume()").await;
}

/// A plan of a write is no write: it takes no read off a replica.
#[tokio::test]
async fn an_explained_write_is_none() {
    let (stage, _turn) = paused().await;
    let table = unique("explained");
    let (_proxy, mut wire) = start(stage, &table).await;
    stage.replica().sql("SELECT pg_wal_replay_pause()").await;
    for explained in [format!("INSERT INTO {table} VALUES (1)"), format!("DELETE FROM {table}")] {
        let marker = unique("plan_only");
        wire.run(&format!("EXPLAIN {explained} /* {marker} */")).await;
        assert_eq!(server_of(stage, &marker).await, "primary");
        let marker = unique("after_plan");
        wire.run(&format!("SELECT 1 /* {marker} */")).await;
        assert_eq!(server_of(stage, &marker).await, "replica0", "{explained}");
    }
    stage.replica().sql("SELECT pg_wal_replay_resume()").await;
}

/// What a replica refuses to one client takes it from nobody else.
#[tokio::test]
async fn one_client_s_refusal_is_its_own() {
    let (stage, _turn) = paused().await;
    let role = unique("newcomer");
    let proxy = stage
        .proxy(&format!(
            "auth: {{users: [{{name: app, password: password}}, {{name: {role}, password: password}}]}}\n"
        ))
        .await;
    let mut wire = proxy.wire().await;
    reads_reach_replica(stage, &mut wire).await;
    stage.replica().sql("SELECT pg_wal_replay_pause()").await;
    // Made behind the proxy's back: the replica is believed to hold all, but does not know the role.
    stage.primary.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'password'")).await;
    let mut newcomer = proxy.wire_as(&role).await;
    for _ in 0..5 {
        let marker = unique("refused");
        assert_eq!(newcomer.value(&format!("SELECT 1 /* {marker} */")).await, "1");
        assert_eq!(server_of(stage, &marker).await, "primary");
        let marker = unique("kept");
        wire.run(&format!("SELECT 1 /* {marker} */")).await;
        assert_eq!(server_of(stage, &marker).await, "replica0");
    }
    stage.replica().sql("SELECT pg_wal_replay_resume()").await;
}

/// Writes and reads in a loop with replication running: no read is ever behind.
#[tokio::test]
async fn a_loop_of_writes_and_reads_never_goes_back() {
    let (stage, _turn) = paused().await;
    let table = unique("looped");
    let (proxy, mut wire) = start(stage, &table).await;
    let mut other = proxy.wire().await;
    for number in 1..=300 {
        wire.run(&format!("INSERT INTO {table} VALUES ({number})")).await;
        assert_eq!(other.value(&format!("SELECT max(id) FROM {table}")).await, number.to_string());
        if number % 7 == 0 {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        assert_eq!(
            wire.extended_value(&format!("SELECT count(*) FROM {table}"), &[]).await,
            number.to_string()
        );
    }
}

/// A replica that has replayed serves again: writes do not take reads away from it for good.
#[tokio::test]
async fn reads_return_to_the_replica() {
    let (stage, _turn) = paused().await;
    let table = unique("returns");
    let (_proxy, mut wire) = start(stage, &table).await;
    for _ in 0..5 {
        wire.run(&format!("INSERT INTO {table} VALUES (1)")).await;
        reads_reach_replica(stage, &mut wire).await;
    }
}

/// A transaction on a replica that does not catch up fails as by any other error, by both protocols.
#[tokio::test]
async fn a_transaction_on_a_replica_that_stays_behind_fails() {
    let (stage, _turn) = paused().await;
    let table = unique("refused");
    let proxy = stage.proxy("health: {interval: 200ms, timeout: 300ms}\n").await;
    let (mut wire, mut writer) = (proxy.wire().await, proxy.wire().await);
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    let count = format!("SELECT count(*) FROM {table}");
    for (round, extended) in [false, true].into_iter().enumerate() {
        reaches_replica(stage, &mut wire, &count).await;
        wire.run("BEGIN READ ONLY").await;
        assert_eq!(wire.value(&count).await, round.to_string());
        stage.replica().sql("SELECT pg_wal_replay_pause()").await;
        writer.run(&format!("INSERT INTO {table} VALUES (1)")).await;
        let frames = match extended {
            false => wire.query(&count).await,
            true => wire.ask(&[msg::statement(&count, &[]), msg::sync()].concat()).await,
        };
        assert_eq!(tags(&frames), "EZ", "{}", pretty(&frames));
        assert_eq!((frames[0].sqlstate().as_str(), &frames[1].body[..]), ("40001", &b"E"[..]));
        assert_eq!(wire.error("SELECT 1").await, "25P02");
        stage.replica().sql("SELECT pg_wal_replay_resume()").await;
        stage.wait_replayed().await;
        assert_eq!(tags(&wire.run("ROLLBACK").await), "CZ");
        assert_eq!(wire.value(&count).await, (round + 1).to_string());
    }
}
