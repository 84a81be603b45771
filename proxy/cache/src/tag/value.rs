//! Key values in one form, whether they come as literals, as parameters in text or binary, or from the change stream.
//!
//! Two values that PostgreSQL holds equal must have one form, or a write would miss the entry that it changes. Where
//! that is not certain there is no form, and the relation at large is meant.

use std::io::Write as _;

/// Longer keys have no form: their relation is meant at large.
pub const KEY_BYTES_MAX: usize = 256;

/// Types whose equal values have one text. Not among them: those with collations that hold different texts equal, `char(n)`,
/// `numeric` (1.0 = 1.00), floats, times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// `smallint`, `integer`, `bigint`.
    Integer,
    /// `text` and `varchar` under a deterministic collation, which the caller has made sure of.
    Text,
    /// `uuid`.
    Uuid,
    /// `boolean`.
    Bool,
}

/// A value's form, on the stack.
#[derive(Debug, Clone, Copy)]
pub struct KeyText {
    bytes: [u8; KEY_BYTES_MAX],
    length: usize,
}

impl KeyText {
    fn new(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; KEY_BYTES_MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self { bytes, length: text.len() })
    }

    fn number(number: i64) -> Option<Self> {
        let mut bytes = [0; KEY_BYTES_MAX];
        let mut rest = &mut bytes[..];
        write!(rest, "{number}").ok()?;
        let length = KEY_BYTES_MAX - rest.len();
        Some(Self { bytes, length })
    }

    /// The text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl KeyType {
    /// The type of this number in `pg_type`.
    #[must_use]
    pub fn of_oid(oid: u32) -> Option<Self> {
        Some(match oid {
            20 | 21 | 23 => Self::Integer,
            25 | 1043 => Self::Text,
            2950 => Self::Uuid,
            16 => Self::Bool,
            _ => return None,
        })
    }

    /// The form of a value given as text: a literal's value, a parameter in text format, a column of the change stream.
    #[must_use]
    pub fn of_text(self, text: &[u8]) -> Option<KeyText> {
        match self {
            Self::Text => KeyText::new(text),
            Self::Integer => {
                let text = text.trim_ascii();
                let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
                let decimal = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
                let number = decimal.then(|| std::str::from_utf8(text).ok()?.parse::<i64>().ok())?;
                KeyText::number(number?)
            }
            Self::Uuid => {
                let mut digits = [0; 32];
                let mut count = 0;
                for byte in text.iter().filter(|byte| !matches!(byte, b'-' | b'{' | b'}')) {
                    *digits.get_mut(count)? = byte.is_ascii_hexdigit().then(|| byte.to_ascii_lowercase())?;
                    count += 1;
                }
                (count == 32).then(|| KeyText::new(&digits))?
            }
            Self::Bool => match text {
                b"t" | b"true" | b"TRUE" => KeyText::new(b"t"),
                b"f" | b"false" | b"FALSE" => KeyText::new(b"f"),
                _ => None,
            },
        }
    }

    /// The form of a parameter in binary format, whose own type is `oid`.
    #[must_use]
    pub fn of_binary(self, oid: u32, bytes: &[u8]) -> Option<KeyText> {
        if Self::of_oid(oid) != Some(self) {
            return None;
        }
        match (oid, bytes.len()) {
            (21, 2) => KeyText::number(i64::from(i16::from_be_bytes(bytes.try_into().ok()?))),
            (23, 4) => KeyText::number(i64::from(i32::from_be_bytes(bytes.try_into().ok()?))),
            (20, 8) => KeyText::number(i64::from_be_bytes(bytes.try_into().ok()?)),
            (25 | 1043, _) => KeyText::new(bytes),
            (16, 1) => KeyText::new(if bytes[0] == 0 { b"f" } else { b"t" }),
            (2950, 16) => {
                let mut digits = [0; 32];
                for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
                    *pair = [byte >> 4, byte & 15].map(|nibble| b"0123456789abcdef"[usize::from(nibble)]);
                }
                KeyText::new(&digits)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: KeyType, value: &[u8]) -> Option<String> {
        kind.of_text(value).map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned())
    }

    #[test]
    fn equal_values_have_one_form() {
        for written in ["42", "042", "+42", " 42 "] {
            assert_eq!(text(KeyType::Integer, written.as_bytes()).as_deref(), Some("42"), "{written}");
        }
        let binary = |oid, bytes: &[u8]| {
            let kind = KeyType::of_oid(oid)?;
            Some(String::from_utf8_lossy(kind.of_binary(oid, bytes)?.as_bytes()).into_owned())
        };
        assert_eq!(binary(21, &42_i16.to_be_bytes()).as_deref(), Some("42"));
        assert_eq!(binary(23, &(-42_i32).to_be_bytes()).as_deref(), Some("-42"));
        assert_eq!(binary(20, &i64::MIN.to_be_bytes()), text(KeyType::Integer, b"-9223372036854775808"));
        let uuid = "A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11";
        assert_eq!(text(KeyType::Uuid, uuid.as_bytes()), text(KeyType::Uuid, uuid.to_lowercase().as_bytes()));
        assert_eq!(binary(2950, &[0xa0; 16]), text(KeyType::Uuid, "{A0}".repeat(16).as_bytes()));
        assert_eq!(binary(16, &[1]), text(KeyType::Bool, b"true"));
    }

    #[test]
    fn what_is_not_certain_has_none() {
        for written in ["", "4_2", "0x2A", "42.0", "1e2", "-", "99999999999999999999", "--4"] {
            assert_eq!(text(KeyType::Integer, written.as_bytes()), None, "{written}");
        }
        assert_eq!(text(KeyType::Text, &[b'a'; KEY_BYTES_MAX + 1]), None);
        assert_eq!(text(KeyType::Uuid, b"a0"), None);
        assert_eq!(text(KeyType::Bool, b"yes"), None);
        assert!(KeyType::Integer.of_binary(23, &[0; 3]).is_none());
        assert!(KeyType::Integer.of_binary(25, b"42").is_none());
        assert_eq!(KeyType::of_oid(1700), None);
    }
}
