//! Prepared statements belong to their client, whatever server connection serves it.
use pointsman_tests::{Proxy, Wire, msg, pretty, tags};

use crate::common::{shared, unique};

async fn executed(wire: &mut Wire, name: &str, values: &[Option<&str>]) -> String {
    let frames = wire.ask(&[msg::bind("", name, values), msg::execute("", 0), msg::sync()].concat()).await;
    let row = frames.iter().find(|frame| frame.tag == b'D' || frame.tag == b'E');
    let row = row.unwrap_or_else(|| panic!("no row:\n{}", pretty(&frames)));
    if row.tag == b'E' { row.sqlstate() } else { row.values()[0].clone().unwrap_or_default() }
}

async fn parse(wire: &mut Wire, name: &str, sql: &str) -> String {
    tags(&wire.ask(&[msg::parse(name, sql), msg::sync()].concat()).await)
}

async fn pair(proxy: &Proxy) -> (Wire, Wire) {
    (proxy.wire().await, proxy.wire().await)
}

/// Prepared statements collide: one name, two clients, two texts, one server connection.
#[tokio::test]
async fn names_belong_to_their_client() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let (mut alpha, mut beta) = pair(&proxy).await;
    assert_eq!(parse(&mut alpha, "s1", "SELECT 'alpha' || $1").await, "1Z");
    assert_eq!(parse(&mut beta, "s1", "SELECT 'beta' || $1").await, "1Z");
    for _ in 0..5 {
        assert_eq!(executed(&mut alpha, "s1", &[Some("!")]).await, "alpha!");
        assert_eq!(executed(&mut beta, "s1", &[Some("?")]).await, "beta?");
    }
    alpha.run("PREPARE q AS SELECT 'alpha'").await;
    beta.run("PREPARE q AS SELECT 'beta'").await;
    for _ in 0..5 {
        assert_eq!(alpha.value("EXECUTE q").await, "alpha");
        assert_eq!(beta.value("EXECUTE q").await, "beta");
    }
}

/// Prepared statements vanish: they follow the client from one server connection to another.
#[tokio::test]
async fn statements_follow_their_client() {
    let proxy = shared().await.proxy("pool: {size: 3}\n").await;
    let mut wire = proxy.wire().await;
    parse(&mut wire, "named", "SELECT pg_backend_pid() + $1::int * 0").await;
    wire.run("PREPARE by_sql(int) AS SELECT pg_backend_pid() + $1 * 0").await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        // Others hold the connections used so far in transactions, so that the next one is another.
        let mut holders = Vec::new();
        for _ in 0..2 {
            let mut holder = proxy.wire().await;
            holder.run("BEGIN").await;
            holder.run("SELECT 1").await;
            holders.push(holder);
            seen.insert(executed(&mut wire, "named", &[Some("1")]).await);
            seen.insert(wire.value("EXECUTE by_sql(1)").await);
        }
        for mut holder in holders {
            holder.run("ROLLBACK").await;
        }
    }
    assert!(!seen.contains("26000"), "a statement vanished: {seen:?}");
}

/// Names that exist and names that do not give PostgreSQL's own errors.
#[tokio::test]
async fn errors_of_names_are_postgresqls() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    parse(&mut wire, "twice", "SELECT 1").await;
    let frames = wire.ask(&[msg::parse("twice", "SELECT 2"), msg::sync()].concat()).await;
    assert_eq!(frames[0].sqlstate(), "42P05", "{}", pretty(&frames));
    assert_eq!(frames[0].field('M'), "prepared statement \"twice\" already exists");
    wire.run("PREPARE again AS SELECT 1").await;
    assert_eq!(wire.error("PREPARE again AS SELECT 1").await, "42P05");
    for bytes in [msg::bind("", "absent", &[]), msg::describe_statement("absent")] {
        let frames = wire.ask(&[bytes, msg::sync()].concat()).await;
        assert_eq!(frames[0].sqlstate(), "26000", "{}", pretty(&frames));
        assert_eq!(frames[0].field('M'), "prepared statement \"absent\" does not exist");
    }
    assert_eq!(wire.error("EXECUTE absent").await, "26000");
    assert_eq!(wire.error("DEALLOCATE absent").await, "26000");
    let frames = wire.ask(&[msg::close_statement("absent"), msg::sync()].concat()).await;
    assert_eq!(tags(&frames), "3Z", "closing what is absent is no error");
}

/// One name space for the protocol's statements and SQL's.
#[tokio::test]
async fn protocol_and_sql_share_names() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    parse(&mut wire, "by_protocol", "SELECT 'p' || $1").await;
    assert_eq!(wire.value("EXECUTE by_protocol('x')").await, "px");
    wire.run("PREPARE by_sql(text) AS SELECT 's' || $1").await;
    assert_eq!(executed(&mut wire, "by_sql", &[Some("y")]).await, "sy");
    wire.run("DEALLOCATE by_protocol").await;
    assert_eq!(executed(&mut wire, "by_protocol", &[Some("x")]).await, "26000");
    wire.ask(&[msg::close_statement("by_sql"), msg::sync()].concat()).await;
    assert_eq!(wire.error("EXECUTE by_sql('y')").await, "26000");
}

/// `DEALLOCATE ALL` and `DISCARD ALL` forget this client's statements and nobody else's.
#[tokio::test]
async fn forgetting_all_is_the_clients_own() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let (mut alpha, mut beta) = pair(&proxy).await;
    for forget in ["DEALLOCATE ALL", "DISCARD ALL", "DEALLOCATE PREPARE ALL", "DISCARD PLANS; DEALLOCATE ALL"]
    {
        parse(&mut alpha, "mine", "SELECT 'alpha'").await;
        parse(&mut beta, "mine", "SELECT 'beta'").await;
        alpha.run("PREPARE also AS SELECT 'alpha'").await;
        beta.run("PREPARE also AS SELECT 'beta'").await;
        alpha.run(forget).await;
        assert_eq!(executed(&mut alpha, "mine", &[]).await, "26000", "{forget}");
        assert_eq!(alpha.error("EXECUTE also").await, "26000", "{forget}");
        assert_eq!(executed(&mut beta, "mine", &[]).await, "beta", "{forget}");
        assert_eq!(beta.value("EXECUTE also").await, "beta", "{forget}");
        beta.run("DEALLOCATE ALL").await;
    }
}

/// Statements are not transactional: one prepared in a transaction that is rolled back stays.
#[tokio::test]
async fn rollback_keeps_statements() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    wire.run("BEGIN").await;
    wire.run("PREPARE kept AS SELECT 'kept'").await;
    parse(&mut wire, "kept_too", "SELECT 'kept too'").await;
    wire.run("ROLLBACK").await;
    assert_eq!(wire.value("EXECUTE kept").await, "kept");
    assert_eq!(executed(&mut wire, "kept_too", &[]).await, "kept too");
}

/// A statement parsed before an error in its pipeline is there; one skipped after the error is not.
#[tokio::test]
async fn an_error_in_a_pipeline_keeps_what_was_parsed_before() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let pipeline =
        [msg::parse("before", "SELECT 'b'"), msg::parse("wrong", "SELEC"), msg::parse("after", "SELECT 'a'")];
    let frames = wire.ask(&[pipeline.concat(), msg::sync()].concat()).await;
    assert_eq!(tags(&frames), "1EZ", "{}", pretty(&frames));
    assert_eq!(executed(&mut wire, "before", &[]).await, "b");
    assert_eq!(executed(&mut wire, "wrong", &[]).await, "26000");
    assert_eq!(executed(&mut wire, "after", &[]).await, "26000");
    assert_eq!(parse(&mut wire, "wrong", "SELECT 'right'").await, "1Z");
    assert_eq!(executed(&mut wire, "wrong", &[]).await, "right");
}

/// A simple query drops the unnamed statement, a new `Parse` replaces it, another client never sees it.
#[tokio::test]
async fn the_unnamed_statement_is_the_clients_own() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let (mut alpha, mut beta) = pair(&proxy).await;
    parse(&mut alpha, "", "SELECT 'alpha'").await;
    parse(&mut beta, "", "SELECT 'beta'").await;
    assert_eq!(executed(&mut alpha, "", &[]).await, "alpha");
    assert_eq!(executed(&mut beta, "", &[]).await, "beta");
    alpha.run("SELECT 1").await;
    assert_eq!(executed(&mut alpha, "", &[]).await, "26000");
    assert_eq!(executed(&mut beta, "", &[]).await, "beta");
    let mut fresh = proxy.wire().await;
    assert_eq!(executed(&mut fresh, "", &[]).await, "26000");
}

/// `cached plan must not change result type`: a client that prepares after the change never hears of it.
#[tokio::test]
async fn a_changed_table_is_prepared_again() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let (mut old, mut new) = pair(&proxy).await;
    let table = unique("widened");
    old.run(&format!("CREATE TABLE {table} (id int); INSERT INTO {table} VALUES (1)")).await;
    let select = format!("SELECT * FROM {table} FOR UPDATE");
    parse(&mut old, "s", &select).await;
    assert_eq!(executed(&mut old, "s", &[]).await, "1");
    old.run(&format!("ALTER TABLE {table} ADD note text DEFAULT 'n'")).await;
    let frames =
        new.ask(&[msg::parse("s", &select), msg::describe_statement("s"), msg::sync()].concat()).await;
    assert_eq!(tags(&frames), "1tTZ", "{}", pretty(&frames));
    assert_eq!(frames[2].body[..2], [0, 2], "the description has both columns");
    for _ in 0..3 {
        let frames = new.ask(&[msg::bind("", "s", &[]), msg::execute("", 0), msg::sync()].concat()).await;
        assert_eq!(frames[1].values().len(), 2, "{}", pretty(&frames));
    }
    assert_eq!(executed(&mut old, "s", &[]).await, "0A000", "as PostgreSQL: it was told of one column");
}

/// A statement that does not exist on the server any more (`DEALLOCATE ALL` behind our back by a function)
/// is prepared again.
#[tokio::test]
async fn statements_lost_on_the_server_are_prepared_again() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let mut wire = proxy.wire().await;
    parse(&mut wire, "lost", "SELECT 'found'").await;
    assert_eq!(executed(&mut wire, "lost", &[]).await, "found");
    let mut other = proxy.wire().await;
    other.run("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$").await;
    drop(other);
    assert_eq!(executed(&mut wire, "lost", &[]).await, "found");
    assert_eq!(executed(&mut wire, "lost", &[]).await, "found");
}

/// What a server connection holds is bounded; every statement still works.
#[tokio::test]
async fn statements_on_a_connection_are_bounded() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 1, prepared_statements_max: 5}\n").await;
    let mut wire = proxy.wire().await;
    for number in 0..40 {
        parse(&mut wire, &format!("s{number}"), &format!("SELECT {number} + $1::int FROM pg_class LIMIT 1"))
            .await;
    }
    for _ in 0..3 {
        for number in 0..40 {
            let got = executed(&mut wire, &format!("s{number}"), &[Some("1")]).await;
            assert_eq!(got, (number + 1).to_string());
        }
    }
    let held: i32 = wire
        .value("SELECT count(*) FROM pg_prepared_statements, (SELECT random()) r")
        .await
        .parse()
        .expect("a count");
    assert!(held <= 6, "{held} statements on one connection");
}

/// Many clients with one text share one statement of the server.
#[tokio::test]
async fn equal_texts_are_shared() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    for number in 0..20 {
        let mut wire = proxy.wire().await;
        parse(&mut wire, &format!("name{number}"), "SELECT 'shared' || $1 FOR UPDATE").await;
        assert_eq!(executed(&mut wire, &format!("name{number}"), &[Some("!")]).await, "shared!");
    }
    let mut wire = proxy.wire().await;
    let count =
        "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%shared%' AND random() < 2";
    let held: i32 = wire.value(count).await.parse().expect("a count");
    assert!(held <= 1, "{held} statements for one text");
}

/// One text with other parameter types is another statement.
#[tokio::test]
async fn types_tell_statements_apart() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let (mut alpha, mut beta) = pair(&proxy).await;
    let sql = "SELECT pg_typeof($1)::text";
    for (wire, oid) in [(&mut alpha, 23), (&mut beta, 25)] {
        let frames = wire.ask(&[msg::parse_typed("t", sql, &[oid]), msg::sync()].concat()).await;
        assert_eq!(tags(&frames), "1Z");
    }
    for _ in 0..2 {
        assert_eq!(executed(&mut alpha, "t", &[Some("1")]).await, "integer");
        assert_eq!(executed(&mut beta, "t", &[Some("1")]).await, "text");
    }
    assert_eq!(executed(&mut beta, "t", &[None]).await, "text");
}

/// One text under another `search_path` means other tables.
#[tokio::test]
async fn search_path_tells_statements_apart() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let (mut alpha, mut beta) = pair(&proxy).await;
    let (one, two) = (unique("path"), unique("path"));
    for (wire, schema) in [(&mut alpha, &one), (&mut beta, &two)] {
        wire.run(&format!(
            "CREATE SCHEMA {schema}; CREATE TABLE {schema}.t AS SELECT '{schema}'::text AS name"
        ))
        .await;
        wire.run(&format!("SET search_path = {schema}")).await;
        parse(wire, "by_path", "SELECT name FROM t").await;
    }
    for _ in 0..4 {
        assert_eq!(executed(&mut alpha, "by_path", &[]).await, one);
        assert_eq!(executed(&mut beta, "by_path", &[]).await, two);
    }
}
