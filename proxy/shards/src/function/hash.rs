//! PostgreSQL's hash of a partition key, bit for bit: Bob Jenkins' lookup3 with a seed of 64 bits, and how the hashes of a
//! key's columns become one.
//!
//! Sources: `src/common/hashfn.c` (`hash_bytes_extended`, `hash_bytes_uint32_extended`), `src/backend/access/hash/hashfunc.c`
//! (`hashint8extended`), `src/backend/partitioning/partbounds.c` (`compute_partition_hash_value`),
//! `src/include/common/hashfn.h` (`hash_combine64`). A server on a big-endian machine has other hashes of texts.

use crate::key::Key;

/// `HASH_PARTITION_SEED` of `src/include/catalog/partition.h`.
const SEED: u64 = 0x7A5B_2236_7996_DCFD;

/// What the three words of the state begin with, before the key's length is added.
const GOLDEN: u32 = 0x9E37_79B9_u32.wrapping_add(3_923_095);

/// The hash by which PostgreSQL spreads rows over hash partitions. NULLs are passed over; a key of NULLs alone is 0.
#[must_use]
pub fn partition_hash(key: &[Key<'_>]) -> u64 {
    key.iter().filter_map(of_value).fold(0, combined)
}

fn of_value(key: &Key<'_>) -> Option<u64> {
    Some(match key {
        Key::Null => return None,
        Key::Int(value) => of_int(*value),
        Key::Date(days) => of_word(days.cast_unsigned()),
        Key::Timestamp(micros) | Key::TimestampTz(micros) => of_int(*micros),
        Key::Text(bytes) | Key::Bytes(bytes) => of_bytes(bytes, SEED),
        Key::Uuid(bytes) => of_bytes(bytes, SEED),
    })
}

fn combined(a: u64, b: u64) -> u64 {
    a ^ b.wrapping_add(0x49A0_F4DD_15E5_A8E3).wrapping_add(a << 54).wrapping_add(a >> 7)
}

/// An integer hashes the same in each of the types that can hold it: the high half of one that fits in 32 bits is undone.
#[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
fn of_int(value: i64) -> u64 {
    let (low, high) = (value as u32, (value >> 32) as u32);
    of_word(low ^ if value >= 0 { high } else { !high })
}

fn of_word(word: u32) -> u64 {
    let mut state = State::new(4, SEED);
    state.a = state.a.wrapping_add(word);
    state.finish()
}

/// The hash of bytes with a seed.
#[must_use]
pub fn of_bytes(bytes: &[u8], seed: u64) -> u64 {
    // Values are at most 1 GB; the length is 32 bits wide there too.
    let mut state = State::new(u32::try_from(bytes.len()).unwrap_or(u32::MAX), seed);
    let mut chunks = bytes.chunks_exact(12);
    for chunk in &mut chunks {
        state.add(word(chunk, 0), word(chunk, 4), word(chunk, 8));
        state.mix();
    }
    let rest = chunks.remainder();
    let mut tail = [0; 12];
    tail[..rest.len()].copy_from_slice(rest);
    // The lowest byte of `c` is left to the length: the last word is moved up by one.
    state.add(word(&tail, 0), word(&tail, 4), word(&tail, 8) << 8);
    state.finish()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

struct State {
    a: u32,
    b: u32,
    c: u32,
}

impl State {
    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    fn new(length: u32, seed: u64) -> Self {
        let begin = GOLDEN.wrapping_add(length);
        let mut state = Self { a: begin, b: begin, c: begin };
        if seed != 0 {
            state.add((seed >> 32) as u32, seed as u32, 0);
            state.mix();
        }
        state
    }

    fn add(&mut self, a: u32, b: u32, c: u32) {
        self.a = self.a.wrapping_add(a);
        self.b = self.b.wrapping_add(b);
        self.c = self.c.wrapping_add(c);
    }

    fn mix(&mut self) {
        for turns in [[4, 6, 8], [16, 19, 4]] {
            self.a = self.a.wrapping_sub(self.c) ^ self.c.rotate_left(turns[0]);
            self.c = self.c.wrapping_add(self.b);
            self.b = self.b.wrapping_sub(self.a) ^ self.a.rotate_left(turns[1]);
            self.a = self.a.wrapping_add(self.c);
            self.c = self.c.wrapping_sub(self.b) ^ self.b.rotate_left(turns[2]);
            self.b = self.b.wrapping_add(self.a);
        }
    }

    fn finish(mut self) -> u64 {
        self.c = (self.c ^ self.b).wrapping_sub(self.b.rotate_left(14));
        self.a = (self.a ^ self.c).wrapping_sub(self.c.rotate_left(11));
        self.b = (self.b ^ self.a).wrapping_sub(self.a.rotate_left(25));
        self.c = (self.c ^ self.b).wrapping_sub(self.b.rotate_left(16));
        self.a = (self.a ^ self.c).wrapping_sub(self.c.rotate_left(4));
        self.b = (self.b ^ self.a).wrapping_sub(self.a.rotate_left(14));
        self.c = (self.c ^ self.b).wrapping_sub(self.b.rotate_left(24));
        u64::from(self.b) << 32 | u64::from(self.c)
    }
}

#[cfg(test)]
mod tests;
