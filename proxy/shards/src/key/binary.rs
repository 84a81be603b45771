//! Values in binary, as PostgreSQL's receive functions read them.

use std::borrow::Cow;

use super::text::in_range;
use super::{Key, KeyType};

/// See [`KeyType::of_binary`].
pub(super) fn read(kind: KeyType, oid: u32, bytes: &[u8]) -> Option<Key<'_>> {
    let given = match oid {
        0 => None,
        oid => Some(KeyType::of_oid(oid).filter(|given| given.agrees_with(kind))?),
    };
    match kind {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => {
            Some(Key::Int(in_range(kind, integer(given, bytes)?)?))
        }
        // Texts look the same in both formats.
        KeyType::Text | KeyType::Varchar => kind.of_text(bytes),
        KeyType::Uuid => bytes.try_into().ok().map(Key::Uuid),
        KeyType::Bytea => Some(Key::Bytes(Cow::Borrowed(bytes))),
        KeyType::Date => bytes.try_into().ok().map(|bytes| Key::Date(i32::from_be_bytes(bytes))),
        KeyType::Timestamp => long(bytes).map(Key::Timestamp),
        KeyType::TimestampTz => long(bytes).map(Key::TimestampTz),
    }
}

/// The length must be that of the type given; if none was, it says which one the server has found.
fn integer(given: Option<KeyType>, bytes: &[u8]) -> Option<i64> {
    let (kind, value) = match bytes.len() {
        2 => (KeyType::Int2, i64::from(i16::from_be_bytes(bytes.try_into().ok()?))),
        4 => (KeyType::Int4, i64::from(i32::from_be_bytes(bytes.try_into().ok()?))),
        8 => (KeyType::Int8, long(bytes)?),
        _ => return None,
    };
    given.is_none_or(|given| given == kind).then_some(value)
}

fn long(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_be_bytes)
}
