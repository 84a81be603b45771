//! What `EXPLAIN ROUTE` says of caching: the rule, the key, the tags, and what would become of the read now.

use std::sync::Arc;
use std::time::Instant;

use pointsman_cache::stats::Named;
use pointsman_cache::{Look, Tag, TagKind};
use pointsman_policy::caching::Dependence;
use pointsman_sql::{Facts, Relation};

use super::Session;
use super::cached::Execution;
use super::request::Request;

impl Session {
    /// Item and value, line by line; nothing where no rule caches the statement.
    pub(super) fn cache_told(
        &mut self,
        request: &Request<'_>,
        facts: &Arc<Facts>,
        sql: &[u8],
    ) -> Vec<(String, String)> {
        let Some((rule, caching)) = request.decision.and_then(|decision| decision.cache.clone()) else {
            return Vec::new();
        };
        let mut rows = Vec::new();
        let mut add = |item: &str, value: String| rows.push((item.to_owned(), value));
        if let Some(rule) = self.steering.policies().set.rules().get(rule) {
            add("cached by", format!("{rule}, for {:?}, per {}", caching.ttl, caching.scope.name()));
        }
        let Some(cache) = self.shared.cache.clone() else {
            add("cache", "off: cache.memory is 0".to_owned());
            return rows;
        };
        let terms = match self.find_terms(request, facts) {
            Ok(terms) => terms,
            Err(why) => {
                add("cache", format!("bypassed: {}", why.name()));
                return rows;
            }
        };
        let asked = Execution::of_text(sql);
        let on = match self.depends_on(&terms, &asked) {
            Ok(on) => on,
            Err(why) => {
                add("cache", format!("bypassed: {}", why.name()));
                return rows;
            }
        };
        let now = cache.at(Instant::now());
        let told = self.with_key(&terms, &asked, |key| {
            let look = match cache.store.look(key, &terms.ledger, now) {
                Look::Fresh(entry) => format!("hit: {} ms old", now.since(entry.created())),
                Look::Stale(entry) => format!("stale: {} ms old", now.since(entry.created())),
                Look::Absent => "absent: it would be fetched".to_owned(),
                Look::Invalidated => "invalidated: it would be fetched".to_owned(),
                Look::Expired => "expired: it would be fetched".to_owned(),
            };
            let digest: String = key.digest().iter().map(|byte| format!("{byte:02x}")).collect();
            (look, digest)
        });
        if let Some((look, digest)) = told {
            add("cache", look);
            add("cache key", digest);
        }
        if let Ok(dependences) = &terms.plans.reads {
            for dependence in dependences {
                add("depends on", self.dependence_told(facts, dependence));
            }
        }
        for template in &caching.tags {
            add("depends on", format!("tag {template}"));
        }
        if let Some(template) = &caching.tags_from {
            add("depends on", format!("tags from {template}"));
        }
        let all = on.tags.as_slice().iter().chain(on.by_family.iter().flat_map(|(_, tags)| tags.as_slice()));
        add("cache tags", all.map(shown).collect::<Vec<_>>().join(" "));
        rows
    }

    fn dependence_told(&self, facts: &Facts, dependence: &Dependence) -> String {
        let catalog = self.shared.account.database.catalog();
        let named = |relation: &&Relation| catalog.table_slot(relation) == Some(dependence.slot);
        let reads = || facts.statements.iter().flat_map(|statement| &statement.reads);
        let name =
            reads().find(named).map_or_else(|| format!("family {}", dependence.slot), Relation::to_string);
        match &dependence.pinned {
            Some(pinned) => format!("rows of {name} by {}", pinned.column.name),
            None => format!("all of {name}"),
        }
    }
}

/// A tag: a letter for its kind, and its number.
fn shown(tag: &Tag) -> String {
    let letter = match tag.kind() {
        TagKind::Relation => 'r',
        TagKind::Whole => 'w',
        TagKind::Key => 'k',
        TagKind::Name => 'n',
    };
    format!("{letter}:{:016x}", tag.number())
}
