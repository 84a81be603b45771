//! Sockets: listeners, TLS, streams and their buffers.

pub mod buffer;
pub mod config;
pub mod dial;
pub mod framed;
pub mod listener;
pub mod stream;
pub mod tls;
