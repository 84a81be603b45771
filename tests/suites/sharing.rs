//! A prepared statement is shared only with those to whom its text means the same.
use pointsman_tests::{Proxy, Wire, msg, pretty, tags};

use crate::common::{shared, unique};

async fn executed(wire: &mut Wire, name: &str) -> String {
    let frames = wire.ask(&[msg::bind("", name, &[]), msg::execute("", 0), msg::sync()].concat()).await;
    let row = frames.iter().find(|frame| frame.tag == b'D' || frame.tag == b'E');
    let row = row.unwrap_or_else(|| panic!("no row:\n{}", pretty(&frames)));
    if row.tag == b'E' { row.sqlstate() } else { row.values()[0].clone().unwrap_or_default() }
}

async fn parse(wire: &mut Wire, name: &str, sql: &str) {
    let frames = wire.ask(&[msg::parse(name, sql), msg::sync()].concat()).await;
    assert!(tags(&frames).ends_with("1Z"), "{}", pretty(&frames));
}

async fn pair(proxy: &Proxy) -> (Wire, Wire) {
    (proxy.wire().await, proxy.wire().await)
}

/// A setting, a text whose constants it changes, and what the text gives with the setting and without.
const MEANINGS: &[(&str, &str, &str, &str)] = &[
    (
        "SET TimeZone = 'Asia/Tokyo'",
        "SELECT extract(epoch FROM '2024-01-01 00:00:00'::timestamptz)::bigint",
        "1704034800",
        "1704067200",
    ),
    ("SET DateStyle = 'SQL, DMY'", "SELECT extract(month FROM '01/02/2024'::date)::int", "2", "1"),
    (
        "SET IntervalStyle = sql_standard",
        "SELECT extract(epoch FROM '-1 2:00:00'::interval)::int",
        "-93600",
        "-79200",
    ),
    ("SET standard_conforming_strings = off", "SELECT length('a\\b')", "2", "3"),
    ("SET client_encoding = LATIN1", "SELECT octet_length('\u{e9}')", "4", "2"),
    ("SET transform_null_equals = on", "SELECT ((1 = NULL) IS NULL)::text", "false", "true"),
];

/// PostgreSQL reads constants when it parses: who reads them otherwise has another statement.
#[tokio::test]
async fn settings_tell_statements_apart() {
    let proxy = shared().await.proxy("pool: {size: 2}\n").await;
    for (set, sql, with, without) in MEANINGS {
        let (mut alpha, mut beta) = pair(&proxy).await;
        alpha.run(set).await;
        let prepare = format!("PREPARE by_sql AS {sql}");
        for wire in [&mut alpha, &mut beta] {
            parse(wire, "s", sql).await;
            wire.run(&prepare).await;
        }
        for _ in 0..2 {
            assert_eq!(executed(&mut alpha, "s").await, *with, "{set}");
            assert_eq!(executed(&mut beta, "s").await, *without, "{set}");
            assert_eq!(alpha.value("EXECUTE by_sql").await, *with, "{set}");
            assert_eq!(beta.value("EXECUTE by_sql").await, *without, "{set}");
        }
    }
}

/// A statement keeps the meaning it was prepared with, whatever its client sets later and whichever connection serves it;
/// and nobody else gets that meaning by chance.
#[tokio::test]
async fn a_statement_keeps_its_meaning() {
    let proxy = shared().await.proxy("pool: {size: 2, prepared_statements_max: 1}\n").await;
    for (set, sql, with, without) in MEANINGS {
        let (mut alpha, mut beta) = pair(&proxy).await;
        alpha.run(set).await;
        parse(&mut alpha, "s", sql).await;
        alpha.run(&format!("PREPARE by_sql AS {sql}")).await;
        alpha.run("RESET ALL").await;
        parse(&mut beta, "s", sql).await;
        for _ in 0..2 {
            // Each pushes the other's off the connection.
            assert_eq!(executed(&mut alpha, "s").await, *with, "{set}");
            assert_eq!(alpha.value("EXECUTE by_sql").await, *with, "{set}");
            assert_eq!(alpha.value("EXECUTE s").await, *with, "{set}");
            assert_eq!(executed(&mut beta, "s").await, *without, "{set}");
            alpha.run("BEGIN").await;
            assert_eq!(executed(&mut alpha, "s").await, *with, "{set}, in a transaction");
            assert_eq!(alpha.value("EXECUTE by_sql").await, *with, "{set}, in a transaction");
            alpha.run("COMMIT").await;
        }
        assert_eq!(alpha.value("SHOW TimeZone").await, "UTC");
    }
}

/// A setting and a statement in one pipeline: what the statement means is not known to others of the same text.
#[tokio::test]
async fn a_setting_in_the_same_pipeline_counts() {
    let proxy = shared().await.proxy("pool: {size: 2}\n").await;
    for (set, sql, with, without) in MEANINGS {
        let (mut alpha, mut beta) = pair(&proxy).await;
        let pipeline = [msg::statement(set, &[]), msg::parse("s", sql), msg::bind("", "s", &[])];
        let frames = alpha.ask(&[pipeline.concat(), msg::execute("", 0), msg::sync()].concat()).await;
        let row = frames.iter().find(|frame| frame.tag == b'D').expect("a row");
        // How a text is cut into constants, and its bytes, PostgreSQL decides by the setting at each message.
        assert_eq!(row.values()[0].as_deref(), Some(*with), "{set}");
        parse(&mut beta, "s", sql).await;
        assert_eq!(executed(&mut beta, "s").await, *without, "{set}");
    }
}

/// What a statement's text cannot depend on does not keep it from being shared.
#[tokio::test]
async fn other_settings_do_not_matter() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let sql = format!("SELECT '{}' FOR UPDATE", unique("alike"));
    for set in ["SET application_name = 'x'", "SET statement_timeout = '9s'", "SET work_mem = '3MB'"] {
        let mut wire = proxy.wire().await;
        wire.run(set).await;
        parse(&mut wire, "s", &sql).await;
        executed(&mut wire, "s").await;
    }
    let mut wire = proxy.wire().await;
    let count = format!(
        "SELECT count(*) FROM pg_prepared_statements, (SELECT random()) r WHERE statement = {}",
        "$$".to_owned() + &sql + "$$"
    );
    assert_eq!(wire.value(&count).await, "1");
}

/// SQL's own `PREPARE`: other tables by another path, other columns after a change.
#[tokio::test]
async fn prepare_by_sql_knows_paths_and_definitions() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let (mut alpha, mut beta) = pair(&proxy).await;
    let (one, two) = (unique("sql_path"), unique("sql_path"));
    for (wire, schema) in [(&mut alpha, &one), (&mut beta, &two)] {
        wire.run(&format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.t AS SELECT '{schema}'::text AS a"))
            .await;
        wire.run(&format!("SET search_path = {schema}")).await;
        wire.run("PREPARE by_path AS SELECT * FROM t").await;
    }
    for _ in 0..3 {
        assert_eq!(alpha.value("EXECUTE by_path").await, one);
        assert_eq!(beta.value("EXECUTE by_path").await, two);
    }
    alpha.run("ALTER TABLE t ADD b text DEFAULT 'b'").await;
    assert_eq!(alpha.error("EXECUTE by_path").await, "0A000", "as PostgreSQL");
    alpha.run("DEALLOCATE by_path").await;
    alpha.run("PREPARE by_path AS SELECT * FROM t").await;
    for _ in 0..3 {
        assert_eq!(alpha.value("EXECUTE by_path").await, one);
        assert_eq!(beta.value("EXECUTE by_path").await, two);
    }
}

/// A statement that can be prepared no more: the client hears why, once, and nothing hangs.
#[tokio::test]
async fn what_cannot_be_prepared_again_says_why() {
    let proxy = shared().await.proxy("pool: {size: 1, prepared_statements_max: 1}\n").await;
    let mut wire = proxy.wire().await;
    let table = unique("gone");
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    let select = format!("SELECT id FROM {table}");
    parse(&mut wire, "by_protocol", &select).await;
    wire.run(&format!("PREPARE by_sql AS {select}")).await;
    wire.run(&format!("DROP TABLE {table}")).await;
    for name in ["by_protocol", "by_sql"] {
        for _ in 0..2 {
            parse(&mut wire, &unique("pushes"), "SELECT 1").await;
            for text in [format!("EXECUTE {name}"), format!("SELECT 1; EXECUTE {name}")] {
                let frames = wire.query(&text).await;
                let errors: Vec<_> = frames.iter().filter(|frame| frame.tag == b'E').collect();
                assert_eq!(errors.len(), 1, "{text}:\n{}", pretty(&frames));
                assert_eq!(errors[0].sqlstate(), "42P01", "{text}");
                assert_eq!(errors[0].field('P'), "", "{text}");
            }
        }
        wire.run("BEGIN").await;
        assert_eq!(wire.error(&format!("EXECUTE {name}")).await, "42P01", "in a transaction");
        assert_eq!(wire.error("SELECT 1").await, "25P02");
        wire.run("ROLLBACK").await;
        assert_eq!(wire.value("SELECT 1").await, "1");
        assert_eq!(executed(&mut wire, name).await, "42P01");
    }
}

/// `EXECUTE` by the extended protocol, unnamed: it is the client's own, whoever used the connection before.
#[tokio::test]
async fn an_unnamed_execute_finds_its_statement() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let (mut alpha, mut beta) = pair(&proxy).await;
    alpha.run("PREPARE q AS SELECT 'mine' FOR UPDATE").await;
    assert_eq!(beta.extended_value("SELECT 'theirs' FOR UPDATE", &[]).await, "theirs");
    assert_eq!(alpha.extended_value("EXECUTE q", &[]).await, "mine");
    parse(&mut alpha, "", "EXECUTE q").await;
    assert_eq!(executed(&mut alpha, "").await, "mine");
}
