//! What a server stores of a password, in `pg_authid.rolpassword` or a userlist.

use std::fmt;

use super::attributes::{base64, from_base64, key, number};
use super::keys::{client_key, hmac, salted_password, server_key, sha256};

/// Iterations that PostgreSQL uses unless told otherwise (`scram_iterations`).
pub const DEFAULT_ITERATIONS: u32 = 4096;

/// Bytes of salt that PostgreSQL uses (`SCRAM_DEFAULT_SALT_LEN`).
const SALT_LEN: usize = 16;

/// A SCRAM-SHA-256 verifier. `Display` writes PostgreSQL's form, which [`Verifier::parse`] reads.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// PBKDF2 iterations, 1 at least.
    pub iterations: u32,
    /// The salt, in bytes.
    pub salt: Vec<u8>,
    /// `StoredKey`: proves a client.
    pub stored_key: [u8; 32],
    /// `ServerKey`: proves us to a client.
    pub server_key: [u8; 32],
}

impl Verifier {
    /// Reads `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, salt and keys in base64. `None` for
    /// anything else, such as an md5 hash or a password.
    pub fn parse(text: &str) -> Option<Self> {
        let (parameters, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        Some(Self {
            iterations: number(iterations)
                .and_then(|count| u32::try_from(count).ok())
                .filter(|count| *count > 0)?,
            salt: from_base64(salt)?,
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }

    /// The verifier of a password: one PBKDF2, about a millisecond at the default iterations.
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let salted = salted_password(password, salt, iterations);
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: sha256(&client_key(&salted)),
            server_key: server_key(&salted),
        }
    }

    /// A verifier that no password fits, always the same for the same user, so that a login as a user who
    /// does not exist looks like a wrong password (`mock_scram_secret`). `process_secret` is drawn once and
    /// never told.
    pub fn mock(process_secret: &[u8], user: &str) -> Self {
        let derive = |label: &[u8]| hmac(process_secret, &[label, user.as_bytes()]);
        Self {
            iterations: DEFAULT_ITERATIONS,
            salt: derive(b"salt:")[..SALT_LEN].to_vec(),
            stored_key: derive(b"stored:"),
            server_key: derive(b"server:"),
        }
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, stored, server) = (base64(&self.salt), base64(&self.stored_key), base64(&self.server_key));
        write!(f, "SCRAM-SHA-256${}:{salt}${stored}:{server}", self.iterations)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}
