//! The values of one execution: the literals of its text, and what was bound to its parameters.

use std::borrow::Cow;

use pointsman_sql::{Literal, LiteralKind, ValueRef, literal_value};
use pointsman_wire::frontend::BindParameters;

use crate::key::{Key, KeyType, binary_elements, text_elements};

/// The values of one execution.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The text.
    pub sql: &'a [u8],
    /// Its literals.
    pub literals: &'a [Literal],
    /// What was bound.
    pub parameters: Option<&'a BindParameters<'a>>,
    /// The types of the parameters, where they are known; 0 where not.
    pub types: &'a [u32],
    /// Whether texts of the client are UTF-8, as the database's are.
    pub utf8: bool,
}

/// What was bound to a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// Its bytes; `None` is NULL.
    pub bytes: Option<&'a [u8]>,
    /// Its format: 0 text, 1 binary.
    pub format: i16,
    /// Its type; 0: not known.
    pub oid: u32,
}

impl<'a> Values<'a> {
    /// A value where one of a column of this type is wanted: compared with it or stored in it. `None`: it cannot be known.
    #[must_use]
    pub fn key(&self, value: ValueRef, kind: KeyType) -> Option<Key<'a>> {
        match value {
            ValueRef::Null => Some(Key::Null),
            ValueRef::Param(number) => self.bound(number, kind),
            ValueRef::Literal(_) | ValueRef::Negative(_) => self.written(value, kind),
            ValueRef::Bool(_) | ValueRef::Default | ValueRef::Other => None,
        }
    }

    /// Calls `each` with the values of an array that is compared with a column of this type; NULL for an array that is NULL.
    /// False if one of them cannot be known, or if `each` says so.
    pub fn elements(&self, array: ValueRef, kind: KeyType, mut each: impl FnMut(Key<'_>) -> bool) -> bool {
        let mut text = |kind: KeyType, text: &[u8]| {
            text_elements(text, |element| match element {
                None => each(Key::Null),
                Some(element) => self.text(kind, element).is_some_and(&mut each),
            })
        };
        match array {
            ValueRef::Null => each(Key::Null),
            ValueRef::Literal(_) if self.is_string(array) => {
                self.literal(array).is_some_and(|array| text(kind, &array))
            }
            ValueRef::Param(number) => {
                let Some(parameter) = self.parameter(number) else { return false };
                let of_type = match parameter.oid {
                    0 => self.mentions_once(number),
                    oid => KeyType::of_array_oid(oid).is_some_and(|element| element.agrees_with(kind)),
                };
                match parameter.bytes {
                    None => each(Key::Null),
                    _ if !of_type => false,
                    Some(bytes) if parameter.format == 0 => text(kind, bytes),
                    Some(bytes) => binary_elements(bytes, |oid, element| match element {
                        None => each(Key::Null),
                        Some(element) => self.binary(kind, oid, element).is_some_and(&mut each),
                    }),
                }
            }
            _ => false,
        }
    }

    /// What was bound to `$number`; `None` if nothing was.
    #[must_use]
    pub fn parameter(&self, number: u32) -> Option<Parameter<'a>> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let parameters = self.parameters?;
        Some(Parameter {
            bytes: *parameters.values.get(index)?,
            format: parameters.format(index),
            oid: self.types.get(index).copied().unwrap_or(0),
        })
    }

    /// The value of a literal as text, quotes and escapes resolved.
    #[must_use]
    pub fn literal(&self, value: ValueRef) -> Option<Cow<'a, [u8]>> {
        match value {
            ValueRef::Bool(value) => Some(Cow::Borrowed(if value { b"t" } else { b"f" })),
            ValueRef::Literal(index) => {
                let literal = self.literals.get(index)?;
                let raw = literal.raw(self.sql);
                match (literal.kind, raw) {
                    (LiteralKind::Integer, raw) => Some(Cow::Borrowed(raw)),
                    // Without a quote inside, a string is what its quotes surround.
                    (LiteralKind::String, [b'\'', inside @ .., b'\''])
                        if !inside.contains(&b'\'') && std::str::from_utf8(inside).is_ok() =>
                    {
                        Some(Cow::Borrowed(inside))
                    }
                    _ => Some(Cow::Owned(literal_value(self.sql, literal)?.into_bytes())),
                }
            }
            ValueRef::Negative(index) => {
                let raw = self.literals.get(index)?.raw(self.sql);
                Some(Cow::Owned([b"-", raw].concat()))
            }
            _ => None,
        }
    }

    /// Whether a text mentions a parameter once at the most. One whose type is left open, and that stands nowhere else, has
    /// that of the column that it is compared with.
    #[must_use]
    pub fn mentions_once(&self, number: u32) -> bool {
        let mut count = 0;
        let mut rest = self.sql;
        while let Some(at) = memchr::memchr(b'$', rest) {
            rest = &rest[at + 1..];
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
            let named = digits
                .fold(0_u64, |value, digit| value.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
            count += u32::from(named == u64::from(number));
        }
        count <= 1
    }

    fn bound(&self, number: u32, kind: KeyType) -> Option<Key<'a>> {
        let Parameter { bytes, format, oid } = self.parameter(number)?;
        let Some(bytes) = bytes else { return Some(Key::Null) };
        if oid == 0 && !self.mentions_once(number) {
            return None;
        }
        match (format, oid) {
            (0, 0) => self.text(kind, bytes),
            (0, oid) => self.clear(bytes).then(|| kind.of_typed_text(oid, bytes)).flatten(),
            _ => self.binary(kind, oid, bytes),
        }
    }

    fn text<'t>(&self, kind: KeyType, text: &'t [u8]) -> Option<Key<'t>> {
        self.clear(text).then(|| kind.of_text(text)).flatten()
    }

    fn binary<'t>(&self, kind: KeyType, oid: u32, bytes: &'t [u8]) -> Option<Key<'t>> {
        if kind.is_text() && !self.clear(bytes) {
            return None;
        }
        kind.of_binary(oid, bytes)
    }

    /// Whether the server has the same bytes as the client for a text.
    fn clear(&self, text: &[u8]) -> bool {
        self.utf8 || text.is_ascii()
    }

    fn is_string(&self, value: ValueRef) -> bool {
        let ValueRef::Literal(index) = value else { return false };
        let kind = self.literals.get(index).map(|literal| literal.kind);
        !matches!(kind, None | Some(LiteralKind::Integer | LiteralKind::Number | LiteralKind::BitString))
    }

    /// A literal where a column of this type is: a string is of the column's type, digits are a number.
    fn written(&self, value: ValueRef, kind: KeyType) -> Option<Key<'a>> {
        let (ValueRef::Literal(index) | ValueRef::Negative(index)) = value else { return None };
        let literal = self.literals.get(index)?;
        let negative = matches!(value, ValueRef::Negative(_));
        match literal.kind {
            LiteralKind::Integer if kind.is_integer() => {
                let Key::Int(number) = KeyType::Int8.of_text(literal.raw(self.sql))? else { return None };
                kind.of_integer(if negative { -number } else { number })
            }
            LiteralKind::Integer | LiteralKind::Number | LiteralKind::BitString => None,
            _ if negative => None,
            _ => match self.literal(value)? {
                Cow::Borrowed(text) => self.text(kind, text),
                Cow::Owned(text) => self.text(kind, &text).map(Key::into_owned),
            },
        }
    }
}

#[cfg(test)]
mod tests;
