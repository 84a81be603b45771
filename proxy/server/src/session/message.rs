//! Messages of our own, written straight into a session's buffer.

use crate::transport::buffer::Buffer;

/// Appends one frame: tag, length, and the parts of its body.
pub(super) fn frame(out: &mut Buffer, tag: u8, parts: &[&[u8]]) {
    let body: usize = parts.iter().map(|part| part.len()).sum();
    out.make_room(body + 5);
    out.extend(&[tag]);
    // Every part was part of a message that itself fitted in a length word.
    let length = u32::try_from(body + 4).unwrap_or(u32::MAX);
    out.extend(&length.to_be_bytes());
    for part in parts {
        out.extend(part);
    }
}

/// Appends a simple query.
pub(super) fn query(out: &mut Buffer, sql: &[u8]) {
    frame(out, b'Q', &[sql, b"\0"]);
}

/// Appends `Close` of a statement.
pub(super) fn close_statement(out: &mut Buffer, name: &[u8]) {
    frame(out, b'C', &[b"S", name, b"\0"]);
}

/// A ReadyForQuery frame.
pub(super) fn ready(status: u8) -> [u8; 6] {
    [b'Z', 0, 0, 0, 5, status]
}

/// A CommandComplete frame.
pub(super) fn command_complete(tag: &str) -> Vec<u8> {
    let length = u32::try_from(tag.len() + 5).unwrap_or(u32::MAX);
    [b"C".as_slice(), &length.to_be_bytes(), tag.as_bytes(), b"\0"].concat()
}
