//! Pipelines: many messages before one `Sync`, in order, on one server, with errors that skip to the `Sync`.
use std::time::Duration;

use pointsman_tests::{msg, pretty, tags, within};
use tokio::task::JoinSet;

use crate::common::{SOON, reads_reach_replica, shared, unique};

/// An error in a pipeline neither hangs nor desynchronises: messages are skipped until `Sync`.
#[tokio::test]
async fn an_error_skips_until_sync() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let pipeline = [
        msg::statement("SELECT 1", &[]),
        msg::statement("SELECT 1/$1::int", &[Some("0")]),
        msg::statement("SELECT 2", &[]),
        msg::sync(),
        msg::statement("SELECT 3", &[]),
        msg::sync(),
    ];
    let first = wire.ask(&pipeline.concat()).await;
    assert_eq!(tags(&first), "12TDC1EZ", "{}", pretty(&first));
    let second = wire.until(b'Z').await;
    assert_eq!(tags(&second), "12TDCZ", "{}", pretty(&second));
    assert_eq!(wire.value("SELECT 4").await, "4");
}

/// An injected `Sync` commits early: one is never added, so a late error takes the whole pipeline back.
#[tokio::test]
async fn no_sync_is_added() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let table = unique("no_sync");
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    let insert = msg::statement(&format!("INSERT INTO {table} VALUES (1)"), &[]);
    wire.send(&[insert.clone(), msg::flush()].concat()).await;
    let frames = wire.frames(4).await;
    assert_eq!(tags(&frames), "12nC", "{}", pretty(&frames));
    wire.quiet(Duration::from_millis(100)).await;
    let frames =
        wire.ask(&[insert, msg::statement("SELECT 1/$1::int", &[Some("0")]), msg::sync()].concat()).await;
    assert_eq!(tags(&frames), "12nC1EZ", "{}", pretty(&frames));
    assert_eq!(wire.value(&format!("SELECT count(*) FROM {table}")).await, "0");
}

/// Pipelines split across servers deadlock, or answer `ReadyForQuery` early: reads and writes of one
/// pipeline see each other and one `ReadyForQuery` ends it.
#[tokio::test]
async fn a_pipeline_stays_on_one_server() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    let table = unique("mixed");
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    reads_reach_replica(stage, &mut wire).await;
    let count = msg::statement(&format!("SELECT count(*) FROM {table}"), &[]);
    let insert = msg::statement(&format!("INSERT INTO {table} VALUES ($1)"), &[Some("7")]);
    let pipeline = [count.clone(), insert.clone(), count.clone(), insert, count, msg::sync()].concat();
    for round in 0..20 {
        let frames = wire.ask(&pipeline).await;
        assert_eq!(tags(&frames), "12TDC12nC12TDC12nC12TDCZ", "{}", pretty(&frames));
        let rows: Vec<_> =
            frames.iter().filter(|frame| frame.tag == b'D').map(|row| row.values()[0].clone()).collect();
        let want: Vec<_> = (0..3).map(|step| Some((round * 2 + step).to_string())).collect();
        assert_eq!(rows, want);
        wire.quiet(Duration::from_millis(5)).await;
    }
}

/// Reads and writes of several `Sync`s sent at once are answered in the order sent.
#[tokio::test]
async fn answers_keep_the_order_of_questions() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    let table = unique("ordered");
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    reads_reach_replica(stage, &mut wire).await;
    let mut bytes = Vec::new();
    for number in 0..50 {
        let insert = format!("INSERT INTO {table} VALUES ({number})");
        bytes.extend([msg::statement(&insert, &[]), msg::sync()].concat());
        bytes.extend([msg::statement(&format!("SELECT max(id) FROM {table}"), &[]), msg::sync()].concat());
        bytes.extend(msg::query(&format!("SELECT count(*) FROM {table}")));
    }
    wire.send(&bytes).await;
    for number in 0..50 {
        assert_eq!(tags(&wire.until(b'Z').await), "12nCZ");
        let newest = wire.until(b'Z').await;
        assert_eq!(newest[3].values()[0], Some(number.to_string()), "{}", pretty(&newest));
        let count = wire.until(b'Z').await;
        assert_eq!(count[1].values()[0], Some((number + 1).to_string()), "{}", pretty(&count));
    }
}

/// `Describe` or `Flush` without `Sync` loses its portal: the connection stays until `Sync`, other clients
/// use another.
#[tokio::test]
async fn a_portal_outlives_flush() {
    let proxy = shared().await.proxy("pool: {size: 2}\n").await;
    let mut wire = proxy.wire().await;
    let mut others = JoinSet::new();
    for _ in 0..4 {
        let mut other = proxy.wire().await;
        others.spawn(async move {
            for number in 0..200 {
                let got = other.extended_value("SELECT $1::int", &[Some(&number.to_string())]).await;
                assert_eq!(got, number.to_string());
            }
        });
    }
    for _ in 0..20 {
        let parse = msg::parse("", "SELECT generate_series(1, 5)");
        wire.send(&[parse, msg::describe_statement(""), msg::flush()].concat()).await;
        assert_eq!(tags(&wire.frames(3).await), "1tT");
        wire.send(&[msg::bind("p", "", &[]), msg::describe_portal("p"), msg::flush()].concat()).await;
        assert_eq!(tags(&wire.frames(2).await), "2T");
        wire.send(&[msg::execute("p", 2), msg::flush()].concat()).await;
        assert_eq!(tags(&wire.frames(3).await), "DDs");
        wire.send(&[msg::execute("p", 2), msg::flush()].concat()).await;
        assert_eq!(tags(&wire.frames(3).await), "DDs");
        let rest = wire.ask(&[msg::execute("p", 0), msg::sync()].concat()).await;
        assert_eq!(tags(&rest), "DCZ", "{}", pretty(&rest));
        assert_eq!(rest[0].values()[0].as_deref(), Some("5"));
    }
    while let Some(done) = others.join_next().await {
        done.expect("another client is served");
    }
}

/// A `Flush` alone, a `Sync` alone and many of them answer as PostgreSQL does.
#[tokio::test]
async fn bare_syncs_are_each_answered() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    wire.send(&msg::flush()).await;
    wire.quiet(Duration::from_millis(50)).await;
    wire.send(&msg::sync().repeat(3)).await;
    assert_eq!(tags(&wire.frames(3).await), "ZZZ");
    wire.send(
        &[msg::flush(), msg::sync(), msg::query(""), msg::query(";"), msg::query("SELECT 1; SELECT 2")]
            .concat(),
    )
    .await;
    assert_eq!(tags(&wire.frames(1).await), "Z");
    assert_eq!(tags(&wire.until(b'Z').await), "IZ");
    assert_eq!(tags(&wire.until(b'Z').await), "IZ");
    assert_eq!(tags(&wire.until(b'Z').await), "TDCTDCZ");
}

/// A simple query may follow extended messages without a `Sync` between.
#[tokio::test]
async fn a_simple_query_may_end_a_pipeline() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let table = unique("joined");
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    let insert = msg::statement(&format!("INSERT INTO {table} VALUES (1)"), &[]);
    let frames = wire.ask(&[insert, msg::query(&format!("SELECT count(*) FROM {table}"))].concat()).await;
    assert_eq!(tags(&frames), "12nCTDCZ", "{}", pretty(&frames));
    assert_eq!(frames[5].values()[0].as_deref(), Some("1"));
}

/// Messages cut at every byte are put together again.
#[tokio::test]
async fn messages_may_arrive_byte_by_byte() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let bytes = [msg::statement("SELECT $1::text", &[Some("slow")]), msg::sync()].concat();
    for byte in &bytes {
        wire.send(&[*byte]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let frames = wire.until(b'Z').await;
    assert_eq!(tags(&frames), "12TDCZ");
    assert_eq!(frames[3].values()[0].as_deref(), Some("slow"));
}

/// Two thousand statements in flight at once from a driver that pipelines.
#[tokio::test]
async fn a_deep_pipeline_drains() {
    let proxy = shared().await.proxy("").await;
    let client = std::sync::Arc::new(proxy.client().await);
    let statement = client.prepare("SELECT $1::int * 2, repeat('x', 500)").await.expect("prepares");
    let mut tasks = JoinSet::new();
    for number in 0..2000_i32 {
        let (client, statement) = (client.clone(), statement.clone());
        tasks.spawn(async move {
            let row = client.query_one(&statement, &[&number]).await.expect("a row");
            assert_eq!(row.get::<_, i32>(0), number * 2);
        });
    }
    within("the pipeline drains", SOON * 3, async {
        while let Some(done) = tasks.join_next().await {
            done.expect("each is answered");
        }
    })
    .await;
}

/// In a transaction, `Sync` after an error leaves it failed until `ROLLBACK`.
#[tokio::test]
async fn a_failed_transaction_stays_failed_across_syncs() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let fail = msg::statement("SELECT 1/$1::int", &[Some("0")]);
    let frames = wire.ask(&[msg::statement("BEGIN", &[]), fail, msg::sync()].concat()).await;
    assert_eq!(frames.last().map(|frame| frame.body.to_vec()), Some(b"E".to_vec()), "{}", pretty(&frames));
    assert_eq!(wire.error("SELECT 1").await, "25P02");
    let frames = wire.ask(&[msg::statement("ROLLBACK", &[]), msg::sync()].concat()).await;
    assert_eq!(tags(&frames), "12nCZ");
    assert_eq!(wire.value("SELECT 1").await, "1");
}

/// What is flushed before its `Sync` does not bind the rest of its pipeline to a replica.
#[tokio::test]
async fn a_flushed_read_does_not_choose_a_replica() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    let table = unique("flushed");
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    reads_reach_replica(stage, &mut wire).await;
    wire.send(&[msg::statement("SELECT 1", &[]), msg::flush()].concat()).await;
    assert_eq!(tags(&wire.frames(5).await), "12TDC");
    let insert = msg::statement(&format!("INSERT INTO {table} VALUES (1)"), &[]);
    let frames = wire.ask(&[insert.clone(), msg::sync()].concat()).await;
    assert_eq!(tags(&frames), "12nCZ", "{}", pretty(&frames));
    wire.ask(&[msg::parse("read", "SELECT 2"), msg::sync()].concat()).await;
    reads_reach_replica(stage, &mut wire).await;
    let frames =
        wire.ask(&[msg::describe_statement("read"), msg::flush(), insert, msg::sync()].concat()).await;
    assert_eq!(tags(&frames), "tT12nCZ", "{}", pretty(&frames));
}

/// What the proxy answers itself is answered at `Flush`, as PostgreSQL does, whether or not the server has anything to say.
#[tokio::test]
async fn a_flush_is_answered_without_the_server() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let mut wire = proxy.wire().await;
    let sql = "SELECT 1, random()";
    wire.ask(&[msg::parse("a", sql), msg::parse("s1", "SELECT 2"), msg::sync()].concat()).await;
    wire.send(&[msg::parse("b", sql), msg::flush()].concat()).await;
    assert_eq!(tags(&wire.frames(1).await), "1");
    assert_eq!(tags(&wire.ask(&msg::sync()).await), "Z");
    wire.run("BEGIN").await;
    wire.send(&[msg::close_statement("s1"), msg::flush()].concat()).await;
    assert_eq!(tags(&wire.frames(1).await), "3");
    wire.send(&[msg::describe_statement("a"), msg::close_statement("b"), msg::flush()].concat()).await;
    assert_eq!(tags(&wire.frames(3).await), "tT3");
    assert_eq!(tags(&wire.ask(&msg::sync()).await), "Z");
    assert_eq!(tags(&wire.run("COMMIT").await), "CZ");
}

/// A local reply does not break into a message that the server has only half sent.
#[tokio::test]
async fn a_local_reply_follows_a_long_message() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let columns: Vec<String> =
        (0..1600).map(|number| format!("{number} AS a_rather_long_name_of_column_{number}")).collect();
    let sql = format!("SELECT {}", columns.join(", "));
    wire.ask(&[msg::parse("s1", "SELECT 2"), msg::parse("wide", &sql), msg::sync()].concat()).await;
    for _ in 0..5 {
        let messages = [
            msg::parse("s1x", "SELECT 2"),
            msg::describe_statement("wide"),
            msg::close_statement("s1x"),
            msg::describe_statement("wide"),
            msg::sync(),
        ];
        let frames = wire.ask(&messages.concat()).await;
        assert_eq!(tags(&frames), "1tT3tTZ");
        assert!(frames[2].body == frames[5].body && frames[2].body.len() > 64_000);
    }
}

/// After an error in the extended protocol PostgreSQL ignores simple queries and function calls too, up to the `Sync`.
#[tokio::test]
async fn a_query_behind_an_extended_error_is_ignored() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let mut wire = proxy.wire().await;
    let fails = msg::statement("SELECT 1/$1::int", &[Some("0")]);
    let ignored = [msg::query("SELECT 2"), msg::function_call(177, &[Some("1"), Some("2")])].concat();
    for pause in [false, true] {
        for begin in [false, true] {
            if begin {
                wire.run("BEGIN").await;
            }
            wire.send(&fails).await;
            if pause {
                wire.send(&msg::flush()).await;
                assert_eq!(tags(&wire.until(b'E').await).chars().last(), Some('E'));
            }
            wire.send(&ignored).await;
            wire.send(&[msg::parse("x", "SELECT 3"), msg::flush()].concat()).await;
            let frames = wire.ask(&msg::sync()).await;
            assert_eq!(tags(&frames), if pause { "Z" } else { "1EZ" }, "{}", pretty(&frames));
            assert_eq!(
                frames.last().map(|frame| frame.body.to_vec()),
                Some(if begin { b"E" } else { b"I" }.to_vec())
            );
            assert_eq!(tags(&wire.ask(&[msg::describe_statement("x"), msg::sync()].concat()).await), "EZ");
            if begin {
                wire.run("ROLLBACK").await;
            }
            assert_eq!(wire.value("SELECT 4").await, "4");
            assert_eq!(proxy.wire().await.value("SELECT 5").await, "5");
        }
    }
    // The unnamed statement outlives a query that was ignored, and not one that was served.
    wire.send(
        &[msg::parse("", "SELECT 6"), msg::bind("", "no_such", &[]), msg::query("SELECT 7"), msg::sync()]
            .concat(),
    )
    .await;
    assert_eq!(tags(&wire.until(b'Z').await), "1EZ");
    let again = [msg::bind("", "", &[]), msg::execute("", 0)].concat();
    assert_eq!(tags(&wire.ask(&[again.clone(), msg::sync()].concat()).await), "2DCZ");
    let frames = wire.ask(&[again.clone(), msg::query("SELECT 7")].concat()).await;
    assert_eq!(tags(&frames), "2DCTDCZ", "{}", pretty(&frames));
    assert_eq!(tags(&wire.ask(&[again, msg::sync()].concat()).await), "EZ");
}

/// A simple query ends a pipeline that has no `Sync`: the connection is free for others.
#[tokio::test]
async fn a_query_without_sync_frees_the_connection() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let mut wire = proxy.wire().await;
    let frames = wire.ask(&[msg::statement("SELECT 1", &[]), msg::query("SELECT 2")].concat()).await;
    assert_eq!(tags(&frames), "12TDCTDCZ", "{}", pretty(&frames));
    assert_eq!(proxy.wire().await.value("SELECT 3 FROM (SELECT random()) r").await, "3");
}

/// A function call answers in a failed transaction and on a pinned connection as PostgreSQL does.
#[tokio::test]
async fn function_calls_meet_every_state() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let call = msg::function_call(177, &[Some("1"), Some("2")]);
    for mut wire in [stage.primary.wire().await, proxy.wire().await] {
        assert_eq!(tags(&wire.ask(&call).await), "VZ");
        wire.run("BEGIN").await;
        assert_eq!(tags(&wire.ask(&call).await), "VZ");
        wire.error("SELECT 1/0").await;
        let frames = wire.ask(&call).await;
        assert_eq!((tags(&frames).as_str(), frames[0].sqlstate().as_str()), ("EZ", "25P02"));
        assert_eq!(&frames[1].body[..], b"E");
        wire.run("ROLLBACK").await;
        wire.run("CREATE TEMP TABLE pinning (id int)").await;
        let frames = wire.ask(&call).await;
        assert_eq!(tags(&frames), "VZ", "{}", pretty(&frames));
        assert_eq!(wire.value("SELECT count(*) FROM pinning").await, "0");
    }
}
