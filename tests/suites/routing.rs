//! Reads that are proven read-only go to a replica; everything else goes to the primary.
use pointsman_tests::{Proxy, Stage, Wire, msg, tags};

use crate::common::{reads_reach_replica, server_of, shared, unique};

struct Scene {
    stage: &'static Stage,
    proxy: Proxy,
    wire: Wire,
}

async fn scene() -> Scene {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    reads_reach_replica(stage, &mut wire).await;
    Scene { stage, proxy, wire }
}

impl Scene {
    /// Which server runs `sql`, sent as a simple query.
    async fn simple(&mut self, sql: &str) -> String {
        let marker = unique("routed");
        self.wire.query(&format!("{sql} /* {marker} */")).await;
        server_of(self.stage, &marker).await
    }

    /// Which server runs `sql`, sent by the extended protocol.
    async fn extended(&mut self, sql: &str) -> String {
        let marker = unique("routed");
        let sql = format!("{sql} /* {marker} */");
        self.wire.ask(&[msg::statement(&sql, &[]), msg::sync()].concat()).await;
        server_of(self.stage, &marker).await
    }

    /// Waits until reads reach the replica again after a write.
    async fn settle(&mut self) {
        reads_reach_replica(self.stage, &mut self.wire).await;
    }
}

/// Statements that only read.
#[tokio::test]
async fn reads_go_to_the_replica() {
    let mut scene = scene().await;
    for sql in [
        "SELECT 1",
        "select count(*) from pg_class",
        "/* leading */ SELECT 'a''b', $$;$$, E'\\'' -- tail\n",
        "VALUES (1), (2)",
        "TABLE pg_am",
        "(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1 LIMIT 1",
        "WITH x AS (SELECT 1 AS a) SELECT * FROM x",
        "SELECT now(), current_date, upper('x'), coalesce(1, 2), current_timestamp",
        "EXPLAIN SELECT 1",
        "EXPLAIN (COSTS OFF) SELECT * FROM pg_class",
        "SELECT * FROM pg_class WHERE relname = ANY(ARRAY['a', 'b']) AND oid IN (SELECT oid FROM pg_type)",
    ] {
        assert_eq!(scene.simple(sql).await, "replica0", "{sql}");
        assert_eq!(scene.extended(sql).await, "replica0", "{sql}, extended");
    }
}

/// Locks, writes and what changes state.
#[tokio::test]
async fn writes_and_locks_go_to_the_primary() {
    let mut scene = scene().await;
    let table = unique("locked");
    scene.wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    let statements = [
        format!("SELECT * FROM {table} FOR UPDATE"),
        format!("SELECT * FROM {table} FOR SHARE SKIP LOCKED"),
        format!("SELECT * FROM (SELECT * FROM {table} FOR KEY SHARE) x"),
        format!("INSERT INTO {table} VALUES (1)"),
        format!("UPDATE {table} SET id = 2"),
        format!("DELETE FROM {table}"),
        format!("EXPLAIN ANALYZE DELETE FROM {table}"),
        format!("EXPLAIN (ANALYZE TRUE, COSTS OFF) UPDATE {table} SET id = 1"),
        format!("SELECT * INTO {table}_copy FROM {table}"),
        format!("CREATE TABLE {table}_as AS SELECT 1"),
        format!("TRUNCATE {table}"),
        format!("LOCK TABLE {table}"),
        format!("ANALYZE {table}"),
        "DO $$ BEGIN NULL; END $$".to_owned(),
        "EXPLAIN ANALYZE SELECT 1".to_owned(),
        "SELECT txid_current()".to_owned(),
    ];
    for sql in statements {
        scene.settle().await;
        assert_eq!(scene.simple(&sql).await, "primary", "{sql}");
        assert_eq!(scene.extended(&sql).await, "primary", "{sql}, extended");
    }
}

/// A writing CTE on a replica: the whole tree is walked.
#[tokio::test]
async fn writing_ctes_go_to_the_primary() {
    let mut scene = scene().await;
    let table = unique("cte");
    scene.wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    for sql in [
        format!("WITH w AS (INSERT INTO {table} VALUES (1) RETURNING id) SELECT * FROM w"),
        format!(
            "WITH a AS (SELECT 1), w AS (DELETE FROM {table} RETURNING id) SELECT (SELECT count(*) FROM w)"
        ),
        format!(
            "WITH a AS (WITH b AS (SELECT 1) SELECT * FROM b), w AS (UPDATE {table} SET id = 3) SELECT * FROM a"
        ),
    ] {
        scene.settle().await;
        assert_eq!(scene.simple(&sql).await, "primary", "{sql}");
        scene.settle().await;
        assert_eq!(scene.extended(&sql).await, "primary", "{sql}, extended");
    }
    assert_eq!(scene.wire.value(&format!("SELECT count(*) FROM {table}")).await, "0");
}

/// Functions with side effects on a replica: `pg_proc.provolatile` decides, wherever the call stands.
#[tokio::test]
async fn volatile_functions_go_to_the_primary() {
    let mut scene = scene().await;
    let name = unique("volatile_fn");
    for (suffix, kind) in [("v", "VOLATILE"), ("s", "STABLE"), ("i", "IMMUTABLE")] {
        let sql =
            format!("CREATE FUNCTION {name}_{suffix}(int) RETURNS int LANGUAGE sql {kind} AS 'SELECT $1'");
        scene.wire.run(&sql).await;
    }
    scene.wire.run(&format!("CREATE SEQUENCE {name}_seq")).await;
    scene.settle().await;
    for sql in [
        format!("SELECT {name}_v(1)"),
        format!("SELECT 1 WHERE {name}_v(1) = 1"),
        format!("SELECT * FROM {name}_v(1)"),
        format!("SELECT (SELECT {name}_v(1))"),
        format!("SELECT 1 ORDER BY {name}_v(1)"),
        format!("VALUES ({name}_v(1))"),
        format!("SELECT {name}_i({name}_v(1))"),
        format!("SELECT count(*) FILTER (WHERE {name}_v(1) > 0) FROM pg_am"),
        format!("SELECT nextval('{name}_seq')"),
        "SELECT random()".to_owned(),
        "SELECT pg_is_in_recovery()".to_owned(),
        format!("SELECT no_such_function_{name}()"),
    ] {
        assert_eq!(scene.simple(&sql).await, "primary", "{sql}");
        scene.settle().await;
    }
    // The catalog is read when the proxy starts: a fresh proxy knows the functions.
    let known = scene.stage.proxy("").await;
    scene.wire = known.wire().await;
    scene.settle().await;
    for sql in [format!("SELECT {name}_s(1)"), format!("SELECT {name}_i(1) FROM {name}_s(2)")] {
        assert_eq!(scene.simple(&sql).await, "replica0", "{sql}");
    }
    assert_eq!(scene.simple(&format!("SELECT {name}_v(1)")).await, "primary");
    drop(scene.proxy);
}

/// A function that says it is stable, but leaves state in the session or has a volatile default.
#[tokio::test]
async fn what_functions_hide_keeps_them_on_the_primary() {
    let stage = shared().await;
    let name = unique("hides");
    let body = "BEGIN PERFORM set_config('my.hidden', 'x', false); RETURN 1; END";
    stage
        .primary
        .sql(&format!(
            "CREATE FUNCTION {name}_state() RETURNS int LANGUAGE plpgsql STABLE AS $$ {body} $$;
             CREATE FUNCTION {name}_default(x float DEFAULT random()) RETURNS float LANGUAGE sql STABLE AS 'SELECT x';
             CREATE FUNCTION {name}_constant(x int DEFAULT 1 + 1) RETURNS int LANGUAGE sql STABLE AS 'SELECT x'"
        ))
        .await;
    let mut scene = scene().await;
    assert_eq!(scene.simple(&format!("SELECT {name}_constant()")).await, "replica0");
    assert_eq!(scene.simple(&format!("SELECT {name}_default()")).await, "primary");
    assert_eq!(scene.extended(&format!("SELECT {name}_state()")).await, "primary");
}

/// A view whose rule calls what is volatile, directly or through another view or a function's overloads.
#[tokio::test]
async fn views_over_volatile_functions_go_to_the_primary() {
    let stage = shared().await;
    let name = unique("view");
    stage
        .primary
        .sql(&format!(
            "CREATE VIEW {name}_random AS SELECT random() AS r;
             CREATE VIEW {name}_outer AS SELECT r FROM {name}_random;
             CREATE VIEW {name}_plain AS SELECT relname FROM pg_class;
             GRANT SELECT ON {name}_random, {name}_outer, {name}_plain TO PUBLIC"
        ))
        .await;
    let mut scene = scene().await;
    assert_eq!(scene.simple(&format!("SELECT * FROM {name}_random")).await, "primary");
    assert_eq!(scene.simple(&format!("SELECT * FROM {name}_outer")).await, "primary");
    assert_eq!(scene.simple(&format!("SELECT * FROM public.{name}_plain")).await, "replica0");
}

/// What does not parse falls through to a replica: unknown goes to the primary, which says what is wrong.
#[tokio::test]
async fn what_does_not_parse_goes_to_the_primary() {
    let mut scene = scene().await;
    for sql in ["SELEC 1", "SELECT FROM WHERE", "SELECT 'unterminated", "SELECT 1 1 1"] {
        let marker = unique("nonsense");
        let frames = scene.wire.query(&format!("/* {marker} */ {sql}")).await;
        assert_eq!(frames[0].sqlstate(), "42601", "{sql}");
        assert_eq!(server_of(scene.stage, &marker).await, "primary", "{sql}");
    }
    // Deeper than the parser's own tree can be decoded.
    let deep = format!("SELECT {}1{}", "(SELECT ".repeat(60), ")".repeat(60));
    assert_eq!(scene.simple(&deep).await, "primary");
}

/// Transactions go to the primary; one declared read-only may go to a replica and then stays there.
#[tokio::test]
async fn transactions_stay_on_one_server() {
    let mut scene = scene().await;
    for begin in ["BEGIN", "START TRANSACTION", "BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN READ WRITE"] {
        scene.wire.run(begin).await;
        assert_eq!(scene.simple("SELECT 1").await, "primary", "{begin}");
        scene.wire.run("COMMIT").await;
    }
    for begin in ["BEGIN READ ONLY", "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"] {
        scene.wire.run(begin).await;
        let first = scene.simple("SELECT 1").await;
        for _ in 0..3 {
            assert_eq!(scene.simple("SELECT 2").await, first, "{begin}");
        }
        let table = unique("read_only");
        assert_eq!(scene.wire.error(&format!("CREATE TABLE {table} (id int)")).await, "25006", "{begin}");
        scene.wire.run("ROLLBACK").await;
    }
}

/// Several statements in one query go where all of them may.
#[tokio::test]
async fn compound_queries_go_where_all_may() {
    let mut scene = scene().await;
    let table = unique("compound");
    scene.wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    scene.settle().await;
    assert_eq!(scene.simple(&format!("SELECT 1; INSERT INTO {table} VALUES (1)")).await, "primary");
    scene.settle().await;
    assert_eq!(
        scene.simple(&format!("BEGIN; INSERT INTO {table} VALUES (1); COMMIT; SELECT 1")).await,
        "primary"
    );
    assert_eq!(scene.wire.value(&format!("SELECT count(*) FROM {table}")).await, "2");
}

/// `COPY … TO` of a read is streamed from wherever it may be read, `COPY … FROM` writes.
#[tokio::test]
async fn copy_in_writes() {
    let mut scene = scene().await;
    let table = unique("copied");
    scene.wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    scene.settle().await;
    let marker = unique("copy");
    scene.wire.send(&msg::query(&format!("COPY {table} FROM STDIN /* {marker} */"))).await;
    assert_eq!(scene.wire.frame().await.expect("an answer").tag, b'G');
    scene.wire.ask(&[msg::copy_data(b"1\n2\n"), msg::copy_done()].concat()).await;
    assert_eq!(server_of(scene.stage, &marker).await, "primary");
    assert_eq!(scene.wire.value(&format!("SELECT count(*) FROM {table}")).await, "2");
}

/// A stored statement prepared with SQL is judged by what it does.
#[tokio::test]
async fn executes_are_judged_by_their_statement() {
    let mut scene = scene().await;
    let table = unique("by_name");
    scene.wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    scene.wire.run(&format!("PREPARE writes(int) AS INSERT INTO {table} VALUES ($1)")).await;
    scene.settle().await;
    for number in 1..=5 {
        scene.wire.run(&format!("EXECUTE writes({number})")).await;
        assert_eq!(scene.wire.value(&format!("SELECT count(*) FROM {table}")).await, number.to_string());
    }
    let ask = [msg::parse("by_protocol", &format!("INSERT INTO {table} VALUES ($1)")), msg::sync()].concat();
    scene.wire.ask(&ask).await;
    for number in 6..=10 {
        let value = number.to_string();
        let run = [msg::bind("", "by_protocol", &[Some(&value)]), msg::execute("", 0), msg::sync()].concat();
        scene.wire.ask(&run).await;
        assert_eq!(scene.wire.value(&format!("SELECT max(id) FROM {table}")).await, value);
    }
}

/// The better of two: while a statement keeps one replica busy, others go to the other one.
#[tokio::test]
async fn reads_go_to_the_replica_with_less_to_do() {
    let stage = Stage::new().replicas(2).start().await;
    let proxy = stage.proxy("slow_start: off\n").await;
    let mut wire = proxy.wire().await;
    let table = unique("locked");
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    reads_reach_replica(&stage, &mut wire).await;
    stage.wait_replayed().await;
    // With both at rest, either serves.
    let mut served = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let marker = unique("either");
        wire.run(&format!("SELECT 1 /* {marker} */")).await;
        served.insert(server_of(&stage, &marker).await);
        if served.len() == 2 {
            break;
        }
    }
    assert_eq!(served.into_iter().collect::<Vec<_>>(), ["replica0", "replica1"]);
    // Standbys take over the lock, so that a read of the table waits there.
    let admin = stage.primary.admin().await;
    admin.batch_execute(&format!("BEGIN; LOCK TABLE {table}")).await.expect("a lock");
    stage.wait_replayed().await;
    let mut slow = Vec::new();
    let mut busy = Vec::new();
    for _ in 0..2 {
        let marker = unique("slow");
        let mut other = proxy.wire().await;
        other.send(&msg::query(&format!("SELECT count(*) FROM {table} /* {marker} */"))).await;
        busy.push(server_of(&stage, &marker).await);
        slow.push(other);
        if busy.len() == 2 {
            break;
        }
        for _ in 0..30 {
            let marker = unique("quick");
            wire.run(&format!("SELECT 1 /* {marker} */")).await;
            assert_ne!(server_of(&stage, &marker).await, busy[0], "that one is busy");
        }
    }
    busy.sort();
    assert_eq!(busy, ["replica0", "replica1"], "the second slow one went to the idle one");
    admin.batch_execute("COMMIT").await.expect("the lock is given up");
    for other in &mut slow {
        assert!(tags(&other.until(b'Z').await).contains('D'));
    }
}
