//! `COPY ... FROM` streams become rows: their own bytes, and the values of their key.
//!
//! A stream comes in any pieces. Each whole row is given out as it is, its line end with it, so that the rows of all shards
//! together are the stream. In text and CSV, bytes below 0x80 must stand for ASCII only (no client encoding that embeds them),
//! and values are in the client's encoding.

mod binary;
mod csv;
mod line;
mod text;

use std::borrow::Cow;

use thiserror::Error;

use crate::plan::{CopyFormat, CopyFrom};
use binary::Binary;
use line::Lines;

/// What begins each shard's stream in `binary`: the signature, no flags, no extension.
pub const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What ends each shard's stream in `binary`.
pub const BINARY_TRAILER: &[u8] = b"\xff\xff";

/// What is wrong with a stream. `Display` is the text that PostgreSQL has for it (`copyfromparse.c`) where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fault {
    /// A row ends before its key.
    #[error("row ends before its shard key")]
    Short,
    /// A row is longer than the limit.
    #[error("row is longer than {0} bytes")]
    TooLong(usize),
    /// A carriage return where lines end otherwise.
    #[error("literal carriage return found in data")]
    CarriageReturn,
    /// A newline where lines end otherwise.
    #[error("literal newline found in data")]
    Newline,
    /// `\.` that is no line of its own, or that ends otherwise than other lines.
    #[error("end-of-copy marker corrupt")]
    Marker,
    /// Data after the end that the stream itself declares.
    #[error("received copy data after EOF marker")]
    AfterEnd,
    /// A quote is open at the end.
    #[error("unterminated CSV quoted field")]
    Unterminated,
    /// No signature at the start.
    #[error("COPY file signature not recognized")]
    Signature,
    /// Flags, or an extension's length, that mean nothing.
    #[error("invalid COPY file header")]
    Header,
    /// A row of another width.
    #[error("row field count is {0}, expected {1}")]
    Width(i16, usize),
    /// A length that is impossible.
    #[error("invalid field size")]
    Size,
    /// The stream ends within a row.
    #[error("unexpected EOF in COPY data")]
    Truncated,
}

/// What is wrong, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{fault}, line {line}")]
pub struct CopyError {
    /// What.
    pub fault: Fault,
    /// The line, from 1, as PostgreSQL counts; in `binary` the row.
    pub line: u64,
}

impl CopyError {
    /// The SQLSTATE: `bad_copy_file_format`, or `program_limit_exceeded`.
    #[must_use]
    pub fn sqlstate(&self) -> &'static str {
        if matches!(self.fault, Fault::TooLong(_)) { "54000" } else { "22P04" }
    }
}

/// Where a value of the key is in its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Null,
    /// Bytes from and to; to be decoded if the flag is set.
    Value(usize, usize, bool),
    /// What stands for NULL, as a text (`FORCE NOT NULL`).
    NullText,
}

/// A whole row, its line end with it.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// As it came.
    pub raw: &'a [u8],
    /// The line, from 1, on which it begins; in `binary` the row.
    pub line: u64,
    /// It is the header line of CSV: for every shard. It has no key.
    pub header: bool,
    fields: &'a [Field],
    format: &'a CopyFormat,
}

impl<'a> Row<'a> {
    /// A value of the key, by its place in the key: text, or in `binary` the binary form. `None` is NULL.
    #[must_use]
    pub fn key(&self, at: usize) -> Option<Cow<'a, [u8]>> {
        match (*self.fields.get(at)?, self.format) {
            (Field::Null, _) => None,
            (Field::NullText, CopyFormat::Text { null, .. } | CopyFormat::Csv { null, .. }) => {
                Some(Cow::Borrowed(null))
            }
            (Field::NullText, CopyFormat::Binary) => None,
            (Field::Value(from, to, false), _) => Some(Cow::Borrowed(&self.raw[from..to])),
            (Field::Value(from, to, true), CopyFormat::Csv { quote, escape, .. }) => {
                Some(Cow::Owned(csv::decode(&self.raw[from..to], *quote, *escape)))
            }
            (Field::Value(from, to, true), _) => Some(Cow::Owned(text::decode(&self.raw[from..to]))),
        }
    }
}

/// Puts a column's value wherever the key has that column.
fn note(columns: &[usize], found: &mut [Field], column: usize, field: Field) {
    let slots = columns.iter().zip(found).filter(|(one, _)| **one == column);
    slots.for_each(|(_, slot)| *slot = field);
}

#[derive(Debug)]
enum Scanner {
    Lines(Lines),
    Binary(Binary),
}

/// Cuts one stream into rows.
#[derive(Debug)]
pub struct Splitter {
    format: CopyFormat,
    columns: Box<[usize]>,
    scanner: Scanner,
    /// The part of a row that has come.
    carry: Vec<u8>,
    fields: Vec<Field>,
    /// Whether the next line is the header.
    header: bool,
    row_bytes_max: usize,
}

impl Splitter {
    /// For one `COPY`. A row may have so many bytes; that much is held at the most.
    #[must_use]
    pub fn new(copy: &CopyFrom, row_bytes_max: usize) -> Self {
        let scanner = match &copy.format {
            CopyFormat::Binary => Scanner::Binary(Binary::new(copy.width)),
            CopyFormat::Text { .. } => Scanner::Lines(Lines::text()),
            CopyFormat::Csv { quote, escape, .. } => Scanner::Lines(Lines::csv(*quote, *escape, copy.width)),
        };
        Self {
            header: matches!(copy.format, CopyFormat::Csv { header: true, .. }),
            format: copy.format.clone(),
            columns: copy.columns.clone(),
            scanner,
            carry: Vec::new(),
            fields: Vec::new(),
            row_bytes_max,
        }
    }

    /// What each shard's stream must begin with.
    #[must_use]
    pub fn opening(&self) -> &'static [u8] {
        if self.format == CopyFormat::Binary { BINARY_HEADER } else { b"" }
    }

    /// What each shard's stream must end with.
    #[must_use]
    pub fn closing(&self) -> &'static [u8] {
        if self.format == CopyFormat::Binary { BINARY_TRAILER } else { b"" }
    }

    /// Takes the next bytes of the stream, and gives each row that is whole.
    ///
    /// # Errors
    /// [`CopyError`], or what `each` returns: the stream cannot go on.
    pub fn feed<E, F>(&mut self, bytes: &[u8], mut each: F) -> Result<(), E>
    where
        E: From<CopyError>,
        F: FnMut(Row<'_>) -> Result<(), E>,
    {
        match self.scanner {
            Scanner::Lines(_) => self.feed_lines(bytes, &mut each),
            Scanner::Binary(_) => self.feed_binary(bytes, &mut each),
        }
    }

    /// The stream has ended. Gives the last row if it has no line end.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn end<E, F>(&mut self, mut each: F) -> Result<(), E>
    where
        E: From<CopyError>,
        F: FnMut(Row<'_>) -> Result<(), E>,
    {
        let line = self.line();
        let carried = !self.carry.is_empty();
        match &mut self.scanner {
            Scanner::Lines(lines) => {
                let whole = lines.end(carried).map_err(|fault| CopyError { fault, line })?;
                if whole {
                    self.give(None, &mut each)?;
                }
            }
            Scanner::Binary(binary) => {
                binary.end(carried).map_err(|fault| CopyError { fault, line })?;
            }
        }
        Ok(())
    }

    fn line(&self) -> u64 {
        match &self.scanner {
            Scanner::Lines(lines) => lines.line(),
            Scanner::Binary(binary) => binary.row(),
        }
    }

    fn feed_lines<E, F>(&mut self, mut bytes: &[u8], each: &mut F) -> Result<(), E>
    where
        E: From<CopyError>,
        F: FnMut(Row<'_>) -> Result<(), E>,
    {
        loop {
            let Scanner::Lines(lines) = &mut self.scanner else { return Ok(()) };
            let found = lines.scan(bytes).map_err(|fault| CopyError { fault, line: lines.line() })?;
            let (taken, marker) = match found {
                line::Found::Row(end) => (end, false),
                line::Found::Marker(end) => (end, true),
                line::Found::Part if lines.ended() => return Ok(()),
                line::Found::Part => {
                    self.hold(bytes)?;
                    return Ok(());
                }
            };
            let (row, rest) = bytes.split_at(taken);
            if marker {
                self.carry.clear();
            } else if self.carry.is_empty() {
                self.fits(row.len())?;
                self.give(Some(row), each)?;
            } else {
                self.hold(row)?;
                self.give(None, each)?;
            }
            bytes = rest;
        }
    }

    fn feed_binary<E, F>(&mut self, mut bytes: &[u8], each: &mut F) -> Result<(), E>
    where
        E: From<CopyError>,
        F: FnMut(Row<'_>) -> Result<(), E>,
    {
        loop {
            let Scanner::Binary(binary) = &mut self.scanner else { return Ok(()) };
            let direct = self.carry.is_empty();
            let row = if direct { bytes } else { &self.carry[..] };
            let step = binary.step(row).map_err(|fault| CopyError { fault, line: binary.row() })?;
            match step {
                binary::Step::Need(total) => {
                    self.fits(total)?;
                    let part = bytes.len().min(total - self.carry.len());
                    self.carry.extend_from_slice(&bytes[..part]);
                    bytes = &bytes[part..];
                    if self.carry.len() < total {
                        return Ok(());
                    }
                }
                binary::Step::Row(end) if direct => {
                    self.give(Some(&bytes[..end]), each)?;
                    bytes = &bytes[end..];
                }
                binary::Step::Row(_) => self.give(None, each)?,
                binary::Step::NoRow(end) if direct => bytes = &bytes[end..],
                binary::Step::NoRow(_) => self.carry.clear(),
            }
            if bytes.is_empty() && self.carry.is_empty() {
                return Ok(());
            }
        }
    }

    fn fits(&self, len: usize) -> Result<(), CopyError> {
        if len <= self.row_bytes_max {
            return Ok(());
        }
        let line = match &self.scanner {
            Scanner::Lines(lines) => lines.begins(),
            Scanner::Binary(binary) => binary.row(),
        };
        Err(CopyError { fault: Fault::TooLong(self.row_bytes_max), line })
    }

    fn hold(&mut self, part: &[u8]) -> Result<(), CopyError> {
        self.fits(self.carry.len() + part.len())?;
        self.carry.extend_from_slice(part);
        Ok(())
    }

    /// Gives a row: these bytes, or those that were carried.
    fn give<E, F>(&mut self, direct: Option<&[u8]>, each: &mut F) -> Result<(), E>
    where
        E: From<CopyError>,
        F: FnMut(Row<'_>) -> Result<(), E>,
    {
        let header = std::mem::take(&mut self.header);
        self.fields.clear();
        let raw = direct.unwrap_or(&self.carry);
        let (line, content) = match &mut self.scanner {
            Scanner::Lines(lines) => (lines.begun(), lines.content(raw)),
            Scanner::Binary(binary) => (binary.begun(), raw),
        };
        if !header {
            let columns = &self.columns;
            match &self.format {
                CopyFormat::Text { delimiter, null } => {
                    text::fields(content, *delimiter, null, columns, &mut self.fields)
                }
                CopyFormat::Csv { .. } => csv::fields(content, &self.format, columns, &mut self.fields),
                CopyFormat::Binary => binary::fields(content, columns, &mut self.fields),
            }
            .map_err(|fault| CopyError { fault, line })?;
        }
        each(Row { raw, line, header, fields: &self.fields, format: &self.format })?;
        self.carry.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
