//! A rule from its part of the document. What the table of keys has already complained of is left out here.

use std::sync::Arc;

use pointsman_sql::{Analyzer, LexRules};

use super::cache;
use super::condition::{How, Touched};
use super::{Actions, Condition, LogLevel, Mode, Per, RateLimit, Refusal, Route, Rule};
use crate::format::leaf;
use crate::pattern::{Glob, NamePattern, Net};
use crate::problem::Problems;
use crate::touched::Consistency;
use crate::verb::Verbs;
use crate::yaml::{Node, Value};

/// What a refused client is told if the policy does not say: `insufficient_privilege`.
const SQLSTATE_DEFAULT: &str = "42501";

/// Whose rules are read.
pub(crate) struct Home {
    pub(crate) path: Arc<str>,
    pub(crate) policy: Arc<str>,
    pub(crate) mode: Mode,
}

/// Reads a mode.
pub(crate) fn mode(node: Option<&Node>) -> Option<Mode> {
    match node?.text()? {
        "enforce" => Some(Mode::Enforce),
        "audit" => Some(Mode::Audit),
        _ => None,
    }
}

/// Reads one rule.
pub(crate) fn read(node: &Node, home: &Home, problems: &mut Problems<'_>) -> Rule {
    let name = node.get("name");
    Rule {
        name: name.and_then(Node::text).unwrap_or_default().into(),
        policy: Arc::clone(&home.policy),
        path: Arc::clone(&home.path),
        place: name.unwrap_or(node).place,
        mode: mode(node.get("mode")).unwrap_or(home.mode),
        continues: flag(node.get("continue")).unwrap_or(false),
        actions: actions(node, problems),
        conditions: node.get("match").map(|node| conditions(node, problems)).unwrap_or_default(),
    }
}

fn flag(node: Option<&Node>) -> Option<bool> {
    node?.boolean()
}

fn actions(node: &Node, problems: &mut Problems<'_>) -> Actions {
    let text = |key: &str| node.get(key).and_then(Node::text);
    if let Some(route) = node.get("route")
        && route.text() == Some("shard")
    {
        problems.add(
            route.place,
            "`route: shard`: this version has no shards; there is `primary`, `replica` and `any`",
        );
    }
    Actions {
        route: text("route").and_then(Route::named),
        max_lag: text("max_lag").and_then(leaf::duration),
        consistency: match text("consistency") {
            Some("strict") => Some(Consistency::Strict),
            Some("session") => Some(Consistency::Session),
            Some("eventual") => Some(Consistency::Eventual),
            _ => None,
        },
        timeout: text("timeout").and_then(leaf::duration),
        refuse: node.get("refuse").map(|node| Arc::new(refusal(node))),
        rate_limit: node.get("rate_limit").and_then(rate_limit),
        log: match node.get("log").map(|node| &node.value) {
            Some(Value::Bool(true)) => Some(LogLevel::Info),
            Some(Value::Text(word)) if word == "info" => Some(LogLevel::Info),
            Some(Value::Text(word)) if word == "warn" => Some(LogLevel::Warn),
            _ => None,
        },
        overrides: text("overrides").map(|word| word == "allow"),
        cache: node.get("cache").and_then(cache::read).map(Arc::new),
        plugins: node.get("plugins").map(|node| texts(node).map(Into::into).collect()).unwrap_or_default(),
    }
}

fn refusal(node: &Node) -> Refusal {
    let text = |key: &str| node.get(key).and_then(Node::text);
    Refusal {
        sqlstate: text("sqlstate").unwrap_or(SQLSTATE_DEFAULT).into(),
        message: text("message").unwrap_or_default().into(),
        hint: text("hint").map(Into::into),
    }
}

fn rate_limit(node: &Node) -> Option<RateLimit> {
    let per = node.get("per")?.items().iter().filter_map(|item| match item.text()? {
        "user" => Some(Per::User),
        "application" => Some(Per::Application),
        "client" => Some(Per::Client),
        "template" => Some(Per::Template),
        _ => None,
    });
    let (count, every) = node.get("rate")?.text().and_then(leaf::rate)?;
    let burst = node.get("burst").and_then(count_of).unwrap_or(count);
    Some(RateLimit { per: per.collect(), count, every, burst })
}

pub(super) fn count_of(node: &Node) -> Option<u32> {
    match node.value {
        Value::Integer(number) => u32::try_from(number).ok(),
        _ => None,
    }
}

pub(super) fn texts(node: &Node) -> impl Iterator<Item = &str> {
    node.items().iter().filter_map(Node::text)
}

fn conditions(node: &Node, problems: &mut Problems<'_>) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for (key, value) in node.entries() {
        let globs = || texts(value).map(Glob::new).collect();
        match key.name.as_str() {
            "verb" => conditions.push(Condition::Verb(verbs(value))),
            "tables" => names(Touched::Tables, value, &mut conditions),
            "reads" => names(Touched::Reads, value, &mut conditions),
            "writes" => names(Touched::Writes, value, &mut conditions),
            "functions" => names(Touched::Functions, value, &mut conditions),
            "large" => conditions.extend(value.boolean().map(Condition::Large)),
            "where" => conditions.push(match value.get("eq") {
                None => Condition::NoWhere,
                Some(columns) => Condition::WhereEq(texts(columns).map(Into::into).collect()),
            }),
            "limit" => conditions.extend(match value.get("over") {
                None => Some(Condition::NoLimit),
                Some(most) => count_of(most).map(Condition::LimitOver),
            }),
            "template" => conditions.extend(template(value, problems)),
            "user" => conditions.push(Condition::User(globs())),
            "database" => conditions.push(Condition::Database(globs())),
            "application" => conditions.push(Condition::Application(globs())),
            "client" => {
                let nets = texts(value).filter_map(|text| Net::parse(text).ok());
                conditions.push(Condition::Client(nets.collect()));
            }
            "in_transaction" => conditions.extend(value.boolean().map(Condition::InTransaction)),
            "comment" => conditions
                .extend(pairs(value).map(|(key, value)| Condition::Comment(key.into(), Glob::new(value)))),
            "hint" => conditions
                .extend(pairs(value).map(|(key, value)| Condition::Hint(key.into(), Glob::new(value)))),
            "text" => {
                conditions.extend(value.text().and_then(|text| leaf::regex(text).ok()).map(Condition::Text));
            }
            _ => {}
        }
    }
    conditions
}

fn pairs(node: &Node) -> impl Iterator<Item = (&str, &str)> {
    node.entries().iter().filter_map(|(key, value)| Some((key.name.as_str(), value.text()?)))
}

fn verbs(node: &Node) -> Verbs {
    texts(node).filter_map(Verbs::named).fold(Verbs::default(), Verbs::with)
}

fn names(touched: Touched, node: &Node, conditions: &mut Vec<Condition>) {
    let patterns = |node: &Node| texts(node).map(NamePattern::new).collect();
    if !matches!(node.value, Value::Map(_)) {
        conditions.push(Condition::Names(touched, How::Any, patterns(node)));
        return;
    }
    for (key, how) in [("any", How::Any), ("all", How::All), ("only", How::Only)] {
        conditions.extend(node.get(key).map(|node| Condition::Names(touched, how, patterns(node))));
    }
}

/// A sample statement, understood.
fn template(node: &Node, problems: &mut Problems<'_>) -> Option<Condition> {
    let sample = node.text()?;
    let mut analyzer = Analyzer::<()>::new(1);
    let facts = analyzer.analyze(sample.as_bytes(), LexRules::default()).facts;
    if let Some(doubt) = facts.doubt {
        problems.add(node.place, format!("`template`: {doubt}"));
        return None;
    }
    if facts.statements.is_empty() {
        problems.add(node.place, "`template`: there is no statement in it");
        return None;
    }
    Some(Condition::Template(sample.into(), Box::new(Arc::unwrap_or_clone(Arc::clone(facts)))))
}
