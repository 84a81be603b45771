//! Fills: a result that is on its way into the cache, from the moment before its query is sent to the end of its rows.

use std::sync::atomic::Ordering;

use super::check::Check;
use super::{Era, Ledger, Lsn, Seq, lock};
use crate::tag::Tags;

/// Where a fill reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The primary.
    Primary,
    /// A replica, which had replayed this much *before* the query is sent (`pg_last_wal_replay_lsn()`).
    Replica {
        /// The position.
        replayed: Lsn,
    },
    /// The shared store, which knows of every mark that this process made up to this number. To learn it: whoever marks
    /// tags first puts them into a queue; the one who publishes notes [`Ledger::last`], then takes all from the queue,
    /// and has published up to that number once the store has them.
    Shared {
        /// The number.
        published: Seq,
    },
}

/// A fill in progress. It holds nothing: one that is dropped is one that was never stored.
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    start: Seq,
    settled: Seq,
    source: Source,
}

impl Fill {
    /// The number at its start, which will be its entry's stamp.
    #[must_use]
    pub fn start(&self) -> Seq {
        self.start
    }
}

/// Why a result may not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The ledger is closed.
    Closed,
    /// It would be read from a primary, or a replica of one, of another era.
    OtherEra,
    /// What it depends on is not known, or is too much to list.
    UnknownTags,
    /// A write to one of its tags may be committing.
    WriteInFlight,
    /// One of its tags was marked since it began.
    Marked,
    /// A commit that changed one of its tags was perhaps not visible when it began.
    Unsettled,
    /// The replica had not replayed the last mark of its tags.
    ReplicaBehind,
    /// Where the last mark of its tags stands in the WAL is not known yet.
    PositionUnknown,
    /// The shared store may not know yet of the last mark of its tags.
    Unpublished,
}

impl Ledger {
    /// A fill begins: called before the query is sent, or before the shared store is asked. `era` is that of the server
    /// that is asked.
    pub fn begin_fill(&self, era: Era, source: Source) -> Result<Fill, Refusal> {
        if self.is_closed() && self.checks.make(Check::ClosedFills) {
            return Err(Refusal::Closed);
        }
        if !self.is_era(era) && self.checks.make(Check::Era) {
            return Err(Refusal::OtherEra);
        }
        let settled = Seq(self.settled.load(Ordering::SeqCst));
        Ok(Fill { start: self.last(), settled, source })
    }

    /// A fill ends with this result's tags: its entry's stamp if it may be stored.
    pub fn end_fill(&self, fill: &Fill, tags: &Tags) -> Result<Seq, Refusal> {
        if tags.is_everything() {
            return Err(Refusal::UnknownTags);
        }
        let tags = tags.as_slice();
        // Before the marks: a write that is closed by now has left its second mark.
        if self.checks.make(Check::OpenWrites) && self.slots.is_open(tags) {
            return Err(Refusal::WriteInFlight);
        }
        let (local, event) = self.slots.last(tags);
        if self.checks.make(Check::MarkedSince) && local.max(event) > fill.start {
            return Err(Refusal::Marked);
        }
        let settled = if self.checks.make(Check::SettledAtStart) {
            fill.settled
        } else {
            Seq(self.settled.load(Ordering::SeqCst))
        };
        if self.checks.make(Check::Unsettled) && event > settled {
            return Err(Refusal::Unsettled);
        }
        match fill.source {
            Source::Primary => {}
            Source::Replica { replayed } => self.replica_has(replayed, local, event)?,
            Source::Shared { published } => {
                if self.checks.make(Check::Published) && local.max(event) > published {
                    return Err(Refusal::Unpublished);
                }
            }
        }
        // Last: what was missed before the ledger was closed may have been missed by all that was looked at.
        if self.is_closed() && self.checks.make(Check::ClosedFills) {
            return Err(Refusal::Closed);
        }
        Ok(fill.start)
    }

    fn replica_has(&self, replayed: Lsn, local: Seq, event: Seq) -> Result<(), Refusal> {
        let enough = |bound: Option<Lsn>| match bound {
            None => Err(Refusal::PositionUnknown),
            Some(bound) if bound > replayed => Err(Refusal::ReplicaBehind),
            Some(_) => Ok(()),
        };
        if self.checks.make(Check::ReplicaLocal) {
            enough(lock(&self.positions).bound(local, self.checks.make(Check::PositionsAfter)))?;
        }
        if self.checks.make(Check::ReplicaStream) {
            enough(lock(&self.settling).positions.bound(event, true))?;
        }
        Ok(())
    }
}
