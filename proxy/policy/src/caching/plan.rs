//! What a text reads and writes, relation by relation, told apart by key where its own predicates pin one.

use pointsman_sql::{Facts, KeyValue};

use crate::catalog::Catalog;
use crate::touched::{Footprint, Touched};

/// A column by whose values rows are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its name.
    pub name: Box<str>,
    /// Its type, as `pg_type` numbers it.
    pub type_oid: u32,
}

/// The values of a key column in all rows that are read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The column.
    pub column: KeyColumn,
    /// Its value or values.
    pub value: KeyValue,
}

/// A relation's family that a result depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependence {
    /// The family's number.
    pub slot: u16,
    /// Which of its rows; `None`: any.
    pub pinned: Option<Pinned>,
}

/// A relation's family that a text writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The family's number.
    pub slot: u16,
    /// The values, old and new, of each key column that the family has; `None`: not all of them are known.
    pub keys: Option<Box<[Pinned]>>,
}

/// What a result depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    /// It is not known.
    Unknown,
    /// These.
    These(Box<[Dependence]>),
}

/// What a text changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writes {
    /// It is not known.
    Everything,
    /// These.
    These(Box<[Change]>),
}

/// What the result of a text with this footprint depends on, where `columns` are told apart.
#[must_use]
pub fn reads(_facts: &Facts, _catalog: &Catalog, footprint: &Footprint, _columns: &[Box<str>]) -> Reads {
    let Touched::Slots(slots) = &footprint.reads else { return Reads::Unknown };
    Reads::These(slots.iter().map(|slot| Dependence { slot: *slot, pinned: None }).collect())
}

/// What a text with this footprint changes, where `columns` are told apart.
#[must_use]
pub fn writes(_facts: &Facts, _catalog: &Catalog, footprint: &Footprint, _columns: &[Box<str>]) -> Writes {
    let Touched::Slots(slots) = &footprint.writes else { return Writes::Everything };
    Writes::These(slots.iter().map(|slot| Change { slot: *slot, keys: None }).collect())
}
