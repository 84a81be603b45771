//! From what a text depends on or changes, and the values of one execution, to tags.

use std::borrow::Cow;

use pointsman_cache::{KeyText, KeyType, RelationTags, Tag, Tags};
use pointsman_policy::caching::{Change, Dependence, Pinned, RowTag};
use pointsman_policy::catalog::Catalog;
use pointsman_shards::values::{Parameter, Values};
use pointsman_sql::{KeyValue, LiteralKind, Relation, ValueRef};

/// What the cache reads in the values of one execution.
pub trait Forms<'a> {
    /// A value in the one form that equal values of this kind have.
    fn form(&self, value: ValueRef, kind: KeyType) -> Option<KeyText>;
    /// A value as text for a tag's name.
    fn shown(&self, value: ValueRef) -> Option<Cow<'a, [u8]>>;
}

impl<'a> Forms<'a> for Values<'a> {
    fn form(&self, value: ValueRef, kind: KeyType) -> Option<KeyText> {
        match value {
            ValueRef::Bool(_) | ValueRef::Literal(_) | ValueRef::Negative(_) => {
                if is_of(self, value, kind) {
                    text_form(self, &self.literal(value)?, kind)
                } else {
                    None
                }
            }
            ValueRef::Param(number) => {
                let Parameter { bytes: Some(bytes), format, oid } = self.parameter(number)? else {
                    return None;
                };
                // Of another type than the column, equal values may be written otherwise.
                let same = match oid {
                    0 => self.mentions_once(number),
                    oid => KeyType::of_oid(oid) == Some(kind),
                };
                match format {
                    _ if !same => None,
                    0 => text_form(self, bytes, kind),
                    _ => kind.of_binary(oid, bytes),
                }
            }
            ValueRef::Null | ValueRef::Default | ValueRef::Other => None,
        }
    }

    fn shown(&self, value: ValueRef) -> Option<Cow<'a, [u8]>> {
        let ValueRef::Param(number) = value else { return self.literal(value) };
        let Parameter { bytes: Some(bytes), format, oid } = self.parameter(number)? else { return None };
        if format == 0 {
            return Some(Cow::Borrowed(bytes));
        }
        let form = KeyType::of_oid(oid)?.of_binary(oid, bytes)?;
        Some(Cow::Owned(form.as_bytes().to_vec()))
    }
}

/// Whether a literal stands for what its text says where a value of this kind is wanted: `007` as a text is `7`.
fn is_of(values: &Values<'_>, value: ValueRef, kind: KeyType) -> bool {
    let literal = |index: usize| values.literals.get(index).map(|literal| literal.kind);
    match value {
        ValueRef::Bool(_) => kind == KeyType::Bool,
        ValueRef::Negative(index) => kind == KeyType::Integer && literal(index) == Some(LiteralKind::Integer),
        ValueRef::Literal(index) => match literal(index) {
            Some(LiteralKind::Integer) => kind == KeyType::Integer,
            Some(LiteralKind::Number | LiteralKind::BitString) | None => false,
            Some(_) => true,
        },
        _ => false,
    }
}

fn text_form(values: &Values<'_>, text: &[u8], kind: KeyType) -> Option<KeyText> {
    if kind == KeyType::Text && !values.utf8 && !text.is_ascii() {
        return None;
    }
    kind.of_text(text)
}

/// Calls `each` with every value of a pinned column; false if one has no form.
fn each(values: &Values<'_>, pinned: &Pinned, mut each: impl FnMut(&[u8])) -> bool {
    let Some(kind) = KeyType::of_oid(pinned.column.type_oid) else { return false };
    let mut one = |value: ValueRef| match values.form(value, kind) {
        Some(form) => {
            each(form.as_bytes());
            true
        }
        None => false,
    };
    match &pinned.value {
        KeyValue::Eq(value) => one(*value),
        KeyValue::In(listed) => listed.iter().all(|value| one(*value)),
        KeyValue::AnyArray(value) => each_of_array(values, *value, kind, each),
    }
}

fn each_of_array(values: &Values<'_>, array: ValueRef, kind: KeyType, mut each: impl FnMut(&[u8])) -> bool {
    let mut form = |form: Option<KeyText>| match form {
        Some(form) => {
            each(form.as_bytes());
            true
        }
        None => false,
    };
    if let ValueRef::Param(number) = array
        && let Some(Parameter { bytes: Some(bytes), format, .. }) = values.parameter(number)
        && format != 0
    {
        return binary_elements(bytes, |oid, element| form(kind.of_binary(oid, element))).is_some();
    }
    let Some(text) = values.shown(array) else { return false };
    let Some(inside) = text.strip_prefix(b"{").and_then(|text| text.strip_suffix(b"}")) else {
        return false;
    };
    // Quoted elements and arrays of arrays are left to the relation at large.
    let plain = !inside.iter().any(|byte| matches!(byte, b'"' | b'\\' | b'{' | b'}'));
    plain
        && (inside.trim_ascii().is_empty()
            || inside.split(|byte| *byte == b',').all(|element| {
                let element = element.trim_ascii();
                !element.eq_ignore_ascii_case(b"null") && form(text_form(values, element, kind))
            }))
}

/// The elements of an array in binary, one dimension, none of them null.
/// <https://github.com/postgres/postgres/blob/master/src/backend/utils/adt/arrayfuncs.c> `array_send`
fn binary_elements(bytes: &[u8], mut each: impl FnMut(u32, &[u8]) -> bool) -> Option<()> {
    let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (dimensions, oid) = (word(0)?, word(8)?);
    if dimensions == 0 {
        return Some(());
    }
    if dimensions != 1 {
        return None;
    }
    let mut at = 20;
    for _ in 0..word(12)? {
        let length = usize::try_from(word(at)?).ok()?;
        let element = bytes.get(at + 4..(at + 4).checked_add(length)?)?;
        if !each(oid, element) {
            return None;
        }
        at += 4 + length;
    }
    Some(())
}

/// A relation's family by its slot, which is what everybody knows it by.
pub fn relation(space: &[u8], slot: u16) -> RelationTags {
    RelationTags::new(space, b"", &slot.to_be_bytes())
}

/// Adds what a result depends on.
pub fn read(dependences: &[Dependence], values: &Values<'_>, space: &[u8], tags: &mut Tags) {
    for dependence in dependences {
        let relation = relation(space, dependence.slot);
        let pinned = dependence.pinned.as_ref().is_some_and(|pinned| {
            each(values, pinned, |value| tags.reads_key(relation, pinned.column.name.as_bytes(), value))
        });
        if !pinned {
            tags.reads(relation);
        }
    }
}

/// Adds what an execution changes.
pub fn written(changes: &[Change], values: &Values<'_>, space: &[u8], tags: &mut Tags) {
    for change in changes {
        let relation = relation(space, change.slot);
        let known = change.keys.as_ref().is_some_and(|keys| {
            !keys.is_empty()
                && keys.iter().all(|pinned| {
                    each(values, pinned, |value| {
                        tags.writes_key(relation, pinned.column.name.as_bytes(), value);
                    })
                })
        });
        if !known {
            tags.writes(relation);
        }
    }
}

/// Adds a tag by its name. Where it names rows (`table.column=value`), the table's family is noted in `vouched`; anything
/// else is a name like any other.
pub fn named(name: &[u8], names_rows: bool, by: Naming<'_>, tags: &mut Tags, vouched: &mut Vec<u16>) {
    let Naming { catalog, space } = by;
    if let Some((slot, column, form)) = names_rows.then(|| rows_named(name, catalog)).flatten() {
        tags.reads_key(relation(space, slot), column.as_bytes(), form.as_bytes());
        vouched.push(slot);
    } else {
        tags.add(Tag::named(space, name));
    }
}

/// Adds a tag of a plugin's as something that a result depends on: the name of a table, of rows, or any other.
pub fn read_named(name: &str, by: Naming<'_>, tags: &mut Tags) {
    match by.catalog.table_slot(&relation_named(name)) {
        Some(slot) => tags.reads(relation(by.space, slot)),
        None => named(name.as_bytes(), true, by, tags, &mut Vec::new()),
    }
}

/// Adds a tag that was named by hand as something that has changed: of rows, not what reads the whole table.
pub fn marked_named(name: &str, by: Naming<'_>, tags: &mut Tags) {
    let mut found = Tags::new();
    named(name.as_bytes(), true, by, &mut found, &mut Vec::new());
    // The tag of the whole table that stands beside a key's is not meant.
    let meant = found.as_slice().iter().filter(|tag| tag.kind() != pointsman_cache::TagKind::Whole);
    meant.for_each(|tag| tags.add(*tag));
}

/// Adds a tag of a plugin's as something that has changed: a table, rows, or any other name. Rows that cannot be told apart are all of
/// the table's.
pub fn changed_named(name: &str, by: Naming<'_>, tags: &mut Tags) {
    let whole = |table: &Relation| by.catalog.table_slot(table).map(|slot| relation(by.space, slot));
    if let Some(table) = whole(&relation_named(name)) {
        return tags.writes(table);
    }
    if let Some((slot, column, form)) = rows_named(name.as_bytes(), by.catalog) {
        return tags.writes_key(relation(by.space, slot), column.as_bytes(), form.as_bytes());
    }
    let table = RowTag::split(name.as_bytes()).and_then(|(RowTag { schema, table, .. }, _)| {
        whole(&Relation { schema: schema.map(Into::into), name: table.into() })
    });
    match table {
        Some(table) => tags.writes(table),
        None => tags.add(Tag::named(by.space, name.as_bytes())),
    }
}

/// What names of tags are read by.
#[derive(Clone, Copy)]
pub struct Naming<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// What the database's tags begin with.
    pub space: &'a [u8],
}

/// The relation that `name` or `schema.name` means.
pub fn relation_named(name: &str) -> Relation {
    match name.rsplit_once('.') {
        Some((schema, name)) => Relation { schema: Some(schema.into()), name: name.into() },
        None => Relation { schema: None, name: name.into() },
    }
}

fn rows_named<'a>(name: &'a [u8], catalog: &Catalog) -> Option<(u16, &'a str, KeyText)> {
    let (RowTag { schema, table, column }, value) = RowTag::split(name)?;
    let slot = catalog.table_slot(&Relation { schema: schema.map(Into::into), name: table.into() })?;
    let key = catalog.key_columns(slot).iter().find(|key| &*key.name == column)?;
    Some((slot, column, KeyType::of_oid(key.type_oid)?.of_text(value)?))
}

#[cfg(test)]
mod tests;
