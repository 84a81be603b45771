//! What plugins of a fleet keep together: their `kv` in the store that the fleet shares its results in.

use std::sync::Arc;
use std::time::Duration;

use pointsman_plugin_host::{KvError, KvFuture, SharedKv};
use pointsman_shared::{Kv, Miss, SharedConfig};

use crate::fault::Fault;

/// The store.
pub struct FleetKv(Arc<Kv>);

impl FleetKv {
    /// A store that is not connected to yet.
    ///
    /// # Errors
    /// F0000 if the configuration is wrong.
    pub fn new(config: SharedConfig) -> Result<Self, Fault> {
        let kv = Kv::new(config).map_err(|error| Fault::pointsman("F0000", "cache.redis").because(error))?;
        Ok(Self(Arc::new(kv)))
    }
}

fn unavailable(miss: Miss) -> KvError {
    KvError::Unavailable(miss.name().to_owned())
}

impl SharedKv for FleetKv {
    fn get(&self, key: String) -> KvFuture<Option<Vec<u8>>> {
        let kv = Arc::clone(&self.0);
        Box::pin(async move { kv.get(&key).await.map_err(unavailable) })
    }

    fn set(&self, key: String, value: Vec<u8>, ttl: Option<Duration>) -> KvFuture<()> {
        let kv = Arc::clone(&self.0);
        Box::pin(async move { kv.set(&key, &value, ttl).await.map_err(unavailable) })
    }

    fn delete(&self, key: String) -> KvFuture<()> {
        let kv = Arc::clone(&self.0);
        Box::pin(async move { kv.delete(&key).await.map_err(unavailable) })
    }

    fn increment(&self, key: String, by: i64, ttl: Option<Duration>) -> KvFuture<i64> {
        let kv = Arc::clone(&self.0);
        Box::pin(async move {
            let sum = kv.increment(&key, by, ttl).await.map_err(unavailable)?;
            sum.ok_or(KvError::NotANumber)
        })
    }
}
