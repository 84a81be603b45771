//! Entries in memory, bounded in bytes, shared by all workers. `quick_cache` chooses what to keep: a scan of keys that
//! are asked for once does not push out those that are asked for often.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Lifecycle, OptionsBuilder, Weighter};

use crate::entry::{Age, Entry, Millis};
use crate::key::Key;
use crate::ledger::Ledger;

/// What a store may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// All entries together, in bytes, their overhead included.
    pub bytes_max: usize,
    /// One entry, in bytes, its overhead included. At most an eighth of all.
    pub entry_bytes_max: usize,
}

/// An entry was not kept: it is larger than one may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an entry of {bytes} bytes is more than {bytes_max}")]
pub struct TooLarge {
    /// What it takes.
    pub bytes: usize,
    /// What one may take.
    pub bytes_max: usize,
}

/// What a look into the store finds.
#[derive(Debug, Clone)]
pub enum Look {
    /// To be served.
    Fresh(Arc<Entry>),
    /// To be served, while one session fetches it anew.
    Stale(Arc<Entry>),
    /// Nothing under this key.
    Absent,
    /// It was invalidated; removed.
    Invalidated,
    /// It was too old; removed.
    Expired,
}

/// Entries by key.
pub struct Store {
    cache: Cache<Place, Arc<Entry>, Weigher, BuildHasherDefault<Taken>, Leaving>,
    evicted: Arc<AtomicU64>,
    entry_bytes_max: usize,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("entries", &self.len()).field("bytes", &self.bytes()).finish()
    }
}

/// About what an entry takes, for the first size of the table: it grows as it must.
const ENTRY_BYTES_GUESSED: usize = 2048;
/// Entries for which the table has room from the beginning.
const ENTRIES_GUESSED_MAX: usize = 65_536;
/// Parts of the table that are locked apart.
const SHARDS_MAX: usize = 64;

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(limits: StoreLimits) -> Self {
        let entry_bytes_max = limits.entry_bytes_max.min(limits.bytes_max / 8);
        // An entry must fit into its part of the table, beside others.
        let shards = (limits.bytes_max / (8 * entry_bytes_max).max(1)).clamp(1, SHARDS_MAX);
        let shards = 1 << shards.ilog2();
        let guessed = (limits.bytes_max / ENTRY_BYTES_GUESSED).clamp(32 * shards, ENTRIES_GUESSED_MAX);
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity(guessed)
            .weight_capacity(limits.bytes_max as u64)
            .build()
            .expect("both capacities are given");
        let evicted = Arc::new(AtomicU64::new(0));
        let leaving = Leaving(Arc::clone(&evicted));
        Self {
            cache: Cache::with_options(options, Weigher, BuildHasherDefault::default(), leaving),
            evicted,
            entry_bytes_max,
        }
    }

    /// What may be served under this key now. The ledger is asked before the clock.
    #[must_use]
    pub fn look(&self, key: Key<'_>, ledger: &Ledger, now: Millis) -> Look {
        let Some(entry) = self.cache.get(&key) else { return Look::Absent };
        if !ledger.permits(entry.stamp(), entry.tags()) {
            // A closed ledger permits nothing for a while; when it is opened, all of this is void.
            self.remove(&entry);
            return Look::Invalidated;
        }
        match entry.age(now) {
            Age::Fresh => Look::Fresh(entry),
            Age::Stale => Look::Stale(entry),
            Age::Expired => {
                self.remove(&entry);
                Look::Expired
            }
        }
    }

    /// Removes this entry, unless another one took its place.
    fn remove(&self, entry: &Arc<Entry>) {
        let key = Key::new(entry.key());
        self.cache.remove_if(&key, |found| Arc::ptr_eq(found, entry));
    }

    /// Keeps an entry, in place of another with its key.
    pub fn insert(&self, entry: Arc<Entry>) -> Result<(), TooLarge> {
        let bytes = entry.weight();
        if bytes > self.entry_bytes_max {
            return Err(TooLarge { bytes, bytes_max: self.entry_bytes_max });
        }
        self.cache.insert(Place(Arc::clone(&entry)), entry);
        Ok(())
    }

    /// Removes all. The ledger is what makes entries void; this gives their memory back.
    pub fn clear(&self) {
        self.cache.clear();
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// What they take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// What they may take, in bytes.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.cache.capacity()
    }

    /// How many were pushed out by others.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

/// A key in the table: that of its entry.
struct Place(Arc<Entry>);

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.0.hash == other.0.hash && self.0.key == other.0.key
    }
}

impl Eq for Place {}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(Key::hash(self));
    }
}

impl Equivalent<Place> for Key<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        Key::hash(self) == place.0.hash && *self.bytes() == *place.0.key
    }
}

/// Takes the hash that the key has.
#[derive(Default)]
struct Taken(u64);

impl Hasher for Taken {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = crate::hash::stable(self.0, bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Clone)]
struct Weigher;

impl Weighter<Place, Arc<Entry>> for Weigher {
    fn weight(&self, _: &Place, entry: &Arc<Entry>) -> u64 {
        entry.weight() as u64
    }
}

/// Counts those that are pushed out.
#[derive(Clone)]
struct Leaving(Arc<AtomicU64>);

impl Lifecycle<Place, Arc<Entry>> for Leaving {
    /// What was pushed out, to be dropped after the lock.
    type RequestState = Vec<Place>;

    fn on_evict(&self, state: &mut Vec<Place>, place: Place, _: Arc<Entry>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        state.push(place);
    }
}

#[cfg(test)]
mod tests;
