//! What a server says about the session: its state, its settings, its notifications.

use bytes::{BufMut, BytesMut};

use crate::error::WireError;
use crate::read::Reader;
use crate::write::{put_cstr, put_frame};

/// `ParameterStatus`: a setting's value, at start and whenever it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterStatus<'a> {
    /// The setting's name.
    pub name: &'a [u8],
    /// Its value now.
    pub value: &'a [u8],
}

impl<'a> ParameterStatus<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let status = Self { name: reader.cstr()?, value: reader.cstr()? };
        reader.end()?;
        Ok(status)
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'S', |out| {
            put_cstr(out, self.name);
            put_cstr(out, self.value);
        });
    }
}

/// The state of the session's transaction, as `ReadyForQuery` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionStatus {
    /// `I`: not in a transaction block.
    Idle,
    /// `T`: in a transaction block.
    InTransaction,
    /// `E`: in a transaction block that takes nothing but its end.
    Failed,
}

impl TransactionStatus {
    /// From the byte on the wire.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::InTransaction),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }

    /// The byte on the wire.
    pub fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }
}

/// `ReadyForQuery`: everything up to the last `Query`, `Sync` or `FunctionCall` has been answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadyForQuery(pub TransactionStatus);

impl ReadyForQuery {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let status = TransactionStatus::from_byte(reader.u8()?).ok_or(WireError::Format)?;
        reader.end()?;
        Ok(Self(status))
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'Z', |out| out.put_u8(self.0.byte()));
    }
}

/// `CommandComplete`: a statement is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandComplete<'a> {
    /// The command tag, such as `INSERT 0 1`.
    pub tag: &'a [u8],
}

impl<'a> CommandComplete<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let tag = reader.cstr()?;
        reader.end()?;
        Ok(Self { tag })
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'C', |out| put_cstr(out, self.tag));
    }
}

/// `NotificationResponse`: a `NOTIFY` on a channel that the session listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotificationResponse<'a> {
    /// The notifying backend's process id.
    pub process_id: i32,
    /// The channel's name.
    pub channel: &'a [u8],
    /// What was sent with it.
    pub payload: &'a [u8],
}

impl<'a> NotificationResponse<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let notification =
            Self { process_id: reader.i32()?, channel: reader.cstr()?, payload: reader.cstr()? };
        reader.end()?;
        Ok(notification)
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'A', |out| {
            out.put_i32(self.process_id);
            put_cstr(out, self.channel);
            put_cstr(out, self.payload);
        });
    }
}
