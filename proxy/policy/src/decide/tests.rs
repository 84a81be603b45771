//! What rules add up to, in order; and a naive matcher that must agree.

use proptest::prelude::*;

use crate::identity::Identity;
use crate::rule::{Mode, Route};
use crate::set::PolicySet;
use crate::testing::{By, decide, file, set, shown};
use crate::touched::Consistency;

fn select(spec: &str) -> (PolicySet, crate::Decision) {
    let set = set(spec);
    let decision = decide(&set, "SELECT * FROM t", By::default());
    (set, decision)
}

#[test]
fn the_first_match_wins_and_ends_the_search() {
    let (_, decision) = select(
        "rules:\n- {name: a, match: {verb: delete}, route: primary}\n- {name: b, match: {tables: t}, route: any}\n- {name: c, timeout: 1s}",
    );
    assert_eq!((decision.decided_by, decision.route, decision.timeout), (Some(1), Some(Route::Any), None));
    assert_eq!(decision.matched().collect::<Vec<_>>(), [1]);
}

#[test]
fn rules_that_continue_add_up_and_the_first_to_set_something_wins() {
    let (set, decision) = select(
        "rules:
- {name: a, continue: true, timeout: 1s, log: info, rate_limit: {per: user, rate: 5/s}}
- {name: b, continue: true, timeout: 2s, max_lag: 3s, rate_limit: {per: [client, template], rate: 6/m, burst: 9}}
- {name: c, continue: true, match: {verb: delete}, overrides: allow}
- {name: d, match: {verb: select}, consistency: session, max_lag: 9s, log: warn}
- {name: e, route: primary}",
    );
    let second = std::time::Duration::from_secs(1);
    assert_eq!((decision.timeout, decision.max_lag), (Some(second), Some(3 * second)));
    assert_eq!((decision.consistency, decision.route), (Some(Consistency::Session), None));
    assert_eq!((decision.decided_by, decision.overrides_allowed), (Some(3), false));
    assert_eq!(decision.matched().collect::<Vec<_>>(), [0, 1, 3]);
    assert_eq!(decision.logs().collect::<Vec<_>>(), [0, 3]);
    let limits: Vec<_> =
        decision.rate_limits(&set).map(|(rule, limit)| (rule, limit.count, limit.burst)).collect();
    assert_eq!(limits, [(0, 5, 5), (1, 6, 9)]);
}

#[test]
fn without_a_rule_that_ends_the_search_the_first_decided() {
    let (_, decision) =
        select("rules:\n- {name: a, continue: true, timeout: 1s}\n- {name: b, continue: true, route: any}");
    assert_eq!((decision.decided_by, decision.routed_by), (Some(0), Some(1)));
}

#[test]
fn audited_rules_are_told_and_do_nothing() {
    let (_, decision) = select(
        "mode: audit\nrules:\n- {name: a, refuse: {message: no}, log: warn}\n- {name: b, route: primary, mode: enforce}",
    );
    assert_eq!((decision.refuse, decision.route), (None, Some(Route::Primary)));
    let (_, decision) = select("mode: audit\nrules:\n- {name: a, refuse: {message: no}, log: warn}");
    assert_eq!(decision.audited().collect::<Vec<_>>(), [0]);
    assert_eq!(decision.logs().collect::<Vec<_>>(), [0]);
    assert_eq!((decision.decided_by, decision.matched().count()), (None, 0));
}

#[test]
fn a_refusal_carries_what_the_client_is_told() {
    let (_, decision) = select("rules:\n- {name: a, refuse: {sqlstate: 57P01, message: no, hint: ask}}");
    let refusal = decision.refuse.unwrap();
    assert_eq!(
        (&*refusal.sqlstate, &*refusal.message, refusal.hint.as_deref()),
        ("57P01", "no", Some("ask"))
    );
    let (_, decision) = select("rules:\n- {name: a, refuse: {message: no}}");
    assert_eq!(&*decision.refuse.unwrap().sqlstate, "42501");
}

#[test]
fn an_empty_set_decides_nothing() {
    let set = PolicySet::default();
    assert!(set.is_empty());
    assert_eq!(decide(&set, "DELETE FROM t", By::default()), crate::Decision::default());
}

#[test]
fn tables_kept_on_the_primary_are_noticed_where_they_are_read() {
    let set = set("tables: {queue: {read_from: primary}}");
    assert!(!set.is_empty());
    assert!(decide(&set, "SELECT * FROM queue", By::default()).keep_on_primary);
    assert!(!decide(&set, "INSERT INTO queue VALUES (1)", By::default()).keep_on_primary);
}

#[test]
fn limits_are_counted_by_what_they_are_per() {
    let set = set("rules:\n- {name: a, rate_limit: {per: [user, template], rate: 5/s}}");
    let key = |user, sql: &str| {
        let mut analyzer = pointsman_sql::Analyzer::<()>::new(1);
        let facts = analyzer.analyze(sql.as_bytes(), pointsman_sql::LexRules::default()).facts.clone();
        let identity = Identity { user, application: "x", ..Identity::default() };
        set.rules()[0].actions.rate_limit.as_ref().unwrap().key(&identity, &facts)
    };
    assert_eq!(key("a", "SELECT 1"), key("a", "SELECT 2"));
    assert_ne!(key("a", "SELECT 1"), key("b", "SELECT 1"));
    assert_ne!(key("a", "SELECT 1"), key("a", "SELECT 1, 2"));
}

#[test]
fn sets_have_versions_and_policies_one_name_each() {
    let named = |path: &str, spec: &str| (path.to_owned(), file(spec));
    let (first, second) = (set("mode: audit"), set("mode: audit"));
    assert!(0 < first.version() && first.version() < second.version());
    assert!(!first.of_session(&Identity::default()).is_of(&second));
    let told =
        PolicySet::load(&[named("a.yaml", "mode: audit"), named("b.yaml", "mode: audit")]).unwrap_err();
    assert_eq!(shown(&told), "b.yaml:3:18: another policy is called `p`: a.yaml");
    let other = file("rules: [{name: b, log: true, match: {user: x}}]").replace("name: p", "name: q");
    let told =
        PolicySet::load(&[named("a.yaml", "rules: [{name: a, log: true}]"), ("b.yaml".to_owned(), other)]);
    assert_eq!(
        shown(&told.unwrap_err()),
        "b.yaml:5:18: rule `b` is never reached: `a` (a.yaml:5:18) matches all that it does and ends the search"
    );
}

#[test]
fn there_is_a_limit_to_how_many_rules() {
    let rule = |at| format!("- {{name: r{at}, continue: true, log: true, match: {{user: u{at}}}}}\n");
    let rules: String = (0..=crate::RULES_MAX).map(rule).collect();
    let told = crate::testing::errors(&format!("rules:\n{rules}"));
    assert_eq!(told, "p.yaml:3:18: there are more than 10000 rules");
}

#[test]
fn what_a_text_says_is_read_once_and_for_each_rule() {
    let set = set("rules:
- {name: in, continue: true, match: {in_transaction: true, limit: {over: 5}}, log: true}
- {name: out, continue: true, match: {in_transaction: false, limit: {over: 5}}, log: true}
- {name: more, continue: true, match: {limit: {over: 9}, text: x}, log: true}
- {name: job, continue: true, match: {comment: {job: a}}, log: true}
- {name: hint, continue: true, match: {hint: {job: b}, limit: {over: 9}}, log: true}");
    let matched = |sql: &str, in_transaction: bool| {
        decide(&set, sql, By { in_transaction, ..By::default() }).matched().collect::<Vec<_>>()
    };
    assert!(matched("SELECT 1 LIMIT 5", true).is_empty());
    assert_eq!(matched("SELECT 1 LIMIT 6", true), [0]);
    assert_eq!(matched("SELECT 1 LIMIT 6", false), [1]);
    assert_eq!(matched("SELECT x LIMIT 10", false), [1, 2]);
    assert_eq!(matched("SELECT 1 /*job='a'*/ /* pointsman: job=b */", true), [0, 3, 4]);
    assert_eq!(matched("SELECT 1 LIMIT 1; SELECT x LIMIT 10", true), [0, 2], "one of several statements");
}

#[test]
fn more_rules_than_a_few_words_hold() {
    let rules: Vec<String> = (0..700)
        .map(|at| format!("- {{name: r{at}, continue: true, timeout: 1s, match: {{user: [u{at}, x]}}}}"))
        .collect();
    let set = set(&format!("rules:\n{}", rules.join("\n")));
    let by = |user| By { identity: Identity { user, ..Identity::default() }, ..By::default() };
    assert_eq!(decide(&set, "SELECT 1", by("u650")).matched().collect::<Vec<_>>(), [650]);
    assert_eq!(decide(&set, "SELECT 1", by("x")).matched().count(), 700);
}

const CONDITIONS: &[&str] = &[
    "verb: [select]",
    "verb: [insert, delete]",
    "tables: [t]",
    "tables: {all: [t, u]}",
    "reads: {only: [t]}",
    "large: true",
    "functions: [f]",
    "where: none",
    "where: {eq: [a]}",
    "limit: none",
    "limit: {over: 10}",
    "template: SELECT * FROM t WHERE a = 1",
    "user: ['a*']",
    "database: [d]",
    "in_transaction: true",
    "hint: {k: v}",
    "text: '[0-9]{3}'",
];
const STATEMENTS: &[&str] = &[
    "SELECT * FROM t WHERE a = 1",
    "SELECT * FROM t WHERE a = 1000",
    "SELECT * FROM t, u LIMIT 5",
    "SELECT f() FROM t LIMIT 500",
    "/* pointsman: k=v */ SELECT * FROM u LIMIT $1",
    "INSERT INTO t SELECT * FROM u",
    "DELETE FROM t",
    "DELETE FROM u; SELECT * FROM t LIMIT 1",
    "BEGIN",
    "",
];

/// What a rule's conditions are, one by one, each put in a set of its own.
fn naive(conditions: &[&str], sql: &str, by: By<'_>) -> bool {
    const OF_STATEMENT: &[&str] = &["verb", "tables", "reads", "large", "functions", "where", "limit"];
    let alone = |condition: &str, sql: &str| {
        let spec = format!(
            "tables: {{t: {{large: true}}}}\nrules: [{{name: a, log: true, match: {{{condition}}}}}]"
        );
        decide(&set(&spec), sql, by).decided_by.is_some()
    };
    let (of_statement, others): (Vec<&str>, Vec<&str>) =
        conditions.iter().partition(|condition| OF_STATEMENT.iter().any(|key| condition.starts_with(key)));
    let parts: Vec<&str> = sql.split(';').collect();
    others.iter().all(|condition| alone(condition, sql))
        && (of_statement.is_empty()
            || parts.iter().any(|part| of_statement.iter().all(|condition| alone(condition, part))))
}

/// Rules of random conditions, no two under one key.
fn rules() -> impl Strategy<Value = Vec<(Vec<&'static str>, bool, bool)>> {
    let conditions = proptest::sample::subsequence(CONDITIONS.to_vec(), 0..4).prop_map(|mut chosen| {
        let key = |text: &str| text.split(':').next().map(str::to_owned);
        chosen.dedup_by(|b, a| key(a) == key(b));
        chosen
    });
    proptest::collection::vec((conditions, any::<bool>(), any::<bool>()), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn bits_and_decisions_agree_with_a_naive_matcher(
        rules in rules(),
        sql in proptest::sample::select(STATEMENTS),
        user in proptest::sample::select(vec!["ab", "b"]),
        in_transaction in any::<bool>(),
    ) {
        let mut spec = "tables: {t: {large: true}}\nrules:\n".to_owned();
        for (index, (conditions, continues, audit)) in rules.iter().enumerate() {
            let mode = if *audit { "audit" } else { "enforce" };
            spec.push_str(&format!(
                "- {{name: r{index}, log: true, continue: {continues}, mode: {mode}, match: {{{}}}}}\n",
                conditions.join(", ")
            ));
        }
        // What the lints refuse is theirs to test.
        let Ok(set) = PolicySet::load(&[("p.yaml".to_owned(), file(&spec))]) else { return Ok(()) };
        let identity = Identity { user, database: "d", ..Identity::default() };
        let by = By { identity, in_transaction, parameter: Some(11) };
        let decision = decide(&set, sql, by);
        let (mut matched, mut audited) = (Vec::new(), Vec::new());
        for (index, (conditions, continues, _)) in rules.iter().enumerate() {
            if !naive(conditions, sql, by) {
                continue;
            }
            if set.rules()[index].mode == Mode::Audit {
                audited.push(index);
                continue;
            }
            matched.push(index);
            if !continues {
                break;
            }
        }
        prop_assert_eq!(decision.matched().collect::<Vec<_>>(), matched, "{}\n{}", spec, sql);
        prop_assert_eq!(decision.audited().collect::<Vec<_>>(), audited, "{}\n{}", spec, sql);
    }
}
