//! Values in text, as PostgreSQL's input functions read them.

use std::borrow::Cow;

use super::{Key, KeyType, moment};

/// See [`KeyType::of_text`].
pub(super) fn read(kind: KeyType, text: &[u8]) -> Option<Key<'_>> {
    match kind {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => Some(Key::Int(in_range(kind, integer(text)?)?)),
        KeyType::Text => whole(text).map(Key::Text),
        // Blanks at the end are cut off where a row is stored that would be too long, and what is too long is not known here.
        KeyType::Varchar if text.last() == Some(&b' ') => None,
        KeyType::Varchar => whole(text).map(Key::Text),
        KeyType::Uuid => uuid(text).map(Key::Uuid),
        KeyType::Bytea => bytea(text).map(|bytes| Key::Bytes(Cow::Owned(bytes))),
        KeyType::Date => moment::date(text).map(Key::Date),
        KeyType::Timestamp => moment::timestamp(text).map(Key::Timestamp),
        KeyType::TimestampTz => moment::timestamptz(text).map(Key::TimestampTz),
    }
}

fn whole(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    (!text.contains(&0)).then_some(Cow::Borrowed(text))
}

/// A value that the type can hold.
pub(super) fn in_range(kind: KeyType, value: i64) -> Option<i64> {
    match kind {
        KeyType::Int2 => i16::try_from(value).is_ok(),
        KeyType::Int4 => i32::try_from(value).is_ok(),
        _ => true,
    }
    .then_some(value)
}

/// What C's `isspace` takes for white space.
pub(super) fn trimmed(text: &[u8]) -> &[u8] {
    let space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let Some(first) = text.iter().position(|byte| !space(byte)) else { return &[] };
    let last = text.iter().rposition(|byte| !space(byte)).unwrap_or(first);
    &text[first..=last]
}

/// `pg_strtoint64` of `src/backend/utils/adt/numutils.c`, decimal digits only: what newer versions read besides is left out.
fn integer(text: &[u8]) -> Option<i64> {
    let text = trimmed(text);
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_i64, |value, byte| {
        let digit = i64::from(byte.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        let value = value.checked_mul(10)?;
        if negative { value.checked_sub(digit) } else { value.checked_add(digit) }
    })
}

/// `string_to_uuid` of `src/backend/utils/adt/uuid.c`: a hyphen may follow every four digits, braces may surround them all.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut rest = match text {
        [b'{', inside @ .., b'}'] => inside,
        other => other,
    };
    let mut bytes = [0; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let [high, low, after @ ..] = rest else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
        rest = match after {
            [b'-', after @ ..] if at % 2 == 1 && at < 15 => after,
            after => after,
        };
    }
    rest.is_empty().then_some(bytes)
}

fn digit(letter: u8) -> Option<u8> {
    char::from(letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// `byteain` of `src/backend/utils/adt/varlena.c`: `\x` and digits, with white space between the bytes, or text with escapes.
fn bytea(text: &[u8]) -> Option<Vec<u8>> {
    match text {
        [b'\\', b'x', digits @ ..] => hexadecimal(digits),
        escaped => unescaped(escaped),
    }
}

fn hexadecimal(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(rest.len() / 2);
    loop {
        rest = match rest {
            [] => return Some(bytes),
            [b' ' | b'\n' | b'\t' | b'\r', after @ ..] => after,
            [high, low, after @ ..] => {
                bytes.push(digit(*high)? << 4 | digit(*low)?);
                after
            }
            [_] => return None,
        }
    }
}

fn unescaped(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(rest.len());
    loop {
        let (byte, after) = match rest {
            [] => return Some(bytes),
            [b'\\', b'\\', after @ ..] => (b'\\', after),
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), after)
            }
            [b'\\', ..] | [0, ..] => return None,
            [byte, after @ ..] => (*byte, after),
        };
        bytes.push(byte);
        rest = after;
    }
}
