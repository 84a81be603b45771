//! The `binary` format: a header, rows of counted values, a trailer
//! (<https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format").

use super::{BINARY_HEADER, Fault, Field};

const SIGNATURE_LEN: usize = 11;

/// What the bytes from the row's start are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// So many are needed to see further.
    Need(usize),
    /// A whole row of so many.
    Row(usize),
    /// So many bytes that are no row: the header, its extension, the trailer.
    NoRow(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    /// Bytes of the extension that are left.
    Extension(usize),
    /// Fields left, and where in the row the next one's length is; `None` before the count of fields.
    Row(Option<(usize, usize)>),
    Ended,
}

/// Where in the stream it is.
#[derive(Debug)]
pub(super) struct Binary {
    state: State,
    width: usize,
    row: u64,
}

impl Binary {
    pub(super) fn new(width: usize) -> Self {
        Self { state: State::Header, width, row: 1 }
    }

    /// The row that is being read, from 1.
    pub(super) fn row(&self) -> u64 {
        self.row
    }

    /// The row that was whole last; the next is being read.
    pub(super) fn begun(&mut self) -> u64 {
        self.row += 1;
        self.row - 1
    }

    /// Looks at the bytes from the row's start on. What was seen of it before is not looked at again.
    pub(super) fn step(&mut self, row: &[u8]) -> Result<Step, Fault> {
        match self.state {
            State::Header => self.header(row),
            State::Extension(0) => {
                self.state = State::Row(None);
                self.fields(row, None)
            }
            State::Extension(_) if row.is_empty() => Ok(Step::Need(1)),
            State::Extension(left) => {
                let part = left.min(row.len());
                self.state = State::Extension(left - part);
                Ok(Step::NoRow(part))
            }
            State::Row(at) => self.fields(row, at),
            State::Ended if row.is_empty() => Ok(Step::NoRow(0)),
            State::Ended => Err(Fault::AfterEnd),
        }
    }

    fn header(&mut self, row: &[u8]) -> Result<Step, Fault> {
        let seen = row.len().min(SIGNATURE_LEN);
        if row[..seen] != BINARY_HEADER[..seen] {
            return Err(Fault::Signature);
        }
        let (Some(flags), Some(extension)) = (int4(row, SIGNATURE_LEN), int4(row, SIGNATURE_LEN + 4)) else {
            return Ok(Step::Need(BINARY_HEADER.len()));
        };
        // The upper half are flags without which the stream cannot be understood; there are none.
        if flags.cast_unsigned() >> 16 != 0 {
            return Err(Fault::Header);
        }
        self.state = State::Extension(usize::try_from(extension).map_err(|_| Fault::Header)?);
        Ok(Step::NoRow(BINARY_HEADER.len()))
    }

    fn fields(&mut self, row: &[u8], seen: Option<(usize, usize)>) -> Result<Step, Fault> {
        let (mut left, mut at) = match seen {
            Some(seen) => seen,
            None => {
                let Some(count) = row.first_chunk().map(|count| i16::from_be_bytes(*count)) else {
                    return Ok(Step::Need(2));
                };
                if count == -1 {
                    self.state = State::Ended;
                    return Ok(Step::NoRow(2));
                }
                let count = usize::try_from(count).ok().filter(|same| *same == self.width);
                (
                    count.ok_or(Fault::Width(
                        row.first_chunk().map_or(0, |c| i16::from_be_bytes(*c)),
                        self.width,
                    ))?,
                    2,
                )
            }
        };
        while left > 0 {
            let Some(len) = int4(row, at) else {
                self.state = State::Row(Some((left, at)));
                return Ok(Step::Need(at + 4));
            };
            let len = if len == -1 { 0 } else { usize::try_from(len).map_err(|_| Fault::Size)? };
            (left, at) = (left - 1, at + 4 + len);
        }
        if at > row.len() {
            self.state = State::Row(Some((0, at)));
            return Ok(Step::Need(at));
        }
        self.state = State::Row(None);
        Ok(Step::Row(at))
    }

    /// The stream has ended, and the part of a row was there or not. It may lack its trailer.
    pub(super) fn end(&self, part: bool) -> Result<(), Fault> {
        match self.state {
            State::Header => Err(Fault::Signature),
            State::Extension(1..) => Err(Fault::Header),
            _ if part => Err(Fault::Truncated),
            _ => Ok(()),
        }
    }
}

fn int4(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk().map(|word| i32::from_be_bytes(*word))
}

/// Finds the columns asked for in a whole row.
pub(super) fn fields(row: &[u8], columns: &[usize], found: &mut Vec<Field>) -> Result<(), Fault> {
    found.resize(columns.len(), Field::Null);
    let last = columns.iter().max().copied().unwrap_or(0);
    let mut at = 2;
    for column in 0..=last {
        let len = int4(row, at).ok_or(Fault::Short)?;
        let (start, end) = (at + 4, at + 4 + usize::try_from(len.max(0)).unwrap_or(0));
        let field = if len < 0 { Field::Null } else { Field::Value(start, end, false) };
        columns
            .iter()
            .zip(&mut *found)
            .filter(|(one, _)| **one == column)
            .for_each(|(_, slot)| *slot = field);
        at = end;
    }
    Ok(())
}
