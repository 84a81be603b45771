//! A cursor over one message body; its errors are those of PostgreSQL's `pqformat.c`.

use crate::error::WireError;

/// What is left of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { left: body }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, left) = self.left.split_at_checked(count).ok_or(WireError::Truncated)?;
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, left) = self.left.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.left = left;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte).map_err(|_| WireError::NoData)
    }

    pub(crate) fn salt(&mut self) -> Result<[u8; 4], WireError> {
        self.array()
    }

    pub(crate) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, WireError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, WireError> {
        self.array().map(i32::from_be_bytes)
    }

    /// A zero-terminated string, without its zero.
    pub(crate) fn cstr(&mut self) -> Result<&'a [u8], WireError> {
        let end = memchr::memchr(0, self.left).ok_or(WireError::Text)?;
        let text = &self.left[..end];
        self.left = &self.left[end + 1..];
        Ok(text)
    }

    /// A zero-terminated string that the protocol defines as ASCII.
    pub(crate) fn name(&mut self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.cstr()?).map_err(|_| WireError::Text)
    }

    /// A length word and that many bytes; the length -1 is NULL.
    pub(crate) fn value(&mut self) -> Result<Option<&'a [u8]>, WireError> {
        let len = self.i32()?;
        if len == -1 {
            return Ok(None);
        }
        let len = usize::try_from(len).map_err(|_| WireError::Truncated)?;
        self.bytes(len).map(Some)
    }

    /// A 16-bit count, then that many values.
    pub(crate) fn values(&mut self) -> Result<Vec<Option<&'a [u8]>>, WireError> {
        let count = usize::from(self.u16()?);
        let mut values = Vec::with_capacity(count.min(self.left.len() / 4));
        for _ in 0..count {
            values.push(self.value()?);
        }
        Ok(values)
    }

    /// A 16-bit count, then that many format codes.
    pub(crate) fn formats(&mut self) -> Result<Vec<i16>, WireError> {
        let count = usize::from(self.u16()?);
        let raw = self.bytes(count * 2)?;
        Ok(raw.chunks_exact(2).map(|code| i16::from_be_bytes([code[0], code[1]])).collect())
    }

    /// What was read since, when `later` is this cursor further on.
    pub(crate) fn until(&self, later: &Self) -> &'a [u8] {
        &self.left[..self.left.len() - later.left.len()]
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.left)
    }

    pub(crate) fn left(&self) -> usize {
        self.left.len()
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), WireError> {
        if self.left.is_empty() { Ok(()) } else { Err(WireError::Format) }
    }
}
