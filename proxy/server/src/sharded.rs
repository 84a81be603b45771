//! A database that is spread over several clusters: its shards in order, and its coordinator.

mod told;

pub(crate) use told::{Terms, told};

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use pointsman_shards::plan::Why;

use crate::ids::Maker;
use crate::metrics::{ShardedSnapshot, TwoPhaseSnapshot};
use crate::twophase;
use crate::upstream::account::Account;
use crate::upstream::cluster::Cluster;
use crate::upstream::config::{ShardedConfig, WritesAcross};

/// What became of statements, since start. Those for one shard are counted as statements of its cluster.
#[derive(Debug, Default)]
pub struct Counts {
    /// Gathered from several shards.
    pub gathered: AtomicU64,
    /// Written on several shards.
    pub written: AtomicU64,
    /// Asked of the coordinator, by the reason why the shards could not be.
    pub coordinated: [AtomicU64; Why::ALL.len()],
    /// Refused, by reason.
    pub refused: [AtomicU64; Why::ALL.len()],
}

/// A sharded database.
#[derive(Debug)]
pub struct Group {
    /// How it is configured.
    pub config: ShardedConfig,
    /// Its shards; a shard's number is its place.
    pub shards: Vec<Part>,
    /// Answers what the shards cannot be asked one by one.
    pub coordinator: Option<Part>,
    /// Commits on several shards, if that is allowed.
    pub two_phase: Option<Arc<twophase::Group>>,
    /// Makes ids.
    pub ids: Arc<Maker>,
    /// What became of statements.
    pub counts: Counts,
}

/// A cluster of a sharded database.
#[derive(Debug, Clone)]
pub struct Part {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// What its servers call the database.
    pub database: String,
}

impl Part {
    /// The account of a user there.
    pub fn account(&self, user: &str) -> Arc<Account> {
        self.cluster.account(&self.database, user)
    }
}

impl Group {
    /// A group of these clusters, which hold all that the configuration names. Its databases count changes of definitions
    /// together. `before` is the group that it takes the place of, which it goes on making ids for.
    pub fn new(config: ShardedConfig, clusters: &[Arc<Cluster>], before: Option<&Self>) -> Self {
        let find = |name: &String| clusters.iter().find(|cluster| cluster.config().name == *name).cloned();
        let shard = |cluster: Arc<Cluster>| Part { database: config.database_on(&cluster.config()), cluster };
        let shards: Vec<Part> = config.shards.iter().filter_map(find).map(shard).collect();
        let coordinator = config.coordinator.as_ref().and_then(find);
        let coordinator = coordinator
            .map(|cluster| Part { database: cluster.config().maintenance_database.clone(), cluster });
        if let Some(first) = shards.first() {
            let first = first.cluster.database(&first.database);
            for shard in &shards[1..] {
                shard.cluster.database(&shard.database).count_changes_with(&first);
            }
        }
        let two_phase = two_phase(&config, &shards);
        let ids = ids(&config, &shards, before);
        Self { config, shards, coordinator, two_phase, ids, counts: Counts::default() }
    }

    /// Whether clients reach it under this name.
    pub fn is_called(&self, database: &str) -> bool {
        self.config.name.is_empty() || self.config.name == database
    }

    /// What clients call it, for the console and for metrics: `*` if it takes any name.
    pub fn shown_name(&self) -> &str {
        if self.config.name.is_empty() { "*" } else { &self.config.name }
    }

    /// Its counts at this moment.
    pub fn snapshot(&self) -> ShardedSnapshot {
        let counts = &self.counts;
        ShardedSnapshot {
            database: self.shown_name().to_owned(),
            gathered: counts.gathered.load(Relaxed),
            written: counts.written.load(Relaxed),
            coordinated: std::array::from_fn(|why| counts.coordinated[why].load(Relaxed)),
            refused: std::array::from_fn(|why| counts.refused[why].load(Relaxed)),
            two_phase: self.two_phase.as_deref().map(two_phase_snapshot),
        }
    }

    /// Its shards, and its coordinator after them.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.shards.iter().chain(&self.coordinator)
    }

    /// Number of shards.
    pub fn len(&self) -> usize {
        self.shards.len()
    }

    /// Whether it has no shards.
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }
}

fn ids(config: &ShardedConfig, shards: &[Part], before: Option<&Group>) -> Arc<Maker> {
    let first = shards.first().map(|first| (Arc::clone(&first.cluster), first.database.clone()));
    let same = |group: &&Group| first.as_ref().is_none_or(|first| group.ids.is_of(config, first));
    match before.filter(same) {
        Some(group) => Arc::clone(&group.ids),
        None => Arc::new(Maker::new(config, first)),
    }
}

fn two_phase(config: &ShardedConfig, shards: &[Part]) -> Option<Arc<twophase::Group>> {
    let parts = shards.iter().map(|part| (Arc::clone(&part.cluster), part.database.clone())).collect();
    let name = if config.name.is_empty() { "shards" } else { &config.name };
    let node = u32::from(config.node.unwrap_or_default());
    match config.writes {
        WritesAcross::Refuse => None,
        WritesAcross::TwoPhase => {
            let group = twophase::Group::new(name, parts, node);
            group.map_err(|error| tracing::error!("two-phase commit: {error}")).ok().map(Arc::new)
        }
    }
}

fn two_phase_snapshot(group: &twophase::Group) -> TwoPhaseSnapshot {
    let (counts, doubtful) = (&group.counts, group.doubtful());
    let stuck = doubtful.iter().filter(|doubtful| doubtful.stuck).count();
    TwoPhaseSnapshot {
        committed: counts.committed.load(Relaxed),
        late: counts.late.load(Relaxed),
        rolled_back: counts.rolled_back.load(Relaxed),
        unknown: counts.unknown.load(Relaxed),
        recovered_commits: counts.recovered_commits.load(Relaxed),
        recovered_rollbacks: counts.recovered_rollbacks.load(Relaxed),
        stuck,
        young: doubtful.len() - stuck,
    }
}
