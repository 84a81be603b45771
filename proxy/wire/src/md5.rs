//! The md5 password method: stored hashes and salted responses (`md5_crypt_verify` in `crypt.c`).

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

/// What `pg_authid.rolpassword` holds: `md5` and 32 hexadecimal digits.
pub fn hash(password: &[u8], user: &[u8]) -> String {
    digest(&[password, user])
}

/// Whether a stored secret is an md5 hash, and not a SCRAM verifier or a password in the clear.
pub fn is_hash(secret: &str) -> bool {
    let digits = secret.strip_prefix("md5").unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// What a client sends for a stored hash and a server's salt: `md5` and 32 hexadecimal digits.
pub fn response(hash: &str, salt: [u8; 4]) -> String {
    digest(&[hash.strip_prefix("md5").unwrap_or(hash).as_bytes(), &salt])
}

/// Whether `sent` is the response for this hash and salt. The time taken does not depend on where they differ.
pub fn verify(hash: &str, salt: [u8; 4], sent: &[u8]) -> bool {
    response(hash, salt).as_bytes().ct_eq(sent).into()
}

fn digest(parts: &[&[u8]]) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part);
    }
    let digest: [u8; 16] = md5.finalize().into();
    format!("md5{:032x}", u128::from_be_bytes(digest))
}

#[cfg(test)]
mod tests {
    use postgres_protocol::authentication::md5_hash;

    use super::*;

    #[test]
    fn responses_are_those_of_an_independent_client() {
        let salt = *b"\x2a\x3d\x8f\xe0";
        let stored = hash(b"foobar", b"md5_user");
        assert!(is_hash(&stored));
        assert_eq!(stored, "md50b7acc3663f2c47b71ff946033c7e82c", "as PostgreSQL 15 stores it");
        assert_eq!(response(&stored, salt), md5_hash(b"md5_user", b"foobar", salt));
        assert!(verify(&stored, salt, md5_hash(b"md5_user", b"foobar", salt).as_bytes()));
        for wrong in [&b"md5"[..], b"", b"foobar", stored.as_bytes()] {
            assert!(!verify(&stored, salt, wrong));
        }
    }

    #[test]
    fn only_hashes_look_like_hashes() {
        for other in ["", "md5", "md5zz", "SCRAM-SHA-256$4096:a$b:c", "md5ABCDEF0123456789ABCDEF0123456789"] {
            assert!(!is_hash(other), "{other}");
        }
    }
}
