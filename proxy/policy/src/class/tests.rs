//! Classes of texts over the catalog of the catalog's own tests.

use pointsman_sql::{Analyzer, LexRules};

use super::*;
use crate::overrides::Overrides;

fn class(sql: &str) -> Class {
    let catalog = Catalog::build(&crate::catalog::tests::rows(), &Overrides::default());
    let mut analyzer = Analyzer::<()>::new(16);
    classify(analyzer.analyze(sql.as_bytes(), LexRules::default()).facts, &catalog)
}

#[test]
fn reads() {
    for sql in [
        "SELECT 1",
        "",
        "SELECT lower(name) FROM agents WHERE id = 1",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "VALUES (1), (2)",
        "TABLE agents",
        "SHOW timezone",
        "EXPLAIN SELECT * FROM agents",
        "COPY agents TO STDOUT",
        "SELECT * FROM plain; SELECT 2",
        "SELECT current_setting('app.user')",
        "SELECT count(*) FROM agents a WHERE a.id = $1",
    ] {
        let class = class(sql);
        assert_eq!((class.access, class.reasons), (Access::Read, vec![]), "{sql}");
    }
}

#[test]
fn reads_for_the_primary_only() {
    for sql in [
        "SELECT random()",
        "SELECT * FROM agents FOR UPDATE",
        "SELECT * FROM pg_stat_activity",
        "SELECT inet_server_addr()",
        "SELECT last_value FROM seq",
        "SHOW transaction_read_only",
        "SHOW ALL",
        "SELECT current_setting('port')",
        "SELECT current_setting($1)",
        "SELECT 1; SET x.y = 1",
        "EXPLAIN INSERT INTO agents VALUES (1)",
        "EXPLAIN (COSTS OFF) UPDATE agents SET id = nextval('seq')",
        "EXPLAIN WITH x AS (DELETE FROM agents RETURNING id) SELECT * FROM x",
        "SELECT quiet_become()",
    ] {
        assert_eq!(class(sql).access, Access::PrimaryRead, "{sql}: {:?}", class(sql).reasons);
        assert!(!class(sql).reasons.is_empty(), "{sql}");
    }
}

#[test]
fn writes() {
    for sql in [
        "INSERT INTO agents VALUES (1)",
        "WITH x AS (DELETE FROM agents RETURNING id) SELECT * FROM x",
        "SELECT * INTO other FROM agents",
        "SELECT nextval('seq')",
        "SELECT log_visit()",
        "SELECT a.log_visit FROM agents a",
        "SELECT 1 <~> 2",
        "SELECT unknown_function()",
        "SELECT * FROM unknown_table",
        "SELECT * FROM watched",
        "EXPLAIN ANALYZE SELECT 1",
        "EXPLAIN ANALYZE DELETE FROM agents",
        "EXPLAIN EXECUTE p(nextval('seq'))",
        "SELECT by_default()",
        "DO $$BEGIN END$$",
        "SELECT FROM WHERE",
        "CREATE TABLE x(a int)",
        "EXECUTE p(1)",
        "NOTIFY x",
    ] {
        assert_eq!(class(sql).access, Access::Write, "{sql}");
    }
}

#[test]
fn session_statements() {
    for sql in
        ["BEGIN", "COMMIT", "SET x.y = 1", "RESET ALL", "DEALLOCATE ALL", "FETCH 1 FROM c", "BEGIN; COMMIT"]
    {
        assert_eq!(class(sql).access, Access::Session, "{sql}");
    }
}

#[test]
fn suspects() {
    for sql in [
        "SELECT become()",
        "SELECT quiet_become()",
        "SELECT in_python()",
        "SELECT unknown_function()",
        "UPDATE agents SET id = 1",
        "DO $$BEGIN SET x.y = 1; END$$",
        "SELEC 1",
        "SELECT become() FROM WHERE",
    ] {
        assert!(class(sql).suspect, "{sql}");
    }
    for sql in ["SELECT log_visit()", "SELECT 1", "DO $$BEGIN UPDATE t SET a = 1; END$$", "SELECT FROM WHERE"]
    {
        assert!(!class(sql).suspect, "{sql}");
    }
}

#[test]
fn reasons_are_sentences() {
    let reasons: Vec<String> =
        class("SELECT log_visit() FOR UPDATE").reasons.iter().map(ToString::to_string).collect();
    assert_eq!(reasons, ["locks rows (FOR UPDATE)", "calls log_visit(): volatile"]);
}
