//! A primary with its replicas: which server is which now, and the accounts and databases that live there.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use tokio::sync::Notify;

use super::account::Account;
use super::choice::ReadTerms;
use super::config::{ClusterConfig, Role, ServerConfig};
use super::database::Database;
use super::election::{Claim, elect};
use super::lag::History;
use super::server::{Server, State};

/// Servers that a cluster can have had since start, removed ones included.
pub const SERVERS_MAX: usize = 64;
const NONE: usize = usize::MAX;

/// A cluster.
#[derive(Debug)]
pub struct Cluster {
    config: ArcSwap<ClusterConfig>,
    /// A server keeps its place for as long as the process lives; a removed one is marked, not taken out.
    servers: ArcSwap<Vec<Arc<Server>>>,
    primary: AtomicUsize,
    newest_timeline: AtomicU32,
    /// Counts the changes of the primary.
    era: AtomicU64,
    /// Where the last commit ends that a change stream has brought, as a 64-bit LSN.
    heard: AtomicU64,
    /// Locked at login and by background tasks only.
    databases: Mutex<HashMap<String, Arc<Database>>>,
    /// Locked at login and by background tasks only.
    accounts: Mutex<HashMap<(String, String), Arc<Account>>>,
    /// Where the primary was when.
    history: History,
    suspected: Notify,
    /// Wakes those who wait for a primary: after each round of health questions, and when the primary has changed.
    rounds: Notify,
    /// Clients that wait for a primary.
    waiting: AtomicUsize,
    positions_asked: Arc<Notify>,
    catalogs_asked: Arc<Notify>,
    retired: AtomicBool,
    /// All databases are paused, those that nobody has asked for yet included.
    paused: AtomicBool,
}

impl Cluster {
    /// A cluster of which only the configuration is known.
    pub fn new(config: ClusterConfig) -> Self {
        let servers: Vec<Arc<Server>> = config
            .servers
            .iter()
            .enumerate()
            .map(|(index, server)| Arc::new(Server::new(server.clone(), index)))
            .collect();
        let expected = servers.iter().position(|server| server.config.expected == Role::Primary);
        Self {
            config: ArcSwap::from_pointee(config),
            servers: ArcSwap::from_pointee(servers),
            primary: AtomicUsize::new(expected.unwrap_or(NONE)),
            newest_timeline: AtomicU32::new(0),
            era: AtomicU64::new(1),
            heard: AtomicU64::new(0),
            databases: Mutex::default(),
            accounts: Mutex::default(),
            history: History::default(),
            suspected: Notify::new(),
            rounds: Notify::new(),
            waiting: AtomicUsize::new(0),
            positions_asked: Arc::default(),
            catalogs_asked: Arc::default(),
            retired: AtomicBool::new(false),
            paused: AtomicBool::new(false),
        }
    }

    /// Its configuration.
    pub fn config(&self) -> Arc<ClusterConfig> {
        self.config.load_full()
    }

    /// Its servers, by index.
    pub fn servers(&self) -> Arc<Vec<Arc<Server>>> {
        self.servers.load_full()
    }

    /// Whether it can be changed to this configuration.
    ///
    /// # Errors
    /// More servers than `SERVERS_MAX` since start.
    pub fn can_take(&self, config: &ClusterConfig) -> Result<(), String> {
        let servers = self.servers.load();
        let known = |wanted: &&ServerConfig| servers.iter().any(|server| server.config == **wanted);
        let new = config.servers.iter().filter(|wanted| !known(wanted)).count();
        if servers.len() + new > SERVERS_MAX {
            return Err(format!(
                "cluster {}: more than {SERVERS_MAX} servers since start; restart to forget the removed ones",
                config.name
            ));
        }
        Ok(())
    }

    /// Changes the configuration, which it [can take](Self::can_take): servers that stay keep their pools, statistics
    /// and state.
    pub fn reload(&self, config: ClusterConfig) {
        let mut servers = Vec::clone(&self.servers.load());
        for server in &servers {
            server.set_removed(!config.servers.contains(&server.config));
        }
        for wanted in &config.servers {
            if !servers.iter().any(|server| server.config == *wanted) {
                servers.push(Arc::new(Server::new(wanted.clone(), servers.len())));
            }
        }
        let pool = Arc::new(config.pool.clone());
        self.servers.store(Arc::new(servers));
        self.config.store(Arc::new(config));
        for account in self.accounts() {
            account.reload(&pool, &self.servers.load());
        }
        self.suspect();
    }

    /// The cluster is no longer configured: its tasks end, its pools close.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        for account in self.accounts() {
            account.retire();
        }
        // Whoever waits for a paused database is not left waiting.
        self.resume_all();
        self.suspect();
        self.positions_asked.notify_one();
        self.catalogs_asked.notify_one();
    }

    /// Whether `retire` was called.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// The server that takes writes now.
    pub fn primary(&self) -> Option<usize> {
        match self.primary.load(Ordering::Acquire) {
            NONE => None,
            index => Some(index),
        }
    }

    /// Indexes of the replicas that answer.
    pub fn replicas(&self) -> Vec<usize> {
        let servers = self.servers.load();
        servers.iter().filter(|server| server.is_readable_replica()).map(|server| server.index).collect()
    }

    /// How reads are served where no rule says otherwise.
    pub fn read_terms(&self) -> ReadTerms {
        self.config.load().reads
    }

    pub(super) fn slow_start(&self) -> Duration {
        self.config.load().slow_start
    }

    pub(super) fn server_list(&self) -> arc_swap::Guard<Arc<Vec<Arc<Server>>>> {
        self.servers.load()
    }

    /// The primary was at `lsn` when it was asked at `at`: what replicas have not replayed of it, they lag behind.
    pub(super) fn primary_at(&self, at: Instant, lsn: u64) {
        self.history.add(at, lsn);
        for server in self.servers.load().iter() {
            server.set_behind_since(self.history.behind_since(server.position()));
        }
    }

    /// A replica has replayed up to `lsn`.
    pub(super) fn replica_at(&self, server: &Server, lsn: u64) {
        server.set_position(lsn);
        server.set_behind_since(self.history.behind_since(lsn));
    }

    /// The last moment that is known at which the primary had nothing that this replica has not replayed.
    pub fn whole_as_of(&self, server: &Server) -> Option<Instant> {
        self.history.as_of(server.replayed())
    }

    /// WAL that a replica has not replayed, in bytes.
    pub fn lag_bytes(&self, server: &Server) -> Option<u64> {
        self.history.newest().map(|newest| newest.saturating_sub(server.position()))
    }

    /// The newest timeline that a primary was on.
    pub fn newest_timeline(&self) -> u32 {
        self.newest_timeline.load(Ordering::Acquire)
    }

    /// Takes the claims of one round of health questions.
    pub fn decide(&self, claims: &[Claim]) {
        let servers = self.servers.load();
        let election = elect(claims, self.newest_timeline.load(Ordering::Acquire));
        for claim in claims {
            self.newest_timeline.fetch_max(claim.timeline, Ordering::AcqRel);
        }
        for index in &election.fenced {
            let Some(server) = servers.get(*index) else { continue };
            if server.set_state(State::Fenced) != State::Fenced {
                tracing::error!(server = %server.config.address, timeline = server.timeline(),
                    "server claims to be the primary and is not believed: it gets no statements");
            }
        }
        let before = self.primary();
        match election.primary {
            Some(index) => {
                if let Some(server) = servers.get(index).filter(|server| server.state() == State::Fenced) {
                    server.set_state(State::Up);
                }
                self.primary.store(index, Ordering::Release);
            }
            // Nobody claims it: the last one known stays, unless it is known to be something else now.
            None => {
                let demoted = before.and_then(|index| servers.get(index)).is_some_and(|server| {
                    server.is_removed()
                        || server.state() == State::Fenced
                        || server.said() == Some(Role::Replica)
                });
                if demoted {
                    self.primary.store(NONE, Ordering::Release);
                }
            }
        }
        if before != self.primary() {
            tracing::warn!(cluster = self.config.load().name, ?before, now = ?self.primary(), "the primary has changed");
            self.primary_changed();
        }
        self.rounds.notify_waiters();
    }

    /// Positions of another timeline prove nothing: every replica starts anew.
    fn primary_changed(&self) {
        self.era.fetch_add(1, Ordering::AcqRel);
        self.heard.store(0, Ordering::Release);
        self.history.clear();
        for server in self.servers.load().iter() {
            self.forget_coverage(server.index);
        }
        for database in self.databases() {
            if let Some(ledger) = database.ledger() {
                // What the old one said last may never have reached the new one.
                ledger.close();
            }
            database.freshness.note_all();
            database.catalog_changed();
        }
    }

    /// A change stream has brought a commit that ends here: replicas are asked until they have replayed it.
    pub fn hear(&self, end: u64) {
        if self.heard.fetch_max(end, Ordering::AcqRel) < end {
            self.positions_asked.notify_one();
        }
    }

    /// Whether this replica is known to have replayed all that change streams have brought.
    pub(super) fn has_followed_stream(&self, server: &Server) -> bool {
        server.replayed() >= self.heard.load(Ordering::Acquire)
    }

    /// Number of the primary's reign: another one after each change.
    pub fn era(&self) -> u64 {
        self.era.load(Ordering::Acquire)
    }

    /// Server `index` may not hold what it held.
    pub fn forget_coverage(&self, index: usize) {
        if let Some(server) = self.servers.load().get(index) {
            server.set_replayed(0);
        }
        for database in self.databases() {
            database.freshness.forget(index);
            // Who waits for it may have to go elsewhere.
            database.freshness.wake();
        }
        self.positions_asked.notify_one();
    }

    /// A session could not reach server `index`: a replica gets no more reads until it answers a health question.
    pub fn suspect_server(&self, index: usize) {
        if let Some(server) = self.servers.load().get(index)
            && server.is_readable_replica()
        {
            tracing::warn!(server = %server.config.address, "replica lost: reads go elsewhere");
            server.set_state(State::Down);
            self.forget_coverage(index);
        }
        self.suspect();
    }

    /// Server `index` answers again, or is the primary now: pauses after failed logins end.
    pub(super) fn lift_pauses(&self, index: usize) {
        for account in self.accounts() {
            account.pools().filter(|pool| pool.server.index == index).for_each(|pool| pool.lift_pause());
        }
    }

    /// Something is wrong: the servers are asked at once.
    pub fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// Becomes ready after the next round of health questions.
    pub fn next_round(&self) -> tokio::sync::futures::Notified<'_> {
        self.rounds.notified()
    }

    /// Becomes ready when another server than `index` is the primary, or none.
    pub async fn primary_is_not(&self, index: usize) {
        loop {
            let round = self.next_round();
            if self.primary() != Some(index) {
                return;
            }
            round.await;
        }
    }

    /// A place among those who wait for a primary; `None` if as many wait already as may wait for a pool.
    pub fn wait_for_primary(&self) -> Option<Waiting<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let place = Waiting(&self.waiting);
        (before < self.config.load().pool.waiters_max).then_some(place)
    }

    /// Clients that wait for a primary.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Waits until a health question is due out of turn.
    pub async fn suspected(&self) {
        self.suspected.notified().await;
    }

    /// Waits until a position is asked for.
    pub async fn positions_asked(&self) {
        self.positions_asked.notified().await;
    }

    /// Waits until a catalog is asked for.
    pub async fn catalogs_asked(&self) {
        self.catalogs_asked.notified().await;
    }

    /// The account of `user` in `database` (as the server calls it).
    pub fn account(&self, database: &str, user: &str) -> Arc<Account> {
        let key = (database.to_owned(), user.to_owned());
        if let Some(account) = self.lock_accounts().get(&key) {
            return Arc::clone(account);
        }
        let found = self.database(database);
        let pool = Arc::new(self.config.load().pool.clone());
        let mut accounts = self.lock_accounts();
        let account = accounts.entry(key).or_insert_with(|| Arc::new(Account::new(found, user, pool)));
        Arc::clone(account)
    }

    /// Whether databases that are asked for from now on are paused.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Notes whether databases that are asked for from now on are paused; returns whether that is a change.
    pub(super) fn set_paused(&self, paused: bool) -> bool {
        // Under the lock, so that no database is made meanwhile.
        let _databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        self.paused.swap(paused, Ordering::AcqRel) != paused
    }

    /// The database that the server calls `name`.
    pub fn database(&self, name: &str) -> Arc<Database> {
        let mut databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        let database = databases.entry(name.to_owned()).or_insert_with(|| {
            self.catalogs_asked.notify_one();
            self.positions_asked.notify_one();
            let positions = Arc::clone(&self.positions_asked);
            let cluster = &self.config.load().name;
            let database = Database::new(cluster, name, positions, Arc::clone(&self.catalogs_asked));
            if self.paused.load(Ordering::Acquire) {
                database.gate.close();
            }
            Arc::new(database)
        });
        Arc::clone(database)
    }

    fn lock_accounts(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Arc<Account>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All accounts.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        self.lock_accounts().values().cloned().collect()
    }

    /// All databases.
    pub fn databases(&self) -> Vec<Arc<Database>> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// A client's place among those who wait for a primary.
#[derive(Debug)]
pub struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
