//! Every check that the ledger makes, by name, so that the simulation can leave out one and must then fail.

/// A check that keeps stale rows out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Entries are no longer valid once a write to their tags is sent.
    MarkAtSend,
    /// No fill ends while a write to its tags may commit.
    OpenWrites,
    /// Entries are no longer valid once a write is acknowledged.
    MarkAtAck,
    /// A write that nobody knows the end of is not taken for rolled back.
    LostWrites,
    /// Without a stream, a write that nobody knows the end of stays open until its backend is gone.
    Doubts,
    /// A write of unknown relations is marked for all.
    Everything,
    /// A hit looks at what Pointsman's own writes marked.
    LocalMarks,
    /// A hit looks at what the stream marked.
    StreamMarks,
    /// A fill that was overtaken by a mark is not stored.
    MarkedSince,
    /// Fills of tags whose last commit is not visible yet are not stored.
    Unsettled,
    /// What a fill must find settled, it must find so at its start.
    SettledAtStart,
    /// A transaction in a snapshot's list is not finished.
    InProgress,
    /// A transaction from a snapshot's end on is not finished.
    SnapshotEnd,
    /// Nothing counts as settled before what the stream brought earlier.
    InOrder,
    /// Transaction ids are compared in full.
    Wrap,
    /// More unsettled commits than are kept are settled together, at the last.
    Overflow,
    /// What was in progress when the ledger was opened must finish first.
    Baseline,
    /// A replica must have replayed Pointsman's own writes.
    ReplicaLocal,
    /// A replica must have replayed what the stream brought.
    ReplicaStream,
    /// A position bounds the marks before its question only.
    PositionsAfter,
    /// A position that the stream goes back to does not lower a bound.
    StreamRewound,
    /// Nothing is served while the ledger is closed.
    ClosedServes,
    /// No fill begins while the ledger is closed.
    ClosedFills,
    /// What was stored or begun before the ledger was closed is not valid after.
    Flush,
    /// A fill from the primary of another era is not stored.
    Era,
    /// Entries from the shared store do not count before it knows of the marks that this process made.
    Published,
}

/// Which checks are made: all of them, but in tests.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    #[cfg(test)]
    pub(crate) without: Option<Check>,
}

impl Checks {
    /// Whether this check is made.
    #[cfg(test)]
    pub(crate) fn make(&self, check: Check) -> bool {
        self.without != Some(check)
    }

    /// Whether this check is made.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "in tests one is left out")]
    #[inline(always)]
    pub(crate) fn make(&self, _check: Check) -> bool {
        true
    }
}
