//! Which rows a statement names: equality predicates by literal or parameter, rows of `VALUES`, limits, targets.

mod find;

pub use find::literal_ref;
pub(crate) use find::of;

use crate::facts::Relation;

/// More rows of `VALUES` than this are not listed.
pub const ROWS_MAX: usize = 1000;

/// What the text says about rows. Empty where the statement is not a plain query or write.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Keys {
    /// Whether the text was looked at for all that follows: it is one `SELECT`, `VALUES`, `INSERT`, `UPDATE` or `DELETE`
    /// (or an `EXPLAIN` of one), read from its parse tree.
    pub known: bool,
    /// Whether there is a `WHERE` at the top.
    pub has_where: bool,
    /// Predicates that every row meets: parts of a top-level `AND` in `WHERE` or in an inner join's condition.
    pub predicates: Vec<KeyPredicate>,
    /// `LIMIT`.
    pub limit: Option<ValueRef>,
    /// `OFFSET`.
    pub offset: Option<ValueRef>,
    /// `RETURNING`.
    pub returning: bool,
    /// `INSERT`'s columns and rows.
    pub insert: Option<Insert>,
    /// Columns assigned by `UPDATE ... SET` or `ON CONFLICT DO UPDATE SET`.
    pub set_targets: Vec<Box<str>>,
}

impl Keys {
    /// About how much memory the lists take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let values = |predicate: &KeyPredicate| match &predicate.value {
            KeyValue::In(values) => values.len(),
            KeyValue::Eq(_) | KeyValue::AnyArray(_) => 0,
        };
        let listed: usize = self.predicates.iter().map(values).sum();
        let cells: usize = self.insert.iter().flat_map(|insert| &insert.rows).map(Vec::len).sum();
        (listed + cells) * size_of::<ValueRef>()
            + self.predicates.len() * size_of::<KeyPredicate>()
            + self.set_targets.len() * size_of::<Box<str>>()
    }
}

/// `column = value`, `column IN (...)` or `column = ANY (...)`.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyPredicate {
    /// The relation that the column belongs to; `None` if the text alone cannot say.
    pub relation: Option<Relation>,
    /// Its name in this query: the alias, or else the relation's name.
    pub alias: Option<Box<str>>,
    /// The column.
    pub column: Box<str>,
    /// Its value or values.
    pub value: KeyValue,
}

/// The right-hand side of a key predicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyValue {
    /// `= value`.
    Eq(ValueRef),
    /// `IN (values)` or `= ANY (ARRAY[values])`.
    In(Vec<ValueRef>),
    /// `= ANY ($n)` or `= ANY ('{...}')`: one array.
    AnyArray(ValueRef),
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueRef {
    /// The literal of this index.
    Literal(usize),
    /// The literal of this index with a minus before it.
    Negative(usize),
    /// `$n`, counted from 1.
    Param(u32),
    /// `NULL`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// `DEFAULT`, in rows only.
    Default,
    /// An expression.
    Other,
}

/// `INSERT INTO relation (columns) VALUES rows`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Insert {
    /// The columns named; empty means all of them in the table's order.
    pub columns: Vec<Box<str>>,
    /// The rows, at most [`ROWS_MAX`]; empty for `INSERT ... SELECT`, `DEFAULT VALUES` and longer lists.
    pub rows: Vec<Vec<ValueRef>>,
    /// How many rows the text has; zero for `INSERT ... SELECT` and `DEFAULT VALUES`.
    pub row_count: usize,
    /// `ON CONFLICT`.
    pub on_conflict: bool,
    /// `OVERRIDING USER VALUE`: what is given for identity columns is not taken.
    pub overriding_user_value: bool,
}

#[cfg(test)]
mod tests;
