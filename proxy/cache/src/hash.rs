//! One hash that is the same in every process and version: for tags and checksums. It is no proof against an adversary,
//! and nothing rests on it alone: tags that collide invalidate too much, keys are compared byte by byte.

const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0xd1b5_4a32_d192_ed03;

/// Multiplies to 128 bits and folds the halves.
#[inline]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    #[expect(clippy::cast_possible_truncation, reason = "the low half is one of the two that are folded")]
    let low = product as u64;
    low ^ (product >> 64) as u64
}

/// Hashes `bytes`, going on from `seed`: what was hashed before, or a number for what is hashed.
#[inline]
#[must_use]
pub fn stable(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = seed ^ FIRST;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word), SECOND);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    state = fold(state ^ u64::from_le_bytes(last), FIRST);
    // The length tells texts apart that differ in zeros at their ends.
    fold(state ^ bytes.len() as u64, SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_changes() {
        assert_eq!(stable(1, b"feed:42"), stable(1, b"feed:42"));
        let known = [stable(0, b""), stable(0, b"agents"), stable(7, b"a name of more than eight bytes")];
        assert_eq!(known, KNOWN);
    }

    /// What other proxies and earlier versions wrote under.
    const KNOWN: [u64; 3] =
        [17_937_540_164_681_420_358, 5_472_965_706_131_241_386, 7_613_189_271_373_917_468];

    #[test]
    fn ends_and_seeds_count() {
        assert_ne!(stable(1, b"a"), stable(1, b"a\0"));
        assert_ne!(stable(1, b""), stable(1, b"\0"));
        assert_ne!(stable(1, b"12345678"), stable(1, b"12345678\0"));
        assert_ne!(stable(1, b"a"), stable(2, b"a"));
    }

    #[test]
    fn bits_are_spread() {
        let mut slots = std::collections::HashSet::new();
        for key in 0..10_000 {
            slots.insert(stable(3, key.to_string().as_bytes()) & 0xf_ffff);
        }
        // Of 10,000 keys in a million slots, about 48 share one.
        assert!(slots.len() > 9_900, "{}", slots.len());
    }
}
