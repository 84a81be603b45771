//! What the primary says of its transactions: `pg_current_snapshot()`, with ids of 64 bits that do not wrap.
//! <https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT>

use super::check::{Check, Checks};

/// `xmin:xmax:xip`. A transaction that it shows as finished is so for every later snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    xmin: u64,
    xmax: u64,
    /// In progress, ascending.
    xip: Box<[u64]>,
}

/// A text is no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a snapshot as pg_current_snapshot() writes it")]
pub struct NoSnapshot;

impl Snapshot {
    /// A snapshot with these bounds and these transactions in progress between them.
    pub fn new(xmin: u64, xmax: u64, mut xip: Vec<u64>) -> Result<Self, NoSnapshot> {
        xip.sort_unstable();
        let inside = xip.iter().all(|xid| (xmin..xmax).contains(xid));
        if inside && xmin <= xmax { Ok(Self { xmin, xmax, xip: xip.into() }) } else { Err(NoSnapshot) }
    }

    /// Reads `10:20:10,14,15`.
    pub fn parse(text: &str) -> Result<Self, NoSnapshot> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| NoSnapshot);
        let mut parts = text.split(':');
        let mut next = || parts.next().ok_or(NoSnapshot);
        let (xmin, xmax, xip) = (number(next()?)?, number(next()?)?, next()?);
        let xip = xip.split(',').filter(|xid| !xid.is_empty()).map(number).collect::<Result<_, _>>()?;
        if parts.next().is_some() { Err(NoSnapshot) } else { Self::new(xmin, xmax, xip) }
    }

    /// The transactions in progress.
    pub(crate) fn in_progress(&self) -> &[u64] {
        &self.xip
    }

    /// Whether every transaction that it shows as finished is so in this one too.
    pub(crate) fn is_after(&self, other: &Self) -> bool {
        self.xmin >= other.xmin && self.xmax >= other.xmax
    }

    /// Whether the transaction is over: its changes are visible to every snapshot from now on, or will never be.
    pub(crate) fn shows_finished(&self, xid: u64, checks: &Checks) -> bool {
        let end = xid < self.xmax || !checks.make(Check::SnapshotEnd);
        xid < self.xmin || end && (!checks.make(Check::InProgress) || self.xip.binary_search(&xid).is_err())
    }

    /// Whether this transaction and all before it are over.
    pub(crate) fn is_past(&self, xid: u64) -> bool {
        xid < self.xmin
    }

    /// The full id that has these low 32 bits: the one nearest to the snapshot, for ids in use are never further apart
    /// than half their range.
    pub(crate) fn widen(&self, low: u32, checks: &Checks) -> u64 {
        if !checks.make(Check::Wrap) {
            return u64::from(low);
        }
        #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let distance = low.wrapping_sub(self.xmax as u32).cast_signed();
        self.xmax.saturating_add_signed(i64::from(distance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_postgresql_writes() {
        let snapshot = Snapshot::parse("10:20:10,14,15").expect("a snapshot");
        let finished: Vec<u64> =
            (8..22).filter(|xid| snapshot.shows_finished(*xid, &Checks::default())).collect();
        assert_eq!(finished, [8, 9, 11, 12, 13, 16, 17, 18, 19]);
        assert_eq!(Snapshot::parse("10:10:"), Snapshot::new(10, 10, vec![]));
        for wrong in ["", "10", "10:20", "20:10:", "10:20:9", "10:20:20", "10:20:x", "10:20:11:", "-1:2:"] {
            assert_eq!(Snapshot::parse(wrong), Err(NoSnapshot), "{wrong}");
        }
    }

    #[test]
    fn ids_are_widened_across_the_wrap() {
        let wide = |xmax: u64, low: u32| {
            Snapshot::new(xmax, xmax, vec![]).expect("a snapshot").widen(low, &Checks::default())
        };
        let turn = 1_u64 << 32;
        assert_eq!(wide(1000, 990), 990);
        assert_eq!(wide(1000, 1010), 1010);
        assert_eq!(wide(3 * turn + 5, u32::MAX), 3 * turn - 1);
        assert_eq!(wide(3 * turn - 5, 7), 3 * turn + 7);
    }
}
