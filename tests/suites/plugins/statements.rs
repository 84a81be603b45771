//! Verdicts on simple queries.

use crate::common::{SOON, reads_reach_replica, server_of, shared, unique};
use pointsman_tests::{eventually, msg};

use super::{asked_about, error_of, notes};

/// A rewritten query is performed in the place of the client's, in a transaction and out of one; others are left alone.
#[tokio::test]
async fn a_query_is_rewritten() {
    let stage = shared().await;
    let table = notes(stage, "rewritten").await;
    let config = format!(
        r#"{{"query": [{{"has": "count", "rewrite": "SELECT count(*) FROM {table} WHERE owner = '{{user}}'"}}]}}"#
    );
    let proxy = asked_about(stage, &table, &config).await;
    let mut wire = proxy.wire().await;
    let count = format!("SELECT count(*) FROM {table}");
    assert_eq!(wire.value(&count).await, "2");
    assert_eq!(proxy.wire_as("bob").await.value(&count).await, "1");
    for begin in ["BEGIN", "BEGIN READ ONLY"] {
        wire.run(begin).await;
        assert_eq!(wire.value(&count).await, "2");
        wire.run("COMMIT").await;
    }
    assert_eq!(wire.value(&format!("SELECT min(id) FROM {table}")).await, "1", "it passes");
    assert_eq!(wire.value("SELECT count(*) FROM pg_class WHERE false").await, "0", "no rule names it");
    let calls = proxy.metric("pointsman_plugins_calls_total", &["plugin=\"script\""]).await;
    assert_eq!(calls, 7.0, "and two logins");
    let verdicts = async |kind: &str| {
        proxy.metric("pointsman_plugins_verdicts_total", &[&format!("verdict=\"{kind}\"")]).await
    };
    assert_eq!((verdicts("change").await, verdicts("pass").await), (4.0, 1.0));
}

/// What is answered is not asked of the table; what is refused is an error as of the server, which fails a transaction.
#[tokio::test]
async fn a_query_is_answered_or_refused() {
    let stage = shared().await;
    let table = notes(stage, "answered").await;
    let config = r#"{"query": [
        {"has": "note = 'x'", "answer": [["1", null], ["2", "it's"]], "columns": ["a", "the b"]},
        {"has": "note = 'none'", "answer": [], "columns": ["a"]},
        {"has": "DELETE", "refuse": "no deleting"}]}"#;
    let proxy = asked_about(stage, &table, config).await;
    let mut wire = proxy.wire().await;
    let client = proxy.client().await;
    let rows = crate::common::show(&client, &format!("SELECT id FROM {table} WHERE note = 'x'")).await;
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["a"], rows[0].get("the b")), (&"1".to_owned(), None));
    assert_eq!(rows[1]["the b"], "it's");
    let none = wire.query(&format!("SELECT id FROM {table} WHERE note = 'none'")).await;
    assert_eq!(pointsman_tests::tags(&none), "TCZ");
    let delete = format!("DELETE FROM {table}");
    let refused = wire.query(&delete).await;
    assert_eq!(error_of(&refused), "42501");
    assert_eq!(wire.value("SELECT 1").await, "1");
    wire.run("BEGIN").await;
    wire.run(&format!("INSERT INTO {table} VALUES (4)")).await;
    assert_eq!(error_of(&wire.query(&delete).await), "42501");
    assert_eq!(error_of(&wire.query("SELECT 1").await), "25P02");
    wire.run("ROLLBACK").await;
    assert_eq!(wire.value(&format!("SELECT count(*) FROM {table}")).await, "3");
}

/// A plugin sends reads where it says, as far as the rules for all let it; a write goes to the primary.
#[tokio::test]
async fn a_read_is_sent_elsewhere() {
    let stage = shared().await;
    let table = notes(stage, "sent").await;
    let config = r#"{"query": [{"has": "to_primary", "route": "primary"}, {"has": "to_replica", "route": "replica"},
        {"has": "to_shard", "route": "1"}]}"#;
    let proxy = asked_about(stage, &table, config).await;
    let mut wire = proxy.wire().await;
    reads_reach_replica(stage, &mut wire).await;
    for (sql, server) in [
        (format!("SELECT * FROM {table} /* to_primary"), "primary"),
        (format!("SELECT * FROM {table} /* to_replica"), "replica0"),
        (format!("SELECT * FROM {table} /* as ever"), "replica0"),
        (format!("UPDATE {table} SET note = 'x' /* to_replica"), "primary"),
    ] {
        let marker = unique("sent");
        wire.run(&format!("{sql} {marker} */")).await;
        assert_eq!(server_of(stage, &marker).await, server, "{sql}");
    }
    assert_eq!(error_of(&wire.query(&format!("SELECT * FROM {table} /* to_shard */")).await), "58000");
}

/// A rewritten text is judged again: one that does not parse, that is several, or that writes where the client only reads is no
/// verdict. What is not refused by the plugin's failure is as if there were no plugin.
#[tokio::test]
async fn a_rewrite_is_never_trusted() {
    let stage = shared().await;
    let table = notes(stage, "trusted").await;
    let config = format!(
        r#"{{"query": [{{"has": "'broken'", "rewrite": "SELEC 1"}}, {{"has": "'two'", "rewrite": "SELECT 1; SELECT 2"}},
            {{"has": "'write'", "rewrite": "DELETE FROM {table} RETURNING id"}},
            {{"has": "'set'", "rewrite": "SET search_path = pg_temp"}}]}}"#
    );
    let proxy = asked_about(stage, &table, &config).await;
    let mut wire = proxy.wire().await;
    for word in ["broken", "two", "write", "set"] {
        let replies = wire.query(&format!("SELECT id FROM {table} WHERE note <> '{word}'")).await;
        assert_eq!(error_of(&replies), "58000", "{word}");
    }
    let failures = async |proxy: &pointsman_tests::Proxy| {
        proxy.metric("pointsman_plugins_failures_total", &["kind=\"contract\""]).await
    };
    assert_eq!(failures(&proxy).await, 4.0);
    assert_eq!(wire.value(&format!("SELECT count(*) FROM {table}")).await, "3");
    // The same, where a failure is to change nothing.
    let spec = format!("  rules:\n    - {{name: asked, match: {{tables: [{table}]}}, plugins: [script]}}\n");
    let more = format!("{}    on_failure: {{on-query: open}}\n", super::PATIENT);
    let config = format!("{}{}", crate::common::policy(stage, &spec), super::plugin(stage, &config, &more));
    let open = stage.proxy(&config).await;
    let mut wire = open.wire().await;
    for word in ["broken", "two", "write", "set"] {
        assert_eq!(
            wire.value(&format!("SELECT count(*) FROM {table} WHERE note <> '{word}'")).await,
            if word == "two" { "2" } else { "3" }
        );
    }
    assert_eq!(failures(&open).await, 4.0);
}

/// A verdict that holds for a template is remembered: the plugin is not called again.
#[tokio::test]
async fn a_verdict_is_remembered() {
    let stage = shared().await;
    let table = notes(stage, "remembered").await;
    let config = format!(
        r#"{{"query": [{{"has": "count", "memo": true, "rewrite": "SELECT 7 FROM {table} LIMIT 1"}},
            {{"has": "max", "refuse": "no", "memo": true}}]}}"#
    );
    let proxy = asked_about(stage, &table, &config).await;
    let mut wire = proxy.wire().await;
    for _ in 0..5 {
        assert_eq!(wire.value(&format!("SELECT count(*) FROM {table}")).await, "7");
        assert_eq!(error_of(&wire.query(&format!("SELECT max(id) FROM {table}")).await), "42501");
    }
    let calls = proxy.metric("pointsman_plugins_calls_total", &[]).await;
    let remembered = proxy.metric("pointsman_plugins_remembered_total", &[]).await;
    assert_eq!(calls + remembered, 11.0, "and a login");
    assert_eq!(remembered, 8.0, "one call for each on the one worker");
}

/// Several plugins are asked in the order that rules name them, each sees what those before it made of the text; `EXPLAIN ROUTE`
/// and `SHOW PLUGINS` tell.
#[tokio::test]
async fn several_plugins_are_asked_in_order_and_told_of() {
    let stage = shared().await;
    let table = notes(stage, "several").await;
    let one = format!(r#"{{"query": [{{"has": "min", "rewrite": "SELECT max(id) FROM {table}"}}]}}"#);
    let two = format!(r#"{{"query": [{{"has": "max", "rewrite": "SELECT 10 + max(id) FROM {table}"}}]}}"#);
    let spec = format!(
        "  rules:\n    - {{name: first, match: {{tables: [{table}]}}, plugins: [script], continue: true}}\n    \
         - {{name: second, match: {{tables: [{table}]}}, plugins: [second, script]}}\n"
    );
    let second =
        format!("  - {{name: second, file: {}, grants: [kv, lookup], config: {two}}}\n", super::script());
    let more = format!("{}{second}", super::PATIENT);
    let config = format!(
        "{}{}{}",
        crate::common::policy(stage, &spec),
        super::plugin(stage, &one, &more),
        crate::common::ADMIN
    );
    let proxy = stage.proxy(&config).await;
    let mut wire = proxy.wire().await;
    assert_eq!(wire.value(&format!("SELECT min(id) FROM {table}")).await, "13");
    let client = proxy.client().await;
    let told = crate::common::show(&client, &format!("EXPLAIN ROUTE SELECT min(id) FROM {table}")).await;
    let said = |item: &str| {
        let row =
            told.iter().find(|row| row["item"] == item).unwrap_or_else(|| panic!("no {item}: {told:?}"));
        row["value"].clone()
    };
    assert!(
        said("plugin script").starts_with(&format!("rewrite: SELECT max(id) FROM {table}, ")),
        "{told:?}"
    );
    assert!(said("plugin second").starts_with("pass, "), "of the client's own text: {told:?}");
    let console = proxy.console().await;
    let shown = crate::common::row_of(&console, "SHOW PLUGINS", "name", "second").await;
    assert_eq!(
        (shown["hooks"].as_str(), shown["rules"].as_str()),
        ("on-query, on-write, on-change, on-store, on-connect", "1")
    );
    assert_eq!((shown["grants"].as_str(), shown["sha256"].len()), ("kv, lookup", 64));
    eventually("calls are counted", SOON, || async {
        crate::common::row_of(&console, "SHOW PLUGINS", "name", "script").await["calls"] != "0"
    })
    .await;
}

/// `PREPARE` and `EXECUTE` are asked about too: an `EXECUTE` as one of the relations that its statement reads.
#[tokio::test]
async fn executing_by_sql_is_asked_about() {
    let stage = shared().await;
    let table = notes(stage, "executed").await;
    let config = r#"{"query": [{"has": "EXECUTE", "refuse": "not by a name"}]}"#;
    let proxy = asked_about(stage, &table, config).await;
    let mut wire = proxy.wire().await;
    wire.run(&format!("PREPARE p AS SELECT count(*) FROM {table}")).await;
    wire.run("PREPARE q AS SELECT 5").await;
    assert_eq!(error_of(&wire.query("EXECUTE p").await), "42501");
    assert_eq!(wire.value("EXECUTE q").await, "5");
}

/// No way around: after a failed transaction, by the protocol's own function call, under names that only the connection knows.
#[tokio::test]
async fn no_statement_passes_by() {
    let stage = shared().await;
    let table = notes(stage, "passing_by").await;
    let config = r#"{"query": [{"has": "note", "refuse": "no"}]}"#;
    let spec = "  rules:\n    - {name: all, plugins: [script]}\n";
    let lines = super::plugin(stage, config, super::PATIENT);
    let proxy = stage.proxy(&format!("{}{lines}", crate::common::policy(stage, spec))).await;
    let secret = format!("SELECT note FROM {table}");
    let mut wire = proxy.wire().await;
    assert_eq!(error_of(&wire.query(&secret).await), "42501");
    for end in ["ROLLBACK; ", "COMMIT; ", "ROLLBACK TO s; "] {
        wire.run("BEGIN").await;
        wire.run("SAVEPOINT s").await;
        assert_eq!(error_of(&wire.query("SELECT 1/0").await), "22012");
        let replies = wire.query(&format!("{end}{secret}")).await;
        assert_eq!(error_of(&replies), "42501", "{end}");
        wire.query("ROLLBACK").await;
        wire.run("BEGIN").await;
        assert_eq!(error_of(&wire.query("SELECT 1/0").await), "22012");
        let pipeline = [msg::statement("ROLLBACK", &[]), msg::statement(&secret, &[]), msg::sync()].concat();
        assert_eq!(error_of(&wire.ask(&pipeline).await), "42501", "after {end} in a pipeline");
        wire.query("ROLLBACK").await;
    }
    let call = [&b"F\0\0\0\x0e\0\0\0\0\0\0\0\0\0\0"[..]].concat();
    assert_eq!(error_of(&wire.ask(&call).await), "0A000");
    // From here on the names of its connection are the session's own.
    let mut own = proxy.wire().await;
    own.ask(&[msg::parse("", "EXECUTE nothing"), msg::sync()].concat()).await;
    let hidden =
        [msg::parse("x", &secret), msg::bind("", "x", &[]), msg::execute("", 0), msg::sync()].concat();
    assert_eq!(error_of(&own.ask(&hidden).await), "42501");
    let again = [msg::bind("", "x", &[]), msg::execute("", 0), msg::sync()].concat();
    assert_ne!(error_of(&own.ask(&again).await), "", "nor later");
    assert_eq!(own.value("SELECT 1").await, "1");
}
