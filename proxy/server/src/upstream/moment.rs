//! A moment that threads share: microseconds after another one, in one atomic number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A moment as microseconds after the server was made, and 0 for none.
#[derive(Debug, Default)]
pub(super) struct Moment(AtomicU64);

impl Moment {
    /// Notes it, as a time after `from`.
    pub fn set(&self, from: Instant, at: Option<Instant>) {
        let micros = |at: Instant| {
            u64::try_from(at.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX).max(1)
        };
        self.0.store(at.map_or(0, micros), Ordering::Release);
    }

    /// When it was, if it is noted.
    pub fn get(&self, from: Instant) -> Option<Instant> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            micros => Some(from + Duration::from_micros(micros)),
        }
    }
}
