//! The messages of type `p`: which one it is follows from what the server asked.

use bytes::BytesMut;

use crate::error::WireError;
use crate::read::Reader;
use crate::write::{put_cstr, put_frame, put_value};

/// `PasswordMessage`: a password in the clear, or an md5 response; without its zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PasswordMessage<'a>(pub &'a [u8]);

impl<'a> PasswordMessage<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let password = reader.cstr()?;
        reader.end()?;
        Ok(Self(password))
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'p', |out| put_cstr(out, self.0));
    }
}

impl std::fmt::Debug for PasswordMessage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordMessage(..)")
    }
}

/// `SASLInitialResponse`: the mechanism that the client chose and its first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaslInitialResponse<'a> {
    /// The mechanism's name.
    pub mechanism: &'a str,
    /// The first message of the mechanism; `None` if the client waits for a challenge.
    pub data: Option<&'a [u8]>,
}

impl<'a> SaslInitialResponse<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let response = Self { mechanism: reader.name()?, data: reader.value()? };
        reader.end()?;
        Ok(response)
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'p', |out| {
            put_cstr(out, self.mechanism.as_bytes());
            put_value(out, self.data);
        });
    }
}

/// `SASLResponse`: a later message of the mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaslResponse<'a>(pub &'a [u8]);

impl<'a> SaslResponse<'a> {
    /// Takes a body; the mechanism judges it.
    ///
    /// # Errors
    /// None; a result like that of the other messages.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        Ok(Self(body))
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'p', |out| out.extend_from_slice(self.0));
    }
}
