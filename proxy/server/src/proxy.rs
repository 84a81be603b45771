//! The proxy as a whole: workers that accept, admit and serve; tasks that watch the clusters; reload and drain.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use pointsman_policy::PolicySet;
use tokio::sync::watch;

use crate::caching::ResultCache;
use crate::client::config::AuthConfig;
use crate::client::login::Door;
use crate::client::prove::Prover;
use crate::client::users::UserStore;
use crate::clusters::{Caching, Clusters};
use crate::config::Config;
use crate::fault::Fault;
use crate::metrics::Metrics;
use crate::plugins::PluginHost;
use crate::policies::Policies;
use crate::reload::Reloader;
use crate::session::Order;
use crate::session::cancel::Sessions;
use crate::session::statements::Registry;
use crate::transport::listener::{Bound, bind};
use crate::transport::tls;
use crate::upstream::verifiers::Verifiers;
use crate::worker;

/// How often a drain looks whether the sessions have ended.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// What a reload replaces as a whole.
#[derive(Debug)]
pub struct Settings {
    /// The configuration.
    pub config: Config,
    /// What clients meet at the door.
    pub door: Door,
    /// The users listed.
    pub users: UserStore,
}

impl Settings {
    fn new(config: Config, prover: Arc<Prover>) -> Result<Self, Fault> {
        let AuthConfig { method, .. } = config.auth;
        let acceptance = config.tls.as_ref().map(tls::acceptance).transpose();
        let tls = acceptance.map_err(|error| Fault::pointsman("F0000", error.to_string()))?;
        let door = Door {
            tls,
            tls_required: config.tls.as_ref().is_some_and(|tls| tls.required),
            limits: config.limits.clone(),
            method,
            prover,
        };
        Ok(Self { users: UserStore::new(&config.auth), door, config })
    }
}

/// Clients counted.
#[derive(Debug, Default)]
pub struct ClientCounts {
    /// Connected now, logged in or not.
    pub connected: AtomicUsize,
    /// Connected and not logged in.
    pub unauthenticated: AtomicUsize,
    /// Accepted since start.
    pub accepted: AtomicU64,
    /// Turned away by a limit since start.
    pub refused: AtomicU64,
    /// Logins failed since start.
    pub login_failures: AtomicU64,
}

/// The proxy.
#[derive(Debug)]
pub struct Proxy {
    settings: ArcSwap<Settings>,
    prover: Arc<Prover>,
    /// The policies in force.
    pub policies: Arc<ArcSwap<Policies>>,
    /// Results kept in memory; none if nothing is to be kept.
    pub cache: Option<Arc<ResultCache>>,
    /// The clusters and their tasks.
    pub clusters: Arc<Clusters>,
    /// The plugins and what loads them.
    pub plugins: PluginHost,
    /// Verifiers read from servers.
    pub verifiers: Verifiers,
    /// Everyone logged in.
    pub sessions: Arc<Sessions>,
    /// All prepared statements.
    pub registry: Arc<Registry>,
    /// What Prometheus is told.
    pub metrics: Arc<Metrics>,
    /// Clients counted.
    pub counts: ClientCounts,
    /// False until the listeners are closed.
    listening: AtomicBool,
    closing: watch::Sender<bool>,
    reloader: OnceLock<Weak<Reloader>>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Proxy {
    /// Binds the addresses and starts the workers and the watchers.
    ///
    /// # Errors
    /// An address that cannot be bound, a certificate that cannot be used, a thread that cannot be started.
    pub fn start(config: Config, metrics: Arc<Metrics>, set: PolicySet) -> Result<Arc<Self>, Fault> {
        let failed =
            |what: String, error: &dyn std::fmt::Display| Fault::pointsman("F0000", what).because(error);
        let prover = Arc::new(Prover::default());
        let mut bound = Vec::new();
        for listen in &config.listen {
            let listener =
                bind(listen).map_err(|error| failed(format!("cannot listen on {listen}"), &error))?;
            bound.push(listener);
        }
        let settings = Settings::new(config, Arc::clone(&prover))?;
        let overrides = set.overrides().clone();
        let plugins = PluginHost::new(&settings.config)?;
        let loaded = Arc::new(plugins.load_first(&settings.config.plugins)?);
        plugins.put(Arc::clone(&loaded));
        let policies = Arc::new(ArcSwap::from_pointee(Policies::after(None, set, loaded)));
        let cache = ResultCache::new(&settings.config.cache)
            .map_err(|error| failed("cache.redis".to_owned(), &error))?;
        let caching = cache.as_ref().map(|cache| Caching {
            policies: Arc::clone(&policies),
            changes: Arc::new(settings.config.cache.changes.clone()),
            fleet: cache.fleet.clone(),
        });
        let clusters =
            Clusters::start(&settings.config.clusters, &settings.config.sharded, overrides, caching)
                .map_err(|error| failed("cannot start the watchers".to_owned(), &error))?;
        let clusters = Arc::new(clusters);
        plugins.begin(&clusters);
        let (closing, _) = watch::channel(false);
        let proxy = Arc::new(Self {
            settings: ArcSwap::from_pointee(settings),
            prover,
            policies,
            cache,
            clusters,
            plugins,
            verifiers: Verifiers::default(),
            sessions: Arc::default(),
            registry: Arc::default(),
            metrics,
            counts: ClientCounts::default(),
            listening: AtomicBool::new(true),
            closing,
            reloader: OnceLock::new(),
            threads: Mutex::default(),
        });
        proxy.start_workers(&bound).map_err(|error| failed("cannot start a worker".to_owned(), &error))?;
        Ok(proxy)
    }

    fn start_workers(self: &Arc<Self>, bound: &[Bound]) -> std::io::Result<()> {
        let workers = self.settings().config.workers;
        for index in 0..workers {
            let listeners = bound.iter().map(Bound::again).collect::<Result<Vec<_>, _>>()?;
            let thread = worker::start(Arc::clone(self), index, listeners)?;
            self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(())
    }

    /// What is configured now.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Says what reads the configuration again when the admin console asks; only the first call counts.
    pub fn reload_by(&self, reloader: &Arc<Reloader>) {
        self.reloader.get_or_init(|| Arc::downgrade(reloader));
    }

    /// What reads the configuration again.
    pub fn reloader(&self) -> Option<Arc<Reloader>> {
        self.reloader.get().and_then(Weak::upgrade)
    }

    /// Becomes true when the listeners are to be closed.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Takes a new configuration: what did not change keeps its connections and statistics.
    ///
    /// # Errors
    /// What cannot be changed without a restart, or cannot be used; then nothing has changed.
    pub async fn reload(&self, config: Config, set: PolicySet) -> Result<(), Fault> {
        let before = self.settings();
        let fixed = |what: &str| {
            Fault::pointsman("55000", format!("{what} cannot be changed by a reload"))
                .hint("Restart to change it.")
        };
        if config.listen != before.config.listen {
            return Err(fixed("listen"));
        }
        if config.workers != before.config.workers {
            return Err(fixed("workers"));
        }
        if config.admin != before.config.admin {
            return Err(fixed("admin"));
        }
        if config.cache != before.config.cache {
            return Err(fixed("cache"));
        }
        if !config.plugins.shares_as(&before.config.plugins) {
            return Err(fixed("plugin_host"));
        }
        let plugins = Arc::new(self.plugins.load(&config.plugins).await?);
        let settings = Settings::new(config, Arc::clone(&self.prover))?;
        self.clusters
            .reload(&settings.config.clusters, &settings.config.sharded, set.overrides().clone())
            .map_err(|why| Fault::pointsman("55000", why))?;
        let before = self.policies.load_full();
        self.policies.store(Arc::new(Policies::after(Some(&before), set, Arc::clone(&plugins))));
        let replaced = self.plugins.put(Arc::clone(&plugins));
        self.clusters.spawn(async move { replaced.replaced_by(&plugins).await });
        // Entries were told apart by other columns, or kept by other rules.
        for cluster in self.clusters.all().iter() {
            cluster.databases().iter().for_each(|database| database.forget_results());
        }
        self.verifiers.forget_all();
        self.settings.store(Arc::new(settings));
        Ok(())
    }

    /// Whether new clients are accepted.
    pub fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }

    /// Accepts nobody new and lets sessions end as their transactions do; returns when all have ended, or after
    /// `limit`.
    pub async fn drain(&self, limit: Duration) {
        self.close();
        self.sessions.give_all(Order::Drain);
        let since = Instant::now();
        while !self.sessions.is_empty() && since.elapsed() < limit {
            tokio::time::sleep(DRAIN_STEP).await;
            // Whoever was in the middle of a login when the drain began.
            self.sessions.give_all(Order::Drain);
        }
    }

    /// Ends all sessions now, and the workers with them.
    pub fn stop(&self) {
        self.close();
        self.sessions.give_all(Order::Stop);
        self.clusters.retire();
    }

    fn close(&self) {
        self.listening.store(false, Ordering::Release);
        self.closing.send_replace(true);
    }
}
