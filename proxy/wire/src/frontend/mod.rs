//! Messages that a client sends, after its first packet.
//!
//! Every type reads a body (without its header) and appends a whole frame. Names, texts and values are bytes
//! in the client's encoding.
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

mod bind;
mod login;
mod query;

pub use bind::{Bind, BindParameters, FunctionCall, format_of};
pub use login::{PasswordMessage, SaslInitialResponse, SaslResponse};
pub use query::{Close, CopyFail, Describe, Execute, Parse, Query, Target};

use bytes::BytesMut;

/// The whole `Sync` frame.
pub const SYNC: &[u8] = b"S\0\0\0\x04";
/// The whole `Flush` frame.
pub const FLUSH: &[u8] = b"H\0\0\0\x04";
/// The whole `Terminate` frame.
pub const TERMINATE: &[u8] = b"X\0\0\0\x04";
/// The whole `CopyDone` frame; the server's is the same.
pub const COPY_DONE: &[u8] = b"c\0\0\0\x04";

/// Appends `Sync`.
pub fn encode_sync(out: &mut BytesMut) {
    out.extend_from_slice(SYNC);
}

/// Appends `Flush`.
pub fn encode_flush(out: &mut BytesMut) {
    out.extend_from_slice(FLUSH);
}

/// Appends `Terminate`.
pub fn encode_terminate(out: &mut BytesMut) {
    out.extend_from_slice(TERMINATE);
}

/// Appends `CopyDone`.
pub fn encode_copy_done(out: &mut BytesMut) {
    out.extend_from_slice(COPY_DONE);
}

#[cfg(test)]
mod tests;
