//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, both sides, as steps on messages (RFC 5802, RFC 7677, RFC 5929).
//!
//! PostgreSQL's departures are kept: the user name in the messages is ignored, and a password that SASLprep
//! refuses is used as it is (`auth-scram.c`, `fe-auth-scram.c`, `scram-common.c`).

mod attributes;
mod client;
mod error;
mod keys;
mod server;
mod verifier;

pub use client::{ClientBinding, ClientExchange, ClientFinal, ClientSecret, ITERATIONS_MAX};
pub use error::ScramError;
pub use server::{Proved, ServerBinding, ServerExchange, mechanisms};
pub use verifier::{DEFAULT_ITERATIONS, Verifier};

/// The mechanism without channel binding.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// The mechanism with channel binding.
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// The channel binding type of RFC 5929 that PostgreSQL speaks.
const END_POINT: &str = "tls-server-end-point";

#[cfg(test)]
mod tests;
