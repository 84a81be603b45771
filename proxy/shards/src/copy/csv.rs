//! The values of a line in `csv` (`CopyReadAttributesCSV` in `copyfromparse.c`).

use memchr::memchr2;

use super::{Fault, Field, note};
use crate::plan::CopyFormat;

/// Finds the columns asked for, from 0 and in any order.
pub(super) fn fields(
    line: &[u8],
    format: &CopyFormat,
    columns: &[usize],
    found: &mut Vec<Field>,
) -> Result<(), Fault> {
    let CopyFormat::Csv { delimiter, quote, escape, null, force_not_null, force_null, .. } = format else {
        return Err(Fault::Short);
    };
    found.resize(columns.len(), Field::Null);
    let last = columns.iter().max().copied().unwrap_or(0);
    let mut start = 0;
    for column in 0..=last {
        let (end, quoted) = value_end(line, start, [*delimiter, *quote, *escape])?;
        if columns.contains(&column) {
            let raw = &line[start..end];
            let field = if quoted {
                let forced = force_null.contains(&column) && decode(raw, *quote, *escape) == **null;
                if forced { Field::Null } else { Field::Value(start, end, true) }
            } else if raw != &**null {
                Field::Value(start, end, false)
            } else if force_not_null.contains(&column) {
                // If both are asked for, the text comes first and is no NULL any more.
                Field::NullText
            } else {
                Field::Null
            };
            note(columns, found, column, field);
        }
        if column < last && end == line.len() {
            return Err(Fault::Short);
        }
        start = end + 1;
    }
    Ok(())
}

/// Where the value ends that starts here, and whether any of it is quoted.
fn value_end(line: &[u8], start: usize, [delimiter, quote, escape]: [u8; 3]) -> Result<(usize, bool), Fault> {
    let (mut at, mut quoted) = (start, false);
    loop {
        let Some(next) = memchr2(delimiter, quote, &line[at.min(line.len())..]) else {
            return Ok((line.len(), quoted));
        };
        at += next;
        if line[at] == delimiter {
            return Ok((at, quoted));
        }
        quoted = true;
        at = quote_end(line, at + 1, quote, escape).ok_or(Fault::Unterminated)?;
    }
}

/// The place after the quote that closes what starts here.
fn quote_end(line: &[u8], start: usize, quote: u8, escape: u8) -> Option<usize> {
    let mut at = start;
    loop {
        at += memchr2(quote, escape, line.get(at..)?)?;
        let escapes =
            line[at] == escape && line.get(at + 1).is_some_and(|next| *next == escape || *next == quote);
        match (escapes, line[at] == quote) {
            (true, _) => at += 2,
            (false, true) => return Some(at + 1),
            (false, false) => at += 1,
        }
    }
}

/// Removes quotes and escapes.
pub(super) fn decode(raw: &[u8], quote: u8, escape: u8) -> Vec<u8> {
    let mut value = Vec::with_capacity(raw.len());
    let (mut at, mut inside) = (0, false);
    while let Some(byte) = raw.get(at) {
        let next = raw.get(at + 1).filter(|next| **next == escape || **next == quote);
        match (inside, next) {
            (true, Some(next)) if *byte == escape => {
                value.push(*next);
                at += 1;
            }
            _ if *byte == quote => inside = !inside,
            _ => value.push(*byte),
        }
        at += 1;
    }
    value
}
