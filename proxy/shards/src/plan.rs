//! What becomes of a statement: the shards that it is for, and what is done if those are several.

mod broadcast;
mod condition;
mod deep;
mod entry;
mod fold;
mod inline;
mod judge;
pub(crate) mod keys;
mod limits;
mod lookup;
mod order;
mod planner;
pub(crate) mod scope;
mod text;
pub(crate) mod tree;
mod union;
pub mod write;

pub use entry::plan;

use std::borrow::Cow;
use std::sync::Arc;

use pointsman_sql::ValueRef;

use crate::layout::Sharded;
use crate::pick::{KeyUse, Pick};

/// A statement's plan. It holds for every execution of the text that it was made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Shards that can hold rows which the statement touches. If they are one at execution, the statement goes there as it is.
    pub pick: Pick,
    /// What is done if they are several.
    pub many: Many,
}

/// What is done with a statement whose rows lie on several shards.
#[derive(Debug, Clone, PartialEq)]
pub enum Many {
    /// It goes to the coordinator, or is refused.
    Refused(Refusal),
    /// A read: gathered.
    Gather(Box<Gather>),
    /// A read that gives all rows of a table to every shard: left to the coordinator, for this reason, or gathered if there is none.
    Broadcast(Box<Gather>, Refusal),
    /// A write that goes to each of the shards as it is: rows of `RETURNING` one after another, counts added up.
    Each(Each),
    /// An `INSERT` whose rows are dealt out.
    Insert(Box<Insert>),
    /// `COPY ... FROM`: rows are dealt out as they come.
    CopyFrom(Box<CopyFrom>),
    /// `COPY ... FROM` of a reference table: every shard gets all of the stream.
    CopyAll,
    /// `COPY ... TO` of a table: its rows of all shards, one shard after another.
    CopyTo(CopyTo),
}

/// Why a statement cannot be done on several shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For metrics: a closed set.
    pub why: Why,
    /// Names the part of the statement, in the client's words where it can.
    pub part: Cow<'static, str>,
    /// What to do instead.
    pub hint: Cow<'static, str>,
}

/// Reasons for a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// Tables are joined other than by their keys.
    Join,
    /// A subquery cannot be run by itself.
    Subquery,
    /// An aggregate cannot be put together from parts.
    Aggregate,
    /// A window function over rows of several shards.
    Window,
    /// The order of a collation that is not by bytes, or of a type that is not known.
    Order,
    /// A function whose kind is not known, or that is volatile.
    Function,
    /// `FOR UPDATE` and its kin.
    Locking,
    /// A set operation.
    SetOperation,
    /// A write whose rows would move.
    KeyUpdate,
    /// A write over several shards, which needs two-phase commit.
    Write,
    /// A column or table that is not known.
    Unknown,
    /// A kind of statement that is for one server.
    Statement,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Join,
        Self::Subquery,
        Self::Aggregate,
        Self::Window,
        Self::Order,
        Self::Function,
        Self::Locking,
        Self::SetOperation,
        Self::KeyUpdate,
        Self::Write,
        Self::Unknown,
        Self::Statement,
    ];

    /// Its name, for metrics and the console.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Subquery => "subquery",
            Self::Aggregate => "aggregate",
            Self::Window => "window",
            Self::Order => "order",
            Self::Function => "function",
            Self::Locking => "locking",
            Self::SetOperation => "set_operation",
            Self::KeyUpdate => "key_update",
            Self::Write => "write",
            Self::Unknown => "unknown",
            Self::Statement => "statement",
        }
    }
}

/// Rows put together from several shards.
#[derive(Debug, Clone, PartialEq)]
pub struct Gather {
    /// What is run first. In `sql`, the relation `pointsman.lookup_N` stands for the rows of the lookup of that number: it is replaced by
    /// a subquery over arrays, which are bound after the client's own parameters.
    pub lookups: Vec<Lookup>,
    /// The text for each shard. Parameters are the client's, by their own numbers.
    pub sql: String,
    /// Where it runs; on any one if no shard has such keys (`= NULL`). If that is one shard, or `Any`, nothing is merged.
    pub on: Pick,
    /// Columns at the end of each row that are for the merge only, asked for in binary.
    pub hidden: usize,
    /// How rows of several shards become one result.
    pub merge: Merge,
}

/// Rows that a later query needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Lookup {
    /// `N` of `pointsman.lookup_N`; unique within a plan.
    pub number: u32,
    /// How they are found. No `hidden` column is among them.
    pub gather: Gather,
    /// Each shard needs only the rows whose values in these columns (from 0) are a key that it owns; rows with a NULL there are needed nowhere.
    pub owned: Option<Owned>,
}

/// A lookup's columns that are compared with a table's key.
#[derive(Debug, Clone, PartialEq)]
pub struct Owned {
    /// The columns, from 0, in the key's order.
    pub columns: Box<[usize]>,
    /// The table's.
    pub sharded: Arc<Sharded>,
    /// Types of the key's columns (`pg_type.oid`).
    pub types: Box<[u32]>,
}

/// How rows of several shards become one result.
#[derive(Debug, Clone, PartialEq)]
pub enum Merge {
    /// In any order, at most so many after so many.
    Append(Slice),
    /// The rows of one shard: should `on` prove to be several at execution (a value that is no key), the statement is refused.
    One,
    /// Each shard's rows come in the order of the hidden columns, and so do all together.
    Ordered(Ordered),
}

/// `LIMIT` and `OFFSET`. Each is a literal or a parameter; `None`, or a value that is NULL: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slice {
    /// Rows at the most.
    pub limit: Option<ValueRef>,
    /// Rows left out first.
    pub offset: Option<ValueRef>,
    /// `FETCH FIRST ... WITH TIES`: rows that are equal in all keys to the last one come too.
    pub with_ties: bool,
}

/// A merge by order.
#[derive(Debug, Clone, PartialEq)]
pub struct Ordered {
    /// One for each hidden column, in their order.
    pub keys: Vec<SortKey>,
    /// Of rows that are equal in the first so many keys, only the first stays.
    pub unique: Option<usize>,
    /// `LIMIT` and `OFFSET`.
    pub slice: Slice,
}

/// How one hidden column sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// `DESC`.
    pub descending: bool,
    /// `NULLS FIRST`, said or by default.
    pub nulls_first: bool,
    /// Whether text sorts by its bytes. If not, such a key can only tell equal from not.
    pub bytewise: bool,
}

/// A write that goes to each of its shards as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Each {
    /// Rows of a sharded table: counts are added up, rows of `RETURNING` follow one another.
    Rows,
    /// A reference table: every shard does the same, one answers.
    Copies,
    /// Definitions and other utility statements: on every shard in order; one answers.
    Definition,
}

/// An `INSERT` whose rows are dealt out.
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// The text before the rows' list and after it.
    pub around: [String; 2],
    /// The rows, each as its text with its parentheses, and its key.
    pub rows: Vec<InsertRow>,
    /// It has `RETURNING`: rows are given back in the order of the rows inserted.
    pub returning: bool,
    /// It may leave out rows (`ON CONFLICT DO NOTHING`): then the order of what is returned is not known.
    pub may_skip: bool,
}

/// A row of an `INSERT`.
#[derive(Debug, Clone, PartialEq)]
pub struct InsertRow {
    /// `(...)`, as the client wrote it.
    pub text: String,
    /// Its key.
    pub key: KeyUse,
}

/// A `COPY ... FROM STDIN` whose rows are dealt out.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyFrom {
    /// The table's.
    pub sharded: Arc<Sharded>,
    /// Where the key's columns are in a row, from 0.
    pub columns: Box<[usize]>,
    /// Their types (`pg_type.oid`).
    pub types: Box<[u32]>,
    /// Columns in a row.
    pub width: usize,
    /// How rows are written.
    pub format: CopyFormat,
}

/// A `COPY ... TO STDOUT` whose rows come from several shards. In binary format (`CopyOutResponse` says so) only the first shard's
/// header and the last one's trailer are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyTo {
    /// Each shard's first `CopyData` is a line of column names, which is passed on from the first shard only.
    pub header: bool,
}

/// How rows are written in a `COPY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyFormat {
    /// `text`: the delimiter, and what stands for NULL.
    Text {
        /// One byte.
        delimiter: u8,
        /// What stands for NULL.
        null: Box<[u8]>,
    },
    /// `csv`.
    Csv {
        /// One byte.
        delimiter: u8,
        /// One byte.
        quote: u8,
        /// One byte.
        escape: u8,
        /// What stands for NULL.
        null: Box<[u8]>,
        /// Whether the first line names the columns.
        header: bool,
        /// Columns, from 0, in which an unquoted NULL is the text itself (`FORCE NOT NULL`).
        force_not_null: Box<[usize]>,
        /// Columns, from 0, in which a quoted NULL is NULL (`FORCE NULL`).
        force_null: Box<[usize]>,
    },
    /// `binary`.
    Binary,
}

#[cfg(test)]
pub(crate) mod tests;
