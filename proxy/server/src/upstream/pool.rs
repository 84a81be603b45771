//! The connections of one database and user to one server: bounded, fairly waited for, closed when old or idle.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::config::PoolConfig;
use super::connect::{Login, connect, pool_parameters};
use super::connection::Connection;
use super::credentials::Credentials;
use super::database::Database;
use super::gate::Gate;
use super::lease::Lease;
use super::ping::ping;
use super::server::Server;
use crate::fault::Fault;
use queue::Queue;

mod pausing;
mod queue;

/// What a pool has done since it was made.
#[derive(Debug, Default)]
pub struct PoolCounters {
    /// Connections opened.
    pub opened: AtomicU64,
    /// Connections closed.
    pub closed: AtomicU64,
    /// Logins that failed.
    pub login_failures: AtomicU64,
    /// Check-outs that had to wait.
    pub waits: AtomicU64,
    /// Microseconds waited in all.
    pub wait_micros: AtomicU64,
}

/// How full a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolUse {
    /// Connections at rest.
    pub idle: usize,
    /// Connections that serve a client.
    pub in_use: usize,
    /// Connections being opened.
    pub opening: usize,
    /// Clients that wait.
    pub waiting: usize,
    /// How long the first of them has waited.
    pub longest_wait: Duration,
}

impl PoolUse {
    /// Connections open or being opened.
    pub fn total(&self) -> usize {
        self.idle + self.in_use + self.opening
    }
}

/// Server logins that failed: nobody tries again before `until`.
#[derive(Debug)]
struct Failing {
    fault: Fault,
    until: Instant,
    pause: Duration,
}

#[derive(Debug, Default)]
struct Inner {
    /// The most recently used last: it is taken first, so that a quiet pool shrinks.
    #[expect(clippy::vec_box, reason = "a connection moves from shelf to lease to waiter by its pointer")]
    idle: Vec<Box<Connection>>,
    /// At rest, in use and being opened.
    total: usize,
    opening: usize,
    queue: Queue,
    failing: Option<Failing>,
    retired: bool,
}

/// A pool.
#[derive(Debug)]
pub struct Pool {
    /// Where its connections lead.
    pub server: Arc<Server>,
    /// The database, as the server calls it.
    pub database: String,
    /// The user.
    pub user: String,
    /// What it has done.
    pub counters: PoolCounters,
    config: ArcSwap<PoolConfig>,
    credentials: ArcSwap<Credentials>,
    gate: Arc<Gate>,
    /// Held for a few instructions at a time, never across an await.
    inner: Mutex<Inner>,
}

impl Pool {
    /// An empty pool.
    pub fn new(server: Arc<Server>, database: &Database, user: &str, config: Arc<PoolConfig>) -> Self {
        Self {
            server,
            database: database.name.clone(),
            gate: Arc::clone(&database.gate),
            user: user.to_owned(),
            counters: PoolCounters::default(),
            config: ArcSwap::new(config),
            credentials: ArcSwap::default(),
            inner: Mutex::default(),
        }
    }

    /// Its settings.
    pub fn config(&self) -> Arc<PoolConfig> {
        self.config.load_full()
    }

    /// Changes its settings; connections whose startup parameters would differ are closed as they come back.
    pub fn reconfigure(&self, config: Arc<PoolConfig>) {
        let before = self.config.swap(Arc::clone(&config));
        if pool_parameters(&before) != pool_parameters(&config) {
            self.close_idle();
        }
    }

    /// What new connections log in with. Proof that worked replaces what was there and lifts a pause after failures.
    pub fn set_credentials(&self, credentials: &Credentials) {
        if **self.credentials.load() != *credentials {
            self.credentials.store(Arc::new(credentials.clone()));
            self.inner().failing = None;
        }
    }

    /// Its server answers again: whoever comes next tries it at once.
    pub fn lift_pause(&self) {
        self.inner().failing = None;
    }

    /// Closes what is idle, and what comes back from now on.
    pub fn retire(&self) {
        self.inner().retired = true;
        self.close_idle();
    }

    /// How full it is.
    pub fn usage(&self) -> PoolUse {
        let inner = self.inner();
        let (waiting, longest_wait) = inner.queue.waiting();
        PoolUse {
            idle: inner.idle.len(),
            in_use: inner.total - inner.idle.len() - inner.opening,
            opening: inner.opening,
            waiting,
            longest_wait,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection at rest, if one is alive and needs no sign of life first. Never waits.
    pub fn try_checkout(self: &Arc<Self>) -> Option<Lease> {
        if self.gate.is_closed() {
            return None;
        }
        loop {
            let mut connection = self.inner().idle.pop()?;
            if !self.is_of_this_generation(&connection) || !connection.is_alive() {
                self.forget(connection);
                continue;
            }
            if self.config.load().pre_ping.is_some_and(|limit| connection.idle_since.elapsed() > limit) {
                self.inner().idle.push(connection);
                return None;
            }
            return Some(Lease::new(connection, Arc::clone(self)));
        }
    }

    /// A connection, waited for in turn.
    ///
    /// # Errors
    /// The server's refusal, or 53300 when `waiters_max` clients wait already or `checkout_timeout` has passed.
    pub async fn checkout(self: &Arc<Self>) -> Result<Lease, Fault> {
        loop {
            let mut lease = match self.try_checkout() {
                Some(lease) => lease,
                None => self.wait().await?,
            };
            let Some(limit) = self.config.load().pre_ping else { return Ok(lease) };
            if lease.connection().idle_since.elapsed() <= limit {
                return Ok(lease);
            }
            let answer = ping(lease.connection(), self.config().connect_timeout);
            if Box::pin(answer).await.is_ok() {
                return Ok(lease);
            }
        }
    }

    async fn wait(self: &Arc<Self>) -> Result<Lease, Fault> {
        let since = Instant::now();
        let granted = {
            let config = self.config.load();
            let mut inner = self.inner();
            self.may_wait(&mut inner, &config)?;
            let granted = self.queue_up(&mut inner, since, config.checkout_timeout);
            // A connection that needs a sign of life was left on the shelf: it is the waiter's.
            if let Some(connection) = self.may_hand_out().then(|| inner.idle.pop()).flatten() {
                drop(inner);
                self.hand_over(connection);
            } else {
                self.open_for_waiters(&mut inner, &config);
            }
            granted
        };
        let outcome = granted.await;
        self.counters.waits.fetch_add(1, Ordering::Relaxed);
        let waited = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counters.wait_micros.fetch_add(waited, Ordering::Relaxed);
        match outcome {
            Ok(granted) => granted?.accept().ok_or_else(|| self.lost()),
            Err(_) => Err(self.lost()),
        }
    }

    fn may_wait(&self, inner: &mut Inner, config: &PoolConfig) -> Result<(), Fault> {
        if let Some(failing) = &inner.failing
            && inner.total == 0
            && self.may_hand_out()
            && Instant::now() < failing.until
        {
            return Err(failing.fault.clone());
        }
        if inner.queue.len() >= config.waiters_max {
            inner.queue.drop_leavers();
        }
        if inner.queue.len() >= config.waiters_max {
            return Err(self.full(&format!("{} clients wait already (waiters_max)", config.waiters_max)));
        }
        Ok(())
    }

    fn full(&self, why: &str) -> Fault {
        let config = self.config.load();
        let all = config.size + config.overflow;
        let told = format!("all {all} connections to database \"{}\" are busy: {why}", self.database);
        Fault::pointsman("53300", told).hint("Raise the pool's size, or shorten transactions.")
    }

    fn lost(&self) -> Fault {
        Fault::pointsman("57P01", format!("the pool of database \"{}\" was closed", self.database))
    }

    /// Opens a connection for each waiter that none is being opened for, within `size` and `overflow`.
    fn open_for_waiters(self: &Arc<Self>, inner: &mut Inner, config: &PoolConfig) {
        let paused = inner.failing.as_ref().is_some_and(|failing| Instant::now() < failing.until);
        while !paused
            && self.may_hand_out()
            && !inner.retired
            && inner.opening < inner.queue.len()
            && inner.total < config.size + config.overflow
        {
            self.open(inner);
        }
    }

    fn open(self: &Arc<Self>, inner: &mut Inner) {
        inner.total += 1;
        inner.opening += 1;
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            let config = pool.config();
            let login = Login {
                user: pool.user.clone(),
                database: pool.database.clone(),
                credentials: Credentials::clone(&pool.credentials.load()),
                parameters: pool_parameters(&config),
            };
            match connect(&pool.server, &login, &config).await {
                Ok(connection) => pool.opened(Box::new(connection)),
                Err(fault) => pool.failed(fault),
            }
        });
    }

    fn opened(self: &Arc<Self>, connection: Box<Connection>) {
        self.counters.opened.fetch_add(1, Ordering::Relaxed);
        {
            let mut inner = self.inner();
            inner.opening -= 1;
            inner.failing = None;
        }
        self.hand_over(connection);
    }

    /// A login failed: if there is no other connection to wait for, all who wait are told.
    fn failed(self: &Arc<Self>, fault: Fault) {
        self.counters.login_failures.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(server = %self.server.config.address, database = self.database, user = self.user, %fault,
            "server login failed");
        let config = self.config();
        let told = {
            let mut inner = self.inner();
            inner.opening -= 1;
            inner.total -= 1;
            let pause = inner.failing.as_ref().map_or(config.login_retry, |failing| failing.pause * 2);
            let pause = pause.min(config.login_retry_max);
            inner.failing = Some(Failing { fault: fault.clone(), until: Instant::now() + pause, pause });
            if inner.total == 0 { inner.queue.take_all() } else { Vec::new() }
        };
        for waiter in told {
            waiter.refuse(fault.clone());
        }
    }

    /// Takes a connection back from a lease: at ReadyForQuery `I`, with no reply owed.
    pub(super) fn put(self: &Arc<Self>, mut connection: Box<Connection>) {
        if connection.cancel.is_held() {
            self.put_when_released(connection);
            return;
        }
        let now = Instant::now();
        if !self.is_current(&connection, now) || connection.cancel.is_doubtful() {
            self.forget(connection);
            return;
        }
        connection.idle_since = now;
        self.hand_over(connection);
    }

    /// A cancel is under way for it: whoever got the connection now could be hit by it.
    fn put_when_released(self: &Arc<Self>, connection: Box<Connection>) {
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            let limit = pool.config().connect_timeout;
            match tokio::time::timeout(limit, connection.cancel.released()).await {
                Ok(()) => pool.put(connection),
                Err(_) => pool.forget(connection),
            }
        });
    }

    fn is_current(&self, connection: &Connection, now: Instant) -> bool {
        let young = |age| now.saturating_duration_since(connection.since) < age;
        self.is_of_this_generation(connection) && self.config.load().recycle.is_none_or(young)
    }

    fn is_of_this_generation(&self, connection: &Connection) -> bool {
        connection.generation == self.server.generation()
    }

    /// Gives a connection to the first who waits, or to the shelf.
    fn hand_over(self: &Arc<Self>, mut connection: Box<Connection>) {
        if !self.may_hand_out() {
            return self.forget(connection);
        }
        loop {
            let waiter = {
                let mut inner = self.inner();
                match inner.queue.pop() {
                    Some(waiter) => waiter,
                    None => return self.shelve(connection, inner),
                }
            };
            match waiter.grant(Lease::new(connection, Arc::clone(self))) {
                Some(back) => connection = back,
                None => return,
            }
        }
    }

    fn shelve(self: &Arc<Self>, connection: Box<Connection>, mut inner: MutexGuard<'_, Inner>) {
        if inner.retired || inner.total > self.config.load().size {
            drop(inner);
            self.forget(connection);
        } else {
            inner.idle.push(connection);
        }
    }

    /// Closes a connection and makes room for another.
    pub(super) fn forget(self: &Arc<Self>, connection: Box<Connection>) {
        drop(connection);
        self.counters.closed.fetch_add(1, Ordering::Relaxed);
        let config = self.config.load();
        let mut inner = self.inner();
        inner.total -= 1;
        self.open_for_waiters(&mut inner, &config);
    }

    fn close_idle(&self) {
        let closed = {
            let mut inner = self.inner();
            inner.total -= inner.idle.len();
            std::mem::take(&mut inner.idle)
        };
        self.counters.closed.fetch_add(closed.len() as u64, Ordering::Relaxed);
    }

    /// Closes what is dead, too old or idle for too long, and opens up to `min_idle`. Called about once a second.
    pub fn tidy(self: &Arc<Self>) {
        let config = self.config();
        let mut closed = Vec::new();
        let now = Instant::now();
        {
            let mut inner = self.inner();
            let mut keep = Vec::with_capacity(inner.idle.len());
            let mut rest = inner.total;
            // The least recently used first.
            for mut connection in std::mem::take(&mut inner.idle) {
                let idle = config.idle_timeout.is_some_and(|limit| connection.idle_since + limit < now);
                let surplus = idle && rest > config.min_idle;
                if surplus || !self.is_current(&connection, now) || !connection.is_alive() {
                    rest -= 1;
                    closed.push(connection);
                } else {
                    keep.push(connection);
                }
            }
            inner.idle = keep;
            inner.total = rest;
            let paused = inner.failing.as_ref().is_some_and(|failing| Instant::now() < failing.until);
            while !paused
                && self.may_hand_out()
                && !inner.retired
                && inner.total < config.min_idle.min(config.size)
            {
                self.open(&mut inner);
            }
            inner.queue.drop_leavers();
            self.open_for_waiters(&mut inner, &config);
        }
        self.counters.closed.fetch_add(closed.len() as u64, Ordering::Relaxed);
    }
}
