//! Results kept in memory: where they are, and what keeps them from being served when they are no longer true. Sessions
//! look here and fill (`session/cached`, `session/filling`) and note what they write (`session/written`); tasks beside
//! them see to each database's ledger.

pub mod changes;
pub mod config;
pub mod console;
pub mod definitions;
pub mod fleet;
pub mod keeper;
pub mod tags;
pub mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use pointsman_cache::{Flights, Millis, Store, StoreLimits};

use config::CacheConfig;
use fleet::Fleet;
use pointsman_shared::ConfigError;

/// All entries of the process, of every cluster and database, and the fills under way.
#[derive(Debug)]
pub struct ResultCache {
    /// The entries.
    pub store: Store,
    /// The fills under way.
    pub flights: Arc<Flights>,
    /// The largest result kept, in bytes.
    pub entry_bytes_max: usize,
    /// What `Millis` count from.
    began: Instant,
    /// The other proxies; none if results are not shared.
    pub fleet: Option<Arc<Fleet>>,
    /// Tags marked by request, since start.
    invalidated: AtomicU64,
}

impl ResultCache {
    /// An empty cache; none if it may hold nothing.
    ///
    /// # Errors
    /// The shared store's configuration cannot be used.
    pub fn new(config: &CacheConfig) -> Result<Option<Arc<Self>>, ConfigError> {
        if config.memory == 0 {
            return Ok(None);
        }
        let fleet = config.redis.as_ref().map(|redis| Fleet::new(redis.shared())).transpose()?;
        let limits = StoreLimits { bytes_max: config.memory, entry_bytes_max: config.max_entry };
        Ok(Some(Arc::new(Self {
            store: Store::new(limits),
            flights: Flights::new(),
            entry_bytes_max: config.max_entry,
            began: Instant::now(),
            fleet,
            invalidated: AtomicU64::new(0),
        })))
    }

    /// A moment, as entries have it.
    pub fn at(&self, now: Instant) -> Millis {
        Millis(u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX))
    }

    /// Somebody asked for an invalidation.
    pub fn count_invalidated(&self) {
        self.invalidated.fetch_add(1, Ordering::Relaxed);
    }

    /// Invalidations by request since start.
    pub fn invalidated(&self) -> u64 {
        self.invalidated.load(Ordering::Relaxed)
    }
}
