//! The engine that compiles and runs plugins, and the clock by which their calls are ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use wasmtime::{Config, Engine, EngineWeak, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::pool::{SHELVES, worker};
use crate::spec::MEMORY_BYTES_MAX;

/// How exact deadlines are.
const TICK: Duration = Duration::from_millis(1);

/// How long the clock ticks on after the last call, in ticks: to sleep and be woken costs more than some ticks.
const TICKS_AFTER: u64 = 100;

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

/// Advances an engine's epoch while calls run, by a thread that sleeps while there are none.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    sleeper: Thread,
}

/// Calls of one worker, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Calls(AtomicUsize);

#[derive(Debug, Default)]
struct Shared {
    /// Calls that run, apart for each worker.
    running: [Calls; SHELVES],
    /// A call began since the last tick.
    began: AtomicBool,
    /// The thread sleeps, or is about to.
    asleep: AtomicBool,
    stopped: AtomicBool,
}

/// A call that runs: until this is dropped, the clock ticks.
#[derive(Debug)]
pub(crate) struct Running<'a>(&'a Calls);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Release);
    }
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (theirs, engine) = (Arc::clone(&shared), engine.weak());
        let thread = std::thread::Builder::new()
            .name("plugin-clock".to_owned())
            .spawn(move || tick(&theirs, &engine))?;
        let sleeper = thread.thread().clone();
        Ok(Self { shared, thread: Some(thread), sleeper })
    }

    /// A call begins.
    pub(crate) fn begin(&self) -> Running<'_> {
        let calls = &self.shared.running[worker()];
        // Either the thread sees this call before it sleeps, or we see that it sleeps.
        calls.0.fetch_add(1, Ordering::SeqCst);
        if !self.shared.began.load(Ordering::Relaxed) {
            self.shared.began.store(true, Ordering::SeqCst);
        }
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.sleeper.unpark();
        }
        Running(calls)
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

impl Shared {
    /// Whether a call runs, or one did since this was asked before.
    fn is_busy(&self) -> bool {
        let began = self.began.swap(false, Ordering::SeqCst);
        began || self.running.iter().any(|calls| calls.0.load(Ordering::SeqCst) > 0)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

fn tick(shared: &Shared, engine: &EngineWeak) {
    let mut quiet: u64 = 0;
    while !shared.is_stopped() {
        std::thread::sleep(TICK);
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
        quiet = if shared.is_busy() { 0 } else { quiet + 1 };
        if quiet <= TICKS_AFTER {
            continue;
        }
        shared.asleep.store(true, Ordering::SeqCst);
        while !shared.is_busy() && !shared.is_stopped() {
            std::thread::park();
        }
        shared.asleep.store(false, Ordering::SeqCst);
        quiet = 0;
    }
}
