//! A shard's next row: where its parts are, and its first key in a form that compares fast.

use std::cmp::Ordering;

use bytes::{BufMut, BytesMut};
use pointsman_wire::frame::{HEADER_LEN, Header};

use super::compare::{Key, compare_from, next_value};

/// Bytes of a frame before its first value: header and count of columns.
const VALUES_AT: usize = HEADER_LEN + 2;

/// Where the parts of one `DataRow` frame are, in bytes from the frame's start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    hidden_at: usize,
    len: usize,
    /// Columns without the hidden ones.
    visible: u16,
    /// Rank of a NULL beside values in the first key: 0 before them, 1 a value, 2 after them.
    rank: u8,
    /// The first key, where it is a value: less for what comes first.
    prefix: u64,
}

impl Head {
    /// Of the frame at the start of `bytes`. `None` if that is no row with such hidden columns.
    pub(super) fn read(bytes: &[u8], hidden: usize, keys: &[Key]) -> Option<Self> {
        let header = Header::peek(bytes).ok()??;
        let len = header.frame_len();
        let frame = bytes.get(..len)?;
        let count = u16::from_be_bytes(*frame.get(HEADER_LEN..)?.first_chunk()?);
        if header.tag != b'D' {
            return None;
        }
        let visible = count.checked_sub(u16::try_from(hidden).ok()?)?;
        let hidden_at = if hidden == 0 { len } else { skip(frame, visible)? };
        let mut rest = &frame[hidden_at..];
        let (mut rank, mut prefix) = (1, 0);
        for (at, key) in keys.iter().enumerate() {
            let value = next_value(&mut rest)?;
            if value.is_some_and(|value| !key.kind.takes(value)) {
                return None;
            }
            if at == 0 {
                (rank, prefix) = key.prefix(value);
            }
        }
        let whole = keys.is_empty() || rest.is_empty();
        whole.then_some(Self { hidden_at, len, visible, rank, prefix })
    }

    /// Bytes of the frame.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The hidden columns of the frame at the start of `bytes`.
    pub(super) fn hidden<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.hidden_at..self.len]
    }

    /// Appends the row without its hidden columns.
    pub(super) fn write(&self, bytes: &[u8], out: &mut BytesMut) {
        let values = &bytes[VALUES_AT.min(self.hidden_at)..self.hidden_at];
        // A frame's length word has room for this: it is not longer than the frame that it comes from.
        let len = u32::try_from(values.len() + 6).unwrap_or(u32::MAX);
        out.reserve(VALUES_AT + values.len());
        out.put_u8(b'D');
        out.put_u32(len);
        out.put_u16(self.visible);
        out.extend_from_slice(values);
    }

    /// Which of two rows comes first; `bytes` start with this one, `others` with the other.
    #[inline]
    pub(super) fn compare(&self, bytes: &[u8], other: &Self, others: &[u8], keys: &[Key]) -> Ordering {
        let first = (self.rank, self.prefix).cmp(&(other.rank, other.prefix));
        if first.is_ne() {
            return first;
        }
        compare_from(self.hidden(bytes), other.hidden(others), keys, keys.len())
    }
}

/// Where the values end that come before the hidden ones.
fn skip(frame: &[u8], values: u16) -> Option<usize> {
    let mut at = VALUES_AT;
    for _ in 0..values {
        let len = i32::from_be_bytes(*frame.get(at..)?.first_chunk()?);
        at += 4 + usize::try_from(len.max(0)).ok()?;
    }
    (at <= frame.len()).then_some(at)
}
