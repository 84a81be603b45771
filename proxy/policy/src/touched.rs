//! Which relations a text reads and writes, as small numbers that a write can be noted under and a read asked for.

use pointsman_sql::{Facts, Kind, NotReadOnly, Statement};

use crate::catalog::Catalog;

/// How many numbers there are. Relations that share one make reads wait for each other's writes, no more.
pub const SLOTS: usize = 4096;

/// How fresh a read has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Consistency {
    /// It sees every write to the relations it reads that was acknowledged before it began.
    #[default]
    Strict,
    /// It sees its own session's writes.
    Session,
    /// It sees what the replica has, within the bound on lag.
    Eventual,
}

impl std::fmt::Display for Consistency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Strict => "strict",
            Self::Session => "session",
            Self::Eventual => "eventual",
        })
    }
}

/// Relations, by the slots of their families (a table with its partitions or heirs).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// It is not known which, or code that is not known decides.
    Unknown,
    /// These, sorted, each once.
    Slots(Box<[u16]>),
}

impl Touched {
    /// No relation at all.
    #[must_use]
    pub fn nothing() -> Self {
        Self::Slots(Box::default())
    }

    /// One relation.
    #[must_use]
    pub fn one(slot: u16) -> Self {
        Self::Slots(Box::new([slot]))
    }

    /// Whether a slot may be among them.
    #[must_use]
    pub fn has(&self, slot: u16) -> bool {
        match self {
            Self::Unknown => true,
            Self::Slots(slots) => slots.binary_search(&slot).is_ok(),
        }
    }

    /// These and the others.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Slots(own), Self::Slots(others)) => {
                let mut all: Vec<u16> = own.iter().chain(others.iter()).copied().collect();
                all.sort_unstable();
                all.dedup();
                Self::Slots(all.into())
            }
            _ => Self::Unknown,
        }
    }
}

/// The slot of a family that is known by this name.
#[must_use]
pub fn slot_of(name: &str) -> u16 {
    // FNV-1a.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let folded = (hash ^ (hash >> 32)) % SLOTS as u64;
    u16::try_from(folded).unwrap_or_default()
}

/// What a text touches, under one catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    /// Relations whose contents may show in its result.
    pub reads: Touched,
    /// Relations whose contents it may change.
    pub writes: Touched,
    /// [`Catalog::families`] of the catalog that was asked.
    pub families: u64,
}

impl Footprint {
    /// A footprint of which nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self { reads: Touched::Unknown, writes: Touched::Unknown, families: 0 }
    }
}

/// What a text reads and writes. A statement counts as known only if everything it calls is PostgreSQL's own.
#[must_use]
pub fn footprint(facts: &Facts, catalog: &Catalog) -> Footprint {
    let (mut reads, mut writes) = (Touched::nothing(), Touched::nothing());
    if !facts.understood() {
        (reads, writes) = (Touched::Unknown, Touched::Unknown);
    }
    for statement in &facts.statements {
        let quiet = is_data(statement) && catalog.is_plain(statement);
        let (read, written) = if is_control(&statement.kind) {
            // What a transaction will read is not known when it begins.
            (Touched::Unknown, Touched::nothing())
        } else if quiet {
            (
                catalog.reads(&statement.reads).and(&catalog.called_reads(statement)),
                catalog.writes(&statement.writes),
            )
        } else {
            (Touched::Unknown, Touched::Unknown)
        };
        reads = reads.and(&read);
        writes = writes.and(&written);
    }
    Footprint { reads, writes, families: catalog.families() }
}

/// Statements whose facts name every relation that they touch.
fn is_data(statement: &Statement) -> bool {
    let runs_another = statement.read_only == Err(NotReadOnly::Execute);
    let data = matches!(
        statement.kind,
        Kind::Select
            | Kind::Values
            | Kind::Show(_)
            | Kind::Insert
            | Kind::Update
            | Kind::Delete
            | Kind::Merge
            | Kind::CopyFrom(_)
            | Kind::CopyTo(_)
            | Kind::Explain { analyze: false }
            | Kind::DeclareCursor { .. }
            | Kind::Lock
    );
    data && !runs_another
}

/// Statements that touch no relation themselves.
fn is_control(kind: &Kind) -> bool {
    kind.steers_transaction()
        || kind.sets()
        || matches!(
            kind,
            Kind::Listen(_)
                | Kind::Unlisten(_)
                | Kind::Notify
                | Kind::Prepare(_)
                | Kind::Deallocate(_)
                | Kind::CloseCursor(_)
        )
}

#[cfg(test)]
mod tests;
