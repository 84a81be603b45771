//! Policies steer real traffic, and say why.
use std::time::Duration;

use pointsman_tests::{Frame, Proxy, Stage, Wire, eventually, msg};
use tokio_postgres::SimpleQueryMessage;

use crate::common::{SOON, policy, reads_reach_replica, server_of, shared, unique};

/// A proxy under a policy, and a client whose reads reach the replica.
async fn under(stage: &Stage, spec: &str) -> (Proxy, Wire) {
    let proxy = stage.proxy(&policy(stage, spec)).await;
    let mut wire = proxy.wire().await;
    reads_reach_replica(stage, &mut wire).await;
    (proxy, wire)
}

/// Which server runs `sql`, by simple query.
async fn simple(stage: &Stage, wire: &mut Wire, sql: &str) -> String {
    let marker = unique("steered");
    wire.query(&format!("{sql} /* {marker} */")).await;
    server_of(stage, &marker).await
}

/// The SQLSTATE of the error among these replies, or nothing.
fn error_of(replies: &[Frame]) -> String {
    replies.iter().find(|frame| frame.tag == b'E').map(Frame::sqlstate).unwrap_or_default()
}

/// The SQLSTATE that a simple query is refused with, or nothing.
async fn refused(wire: &mut Wire, sql: &str) -> String {
    error_of(&wire.query(sql).await)
}

/// Rules decide where reads go, by what the statement is and by who asks; never where writes go.
#[tokio::test]
async fn rules_route_reads() {
    let stage = shared().await;
    let table = unique("routed_by_rule");
    stage.primary.sql(&format!("CREATE TABLE {table} (id int); GRANT ALL ON {table} TO PUBLIC")).await;
    let spec = format!(
        "  rules:\n\
         \x20   - {{name: fresh, match: {{tables: [{table}], user: app}}, route: primary}}\n\
         \x20   - {{name: by-hint, match: {{hint: {{to: primary}}}}, route: primary}}\n\
         \x20   - {{name: by-comment, match: {{comment: {{job: 'night*'}}}}, route: primary}}\n\
         \x20   - {{name: never, match: {{text: '(?i)nextval'}}, route: replica}}\n"
    );
    let (proxy, mut wire) = under(stage, &spec).await;
    assert_eq!(simple(stage, &mut wire, &format!("SELECT * FROM {table}")).await, "primary");
    assert_eq!(simple(stage, &mut wire, "SELECT /* pointsman: to=primary */ 1").await, "primary");
    assert_eq!(simple(stage, &mut wire, "SELECT 1 /*job='nightly'*/").await, "primary");
    assert_eq!(simple(stage, &mut wire, "SELECT 1 /*job='daily'*/").await, "replica0");
    let mut other = proxy.wire_as("alice").await;
    reads_reach_replica(stage, &mut other).await;
    assert_eq!(simple(stage, &mut other, &format!("SELECT * FROM {table}")).await, "replica0");
    // A policy cannot make a write go to a replica: it is sent to the primary and counted.
    stage.primary.sql(&format!("CREATE SEQUENCE {table}_seq; GRANT ALL ON {table}_seq TO PUBLIC")).await;
    assert_eq!(simple(stage, &mut wire, &format!("SELECT nextval('{table}_seq')")).await, "primary");
    assert_eq!(proxy.metric("pointsman_rule_impossible_routes_total", &["rule=\"never\""]).await, 1.0);
    assert!(proxy.metric("pointsman_rule_matches_total", &["rule=\"fresh\""]).await >= 1.0);
}

const REFUSING: &str = "  rules:\n\
    \x20   - name: no-where\n\
    \x20     match: {verb: [update, delete], where: none}\n\
    \x20     refuse: {sqlstate: '42501', message: 'a WHERE is missing', hint: 'Add WHERE true if all rows are meant.'}\n\
    \x20   - {name: audited, mode: audit, match: {verb: insert}, refuse: {sqlstate: '42501', message: no}}\n";

/// A refusal is an error as PostgreSQL would give it: with its SQLSTATE, and an open transaction fails with it.
#[tokio::test]
async fn refusals_are_errors() {
    let stage = shared().await;
    let table = unique("refusing");
    stage.primary.sql(&format!("CREATE TABLE {table} (id int); GRANT ALL ON {table} TO PUBLIC")).await;
    let (proxy, mut wire) = under(stage, REFUSING).await;
    assert_eq!(refused(&mut wire, &format!("DELETE FROM {table}")).await, "42501");
    assert_eq!(wire.value("SELECT 1").await, "1", "the session goes on");
    assert_eq!(refused(&mut wire, &format!("INSERT INTO {table} VALUES (1)")).await, "", "only audited");
    wire.run("BEGIN").await;
    wire.run(&format!("INSERT INTO {table} VALUES (2)")).await;
    assert_eq!(refused(&mut wire, &format!("DELETE FROM {table}")).await, "42501");
    assert_eq!(refused(&mut wire, "SELECT 1").await, "25P02", "the transaction has failed");
    wire.run("ROLLBACK").await;
    assert_eq!(wire.value(&format!("SELECT count(*) FROM {table}")).await, "1");
    assert!(proxy.metric("pointsman_rule_refusals_total", &["rule=\"no-where\""]).await >= 2.0);
    assert!(proxy.metric("pointsman_rule_matches_total", &["rule=\"audited\""]).await >= 2.0);
    assert_eq!(proxy.metric("pointsman_rule_refusals_total", &["rule=\"audited\""]).await, 0.0);
}

/// A refusal counts under the class of the SQLSTATE that the client hears, in a transaction too.
#[tokio::test]
async fn refusals_count_under_their_own_class() {
    let stage = shared().await;
    let spec =
        "  rules:\n    - {name: no, match: {text: forbidden}, refuse: {sqlstate: '0A000', message: no}}\n";
    let (proxy, mut wire) = under(stage, spec).await;
    let count = async |class: &str| proxy.metric("pointsman_errors_total", &[&format!("\"{class}\"")]).await;
    let refused = [msg::statement("SELECT 'forbidden'", &[]), msg::sync()].concat();
    for begin in ["", "BEGIN", "BEGIN READ ONLY", "BEGIN; SELECT 1"] {
        for ask in [msg::query("SELECT 'forbidden'"), refused.clone()] {
            wire.run(begin).await;
            let (before, syntax) = (count("0A").await, count("42").await);
            assert_eq!(error_of(&wire.ask(&ask).await), "0A000", "{begin}");
            let now = (count("0A").await, count("42").await);
            assert_eq!(now, (before + 1.0, syntax), "{begin}");
            wire.run("ROLLBACK").await;
        }
    }
}

/// The same by the extended protocol, out of a transaction and in one, and of a prepared statement.
#[tokio::test]
async fn refusals_by_the_extended_protocol() {
    let stage = shared().await;
    let table = unique("refusing_bound");
    stage.primary.sql(&format!("CREATE TABLE {table} (id int); GRANT ALL ON {table} TO PUBLIC")).await;
    let (proxy, mut wire) = under(stage, REFUSING).await;
    let delete = format!("DELETE FROM {table}");
    let asked = [msg::statement(&delete, &[]), msg::sync()].concat();
    for round in 0..2 {
        let replies = wire.ask(&asked).await;
        assert_eq!(error_of(&replies), "42501", "round {round}");
        assert_eq!(wire.value("SELECT 7").await, "7");
        if round == 0 {
            wire.run("BEGIN").await;
            wire.run(&format!("INSERT INTO {table} VALUES (1)")).await;
            let replies = wire.ask(&asked).await;
            assert_eq!(error_of(&replies), "42501");
            assert_eq!(refused(&mut wire, "SELECT 1").await, "25P02");
            wire.run("ROLLBACK").await;
        }
    }
    let client = proxy.client().await;
    let prepared = client.prepare(&delete).await.expect("preparing is no deleting");
    let error = client.execute(&prepared, &[]).await.expect_err("executing is refused");
    let told = error.as_db_error().expect("an error of the server's kind");
    assert_eq!((told.code().code(), told.message()), ("42501", "a WHERE is missing"));
    assert_eq!(told.hint(), Some("Add WHERE true if all rows are meant."));
    client.execute(&format!("DELETE FROM {table} WHERE id = $1"), &[&1]).await.expect("it has a WHERE");
}

/// LIMIT by literal and by parameter, in text and binary.
#[tokio::test]
async fn limits_are_seen_in_literals_and_parameters() {
    let stage = shared().await;
    let table = unique("limited");
    stage.primary.sql(&format!("CREATE TABLE {table} (id int); GRANT ALL ON {table} TO PUBLIC")).await;
    let spec = format!(
        "  tables: {{{table}: {{large: true}}}}\n  rules:\n\
         \x20   - {{name: unbounded, match: {{large: true, where: none, limit: none}}, refuse: {{sqlstate: '54000', message: unbounded}}}}\n\
         \x20   - {{name: much, match: {{large: true, limit: {{over: 100}}}}, refuse: {{sqlstate: '54000', message: 'too much'}}}}\n"
    );
    let (proxy, mut wire) = under(stage, &spec).await;
    assert_eq!(refused(&mut wire, &format!("SELECT * FROM {table}")).await, "54000");
    assert_eq!(refused(&mut wire, &format!("SELECT * FROM {table} LIMIT 101")).await, "54000");
    assert_eq!(refused(&mut wire, &format!("SELECT * FROM {table} LIMIT 100")).await, "");
    let client = proxy.client().await;
    let sql = format!("SELECT * FROM {table} LIMIT $1");
    client.query(&sql, &[&100_i64]).await.expect("not over the limit");
    let error = client.query(&sql, &[&101_i64]).await.expect_err("over the limit");
    assert_eq!(error.code().map(|code| code.code()), Some("54000"));
}

/// A rate limit counts each user apart, refuses with 53400, and harms nobody else.
#[tokio::test]
async fn rates_are_limited() {
    let stage = shared().await;
    let spec =
        "  rules:\n    - {name: few, match: {text: 'few_of_these'}, rate_limit: {per: user, rate: 5/h}}\n";
    let (proxy, mut wire) = under(stage, spec).await;
    for _ in 0..5 {
        assert_eq!(refused(&mut wire, "SELECT 'few_of_these'").await, "");
    }
    assert_eq!(refused(&mut wire, "SELECT 'few_of_these'").await, "53400");
    assert_eq!(refused(&mut wire, "SELECT 'others'").await, "");
    assert_eq!(refused(&mut proxy.wire_as("alice").await, "SELECT 'few_of_these'").await, "");
    let client = proxy.client().await;
    let error = client.query("SELECT 'few_of_these'", &[]).await.expect_err("the limit is the user's");
    assert_eq!(error.code().map(|code| code.code()), Some("53400"));
}

/// What is used up stays so when a file with other rules comes into force.
#[tokio::test]
async fn limits_outlive_a_reload() {
    let stage = shared().await;
    let few = "    - {name: few, match: {text: 'few_of_these'}, rate_limit: {per: user, rate: 3/h}}\n";
    let (proxy, mut wire) = under(stage, &format!("  rules:\n{few}")).await;
    for _ in 0..3 {
        assert_eq!(refused(&mut wire, "SELECT 'few_of_these'").await, "");
    }
    assert_eq!(refused(&mut wire, "SELECT 'few_of_these'").await, "53400");
    let no = "    - {name: no, match: {text: 'none_of_these'}, refuse: {message: no}}\n";
    proxy.write_config(stage, &policy(stage, &format!("  rules:\n{no}{few}")));
    proxy.signal("HUP");
    eventually("the new rule is in force", SOON, || async {
        refused(&mut proxy.wire().await, "SELECT 'none_of_these'").await == "42501"
    })
    .await;
    assert_eq!(refused(&mut wire, "SELECT 'few_of_these'").await, "53400");
    assert_eq!(proxy.metric("pointsman_rule_refusals_total", &["\"few\""]).await, 2.0, "the counts go on");
}

/// `route: any`: the primary serves such reads beside the replica.
#[tokio::test]
async fn any_server_serves_what_may_go_anywhere() {
    let stage = shared().await;
    let table = unique("anywhere");
    stage.primary.sql(&format!("CREATE TABLE {table} (id int); GRANT ALL ON {table} TO PUBLIC")).await;
    let rules = format!("  rules:\n    - {{name: anywhere, match: {{reads: {table}}}, route: any}}\n");
    let (proxy, mut wire) = under(stage, &rules).await;
    let marker = unique("any");
    let sql = format!("SELECT * FROM {table} /* {marker} */");
    eventually("both serve", SOON, || async {
        let mut asked = Vec::new();
        for _ in 0..8 {
            let (mut wire, sql) = (proxy.wire().await, sql.clone());
            asked.push(tokio::spawn(async move {
                for _ in 0..20 {
                    wire.run(&sql).await;
                }
            }));
        }
        for each in asked {
            each.await.expect("reads are served");
        }
        stage.served_by(&marker) == "primary+replica0"
    })
    .await;
    assert_eq!(
        simple(stage, &mut wire, "SELECT 1").await,
        "replica0",
        "what no rule means goes to the replica"
    );
}

/// A rule's timeout cancels the statement as `statement_timeout` would, and nothing after it.
#[tokio::test]
async fn statements_are_timed() {
    let stage = shared().await;
    let spec = "  rules:\n    - {name: quick, match: {functions: [pg_sleep]}, timeout: 200ms}\n";
    let (proxy, mut wire) = under(stage, spec).await;
    let replies = wire.query("SELECT pg_sleep(30)").await;
    let error = replies.iter().find(|frame| frame.tag == b'E').expect("it is cancelled");
    assert_eq!(error.field('M'), "canceling statement due to statement timeout");
    for _ in 0..20 {
        assert_eq!(wire.value("SELECT 5").await, "5");
    }
    assert_eq!(refused(&mut wire, "SELECT pg_sleep(0.01)").await, "", "in time");
    let client = proxy.client().await;
    let error = client.query("SELECT pg_sleep(30)", &[]).await.expect_err("it is cancelled");
    assert_eq!(error.code().map(|code| code.code()), Some("57014"));
    wire.run("BEGIN").await;
    assert_eq!(refused(&mut wire, "SELECT pg_sleep(30)").await, "57014");
    assert_eq!(refused(&mut wire, "SELECT 1").await, "25P02");
    wire.run("ROLLBACK").await;
    assert_eq!(proxy.metric("pointsman_rule_timeouts_total", &["rule=\"quick\""]).await, 3.0);
}

/// The developer's route, by setting and by hint: only where a rule lets them, and checked.
#[tokio::test]
async fn developers_choose_where_a_rule_lets_them() {
    let stage = shared().await;
    let spec = "  rules:\n    - {name: devs, match: {user: alice}, overrides: allow, continue: true}\n";
    let (proxy, mut app) = under(stage, spec).await;
    app.run("SET pointsman.route = 'primary'").await;
    reads_reach_replica(stage, &mut app).await;
    assert_eq!(simple(stage, &mut app, "SELECT 1").await, "replica0", "no rule lets app choose");
    let mut dev = proxy.wire_as("alice").await;
    reads_reach_replica(stage, &mut dev).await;
    assert_eq!(simple(stage, &mut dev, "SELECT 1 /* pointsman: route=primary */").await, "primary");
    dev.run("SET pointsman.route = 'primary'").await;
    assert_eq!(simple(stage, &mut dev, "SELECT 1").await, "primary");
    assert_eq!(simple(stage, &mut dev, "SELECT 1 /* pointsman: route=replica */").await, "replica0");
    dev.run("RESET pointsman.route").await;
    reads_reach_replica(stage, &mut dev).await;
    assert_eq!(refused(&mut dev, "SET pointsman.route = 'nowhere'").await, "22023");
    assert_eq!(refused(&mut dev, "SET pointsman.rout = 'primary'").await, "42704");
}

/// The rows of `EXPLAIN ROUTE`.
async fn explained(client: &tokio_postgres::Client, sql: &str) -> Vec<(String, String)> {
    let rows = client.simple_query(&format!("EXPLAIN ROUTE {sql}")).await.expect("it is explained");
    let told = rows.iter().filter_map(|row| match row {
        SimpleQueryMessage::Row(row) => {
            Some((row.get(0).unwrap_or_default().to_owned(), row.get(1).unwrap_or_default().to_owned()))
        }
        _ => None,
    });
    told.collect()
}

/// Why, over a connection, by both protocols: facts, the rule that won, near misses, target and reasons.
#[tokio::test]
async fn explain_route_says_why() {
    let stage = shared().await;
    let (proxy, _wire) = under(stage, REFUSING).await;
    let client = proxy.client().await;
    let told = explained(&client, "DELETE FROM agents").await;
    let text = format!("{told:?}");
    assert!(text.contains("p/no-where") && text.contains("none"), "{text}");
    let told = format!("{:?}", explained(&client, "SELECT random()").await);
    assert!(told.contains("calls random(): volatile") && told.contains("primary"), "{told}");
    let near = format!("{:?}", explained(&client, "DELETE FROM agents WHERE id = 1").await);
    assert!(near.contains("no-where"), "a rule that almost matched is named: {near}");
    let asked = "EXPLAIN ROUTE SELECT * FROM \"it's \\ ü\"";
    let rows = client.query(asked, &[]).await.expect("by the extended protocol");
    let told: Vec<(&str, &str)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(told.contains(&("reads", "it's \\ ü")), "{told:?}");
    // In a transaction the pin is the reason.
    client.batch_execute("BEGIN").await.expect("BEGIN");
    let told = format!("{:?}", explained(&client, "SELECT 1").await);
    assert!(told.contains("transaction"), "{told}");
    client.batch_execute("ROLLBACK").await.expect("ROLLBACK");
}

/// A policy that is edited takes effect without a restart; statements under way end under the old one.
#[tokio::test]
async fn an_edited_policy_takes_effect_whole() {
    let stage = shared().await;
    let path = stage.dir().join(format!("{}.yaml", unique("edited")));
    let text = |spec: &str| {
        format!(
            "apiVersion: pointsman/v1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  rules:\n    - {spec}\n"
        )
    };
    let write = |spec: &str| std::fs::write(&path, text(spec)).expect("the policy is written");
    write("{name: a, match: {text: edited_one}, refuse: {sqlstate: '42501', message: one}}");
    let proxy = stage.proxy(&format!("policies: {}\n", path.display())).await;
    let mut wire = proxy.wire().await;
    assert_eq!(refused(&mut wire, "SELECT 'edited_one'").await, "42501");
    write("{name: a, match: {text: edited_two}, refuse: {sqlstate: '42501', message: two}}");
    let wire = tokio::sync::Mutex::new(wire);
    eventually("the new policy is in force", SOON, || async {
        refused(&mut *wire.lock().await, "SELECT 'edited_two'").await == "42501"
    })
    .await;
    assert_eq!(refused(&mut *wire.lock().await, "SELECT 'edited_one'").await, "");
    write("{name: a, match: {text: edited_two}, refuse: {sqlstate: '4250', message: broken}}");
    eventually("the broken policy is refused", SOON, || async {
        proxy.metric("pointsman_reloads_total", &["refused"]).await >= 1.0
    })
    .await;
    assert_eq!(
        refused(&mut *wire.lock().await, "SELECT 'edited_two'").await,
        "42501",
        "the set in force stays"
    );
}

/// `eventual` reads a replica that is behind; `strict` does not.
#[tokio::test]
async fn consistency_is_a_rules_to_choose() {
    let stage = Stage::new().replicas(1).start().await;
    stage
        .primary
        .sql("CREATE TABLE told (id int); INSERT INTO told VALUES (1); GRANT ALL ON told TO PUBLIC")
        .await;
    stage.wait_replayed().await;
    let spec = "  rules:\n    - {name: loose, match: {comment: {loose: 'yes'}}, consistency: eventual}\n";
    let (_proxy, mut wire) = under(&stage, spec).await;
    stage.replica().sql("SELECT pg_wal_replay_pause()").await;
    wire.run("INSERT INTO told VALUES (2)").await;
    assert_eq!(wire.value("SELECT count(*) FROM told").await, "2");
    assert_eq!(wire.value("SELECT count(*) FROM told /*loose='yes'*/").await, "1", "the replica is behind");
    stage.replica().sql("SELECT pg_wal_replay_resume()").await;
    let wire = tokio::sync::Mutex::new(wire);
    eventually("the replica has followed", Duration::from_secs(20), || async {
        wire.lock().await.value("SELECT count(*) FROM told /*loose='yes'*/").await == "2"
    })
    .await;
}
