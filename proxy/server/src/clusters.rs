//! All clusters, the thread that watches them, and which of them a database is on.

use std::sync::Arc;

use arc_swap::ArcSwap;
use pointsman_policy::Overrides;

use crate::caching::config::ChangesConfig;
use crate::caching::fleet::Fleet;
use crate::caching::keeper;
use crate::policies::Policies;
use crate::sharded::{Group, Part};
use crate::twophase;
use crate::upstream::cluster::Cluster;
use crate::upstream::config::{ClusterConfig, ShardedConfig};
use crate::upstream::{catalogs, health, positions};

/// What keeps results true.
#[derive(Debug)]
pub struct Caching {
    /// The policies in force.
    pub policies: Arc<ArcSwap<Policies>>,
    /// How changes are heard of.
    pub changes: Arc<ChangesConfig>,
    /// The other proxies; none if results are not shared.
    pub fleet: Option<Arc<Fleet>>,
}

/// The clusters.
#[derive(Debug)]
pub struct Clusters {
    all: ArcSwap<Vec<Arc<Cluster>>>,
    /// Databases that are spread over several of them.
    groups: ArcSwap<Vec<Arc<Group>>>,
    overrides: Arc<ArcSwap<Overrides>>,
    /// For the cache; none keeps no results.
    caching: Option<Caching>,
    /// Runs the watchers, away from the workers.
    runtime: tokio::runtime::Runtime,
}

impl Clusters {
    /// Starts to watch the clusters.
    ///
    /// # Errors
    /// The watchers' thread cannot be started.
    pub fn start(
        configs: &[ClusterConfig],
        sharded: &[ShardedConfig],
        overrides: Overrides,
        caching: Option<Caching>,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("watchers")
            // Views and policies are parsed here.
            .thread_stack_size(crate::worker::STACK_BYTES)
            .enable_all()
            .build()?;
        let overrides = Arc::new(ArcSwap::from_pointee(overrides));
        let (all, groups) = (ArcSwap::default(), ArcSwap::default());
        let clusters = Self { all, groups, overrides, caching, runtime };
        if let Some(fleet) = clusters.caching.as_ref().and_then(|caching| caching.fleet.as_ref()) {
            let _entered = clusters.runtime.enter();
            fleet.start().map_err(std::io::Error::other)?;
        }
        let all: Vec<_> = configs.iter().map(|config| clusters.begin(config)).collect();
        clusters.group(sharded, &all);
        clusters.all.store(Arc::new(all));
        Ok(clusters)
    }

    /// Makes the groups anew that are not as they were.
    fn group(&self, sharded: &[ShardedConfig], clusters: &[Arc<Cluster>]) {
        let before = self.groups.load();
        let same = |config: &ShardedConfig| {
            let parts = |group: &Group| {
                let kept = |part: &Part| clusters.iter().any(|cluster| Arc::ptr_eq(cluster, &part.cluster));
                group.parts().all(kept)
            };
            before.iter().find(|group| group.config == *config && parts(group)).cloned()
        };
        let make = |config: &ShardedConfig| {
            same(config).unwrap_or_else(|| {
                let named = before.iter().find(|group| group.config.name == config.name);
                let named = named.map(|group| &**group);
                let group = Arc::new(Group::new(config.clone(), clusters, named));
                if named.is_none_or(|named| !Arc::ptr_eq(&named.ids, &group.ids)) {
                    self.runtime.spawn(Arc::clone(&group.ids).keep());
                }
                if let Some(two_phase) = &group.two_phase {
                    self.runtime.spawn(twophase::watch(Arc::clone(two_phase)));
                }
                group
            })
        };
        let after: Vec<Arc<Group>> = sharded.iter().map(make).collect();
        for gone in before.iter().filter(|group| !after.iter().any(|kept| Arc::ptr_eq(kept, group))) {
            gone.two_phase.iter().for_each(|two_phase| two_phase.retire());
            if !after.iter().any(|kept| Arc::ptr_eq(&kept.ids, &gone.ids)) {
                gone.ids.retire();
            }
        }
        self.groups.store(Arc::new(after));
    }

    /// The databases that are spread over several clusters.
    pub fn groups(&self) -> Arc<Vec<Arc<Group>>> {
        self.groups.load_full()
    }

    /// The group that clients reach as this database.
    pub fn find_group(&self, database: &str) -> Option<Arc<Group>> {
        self.groups.load().iter().find(|group| group.is_called(database)).cloned()
    }

    fn begin(&self, config: &ClusterConfig) -> Arc<Cluster> {
        let cluster = Arc::new(Cluster::new(config.clone()));
        self.runtime.spawn(health::watch(Arc::clone(&cluster)));
        self.runtime.spawn(positions::watch(Arc::clone(&cluster)));
        self.runtime.spawn(catalogs::watch(Arc::clone(&cluster), Arc::clone(&self.overrides)));
        if let Some(Caching { policies, changes, fleet }) = &self.caching {
            let (policies, changes) = (Arc::clone(policies), Arc::clone(changes));
            self.runtime.spawn(keeper::keep(Arc::clone(&cluster), policies, changes, fleet.clone()));
        }
        cluster
    }

    /// All clusters.
    pub fn all(&self) -> Arc<Vec<Arc<Cluster>>> {
        self.all.load_full()
    }

    /// The cluster of a database that a client asks for, and the database's name there; of a sharded one, its first shard.
    pub fn find(&self, database: &str) -> Option<(Arc<Cluster>, String)> {
        if let Some(group) = self.find_group(database) {
            let first = group.shards.first()?;
            return Some((Arc::clone(&first.cluster), first.database.clone()));
        }
        let all = self.all.load();
        let named = all.iter().find_map(|cluster| {
            let config = cluster.config();
            let found = config.databases.iter().find(|known| known.name == database)?;
            Some((Arc::clone(cluster), found.server_name.clone()))
        });
        named.or_else(|| {
            let any = all.iter().find(|cluster| cluster.config().takes_any())?;
            Some((Arc::clone(any), database.to_owned()))
        })
    }

    /// The cluster that knows the roles of the console's users, and a database to ask there: the cluster that takes any
    /// database, else the first.
    pub fn of_console(&self) -> Option<(Arc<Cluster>, String)> {
        let all = self.all.load();
        let any = all.iter().find(|cluster| cluster.config().takes_any()).or_else(|| all.first())?;
        Some((Arc::clone(any), any.config().maintenance_database.clone()))
    }

    /// Runs something on the watchers' thread, away from the workers.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.runtime.spawn(work)
    }

    /// Takes new configurations; clusters are told apart by their names.
    ///
    /// # Errors
    /// What a cluster cannot take; then nothing has changed.
    pub fn reload(
        &self,
        configs: &[ClusterConfig],
        sharded: &[ShardedConfig],
        overrides: Overrides,
    ) -> Result<(), String> {
        let before = self.all();
        let known = |name: &str| before.iter().find(|cluster| cluster.config().name == name);
        for config in configs {
            known(&config.name).map_or(Ok(()), |cluster| cluster.can_take(config))?;
        }
        let mut after = Vec::new();
        for config in configs {
            match known(&config.name) {
                Some(cluster) => {
                    cluster.reload(config.clone());
                    after.push(Arc::clone(cluster));
                }
                None => after.push(self.begin(config)),
            }
        }
        for cluster in before.iter() {
            if !after.iter().any(|kept| Arc::ptr_eq(kept, cluster)) {
                cluster.retire();
            }
        }
        self.group(sharded, &after);
        self.overrides.store(Arc::new(overrides));
        for cluster in &after {
            for database in cluster.databases() {
                database.catalog_changed();
            }
        }
        self.all.store(Arc::new(after));
        Ok(())
    }

    /// Stops watching, closes the pools.
    pub fn retire(&self) {
        for cluster in self.all().iter() {
            cluster.retire();
        }
    }
}
