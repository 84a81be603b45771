//! Messages that a server sends.
//!
//! Every type reads a body (without its header) and appends a whole frame. Names, texts and values are bytes
//! in the client's encoding.
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

mod copy;
mod login;
mod rows;
mod session;

pub use copy::{CopyDirection, CopyResponse};
pub use login::{Authentication, BackendKeyData, NegotiateProtocolVersion};
pub use rows::{DataRow, Field, FunctionCallResponse, ParameterDescription, RowDescription};
pub use session::{CommandComplete, NotificationResponse, ParameterStatus, ReadyForQuery, TransactionStatus};

/// The whole `ParseComplete` frame.
pub const PARSE_COMPLETE: &[u8] = b"1\0\0\0\x04";
/// The whole `BindComplete` frame.
pub const BIND_COMPLETE: &[u8] = b"2\0\0\0\x04";
/// The whole `CloseComplete` frame.
pub const CLOSE_COMPLETE: &[u8] = b"3\0\0\0\x04";
/// The whole `NoData` frame.
pub const NO_DATA: &[u8] = b"n\0\0\0\x04";
/// The whole `PortalSuspended` frame.
pub const PORTAL_SUSPENDED: &[u8] = b"s\0\0\0\x04";
/// The whole `EmptyQueryResponse` frame.
pub const EMPTY_QUERY_RESPONSE: &[u8] = b"I\0\0\0\x04";

#[cfg(test)]
mod tests;
