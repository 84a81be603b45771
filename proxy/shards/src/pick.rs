//! Which shards hold the rows that a statement touches, by the values of one execution.

use std::sync::Arc;

use pointsman_sql::ValueRef;

use crate::layout::Sharded;

/// The shards that a statement is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Pick {
    /// No shard in particular, any will do: it touches reference tables only, or none.
    Any,
    /// The first: it touches unsharded tables.
    First,
    /// The shards of all these keys together.
    Keys(Box<[KeyUse]>),
    /// Every shard.
    All,
}

/// The values of a sharded table's key that a statement is limited to.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyUse {
    /// The table's.
    pub sharded: Arc<Sharded>,
    /// Types of the key's columns (`pg_type.oid`).
    pub types: Box<[u32]>,
    /// The values.
    pub values: KeyValues,
}

/// Values of a key, as the text has them. Literals are counted in the client's own text.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyValues {
    /// Each has one value for each column of the key.
    Tuples(Box<[Box<[ValueRef]>]>),
    /// `= ANY (array)`.
    Array(ValueRef),
    /// Between two bounds, each included or not.
    Between {
        /// The lower one.
        low: Option<Bound>,
        /// The upper one.
        high: Option<Bound>,
    },
}

/// An end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Its value.
    pub value: ValueRef,
    /// Whether it belongs to the range.
    pub included: bool,
}
