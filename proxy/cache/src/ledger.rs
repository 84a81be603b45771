//! The one place that knows what was invalidated when. Pure: positions, transactions and snapshots are passed in; no
//! clock, no sockets. Shared by all threads; a hit's check takes no lock.
//!
//! Numbers ([`Seq`]) order everything. A fill notes the number at its start, and what is stored bears it as its stamp;
//! a mark gives its tags a newer number; an entry is valid while none of its tags was marked after its stamp. So nobody
//! has to look for entries when something changes. The rest is about fills that read what a mark is about to hide:
//!
//! - A write through Pointsman marks its tags when what may commit it is sent, holds them *open*, and marks them again
//!   when it is acknowledged, before the client hears of it. No fill of open tags is stored: the server may have
//!   committed, and shown it to others, long before we hear.
//! - A commit from the change stream marks its tags, which stay *unsettled* until a snapshot of the primary shows that
//!   transaction as over; a fill is stored only if its tags were settled when it began.
//! - A fill from a replica is stored only if that replica had replayed, before the query, the last mark of all its tags.
//! - While what happens elsewhere may be missed the ledger is *closed*: nothing is served, nothing stored. When it is
//!   opened everything is marked, and unsettled until all that was in progress is over.
//!
//! One ledger is for one database of one cluster.

mod check;
mod fill;
mod positions;
mod settling;
mod slots;
mod snapshot;
#[cfg(test)]
mod tests;
mod write;

pub use fill::{Fill, Refusal, Source};
pub use snapshot::{NoSnapshot, Snapshot};
pub use write::{Backend, Doubt, Write};

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::tag::{Tag, Tags};
use check::{Check, Checks};
use positions::Positions;
use settling::{Settling, UNSETTLED_MAX};
use slots::Slots;
use write::Doubts;

/// Slots of keys and names where nothing else is asked for: 20 MiB. A tag is marked needlessly about as often as
/// everything together is, divided by this.
pub const KEY_SLOTS_DEFAULT: usize = 1 << 20;
/// Positions of Pointsman's own marks that are kept.
const POSITIONS_MAX: usize = 64;

/// A number of the ledger: later marks and fills have higher ones. Of no meaning in another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

/// A position in the WAL, as `pg_lsn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

/// A primary's reign: another number after each promotion, so that what an old primary says is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Era(pub u64);

/// How the ledger hears of what Pointsman did not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// By the change stream: every commit comes to [`Ledger::change`].
    Stream,
    /// Not at all.
    OwnWritesOnly,
}

/// A commit as the stream brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Where the commit record *ends* (`pgoutput`'s end LSN): a replica that has replayed up to there shows it.
    pub end: Lsn,
    /// The transaction, in the 32 bits that the stream has.
    pub xid: u32,
}

/// What `SHOW CACHE` tells of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerState {
    /// Nothing is served or stored.
    pub closed: bool,
    /// The primary's reign.
    pub era: Era,
    /// The last number.
    pub last: Seq,
    /// Marks from the stream whose commits are not known to be visible.
    pub unsettled: usize,
    /// Writes whose end is not known, held until somebody says that their backends are gone.
    pub doubts: usize,
    /// Memory, in bytes.
    pub bytes: usize,
}

/// When each tag was last marked, and by whom.
#[derive(Debug)]
pub struct Ledger {
    /// The last number given out.
    clock: AtomicU64,
    /// The last number given to a mark that no position is known of beforehand.
    local: AtomicU64,
    /// Every mark of the stream up to this number is of commits that new snapshots show.
    settled: AtomicU64,
    closed: AtomicBool,
    era: AtomicU64,
    streaming: AtomicBool,
    slots: Slots,
    /// Locked by the stream, by whoever settles, and by the end of a replica's fill.
    settling: Mutex<Settling>,
    /// Of Pointsman's own marks. Locked when a position is heard and by the end of a replica's fill.
    positions: Mutex<Positions>,
    /// Locked when a write's connection is lost.
    doubts: Mutex<Doubts>,
    checks: Checks,
}

impl Ledger {
    /// A closed ledger with about `key_slots` slots ([`KEY_SLOTS_DEFAULT`]), of 20 bytes each.
    #[must_use]
    pub fn new(key_slots: usize) -> Arc<Self> {
        Arc::new(Self::with(key_slots, UNSETTLED_MAX, Checks::default()))
    }

    fn with(key_slots: usize, unsettled_max: usize, checks: Checks) -> Self {
        Self {
            clock: AtomicU64::new(0),
            local: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            closed: AtomicBool::new(true),
            era: AtomicU64::new(0),
            streaming: AtomicBool::new(false),
            slots: Slots::new(key_slots),
            settling: Mutex::new(Settling::new(unsettled_max)),
            positions: Mutex::new(Positions::new(POSITIONS_MAX)),
            doubts: Mutex::default(),
            checks,
        }
    }

    /// Whether an entry with this stamp and these tags may be served to a read that begins now.
    #[inline]
    #[must_use]
    pub fn permits(&self, stamp: Seq, tags: &[Tag]) -> bool {
        if self.closed.load(Ordering::SeqCst) && self.checks.make(Check::ClosedServes) {
            return false;
        }
        let (local, event) = self.slots.last(tags);
        (local <= stamp || !self.checks.make(Check::LocalMarks))
            && (event <= stamp || !self.checks.make(Check::StreamMarks))
    }

    /// The last number. Whoever asks for a position in the WAL notes it *before* asking.
    #[must_use]
    pub fn last(&self) -> Seq {
        Seq(self.clock.load(Ordering::SeqCst))
    }

    /// Marks by request: `INVALIDATE`, a policy, a plugin, another proxy's write. Everything is [`Tags::everything`].
    pub fn invalidate(&self, tags: &Tags) -> Seq {
        let seq = self.tick();
        self.slots.mark_local(tags, seq, &self.checks);
        self.local.fetch_max(seq.0, Ordering::SeqCst);
        seq
    }

    /// The change stream brings a commit with all that it changed.
    pub fn change(&self, commit: Commit, tags: &Tags) {
        let mut settling = lock(&self.settling);
        // Twice: a fill that begins between the first number and its marks may see neither the commit nor the mark, but
        // has a stamp below the second; one that begins after the second finds the first's marks, unsettled.
        self.slots.mark_event(tags, self.tick(), &self.checks);
        let seq = self.tick();
        self.slots.mark_event(tags, seq, &self.checks);
        settling.wait_for(seq, commit.xid, commit.end, &self.checks);
        self.settle_now(&mut settling);
    }

    /// The primary of this era answered `pg_current_snapshot()`. To be asked while [`Ledger::is_unsettled`].
    pub fn settle(&self, era: Era, snapshot: &Snapshot) {
        let mut settling = lock(&self.settling);
        if self.is_era(era) {
            settling.hear(snapshot);
            self.settle_now(&mut settling);
        }
    }

    fn settle_now(&self, settling: &mut Settling) {
        if let Some(seq) = settling.settle(&self.checks) {
            self.settled.store(seq.0, Ordering::SeqCst);
        }
    }

    /// Whether a snapshot is wanted.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        lock(&self.settling).waiting() > 0
    }

    /// The primary of this era answered `pg_current_wal_insert_lsn()`, asked when [`Ledger::last`] was `asked`.
    pub fn positioned(&self, era: Era, asked: Seq, position: Lsn) {
        let mut positions = lock(&self.positions);
        if self.is_era(era) {
            positions.add(asked, position, true);
        }
    }

    /// Whether a position is wanted: fills from replicas of what was marked since the last one are refused.
    #[must_use]
    pub fn wants_position(&self) -> bool {
        lock(&self.positions).known().0 < self.local.load(Ordering::SeqCst)
    }

    /// Something may have been missed: a broken stream, a slot that is lost, another timeline, a gap in the bus. Nothing
    /// is served or stored until [`Ledger::open`].
    pub fn close(&self) {
        // With the lock, so that an `open` in progress does not undo it half way.
        let settling = lock(&self.settling);
        self.closed.store(true, Ordering::SeqCst);
        drop(settling);
    }

    /// From now on nothing is missed. `snapshot` is the primary's, asked for after the stream's slot was there and
    /// everything after its start is delivered, whatever comes before. All that was stored before is void, and nothing
    /// is stored until the transactions in progress in `snapshot` are over: a commit that the stream brought before its
    /// start may be among them.
    pub fn open(&self, era: Era, watch: Watch, snapshot: &Snapshot) {
        let mut settling = lock(&self.settling);
        if !self.is_era(era) {
            settling.forget();
            lock(&self.positions).clear();
        }
        let news = !self.is_era(era) || watch == Watch::Stream;
        self.era.store(era.0, Ordering::SeqCst);
        self.streaming.store(watch == Watch::Stream, Ordering::SeqCst);
        let seq = self.tick();
        if self.checks.make(Check::Flush) {
            self.slots.mark_local(&Tags::everything(), seq, &Checks::default());
            self.slots.mark_event(&Tags::everything(), seq, &Checks::default());
            self.local.fetch_max(seq.0, Ordering::SeqCst);
        }
        settling.hear(snapshot);
        settling.wait_for_all(seq, snapshot);
        self.settle_now(&mut settling);
        self.closed.store(false, Ordering::SeqCst);
        drop(settling);
        if news {
            self.resolve_all();
        }
    }

    /// Whether nothing is served.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// What there is to tell.
    #[must_use]
    pub fn state(&self) -> LedgerState {
        LedgerState {
            closed: self.is_closed(),
            era: Era(self.era.load(Ordering::SeqCst)),
            last: self.last(),
            unsettled: lock(&self.settling).waiting(),
            doubts: lock(&self.doubts).len(),
            bytes: self.slots.bytes(),
        }
    }

    fn is_era(&self, era: Era) -> bool {
        self.era.load(Ordering::SeqCst) == era.0
    }

    fn tick(&self) -> Seq {
        Seq(self.clock.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

/// Nothing in these locks is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
