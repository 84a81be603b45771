//! What the stream brought and new snapshots may not show yet. Logical decoding can deliver a commit while its backend
//! still waits for a synchronous standby; only then is it visible.

use std::collections::VecDeque;

use super::check::{Check, Checks};
use super::positions::Positions;
use super::snapshot::Snapshot;
use super::{Lsn, Seq};

/// Unsettled commits that are kept apart; more are settled together.
pub(crate) const UNSETTLED_MAX: usize = 65_536;
/// Positions of the stream that are kept; fewer only ask more of a replica.
const POSITIONS_MAX: usize = 1024;

/// What must be over before a mark is settled.
#[derive(Debug)]
enum Wait {
    /// This transaction.
    One(u32),
    /// This one and all before it.
    UpTo(u32),
    /// These.
    All(Box<[u64]>),
}

/// The stream's side of the ledger.
#[derive(Debug)]
pub(crate) struct Settling {
    /// In the order of their marks.
    waiting: VecDeque<(Seq, Wait)>,
    /// The newest snapshot heard of.
    snapshot: Option<Snapshot>,
    /// Which position in the WAL bounds the marks up to which number.
    pub(crate) positions: Positions,
    unsettled_max: usize,
}

impl Settling {
    pub(crate) fn new(unsettled_max: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            snapshot: None,
            positions: Positions::new(POSITIONS_MAX),
            unsettled_max,
        }
    }

    /// How many marks wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Another primary: what the last one said of its transactions means nothing now.
    pub(crate) fn forget(&mut self) {
        self.waiting.clear();
        self.snapshot = None;
    }

    /// A mark for everything waits for all that is in progress.
    pub(crate) fn wait_for_all(&mut self, seq: Seq, snapshot: &Snapshot) {
        self.waiting.push_back((seq, Wait::All(snapshot.in_progress().into())));
        self.positions.restart(seq, Lsn(0));
    }

    /// A mark waits for the commit that made it.
    pub(crate) fn wait_for(&mut self, seq: Seq, xid: u32, lsn: Lsn, checks: &Checks) {
        self.positions.add(seq, lsn, checks.make(Check::StreamRewound));
        if self.waiting.len() < self.unsettled_max {
            self.waiting.push_back((seq, Wait::One(xid)));
            return;
        }
        let last = match self.waiting.pop_back() {
            Some((_, Wait::One(last) | Wait::UpTo(last))) if checks.make(Check::Overflow) => later(last, xid),
            Some((_, Wait::All(all))) if checks.make(Check::Overflow) =>
            {
                #[expect(clippy::cast_possible_truncation, reason = "widened again when it is judged")]
                all.last().map_or(xid, |last| later(*last as u32, xid))
            }
            _ => xid,
        };
        self.waiting
            .push_back((seq, if checks.make(Check::Overflow) { Wait::UpTo(last) } else { Wait::One(last) }));
    }

    /// Takes a snapshot into account, if it is newer.
    pub(crate) fn hear(&mut self, snapshot: &Snapshot) {
        if self.snapshot.as_ref().is_none_or(|last| snapshot.is_after(last)) {
            self.snapshot = Some(snapshot.clone());
        }
    }

    /// Drops what is settled; the last mark up to which all are, if any is.
    pub(crate) fn settle(&mut self, checks: &Checks) -> Option<Seq> {
        let snapshot = self.snapshot.as_ref()?;
        let over = |wait: &Wait| match wait {
            Wait::One(xid) => snapshot.shows_finished(snapshot.widen(*xid, checks), checks),
            Wait::UpTo(xid) => snapshot.is_past(snapshot.widen(*xid, checks)),
            Wait::All(xids) => {
                !checks.make(Check::Baseline) || xids.iter().all(|xid| snapshot.shows_finished(*xid, checks))
            }
        };
        let settled = if checks.make(Check::InOrder) {
            self.waiting.iter().position(|(_, wait)| !over(wait)).unwrap_or(self.waiting.len())
        } else {
            self.waiting.iter().rposition(|(_, wait)| over(wait)).map_or(0, |last| last + 1)
        };
        self.waiting.drain(..settled).next_back().map(|(seq, _)| seq)
    }
}

/// The later of two ids of 32 bits, which wrap.
fn later(left: u32, right: u32) -> u32 {
    if right.wrapping_sub(left).cast_signed() > 0 { right } else { left }
}
