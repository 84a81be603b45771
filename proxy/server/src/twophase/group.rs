//! A group of shards as two-phase commit knows it: its servers, what was counted, and what is in doubt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::config::Terms;
use super::log::Shelf;
use super::name::{GROUP_BYTES_MAX, fits};
use super::servers::{connect, each, question};
use super::stop::Stops;
use crate::fault::Fault;
use crate::upstream::cluster::Cluster;

/// A group of shards.
#[derive(Debug)]
pub struct Group {
    /// What it is called: ASCII letters, digits, `_` and `-`.
    pub name: String,
    /// Its shards, in the order that placement counts them. The first holds the decisions.
    pub shards: Vec<Arc<Cluster>>,
    /// What the servers call the database.
    pub database: String,
    /// This proxy's number; it is part of transactions' names, for those who read them.
    pub node: u32,
    /// How long things may take.
    pub terms: Terms,
    /// What was counted.
    pub counts: Counts,
    pub(super) log: Shelf,
    pub(super) stops: Stops,
    /// The reign of each shard's primary in which it was seen to take prepared transactions.
    able: Vec<AtomicU64>,
    doubtful: ArcSwap<Vec<Doubtful>>,
    retired: AtomicBool,
}

/// What became of transactions, since start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Committed on several shards.
    pub committed: AtomicU64,
    /// Of these, not yet on all shards when the client was told.
    pub late: AtomicU64,
    /// Rolled back on all shards.
    pub rolled_back: AtomicU64,
    /// Whose decision is not known.
    pub unknown: AtomicU64,
    /// Parts that recovery has committed.
    pub recovered_commits: AtomicU64,
    /// Parts that recovery has rolled back.
    pub recovered_rollbacks: AtomicU64,
}

impl Counts {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A prepared transaction that is not finished, or a shard that cannot be asked for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubtful {
    /// The shard's number, from 0.
    pub shard: usize,
    /// The transaction's name there; empty for a shard that cannot be asked.
    pub gid: String,
    /// Who prepared it.
    pub owner: String,
    /// How long ago it was prepared.
    pub age: Duration,
    /// Why it is not finished.
    pub reason: String,
    /// Recovery has tried, or does not know it; else it is young and may be on its way.
    pub stuck: bool,
}

impl Group {
    /// A group with default terms, and the stops of the environment.
    ///
    /// # Errors
    /// A name that does not fit into that of a prepared transaction; no shard.
    pub fn new(name: &str, shards: Vec<Arc<Cluster>>, database: &str, node: u32) -> Result<Self, String> {
        if !fits(name) {
            return Err(format!(
                "a group's name has 1 to {GROUP_BYTES_MAX} ASCII letters, digits, `_` and `-`; `{name}` does not"
            ));
        }
        if shards.is_empty() {
            return Err(format!("group {name} has no shards"));
        }
        Ok(Self {
            name: name.to_owned(),
            able: shards.iter().map(|_| AtomicU64::new(0)).collect(),
            shards,
            database: database.to_owned(),
            node,
            terms: Terms::default(),
            counts: Counts::default(),
            log: Shelf::default(),
            stops: Stops::from_environment(),
            doubtful: ArcSwap::default(),
            retired: AtomicBool::new(false),
        })
    }

    /// The same with other terms.
    #[must_use]
    pub fn with_terms(mut self, terms: Terms) -> Self {
        self.terms = terms;
        self
    }

    /// The same with other stops.
    #[must_use]
    pub fn with_stops(mut self, stops: Stops) -> Self {
        self.stops = stops;
        self
    }

    /// What the last recovery left.
    pub fn doubtful(&self) -> Arc<Vec<Doubtful>> {
        self.doubtful.load_full()
    }

    pub(super) fn set_doubtful(&self, doubtful: Vec<Doubtful>) {
        self.doubtful.store(Arc::new(doubtful));
    }

    /// It is no longer configured: recovery ends.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Whether `retire` was called.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Whether every shard takes prepared transactions. Asked once for each primary; to be called when a transaction gets to its
    /// second shard, so that its client hears of it before its work is done.
    ///
    /// # Errors
    /// 55000 with a hint that names the setting; 08001 or 08006 for a shard that does not answer.
    pub async fn ready(&self) -> Result<(), Fault> {
        let unasked = (0..self.shards.len())
            .filter(|shard| self.able[*shard].load(Ordering::Acquire) != self.shards[*shard].era());
        for outcome in each(unasked.map(|shard| self.ask_able(shard)).collect()).await {
            outcome?;
        }
        Ok(())
    }

    async fn ask_able(&self, shard: usize) -> Result<(), Fault> {
        let era = self.shards[shard].era();
        let own = connect(self, shard).await?;
        let rows =
            question(&own, self.terms.step, "SHOW max_prepared_transactions").await.map_err(Fault::from)?;
        if rows.first().and_then(|row| row.first()).is_some_and(|value| value == "0") {
            let cluster = &self.shards[shard].config().name;
            let told = format!(
                "shard {shard} ({cluster}) takes no prepared transactions, which a transaction on several shards needs"
            );
            return Err(Fault::upstream("55000", told).hint(
                "Set max_prepared_transactions to at least max_connections on every shard, and restart it.",
            ));
        }
        self.able[shard].store(era, Ordering::Release);
        Ok(())
    }
}
