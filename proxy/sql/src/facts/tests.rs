//! Facts of statements.

use super::*;
use crate::{Analyzer, CopyPeer, Discard, Isolation, LexRules, SetValue, Setting, TransactionModes};

fn facts(sql: &str) -> Facts {
    let mut analyzer = Analyzer::<()>::new(1);
    Facts::clone(analyzer.analyze(sql.as_bytes(), LexRules::default()).facts)
}

fn one(sql: &str) -> Statement {
    let facts = facts(sql);
    assert!(facts.understood(), "{sql}: {:?}", facts.doubt);
    facts.single().unwrap_or_else(|| panic!("{sql} is one statement")).clone()
}

fn shown<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn why(sql: &str) -> String {
    one(sql).read_only.map_or_else(|reason| reason.to_string(), |()| String::new())
}

#[test]
fn relations_are_found_everywhere() {
    for (sql, reads) in [
        ("SELECT * FROM a, s.b JOIN c ON true", vec!["a", "c", "s.b"]),
        (
            "SELECT (SELECT 1 FROM a) FROM b WHERE EXISTS (SELECT 1 FROM c) ORDER BY (SELECT 1 FROM d)",
            vec!["a", "b", "c", "d"],
        ),
        (
            "SELECT count(*) FILTER (WHERE x IN (TABLE a)) OVER (ORDER BY (SELECT 1 FROM b)) FROM c",
            vec!["a", "b", "c"],
        ),
        (
            "SELECT 1 FROM a GROUP BY (SELECT 1 FROM b) HAVING (SELECT true FROM c) LIMIT (SELECT 1 FROM d)",
            vec!["a", "b", "c", "d"],
        ),
        ("SELECT * FROM ROWS FROM (f((SELECT 1 FROM a))), LATERAL (SELECT 1 FROM b) x", vec!["a", "b"]),
        (
            "SELECT a.x[(SELECT 1 FROM b)], CASE WHEN 1 = (SELECT 1 FROM c) THEN 1 END FROM a",
            vec!["a", "b", "c"],
        ),
        ("SELECT 1 FROM a UNION SELECT 2 FROM b EXCEPT SELECT 3 FROM c", vec!["a", "b", "c"]),
        ("VALUES ((SELECT 1 FROM a))", vec!["a"]),
        ("SELECT json_object('k': (SELECT 1 FROM a)), xmlelement(name x, (SELECT 1 FROM b))", vec!["a", "b"]),
        ("SELECT * FROM a TABLESAMPLE system ((SELECT 1 FROM b))", vec!["a", "b"]),
    ] {
        let mut found = shown(&one(sql).reads);
        found.sort();
        assert_eq!(found, reads, "{sql}");
    }
}

#[test]
fn cte_names_are_not_relations() {
    assert_eq!(shown(&one("WITH w AS (SELECT * FROM a) SELECT * FROM w, s.w, b").reads), ["a", "s.w", "b"]);
    assert_eq!(shown(&one("WITH w AS (SELECT * FROM w) SELECT * FROM w").reads), ["w"]);
    assert!(one("WITH RECURSIVE w AS (SELECT 1 UNION SELECT * FROM w) SELECT * FROM w").reads.is_empty());
    assert_eq!(shown(&one("SELECT * FROM (WITH w AS (SELECT 1) SELECT * FROM w) x, w").reads), ["w"]);
    assert_eq!(shown(&one("WITH w AS (SELECT 1) INSERT INTO w SELECT * FROM w").writes), ["w"]);
}

#[test]
fn relations_named_twice_are_noted() {
    for (sql, repeated) in [
        ("SELECT 1 FROM a, b", vec![]),
        ("SELECT 1 FROM a x, a y, b", vec!["a"]),
        ("SELECT 1 FROM a WHERE id IN (SELECT id FROM a)", vec!["a"]),
        ("SELECT 1 FROM a, s.a", vec![]),
        ("SELECT 1 FROM s.a UNION SELECT 2 FROM s.a UNION SELECT 3 FROM s.a", vec!["s.a"]),
        ("WITH a AS (SELECT 1 FROM a) SELECT 1 FROM a x, a y", vec![]),
        ("WITH w AS (SELECT 1 FROM a) SELECT (SELECT 1 FROM a)", vec!["a"]),
        ("INSERT INTO a SELECT 1 FROM a", vec![]),
        ("WITH w AS (DELETE FROM a WHERE id = 2) UPDATE a SET x = 1 WHERE id = 1", vec!["a"]),
    ] {
        assert_eq!(shown(&one(sql).repeated), repeated, "{sql}");
    }
}

#[test]
fn words_that_ask_for_values_are_found_everywhere() {
    for (sql, words) in [
        ("SELECT current_user, a FROM t WHERE owner = SESSION_USER", vec!["current_user", "session_user"]),
        ("SELECT user, current_role, user", vec!["user", "current_role"]),
        (
            "SELECT 1 FROM t ORDER BY current_schema, current_catalog",
            vec!["current_schema", "current_catalog"],
        ),
        ("SELECT current_timestamp(2), localtime", vec!["current_timestamp", "localtime"]),
        ("SELECT \"user\", 'current_user'", vec![]),
    ] {
        assert_eq!(one(sql).value_words, words, "{sql}");
    }
    assert_eq!(shown(&one("SELECT system_user").functions)[0], "pg_catalog.system_user");
}

#[test]
fn functions_are_found_everywhere() {
    for (sql, functions) in [
        ("SELECT f(g(1)), s.h()", vec!["f", "g", "s.h"]),
        (
            "SELECT extract(year FROM x), substring(a FROM 1 FOR 2)",
            vec!["pg_catalog.extract", "pg_catalog.substring"],
        ),
        ("SELECT 1 FROM a ORDER BY f() LIMIT g()", vec!["f", "g"]),
        (
            "INSERT INTO a VALUES (f()) ON CONFLICT (g(x)) DO UPDATE SET x = h() RETURNING i()",
            vec!["f", "g", "h", "i"],
        ),
        (
            "SELECT sum(x) OVER (PARTITION BY f() ROWS g() PRECEDING) FROM a WINDOW w AS (ORDER BY h())",
            vec!["f", "g", "h", "sum"],
        ),
        ("SELECT json_value(f(), '$' PASSING g() AS x DEFAULT h() ON EMPTY)", vec!["f", "g", "h"]),
        ("MERGE INTO a USING b ON f() WHEN MATCHED AND g() THEN UPDATE SET x = h()", vec!["f", "g", "h"]),
        ("CALL p(f())", vec!["f", "p"]),
        ("EXECUTE p(f())", vec!["f"]),
        ("COPY (SELECT f()) TO STDOUT", vec!["f"]),
        ("EXPLAIN SELECT f()", vec!["f"]),
        ("CREATE INDEX ON a (f(x))", vec!["a", "f"]),
        ("SELECT * FROM a TABLESAMPLE s.m (f()), b TABLESAMPLE n (1)", vec!["f", "n", "s.m"]),
    ] {
        let mut found = shown(&one(sql).functions);
        found.sort();
        assert_eq!(found, functions, "{sql}");
    }
}

#[test]
fn operators_types_and_attributes() {
    let statement = one(
        "SELECT a.f, (b).g, x::s.odd, y::int[] FROM a WHERE a.x <~> 1 AND y = ANY (z) ORDER BY x USING <",
    );
    assert_eq!(shown(&statement.operators), ["<", "<~>", "="]);
    assert_eq!(shown(&statement.types), ["s.odd", "pg_catalog.int4"]);
    assert_eq!(shown(&statement.attributes), ["f", "g", "x"]);
}

#[test]
fn shapes_that_only_read() {
    for sql in [
        "SELECT 1",
        "TABLE a",
        "VALUES (1)",
        "SHOW a.b",
        "EXPLAIN SELECT 1",
        "EXPLAIN (ANALYZE off) SELECT 1",
        "COPY a TO STDOUT",
        "WITH w AS (SELECT 1) SELECT * FROM w",
    ] {
        assert_eq!(why(sql), "", "{sql}");
    }
}

#[test]
fn shapes_that_do_not() {
    for (sql, reason) in [
        ("SELECT * FROM a FOR NO KEY UPDATE", "locks rows (FOR NO KEY UPDATE)"),
        ("SELECT * FROM (SELECT * FROM a FOR SHARE) x", "locks rows (FOR SHARE)"),
        ("WITH ins AS (INSERT INTO a VALUES (1) RETURNING *) SELECT * FROM ins", "CTE ins writes"),
        (
            "SELECT (WITH x AS (SELECT 1) SELECT 1) FROM (WITH d AS (DELETE FROM a RETURNING *) SELECT * FROM d) y",
            "CTE d writes",
        ),
        ("SELECT 1 INTO t", "SELECT INTO creates a table"),
        ("EXPLAIN ANALYZE SELECT 1", "EXPLAIN ANALYZE runs the statement"),
        ("EXPLAIN INSERT INTO a VALUES (1)", "INSERT is not a query"),
        ("COPY a TO '/tmp/x'", "COPY to the server's files is not a query"),
        ("COPY (DELETE FROM a RETURNING *) TO STDOUT", "COPY of a data-modifying statement is not a query"),
        ("TRUNCATE a", "TRUNCATE is not a query"),
        ("EXECUTE p", "runs a prepared statement"),
    ] {
        assert_eq!(why(sql), reason, "{sql}");
    }
}

#[test]
fn session_state() {
    use SessionState as S;
    let set = |name, value, is_local| S::SetConfig { name, value, is_local };
    for (sql, state) in [
        ("SELECT set_config('a', $1, true)", set(Arg::Literal(0), Arg::Param(1), Arg::Bool(true))),
        (
            "SELECT 5, pg_catalog.set_config('a'::text, NULL, 'f'::bool)",
            set(Arg::Literal(1), Arg::Null, Arg::Literal(2)),
        ),
        ("SELECT set_config(x, 'a' || 'b', false) FROM t", set(Arg::Other, Arg::Other, Arg::Bool(false))),
        ("SELECT pg_try_advisory_lock_shared(1)", S::SessionAdvisoryLock),
        ("SELECT pg_advisory_unlock(1)", S::AdvisoryUnlock { all: false }),
        ("SELECT pg_advisory_unlock_all()", S::AdvisoryUnlock { all: true }),
        ("SELECT lastval()", S::Sequence),
        ("CREATE TEMP TABLE t (a int)", S::TempTable),
        ("CREATE TEMP TABLE t AS SELECT 1", S::TempTable),
        ("CREATE TEMP SEQUENCE s", S::TempTable),
        ("CREATE TEMP VIEW v AS SELECT 1", S::TempTable),
        ("SELECT 1 INTO TEMP t", S::TempTable),
        ("SELECT * FROM pg_temp.t", S::TempReference),
        ("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", S::TempReference),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", S::HoldCursor),
        ("LISTEN x", S::Listen),
        ("UNLISTEN *", S::Unlisten { all: true }),
        ("PREPARE p AS SELECT 1", S::PreparedStatement),
        ("LOAD 'x'", S::Load),
        ("DROP TABLE t", S::DropObject),
        ("DO 'BEGIN END'", S::Opaque),
    ] {
        assert_eq!(one(sql).state, [state], "{sql}");
    }
    for sql in
        ["SELECT s.set_config('a', 'b', false)", "SELECT pg_advisory_xact_lock(1)", "CREATE TABLE t (a int)"]
    {
        assert!(one(sql).state.is_empty(), "{sql}");
    }
    assert_eq!(one("DO 'BEGIN END'").opaque.as_deref(), Some("BEGIN END"));
    assert_eq!(
        one("SELECT current_setting('App.X'), current_setting(y)").settings,
        [Some("app.x".into()), None]
    );
}

#[test]
fn kinds() {
    let modes = |read_only, isolation, deferrable| TransactionModes {
        read_only,
        isolation,
        deferrable,
        snapshot: false,
    };
    for (sql, kind) in [
        ("BEGIN", Kind::Begin(TransactionModes::default())),
        (
            "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
            Kind::Begin(modes(Some(true), Some(Isolation::Serializable), Some(true))),
        ),
        ("SET TRANSACTION READ WRITE", Kind::SetTransaction(modes(Some(false), None, None))),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
            Kind::SetSessionCharacteristics(modes(None, Some(Isolation::ReadCommitted), None)),
        ),
        (
            "SET TRANSACTION SNAPSHOT 'x'",
            Kind::SetTransaction(TransactionModes { snapshot: true, ..TransactionModes::default() }),
        ),
        ("END", Kind::Commit { chain: false }),
        ("ABORT AND CHAIN", Kind::Rollback { chain: true }),
        ("SAVEPOINT \"S\"", Kind::Savepoint("S".into())),
        ("RELEASE s", Kind::Release("s".into())),
        ("ROLLBACK TO s", Kind::RollbackTo("s".into())),
        ("PREPARE TRANSACTION 'x'", Kind::PrepareTransaction),
        ("COMMIT PREPARED 'x'", Kind::CommitPrepared),
        ("SHOW TimeZone", Kind::Show("timezone".into())),
        ("VALUES (1)", Kind::Values),
        ("COPY a FROM STDIN", Kind::CopyFrom(CopyPeer::Client)),
        ("COPY a FROM PROGRAM 'x'", Kind::CopyFrom(CopyPeer::Program)),
        ("DISCARD PLANS", Kind::Discard(Discard::Plans)),
        ("DEALLOCATE ALL", Kind::Deallocate(None)),
        ("DEALLOCATE p", Kind::Deallocate(Some("p".into()))),
        ("EXECUTE p(1)", Kind::Execute("p".into())),
        ("CLOSE ALL", Kind::CloseCursor(None)),
        ("MOVE 1 FROM c", Kind::Move),
        ("RESET ALL", Kind::ResetAll),
        ("SET a TO DEFAULT", Kind::Reset("a".into())),
        ("SET SESSION AUTHORIZATION DEFAULT", Kind::Reset("session_authorization".into())),
        ("SET TIME ZONE LOCAL", Kind::Reset("timezone".into())),
        ("DECLARE c CURSOR FOR SELECT 1", Kind::DeclareCursor { name: "c".into(), hold: false }),
    ] {
        assert_eq!(one(sql).kind, kind, "{sql}");
    }
}

fn setting(sql: &str) -> Setting {
    match one(sql).kind {
        Kind::Set(setting) => setting,
        other => panic!("{sql} is {other:?}"),
    }
}

#[test]
fn settings_can_be_set_again() {
    for (sql, again) in [
        ("SET search_path = \"A\", b", "SET \"search_path\" TO 'A', 'b'"),
        ("SET LOCAL work_mem TO '4MB'", "SET LOCAL \"work_mem\" TO '4MB'"),
        ("SET App.\"User\" = 'it''s \\'", "SET \"app\".\"user\" TO E'it''s \\\\'"),
        ("SET x.y = -1.5", "SET \"x\".\"y\" TO -1.5"),
        ("SET enable_seqscan = off", "SET \"enable_seqscan\" TO 'off'"),
        ("SET ROLE NONE", "SET \"role\" TO 'none'"),
        ("SET SESSION AUTHORIZATION joe", "SET \"session_authorization\" TO 'joe'"),
        ("SET NAMES 'latin1'", "SET \"client_encoding\" TO 'latin1'"),
        ("SET TIME ZONE 'UTC'", "SET \"timezone\" TO 'UTC'"),
        ("SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", "set time zone interval '-08:00' hour to minute"),
        ("SET LOCAL a.b TO DEFAULT", "SET LOCAL \"a\".\"b\" TO DEFAULT"),
    ] {
        let statement = setting(sql).set_statement();
        assert_eq!(statement, again, "{sql}");
        assert_eq!(setting(&statement), setting(sql), "{sql}");
    }
    assert!(
        matches!(setting("SET a.b = 'x', 'y'").value, SetValue::Values { plain, .. } if &*plain == "x, y")
    );
}

#[test]
fn several_statements() {
    let facts = facts("; BEGIN; SELECT 1 FROM a;; COMMIT;");
    let kinds: Vec<&Kind> = facts.statements.iter().map(|statement| &statement.kind).collect();
    assert_eq!(
        kinds,
        [&Kind::Begin(TransactionModes::default()), &Kind::Select, &Kind::Commit { chain: false }]
    );
    assert!(self::facts(" -- nothing\n;").statements.is_empty());
}
