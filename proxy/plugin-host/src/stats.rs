//! Counters of one plugin, kept apart for each worker and summed when asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{CallError, FAILURE_KINDS};
use crate::verdict::VERDICT_KINDS;

/// One worker's counters.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    calls: AtomicU64,
    nanoseconds: AtomicU64,
    remembered: AtomicU64,
    instances: AtomicU64,
    verdicts: [AtomicU64; VERDICT_KINDS.len()],
    failures: [AtomicU64; FAILURE_KINDS.len()],
}

/// A plugin's counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Calls of hooks that went well.
    pub calls: u64,
    /// What they and those that failed took.
    pub took: Duration,
    /// Verdicts that were remembered, so that there was no call.
    pub remembered: u64,
    /// Instances that were made.
    pub instances_made: u64,
    /// Verdicts of `on-query`, in the order of [`VERDICT_KINDS`], those remembered included.
    pub verdicts: [u64; VERDICT_KINDS.len()],
    /// Calls that failed, in the order of [`FAILURE_KINDS`].
    pub failures: [u64; FAILURE_KINDS.len()],
}

impl Stats {
    pub(crate) fn called(&self, took: Duration) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.spent(took);
    }

    fn spent(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, error: &CallError, took: Duration) {
        self.failures[error.kind() as usize].fetch_add(1, Ordering::Relaxed);
        self.spent(took);
    }

    pub(crate) fn remembered(&self) {
        self.remembered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn judged(&self, verdict: usize) {
        self.verdicts[verdict].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn made(&self) {
        self.instances.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_to(&self, counts: &mut Counts) {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        counts.calls += value(&self.calls);
        counts.took += Duration::from_nanos(value(&self.nanoseconds));
        counts.remembered += value(&self.remembered);
        counts.instances_made += value(&self.instances);
        for (sum, counter) in counts.verdicts.iter_mut().zip(&self.verdicts) {
            *sum += value(counter);
        }
        for (sum, counter) in counts.failures.iter_mut().zip(&self.failures) {
            *sum += value(counter);
        }
    }
}
