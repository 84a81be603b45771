//! Verdicts on statements of the extended protocol.

use pointsman_tests::{Frame, Wire, msg, tags};

use crate::common::shared;

use super::{asked_about, error_of, notes};

/// The values of all rows among replies.
fn values(replies: &[Frame]) -> Vec<String> {
    replies
        .iter()
        .filter(|frame| frame.tag == b'D')
        .map(|row| String::from_utf8_lossy(&row.body[6..]).into_owned())
        .collect()
}

async fn asked(wire: &mut Wire, messages: &[Vec<u8>]) -> Vec<String> {
    let replies = wire.ask(&messages.concat()).await;
    assert_eq!(error_of(&replies), "", "{}", tags(&replies));
    values(&replies)
}

/// An unnamed statement, a named one, many executions of one, in a pipeline and in a transaction: each execution is rewritten.
#[tokio::test]
async fn each_execution_is_rewritten() {
    let stage = shared().await;
    let table = notes(stage, "bound").await;
    let config = format!(
        r#"{{"query": [{{"has": "count", "rewrite": "SELECT count(*)::text FROM {table} WHERE owner = '{{user}}' AND id > $1"}}]}}"#
    );
    let proxy = asked_about(stage, &table, &config).await;
    let mut wire = proxy.wire().await;
    let sql = format!("SELECT count(*)::text FROM {table} WHERE id > $1");
    let execute = |name: &str, from: &str| [msg::bind("", name, &[Some(from)]), msg::execute("", 0)].concat();
    let unnamed = [msg::parse("", &sql), msg::describe_statement(""), execute("", "0"), msg::sync()];
    assert_eq!(asked(&mut wire, &unnamed).await, ["2"]);
    let prepared = [msg::parse("s", &sql), msg::describe_statement("s"), msg::sync()];
    asked(&mut wire, &prepared).await;
    for _ in 0..3 {
        assert_eq!(asked(&mut wire, &[execute("s", "1"), msg::sync()]).await, ["1"]);
    }
    let many = [execute("s", "0"), execute("s", "1"), execute("s", "3"), msg::sync()];
    assert_eq!(asked(&mut wire, &many).await, ["2", "1", "0"]);
    let twice = [msg::parse("", &sql), execute("", "0"), execute("", "1"), msg::sync()];
    assert_eq!(asked(&mut wire, &twice).await, ["2", "1"]);
    wire.run("BEGIN").await;
    assert_eq!(asked(&mut wire, &unnamed).await, ["2"]);
    assert_eq!(asked(&mut wire, &[execute("s", "1"), msg::sync()]).await, ["1"]);
    wire.run("COMMIT").await;
    // One after the other without a `Sync` between them, on a connection that is held.
    let flushed = [msg::parse("", &sql), execute("", "0"), msg::flush()].concat();
    wire.send(&flushed).await;
    let replies = wire.frames(4).await;
    assert_eq!(values(&replies), ["2"]);
    assert_eq!(asked(&mut wire, &[execute("s", "1"), msg::sync()]).await, ["1"]);
}

/// A rewritten statement may have other parameters.
#[tokio::test]
async fn a_rewrite_with_parameters_of_its_own() {
    let stage = shared().await;
    let table = notes(stage, "params").await;
    let config = format!(
        r#"{{"query": [{{"has": "note", "rewrite": "SELECT note FROM {table} WHERE owner = $1 AND id = $2", "params": ["bob", "@0"]}}]}}"#
    );
    let proxy = asked_about(stage, &table, &config).await;
    let mut wire = proxy.wire().await;
    let sql = format!("SELECT note FROM {table} WHERE id = $1");
    let ask = |value: &str| {
        vec![
            msg::parse_typed("", &sql, &[23]),
            msg::bind("", "", &[Some(value)]),
            msg::execute("", 0),
            msg::sync(),
        ]
    };
    assert_eq!(asked(&mut wire, &ask("2")).await, ["two"]);
    assert_eq!(asked(&mut wire, &ask("1")).await, Vec::<String>::new());
    asked(&mut wire, &[msg::parse("s", &sql), msg::sync()]).await;
    assert_eq!(
        asked(&mut wire, &[msg::bind("", "s", &[Some("2")]), msg::execute("", 0), msg::sync()]).await,
        ["two"]
    );
}

/// Answers and refusals by the extended protocol, alone, in a pipeline, and in a transaction.
#[tokio::test]
async fn an_execution_is_answered_or_refused() {
    let stage = shared().await;
    let table = notes(stage, "bound_answers").await;
    let config = r#"{"query": [{"has": "note", "answer": [["a"], ["b"]], "columns": ["note"]}, {"has": "DELETE", "refuse": "no"}]}"#;
    let proxy = asked_about(stage, &table, config).await;
    let mut wire = proxy.wire().await;
    let sql = format!("SELECT note FROM {table} WHERE id = $1");
    let bind = [msg::bind("", "", &[Some("1")]), msg::describe_portal(""), msg::execute("", 0)].concat();
    let answered = [msg::parse("", &sql), bind.clone(), msg::sync()];
    let replies = wire.ask(&answered.concat()).await;
    assert_eq!(
        (tags(&replies).as_str(), values(&replies)),
        ("12TDDCZ", vec!["a".to_owned(), "b".to_owned()])
    );
    let delete = [msg::statement(&format!("DELETE FROM {table}"), &[]), msg::sync()].concat();
    assert_eq!(error_of(&wire.ask(&delete).await), "42501");
    assert_eq!(wire.value("SELECT 1").await, "1");
    wire.run("BEGIN").await;
    assert_eq!(values(&wire.ask(&answered.concat()).await), ["a", "b"]);
    assert_eq!(error_of(&wire.ask(&delete).await), "42501");
    assert_eq!(error_of(&wire.query("SELECT 1").await), "25P02");
    wire.run("ROLLBACK").await;
    // What comes before the refused statement in a pipeline may have been done; what comes after is skipped.
    let insert = msg::statement(&format!("INSERT INTO {table} VALUES (9)"), &[]);
    let pipeline = [insert.clone(), delete.clone(), insert, msg::sync()].concat();
    let replies = wire.ask(&pipeline).await;
    assert_eq!(error_of(&replies), "42501", "{}", tags(&replies));
}

/// A driver's own way: prepared statements, types, transactions.
#[tokio::test]
async fn a_driver_is_none_the_wiser() {
    let stage = shared().await;
    let table = notes(stage, "driver").await;
    let config = format!(
        r#"{{"query": [{{"has": "id, note", "rewrite": "SELECT id, upper(note) FROM {table} WHERE owner = '{{user}}' AND id <= $1 ORDER BY id"}}]}}"#
    );
    let proxy = asked_about(stage, &table, &config).await;
    let mut client = proxy.client().await;
    let statement = client
        .prepare(&format!("SELECT id, note FROM {table} WHERE id <= $1 ORDER BY id"))
        .await
        .expect("prepared");
    for _ in 0..3 {
        let rows = client.query(&statement, &[&3]).await.expect("rows");
        let rows: Vec<(i32, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(rows, [(1, "ONE".to_owned()), (3, "THREE".to_owned())]);
    }
    let transaction = client.transaction().await.expect("begun");
    assert_eq!(transaction.query(&statement, &[&1]).await.expect("rows").len(), 1);
    transaction.commit().await.expect("committed");
}

/// A rewritten statement takes the place of the client's for that execution alone: what is bound again is the client's own.
#[tokio::test]
async fn the_client_s_statement_stays_its_own() {
    let stage = shared().await;
    let table = notes(stage, "bound_again").await;
    let config = format!(
        r#"{{"query": [{{"has": "min", "rewrite": "SELECT max(id)::text FROM {table} WHERE id < $1"}}, {{"has": "max", "refuse": "twice"}}]}}"#
    );
    let proxy = asked_about(stage, &table, &config).await;
    let mut wire = proxy.wire().await;
    let sql = format!("SELECT min(id)::text FROM {table} WHERE id < $1");
    let execute = |from: &str| [msg::bind("", "", &[Some(from)]), msg::execute("", 0)].concat();
    assert_eq!(asked(&mut wire, &[msg::parse("", &sql), execute("3"), msg::sync()]).await, ["2"]);
    for _ in 0..2 {
        assert_eq!(asked(&mut wire, &[execute("2"), msg::sync()]).await, ["1"]);
    }
    // More rewritten texts than are kept: none is lost.
    let mut many = Vec::new();
    for number in 0..100 {
        let name = format!("s{number}");
        let sql = format!("{sql} AND id <> {}", 100 + number);
        many.extend([msg::parse(&name, &sql), msg::bind("", &name, &[Some("3")]), msg::execute("", 0)]);
    }
    many.push(msg::sync());
    assert_eq!(asked(&mut wire, &many).await, ["2"; 100]);
}
