//! The values of literals.

use crate::lexer::{Literal, LiteralKind};

/// The value of a string or number literal of `sql`: quotes, escapes and continuations resolved. `None` for bit
/// strings, for escapes PostgreSQL would refuse, for `UESCAPE` clauses, and for values that are not UTF-8.
#[must_use]
pub fn literal_value(sql: &[u8], literal: &Literal) -> Option<String> {
    let raw = literal.raw(sql);
    let text = std::str::from_utf8(raw).ok()?;
    match literal.kind {
        LiteralKind::Integer | LiteralKind::Number => Some(text.to_owned()),
        LiteralKind::BitString => None,
        LiteralKind::DollarString => {
            let tag = text.get(1..)?.find('$')? + 2;
            text.get(tag..text.len().checked_sub(tag)?).map(str::to_owned)
        }
        LiteralKind::String => Some(joined(text, false)?.replace("''", "'")),
        LiteralKind::EscapeString => backslash_escapes(&joined(text.trim_start_matches(['e', 'E']), true)?),
        LiteralKind::UnicodeString => {
            let after = sql.get(literal.end as usize..).unwrap_or_default().trim_ascii_start();
            let clause = after.get(..7).is_some_and(|word| word.eq_ignore_ascii_case(b"uescape"));
            if clause { None } else { unicode_escapes(&joined(text.get(2..)?, false)?.replace("''", "'")) }
        }
    }
}

/// The inside of `'...'`, pieces on several lines joined; doubled quotes stay doubled.
fn joined(text: &str, escapes: bool) -> Option<String> {
    let bytes = text.as_bytes();
    let mut value = Vec::with_capacity(bytes.len());
    let mut at = 1;
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'\\', Some(next)) if escapes => {
                value.extend([b'\\', *next]);
                at += 2;
            }
            (b'\'', Some(b'\'')) => {
                value.extend(b"''");
                at += 2;
            }
            (b'\'', None) => return String::from_utf8(value).ok(),
            // A continuation: its comments cannot hold the quote that opens the next piece, except in themselves.
            (b'\'', Some(_)) => at = next_piece(bytes, at + 1)?,
            (&byte, _) => {
                value.push(byte);
                at += 1;
            }
        }
    }
}

/// The place after the quote that opens the next piece of a continued string.
fn next_piece(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'\'', _) => return Some(at + 1),
            (b'-', Some(b'-')) => {
                at += bytes[at..].iter().position(|b| matches!(b, b'\n' | b'\r'))?;
            }
            _ => at += 1,
        }
    }
}

fn backslash_escapes(text: &str) -> Option<String> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut buffer = [0u8; 4];
    while let Some(c) = chars.next() {
        if c == '\'' {
            chars.next(); // doubled
        }
        if c != '\\' {
            out.extend(c.encode_utf8(&mut buffer).bytes());
            continue;
        }
        match chars.next()? {
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            'x' if chars.peek().is_some_and(char::is_ascii_hexdigit) => {
                out.push(digits(&mut chars, 16, 2)? as u8)
            }
            // Surrogate pairs are left to PostgreSQL.
            'u' => out.extend(code_point(&mut chars, 4)?.encode_utf8(&mut buffer).bytes()),
            'U' => out.extend(code_point(&mut chars, 8)?.encode_utf8(&mut buffer).bytes()),
            first @ '0'..='7' => {
                let mut value = first.to_digit(8)?;
                for _ in 0..2 {
                    if let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) {
                        value = value * 8 + digit;
                        chars.next();
                    }
                }
                out.push((value & 0xff) as u8);
            }
            other => out.extend(other.encode_utf8(&mut buffer).bytes()),
        }
    }
    String::from_utf8(out).ok()
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Up to `most` digits.
fn digits(chars: &mut Chars<'_>, radix: u32, most: usize) -> Option<u32> {
    let mut value = 0u32;
    for _ in 0..most {
        let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else { break };
        value = value.checked_mul(radix)?.checked_add(digit)?;
        chars.next();
    }
    Some(value)
}

/// Exactly `count` hexadecimal digits that name a character.
fn code_point(chars: &mut Chars<'_>, count: usize) -> Option<char> {
    let mut value = 0u32;
    for _ in 0..count {
        value = value.checked_mul(16)?.checked_add(chars.next()?.to_digit(16)?)?;
    }
    char::from_u32(value).filter(|&c| c != '\0')
}

/// `\XXXX`, `\+XXXXXX` and `\\`, as in `U&'...'` with the default escape character.
pub(crate) fn unicode_escapes(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.peek()? {
            '\\' => {
                chars.next();
                out.push('\\');
            }
            '+' => {
                chars.next();
                out.push(code_point(&mut chars, 6)?);
            }
            _ => out.push(code_point(&mut chars, 4)?),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests;
