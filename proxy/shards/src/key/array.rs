//! Arrays, element by element: `array_in` and `array_recv` of `src/backend/utils/adt/arrayfuncs.c`.

use std::borrow::Cow;

/// Calls `each` with every element of an array of one dimension in text, `None` for NULL. False if `each` says so, or if the
/// text is no such array.
pub fn text_elements(text: &[u8], mut each: impl FnMut(Option<&[u8]>) -> bool) -> bool {
    let text = text.trim_ascii();
    let Some(inside) = text.strip_prefix(b"{").and_then(|text| text.strip_suffix(b"}")) else { return false };
    let mut rest = inside.trim_ascii_start();
    if rest.is_empty() {
        return true;
    }
    loop {
        let Some((element, after)) = element(rest) else { return false };
        let known = match &element {
            Element::Plain(text) if text.eq_ignore_ascii_case(b"null") => each(None),
            Element::Plain(text) => each(Some(text)),
            Element::Quoted(text) => each(Some(text)),
        };
        if !known {
            return false;
        }
        match after {
            [] => return true,
            [b',', after @ ..] => rest = after.trim_ascii_start(),
            _ => return false,
        }
    }
}

enum Element<'a> {
    Plain(&'a [u8]),
    Quoted(Cow<'a, [u8]>),
}

/// The first element and what follows it, from the comma on.
fn element(text: &[u8]) -> Option<(Element<'_>, &[u8])> {
    if let Some(inside) = text.strip_prefix(b"\"") {
        let (value, after) = quoted(inside)?;
        return Some((Element::Quoted(value), after.trim_ascii_start()));
    }
    let end = text.iter().position(|byte| *byte == b',').unwrap_or(text.len());
    let (own, after) = text.split_at(end);
    let own = own.trim_ascii_end();
    // Escapes outside of quotes and vertical tabs are rare, braces begin another dimension, and an element cannot be empty.
    let odd = |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b'\x0b');
    let plain = !own.is_empty() && !own.iter().any(odd);
    plain.then_some((Element::Plain(own), after))
}

fn quoted(inside: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let end = inside.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    if inside[end] == b'"' {
        return Some((Cow::Borrowed(&inside[..end]), &inside[end + 1..]));
    }
    let mut value = inside[..end].to_vec();
    let mut rest = &inside[end..];
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some((Cow::Owned(value), after)),
            [b'\\', byte, after @ ..] | [byte, after @ ..] => {
                value.push(*byte);
                after
            }
            [] => return None,
        }
    }
}

/// Calls `each` with the type's OID and every element of an array in binary, of any number of dimensions, `None` for NULL.
/// False if `each` says so, or if the bytes are no array.
pub fn binary_elements(bytes: &[u8], each: impl FnMut(u32, Option<&[u8]>) -> bool) -> bool {
    elements(bytes, each).unwrap_or(false)
}

fn elements(bytes: &[u8], mut each: impl FnMut(u32, Option<&[u8]>) -> bool) -> Option<bool> {
    let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let (dimensions, oid) = (usize::try_from(word(0)?).ok()?, word(8)?);
    if dimensions > 6 {
        return None;
    }
    let mut count = u32::from(dimensions > 0);
    for dimension in 0..dimensions {
        count = count.checked_mul(word(12 + dimension * 8)?)?;
    }
    let mut at = 12 + dimensions * 8;
    for _ in 0..count {
        let length = word(at)?;
        at += 4;
        let element = if length == u32::MAX {
            None
        } else {
            let end = at.checked_add(usize::try_from(length).ok()?)?;
            let element = bytes.get(at..end)?;
            at = end;
            Some(element)
        };
        if !each(oid, element) {
            return Some(false);
        }
    }
    Some(at == bytes.len())
}
