//! What there is to tell of the cache, and what may be asked of it: for metrics and the console.

use pointsman_cache::Tags;
use pointsman_cache::stats::Counts;
use pointsman_policy::Mode;

use super::tags;
use crate::fault::Fault;
use crate::metrics::{CacheRuleSnapshot, CacheSnapshot, LedgerSnapshot};
use crate::proxy::Proxy;
use crate::upstream::cluster::Cluster;
use crate::upstream::database::Database;
use crate::upstream::watched::Hearing;

/// What is no longer to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invalidation {
    /// What has this tag.
    Tag(String),
    /// What reads this table.
    Table(String),
    /// Everything.
    All,
}

impl Proxy {
    /// The cache as it is now; none if nothing is kept.
    pub fn cache_snapshot(&self) -> Option<CacheSnapshot> {
        let cache = self.cache.as_ref()?;
        let policies = self.policies.load();
        let rules = policies.rules().filter(|(rule, _)| rule.actions.cache.is_some());
        let rules = rules.map(|(rule, counts)| {
            let mut sums = Counts::default();
            counts.cache.add_to(&mut sums);
            CacheRuleSnapshot {
                policy: rule.policy.to_string(),
                rule: rule.name.to_string(),
                counts: sums,
                enforced: rule.mode == Mode::Enforce,
            }
        });
        let mut ledgers = Vec::new();
        for cluster in self.clusters.all().iter() {
            ledgers.extend(cluster.databases().iter().filter_map(|database| ledger(cluster, database)));
        }
        Some(CacheSnapshot {
            entries: cache.store.len(),
            bytes: cache.store.bytes(),
            bytes_max: cache.store.bytes_max(),
            evicted: cache.store.evicted(),
            invalidated: cache.invalidated(),
            fills: cache.flights.len(),
            rules: rules.collect(),
            ledgers,
            shared: cache.fleet.as_ref().and_then(|fleet| fleet.counts()),
        })
    }

    /// Has what is named served no more, in every database of every cluster.
    ///
    /// # Errors
    /// 42P01 if no database has the table.
    pub fn invalidate(&self, what: &Invalidation) -> Result<(), Fault> {
        let mut found = false;
        for cluster in self.clusters.all().iter() {
            for database in cluster.databases() {
                let Some(marks) = marks(&database, what) else { continue };
                found = true;
                database.mark(&marks);
            }
        }
        if let (Invalidation::Table(name), false) = (what, found) {
            return Err(Fault::client("42P01", format!("no database has a table \"{name}\"")));
        }
        if let Some(cache) = &self.cache {
            cache.count_invalidated();
            if *what == Invalidation::All {
                cache.store.clear();
            }
        }
        Ok(())
    }
}

fn marks(database: &Database, what: &Invalidation) -> Option<Tags> {
    let mut marks = Tags::new();
    match what {
        Invalidation::All => marks.add_everything(),
        Invalidation::Table(name) => {
            let slot = database.catalog().table_slot(&tags::relation_named(name))?;
            marks.writes(tags::relation(database.space(), slot));
        }
        Invalidation::Tag(name) => {
            let catalog = database.catalog();
            let by = tags::Naming { catalog: &catalog, space: database.space() };
            tags::marked_named(name, by, &mut marks);
        }
    }
    Some(marks)
}

fn ledger(cluster: &Cluster, database: &Database) -> Option<LedgerSnapshot> {
    let state = database.ledger()?.state();
    let hearing = database.watched.hearing();
    Some(LedgerSnapshot {
        cluster: cluster.config().name.clone(),
        database: database.name.clone(),
        open: !state.closed,
        streaming: matches!(hearing, Hearing::Stream { .. }),
        hearing: hearing.name(),
        told: hearing.told(),
        commits: database.watched.commits(),
        breaks: database.watched.breaks(),
        unsettled: state.unsettled,
        doubts: state.doubts,
        behind: database.watched.seen_since().map(|since| since.elapsed().as_secs_f64()),
        bytes: state.bytes,
        shared: database.shared().map(pointsman_shared::Database::is_open),
    })
}
