//! Why a text goes where it goes: the facts, the class, the rules that matched and those that almost did, and the plan.
//! It decides and plans by the functions that live traffic is decided and planned by.

use std::fmt;

use pointsman_sql::{KeyValue, Statement, ValueRef};
use serde::Serialize;

use crate::check::target;
use crate::class::{Access, Class};
use crate::decide::{Decision, StatementView};
use crate::identity::Identity;
use crate::plan::{Plan, Role, SessionView, plan};
use crate::reading::Reading;
use crate::rule::{Condition, Rule};
use crate::set::PolicySet;
use crate::verb;

/// What is to be explained.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The policies.
    pub set: &'a PolicySet,
    /// The text.
    pub view: StatementView<'a>,
    /// What the catalog makes of it.
    pub class: &'a Class,
    /// Who asks.
    pub identity: Identity<'a>,
    /// The session and the replicas.
    pub session: SessionView,
}

/// Why a text goes where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The text.
    pub sql: String,
    /// Its statements.
    pub statements: Vec<Told>,
    /// `read`, `primary-read`, `session` or `write`.
    pub class: &'static str,
    /// Why it is not simply a read.
    pub reasons: Vec<String>,
    /// The rule that decided.
    pub rule: Option<RuleTold>,
    /// The enforced rules that matched.
    pub matched: Vec<RuleTold>,
    /// The audited rules that matched.
    pub audited: Vec<RuleTold>,
    /// The rules that almost matched: all conditions but one, or all but for a rule before.
    pub near: Vec<NearMiss>,
    /// What the rules ask for beyond a route.
    pub demands: Vec<String>,
    /// `primary`, `replica`, `any` (a replica or the primary) or `none` (it is refused).
    pub target: &'static str,
    /// What decided: a policy's rule, or the plan's own.
    pub decided: String,
    /// What that means.
    pub why: String,
    /// What becomes of it over shards, item and value line by line; empty for a database that has none.
    pub shards: Vec<(String, String)>,
}

/// What is known of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Its verb, as policies know it.
    pub verb: &'static str,
    /// Relations read.
    pub reads: Vec<String>,
    /// Relations written.
    pub writes: Vec<String>,
    /// Functions called.
    pub functions: Vec<String>,
    /// Columns pinned, with what pins them.
    pub keys: Vec<String>,
}

/// A rule, as explanations show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleTold {
    /// `policy/rule`.
    pub name: String,
    /// `file:line:column`.
    pub place: String,
    /// What it does.
    pub actions: String,
}

/// A rule that almost matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NearMiss {
    /// The rule.
    pub rule: RuleTold,
    /// The one condition that does not hold, or the rule that ended the search before.
    pub because: String,
}

/// Explains one text.
#[must_use]
pub fn explain(question: &Question<'_>) -> Explanation {
    let Question { set, view, class, identity, session } = question;
    let decision = set.decide(&set.of_template(view.facts), &set.of_session(identity), view);
    let plan = plan(view.facts, class, &decision, session);
    let told = |index: usize| set.rules().get(index).map(RuleTold::of);
    let by = plan.by().and_then(|index| set.rules().get(index));
    Explanation {
        sql: String::from_utf8_lossy(view.sql).trim().to_owned(),
        statements: view.facts.statements.iter().map(Told::of).collect(),
        class: match class.access {
            Access::Session => "session",
            Access::Read => "read",
            Access::PrimaryRead => "primary-read",
            Access::Write => "write",
        },
        reasons: class.reasons.iter().map(ToString::to_string).collect(),
        rule: decision.decided_by.and_then(told),
        matched: decision.matched().filter_map(told).collect(),
        audited: decision.audited().filter_map(told).collect(),
        near: near_misses(question, &decision),
        demands: demands(set, &decision),
        target: target(plan),
        decided: match by {
            Some(rule) if plan.rule() == "policy" => rule.to_string(),
            _ => plan.rule().to_owned(),
        },
        why: why(plan, by),
        shards: Vec::new(),
    }
}

fn why(plan: Plan, by: Option<&Rule>) -> String {
    match (plan, by) {
        (Plan::Held { pin: Some(pin), role, .. }, _) => {
            let role = if role == Role::Primary { "primary" } else { "replica" };
            format!("the session is pinned to a connection to the {role}: {pin}")
        }
        (Plan::Refuse { .. }, Some(rule)) => format!("rule {rule} refuses it"),
        (Plan::Single { impossible: true, .. }, Some(rule)) => {
            format!("{}, though rule {rule} asks for a replica", plan.why())
        }
        (Plan::Single { impossible: true, .. }, None) => {
            format!("{}, though the developer asks for a replica", plan.why())
        }
        (_, Some(rule)) if plan.rule() == "policy" => format!("rule {rule} says so"),
        _ => plan.why().to_owned(),
    }
}

fn demands(set: &PolicySet, decision: &Decision) -> Vec<String> {
    let mut demands = Vec::new();
    demands.extend(decision.max_lag.map(|lag| format!("max_lag: {lag:?}")));
    demands.extend(decision.consistency.map(|level| format!("consistency: {level}")));
    demands.extend(decision.timeout.map(|limit| format!("timeout: {limit:?}")));
    demands.extend(decision.rate_limits(set).map(|(index, limit)| {
        let per: Vec<String> = limit.per.iter().map(ToString::to_string).collect();
        let rule = &set.rules()[index];
        format!("rate_limit: {} in {:?} per {} ({rule})", limit.count, limit.every, per.join(", "))
    }));
    demands.extend(decision.refuse.as_ref().map(|refusal| {
        let hint = refusal.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("refuse: {}: {}{hint}", refusal.sqlstate, refusal.message)
    }));
    demands.extend(decision.cache.as_ref().map(|(index, caching)| {
        let rule = &set.rules()[*index];
        format!("cache: {caching} ({rule})")
    }));
    demands.extend(decision.plugged().map(|index| {
        let rule = &set.rules()[index];
        format!("plugins: {} ({rule})", rule.actions.plugins.join(", "))
    }));
    if decision.overrides_allowed {
        demands.push("overrides: allow".to_owned());
    }
    demands
}

fn near_misses(question: &Question<'_>, decision: &Decision) -> Vec<NearMiss> {
    let done: Vec<usize> = decision.matched().chain(decision.audited()).collect();
    let rules = question.set.rules().iter().enumerate();
    rules
        .filter(|(index, _)| !done.contains(index))
        .filter_map(|(_, rule)| {
            let because = match failed(rule, question).as_slice() {
                [] => {
                    let ended = question.set.rules().get(decision.decided_by?)?;
                    format!("comes after {ended}, which ended the search")
                }
                // A rule of one condition is not near because of that one.
                [one] if rule.conditions.len() > 1 => format!("not met: {one}"),
                _ => return None,
            };
            Some(NearMiss { rule: RuleTold::of(rule), because })
        })
        .collect()
}

/// The conditions of a rule that do not hold, for the statement that meets most of them.
fn failed<'r>(rule: &'r Rule, question: &Question<'_>) -> Vec<&'r Condition> {
    let Question { set, view, identity, .. } = question;
    let (of_statement, others): (Vec<_>, Vec<_>) =
        rule.conditions.iter().partition(|condition| condition.is_of_statement());
    let reading = Reading::of(view);
    let mut failed = others;
    failed.retain(|condition| {
        !(condition.of_session(identity) && condition.of_facts(view.facts) && condition.of_text(&reading))
    });
    let unmet = |statement: &Statement| {
        let mut unmet = of_statement.clone();
        unmet.retain(|condition| !condition.with_values(statement, set.tables(), &reading));
        unmet
    };
    let best = view.facts.statements.iter().map(unmet).min_by_key(Vec::len);
    failed.extend(best.unwrap_or(of_statement));
    failed
}

impl RuleTold {
    fn of(rule: &Rule) -> Self {
        Self {
            name: rule.to_string(),
            place: format!("{}:{}:{}", rule.path, rule.place.line, rule.place.column),
            actions: rule.actions.to_string(),
        }
    }
}

impl Told {
    fn of(statement: &Statement) -> Self {
        fn names<T: ToString>(list: &[T]) -> Vec<String> {
            list.iter().map(ToString::to_string).collect()
        }
        Self {
            verb: verb::word(statement),
            reads: names(&statement.reads),
            writes: names(&statement.writes),
            functions: names(&statement.functions),
            keys: statement.keys.predicates.iter().map(|key| key_told(&key.column, &key.value)).collect(),
        }
    }
}

fn key_told(column: &str, value: &KeyValue) -> String {
    let one = |value: &ValueRef| match value {
        ValueRef::Literal(_) | ValueRef::Negative(_) => "literal".to_owned(),
        ValueRef::Param(number) => format!("${number}"),
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Bool(value) => value.to_string(),
        ValueRef::Default | ValueRef::Other => "expression".to_owned(),
    };
    match value {
        KeyValue::Eq(value) => format!("{column} = {}", one(value)),
        KeyValue::In(values) => format!("{column} IN ({} values)", values.len()),
        KeyValue::AnyArray(value) => format!("{column} = ANY ({})", one(value)),
    }
}

impl Explanation {
    /// All of it as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        format!("{:#}", serde_json::json!(self))
    }

    /// Item and value, line by line, as `EXPLAIN ROUTE` answers.
    #[must_use]
    pub fn rows(&self) -> Vec<(String, String)> {
        let mut rows = Rows(Vec::new());
        for told in &self.statements {
            rows.add("statement", told.verb);
            rows.list("reads", &told.reads);
            rows.list("writes", &told.writes);
            rows.list("calls", &told.functions);
            rows.list("keys", &told.keys);
        }
        rows.add("class", self.class);
        for reason in &self.reasons {
            rows.add("because", reason);
        }
        rows.add("rule", self.rule.as_ref().map_or_else(|| "none".to_owned(), RuleTold::to_string));
        for rule in self.matched.iter().filter(|rule| Some(*rule) != self.rule.as_ref()) {
            rows.add("also", rule.to_string());
        }
        for rule in &self.audited {
            rows.add("audited", rule.to_string());
        }
        for miss in &self.near {
            rows.add("almost", format!("{}: {}", miss.rule.name, miss.because));
        }
        for demand in &self.demands {
            rows.add("demand", demand);
        }
        rows.add("target", self.target);
        rows.add("decided by", &self.decided);
        rows.add("why", &self.why);
        rows.0.extend(self.shards.iter().cloned());
        rows.0
    }
}

struct Rows(Vec<(String, String)>);

impl Rows {
    fn add(&mut self, item: &str, value: impl Into<String>) {
        self.0.push((item.to_owned(), value.into()));
    }

    fn list(&mut self, item: &str, values: &[String]) {
        if !values.is_empty() {
            self.add(item, values.join(", "));
        }
    }
}

/// `guard-rails/no-where (policies/guard-rails.yaml:9:13): refuse: 42501`
impl fmt::Display for RuleTold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name, self.place, self.actions)
    }
}

/// The rows, aligned.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let width = rows.iter().map(|(item, _)| item.len()).max().unwrap_or(0);
        writeln!(f, "{}", self.sql)?;
        for (item, value) in rows {
            writeln!(f, "  {item:width$}  {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
