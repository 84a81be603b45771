//! The admin side: metrics and health over HTTP.
pub mod http;
