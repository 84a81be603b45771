//! How often the configuration was read again, and how that went.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::family::{Family, Shape, counter, descriptors, gauge};

const RELOADS: Shape = counter(
    "pointsman_reloads_total",
    "Reloads by outcome: taken (the new set is in use), refused (it was wrong, and the old set stays).",
);
const LAST_GOOD: Shape = gauge(
    "pointsman_last_reload_successful",
    "0 if the last reload was refused, so that what runs is not what the files say; else 1.",
);
const LOADED: Shape = gauge(
    "pointsman_config_loaded_timestamp_seconds",
    "When the configuration in use was taken, at start or by a reload, in seconds since 1970.",
);

/// Reloads counted.
#[derive(Debug)]
pub struct Reloads {
    taken: AtomicU64,
    refused: AtomicU64,
    last_refused: AtomicBool,
    loaded_micros: AtomicU64,
}

impl Default for Reloads {
    /// Of a process that has just taken its first configuration.
    fn default() -> Self {
        Self {
            taken: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            last_refused: AtomicBool::new(false),
            loaded_micros: AtomicU64::new(micros_now()),
        }
    }
}

impl Reloads {
    /// A new set is in use.
    pub fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.last_refused.store(false, Ordering::Relaxed);
        self.loaded_micros.store(micros_now(), Ordering::Relaxed);
    }

    /// A new set was wrong.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.last_refused.store(true, Ordering::Relaxed);
    }

    /// Reloads taken and refused since start.
    pub fn counts(&self) -> (u64, u64) {
        (self.taken.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// When the set in use was taken.
    pub fn loaded(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.loaded_micros.load(Ordering::Relaxed))
    }
}

fn micros_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Collects them.
pub(super) struct Collected {
    reloads: Arc<Reloads>,
    descriptors: Vec<Desc>,
}

impl Collected {
    pub(super) fn new(reloads: Arc<Reloads>) -> Result<Self, prometheus::Error> {
        Ok(Self { reloads, descriptors: descriptors(&[&RELOADS, &LAST_GOOD, &LOADED])? })
    }
}

impl Collector for Collected {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptors.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (taken, refused) = self.reloads.counts();
        let mut reloads = Family::new(&RELOADS);
        reloads.add(&[("outcome", "taken")], taken as f64);
        reloads.add(&[("outcome", "refused")], refused as f64);
        let good = f64::from(u8::from(!self.reloads.last_refused.load(Ordering::Relaxed)));
        let loaded = self.reloads.loaded().duration_since(UNIX_EPOCH).unwrap_or_default();
        vec![reloads.done(), Family::single(&LAST_GOOD, good), Family::single(&LOADED, loaded.as_secs_f64())]
    }
}
