//! Ids that are unique over all shards without asking any: 41 bits of milliseconds, 10 bits of the node that makes them,
//! 12 bits of a sequence. Ids of one node only ever grow, and sort by time among nodes as well as their clocks agree.

use std::sync::atomic::{AtomicU64, Ordering};

/// Milliseconds from the Unix epoch to 2024-01-01T00:00:00Z, from which ids count.
pub const EPOCH_MS: u64 = 1_704_067_200_000;

/// Nodes are numbered below this.
pub const NODES_MAX: u16 = 1 << NODE_BITS;

/// How far ids may run ahead of the clock, in milliseconds: when more are asked for than there are in a millisecond, or when
/// the clock steps back.
pub const AHEAD_MAX_MS: u64 = 1000;

const NODE_BITS: u32 = 10;
const SEQUENCE_BITS: u32 = 12;
const MS_BITS: u32 = 41;

/// Makes one node's ids; many threads share it.
#[derive(Debug)]
pub struct Ids {
    node: u64,
    /// The next id that is free, without its node: milliseconds since the epoch, then the sequence.
    next: AtomicU64,
    /// The latest that the clock has been, in milliseconds since the epoch.
    seen: AtomicU64,
}

/// Why there is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoId {
    /// Ids have run ahead of the clock as far as they may.
    #[error("ids have run ahead of the clock; there are more in {ms} ms")]
    Wait {
        /// How long until there is one, in milliseconds.
        ms: u64,
    },
    /// 41 bits of milliseconds are used up: in September 2093.
    #[error("the time is beyond what an id can hold")]
    Exhausted,
}

/// What an id is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// The node.
    pub node: u16,
    /// The place among the node's ids of that millisecond.
    pub sequence: u16,
}

impl Ids {
    /// The ids of a node; `None` if its number is not below [`NODES_MAX`].
    #[must_use]
    pub fn new(node: u16) -> Option<Self> {
        Self::resume(node, 0)
    }

    /// The ids of a node that may have made ids until `unix_ms`, by whatever clock it had then: all ids are later.
    #[must_use]
    pub fn resume(node: u16, unix_ms: u64) -> Option<Self> {
        let used = unix_ms.saturating_sub(EPOCH_MS);
        let next = if unix_ms > EPOCH_MS { used.saturating_add(1).min(1 << MS_BITS) } else { 0 };
        (node < NODES_MAX).then(|| Self {
            node: node.into(),
            next: AtomicU64::new(next << SEQUENCE_BITS),
            seen: AtomicU64::new(used.min(1 << MS_BITS)),
        })
    }

    /// A new id, at a time in milliseconds since the Unix epoch. A clock that steps back does not bring an id twice: ids go
    /// on from the last one, up to [`AHEAD_MAX_MS`] beyond the latest time seen.
    ///
    /// # Errors
    /// [`NoId`].
    pub fn next(&self, unix_ms: u64) -> Result<i64, NoId> {
        let now = unix_ms.saturating_sub(EPOCH_MS);
        let mut seen = self.seen.load(Ordering::Relaxed);
        if now > seen {
            seen = self.seen.fetch_max(now, Ordering::Relaxed).max(now);
        }
        let mut free = self.next.load(Ordering::Relaxed);
        loop {
            let id = free.max(now.min(1 << MS_BITS) << SEQUENCE_BITS);
            let ms = id >> SEQUENCE_BITS;
            if ms >= 1 << MS_BITS {
                return Err(NoId::Exhausted);
            }
            if ms > seen + AHEAD_MAX_MS {
                return Err(NoId::Wait { ms: ms - AHEAD_MAX_MS - now });
            }
            match self.next.compare_exchange_weak(free, id + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(self.whole(id)),
                Err(other) => free = other,
            }
        }
    }

    fn whole(&self, id: u64) -> i64 {
        let (ms, sequence) = (id >> SEQUENCE_BITS, id & ((1 << SEQUENCE_BITS) - 1));
        (ms << (NODE_BITS + SEQUENCE_BITS) | self.node << SEQUENCE_BITS | sequence).cast_signed()
    }
}

impl Parts {
    /// What an id is made of.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "masked")]
    pub fn of(id: i64) -> Self {
        let id = id.cast_unsigned();
        Self {
            unix_ms: (id >> (NODE_BITS + SEQUENCE_BITS)) + EPOCH_MS,
            node: (id >> SEQUENCE_BITS) as u16 & (NODES_MAX - 1),
            sequence: id as u16 & ((1 << SEQUENCE_BITS) - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::AtomicBool;

    use super::*;

    const NOW: u64 = EPOCH_MS + 1_000_000;

    #[test]
    fn an_id_says_its_time_node_and_sequence() {
        let ids = Ids::new(1023).unwrap();
        let (first, second) = (ids.next(NOW).unwrap(), ids.next(NOW).unwrap());
        assert_eq!(first, 1_000_000 << 22 | 1023 << 12);
        assert_eq!(Parts::of(first), Parts { unix_ms: NOW, node: 1023, sequence: 0 });
        assert_eq!(Parts::of(second), Parts { unix_ms: NOW, node: 1023, sequence: 1 });
        assert!(Ids::new(1024).is_none());
    }

    #[test]
    fn a_full_millisecond_runs_into_the_next() {
        let ids = Ids::new(7).unwrap();
        let made: Vec<i64> = (0..5000).map(|_| ids.next(NOW).unwrap()).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Parts::of(made[4095]), Parts { unix_ms: NOW, node: 7, sequence: 4095 });
        assert_eq!(Parts::of(made[4096]), Parts { unix_ms: NOW + 1, node: 7, sequence: 0 });
        // The clock catches up, and passes.
        assert!(ids.next(NOW + 1).unwrap() > made[4999]);
        assert_eq!(Parts::of(ids.next(NOW + 9).unwrap()), Parts { unix_ms: NOW + 9, node: 7, sequence: 0 });
    }

    #[test]
    fn a_clock_that_steps_back_brings_no_id_twice_and_lends_so_much() {
        let ids = Ids::new(0).unwrap();
        let first = ids.next(NOW).unwrap();
        let mut last = first;
        let lent = (AHEAD_MAX_MS + 1) * 4096 - 1;
        for _ in 0..lent {
            let id = ids.next(NOW - 60_000).unwrap();
            assert!(id > last);
            last = id;
        }
        assert_eq!(Parts::of(last).unix_ms, NOW + AHEAD_MAX_MS);
        assert_eq!(ids.next(NOW - 60_000), Err(NoId::Wait { ms: 60_001 }));
        assert_eq!(ids.next(NOW), Err(NoId::Wait { ms: 1 }));
        assert!(ids.next(NOW + 1).unwrap() > last);
    }

    #[test]
    fn a_node_resumes_after_what_it_made() {
        let ids = Ids::resume(3, NOW).unwrap();
        assert_eq!(Parts::of(ids.next(NOW - 5).unwrap()).unix_ms, NOW + 1);
        assert_eq!(Parts::of(Ids::resume(3, 0).unwrap().next(NOW).unwrap()).unix_ms, NOW);
    }

    #[test]
    fn the_ends_of_time() {
        let last = EPOCH_MS + (1 << MS_BITS) - 1;
        let id = Ids::new(1023).unwrap().next(last).unwrap();
        assert!(id > 0);
        assert_eq!(Parts::of(id).unix_ms, last);
        assert_eq!(Ids::new(0).unwrap().next(last + 1), Err(NoId::Exhausted));
        assert_eq!(Ids::new(0).unwrap().next(u64::MAX), Err(NoId::Exhausted));
        assert_eq!(Ids::resume(0, u64::MAX).unwrap().next(0), Err(NoId::Exhausted));
        assert_eq!(Parts::of(Ids::new(0).unwrap().next(0).unwrap()).unix_ms, EPOCH_MS);
    }

    #[test]
    fn threads_share_a_generator_while_the_clock_jumps() {
        let (ids, stop) = (Ids::new(5).unwrap(), AtomicBool::new(false));
        let clock = AtomicU64::new(NOW);
        let made: Vec<Vec<i64>> = std::thread::scope(|scope| {
            scope.spawn(|| {
                for step in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    clock.store(NOW + step / 50 - (step % 7) * 3, Ordering::Relaxed);
                }
            });
            let one = || (0..50_000).map(|_| ids.next(clock.load(Ordering::Relaxed)).unwrap()).collect();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
            let made = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            stop.store(true, Ordering::Relaxed);
            made
        });
        assert!(made.iter().all(|ids: &Vec<i64>| ids.windows(2).all(|pair| pair[0] < pair[1])));
        assert_eq!(made.iter().flatten().collect::<HashSet<_>>().len(), 200_000);
    }
}
