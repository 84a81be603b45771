//! The admin side: metrics and health over HTTP, the console over PostgreSQL's protocol.
pub mod console;
pub mod http;
