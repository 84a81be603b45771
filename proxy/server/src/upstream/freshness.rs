//! Which replicas have replayed the writes that a read must see: learnt beside the clients' path, never on it.
//!
//! Each acknowledged write of a database has a number, noted for the relations that it changed, or for all of them when
//! they are not known. One question for the primary's WAL position, asked after a number was given out, bounds the WAL
//! of every write up to it; a replica that has replayed that position has them all.
//! <https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-RECOVERY-CONTROL>

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pointsman_policy::{Consistency, Footprint, SLOTS, Touched};
use tokio::sync::Notify;

/// Relations that one transaction's writes are told apart by; with more, they count for all.
const WRITES_MAX: usize = 7;

/// What a session has written since its writes were last noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writes {
    /// Nothing.
    #[default]
    Nothing,
    /// These relations, as the catalog with this number of families knows them.
    Slots {
        /// The first `count` of them.
        slots: [u16; WRITES_MAX],
        /// How many.
        count: u8,
        /// [`Footprint::families`].
        families: u64,
    },
    /// It is not known what.
    All,
}

impl Writes {
    /// Whether there is nothing to note.
    pub fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }

    /// Adds what a text with this footprint may write.
    pub fn add(&mut self, footprint: &Footprint) {
        let Touched::Slots(added) = &footprint.writes else {
            *self = Self::All;
            return;
        };
        for slot in added {
            self.add_slot(*slot, footprint.families);
        }
    }

    fn add_slot(&mut self, slot: u16, known: u64) {
        match self {
            Self::Nothing => {
                let mut slots = [0; WRITES_MAX];
                slots[0] = slot;
                *self = Self::Slots { slots, count: 1, families: known };
            }
            Self::Slots { slots, count, families } => {
                let used = usize::from(*count);
                if slots[..used].contains(&slot) && *families == known {
                    return;
                }
                if used == WRITES_MAX || *families != known {
                    *self = Self::All;
                } else {
                    slots[used] = slot;
                    *count += 1;
                }
            }
            Self::All => {}
        }
    }
}

/// The writes of one database, and how far each server is known to have followed.
#[derive(Debug)]
pub struct Freshness {
    /// Number of the last acknowledged write. Starts at 1: nothing is fresh until it has been asked once.
    written: AtomicU64,
    /// Number of the last write that counts for every relation.
    all: AtomicU64,
    /// By slot: number of the last write to its relations.
    relations: Box<[AtomicU64]>,
    /// [`Footprint::families`] of the catalog in use: what was noted under another number counts for all.
    families: AtomicU64,
    /// By server index: number of the last write that it is known to have replayed.
    covered: Box<[AtomicU64]>,
    /// Number of the last write that a position is known for.
    positioned: AtomicU64,
    asked: Arc<Notify>,
    /// Wakes those who wait for a server to be covered.
    followed: Notify,
}

impl Freshness {
    /// No write known, and no server known to have followed. `asked` wakes the one who asks for positions.
    pub fn new(servers: usize, asked: Arc<Notify>) -> Self {
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            written: AtomicU64::new(1),
            all: AtomicU64::new(1),
            relations: zeros(SLOTS),
            families: AtomicU64::new(0),
            covered: zeros(servers),
            positioned: AtomicU64::new(0),
            asked,
            followed: Notify::new(),
        }
    }

    /// What was written may be visible now. Called before the client hears of it; returns the write's number.
    pub fn note(&self, writes: &Writes) -> u64 {
        let Writes::Slots { slots, count, families } = writes else {
            return if writes.is_nothing() { 0 } else { self.note_all() };
        };
        let number = self.written.fetch_add(1, Ordering::SeqCst) + 1;
        for slot in &slots[..usize::from(*count)] {
            if let Some(noted) = self.relations.get(usize::from(*slot)) {
                noted.fetch_max(number, Ordering::SeqCst);
            }
        }
        // After the slots: whoever reads by newer families, which were in use before this look, finds it under `all`.
        if self.families.load(Ordering::SeqCst) != *families {
            return self.note_all();
        }
        self.asked.notify_one();
        number
    }

    /// A write whose relations are not known may be visible now; returns its number.
    pub fn note_all(&self) -> u64 {
        let number = self.written.fetch_add(1, Ordering::SeqCst) + 1;
        self.all.fetch_max(number, Ordering::SeqCst);
        self.asked.notify_one();
        number
    }

    /// Relations are known by other families from now on. No read by the new ones may be planned before this returns.
    pub fn set_families(&self, families: u64) {
        if self.families.swap(families, Ordering::SeqCst) != families {
            self.note_all();
        }
    }

    /// Number of the last acknowledged write.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }

    /// Number of the last write that a read of this level, beginning now, must see; `token` is the session's own last.
    pub fn must_see(&self, level: Consistency, reads: &Touched, token: u64) -> u64 {
        match (level, reads) {
            (Consistency::Eventual, _) => 0,
            (Consistency::Session, _) => token,
            (Consistency::Strict, Touched::Unknown) => self.written(),
            (Consistency::Strict, Touched::Slots(slots)) => {
                let of = |slot: &u16| {
                    self.relations
                        .get(usize::from(*slot))
                        .map_or(u64::MAX, |noted| noted.load(Ordering::SeqCst))
                };
                slots.iter().map(of).fold(self.all.load(Ordering::SeqCst), u64::max)
            }
        }
    }

    /// Whether server `index` is known to have replayed every write up to `number`.
    pub fn is_covered_by(&self, index: usize, number: u64) -> bool {
        self.covered.get(index).is_some_and(|covered| covered.load(Ordering::Acquire) >= number)
    }

    /// Whether a position must be asked for that no target bounds yet.
    pub fn wants_position(&self) -> bool {
        self.positioned.load(Ordering::Acquire) < self.written()
    }

    /// A position was heard that bounds every write up to `number`.
    pub fn positioned(&self, number: u64) {
        self.positioned.fetch_max(number, Ordering::AcqRel);
    }

    /// Positions heard before prove nothing any more.
    pub fn forget_positions(&self) {
        self.positioned.store(0, Ordering::Release);
    }

    /// Server `index` has replayed every write up to `number`; true if that was news.
    pub fn cover(&self, index: usize, number: u64) -> bool {
        let Some(covered) = self.covered.get(index) else { return false };
        let news = covered.fetch_max(number, Ordering::AcqRel) < number;
        if news {
            self.followed.notify_waiters();
        }
        news
    }

    /// Server `index` may have lost what it had: it starts anew.
    pub fn forget(&self, index: usize) {
        if let Some(covered) = self.covered.get(index) {
            covered.store(0, Ordering::Release);
        }
        self.forget_positions();
    }

    /// Becomes ready when a server is covered further than when this was called, or its state has changed.
    pub fn followed(&self) -> tokio::sync::futures::Notified<'_> {
        self.followed.notified()
    }

    /// Has those who wait look again.
    pub fn wake(&self) {
        self.followed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
