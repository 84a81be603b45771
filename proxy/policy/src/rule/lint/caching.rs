//! What a rule says of caching that cannot be meant.

use pointsman_sql::{Analyzer, Facts, Kind, LexRules, literal_value};

use super::super::Condition;
use super::{Lint, words};
use crate::caching::{Caching, RowTag};
use crate::verb::Verbs;
use crate::yaml::{Node, Place};

impl Lint<'_, '_, '_> {
    pub(super) fn caching(&mut self) {
        let (Some(caching), Some(node)) = (self.rule.actions.cache.clone(), self.node.get("cache")) else {
            return;
        };
        self.cached_statements();
        let served = caching.ttl.saturating_add(caching.stale_while_revalidate);
        if caching.max_staleness.is_some_and(|most| most > served) {
            self.add_within(
                node,
                "max_staleness",
                format!("says nothing: a result is served for {served:?} at most"),
            );
        }
        if caching.max_entry == Some(0) {
            self.add_within(node, "max_entry", "nothing is as small as 0 bytes");
        }
        for (tag, written) in caching.tags.iter().zip(node.get("tags").map(Node::items).unwrap_or_default()) {
            if let Some(rows) = tag.rows() {
                self.told_apart(&caching, &rows, written.place);
            }
        }
        if let Some(written) = node.get("tags_from") {
            self.tags_from(&caching, written.place);
        }
    }

    /// What is matched must be something that can be cached.
    fn cached_statements(&mut self) {
        let conditions = &self.rule.conditions;
        if conditions.iter().any(|condition| matches!(condition, Condition::InTransaction(true))) {
            self.add(
                "cache",
                "`cache` means nothing with `in_transaction: true`: nothing is cached in a transaction",
            );
        }
        if let Some(why) = self.certain_write(false) {
            self.add("cache", format!("`cache` is for reads, and {why}"));
            return;
        }
        let verbs = self.rule.conditions.iter().find_map(|condition| match condition {
            Condition::Verb(verbs) => Some(*verbs),
            _ => None,
        });
        let cached =
            ["select", "values"].into_iter().filter_map(Verbs::named).fold(Verbs::default(), Verbs::with);
        if let Some(verbs) = verbs
            && !verbs.meets(cached)
        {
            self.add(
                "cache",
                format!("`cache` is for `select` and `values`: `{}` is never cached", words(verbs)),
            );
        }
    }

    /// A tag of rows is marked by writes only if they are told apart by its column.
    fn told_apart(&mut self, caching: &Caching, rows: &RowTag<'_>, place: Place) {
        if caching.invalidate_by.iter().all(|column| **column != *rows.column) {
            let column = rows.column;
            self.add_at(
                place,
                format!("`{rows}=`: no write marks it, because `{column}` is not in `invalidate_by`"),
            );
        }
    }

    /// The query for tags must be one that only reads, as far as its text says.
    fn tags_from(&mut self, caching: &Caching, place: Place) {
        let Some(template) = &caching.tags_from else { return };
        let Some((sql, _)) = template.query() else {
            self.add_at(place, "`tags_from`: a parameter of the statement is written in braces: `{$1}`");
            return;
        };
        let mut analyzer = Analyzer::<()>::new(1);
        let analysis = analyzer.analyze(sql.as_bytes(), LexRules::default());
        if let Some(why) = not_a_query(analysis.facts) {
            self.add_at(place, format!("`tags_from`: {why}"));
            return;
        }
        for literal in analysis.literals {
            let value = literal_value(sql.as_bytes(), literal).unwrap_or_default();
            if let Some((rows, _)) = RowTag::split(value.as_bytes()) {
                self.told_apart(caching, &rows, place);
            }
        }
    }

    fn add_within(&mut self, node: &Node, key: &str, message: impl AsRef<str>) {
        let place = node.get(key).unwrap_or(node).place;
        self.add_at(place, format!("`{key}`: {}", message.as_ref()));
    }

    fn add_at(&mut self, place: Place, message: impl AsRef<str>) {
        self.problems.add(place, format!("rule `{}`: {}", self.rule.name, message.as_ref()));
    }
}

/// Why a text is not one query that only reads.
fn not_a_query(facts: &Facts) -> Option<String> {
    if let Some(doubt) = facts.doubt {
        return Some(doubt.to_string());
    }
    let Some(statement) = facts.single() else {
        return Some("one SELECT is expected".to_owned());
    };
    match &statement.read_only {
        Err(reason) => Some(reason.to_string()),
        Ok(()) if !matches!(statement.kind, Kind::Select | Kind::Values) => {
            Some("a SELECT is expected".to_owned())
        }
        Ok(()) if !statement.state.is_empty() => Some("it leaves something in the session".to_owned()),
        Ok(()) => None,
    }
}
