//! The counters of one worker, cheap enough for every statement.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    /// `SELECT`, `VALUES`, `TABLE`, `SHOW`, `EXPLAIN`.
    Select,
    /// `INSERT`.
    Insert,
    /// `UPDATE`.
    Update,
    /// `DELETE`.
    Delete,
    /// `COPY`.
    Copy,
    /// `BEGIN`, `COMMIT`, `SAVEPOINT` and their kin.
    Transaction,
    /// `SET`, `RESET`, `DISCARD`.
    Set,
    /// `CREATE`, `ALTER`, `DROP`, `GRANT`, `TRUNCATE`.
    Ddl,
    /// Everything else, what does not parse included.
    Other,
}

impl StatementKind {
    /// Every kind, in the order of the counters, with its label.
    pub(super) const ALL: [(Self, &'static str); 9] = [
        (Self::Select, "select"),
        (Self::Insert, "insert"),
        (Self::Update, "update"),
        (Self::Delete, "delete"),
        (Self::Copy, "copy"),
        (Self::Transaction, "transaction"),
        (Self::Set, "set"),
        (Self::Ddl, "ddl"),
        (Self::Other, "other"),
    ];
}

/// Where a statement was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// By the primary.
    Primary,
    /// By a replica.
    Replica,
    /// By Pointsman itself.
    Local,
}

impl Target {
    pub(super) const ALL: [(Self, &'static str); 3] =
        [(Self::Primary, "primary"), (Self::Replica, "replica"), (Self::Local, "local")];
}

/// Whose bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Clients'.
    Client,
    /// Servers'.
    Server,
}

impl Side {
    pub(super) const ALL: [(Self, &'static str); 2] = [(Self::Client, "client"), (Self::Server, "server")];
}

/// The classes of SQLSTATE that PostgreSQL knows, and `other` last.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
pub(super) const SQLSTATE_CLASSES: [&str; 45] = [
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23",
    "24", "25", "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42", "44",
    "53", "54", "55", "57", "58", "72", "F0", "HV", "P0", "XX", "other",
];

/// A counter with one writer: a plain addition, which costs a tenth of an atomic one. A second writer at the same time
/// would lose counts, nothing more.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one worker. Only its thread adds to them; any thread may read. Aligned so that two workers never
/// share a cache line (128 bytes: processors fetch lines in pairs).
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerCounters {
    pub(super) statements: [[Count; 3]; 9],
    pub(super) received: [Count; 2],
    pub(super) sent: [Count; 2],
    pub(super) errors: [Count; SQLSTATE_CLASSES.len()],
    pub(super) template_hits: Count,
    pub(super) template_misses: Count,
    pub(super) templates: Count,
    pub(super) retried: Count,
    pub(super) transactions: Count,
}

impl Default for WorkerCounters {
    fn default() -> Self {
        Self {
            statements: Default::default(),
            received: Default::default(),
            sent: Default::default(),
            errors: std::array::from_fn(|_| Count::default()),
            template_hits: Count::default(),
            template_misses: Count::default(),
            templates: Count::default(),
            retried: Count::default(),
            transactions: Count::default(),
        }
    }
}

impl WorkerCounters {
    /// A statement was sent on its way.
    pub fn statement(&self, kind: StatementKind, target: Target) {
        self.statements[kind as usize][target as usize].add(1);
    }

    /// Bytes came in from `side`.
    pub fn received(&self, side: Side, bytes: usize) {
        self.received[side as usize].add(bytes as u64);
    }

    /// Bytes went out to `side`.
    pub fn sent(&self, side: Side, bytes: usize) {
        self.sent[side as usize].add(bytes as u64);
    }

    /// A client was told of an error with this SQLSTATE.
    pub fn error(&self, sqlstate: &[u8]) {
        let class = sqlstate.get(..2).unwrap_or_default();
        let place = SQLSTATE_CLASSES.iter().position(|known| known.as_bytes() == class);
        self.errors[place.unwrap_or(SQLSTATE_CLASSES.len() - 1)].add(1);
    }

    /// A statement's template was in the worker's cache, or was not.
    pub fn template(&self, hit: bool) {
        if hit { self.template_hits.add(1) } else { self.template_misses.add(1) }
    }

    /// The templates that the worker's cache holds now.
    pub fn set_templates(&self, held: usize) {
        self.templates.0.store(held as u64, Ordering::Relaxed);
    }

    /// A statement was sent again, elsewhere, because a server was lost before it had answered.
    pub fn retried(&self) {
        self.retried.add(1);
    }

    /// A transaction ended, one of a single statement included.
    pub fn transaction(&self) {
        self.transactions.add(1);
    }
}
