//! What a text reads and writes, relation by relation, told apart by key where its own predicates pin one.

use pointsman_sql::{Facts, KeyPredicate, KeyValue, Kind, Relation, Statement, ValueRef};

use crate::catalog::{Catalog, Known};
use crate::touched::{Footprint, Touched};

/// `pg_type.oid` of the types that a value's form says something of.
const BOOL: u32 = 16;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;

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
///
/// A dependence is pinned only where the relation is named once in the whole text, is a plain table, and every row of it
/// that the result can show meets a predicate that compares one of `columns` with values. The values are what the text
/// says: that a parameter or a literal of another type compares as its text does is for the caller to see to.
#[must_use]
pub fn reads(facts: &Facts, catalog: &Catalog, footprint: &Footprint, columns: &[Box<str>]) -> Reads {
    let Touched::Slots(slots) = &footprint.reads else { return Reads::Unknown };
    if footprint.families != catalog.families() {
        return Reads::Unknown;
    }
    let query = single(facts).filter(|query| query.kind == Kind::Select && query.keys.known);
    let dependence = |slot: &u16| {
        let pinned = query.and_then(|query| pin(query, catalog, *slot, columns));
        Dependence { slot: *slot, pinned }
    };
    Reads::These(slots.iter().map(dependence).collect())
}

/// What a text with this footprint changes, where `columns` are told apart.
///
/// Keys are known only of one `INSERT`, `UPDATE` or `DELETE` of one plain table that says, for each of `columns` which
/// tells rows of its family apart, all old and new values. As with [`reads`], they are what the text says.
#[must_use]
pub fn writes(facts: &Facts, catalog: &Catalog, footprint: &Footprint, columns: &[Box<str>]) -> Writes {
    let Touched::Slots(slots) = &footprint.writes else { return Writes::Everything };
    if footprint.families != catalog.families() {
        return Writes::Everything;
    }
    let mut keys = match **slots {
        [slot] => single(facts).and_then(|statement| written(statement, catalog, slot, columns)),
        _ => None,
    };
    Writes::These(slots.iter().map(|slot| Change { slot: *slot, keys: keys.take() }).collect())
}

/// The only statement of a text that is understood.
fn single(facts: &Facts) -> Option<&Statement> {
    facts.single().filter(|_| facts.understood())
}

/// How a query pins the rows of a slot that it reads, if only one table in it has that slot and is named once.
fn pin(query: &Statement, catalog: &Catalog, slot: u16, columns: &[Box<str>]) -> Option<Pinned> {
    let readers = query.reads.iter().map(|name| (name, catalog.readers(name, slot)));
    let mut readers = readers.filter(|(_, count)| *count > 0);
    let (name, 1) = readers.next()? else { return None };
    if readers.next().is_some() || query.repeated.contains(name) || catalog.called_reads(query).has(slot) {
        return None;
    }
    let table = catalog.plain_table(name).filter(|table| table.slot == Some(slot))?;
    let keys = catalog.key_columns(slot);
    query.keys.predicates.iter().filter(|predicate| columns.contains(&predicate.column)).find_map(
        |predicate| {
            let key = keys.iter().find(|key| key.name == predicate.column)?;
            pinned_by(predicate, key, name, table, catalog)
        },
    )
}

/// The values that a predicate leaves to a key column of a table.
fn pinned_by(
    predicate: &KeyPredicate,
    key: &KeyColumn,
    name: &Relation,
    table: &Known,
    catalog: &Catalog,
) -> Option<Pinned> {
    let of_table = predicate.relation.as_ref() == Some(name) && predicate.column == key.name;
    let told = of_table && place(table, key).is_some() && catalog.equality_is_plain();
    let usable = match &predicate.value {
        KeyValue::Eq(value) => is_value(*value, key),
        KeyValue::In(values) => !values.is_empty() && values.iter().all(|value| is_value(*value, key)),
        KeyValue::AnyArray(value) => matches!(value, ValueRef::Literal(_) | ValueRef::Param(_)),
    };
    (told && usable).then(|| Pinned { column: key.clone(), value: predicate.value.clone() })
}

/// The place of a key column among a table's own.
fn place(table: &Known, key: &KeyColumn) -> Option<usize> {
    table.columns.iter().position(|column| *column.name == *key.name && column.type_oid == key.type_oid)
}

/// Whether this is a value that a column of this type may have.
fn is_value(value: ValueRef, key: &KeyColumn) -> bool {
    match value {
        ValueRef::Literal(_) | ValueRef::Param(_) => true,
        ValueRef::Negative(_) => matches!(key.type_oid, INT2 | INT4 | INT8),
        ValueRef::Bool(_) => key.type_oid == BOOL,
        ValueRef::Null | ValueRef::Default | ValueRef::Other => false,
    }
}

/// The values of all key columns of the only slot that a statement writes, in old rows and in new ones.
fn written(
    statement: &Statement,
    catalog: &Catalog,
    slot: u16,
    columns: &[Box<str>],
) -> Option<Box<[Pinned]>> {
    let [target] = statement.writes.as_slice() else { return None };
    if statement.repeated.contains(target) || !statement.keys.known {
        return None;
    }
    let table = catalog.plain_table(target).filter(|table| table.slot == Some(slot))?;
    let keys = catalog.key_columns(slot).iter().filter(|key| columns.contains(&key.name));
    let pinned: Option<Box<[Pinned]>> = match statement.kind {
        Kind::Insert => keys.map(|key| inserted(statement, key, table)).collect(),
        // The target's rows, and those that are only read, may go by the same name.
        Kind::Update | Kind::Delete if statement.reads.iter().any(|read| read.name == target.name) => None,
        Kind::Update | Kind::Delete => keys.map(|key| kept(statement, key, target, table, catalog)).collect(),
        _ => None,
    };
    pinned.filter(|pinned| !pinned.is_empty())
}

/// The values of a key column in rows that are inserted.
fn inserted(statement: &Statement, key: &KeyColumn, table: &Known) -> Option<Pinned> {
    let insert = statement.keys.insert.as_ref()?;
    // Rows that are there already may be changed in place of those that are listed.
    if !statement.keys.set_targets.is_empty() || insert.overriding_user_value || insert.rows.is_empty() {
        return None;
    }
    let own = place(table, key)?;
    let at = match insert.columns.as_slice() {
        [] => own,
        listed => listed.iter().position(|column| *column == key.name)?,
    };
    let value = |row: &Vec<ValueRef>| row.get(at).copied().filter(|value| is_value(*value, key));
    let values: Vec<ValueRef> = insert.rows.iter().map(value).collect::<Option<_>>()?;
    let value = match values.as_slice() {
        [one] => KeyValue::Eq(*one),
        _ => KeyValue::In(values),
    };
    Some(Pinned { column: key.clone(), value })
}

/// The values of a key column in rows that are updated or deleted, if it keeps them.
fn kept(
    statement: &Statement,
    key: &KeyColumn,
    target: &Relation,
    table: &Known,
    catalog: &Catalog,
) -> Option<Pinned> {
    if statement.keys.set_targets.contains(&key.name) {
        return None;
    }
    let mut predicates = statement.keys.predicates.iter();
    predicates.find_map(|predicate| pinned_by(predicate, key, target, table, catalog))
}

#[cfg(test)]
mod tests;
