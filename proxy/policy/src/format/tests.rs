//! Whole files: what is wrong with them, all at once and with its place; the schema; the reference.

use super::{FILE, Key, Shape, schema};
use crate::set::PolicySet;
use crate::testing::{HEAD, errors, file, shown};

fn wrong(text: &str) -> String {
    let errors = PolicySet::load(&[("p.yaml".to_owned(), text.to_owned())]).unwrap_err();
    shown(&errors)
}

#[test]
fn everything_that_is_wrong_is_told_at_once_in_order() {
    let told = errors(
        "mode: enforced\nrules:\n  - name: a\n    match: {verb: [selct], tabels: [t], limit: {over: -1}}\n    route: replicas\n    log: 3\n  - nam: b\n    timeout: 5\n",
    );
    let expected = "\
p.yaml:5:9: `spec.mode`: `enforced` is unknown; did you mean `enforce`?
p.yaml:8:22: `spec.rules[0].match.verb[0]`: `selct` is unknown; did you mean `select`?
p.yaml:8:30: unknown key `tabels` in `spec.rules[0].match`; did you mean `tables`?
p.yaml:8:57: `spec.rules[0].match.limit.over`: -1 is not from 0 to 4294967295
p.yaml:9:14: `spec.rules[0].route`: `replicas` is unknown; did you mean `replica`?
p.yaml:10:12: `spec.rules[0].log`: expected `info` or `warn`, or `true` or `false`, found `3`
p.yaml:11:7: unknown key `nam` in `spec.rules[1]`; did you mean `name`?
p.yaml:11:7: `spec.rules[1].name` is missing
p.yaml:12:16: `spec.rules[1].timeout`: expected a duration such as `250ms`, `5s`, `10m` or `1h`, found `5`; put it in quotes";
    assert_eq!(told, expected);
}

#[test]
fn values_are_checked_where_they_stand() {
    for (key, part) in [
        (
            "text: '('",
            "8:13: `spec.rules[0].match.text`: expected a regular expression, found `(`: unclosed group",
        ),
        ("text: 'a{1000}{1000}{10}'", "it compiles to more than"),
        (
            "client: [10.0.0.0/8, 10.0.0.1/8]",
            "8:28: `spec.rules[0].match.client[1]`: expected an address or a network",
        ),
        ("client: 10.0.0.0/40", "the length is not from 0 to 32"),
        ("client: localhost", "expected an address or a network"),
        ("user: 42", "expected text or a list of such, found `42`"),
        ("user: []", "is an empty list"),
        ("tables: {any: []}", "`spec.rules[0].match.tables.any` is an empty list"),
        ("tables: {some: [t]}", "unknown key `some`"),
        ("tables: a.b.c", "expected a name such as"),
        ("where: nothing", "`nothing` is unknown; there is `none`"),
        ("where: {eq: []}", "empty list"),
        ("where: {}", "`spec.rules[0].match.where.eq` is missing"),
        ("limit: 5", "expected `none`, or keys with values, found `5`"),
        ("in_transaction: maybe", "expected `true` or `false`, found `maybe`"),
        ("comment: {}", "`spec.rules[0].match.comment` is empty"),
        ("comment: {a: 1}", "expected text, found `1`; put it in quotes"),
        ("template: 'SELEC 1'", "`template`: the parser does not accept the text"),
        ("template: ';'", "`template`: there is no statement in it"),
        ("verb: [select, banana]", "`banana` is unknown; there is `select`"),
    ] {
        let told = errors(&format!("rules:\n- name: a\n  match:\n    {key}\n  log: true\n"));
        assert!(told.contains(part), "{key}: {told}");
        assert_eq!(told.lines().count(), 1, "{key}: {told}");
    }
    for (key, part) in [
        ("route: shard", "6:12: `route: shard`: this version has no shards"),
        ("refuse: {sqlstate: 42501, message: no}", "put it in quotes"),
        ("refuse: {sqlstate: '00000', message: no}", "expected an SQLSTATE of an error"),
        ("refuse: {sqlstate: 4250a, message: no}", "expected an SQLSTATE of an error"),
        ("refuse: {}", "`spec.rules[0].refuse.message` is missing"),
        ("rate_limit: {per: user, rate: 100}", "expected a rate such as"),
        ("rate_limit: {per: user, rate: 0/s}", "expected a rate such as"),
        ("rate_limit: {per: [user, table], rate: 1/s}", "`table` is unknown"),
        ("rate_limit: {rate: 1/s}", "`spec.rules[0].rate_limit.per` is missing"),
        ("timeout: 5", "expected a duration"),
        ("max_lag: 5 parsecs", "expected a duration"),
        ("consistency: strong", "`strong` is unknown"),
        ("log: debug", "`debug` is unknown"),
        ("overrides: true", "expected `allow` or `deny`, found `true`"),
        ("continue: 1", "expected `true` or `false`, found `1`"),
        ("mode: dry", "`dry` is unknown"),
        ("cache: {}", "`spec.rules[0].cache.ttl` is missing"),
    ] {
        let told = errors(&format!("rules:\n- {key}\n  name: a\n"));
        assert!(told.contains(part), "{key}: {told}");
        assert_eq!(told.lines().count(), 1, "{key}: {told}");
    }
}

#[test]
fn facts_about_functions_and_tables_are_checked() {
    let told = errors(
        "functions: {f: volatil, g: {reads: []}, h: {volatility: stable, reads: [t]}}\ntables: {t: {big: true}, q: {read_from: replica}}",
    );
    for part in [
        "5:18: `spec.functions.f`: `volatil` is unknown; did you mean `volatile`?",
        "`spec.functions.g.volatility` is missing",
        "`spec.functions.g.reads` is an empty list",
        "unknown key `big`",
        "`spec.tables.q.read_from`: `replica` is unknown",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    assert_eq!(told.lines().count(), 5, "{told}");
    let told = errors("functions: {'f*': stable, a.b.c: stable}\ntables: {a..b: {large: true}}");
    assert_eq!(told.lines().count(), 3, "{told}");
    assert!(told.starts_with("p.yaml:5:15: `spec.functions`: expected a function's name such as"), "{told}");
    let set = crate::testing::set(
        "functions: {log_visit: volatile, app.pure: {volatility: immutable, reads: [t, s.u]}}",
    );
    assert_eq!(set.overrides().get("public", "log_visit"), Some(crate::catalog::Volatility::Volatile));
    assert_eq!(set.overrides().reads("app", "pure").unwrap(), ["t", "s.u"]);
    assert_eq!(set.overrides().reads("public", "pure"), None);
}

#[test]
fn bad_documents_are_refused_at_a_place_and_quickly() {
    let spec = |text: &str| format!("{HEAD}{text}");
    let started = std::time::Instant::now();
    for (text, part) in [
        ("".to_owned(), "p.yaml:1:1: "),
        ("[]".to_owned(), "expected keys with values"),
        (spec("  rules: [\n"), "p.yaml:"),
        (
            spec("  mode: audit\n  mode: audit\n"),
            "p.yaml:6:3: `mode` is written twice in `spec`, first in line 5",
        ),
        (format!("{HEAD}  mode: audit\n---\n{HEAD}  mode: audit\n"), "a second document begins here"),
        (HEAD.replace("v1", "v2"), "p.yaml:1:13: `apiVersion` must be `pointsman/v1`, not `pointsman/v2`"),
        (HEAD.replace("Policy", "Polity"), "did you mean `Policy`?"),
        (HEAD.replace("{name: p}", "{}"), "`metadata.name` is missing"),
        (spec("  rules: &a [*a]\n"), "p.yaml:5:"),
        (spec("  rules: *nowhere\n"), "p.yaml:5:"),
        (spec(&format!("  rules: {}\n", "[".repeat(5000))), "p.yaml:5:"),
        (spec(&format!("  x: {}{}\n", "{a: ".repeat(100), "}".repeat(100))), "p.yaml:5:"),
        (spec(&"#".repeat(super::super::yaml::DOCUMENT_BYTES_MAX)), "p.yaml:1:1: the file has"),
        (spec(&bomb()), "p.yaml:"),
        (spec("  rules: !!binary aGk=\n"), "p.yaml:5:"),
        (spec("  rules: \u{0}\n"), "p.yaml:"),
    ] {
        let told = wrong(&text);
        assert!(told.contains(part), "{part}\n{told}");
        assert!(!told.is_empty() && told.lines().all(|line| line.len() < 1000), "{told}");
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}

/// A billion nodes in a few lines.
fn bomb() -> String {
    let mut text = "  a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (last, next) in ('a'..='h').zip('b'..='i') {
        let list = vec![format!("*{last}"); 10].join(", ");
        text.push_str(&format!("  {next}: &{next} [{list}]\n"));
    }
    text
}

#[test]
fn a_document_of_no_rules_is_well() {
    for text in [HEAD.to_owned(), HEAD.replace("spec:\n", ""), file("mode: audit")] {
        let loaded = PolicySet::load(&[("p.yaml".to_owned(), text.replace("spec:\n\n", ""))]);
        if text.ends_with("spec:\n") {
            assert!(shown(&loaded.unwrap_err()).contains("`spec`: expected keys with values, found nothing"));
        } else {
            assert!(loaded.unwrap().is_empty());
        }
    }
}

#[test]
fn the_committed_schema_is_current() {
    let committed = include_str!("../../../../policies/policy.schema.json");
    assert_eq!(committed, schema(), "pointsman schema > policies/policy.schema.json");
}

#[test]
fn the_reference_names_every_key_and_verb() {
    fn keys(shape: &Shape, found: &mut Vec<&'static str>) {
        let inner = |key: &Key, found: &mut Vec<&'static str>| {
            found.push(key.name);
            keys(&key.shape, found);
        };
        match shape {
            Shape::Map(list) => list.iter().for_each(|key| inner(key, found)),
            Shape::List(shape) | Shape::Sequence(shape) | Shape::Names(_, shape) => keys(shape, found),
            Shape::Or(shapes) => shapes.iter().for_each(|shape| keys(shape, found)),
            Shape::Words(words) => found.extend(*words),
            Shape::Text | Shape::Bool | Shape::Count | Shape::Integer | Shape::Leaf(_) => {}
        }
    }
    let reference = include_str!("../../POLICY.md");
    let mut found = Vec::new();
    keys(&FILE, &mut found);
    let missing: Vec<_> = found.iter().filter(|key| !reference.contains(**key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for example in reference.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        if let Err(errors) = crate::check("POLICY.md", example) {
            panic!("{example}\n{}", shown(&errors));
        }
    }
}
