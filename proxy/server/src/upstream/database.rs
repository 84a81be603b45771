//! What is known of one database: its catalog, and which replicas hold all of its acknowledged writes.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use pointsman_cache::Tags;
use pointsman_cache::ledger::{KEY_SLOTS_DEFAULT, Ledger};
use pointsman_policy::catalog::Catalog;
use tokio::sync::Notify;

use super::cluster::SERVERS_MAX;
use super::freshness::Freshness;
use super::gate::Gate;
use super::watched::Watched;

/// Shortest time between two readings of the catalog for the sake of functions that it did not hold.
const REREAD_MIN: Duration = Duration::from_secs(1);
/// Altered relations remembered.
const ALTERED_MAX: usize = 10_000;

/// A database.
#[derive(Debug)]
pub struct Database {
    /// Its name on the servers.
    pub name: String,
    /// The name of its cluster.
    pub cluster: String,
    /// Which replicas are fresh.
    pub freshness: Arc<Freshness>,
    /// Whether its connections are handed out.
    pub gate: Arc<Gate>,
    /// Whether changes that do not pass through here are heard of.
    pub watched: Watched,
    /// What of its results is no longer true; made when a policy caches something.
    ledger: OnceLock<Arc<Ledger>>,
    /// What its tags begin with: its cluster and its name.
    space: Box<[u8]>,
    /// Where its results are shared with other proxies.
    shared: OnceLock<pointsman_shared::Database>,
    catalog: ArcSwap<Catalog>,
    stale: AtomicBool,
    /// Definitions were changed since the catalog was read: what it says of them may be wrong.
    changed: AtomicBool,
    asked: Arc<Notify>,
    /// The number of its catalogs: see [`Catalog::origin`].
    origin: u32,
    /// Counts up when definitions change. Shards of one database share it: a statement is prepared on any of them.
    epoch: ArcSwap<AtomicU64>,
    /// Relations by name, with the number of their last change. Locked at changes, and when a statement is prepared
    /// on a connection that does not have it.
    altered: Mutex<HashMap<Box<str>, u64>>,
    /// Wakes those who wait for the catalog to be read.
    read: Notify,
    /// The catalog could not be read last time.
    failing: AtomicBool,
    /// When it was last read for the sake of an unknown function. Held while it is read: others wait for the same.
    reread: tokio::sync::Mutex<Option<Instant>>,
}

impl Database {
    /// A database whose catalog is not known yet: until then, nothing that calls a function or reads a relation
    /// counts as read-only.
    pub fn new(cluster: &str, name: &str, positions: Arc<Notify>, catalogs: Arc<Notify>) -> Self {
        static ORIGINS: AtomicU32 = AtomicU32::new(1);
        let origin = ORIGINS.fetch_add(1, Ordering::Relaxed);
        Self {
            name: name.to_owned(),
            cluster: cluster.to_owned(),
            watched: Watched::default(),
            ledger: OnceLock::new(),
            shared: OnceLock::new(),
            space: [cluster.as_bytes(), b"\0", name.as_bytes()].concat().into(),
            freshness: Arc::new(Freshness::new(SERVERS_MAX, positions)),
            gate: Arc::default(),
            origin,
            catalog: ArcSwap::from_pointee(Catalog::unknown().of(origin)),
            stale: AtomicBool::new(true),
            changed: AtomicBool::new(true),
            asked: catalogs,
            epoch: ArcSwap::default(),
            altered: Mutex::default(),
            read: Notify::new(),
            failing: AtomicBool::new(false),
            reread: tokio::sync::Mutex::default(),
        }
    }

    /// What of its results is no longer true, if results are kept.
    pub fn ledger(&self) -> Option<&Arc<Ledger>> {
        self.ledger.get()
    }

    /// Begins to keep a ledger.
    pub fn keep_ledger(&self) -> &Arc<Ledger> {
        self.ledger.get_or_init(|| Ledger::new(KEY_SLOTS_DEFAULT))
    }

    /// What its tags begin with.
    pub fn space(&self) -> &[u8] {
        &self.space
    }

    /// Nothing that was kept of its results is served any more.
    pub fn forget_results(&self) {
        self.mark(&Tags::everything());
    }

    /// What depends on these tags is served no more, here or by other proxies. Fills from replicas wait until they have
    /// followed.
    pub fn mark(&self, tags: &Tags) {
        if let Some(ledger) = self.ledger() {
            self.publish(tags);
            ledger.invalidate(tags);
            self.freshness.note_all();
        }
    }

    /// Other proxies are to hear of these tags. Called before they are marked in the ledger.
    pub fn publish(&self, tags: &Tags) {
        if let Some(shared) = self.shared() {
            shared.push(tags);
        }
    }

    /// Where its results are shared, if they are.
    pub fn shared(&self) -> Option<&pointsman_shared::Database> {
        self.shared.get()
    }

    /// Its results are shared from now on.
    pub fn share(&self, make: impl FnOnce() -> pointsman_shared::Database) {
        self.shared.get_or_init(make);
    }

    /// The catalog as last read.
    pub fn catalog(&self) -> arc_swap::Guard<Arc<Catalog>> {
        self.catalog.load()
    }

    /// Definitions may have changed: until the catalog has been read again, nothing counts as provably read-only.
    pub fn catalog_changed(&self) {
        self.definitions_changed();
        self.changed.store(true, Ordering::Release);
        self.stale.store(true, Ordering::Release);
        self.asked.notify_one();
    }

    /// Statements prepared from now on are others than those of the same text prepared before.
    pub fn definitions_changed(&self) {
        self.epoch.load().fetch_add(1, Ordering::AcqRel);
    }

    /// These relations were altered, or are being altered in a transaction.
    pub fn altered<'a>(&self, relations: impl Iterator<Item = &'a str>) {
        self.definitions_changed();
        let now = self.epoch();
        let mut altered = self.altered.lock().unwrap_or_else(PoisonError::into_inner);
        if altered.len() >= ALTERED_MAX {
            altered.clear();
        }
        altered.extend(relations.map(|name| (name.into(), now)));
    }

    /// Whether one of these relations was altered after the change of this number.
    pub fn altered_since<'a>(&self, epoch: u64, mut relations: impl Iterator<Item = &'a str>) -> bool {
        let altered = self.altered.lock().unwrap_or_else(PoisonError::into_inner);
        relations.any(|name| altered.get(name).is_some_and(|change| *change > epoch))
    }

    /// Whether the catalog is as definitions are, as far as is known.
    pub fn is_catalog_current(&self) -> bool {
        !self.changed.load(Ordering::Acquire)
    }

    /// Whether the catalog must be read again, from now on.
    pub(super) fn take_stale(&self) -> bool {
        self.stale.swap(false, Ordering::AcqRel)
    }

    /// The catalog is to be read again; what is known of it stays in use.
    pub(super) fn refresh(&self) {
        self.stale.store(true, Ordering::Release);
    }

    /// The catalog could not be read: nobody waits for it until it could.
    pub(super) fn cannot_be_read(&self) {
        self.failing.store(true, Ordering::Release);
        self.refresh();
        self.read.notify_waiters();
    }

    /// Whether the catalog is not current, and is being read.
    pub fn is_catalog_awaited(&self) -> bool {
        !self.is_catalog_current() && !self.failing.load(Ordering::Acquire)
    }

    /// The catalog was read. If definitions changed meanwhile, what was read is dropped.
    pub(super) fn set_catalog(&self, catalog: Catalog) {
        let mut catalog = catalog.of(self.origin);
        if !self.stale.load(Ordering::Acquire) {
            catalog.follow(&self.catalog.load());
            let families = catalog.families();
            let renamed = families != self.catalog.load().families();
            if renamed {
                // No read is planned by the new families before writes noted under the old ones count for all.
                self.changed.store(true, Ordering::SeqCst);
            }
            self.catalog.store(Arc::new(catalog));
            self.freshness.set_families(families);
            if renamed {
                // Tags mean other relations now.
                self.forget_results();
            }
            self.changed.store(self.stale.load(Ordering::SeqCst), Ordering::SeqCst);
            self.failing.store(false, Ordering::Release);
            self.read.notify_waiters();
        }
    }

    /// Changes of definitions noticed so far: what was prepared before the last one is prepared again.
    pub fn epoch(&self) -> u64 {
        self.epoch.load().load(Ordering::Acquire)
    }

    /// Counts changes of definitions together with another database from now on: both are shards of one.
    pub fn count_changes_with(&self, other: &Self) {
        self.epoch.store(other.epoch.load_full());
    }

    /// Has the catalog read again because it lacks something that was perhaps made elsewhere, and waits for it, for
    /// `limit` at the most. If that was done a moment ago, it is not done again.
    pub async fn reread(&self, limit: Duration) {
        let reread = async {
            let mut last = self.reread.lock().await;
            if last.is_some_and(|at| at.elapsed() < REREAD_MIN) {
                return;
            }
            let read = self.read.notified();
            self.refresh();
            self.asked.notify_one();
            read.await;
            *last = Some(Instant::now());
        };
        // Not read in time: what is not known counts as what may do anything.
        let _late = tokio::time::timeout(limit, reread).await;
    }

    /// Waits until the catalog is known, for `limit` at the most.
    pub async fn catalog_known(&self, limit: Duration) {
        let known = async {
            loop {
                let read = self.read.notified();
                if !self.is_catalog_awaited() {
                    return;
                }
                read.await;
            }
        };
        // Not known in time: what depends on it goes to the primary.
        let _late = tokio::time::timeout(limit, known).await;
    }
}
