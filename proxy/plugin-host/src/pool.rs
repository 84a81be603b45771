//! A plugin's instances that wait for their next call, apart for each worker; and what each worker remembers and counts.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::instance::Instance;
use crate::memo::Memos;
use crate::stats::{Counts, Stats};

/// Workers that have a shelf of their own; more of them share.
pub(crate) const SHELVES: usize = 16;

static WORKERS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static WORKER: Cell<usize> = Cell::new(WORKERS.fetch_add(1, Ordering::Relaxed) % SHELVES);
}

/// This worker's number, below [`SHELVES`].
pub(crate) fn worker() -> usize {
    WORKER.get()
}

/// One worker's part, on cache lines of its own.
#[repr(align(128))]
pub(crate) struct Shelf {
    free: Mutex<Vec<Instance>>,
    memos: Mutex<Memos>,
    pub(crate) stats: Stats,
}

/// All parts.
pub(crate) struct Pool {
    shelves: Box<[Shelf]>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub(crate) fn new(memos_max: usize) -> Self {
        let shelf = |_| Shelf {
            free: Mutex::new(Vec::new()),
            memos: Mutex::new(Memos::new(memos_max)),
            stats: Stats::default(),
        };
        Self { shelves: (0..SHELVES).map(shelf).collect() }
    }

    /// This worker's part.
    pub(crate) fn own(&self) -> &Shelf {
        &self.shelves[worker()]
    }

    /// An instance of this worker's, or else of another's.
    pub(crate) fn take(&self) -> Option<Instance> {
        let first = worker();
        let mut shelves = (0..SHELVES).map(|at| &self.shelves[(first + at) % SHELVES]);
        shelves.find_map(|shelf| lock(&shelf.free).pop())
    }

    /// Puts one back that can be called again.
    pub(crate) fn put(&self, instance: Instance) {
        lock(&self.own().free).push(instance);
    }

    /// How many wait.
    pub(crate) fn idle(&self) -> usize {
        self.shelves.iter().map(|shelf| lock(&shelf.free).len()).sum()
    }

    /// Forgets all verdicts.
    pub(crate) fn forget(&self) {
        self.shelves.iter().for_each(|shelf| shelf.memos().clear());
    }

    /// Takes out all.
    pub(crate) fn drain(&self) -> Vec<Instance> {
        self.shelves.iter().flat_map(|shelf| std::mem::take(&mut *lock(&shelf.free))).collect()
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.shelves.iter().for_each(|shelf| shelf.stats.add_to(&mut counts));
        counts
    }
}

impl Shelf {
    pub(crate) fn memos(&self) -> MutexGuard<'_, Memos> {
        lock(&self.memos)
    }
}
