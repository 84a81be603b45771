//! Random and secret bytes: what both sides of a login and a cancel need of them.

use base64::Engine as _;
use subtle::ConstantTimeEq;

/// A SCRAM nonce: 18 random bytes as base64, as PostgreSQL's own.
pub fn nonce() -> String {
    base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 18]>())
}

/// Compares without telling by its time where the difference is.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}
