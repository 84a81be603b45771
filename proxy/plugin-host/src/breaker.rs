//! A plugin's breaker: one that keeps failing is not asked for a while, then by one call.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The longest that a plugin is left alone, in times of the first.
const DOUBLINGS_MAX: u32 = 6;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since some moment, from 1.
fn now_ms() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

/// How a call is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// As each is.
    Usual,
    /// Alone, to see whether the plugin answers again.
    Trial,
}

/// Whether a plugin is asked.
#[derive(Debug)]
pub(crate) struct Breaker {
    failures: AtomicU32,
    /// Those that the last success put an end to.
    ended: AtomicU32,
    failures_max: u32,
    retry: Duration,
    /// When the next call is let through, in milliseconds; 0: each is.
    until: AtomicU64,
    openings: AtomicU32,
}

impl Breaker {
    pub(crate) fn new(failures_max: u32, retry: Duration) -> Self {
        Self {
            failures: AtomicU32::new(0),
            ended: AtomicU32::new(0),
            failures_max: failures_max.max(1),
            retry,
            until: AtomicU64::new(0),
            openings: AtomicU32::new(0),
        }
    }

    /// Lets a call through: each one, or one after each back-off.
    pub(crate) fn permits(&self) -> Option<Turn> {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return Some(Turn::Usual);
        }
        let now = now_ms();
        // A trial that never ends, as its client left, is followed by another.
        let next = now.saturating_add(self.pause());
        let ours = now >= until
            && self.until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        ours.then_some(Turn::Trial)
    }

    /// Whether the plugin is left alone.
    pub(crate) fn is_open(&self) -> bool {
        self.until.load(Ordering::Relaxed) != 0
    }

    /// A call went well. Whether that is the end of being left alone.
    pub(crate) fn succeeded(&self) -> bool {
        let failures = self.failures.load(Ordering::Relaxed);
        if self.ended.load(Ordering::Relaxed) != failures {
            self.ended.store(failures, Ordering::Relaxed);
        }
        if failures == 0 {
            return false;
        }
        self.failures.store(0, Ordering::Relaxed);
        self.openings.store(0, Ordering::Relaxed);
        self.until.swap(0, Ordering::Relaxed) != 0
    }

    /// A call that went well turns out to have failed: it was no end of those before it. Gives the same as [`Self::failed`].
    pub(crate) fn failed_after_all(&self) -> Option<Duration> {
        let ended = self.ended.swap(0, Ordering::Relaxed);
        self.failures.fetch_add(ended, Ordering::Relaxed);
        self.failed(Turn::Usual)
    }

    /// A call failed. Gives how long the plugin is left alone, if it is from now on. Calls that began before it was do not add to that.
    pub(crate) fn failed(&self, turn: Turn) -> Option<Duration> {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < self.failures_max || (turn == Turn::Usual && self.is_open()) {
            return None;
        }
        let pause = self.pause();
        self.openings.fetch_add(1, Ordering::Relaxed);
        self.until.store(now_ms().saturating_add(pause), Ordering::Relaxed);
        Some(Duration::from_millis(pause))
    }

    fn pause(&self) -> u64 {
        let doublings = self.openings.load(Ordering::Relaxed).min(DOUBLINGS_MAX);
        u64::try_from(self.retry.as_millis()).unwrap_or(u64::MAX).saturating_mul(1 << doublings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let breaker = Breaker::new(2, Duration::from_secs(60));
        assert_eq!(breaker.failed(Turn::Usual), None);
        assert!(!breaker.succeeded());
        assert_eq!(breaker.failed(Turn::Usual), None);
        assert_eq!(breaker.permits(), Some(Turn::Usual));
        assert_eq!(breaker.failed(Turn::Usual), Some(Duration::from_secs(60)));
        assert_eq!(breaker.permits(), None);
        assert!(breaker.is_open());
    }

    #[test]
    fn a_success_that_was_none_ends_nothing() {
        let breaker = Breaker::new(3, Duration::from_secs(1));
        for expected in [None, None, Some(Duration::from_secs(1))] {
            assert!(!breaker.succeeded());
            assert_eq!(breaker.failed_after_all(), expected);
        }
        assert!(breaker.is_open());
        // One that is none of them ends them.
        assert!(breaker.succeeded());
        assert!(!breaker.succeeded());
        assert_eq!(breaker.failed_after_all(), None);
    }

    #[test]
    fn one_call_tries_after_each_pause_and_its_success_closes() {
        let breaker = Breaker::new(1, Duration::ZERO);
        assert!(breaker.failed(Turn::Usual).is_some());
        assert_eq!(breaker.permits(), Some(Turn::Trial));
        assert!(breaker.succeeded());
        assert!(!breaker.is_open());
        assert_eq!(breaker.permits(), Some(Turn::Usual));
    }

    #[test]
    fn trials_double_the_pause_up_to_a_bound_and_calls_under_way_do_not() {
        let breaker = Breaker::new(1, Duration::from_secs(1));
        assert_eq!(breaker.failed(Turn::Usual), Some(Duration::from_secs(1)));
        for _ in 0..100 {
            assert_eq!(breaker.failed(Turn::Usual), None);
        }
        let pauses: Vec<u64> =
            (0..8).filter_map(|_| breaker.failed(Turn::Trial)).map(|pause| pause.as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 64, 64]);
    }
}
