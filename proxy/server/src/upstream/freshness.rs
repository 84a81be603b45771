//! Which replicas have replayed every write that was acknowledged: learnt beside the clients' path, never on it.
//!
//! Each acknowledged write of a database has a number. One question for the primary's WAL position, asked after a
//! number was given out, bounds the WAL of every write up to it; a replica that has replayed that position has them
//! all. <https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-RECOVERY-CONTROL>

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// WAL positions remembered while replicas lag behind them.
const TARGETS_MAX: usize = 256;

/// The writes of one database, and how far each server is known to have followed.
#[derive(Debug)]
pub struct Freshness {
    /// Number of the last acknowledged write. Starts at 1: nothing is fresh until it has been asked once.
    written: AtomicU64,
    /// By server index: number of the last write that it is known to have replayed.
    covered: Box<[AtomicU64]>,
    asked: Arc<Notify>,
}

impl Freshness {
    /// No write known, and no server known to have followed. `asked` wakes the one who asks for positions.
    pub fn new(servers: usize, asked: Arc<Notify>) -> Self {
        let covered = (0..servers).map(|_| AtomicU64::new(0)).collect();
        Self { written: AtomicU64::new(1), covered, asked }
    }

    /// A write may be visible now. Called before the client hears of it.
    pub fn note_write(&self) {
        self.written.fetch_add(1, Ordering::AcqRel);
        self.asked.notify_one();
    }

    /// Number of the last acknowledged write.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Whether server `index` is known to have replayed every write acknowledged so far.
    pub fn is_covered_by(&self, index: usize) -> bool {
        self.covered.get(index).is_some_and(|covered| covered.load(Ordering::Acquire) >= self.written())
    }

    /// Whether one of `servers` has still to be asked.
    fn wants_question(&self, servers: &[usize]) -> bool {
        servers.iter().any(|index| !self.is_covered_by(*index))
    }

    fn cover(&self, index: usize, number: u64) {
        if let Some(covered) = self.covered.get(index) {
            covered.fetch_max(number, Ordering::AcqRel);
        }
    }

    /// Server `index` may have lost what it had: it starts anew.
    pub fn forget(&self, index: usize) {
        if let Some(covered) = self.covered.get(index) {
            covered.store(0, Ordering::Release);
        }
    }
}

/// The positions that replicas have to reach, oldest first.
#[derive(Debug, Default)]
pub struct Targets(VecDeque<(u64, Numbers)>);

/// Numbers of writes, each of its own database.
pub type Numbers = Vec<(Arc<Freshness>, u64)>;

impl Targets {
    /// The numbers to ask a position for: taken before the question is sent.
    pub fn pending(databases: &[Arc<Freshness>], replicas: &[usize]) -> Numbers {
        databases
            .iter()
            .filter(|database| database.wants_question(replicas))
            .map(|database| (Arc::clone(database), database.written()))
            .collect()
    }

    /// The primary answered: all of `numbers` lie before `lsn`.
    pub fn add(&mut self, lsn: u64, numbers: Numbers) {
        if self.0.len() >= TARGETS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((lsn, numbers));
    }

    /// Server `index` has replayed up to `lsn`.
    pub fn reached(&mut self, index: usize, lsn: u64) {
        for (_, numbers) in self.0.iter().take_while(|(target, _)| *target <= lsn) {
            for (database, number) in numbers {
                database.cover(index, *number);
            }
        }
    }

    /// Forgets targets that every server of `replicas` has reached.
    pub fn settle(&mut self, replicas: &[usize]) {
        let reached = |numbers: &Numbers| {
            numbers.iter().all(|(database, number)| {
                let done = |index: &usize| {
                    database
                        .covered
                        .get(*index)
                        .is_some_and(|covered| covered.load(Ordering::Acquire) >= *number)
                };
                replicas.iter().all(done)
            })
        };
        while self.0.front().is_some_and(|(_, numbers)| reached(numbers)) {
            self.0.pop_front();
        }
    }

    /// The positions are of another timeline now.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_fresh_once_it_has_replayed_what_was_asked_after_the_write() {
        let database = Arc::new(Freshness::new(2, Arc::default()));
        let databases = [Arc::clone(&database)];
        assert!(!database.is_covered_by(1), "nothing is known at the start");
        let mut targets = Targets::default();
        targets.add(100, Targets::pending(&databases, &[1]));
        targets.reached(1, 99);
        assert!(!database.is_covered_by(1));
        targets.reached(1, 100);
        assert!(database.is_covered_by(1));
        database.note_write();
        assert!(!database.is_covered_by(1), "a write takes the replica's freshness away at once");
        let numbers = Targets::pending(&databases, &[1]);
        database.note_write();
        targets.add(200, numbers);
        targets.reached(1, 300);
        assert!(!database.is_covered_by(1), "the second write came after the question was asked");
        targets.settle(&[1]);
        assert!(targets.0.is_empty());
    }
}
