//! The engine that compiles and runs plugins, and the clock by which their calls are ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use wasmtime::{Config, Engine, EngineWeak, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::spec::MEMORY_BYTES_MAX;

/// How exact deadlines are.
const TICK: Duration = Duration::from_millis(1);

/// How long the clock ticks on after the last call could have ended, in ticks.
const TICKS_AFTER: u64 = 1_000;

/// The longest deadline: epochs must not overflow.
const TICKS_MAX: u64 = u64::MAX / 4;

/// How many ticks a duration takes, at least.
pub(crate) fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis() / TICK.as_millis()).unwrap_or(TICKS_MAX).min(TICKS_MAX) + 1
}

/// An engine with room for so many instances of all plugins.
pub(crate) fn engine(instances_max: u32) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances_max)
        // Some languages link a component of dozens of modules; they are only counted.
        .total_core_instances(instances_max.saturating_mul(64))
        .total_memories(instances_max)
        .total_tables(instances_max.saturating_mul(4))
        .max_tables_per_module(4)
        // Nor does one instance take what many could have.
        .max_tables_per_component(16)
        .max_memories_per_component(4)
        .total_stacks(instances_max)
        .table_elements(1 << 16)
        .max_memory_size(MEMORY_BYTES_MAX)
        // Cleared by hand up to here, which is faster than by the kernel.
        .linear_memory_keep_resident(64 << 10)
        .table_keep_resident(16 << 10);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(1 << 20);
    Engine::new(&config)
}

/// Advances an engine's epoch while calls may run, by a thread that sleeps while there are none.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    sleeper: Thread,
}

#[derive(Debug)]
struct Shared {
    /// A call began since the last tick.
    began: AtomicBool,
    /// The thread sleeps, or is about to.
    asleep: AtomicBool,
    stopped: AtomicBool,
    /// The longest that a call may take, in ticks.
    longest: AtomicU64,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            began: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            longest: AtomicU64::new(0),
        });
        let (theirs, engine) = (Arc::clone(&shared), engine.weak());
        let thread = std::thread::Builder::new()
            .name("plugin-clock".to_owned())
            .spawn(move || tick(&theirs, &engine))?;
        let sleeper = thread.thread().clone();
        Ok(Self { shared, thread: Some(thread), sleeper })
    }

    /// Calls may take so long from now on.
    pub(crate) fn expect(&self, longest: Duration) {
        self.shared.longest.fetch_max(ticks(longest), Ordering::SeqCst);
    }

    /// A call begins. It ends within the longest time that was announced.
    pub(crate) fn begin(&self) {
        if self.shared.began.load(Ordering::SeqCst) {
            return;
        }
        self.shared.began.store(true, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.sleeper.unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.sleeper.unpark();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn tick(shared: &Shared, engine: &EngineWeak) {
    let mut quiet: u64 = 0;
    while !shared.stopped.load(Ordering::SeqCst) {
        std::thread::sleep(TICK);
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
        quiet = if shared.began.swap(false, Ordering::SeqCst) { 0 } else { quiet.saturating_add(1) };
        if quiet <= shared.longest.load(Ordering::SeqCst).saturating_add(TICKS_AFTER) {
            continue;
        }
        shared.asleep.store(true, Ordering::SeqCst);
        while !shared.began.load(Ordering::SeqCst) && !shared.stopped.load(Ordering::SeqCst) {
            std::thread::park();
        }
        shared.asleep.store(false, Ordering::SeqCst);
        quiet = 0;
    }
}
