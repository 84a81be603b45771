//! Which position in the WAL bounds the marks up to which number: a replica that has replayed it has what made them.

use std::collections::VecDeque;

use super::{Lsn, Seq};

/// Pairs of a number and a position, both ascending. A position bounds every mark up to its number.
#[derive(Debug)]
pub(crate) struct Positions {
    pairs: VecDeque<(Seq, Lsn)>,
    pairs_max: usize,
}

impl Positions {
    pub(crate) fn new(pairs_max: usize) -> Self {
        Self { pairs: VecDeque::new(), pairs_max: pairs_max.max(4) }
    }

    /// Adds a pair. A position below the last one does not lower the bound: earlier marks of the same tags need it.
    pub(crate) fn add(&mut self, seq: Seq, lsn: Lsn, never_lower: bool) {
        let (last_seq, last_lsn) = self.pairs.back().copied().unwrap_or_default();
        if seq <= last_seq && !self.pairs.is_empty() {
            return;
        }
        if self.pairs.len() >= self.pairs_max {
            // Marks up to a number that is forgotten are bounded by the next one's position, which is further on.
            let mut at = 0;
            self.pairs.retain(|_| {
                at += 1;
                at % 2 == 0
            });
        }
        self.pairs.push_back((seq, if never_lower { lsn.max(last_lsn) } else { lsn }));
    }

    /// Forgets all and begins with this pair.
    pub(crate) fn restart(&mut self, seq: Seq, lsn: Lsn) {
        self.pairs.clear();
        self.pairs.push_back((seq, lsn));
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.pairs.clear();
    }

    /// The number up to which positions are known.
    pub(crate) fn known(&self) -> Seq {
        self.pairs.back().map(|(seq, _)| *seq).unwrap_or_default()
    }

    /// The position that bounds a mark; `None` while it is not known.
    pub(crate) fn bound(&self, mark: Seq, after: bool) -> Option<Lsn> {
        if mark == Seq::default() {
            return Some(Lsn(0));
        }
        let at = self.pairs.partition_point(|(seq, _)| *seq < mark);
        let found = if after { self.pairs.get(at) } else { self.pairs.get(at).or(self.pairs.back()) };
        found.map(|(_, lsn)| *lsn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_bounded_by_the_next_position() {
        let mut positions = Positions::new(4);
        assert_eq!(positions.bound(Seq(0), true), Some(Lsn(0)));
        assert_eq!(positions.bound(Seq(1), true), None);
        positions.add(Seq(5), Lsn(50), true);
        positions.add(Seq(9), Lsn(40), true);
        assert_eq!([4, 5, 6, 9].map(|mark| positions.bound(Seq(mark), true)), [Some(Lsn(50)); 4]);
        assert_eq!(positions.bound(Seq(10), true), None);
    }

    #[test]
    fn forgetting_raises_bounds() {
        let (mut few, mut many) = (Positions::new(4), Positions::new(1000));
        for at in 1..200 {
            few.add(Seq(at), Lsn(at * 10), true);
            many.add(Seq(at), Lsn(at * 10), true);
            assert!(few.pairs.len() <= 4);
            for mark in 0..=at {
                assert!(few.bound(Seq(mark), true) >= many.bound(Seq(mark), true));
            }
        }
    }
}
