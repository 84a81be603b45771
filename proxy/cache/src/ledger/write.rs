//! Writes through Pointsman, from the moment before what may commit them is sent to the moment their end is known.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::check::Check;
use super::{Ledger, Seq, lock};
use crate::tag::Tags;

/// A write that may be committing: an autocommit statement that was sent, or the `COMMIT` of what a transaction wrote.
/// Dropped without a word, it counts as [`Write::lost`].
#[derive(Debug)]
#[must_use = "its tags are not cached until it is told how it ended"]
pub struct Write {
    /// `None` once its end is known.
    ledger: Option<Arc<Ledger>>,
    pub(super) tags: Tags,
    backend: Backend,
}

/// The server process that a write was sent to, as `pg_stat_activity` numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Backend(pub i32);

/// A write whose end nobody knows: see [`Ledger::resolve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Doubt(u64);

/// Lost writes that are held until their backends are known to be gone.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    last: u64,
    held: Vec<(Doubt, Backend, Tags)>,
}

impl Doubts {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}

impl Ledger {
    /// What may commit a write to these tags is about to be sent: called before it is. `COMMIT PREPARED` and what is not
    /// understood write [`Tags::everything`].
    pub fn sent(self: &Arc<Self>, tags: &Tags, backend: Backend) -> Write {
        // Open first: a fill that begins after the mark then finds it open.
        self.slots.open(tags, &self.checks);
        if self.checks.make(Check::MarkAtSend) {
            self.invalidate(tags);
        }
        Write { ledger: Some(Arc::clone(self)), tags: tags.clone(), backend }
    }

    /// Every doubt, with the backend whose end would resolve it. To be looked at from time to time.
    #[must_use]
    pub fn doubts(&self) -> Vec<(Doubt, Backend)> {
        lock(&self.doubts).held.iter().map(|(doubt, backend, _)| (*doubt, *backend)).collect()
    }

    /// The backend of a lost write has ended (it is in `pg_stat_activity` no more): whatever it did is visible.
    pub fn resolve(&self, doubt: Doubt) {
        let mut doubts = lock(&self.doubts);
        if let Some(at) = doubts.held.iter().position(|(held, ..)| *held == doubt) {
            let (.., tags) = doubts.held.swap_remove(at);
            drop(doubts);
            self.committed(&tags);
        }
    }

    /// The stream sees whatever becomes of them.
    pub(super) fn resolve_all(&self) {
        let held = std::mem::take(&mut lock(&self.doubts).held);
        for (.., tags) in held {
            self.committed(&tags);
        }
    }

    /// Marks, then closes: in this order, see `end_fill`.
    fn committed(&self, tags: &Tags) -> Seq {
        let seq = if self.checks.make(Check::MarkAtAck) { self.invalidate(tags) } else { self.last() };
        self.slots.close(tags, &self.checks);
        seq
    }

    fn lost(&self, tags: Tags, backend: Backend) -> Option<Doubt> {
        if !self.checks.make(Check::LostWrites) {
            self.slots.close(&tags, &self.checks);
            return None;
        }
        // The stream will bring the commit, if there is one, however late.
        if self.streaming.load(Ordering::SeqCst) || !self.checks.make(Check::Doubts) {
            self.committed(&tags);
            return None;
        }
        let mut doubts = lock(&self.doubts);
        doubts.last += 1;
        let doubt = Doubt(doubts.last);
        doubts.held.push((doubt, backend, tags));
        Some(doubt)
    }
}

impl Write {
    /// The server says that it is committed: called before the client hears of it. The number is what the session's own
    /// later reads must not be older than.
    pub fn acknowledged(mut self) -> Seq {
        let tags = std::mem::take(&mut self.tags);
        self.ledger.take().map(|ledger| ledger.committed(&tags)).unwrap_or_default()
    }

    /// The server says that it is rolled back, or it was never sent: nothing has changed.
    pub fn rolled_back(mut self) {
        if let Some(ledger) = self.ledger.take() {
            ledger.slots.close(&self.tags, &ledger.checks);
        }
    }

    /// Its connection broke. With a doubt returned, its tags are not cached until [`Ledger::resolve`]; with none, the
    /// change stream tells the rest.
    pub fn lost(mut self) -> Option<Doubt> {
        let tags = std::mem::take(&mut self.tags);
        self.ledger.take().and_then(|ledger| ledger.lost(tags, self.backend))
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            ledger.lost(std::mem::take(&mut self.tags), self.backend);
        }
    }
}
