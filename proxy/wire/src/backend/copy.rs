//! What a server says when a COPY begins.

use bytes::{BufMut, BytesMut};

use crate::error::WireError;
use crate::read::Reader;
use crate::write::{put_formats, put_frame};

/// Who sends rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CopyDirection {
    /// `CopyInResponse`: the client.
    In,
    /// `CopyOutResponse`: the server.
    Out,
    /// `CopyBothResponse`: both; only in replication.
    Both,
}

impl CopyDirection {
    /// From a message's type.
    pub fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            b'G' => Some(Self::In),
            b'H' => Some(Self::Out),
            b'W' => Some(Self::Both),
            _ => None,
        }
    }

    /// The message's type.
    pub fn tag(self) -> u8 {
        match self {
            Self::In => b'G',
            Self::Out => b'H',
            Self::Both => b'W',
        }
    }
}

/// `CopyInResponse`, `CopyOutResponse` and `CopyBothResponse`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyResponse {
    /// Who sends rows.
    pub direction: CopyDirection,
    /// 0 text, 1 binary.
    pub format: u8,
    /// A format code for each column.
    pub column_formats: Vec<i16>,
}

impl CopyResponse {
    /// Reads a body; `tag` is its message's type.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one, [`WireError::BackendType`] if `tag` begins no COPY.
    pub fn decode(tag: u8, body: &[u8]) -> Result<Self, WireError> {
        let direction = CopyDirection::from_tag(tag).ok_or(WireError::BackendType(tag))?;
        let mut reader = Reader::new(body);
        let response = Self { direction, format: reader.u8()?, column_formats: reader.formats()? };
        reader.end()?;
        Ok(response)
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, self.direction.tag(), |out| {
            out.put_u8(self.format);
            put_formats(out, &self.column_formats);
        });
    }
}
