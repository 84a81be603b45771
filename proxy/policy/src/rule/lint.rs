//! Rules that cannot be meant: contradictions within one rule, and rules that an earlier one hides.

mod caching;

use super::condition::{How, Met, Touched};
use super::{Condition, Mode, Route, Rule, imply};
use crate::pattern::NamePattern;
use crate::problem::Problems;
use crate::tables::Tables;
use crate::verb::Verbs;
use crate::yaml::{Node, Place};

/// Complains of what contradicts itself in one rule, whose part of the document is `node`.
pub(crate) fn alone(rule: &Rule, node: &Node, tables: &Tables, problems: &mut Problems<'_>) {
    let mut lint = Lint { rule, node, problems };
    lint.actions();
    lint.refusal();
    lint.routing();
    lint.verbs();
    lint.names();
    lint.sample(tables);
    lint.caching();
}

/// Complains if an earlier rule ends the search wherever this one would match.
pub(crate) fn against_earlier(rule: &Rule, earlier: &[&Rule], tables: &Tables, problems: &mut Problems<'_>) {
    let hides = |other: &&&Rule| {
        other.mode == Mode::Enforce && !other.continues && imply::covers(other, rule, tables)
    };
    if let Some(other) = earlier.iter().find(hides) {
        let file = if other.path == rule.path { String::new() } else { format!("{}:", other.path) };
        problems.add(
            rule.place,
            format!(
                "rule `{}` is never reached: `{}` ({file}{}:{}) matches all that it does and ends the search",
                rule.name, other.name, other.place.line, other.place.column
            ),
        );
    }
}

struct Lint<'r, 'p, 'f> {
    rule: &'r Rule,
    node: &'r Node,
    problems: &'p mut Problems<'f>,
}

impl Lint<'_, '_, '_> {
    /// The place of a key's value, of the rule or of its `match`.
    fn place(&self, key: &str) -> Place {
        let inner = self.node.get("match").and_then(|node| node.get(key));
        self.node.get(key).or(inner).unwrap_or(self.node).place
    }

    fn add(&mut self, key: &str, message: impl Into<String>) {
        let place = self.place(key);
        self.problems.add(place, format!("rule `{}`: {}", self.rule.name, message.into()));
    }

    fn has(&self, key: &str) -> bool {
        self.node.get(key).is_some()
    }

    fn actions(&mut self) {
        let known = [
            "route",
            "max_lag",
            "consistency",
            "timeout",
            "refuse",
            "rate_limit",
            "log",
            "overrides",
            "cache",
            "plugins",
        ];
        if !known.iter().any(|key| self.has(key)) {
            self.add("name", format!("does nothing: give it one of `{}`", known.join("`, `")));
        }
        if self.node.get("log").and_then(Node::boolean) == Some(false) {
            self.add("log", "`log: false` says nothing: leave the key out");
        }
        if let Some(limit) = &self.rule.actions.rate_limit
            && limit.burst == 0
        {
            self.add("rate_limit", "a burst of 0 lets nothing through: use `refuse`");
        }
    }

    fn refusal(&mut self) {
        if !self.has("refuse") {
            return;
        }
        for key in
            ["route", "max_lag", "consistency", "timeout", "rate_limit", "overrides", "cache", "plugins"]
        {
            if self.has(key) {
                self.add(key, format!("`refuse` and `{key}` contradict each other: nothing is run"));
            }
        }
        if self.rule.continues {
            self.add("continue", "`refuse` ends the search: it cannot `continue`");
        }
    }

    fn routing(&mut self) {
        let steers = ["route", "max_lag", "consistency"];
        if self.rule.actions.route == Some(Route::Primary) {
            for key in ["max_lag", "consistency"] {
                if self.has(key) {
                    self.add(key, format!("`{key}` means nothing with `route: primary`"));
                }
            }
        }
        let conditions = &self.rule.conditions;
        if conditions.iter().any(|condition| matches!(condition, Condition::InTransaction(true))) {
            for key in steers.into_iter().filter(|key| self.has(key)).collect::<Vec<_>>() {
                self.add(
                    key,
                    format!(
                        "`{key}` means nothing with `in_transaction: true`: the transaction stays where it is"
                    ),
                );
            }
        }
        let writes = self.certain_write(self.rule.actions.route == Some(Route::Replica));
        for key in steers {
            let asks = key != "route" || !matches!(self.rule.actions.route, None | Some(Route::Primary));
            if asks
                && self.has(key)
                && let Some(why) = &writes
            {
                self.add(key, format!("`{key}` is for reads, and {why}: writes always go to the primary"));
            }
        }
    }

    /// Why what this rule matches, or (if `any`) some of what it names, can only be a write.
    fn certain_write(&self, any: bool) -> Option<String> {
        self.rule.conditions.iter().find_map(|condition| match condition {
            Condition::Verb(verbs) => {
                let sure = verbs.writing().filter(|_| any || verbs.all_write());
                sure.map(|verb| format!("`{verb}` never only reads"))
            }
            Condition::Names(Touched::Writes, ..) => Some("`writes` asks for writes".to_owned()),
            _ => None,
        })
    }

    fn verbs(&mut self) {
        let Some(verbs) = self.rule.conditions.iter().find_map(|condition| match condition {
            Condition::Verb(verbs) => Some(*verbs),
            _ => None,
        }) else {
            return;
        };
        let asked: [(&[&str], bool, &str); 3] = [
            (
                &["tables", "reads", "writes", "large", "functions"],
                verbs.may_name(),
                "names no tables or functions",
            ),
            (&["where"], verbs.may_filter(), "has a WHERE that is looked at"),
            (&["limit"], verbs.may_limit(), "has a LIMIT that is looked at"),
        ];
        let inner = self.node.get("match");
        for (keys, possible, what) in asked {
            for key in
                keys.iter().filter(|key| !possible && inner.is_some_and(|node| node.get(key).is_some()))
            {
                let none = if what.starts_with("has") { "none of them" } else { "each of them" };
                let words = words(verbs);
                self.add(key, format!("`{key}` can never hold for `verb: {words}`: {none} {what}"));
            }
        }
    }

    /// Lists of names that exclude each other.
    fn names(&mut self) {
        let mut found = Vec::new();
        for condition in &self.rule.conditions {
            let Condition::Names(touched, How::Only, only) = condition else { continue };
            for other in &self.rule.conditions {
                let Condition::Names(other_touched, how, names) = other else { continue };
                let within = touched == other_touched
                    || (*touched == Touched::Tables
                        && matches!(other_touched, Touched::Reads | Touched::Writes));
                let apart =
                    |name: &&NamePattern| !only.iter().any(|only| only.covers(name) || name.covers(only));
                let excluded = match how {
                    How::Any | How::Only => {
                        names.iter().all(|name| apart(&name)).then(|| names.first()).flatten()
                    }
                    How::All => names.iter().find(apart),
                };
                if let (true, Some(name)) = (within, excluded) {
                    found.push((key_of(*other_touched), format!("`only` excludes `{name}`")));
                }
            }
        }
        for (key, message) in found {
            self.add(key, message);
        }
    }

    /// A sample statement that the other conditions exclude.
    fn sample(&mut self, tables: &Tables) {
        let sample = self.rule.conditions.iter().find_map(|condition| match condition {
            Condition::Template(_, facts) => Some(facts),
            _ => None,
        });
        let Some(facts) = sample else { return };
        let excluding =
            self.rule.conditions.iter().filter(|condition| condition.is_of_statement()).find(|condition| {
                facts.statements.iter().all(|statement| condition.of_statement(statement, tables) == Met::No)
            });
        if let Some(condition) = excluding {
            self.add("template", format!("the sample does not meet `{condition}`"));
        }
    }
}

fn key_of(touched: Touched) -> &'static str {
    match touched {
        Touched::Tables => "tables",
        Touched::Reads => "reads",
        Touched::Writes => "writes",
        Touched::Functions => "functions",
    }
}

fn words(verbs: Verbs) -> String {
    verbs.words().collect::<Vec<_>>().join(", ")
}
