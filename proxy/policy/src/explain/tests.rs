//! Explanations say what decides and plans say.

use crate::testing::{By, explained, set};

fn lines(spec: &str, sql: &str) -> Vec<String> {
    let told = explained(&set(spec), sql, By::default());
    told.rows().into_iter().map(|(item, value)| format!("{item}: {value}")).collect()
}

const SPEC: &str = "functions: {log_visit: volatile}
rules:
- {name: fresh, match: {verb: select, tables: orders}, route: primary}
- {name: small, match: {verb: select, limit: none, user: other}, timeout: 1s}
- {name: rest, match: {verb: select}, route: any, max_lag: 5s}
- {name: no, match: {verb: delete, where: none}, refuse: {message: not so, hint: say WHERE}}";

#[test]
fn the_rule_that_won_and_those_that_almost_did() {
    assert_eq!(
        lines(SPEC, "SELECT lower(a) FROM t WHERE id = $1 AND b IN (1, 2)"),
        [
            "statement: select",
            "reads: t",
            "calls: lower",
            "keys: id = $1, b IN (2 values)",
            "class: read",
            "rule: p/rest (p.yaml:9:12): route: any, max_lag: 5s",
            "almost: p/fresh: not met: tables: {any: [orders]}",
            "almost: p/small: not met: user: [other]",
            "demand: max_lag: 5s",
            "target: any",
            "decided by: p/rest",
            "why: rule p/rest says so",
        ]
    );
}

#[test]
fn a_rule_behind_the_one_that_won_is_told() {
    let told = lines(SPEC, "SELECT * FROM orders");
    assert!(
        told.contains(&"almost: p/rest: comes after p/fresh, which ended the search".to_owned()),
        "{told:?}"
    );
    assert!(told.contains(&"target: primary".to_owned()), "{told:?}");
}

#[test]
fn writes_and_refusals_give_their_reasons() {
    let told = lines(SPEC, "SELECT log_visit(1)");
    for line in
        ["class: write", "because: calls log_visit(): volatile", "target: primary", "decided by: write"]
    {
        assert!(told.contains(&line.to_owned()), "{line}: {told:?}");
    }
    let told = lines(SPEC, "DELETE FROM t");
    for line in [
        "target: none",
        "decided by: p/no",
        "why: rule p/no refuses it",
        "demand: refuse: 42501: not so (say WHERE)",
    ] {
        assert!(told.contains(&line.to_owned()), "{line}: {told:?}");
    }
}

#[test]
fn shown_as_aligned_lines_and_as_json() {
    let told = explained(&set(SPEC), "SELECT 1", By::default());
    let text = told.to_string();
    assert!(text.starts_with("SELECT 1\n  statement   select\n  class       read\n"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&told.json()).unwrap();
    assert_eq!(json["target"], "any");
    assert_eq!(json["rule"]["name"], "p/rest");
    assert_eq!(json["statements"][0]["verb"], "select");
}
