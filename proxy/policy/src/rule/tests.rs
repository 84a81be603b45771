//! Every condition, met and not met; every contradiction, with its place.

use crate::identity::Identity;
use crate::testing::{By, decide, errors, set};

const WHO: Identity<'static> = Identity {
    user: "app",
    database: "shop",
    application: "web-1",
    client: Some(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 1, 1))),
};
const BY: By<'static> = By { identity: WHO, in_transaction: false, parameter: None };

fn matches(condition: &str, sql: &str, by: By<'_>) -> bool {
    let set = set(&format!(
        "tables: {{big: {{large: true}}}}\nrules: [{{name: a, log: true, match: {{{condition}}}}}]"
    ));
    decide(&set, sql, by).decided_by.is_some()
}

type Case = (&'static str, Vec<&'static str>, Vec<&'static str>);

/// Each condition is met by the first statements, and not by the others.
fn meet(cases: &[Case]) {
    for (condition, hits, misses) in cases {
        for sql in hits {
            assert!(matches(condition, sql, BY), "{condition}: {sql}");
        }
        for sql in misses {
            assert!(!matches(condition, sql, BY), "{condition}: {sql}");
        }
    }
}

#[test]
fn conditions_of_verbs_and_tables() {
    meet(&[
        (
            "verb: select",
            vec!["SELECT 1", "TABLE t", "DELETE FROM t; SELECT 1"],
            vec!["VALUES (1)", "DELETE FROM t", ""],
        ),
        ("verb: [begin, commit]", vec!["BEGIN", "START TRANSACTION", "END"], vec!["ROLLBACK"]),
        ("verb: truncate", vec!["TRUNCATE t"], vec!["VACUUM t", "CREATE TABLE t (a int)"]),
        (
            "verb: [ddl, vacuum]",
            vec!["DROP TABLE t", "GRANT SELECT ON t TO u", "ANALYZE t"],
            vec!["TRUNCATE t"],
        ),
        ("verb: copy_to", vec!["COPY t TO STDOUT"], vec!["COPY t FROM STDIN"]),
        (
            "tables: t",
            vec!["SELECT * FROM t", "DELETE FROM s.t", "INSERT INTO u SELECT * FROM t"],
            vec!["SELECT * FROM u", "SELECT 't'", "SELECT t FROM u"],
        ),
        (
            "tables: [s.t, 'log_*']",
            vec!["SELECT * FROM s.t", "TABLE log_a"],
            vec!["TABLE t", "TABLE x.t", "TABLE log"],
        ),
        ("tables: {any: [t, u]}", vec!["TABLE u"], vec!["TABLE v"]),
        (
            "tables: {all: [t, u]}",
            vec!["SELECT FROM t, u, v", "INSERT INTO t SELECT * FROM u"],
            vec!["TABLE t"],
        ),
        ("tables: {only: [t, u]}", vec!["TABLE t", "SELECT FROM t, u"], vec!["SELECT FROM t, v", "SELECT 1"]),
    ]);
}

#[test]
fn conditions_of_what_a_statement_does() {
    meet(&[
        ("reads: t", vec!["TABLE t", "INSERT INTO u SELECT * FROM t"], vec!["INSERT INTO t VALUES (1)"]),
        (
            "writes: t",
            vec!["INSERT INTO t VALUES (1)", "TRUNCATE t", "WITH x AS (DELETE FROM t RETURNING 1) TABLE x"],
            vec!["TABLE t"],
        ),
        ("large: true", vec!["TABLE big", "DELETE FROM big"], vec!["TABLE t", "SELECT 1"]),
        ("large: false", vec!["TABLE t", "SELECT 1"], vec!["TABLE big"]),
        (
            "functions: [f, s.g]",
            vec!["SELECT f(1)", "SELECT s.g()", "SELECT x.f()"],
            vec!["SELECT g()", "SELECT 1"],
        ),
        ("functions: {all: [f, g]}", vec!["SELECT f(g())"], vec!["SELECT f()"]),
        (
            "functions: {only: [f, pg_catalog.now]}",
            vec!["SELECT f(now())"],
            vec!["SELECT f(g())", "SELECT 1"],
        ),
        (
            "where: none",
            vec!["DELETE FROM t", "UPDATE t SET a = 1", "SELECT * FROM t"],
            vec!["DELETE FROM t WHERE true", "INSERT INTO t VALUES (1)", "TRUNCATE t", "BEGIN"],
        ),
        (
            "where: {eq: [a]}",
            vec![
                "SELECT FROM t WHERE a = 1 AND b > 2",
                "DELETE FROM t WHERE a IN (1, 2)",
                "SELECT FROM t WHERE a = ANY ($1)",
            ],
            vec!["SELECT FROM t WHERE a > 1", "SELECT FROM t WHERE a = 1 OR b = 2", "TABLE t"],
        ),
        (
            "where: {eq: [a, b]}",
            vec!["SELECT FROM t WHERE a = 1 AND b = $1"],
            vec!["SELECT FROM t WHERE a = 1"],
        ),
        (
            "limit: none",
            vec!["TABLE t", "SELECT FROM t LIMIT ALL", "VALUES (1)"],
            vec!["SELECT FROM t LIMIT 1", "DELETE FROM t", "BEGIN"],
        ),
        (
            "template: SELECT a FROM t WHERE id = 1",
            vec!["select a from t where id = 2", "SELECT a FROM t WHERE id = $1 /* x */;"],
            vec!["SELECT a FROM t WHERE id > 1", "SELECT 'open"],
        ),
    ]);
}

#[test]
fn what_is_not_understood_has_no_missing_where_and_no_limit() {
    let long = format!("UPDATE t SET a = '{}' WHERE id = 1", "x".repeat(70_000));
    let unparsed = "SELECT * FROM t WHERE a === NEWER SYNTAX 1 LIMIT 1 ROWS";
    for sql in [long.as_str(), unparsed, "SELECT 'open"] {
        for condition in ["where: none", "where: {eq: [id]}", "limit: none", "limit: {over: 1}"] {
            assert!(!matches(condition, sql, BY), "{condition}: {}", &sql[..20]);
        }
    }
    assert!(matches("verb: update", &long, BY));
}

#[test]
fn limits_that_depend_on_the_statement() {
    for (sql, parameter, over) in [
        ("SELECT FROM t LIMIT 100", None, false),
        ("SELECT FROM t LIMIT 101", None, true),
        ("SELECT FROM t LIMIT 9223372036854775808", None, true),
        ("SELECT FROM t LIMIT -1", None, false),
        ("SELECT FROM t LIMIT $1", Some(100), false),
        ("SELECT FROM t LIMIT $1", Some(101), true),
        ("SELECT FROM t LIMIT $1", None, true),
        ("SELECT FROM t LIMIT 1 + 1", None, true),
        ("SELECT FROM t", None, true),
        ("DELETE FROM t", None, false),
        ("DELETE FROM t; SELECT FROM t LIMIT 1", None, false),
        ("SELECT FROM t LIMIT 1; SELECT FROM t LIMIT 1000", None, true),
    ] {
        assert_eq!(matches("limit: {over: 100}", sql, By { parameter, ..BY }), over, "{sql}");
    }
    assert!(!matches("limit: {over: 100}, tables: u", "SELECT FROM t LIMIT 1000; SELECT FROM u LIMIT 1", BY));
}

#[test]
fn all_conditions_of_statements_must_hold_for_one_of_them() {
    assert!(!matches("verb: delete, tables: t", "DELETE FROM u; SELECT * FROM t", BY));
    assert!(matches("verb: delete, tables: t", "SELECT 1; DELETE FROM t", BY));
    assert!(matches("user: app", "", BY));
}

#[test]
fn conditions_of_sessions_and_texts() {
    let route = "/* pointsman: route=primary, job=nightly */ SELECT 1";
    let tagged = "SELECT 1 /*route='%2Ffeed%2F7',app='x'*/";
    for (condition, sql, met) in [
        ("user: [other, 'ap*']", "", true),
        ("user: [other, 'App']", "", false),
        ("database: shop", "", true),
        ("database: sho", "", false),
        ("application: 'web-*'", "", true),
        ("application: web", "", false),
        ("client: [fd00::/8, 10.0.0.0/8]", "", true),
        ("client: 10.2.0.0/16", "", false),
        ("in_transaction: false", "", true),
        ("in_transaction: true", "", false),
        ("comment: {route: '/feed/*'}", tagged, true),
        ("comment: {route: '/feed/*', app: y}", tagged, false),
        ("comment: {route: '*'}", "SELECT '/*route=''x''*/'", false),
        ("hint: {route: primary}", route, true),
        ("hint: {route: primary, job: 'n*'}", route, true),
        ("hint: {route: replica}", route, false),
        ("hint: {route: '*'}", "SELECT 'pointsman: route=x'", false),
        ("text: '(?i)select\\s+1'", "select  1", true),
        ("text: ^x", "select 1", false),
    ] {
        assert_eq!(matches(condition, sql, BY), met, "{condition}");
    }
    assert!(matches("in_transaction: true", "", By { in_transaction: true, ..BY }));
    assert!(!matches("client: 0.0.0.0/0", "", By::default()));
}

#[test]
fn contradictions_in_one_rule_are_refused_where_they_stand() {
    for (rule, place, part) in [
        ("description: x", "6:11", "does nothing"),
        ("log: false", "7:10", "says nothing"),
        ("continue: true", "6:11", "does nothing"),
        ("refuse: {message: no}\n  route: primary", "8:12", "`refuse` and `route` contradict each other"),
        ("refuse: {message: no}\n  timeout: 1s", "8:14", "`refuse` and `timeout` contradict each other"),
        ("refuse: {message: no}\n  continue: true", "8:15", "cannot `continue`"),
        ("route: primary\n  max_lag: 1s", "8:14", "`max_lag` means nothing with `route: primary`"),
        ("route: primary\n  consistency: session", "8:18", "`consistency` means nothing"),
        ("match: {in_transaction: true}\n  route: primary", "8:12", "the transaction stays where it is"),
        ("match: {verb: insert}\n  route: replica", "8:12", "`insert` never only reads"),
        ("match: {verb: [select, insert]}\n  route: replica", "8:12", "`insert` never only reads"),
        ("match: {verb: [insert, delete]}\n  consistency: strict", "8:18", "`insert` never only reads"),
        ("match: {writes: t}\n  max_lag: 5s", "8:14", "`writes` asks for writes"),
        ("match: {verb: begin, tables: t}\n  log: true", "7:34", "`tables` can never hold for `verb: begin`"),
        ("match: {verb: insert, where: none}\n  log: true", "7:34", "`where` can never hold"),
        ("match: {verb: delete, limit: none}\n  log: true", "7:34", "`limit` can never hold"),
        ("match: {tables: {any: [a], only: [b]}}\n  log: true", "7:21", "`only` excludes `a`"),
        ("match: {tables: {all: [b, a], only: [b]}}\n  log: true", "7:21", "`only` excludes `a`"),
        ("match: {tables: {only: [b]}, reads: a}\n  log: true", "7:41", "`only` excludes `a`"),
        (
            "match: {template: SELECT 1, verb: delete}\n  log: true",
            "7:23",
            "the sample does not meet `verb: [delete]`",
        ),
        ("match: {template: SELECT 1, tables: t}\n  log: true", "7:23", "the sample does not meet `tables"),
        ("rate_limit: {per: user, rate: 1/s, burst: 0}", "7:17", "lets nothing through"),
    ] {
        let told = errors(&format!("rules:\n- name: a\n  {rule}\n"));
        assert!(told.contains(part), "{rule}: {told}");
        assert!(told.starts_with(&format!("p.yaml:{place}: ")), "{rule}: {told}");
        assert_eq!(told.lines().count(), 1, "{rule}: {told}");
    }
    for fine in [
        "match: {verb: [select, insert]}\n  max_lag: 1s",
        "refuse: {message: no}\n  log: warn",
        "match: {tables: {any: ['a*'], only: [ab]}}\n  log: true",
        "match: {verb: [select, begin], tables: t}\n  route: any",
    ] {
        assert_eq!(errors(&format!("rules:\n- name: a\n  {fine}\n")), "", "{fine}");
    }
}

/// Every pair of keys, and of a key and a kind of rule, that contradict each other.
#[test]
fn each_contradicting_key_is_refused() {
    let values = [
        ("route", "any"),
        ("max_lag", "1s"),
        ("consistency", "session"),
        ("timeout", "1s"),
        ("rate_limit", "{per: user, rate: 1/s}"),
        ("overrides", "allow"),
    ];
    let told = |rule: &str, key: &str, value: &str, part: &str| {
        let told = errors(&format!("rules:\n- name: a\n  {rule}\n  {key}: {value}\n"));
        assert!(told.starts_with(&format!("p.yaml:8:{}: ", key.len() + 7)), "{rule}, {key}: {told}");
        assert!(told.contains(part) && told.lines().count() == 1, "{rule}, {key}: {told}");
    };
    for (key, value) in values {
        told("refuse: {message: no}", key, value, &format!("`refuse` and `{key}` contradict each other"));
    }
    for (key, value) in &values[..3] {
        let part = format!("`{key}` means nothing with `in_transaction: true`");
        told("match: {in_transaction: true}", key, value, &part);
        told("match: {verb: delete}", key, value, &format!("`{key}` is for reads, and `delete` never only"));
        told(
            "match: {writes: t}",
            key,
            value,
            &format!("`{key}` is for reads, and `writes` asks for writes"),
        );
    }
    for (key, value) in &values[1..3] {
        told("route: primary", key, value, &format!("`{key}` means nothing with `route: primary`"));
    }
    for key in ["tables: t", "reads: t", "writes: t", "large: true", "functions: f"] {
        let told = errors(&format!("rules:\n- {{name: a, log: true, match: {{verb: begin, {key}}}}}\n"));
        assert!(told.contains("can never hold for `verb: begin`: each of them names no tables"), "{told}");
    }
    for key in ["reads", "writes", "functions"] {
        let names = format!("{key}: {{any: [a], only: [b]}}");
        let told = errors(&format!("rules:\n- {{name: a, log: true, match: {{{names}}}}}\n"));
        assert!(told.contains("`only` excludes `a`"), "{told}");
    }
}

fn hidden(earlier: &str, later: &str) -> bool {
    let told =
        errors(&format!("rules:\n- {{name: a, log: true, {earlier}}}\n- {{name: b, log: true, {later}}}\n"));
    if told.is_empty() {
        return false;
    }
    assert_eq!(
        told,
        "p.yaml:7:12: rule `b` is never reached: `a` (6:12) matches all that it does and ends the search"
    );
    true
}

#[test]
fn a_rule_behind_one_that_matches_more_is_refused() {
    for (earlier, later) in [
        ("match: {}", "match: {verb: select}"),
        ("description: all", "description: all"),
        ("match: {verb: [select, insert]}", "match: {verb: select, user: x}"),
        ("match: {tables: [t, u]}", "match: {tables: t}"),
        ("match: {tables: t}", "match: {reads: s.t}"),
        ("match: {tables: 'log_*'}", "match: {writes: log_a}"),
        ("match: {tables: {all: [t]}}", "match: {tables: {all: [t, u]}}"),
        ("match: {tables: {any: [t, x]}}", "match: {tables: {all: [t, u]}}"),
        ("match: {tables: {only: [t, u]}}", "match: {tables: {only: [u]}}"),
        ("match: {functions: [f, g]}", "match: {functions: {only: [f]}}"),
        ("match: {where: {eq: [a]}}", "match: {where: {eq: [a, b]}}"),
        ("match: {limit: {over: 10}}", "match: {limit: {over: 20}}"),
        ("match: {limit: {over: 10}}", "match: {limit: none}"),
        ("match: {user: 'a*'}", "match: {user: [ab, a]}"),
        ("match: {client: 10.0.0.0/8}", "match: {client: 10.1.0.0/16}"),
        ("match: {in_transaction: false}", "match: {in_transaction: false, text: x}"),
        ("match: {comment: {route: '/a*'}}", "match: {comment: {route: '/ab', b: c}}"),
        ("match: {hint: {a: '*'}}", "match: {hint: {a: b}}"),
        ("match: {text: x}", "match: {text: x, user: a}"),
        ("match: {template: SELECT 1}", "match: {template: SELECT 2}"),
        ("match: {reads: t, where: {eq: [a]}}", "match: {template: SELECT * FROM t WHERE a = 1}"),
        ("match: {verb: select}", "match: {verb: select}, mode: audit"),
    ] {
        assert!(hidden(earlier, later), "{earlier} / {later}");
    }
}

#[test]
fn a_rule_that_may_be_reached_is_not() {
    for (earlier, later) in [
        ("match: {verb: select}", "match: {verb: [select, insert]}"),
        ("match: {verb: select}", "match: {}"),
        ("match: {}, continue: true", "match: {}"),
        ("match: {}, mode: audit", "match: {}"),
        ("match: {tables: t}", "match: {tables: [t, u]}"),
        ("match: {reads: t}", "match: {tables: t}"),
        ("match: {reads: t}", "match: {writes: t}"),
        ("match: {tables: {only: [t]}}", "match: {reads: {only: [t]}}"),
        ("match: {tables: {only: [t]}}", "match: {tables: t}"),
        ("match: {tables: s.t}", "match: {tables: t}"),
        ("match: {where: {eq: [a, b]}}", "match: {where: {eq: [a]}}"),
        ("match: {where: none}", "match: {where: {eq: [a]}}"),
        ("match: {limit: {over: 20}}", "match: {limit: {over: 10}}"),
        ("match: {limit: none}", "match: {limit: {over: 10}}"),
        ("match: {user: ab}", "match: {user: 'a*'}"),
        ("match: {client: 10.1.0.0/16}", "match: {client: 10.0.0.0/8}"),
        ("match: {in_transaction: true}", "match: {in_transaction: false}"),
        ("match: {comment: {a: b, c: d}}", "match: {comment: {a: b}}"),
        ("match: {text: x}", "match: {text: xy}"),
        ("match: {large: true}", "match: {large: false}"),
        ("match: {template: SELECT 1}", "match: {verb: select}"),
    ] {
        assert!(!hidden(earlier, later), "{earlier} / {later}");
    }
}

#[test]
fn names_are_told_apart() {
    let told = errors(
        "rules:\n- {name: a, log: true, match: {user: a}}\n- {name: a, log: true}\n- {name: none, log: true}",
    );
    assert_eq!(
        told,
        "p.yaml:7:12: another rule is called `a`, in line 6\np.yaml:8:12: `none` cannot be a rule's name: tests mean no rule by it"
    );
}
