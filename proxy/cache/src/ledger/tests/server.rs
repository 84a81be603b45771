//! A model of PostgreSQL: a primary with snapshots and commits that are visible late, a replica, a WAL, an old primary
//! that does not know that it is one.

use super::super::{Era, Lsn, Snapshot};

pub(super) const RELATIONS: usize = 2;
pub(super) const KEYS: usize = 3;

/// Where the WAL begins.
const FIRST_LSN: u64 = 100;

/// A row: relation and key.
pub(super) type Row = (usize, usize);

/// How far a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Has an id and its locks.
    Running,
    /// Its commit record is in the WAL; it may wait for a standby.
    Written,
    /// Snapshots show it, since this step.
    Visible(u64),
    Aborted,
    /// A promotion left it behind.
    Lost,
}

#[derive(Debug)]
pub(super) struct Transaction {
    pub xid: u64,
    pub rows: Vec<Row>,
    pub stage: Stage,
    /// Where its commit record ends, once it is written.
    pub end: u64,
    /// Its place among all commits of the run, once it is written: what its rows then hold.
    pub value: u64,
    pub era: u64,
    /// Whether the primary of its era shows it, for reads of an old primary.
    pub shown_then: bool,
    pub through_us: bool,
    /// Its client was told that it is committed.
    pub told: bool,
    /// The stream brought it.
    pub delivered: bool,
    /// A slot made later begins after it.
    pub skipped: bool,
    /// Nobody knows its end: its connection broke or the proxy was restarted.
    pub orphan: bool,
}

#[derive(Debug, Default)]
pub(super) struct Server {
    pub transactions: Vec<Transaction>,
    /// Those written, in the order of the WAL.
    pub log: Vec<usize>,
    pub era: u64,
    next_xid: u64,
    wal: u64,
    values: u64,
    /// How much of the log the replica has replayed.
    pub replayed: usize,
}

impl Server {
    pub(super) fn new(first_xid: u64) -> Self {
        Self { era: 1, next_xid: first_xid, wal: FIRST_LSN, ..Self::default() }
    }

    fn is_over(&self, at: usize) -> bool {
        matches!(self.transactions[at].stage, Stage::Visible(_) | Stage::Aborted | Stage::Lost)
    }

    /// Begins a transaction, unless one of the rows is locked.
    pub(super) fn begin(&mut self, rows: Vec<Row>, through_us: bool) -> Option<usize> {
        let locked = |(at, other): (usize, &Transaction)| {
            !self.is_over(at) && other.rows.iter().any(|row| rows.contains(row))
        };
        if self.transactions.iter().enumerate().any(locked) {
            return None;
        }
        let xid = self.next_xid;
        self.next_xid += 1;
        self.transactions.push(Transaction {
            xid,
            rows,
            stage: Stage::Running,
            end: 0,
            value: 0,
            era: self.era,
            shown_then: false,
            through_us,
            told: false,
            delivered: false,
            skipped: false,
            orphan: false,
        });
        Some(self.transactions.len() - 1)
    }

    /// Writes the commit record.
    pub(super) fn write(&mut self, at: usize) {
        self.wal += 10;
        self.values += 1;
        let transaction = &mut self.transactions[at];
        (transaction.stage, transaction.end, transaction.value) = (Stage::Written, self.wal, self.values);
        self.log.push(at);
    }

    pub(super) fn show(&mut self, at: usize, now: u64) {
        self.transactions[at].stage = Stage::Visible(now);
        self.transactions[at].shown_then = true;
    }

    pub(super) fn insert_lsn(&self) -> Lsn {
        Lsn(self.wal)
    }

    pub(super) fn replayed_lsn(&self) -> Lsn {
        let last = self.replayed.checked_sub(1).and_then(|at| self.log.get(at));
        Lsn(last.map_or(FIRST_LSN, |at| self.transactions[*at].end))
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let running = (0..self.transactions.len()).filter(|at| !self.is_over(*at));
        let xip: Vec<u64> = running.map(|at| self.transactions[at].xid).collect();
        let xmin = xip.first().copied().unwrap_or(self.next_xid);
        Snapshot::new(xmin, self.next_xid, xip).expect("a snapshot")
    }

    fn value(&self, row: Row, shown: impl Fn(&Transaction) -> bool) -> u64 {
        let of_row = self.transactions.iter().filter(|transaction| transaction.rows.contains(&row));
        of_row
            .filter(|transaction| shown(transaction))
            .map(|transaction| transaction.value)
            .max()
            .unwrap_or(0)
    }

    /// What the primary of an era shows.
    pub(super) fn on_primary(&self, era: u64, row: Row) -> u64 {
        if era == self.era {
            self.value(row, |transaction| matches!(transaction.stage, Stage::Visible(_)))
        } else {
            self.value(row, |transaction| transaction.era <= era && transaction.shown_then)
        }
    }

    pub(super) fn on_replica(&self, row: Row) -> u64 {
        let replayed = &self.log[..self.replayed];
        let rows = replayed.iter().map(|at| &self.transactions[*at]);
        rows.filter(|transaction| transaction.rows.contains(&row)).map(|done| done.value).max().unwrap_or(0)
    }

    /// The replica becomes the primary; what it has not replayed is lost.
    pub(super) fn promote(&mut self, now: u64) {
        self.wal = self.replayed_lsn().0;
        let kept = self.log[..self.replayed].to_vec();
        for at in 0..self.transactions.len() {
            let transaction = &mut self.transactions[at];
            match transaction.stage {
                Stage::Aborted | Stage::Lost => {}
                _ if !kept.contains(&at) => transaction.stage = Stage::Lost,
                Stage::Visible(_) => {}
                Stage::Running | Stage::Written => transaction.stage = Stage::Visible(now),
            }
        }
        self.log = kept;
        self.era += 1;
    }

    pub(super) fn era(&self) -> Era {
        Era(self.era)
    }
}
