//! A list of type OIDs as `Parse` and `ParameterDescription` carry it.

use bytes::BytesMut;

use crate::error::WireError;
use crate::read::Reader;
use crate::write::put_count;

/// OIDs of types, four bytes each in network order; 0 means "not specified".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Oids<'a> {
    raw: &'a [u8],
}

impl<'a> Oids<'a> {
    /// No types.
    pub const EMPTY: Oids<'static> = Oids { raw: &[] };

    /// The list whose wire form, without the count, is `raw`. `None` if `raw` is no multiple of four bytes
    /// or holds more than 65,535 types.
    pub fn from_raw(raw: &'a [u8]) -> Option<Self> {
        (raw.len().is_multiple_of(4) && raw.len() / 4 <= usize::from(u16::MAX)).then_some(Self { raw })
    }

    /// The wire form, without the count.
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// How many types there are.
    pub fn len(self) -> usize {
        self.raw.len() / 4
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.raw.is_empty()
    }

    /// The types in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.raw.chunks_exact(4).map(|oid| u32::from_be_bytes([oid[0], oid[1], oid[2], oid[3]]))
    }

    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = usize::from(reader.u16()?);
        reader.bytes(count * 4).map(|raw| Self { raw })
    }

    pub(crate) fn put(self, out: &mut BytesMut) {
        put_count(out, self.len());
        out.extend_from_slice(self.raw);
    }
}
