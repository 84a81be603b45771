//! The WAL positions that replicas have to reach, each with the writes that lie before it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::freshness::Freshness;

/// WAL positions remembered while replicas lag behind them. With more, some are joined to the next: what lay before them
/// then counts as replayed a little later.
const TARGETS_MAX: usize = 256;

/// The positions, oldest first.
#[derive(Debug, Default)]
pub struct Targets(VecDeque<(u64, Numbers)>);

/// Numbers of writes, each of its own database.
pub type Numbers = Vec<(Arc<Freshness>, u64)>;

impl Targets {
    /// The numbers to ask a position for: taken before the question is sent.
    pub fn pending(databases: &[Arc<Freshness>]) -> Numbers {
        databases
            .iter()
            .filter(|database| database.wants_position())
            .map(|database| (Arc::clone(database), database.written()))
            .collect()
    }

    /// The primary answered: all of `numbers` lie before `lsn`.
    pub fn add(&mut self, lsn: u64, numbers: Numbers) {
        for (database, number) in &numbers {
            database.positioned(*number);
        }
        if self.0.len() >= TARGETS_MAX {
            self.thin();
        }
        self.0.push_back((lsn, numbers));
    }

    /// Joins one target to the next: one that lies close to its neighbours, so that those left are evenly apart.
    fn thin(&mut self) {
        let gap = |at: &usize| self.0[at + 1].0.saturating_sub(self.0[at - 1].0);
        let Some(at) = (1..self.0.len().saturating_sub(1)).min_by_key(gap) else { return };
        let Some((_, numbers)) = self.0.remove(at) else { return };
        let Some((_, next)) = self.0.get_mut(at) else { return };
        for (database, number) in numbers {
            if !next.iter().any(|(known, _)| Arc::ptr_eq(known, &database)) {
                next.push((database, number));
            }
        }
    }

    /// Server `index` has replayed up to `lsn`; true if that was news of any write.
    pub fn reached(&mut self, index: usize, lsn: u64) -> bool {
        let mut news = false;
        for (_, numbers) in self.0.iter().take_while(|(target, _)| *target <= lsn) {
            for (database, number) in numbers {
                news |= database.cover(index, *number);
            }
        }
        news
    }

    /// Forgets targets that every server of `replicas` has reached.
    pub fn settle(&mut self, replicas: &[usize]) {
        let reached = |numbers: &Numbers| {
            numbers.iter().all(|(database, number)| {
                replicas.iter().all(|index| database.is_covered_by(*index, *number))
            })
        };
        while self.0.front().is_some_and(|(_, numbers)| reached(numbers)) {
            self.0.pop_front();
        }
    }

    /// Whether a replica has still to be asked whether it has reached one.
    pub fn is_reached_by(&self, index: usize) -> bool {
        self.0.back().is_none_or(|(_, numbers)| {
            numbers.iter().all(|(database, number)| database.is_covered_by(index, *number))
        })
    }

    /// The positions are of another timeline now, or a replica has to prove anew what it has.
    pub fn clear(&mut self) {
        for (_, numbers) in self.0.drain(..) {
            for (database, _) in numbers {
                database.forget_positions();
            }
        }
    }
}
