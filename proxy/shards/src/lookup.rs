//! Rows that a later query needs, as arrays that are bound to it: one for each column.

use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use pointsman_sql::{LexError, LexRules, qualified};
use pointsman_wire::WireError;
use pointsman_wire::backend::DataRow;
use thiserror::Error;

use crate::types::{BuiltIn, built_in, element_of};

/// `text` and `int8` (`pg_type.oid`).
const TEXT: u32 = 25;
const INT8: u32 = 20;

/// A column whose values cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("column {column} of type {type_oid} cannot be passed on as an array")]
pub struct Unsupported {
    /// Which, from 0.
    pub column: usize,
    /// Its type (`pg_type.oid`).
    pub type_oid: u32,
}

/// How a column's values are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// In binary, as an array of the type.
    Binary(BuiltIn),
    /// In text, and cast back to an array of the element's type: there are no arrays of arrays. What the servers write must be what
    /// they read: `extra_float_digits` of at least 1, and one `DateStyle`, `IntervalStyle` and `TimeZone` for all.
    Text(BuiltIn),
}

impl ColumnKind {
    fn new(type_oid: u32) -> Option<Self> {
        built_in(type_oid).map(Self::Binary).or_else(|| element_of(type_oid).map(Self::Text))
    }

    /// The type of the array's elements.
    fn element(self) -> u32 {
        if let Self::Binary(built_in) = self { built_in.oid } else { TEXT }
    }

    /// The array's type.
    fn array(self) -> u32 {
        if let Self::Binary(built_in) = self { built_in.array } else { 1009 }
    }
}

/// A column's values: a length word and the bytes of each, as in the array.
#[derive(Debug, Clone)]
struct Values {
    kind: ColumnKind,
    bytes: BytesMut,
    nulls: bool,
}

impl Values {
    fn empty(kind: ColumnKind) -> Self {
        Self { kind, bytes: BytesMut::new(), nulls: false }
    }

    fn push(&mut self, value: Option<&[u8]>) {
        // A value comes from a message, and so its length fits.
        let len = value.map_or(-1, |value| i32::try_from(value.len()).unwrap_or(i32::MAX));
        self.nulls |= value.is_none();
        self.bytes.put_i32(len);
        self.bytes.extend_from_slice(value.unwrap_or_default());
    }

    fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (len, after) = rest.split_first_chunk()?;
            let len = i32::from_be_bytes(*len);
            let (value, after) = after.split_at(usize::try_from(len).unwrap_or(0));
            rest = after;
            Some((len >= 0).then_some(value))
        })
    }

    /// The array in binary (`array_recv` in `arrayfuncs.c`).
    fn array(&self, rows: i32) -> Bytes {
        let mut out = BytesMut::with_capacity(20 + self.bytes.len());
        out.put_i32(i32::from(rows > 0));
        out.put_i32(i32::from(self.nulls));
        out.put_u32(self.kind.element());
        if rows > 0 {
            out.put_i32(rows);
            out.put_i32(1);
        }
        out.extend_from_slice(&self.bytes);
        out.freeze()
    }
}

/// A lookup's rows, in the order in which they came.
#[derive(Debug, Clone)]
pub struct LookupRows {
    columns: Vec<Values>,
    rows: i32,
}

impl LookupRows {
    /// For columns of these types (`pg_type.oid`).
    ///
    /// # Errors
    /// [`Unsupported`] for the first whose array type, or whose elements' name, is not known.
    pub fn new(types: &[u32]) -> Result<Self, Unsupported> {
        let values = |(column, type_oid): (usize, &u32)| {
            let kind = ColumnKind::new(*type_oid).ok_or(Unsupported { column, type_oid: *type_oid })?;
            Ok(Values::empty(kind))
        };
        Ok(Self { columns: types.iter().enumerate().map(values).collect::<Result<_, _>>()?, rows: 0 })
    }

    /// The formats in which the servers must send the columns: 0 text, 1 binary.
    #[must_use]
    pub fn formats(&self) -> Vec<i16> {
        self.columns.iter().map(|column| i16::from(matches!(column.kind, ColumnKind::Binary(_)))).collect()
    }

    /// How the columns are passed on.
    pub fn kinds(&self) -> impl Iterator<Item = ColumnKind> + '_ {
        self.columns.iter().map(|column| column.kind)
    }

    /// Takes the body of a `DataRow` in [`Self::formats`].
    ///
    /// # Errors
    /// [`WireError`] for what is no row of these columns.
    pub fn push_row(&mut self, body: &[u8]) -> Result<(), WireError> {
        let row = DataRow::decode(body)?;
        if row.values.len() != self.columns.len() {
            return Err(WireError::Format);
        }
        self.rows = self.rows.checked_add(1).ok_or(WireError::Length)?;
        for (column, value) in self.columns.iter_mut().zip(row.values) {
            column.push(value);
        }
        Ok(())
    }

    /// Bytes of all parameters together, about: for a limit.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(|column| 20 + column.bytes.len()).sum()
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.rows).unwrap_or(0)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows whose values in some columns, from 0, are a key that `owns` takes. A row with a NULL there is none.
    #[must_use]
    pub fn owned_by(&self, columns: &[usize], mut owns: impl FnMut(&[&[u8]]) -> bool) -> Self {
        let mut kept =
            Self { columns: self.columns.iter().map(|one| Values::empty(one.kind)).collect(), rows: 0 };
        let mut values: Vec<_> = self.columns.iter().map(Values::iter).collect();
        let mut row = Vec::with_capacity(values.len());
        for _ in 0..self.rows {
            row.clear();
            row.extend(values.iter_mut().map(|column| column.next().flatten()));
            let key: Option<Vec<&[u8]>> = columns.iter().map(|at| row.get(*at).copied().flatten()).collect();
            if key.is_some_and(|key| owns(&key)) {
                kept.rows += 1;
                kept.columns.iter_mut().zip(&row).for_each(|(column, value)| column.push(*value));
            }
        }
        kept
    }

    /// The parameters that [`Self::relation_sql`] names, in order: type and binary value of each.
    #[must_use]
    pub fn parameters(&self) -> Vec<(u32, Bytes)> {
        if self.columns.is_empty() {
            return vec![(INT8, Bytes::copy_from_slice(&i64::from(self.rows).to_be_bytes()))];
        }
        self.columns.iter().map(|column| (column.kind.array(), column.array(self.rows))).collect()
    }

    /// The subquery that has these rows, with the columns `c1`, `c2`, ...; its parameters begin with that number. It has no alias.
    #[must_use]
    pub fn relation_sql(&self, first_parameter: u32) -> String {
        if self.columns.is_empty() {
            return format!("(SELECT FROM pg_catalog.generate_series(1, ${first_parameter}))");
        }
        let (mut list, mut from, mut names) = (String::new(), String::new(), String::new());
        for (number, column) in (1..).zip(&self.columns) {
            let comma = if number > 1 { ", " } else { "" };
            let cast = match column.kind {
                ColumnKind::Binary(_) => String::new(),
                // A quoted name has no modifier of its own: "bit" is not bit(1).
                ColumnKind::Text(element) => format!("::pg_catalog.\"{}\"[] AS c{number}", element.name),
            };
            let parameter = first_parameter + number - 1;
            // A string takes whatever is written to it.
            let _ = write!(list, "{comma}c{number}{cast}");
            let _ = write!(from, "{comma}pg_catalog.unnest(${parameter})");
            let _ = write!(names, "{comma}c{number}");
        }
        format!("(SELECT {list} FROM ROWS FROM ({from}) AS u({names}))")
    }
}

/// The text with the relation `pointsman.lookup_N` replaced by the subquery given for `N`, wherever it is named as such: not in
/// literals, comments or quoted names. A lookup that is not given stays.
///
/// # Errors
/// The lexical error that PostgreSQL would find.
pub fn substitute(sql: &str, lookups: &[(u32, String)]) -> Result<String, LexError> {
    let mut out = String::with_capacity(sql.len());
    let mut done = 0;
    for range in qualified(sql.as_bytes(), LexRules::default(), "pointsman")? {
        let name = sql.get(range.clone()).unwrap_or_default();
        let lookup = lookups.iter().find(|(number, _)| name == format!("pointsman.lookup_{number}"));
        if let Some((_, subquery)) = lookup {
            out.push_str(&sql[done..range.start]);
            out.push_str(subquery);
            done = range.end;
        }
    }
    out.push_str(&sql[done..]);
    Ok(out)
}

#[cfg(test)]
mod tests;
