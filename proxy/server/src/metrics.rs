//! What Prometheus is told: counters that each worker keeps for itself, summed when asked, and the state of pools,
//! servers and clients at that moment.

use std::sync::{Arc, OnceLock, Weak};

use prometheus::core::Collector;
use prometheus::{Registry, TextEncoder};

mod caching;
mod counters;
mod databases;
mod family;
mod plugins;
mod process;
mod reloads;
mod rules;
mod sharded;
mod snapshot;
#[cfg(test)]
mod tests;
mod usage;
mod work;

pub use caching::{CacheRuleSnapshot, CacheSnapshot, LedgerSnapshot};
pub use counters::{Side, StatementKind, Target, WorkerCounters};
pub use databases::DatabaseSnapshot;
pub use plugins::PluginSnapshot;
pub use reloads::Reloads;
pub use rules::RuleSnapshot;
pub use sharded::{ShardedSnapshot, TwoPhaseSnapshot};
pub use snapshot::{ClientSnapshot, PoolSnapshot, PoolSource, ServerSnapshot};
pub use usage::{Period, Usage, Used};

/// All metrics of one proxy. Passed on, never fetched.
pub struct Metrics {
    registry: Registry,
    workers: Arc<[Arc<WorkerCounters>]>,
    source: Arc<OnceLock<Weak<dyn PoolSource>>>,
    /// Reloads counted.
    pub reloads: Arc<Reloads>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Metrics of a proxy with this many workers, each of which keeps templates up to `templates_max`.
    ///
    /// # Errors
    /// Two metrics of one name, which is a mistake in this program.
    pub fn new(workers: usize, templates_max: usize) -> Result<Arc<Self>, prometheus::Error> {
        let workers: Arc<[_]> = (0..workers).map(|_| Arc::new(WorkerCounters::default())).collect();
        let source = Arc::new(OnceLock::new());
        let reloads = Arc::new(Reloads::default());
        let registry = Registry::new();
        let collectors: [Box<dyn Collector>; 4] = [
            Box::new(work::Work::new(workers.clone(), templates_max)?),
            Box::new(snapshot::State::new(source.clone())?),
            Box::new(process::Process::new()?),
            Box::new(reloads::Collected::new(reloads.clone())?),
        ];
        for collector in collectors {
            registry.register(collector)?;
        }
        Ok(Arc::new(Self { registry, workers, source, reloads }))
    }

    /// The counters of one worker, numbered from 0; a number past the last begins again at 0.
    pub fn worker(&self, index: usize) -> Arc<WorkerCounters> {
        self.workers[index % self.workers.len()].clone()
    }

    /// Where the state of pools, servers and clients is asked for from now on; only the first call counts. The source is
    /// not kept alive by this.
    pub fn watch(&self, source: &Arc<dyn PoolSource>) {
        self.source.get_or_init(|| Arc::downgrade(source));
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// A metric without samples or name, which is a mistake in this program.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Where other rooms register metrics of their own.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}
