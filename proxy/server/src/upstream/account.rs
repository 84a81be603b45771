//! One user in one database of a cluster: a pool for each server, and what the server says to a client at login.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use hashbrown::HashMap;

use super::cluster::SERVERS_MAX;
use super::config::PoolConfig;
use super::credentials::Credentials;
use super::database::Database;
use super::pool::Pool;
use super::server::Server;
use super::settings::Settings;
use crate::metrics::{Period, Usage, Used};

/// Greetings kept for different startup settings.
const GREETINGS_MAX: usize = 256;

/// The parameters that a server reports, as frames are made of them: name and value, in the server's order.
pub type Reported = Arc<Vec<(Bytes, Bytes)>>;

/// One user in one database.
#[derive(Debug)]
pub struct Account {
    /// The database.
    pub database: Arc<Database>,
    /// The user.
    pub user: String,
    pool_config: ArcSwap<PoolConfig>,
    credentials: ArcSwap<Credentials>,
    /// By server index; made when first asked for.
    pools: Box<[OnceLock<Arc<Pool>>]>,
    /// What the primary reports to a client that starts with these settings. Locked at login only.
    greetings: Mutex<HashMap<Arc<Settings>, Reported>>,
    /// By worker; made when a worker's first session begins. Locked at login and by whoever sums them.
    usage: Mutex<HashMap<usize, Arc<Usage>>>,
    period: Mutex<Period>,
}

impl Account {
    /// An account without a connection yet.
    pub fn new(database: Arc<Database>, user: &str, pool_config: Arc<PoolConfig>) -> Self {
        let mut period = Period::default();
        period.turn(Used::default(), Instant::now());
        Self {
            database,
            user: user.to_owned(),
            pool_config: ArcSwap::new(pool_config),
            credentials: ArcSwap::default(),
            pools: (0..SERVERS_MAX).map(|_| OnceLock::new()).collect(),
            greetings: Mutex::default(),
            usage: Mutex::default(),
            period: Mutex::new(period),
        }
    }

    /// Where a worker's sessions count what they use.
    pub fn usage(&self, worker: usize) -> Arc<Usage> {
        Arc::clone(self.usage.lock().unwrap_or_else(PoisonError::into_inner).entry(worker).or_default())
    }

    /// What its sessions have used since start.
    pub fn used(&self) -> Used {
        let usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage.values().fold(Used::default(), |sum, usage| sum.and(usage.used()))
    }

    /// A period of the averages ends.
    pub fn turn_period(&self, now: Instant) {
        self.period.lock().unwrap_or_else(PoisonError::into_inner).turn(self.used(), now);
    }

    /// What was used in the last whole period, and how long it was.
    pub fn last_period(&self) -> (Used, Duration) {
        self.period.lock().unwrap_or_else(PoisonError::into_inner).last()
    }

    /// What its connections log in with, as the last client proved it.
    pub fn set_credentials(&self, credentials: &Credentials) {
        if **self.credentials.load() != *credentials {
            self.credentials.store(Arc::new(credentials.clone()));
        }
        for pool in self.pools() {
            pool.set_credentials(credentials);
        }
    }

    /// What its connections log in with.
    pub fn credentials(&self) -> Credentials {
        Credentials::clone(&self.credentials.load())
    }

    /// The pool of connections to `server`.
    pub fn pool(&self, server: &Arc<Server>) -> Option<&Arc<Pool>> {
        let pool = self.pools.get(server.index)?.get_or_init(|| {
            let config = self.pool_config.load_full();
            let pool = Pool::new(Arc::clone(server), &self.database, &self.user, config);
            pool.set_credentials(&self.credentials.load());
            Arc::new(pool)
        });
        Some(pool)
    }

    /// The pools made so far.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.iter().filter_map(OnceLock::get)
    }

    /// Takes new settings; pools of removed servers close.
    pub fn reload(&self, config: &Arc<PoolConfig>, servers: &[Arc<Server>]) {
        self.pool_config.store(Arc::clone(config));
        self.greetings.lock().unwrap_or_else(PoisonError::into_inner).clear();
        for pool in self.pools() {
            pool.reconfigure(Arc::clone(config));
            if servers.get(pool.server.index).is_some_and(|server| server.is_removed()) {
                pool.retire();
            }
        }
    }

    /// Closes all pools.
    pub fn retire(&self) {
        for pool in self.pools() {
            pool.retire();
        }
    }

    /// What the primary reported to an earlier client with the same startup settings.
    pub fn greeting(&self, settings: &Arc<Settings>) -> Option<Reported> {
        self.greetings.lock().unwrap_or_else(PoisonError::into_inner).get(settings).cloned()
    }

    /// Keeps what the primary reported.
    pub fn keep_greeting(&self, settings: &Arc<Settings>, reported: Reported) {
        let mut greetings = self.greetings.lock().unwrap_or_else(PoisonError::into_inner);
        if greetings.len() >= GREETINGS_MAX {
            greetings.clear();
        }
        greetings.insert(Arc::clone(settings), reported);
    }
}
