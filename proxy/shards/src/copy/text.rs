//! The values of a line in `text` (`CopyReadAttributesText` in `copyfromparse.c`).

use memchr::memchr2;

use super::{Fault, Field, note};

/// Finds the columns asked for, from 0 and in any order.
pub(super) fn fields(
    line: &[u8],
    delimiter: u8,
    null: &[u8],
    columns: &[usize],
    found: &mut Vec<Field>,
) -> Result<(), Fault> {
    found.resize(columns.len(), Field::Null);
    let last = columns.iter().max().copied().unwrap_or(0);
    let mut start = 0;
    for column in 0..=last {
        let (end, escaped) = value_end(line, start, delimiter);
        if columns.contains(&column) {
            let is_null = line[start..end] == *null;
            let field = if is_null { Field::Null } else { Field::Value(start, end, escaped) };
            note(columns, found, column, field);
        }
        if column < last && end == line.len() {
            return Err(Fault::Short);
        }
        start = end + 1;
    }
    Ok(())
}

/// Where the value ends that starts here, and whether it has a backslash.
fn value_end(line: &[u8], start: usize, delimiter: u8) -> (usize, bool) {
    let (mut at, mut escaped) = (start, false);
    loop {
        let Some(next) = memchr2(delimiter, b'\\', &line[at.min(line.len())..]) else {
            return (line.len(), escaped);
        };
        at += next;
        if line[at] == delimiter {
            return (at, escaped);
        }
        (at, escaped) = (at + 2, true);
    }
}

/// Resolves backslashes.
pub(super) fn decode(raw: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            value.push(*byte);
            continue;
        }
        // A backslash at the end stands for nothing.
        let Some((escape, after)) = rest.split_first() else { break };
        rest = after;
        match escape {
            b'b' => value.push(8),
            b'f' => value.push(12),
            b'n' => value.push(b'\n'),
            b'r' => value.push(b'\r'),
            b't' => value.push(b'\t'),
            b'v' => value.push(11),
            b'0'..=b'7' => value.push(digits(escape - b'0', &mut rest, 8)),
            b'x' if rest.first().is_some_and(u8::is_ascii_hexdigit) => value.push(digits(0, &mut rest, 16)),
            other => value.push(*other),
        }
    }
    value
}

/// Two more digits at the most; of a number above 255 the low byte stays.
fn digits(first: u8, rest: &mut &[u8], base: u32) -> u8 {
    let mut number = u32::from(first);
    for _ in 0..2 {
        let Some((digit, after)) = rest.split_first() else { break };
        let Some(digit) = char::from(*digit).to_digit(base) else { break };
        number = number * base + digit;
        *rest = after;
    }
    (number & 0xff) as u8
}
