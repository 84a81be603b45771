//! A stream read frame by frame: for the few messages of a login, where clarity matters more than speed.

use std::io;

use bytes::BytesMut;
use pointsman_wire::error::WireError;
use pointsman_wire::frame::{Frame, take_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::stream::Stream;

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub enum FramedError {
    /// The socket failed, or ended where a message was expected.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are no message.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// A stream with the bytes read from it and not used yet.
#[derive(Debug)]
pub struct Framed {
    /// The stream.
    pub stream: Stream,
    /// Bytes read and not used.
    pub inbox: BytesMut,
}

impl Framed {
    /// Nothing read yet.
    pub fn new(stream: Stream) -> Self {
        Self { stream, inbox: BytesMut::new() }
    }

    /// Reads more bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` at the end of the stream.
    pub async fn read_more(&mut self) -> io::Result<()> {
        self.inbox.reserve(1024);
        match self.stream.read_buf(&mut self.inbox).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// A frame longer than `body_max` bytes, a malformed one, or a failed socket.
    pub async fn read_frame(&mut self, body_max: usize) -> Result<Frame, FramedError> {
        loop {
            if let Some(frame) = take_frame(&mut self.inbox, body_max)? {
                return Ok(frame);
            }
            self.read_more().await?;
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// A failed socket.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }
}
