//! How far a replica is behind, in time: the age of the first WAL position of the primary that it has not replayed. It
//! grows without anyone answering, and is nothing while the primary is idle, without a write to it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Samples kept. With more, some in between are forgotten, which makes a long lag look a little shorter.
const SAMPLES_MAX: usize = 512;
/// Samples are at least this far apart.
const APART: Duration = Duration::from_millis(20);

/// Positions of the primary and when they were heard, oldest first, each higher than the one before; and the one that was
/// asked for last.
#[derive(Debug, Default)]
struct Samples(VecDeque<(Instant, u64)>, Option<(Instant, u64)>);

impl Samples {
    /// The primary was at `lsn` at `at`.
    fn add(&mut self, at: Instant, lsn: u64) {
        if self.1.is_none_or(|(last, _)| last < at) {
            self.1 = Some((at, lsn));
        }
        if let Some((last, known)) = self.0.back()
            && (*known >= lsn || at.saturating_duration_since(*last) < APART)
        {
            return;
        }
        if self.0.len() >= SAMPLES_MAX {
            self.thin();
        }
        self.0.push_back((at, lsn));
    }

    /// Forgets the sample that lies closest to its neighbours, so that those left are evenly apart.
    fn thin(&mut self) {
        let gap = |at: &usize| self.0[at + 1].0.saturating_duration_since(self.0[at - 1].0);
        if let Some(at) = (1..self.0.len().saturating_sub(1)).min_by_key(gap) {
            self.0.remove(at);
        }
    }

    /// When the primary had nothing that is not in `replayed`, at the latest that is known.
    fn as_of(&self, replayed: u64) -> Option<Instant> {
        let latest = self.1.filter(|(_, lsn)| *lsn <= replayed);
        let before = self.0.iter().rev().find(|(_, lsn)| *lsn <= replayed);
        latest.or(before.copied()).map(|(at, _)| at)
    }

    /// When the first position after `replayed` was heard.
    fn first_after(&self, replayed: u64) -> Option<Instant> {
        let at = self.0.partition_point(|(_, lsn)| *lsn <= replayed);
        self.0.get(at).map(|(at, _)| *at)
    }
}

/// The primary's recent history. Locked by the watchers, who tell the servers what follows from it.
#[derive(Debug, Default)]
pub struct History {
    samples: Mutex<Samples>,
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The primary was at `lsn` at `at`.
    pub fn add(&self, at: Instant, lsn: u64) {
        self.lock().add(at, lsn);
    }

    /// Since when a replica that has replayed up to `replayed` is behind.
    pub fn behind_since(&self, replayed: u64) -> Option<Instant> {
        self.lock().first_after(replayed)
    }

    /// The last moment that is known at which the primary had nothing that is not in `replayed`.
    pub fn as_of(&self, replayed: u64) -> Option<Instant> {
        self.lock().as_of(replayed)
    }

    /// The newest position heard.
    pub fn newest(&self) -> Option<u64> {
        self.lock().0.back().map(|(_, lsn)| *lsn)
    }

    /// Another server is the primary now: its positions are others.
    pub fn clear(&self) {
        *self.lock() = Samples::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_age_of_the_first_position_not_replayed() {
        let history = History::default();
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        history.add(at(0), 100);
        history.add(at(1), 100);
        assert_eq!(history.behind_since(100), None, "an idle primary makes nobody late");
        history.add(at(2), 200);
        history.add(at(3), 300);
        assert_eq!(history.behind_since(100), Some(at(2)));
        assert_eq!(history.behind_since(199), Some(at(2)));
        assert_eq!(history.behind_since(200), Some(at(3)));
        assert_eq!(history.behind_since(300), None);
        assert_eq!(history.newest(), Some(300));
        assert_eq!(history.as_of(99), None);
        assert_eq!(
            (history.as_of(100), history.as_of(250), history.as_of(300)),
            (Some(at(0)), Some(at(2)), Some(at(3)))
        );
        history.add(at(9), 300);
        assert_eq!(history.as_of(300), Some(at(9)), "an idle primary has nothing new");
        history.clear();
        assert_eq!((history.behind_since(0), history.newest()), (None, None));
    }

    #[test]
    fn samples_stay_few_and_in_order() {
        let mut samples = Samples::default();
        let start = Instant::now();
        for number in 1..=10_000_u64 {
            samples.add(start + Duration::from_millis(number * 20), number);
        }
        assert!(samples.0.len() <= SAMPLES_MAX);
        assert!(samples.0.iter().zip(samples.0.iter().skip(1)).all(|(one, next)| one.1 < next.1));
        assert!(samples.first_after(10).is_some_and(|at| at < start + Duration::from_secs(20)));
    }
}
