//! A database that is spread over several clusters: its shards in order, and its coordinator.

use std::sync::Arc;

use super::account::Account;
use super::cluster::Cluster;
use super::config::ShardedConfig;

/// A sharded database.
#[derive(Debug)]
pub struct Group {
    /// How it is configured.
    pub config: ShardedConfig,
    /// Its shards; a shard's number is its place.
    pub shards: Vec<Part>,
    /// Answers what the shards cannot be asked one by one.
    pub coordinator: Option<Part>,
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
    /// together.
    pub fn new(config: ShardedConfig, clusters: &[Arc<Cluster>]) -> Self {
        let part = |name: &String| {
            let cluster = clusters.iter().find(|cluster| cluster.config().name == *name)?;
            let database = config.server_name.clone();
            let database = database.unwrap_or_else(|| cluster.config().maintenance_database.clone());
            Some(Part { cluster: Arc::clone(cluster), database })
        };
        let shards: Vec<Part> = config.shards.iter().filter_map(part).collect();
        let coordinator = config.coordinator.as_ref().and_then(part);
        if let Some(first) = shards.first() {
            let first = first.cluster.database(&first.database);
            for shard in &shards[1..] {
                shard.cluster.database(&shard.database).count_changes_with(&first);
            }
        }
        Self { config, shards, coordinator }
    }

    /// Whether clients reach it under this name.
    pub fn is_called(&self, database: &str) -> bool {
        self.config.name.is_empty() || self.config.name == database
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
