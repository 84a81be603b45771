//! All clusters, the thread that watches them, and which of them a database is on.

use std::sync::Arc;

use arc_swap::ArcSwap;
use pointsman_policy::Overrides;

use crate::caching::config::ChangesConfig;
use crate::caching::fleet::Fleet;
use crate::caching::keeper;
use crate::policies::Policies;
use crate::upstream::cluster::Cluster;
use crate::upstream::config::ClusterConfig;
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
        let clusters = Self { all: ArcSwap::default(), overrides, caching, runtime };
        if let Some(fleet) = clusters.caching.as_ref().and_then(|caching| caching.fleet.as_ref()) {
            let _entered = clusters.runtime.enter();
            fleet.start().map_err(std::io::Error::other)?;
        }
        let all = configs.iter().map(|config| clusters.begin(config)).collect();
        clusters.all.store(Arc::new(all));
        Ok(clusters)
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

    /// The cluster of a database that a client asks for, and the database's name there.
    pub fn find(&self, database: &str) -> Option<(Arc<Cluster>, String)> {
        let all = self.all.load();
        let named = all.iter().find_map(|cluster| {
            let config = cluster.config();
            let found = config.databases.iter().find(|known| known.name == database)?;
            Some((Arc::clone(cluster), found.server_name.clone()))
        });
        named.or_else(|| {
            let any = all.iter().find(|cluster| cluster.config().databases.is_empty())?;
            Some((Arc::clone(any), database.to_owned()))
        })
    }

    /// The cluster that knows the roles of the console's users, and a database to ask there: the cluster that takes any
    /// database, else the first.
    pub fn of_console(&self) -> Option<(Arc<Cluster>, String)> {
        let all = self.all.load();
        let any = all.iter().find(|cluster| cluster.config().databases.is_empty()).or_else(|| all.first())?;
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
    pub fn reload(&self, configs: &[ClusterConfig], overrides: Overrides) -> Result<(), String> {
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
