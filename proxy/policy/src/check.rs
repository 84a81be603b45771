//! The tests in policy files: each statement is decided and planned as a session's would be, without a server.

use std::net::IpAddr;

use pointsman_sql::{Analyzer, LexRules};

use crate::catalog::Catalog;
use crate::class::{Class, classify};
use crate::decide::{Decision, StatementView};
use crate::file;
use crate::identity::Identity;
use crate::plan::{Held, Plan, Replicas, Role, SessionView, plan};
use crate::problem::{PolicyError, Problems};
use crate::set::PolicySet;
use crate::yaml::{Node, Place};

/// Who sends a test's statement if it does not say: user and database.
const DEFAULT_NAME: &str = "app";

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// One test of a file.
#[derive(Debug)]
pub(crate) struct Test {
    name: Option<String>,
    sql: String,
    place: Place,
    user: String,
    database: String,
    application: String,
    client: Option<IpAddr>,
    in_transaction: bool,
    pub(crate) rule: Option<Placed<String>>,
    target: Option<Placed<String>>,
    verdict: Option<Placed<String>>,
    sqlstate: Option<Placed<String>>,
}

impl Test {
    pub(crate) fn read(node: &Node) -> Self {
        let identity = |key: &str| node.get("as").and_then(|node| node.get(key));
        let text = |node: Option<&Node>| node.and_then(Node::text).map(str::to_owned);
        let expected = |key: &str| -> Option<Placed<String>> {
            let node = node.get("expect")?.get(key)?;
            Some(Placed { value: node.text()?.to_owned(), place: node.place })
        };
        Self {
            name: text(node.get("name")),
            sql: text(node.get("sql")).unwrap_or_default(),
            place: node.place,
            user: text(identity("user")).unwrap_or_else(|| DEFAULT_NAME.to_owned()),
            database: text(identity("database")).unwrap_or_else(|| DEFAULT_NAME.to_owned()),
            application: text(identity("application")).unwrap_or_default(),
            client: identity("client").and_then(Node::text).and_then(|text| text.parse().ok()),
            in_transaction: identity("in_transaction").and_then(Node::boolean).unwrap_or(false),
            rule: expected("rule"),
            target: expected("target"),
            verdict: expected("verdict"),
            sqlstate: expected("sqlstate"),
        }
    }

    fn identity(&self) -> Identity<'_> {
        Identity {
            user: &self.user,
            database: &self.database,
            application: &self.application,
            client: self.client,
        }
    }
}

/// Reads one policy file, runs its tests, and reports rules that none of them matches.
///
/// # Errors
/// Everything that is wrong with the file; if nothing is, every test that fails.
pub fn check(path: &str, text: &str) -> Result<Checked, Vec<PolicyError>> {
    let mut file = file::read(path, text)?;
    let tests = std::mem::take(&mut file.tests);
    let set = PolicySet::of(std::iter::once((path, file)));
    let catalog = Catalog::assumed(set.overrides());
    let mut problems = Problems::new(path);
    let mut seen = vec![false; set.rules().len()];
    for test in &tests {
        let (decision, plan) = outcome(&set, &catalog, test);
        for index in decision.matched().chain(decision.audited()) {
            seen[index] = true;
        }
        compare(&set, test, &decision, plan, &mut problems);
    }
    for (rule, _) in set.rules().iter().zip(&seen).filter(|(_, seen)| !tests.is_empty() && !**seen) {
        problems.add(rule.place, format!("rule `{}` matches none of this file's tests", rule.name));
    }
    let found = problems.finish();
    if found.is_empty() { Ok(Checked { rules: set.rules().len(), tests: tests.len() }) } else { Err(found) }
}

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Rules in the file.
    pub rules: usize,
    /// Tests that passed.
    pub tests: usize,
}

fn outcome(set: &PolicySet, catalog: &Catalog, test: &Test) -> (Decision, Plan) {
    let mut analyzer = Analyzer::<()>::new(1);
    let sql = test.sql.as_bytes();
    let rules = LexRules::default();
    let analysis = analyzer.analyze(sql, rules);
    let class: Class = classify(analysis.facts, catalog);
    let view = StatementView {
        facts: analysis.facts,
        sql,
        rules,
        literals: analysis.literals,
        commented: analysis.commented,
        in_transaction: test.in_transaction,
        parameter: &|_| None,
    };
    let decision = set.decide(&set.of_template(analysis.facts), &set.of_session(&test.identity()), &view);
    let session = SessionView {
        held: if test.in_transaction { Held::Transaction(Role::Primary) } else { Held::Nothing },
        serializable: false,
        read_only: false,
        replicas: Replicas::Fresh,
        wanted: if analysis.commented { crate::comment::hinted_route(sql, rules) } else { None },
    };
    let plan = plan(analysis.facts, &class, &decision, &session);
    (decision, plan)
}

fn compare(set: &PolicySet, test: &Test, decision: &Decision, plan: Plan, problems: &mut Problems<'_>) {
    let rule = decision.decided_by.and_then(|index| set.rules().get(index));
    let refusal = decision.refuse.as_deref();
    let verdict = match (refusal, decision.is_limited()) {
        (Some(_), _) => "refuse",
        (None, true) => "limit",
        (None, false) => "allow",
    };
    let pairs = [
        ("rule", &test.rule, rule.map_or("none", |rule| &rule.name)),
        ("target", &test.target, target(plan)),
        ("verdict", &test.verdict, verdict),
        ("sqlstate", &test.sqlstate, refusal.map_or("none", |refusal| &refusal.sqlstate)),
    ];
    for (what, expected, found) in pairs {
        let Some(expected) = expected else { continue };
        if expected.value != found {
            let shown = test.name.as_deref().unwrap_or(&test.sql);
            let message = format!("test `{shown}`: expected {what} `{}`, got `{found}`", expected.value);
            problems.add(expected.place, message);
        }
    }
    if [&test.rule, &test.target, &test.verdict, &test.sqlstate].iter().all(|expected| expected.is_none()) {
        problems.add(test.place, "the test expects nothing");
    }
}

/// A plan's target, as tests name it.
pub(crate) fn target(plan: Plan) -> &'static str {
    match plan {
        Plan::Refuse { .. } => "none",
        Plan::Single { any: true, .. } => "any",
        _ if plan.role() == Some(Role::Replica) => "replica",
        _ => "primary",
    }
}

#[cfg(test)]
mod tests;
