//! Where tables live, as policies declare it, and what else a planner must know beyond the text.

use std::sync::Arc;

use pointsman_sql::{FunctionName, Relation};

use crate::function::Function;

/// Where a table's rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// On the first shard, whole.
    Unsharded,
    /// On every shard, whole: written to all, read from any.
    Reference,
    /// Each row on the shard of its key.
    Sharded(Arc<Sharded>),
}

/// How a table's rows are spread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharded {
    /// The keys, each of one column or, composite, of several. Rows lie where the first key says. Every further key names the
    /// same entity in every row, so that a row is found by either.
    pub keys: Box<[Box<[Box<str>]>]>,
    /// From a key to its shard. Tables with equal functions are co-located: equal keys are on the same shard.
    pub function: Arc<Function>,
    /// A column that is filled with a new id where an `INSERT` leaves it out.
    pub id: Option<Box<str>>,
}

/// A table's column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: Box<str>,
    /// `pg_attribute.atttypid`.
    pub type_oid: u32,
    /// Whether its values sort by their bytes: of a type without a collation, or under `C`, `POSIX` or `C.UTF-8`.
    pub bytewise: bool,
    /// Whether values that are equal are equal byte by byte, as far as the collation goes: it is deterministic, or there is none.
    pub deterministic: bool,
    /// `attnotnull`.
    pub not_null: bool,
}

/// What a function is, as far as spreading its calls over shards depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    /// An ordinary function that is immutable or stable.
    Plain,
    /// An ordinary function that is volatile.
    Volatile,
    /// It returns rows.
    Rows,
    /// `prokind = 'a'`.
    Aggregate,
    /// `prokind = 'w'`.
    Window,
    /// It is not known.
    Unknown,
}

impl FunctionKind {
    /// What a name is that stands for both: one kind, or not known. `rank` and its kin are aggregates (of hypothetical sets) and
    /// window functions: a call says by `OVER` which of the two, as it does of any aggregate.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Aggregate, Self::Window) | (Self::Window, Self::Aggregate) => Self::Aggregate,
            (Self::Plain, Self::Volatile) | (Self::Volatile, Self::Plain) => Self::Volatile,
            (one, other) if one == other => one,
            _ => Self::Unknown,
        }
    }
}

/// What a planner must know beyond the text.
pub trait Schema {
    /// Number of shards; at least 1.
    fn shards(&self) -> usize;
    /// Where a table lives. What was not declared is [`Placement::Unsharded`].
    fn placement(&self, relation: &Relation) -> Placement;
    /// A table's columns in their order; `None` for what is no plain or partitioned table (a view), or not known.
    fn columns(&self, relation: &Relation) -> Option<Arc<[Column]>>;
    /// What a function is. The worst of all overloads.
    fn function(&self, name: &FunctionName) -> FunctionKind;
    /// Whether a column of text is under the database's default collation, not one of its own (`pg_attribute.attcollation` is that of its type). False where
    /// it is not known.
    fn default_collation(&self, _relation: &Relation, _column: &str) -> bool {
        false
    }
    /// Whether a relation is a view that shows rows of sharded tables, or may.
    fn shows_sharded(&self, _relation: &Relation) -> bool {
        false
    }
    /// Whether a function may read tables that its call does not name.
    fn may_read_tables(&self, _name: &FunctionName) -> bool {
        false
    }
    /// Whether texts without a collation of their own (the database's default) sort by their bytes.
    fn default_bytewise(&self) -> bool;
}
