//! A row of a logical change: looked through once, read without a copy.

use crate::error::WireError;
use crate::read::Reader;

/// A row: its columns in the relation's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple<'a> {
    count: usize,
    /// The columns as they came; each was found whole.
    raw: &'a [u8],
}

/// One column of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TupleColumn<'a> {
    /// NULL.
    Null,
    /// A long value that the statement did not change: it is not sent.
    Unchanged,
    /// In the type's text format, or in its binary one where that was asked for.
    Value(&'a [u8]),
}

impl<'a> Tuple<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = usize::from(reader.u16()?);
        let start = *reader;
        for _ in 0..count {
            column(reader)?;
        }
        Ok(Self { count, raw: start.until(reader) })
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> TupleColumns<'a> {
        TupleColumns { reader: Reader::new(self.raw), left: self.count }
    }

    /// The column of this number, counted from 0.
    #[must_use]
    pub fn column(&self, index: usize) -> Option<TupleColumn<'a>> {
        self.columns().nth(index)
    }
}

/// The columns of a row.
#[derive(Debug, Clone)]
pub struct TupleColumns<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Iterator for TupleColumns<'a> {
    type Item = TupleColumn<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        column(&mut self.reader).ok()
    }
}

fn column<'a>(reader: &mut Reader<'a>) -> Result<TupleColumn<'a>, WireError> {
    Ok(match reader.u8()? {
        b'n' => TupleColumn::Null,
        b'u' => TupleColumn::Unchanged,
        b't' | b'b' => TupleColumn::Value(reader.value()?.ok_or(WireError::Format)?),
        _ => return Err(WireError::Format),
    })
}
