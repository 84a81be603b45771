//! Streaming replication inside `CopyData`, and the logical changes that `pgoutput` puts there.
//! <https://www.postgresql.org/docs/current/protocol-replication.html>,
//! <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>

mod change;
mod tuple;

use bytes::{BufMut, BytesMut};

pub use change::{Change, Column, Identity, Old, Relation};
pub use tuple::{Tuple, TupleColumn, TupleColumns};

use crate::error::WireError;
use crate::read::Reader;

/// Microseconds from the Unix epoch to PostgreSQL's, 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// What a sender of WAL puts into one `CopyData`. Positions are bytes in the WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromSender<'a> {
    /// `XLogData`: a piece of the stream.
    Data {
        /// Where the piece begins.
        start: u64,
        /// The sender's end of WAL.
        end: u64,
        /// One logical message, for [`Change::decode`].
        payload: &'a [u8],
    },
    /// `Primary keepalive message`.
    Keepalive {
        /// The sender's end of WAL.
        end: u64,
        /// Whether an answer is wanted at once.
        reply: bool,
    },
}

impl<'a> FromSender<'a> {
    /// Reads the payload of a `CopyData`.
    ///
    /// # Errors
    /// [`WireError`] if it is neither.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        match reader.u8()? {
            b'w' => {
                let (start, end, _sent) = (reader.u64()?, reader.u64()?, reader.u64()?);
                Ok(Self::Data { start, end, payload: reader.rest() })
            }
            b'k' => {
                let (end, _sent, reply) = (reader.u64()?, reader.u64()?, reader.u8()?);
                reader.end()?;
                Ok(Self::Keepalive { end, reply: reply != 0 })
            }
            other => Err(WireError::BackendType(other)),
        }
    }
}

/// `Standby status update`: what a receiver has and needs no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandbyStatus {
    /// Everything before this position was received, and the sender may forget it.
    pub flushed: u64,
    /// Now, in microseconds since the Unix epoch.
    pub now_micros: i64,
    /// The sender is to say at once how far it is.
    pub ask: bool,
}

impl StandbyStatus {
    /// Appends the payload of a `CopyData`.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u8(b'r');
        for _written_flushed_applied in 0..3 {
            out.put_u64(self.flushed);
        }
        out.put_i64(self.now_micros - EPOCH_MICROS);
        out.put_u8(u8::from(self.ask));
    }
}

#[cfg(test)]
mod tests;
