//! Values of a key's columns, and how they are read from what a client writes: as the input function of the column's type
//! would, or not at all. What depends on `DateStyle`, `TimeZone`, the time of day or anything else beyond the text has no
//! value here.

mod array;
mod binary;
mod moment;
mod text;

pub use array::{binary_elements, text_elements};

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

/// A value of one column of a key. Values of equal types are equal if and only if PostgreSQL's `=` says so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// NULL.
    Null,
    /// `int2`, `int4` or `int8`.
    Int(i64),
    /// `text` or `varchar`, in UTF-8 as the database has it.
    Text(Cow<'a, [u8]>),
    /// `uuid`.
    Uuid([u8; 16]),
    /// `bytea`.
    Bytes(Cow<'a, [u8]>),
    /// `date`: days since 2000-01-01; the ends of the type are the infinities.
    Date(i32),
    /// `timestamp`: microseconds since 2000-01-01 00:00; the ends of the type are the infinities.
    Timestamp(i64),
    /// `timestamptz`: microseconds since 2000-01-01 00:00 UTC; the ends of the type are the infinities.
    TimestampTz(i64),
}

impl Key<'_> {
    /// The same value, on its own.
    #[must_use]
    pub fn into_owned(self) -> Key<'static> {
        match self {
            Self::Null => Key::Null,
            Self::Int(value) => Key::Int(value),
            Self::Text(text) => Key::Text(Cow::Owned(text.into_owned())),
            Self::Uuid(bytes) => Key::Uuid(bytes),
            Self::Bytes(bytes) => Key::Bytes(Cow::Owned(bytes.into_owned())),
            Self::Date(days) => Key::Date(days),
            Self::Timestamp(micros) => Key::Timestamp(micros),
            Self::TimestampTz(micros) => Key::TimestampTz(micros),
        }
    }

    /// The order of two values of equal types, texts by their bytes; `None` for values of different types and NULL.
    #[must_use]
    pub fn order(&self, other: &Key<'_>) -> Option<Ordering> {
        Some(match (self, other) {
            (Self::Int(a), Key::Int(b))
            | (Self::Timestamp(a), Key::Timestamp(b))
            | (Self::TimestampTz(a), Key::TimestampTz(b)) => a.cmp(b),
            (Self::Text(a), Key::Text(b)) | (Self::Bytes(a), Key::Bytes(b)) => a.cmp(b),
            (Self::Uuid(a), Key::Uuid(b)) => a.cmp(b),
            (Self::Date(a), Key::Date(b)) => a.cmp(b),
            _ => return None,
        })
    }
}

/// As a message to a client shows it: integers, texts and uuids as they are, others by their kind.
impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Int(value) => value.fmt(f),
            Self::Text(text) => write!(f, "'{}'", String::from_utf8_lossy(text)),
            Self::Bytes(bytes) => {
                f.write_str("'\\x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("'")
            }
            Self::Uuid(bytes) => {
                let digits = u128::from_be_bytes(*bytes);
                let part = |shift: u32, width: u32| (digits >> shift) & ((1 << (width * 4)) - 1);
                write!(
                    f,
                    "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                    part(96, 8),
                    part(80, 4),
                    part(64, 4),
                    part(48, 4),
                    part(0, 12)
                )
            }
            Self::Date(days) => moment::write_date(f, *days),
            Self::Timestamp(micros) => moment::write_timestamp(f, *micros, ""),
            Self::TimestampTz(micros) => moment::write_timestamp(f, *micros, "+00"),
        }
    }
}

/// Types that a key's columns may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// `int2`.
    Int2,
    /// `int4`.
    Int4,
    /// `int8`.
    Int8,
    /// `text`.
    Text,
    /// `varchar`.
    Varchar,
    /// `uuid`.
    Uuid,
    /// `bytea`.
    Bytea,
    /// `date`.
    Date,
    /// `timestamp`.
    Timestamp,
    /// `timestamptz`.
    TimestampTz,
}

/// Each type with its OID and its array's (`src/include/catalog/pg_type.dat`).
const TYPES: [(KeyType, u32, u32); 10] = [
    (KeyType::Int8, 20, 1016),
    (KeyType::Int4, 23, 1007),
    (KeyType::Int2, 21, 1005),
    (KeyType::Text, 25, 1009),
    (KeyType::Varchar, 1043, 1015),
    (KeyType::Uuid, 2950, 2951),
    (KeyType::Bytea, 17, 1001),
    (KeyType::Date, 1082, 1182),
    (KeyType::Timestamp, 1114, 1115),
    (KeyType::TimestampTz, 1184, 1185),
];

/// `numeric`.
const NUMERIC: u32 = 1700;

impl KeyType {
    /// The type of an OID; `None` for one that no key's column may have.
    #[must_use]
    pub fn of_oid(oid: u32) -> Option<Self> {
        TYPES.iter().find(|(_, own, _)| *own == oid).map(|(kind, ..)| *kind)
    }

    /// The element's type of an array type's OID.
    #[must_use]
    pub fn of_array_oid(oid: u32) -> Option<Self> {
        TYPES.iter().find(|(_, _, array)| *array == oid).map(|(kind, ..)| *kind)
    }

    /// The type's OID.
    #[must_use]
    pub fn oid(self) -> u32 {
        TYPES.iter().find(|(kind, ..)| *kind == self).map_or(0, |(_, oid, _)| *oid)
    }

    /// Whether values of two types are equal, by PostgreSQL's `=` without a cast, only if they are the same [`Key`]: integers
    /// of all widths, `text` and `varchar`, else a type and itself. `date` and `timestamp` are compared too, but not so.
    #[must_use]
    pub fn agrees_with(self, other: Self) -> bool {
        self == other || (self.is_integer() && other.is_integer()) || (self.is_text() && other.is_text())
    }

    /// `int2`, `int4` or `int8`.
    #[must_use]
    pub fn is_integer(self) -> bool {
        matches!(self, Self::Int2 | Self::Int4 | Self::Int8)
    }

    /// `text` or `varchar`.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Varchar)
    }

    /// An integer where a value of this type is wanted; `None` if it can hold no such.
    #[must_use]
    pub fn of_integer(self, value: i64) -> Option<Key<'static>> {
        (self.is_integer() && text::in_range(self, value).is_some()).then_some(Key::Int(value))
    }

    /// What a text means where a value of this type is wanted. `None`: it is no value of the type, or not one without
    /// knowing more.
    #[must_use]
    pub fn of_text(self, text: &[u8]) -> Option<Key<'_>> {
        text::read(self, text)
    }

    /// What a value in the binary format of the type `oid` means where one of this type is wanted; `oid` 0: of this type, by
    /// all that is known. `None`: nothing, or not one without knowing more.
    #[must_use]
    pub fn of_binary(self, oid: u32, bytes: &[u8]) -> Option<Key<'_>> {
        binary::read(self, oid, bytes)
    }

    /// What a text that was given as a value of the type `oid` means where one of this type is wanted.
    #[must_use]
    pub fn of_typed_text(self, oid: u32, text: &[u8]) -> Option<Key<'_>> {
        let same = Self::of_oid(oid).is_some_and(|kind| kind.agrees_with(self));
        // A whole number is the same one in both, if it is written as such.
        let whole = oid == NUMERIC && self.is_integer();
        (same || whole).then(|| self.of_text(text)).flatten()
    }
}

#[cfg(test)]
mod tests;
