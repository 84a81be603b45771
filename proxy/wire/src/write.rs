//! Appends frames and their fields to a buffer.

use bytes::{BufMut, BytesMut};

/// Appends one frame whose body is what `body` appends.
///
/// # Panics
/// If the body is 2 GiB or more; nothing that was decoded from a frame is.
pub fn put_frame(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    put_counted(out, body);
}

/// Appends a length word that counts itself, then what `body` appends.
pub(crate) fn put_counted(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_i32(0);
    body(out);
    let len = i32::try_from(out.len() - start).expect("a message is shorter than 2 GiB");
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

/// Appends a zero-terminated string: `text` up to its first zero byte, so that no text can forge a field.
pub(crate) fn put_cstr(out: &mut BytesMut, text: &[u8]) {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    out.extend_from_slice(&text[..end]);
    out.put_u8(0);
}

/// Appends a 16-bit count.
pub(crate) fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u16(u16::try_from(count).expect("a message has at most 65,535 of anything"));
}

/// Appends a value: its length and its bytes, or -1 for NULL.
pub(crate) fn put_value(out: &mut BytesMut, value: Option<&[u8]>) {
    let Some(value) = value else { return out.put_i32(-1) };
    out.put_i32(i32::try_from(value.len()).expect("a value is shorter than 2 GiB"));
    out.extend_from_slice(value);
}

/// Appends a 16-bit count, then the values.
pub(crate) fn put_values(out: &mut BytesMut, values: &[Option<&[u8]>]) {
    put_count(out, values.len());
    for value in values {
        put_value(out, *value);
    }
}

/// Appends a 16-bit count, then the format codes.
pub(crate) fn put_formats(out: &mut BytesMut, formats: &[i16]) {
    put_count(out, formats.len());
    for format in formats {
        out.put_i16(*format);
    }
}
