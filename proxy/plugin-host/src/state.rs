//! What an instance carries: the call that it is in, its limits, and what it may reach of its plugin's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use wasmtime::{ResourceLimiter, StoreContextMut, UpdateDeadline};

use crate::call::{Session, Statement};
use crate::engine::ticks;
use crate::kv::{MemoryKv, SharedKv};
use crate::log::LogLimit;
use crate::lookup::Lookup;
use crate::metrics::Registry;
use crate::spec::PluginSpec;

/// The largest table of functions.
const TABLE_ELEMENTS_MAX: usize = 1 << 16;

/// Where a plugin's keys and values are.
pub(crate) enum Kv {
    Memory(Arc<MemoryKv>),
    Shared(Arc<dyn SharedKv>),
}

/// What all instances of a plugin share.
pub(crate) struct Shared {
    pub(crate) spec: PluginSpec,
    pub(crate) config: String,
    pub(crate) kv: Kv,
    pub(crate) lookup: Option<Arc<dyn Lookup>>,
    pub(crate) metrics: Arc<Registry>,
    pub(crate) log: LogLimit,
    /// Memory of all instances, in bytes.
    pub(crate) memory: AtomicUsize,
    /// How many there are.
    pub(crate) instances: AtomicUsize,
}

/// Data of one instance's store.
pub(crate) struct State {
    pub(crate) shared: Arc<Shared>,
    pub(crate) session: Option<Arc<dyn Session>>,
    pub(crate) statement: Option<Arc<dyn Statement>>,
    /// The database at hand, where there is no session.
    pub(crate) database: Option<String>,
    /// `init` runs: metrics may be registered.
    pub(crate) initialising: bool,
    began: Instant,
    deadline: Duration,
    /// How long lookups of this call took.
    pub(crate) waited: Duration,
    memory: usize,
    denied: bool,
}

impl State {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.instances.fetch_add(1, Ordering::Relaxed);
        let deadline = shared.spec.limits.init_deadline;
        Self {
            shared,
            session: None,
            statement: None,
            database: None,
            initialising: true,
            began: Instant::now(),
            deadline,
            waited: Duration::ZERO,
            memory: 0,
            denied: false,
        }
    }

    /// A call begins; gives its deadline in ticks.
    pub(crate) fn begin(&mut self, began: Instant, deadline: Duration) -> u64 {
        self.began = began;
        self.deadline = deadline;
        self.waited = Duration::ZERO;
        self.denied = false;
        ticks(deadline)
    }

    /// The deadline of the call at hand.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Whether it was denied memory in the call at hand.
    pub(crate) fn was_denied_memory(&self) -> bool {
        self.denied
    }

    /// Whether it takes so much memory that a new instance is better.
    pub(crate) fn is_bloated(&self) -> bool {
        self.memory > self.shared.spec.limits.memory_bytes_max / 4 * 3
    }

    /// Whether the time is over; the ticks that are left.
    pub(crate) fn late(state: StoreContextMut<'_, Self>) -> wasmtime::Result<UpdateDeadline> {
        let state = state.data();
        let left = state.deadline.saturating_add(state.waited).saturating_sub(state.began.elapsed());
        Ok(if left.is_zero() { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(ticks(left)) })
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.shared.instances.fetch_sub(1, Ordering::Relaxed);
        self.shared.memory.fetch_sub(self.memory, Ordering::Relaxed);
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // A bound of the plugin's own: that it is reached is not our limit's doing.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let growth = desired.saturating_sub(current);
        if self.memory.saturating_add(growth) > self.shared.spec.limits.memory_bytes_max {
            self.denied = true;
            return Ok(false);
        }
        self.memory += growth;
        self.shared.memory.fetch_add(growth, Ordering::Relaxed);
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}
