//! `ErrorResponse` and `NoticeResponse`: fields, each a type byte and a text.
//!
//! <https://www.postgresql.org/docs/current/protocol-error-fields.html>

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use crate::error::WireError;
use crate::read::Reader;
use crate::write::{put_cstr, put_frame};

/// What an ErrorResponse says first: enough to act on one that has not come whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorHead {
    /// The server closes the connection after it.
    pub fatal: bool,
    /// Empty if it is not among the fields that have come.
    pub sqlstate: String,
}

impl ErrorHead {
    /// Reads fields up to the SQLSTATE; what follows may be cut off.
    pub fn read(body: &[u8]) -> Self {
        let mut head = Self { fatal: false, sqlstate: String::new() };
        let mut rest = body;
        while let Some((code, tail)) = rest.split_first() {
            let Some(end) = tail.iter().position(|byte| *byte == 0) else { break };
            let value = &tail[..end];
            match code {
                // Before 9.6 there is no V; a translated S then hides a fatal error, which the closed socket shows.
                b'V' | b'S' => head.fatal = matches!(value, b"FATAL" | b"PANIC"),
                b'C' => {
                    head.sqlstate = String::from_utf8_lossy(value).into_owned();
                    break;
                }
                _ => {}
            }
            rest = &tail[end + 1..];
        }
        head
    }
}

/// The fields of an error or notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields<'a> {
    /// Fields up to, not with, the closing zero.
    raw: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        while reader.u8()? != 0 {
            reader.cstr()?;
        }
        reader.end()?;
        Ok(Self { raw: &body[..body.len() - 1] })
    }

    /// The fields in order.
    pub fn iter(self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut reader = Reader::new(self.raw);
        std::iter::from_fn(move || Some((reader.u8().ok()?, reader.cstr().ok()?)))
    }

    /// The first field of this type.
    pub fn get(self, field: u8) -> Option<&'a [u8]> {
        self.iter().find_map(|(name, text)| (name == field).then_some(text))
    }

    /// `V`, or before PostgreSQL 9.6 the localised `S`.
    pub fn severity(self) -> Option<&'a [u8]> {
        self.get(b'V').or_else(|| self.get(b'S'))
    }

    /// `C`: five characters.
    pub fn sqlstate(self) -> Option<&'a [u8]> {
        self.get(b'C')
    }

    /// `M`: the text.
    pub fn message(self) -> Option<&'a [u8]> {
        self.get(b'M')
    }
}

/// An `ErrorResponse` or `NoticeResponse` of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse<'a> {
    severity: &'a str,
    sqlstate: &'a str,
    message: Cow<'a, str>,
    detail: Option<Cow<'a, str>>,
    hint: Option<Cow<'a, str>>,
}

impl<'a> ErrorResponse<'a> {
    /// With the severity `ERROR`, `FATAL`, `PANIC`, or for a notice `WARNING`, `NOTICE` and so on.
    pub fn new(severity: &'a str, sqlstate: &'a str, message: impl Into<Cow<'a, str>>) -> Self {
        Self { severity, sqlstate, message: message.into(), detail: None, hint: None }
    }

    /// Adds a detail.
    #[must_use]
    pub fn detail(self, detail: impl Into<Cow<'a, str>>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<Cow<'a, str>>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Appends the whole frame as `ErrorResponse`.
    pub fn encode(&self, out: &mut BytesMut) {
        self.put(out, b'E');
    }

    /// Appends the whole frame as `NoticeResponse`.
    pub fn encode_notice(&self, out: &mut BytesMut) {
        self.put(out, b'N');
    }

    fn put(&self, out: &mut BytesMut, tag: u8) {
        put_frame(out, tag, |out| {
            put_field(out, b'S', self.severity);
            put_field(out, b'V', self.severity);
            put_field(out, b'C', self.sqlstate);
            put_field(out, b'M', &self.message);
            if let Some(detail) = &self.detail {
                put_field(out, b'D', detail);
            }
            if let Some(hint) = &self.hint {
                put_field(out, b'H', hint);
            }
            out.put_u8(0);
        });
    }
}

fn put_field(out: &mut BytesMut, field: u8, text: &str) {
    out.put_u8(field);
    put_cstr(out, text.as_bytes());
}
