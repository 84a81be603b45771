//! An entry's form in a shared store: a header of fixed length, tags, key, parts; compressed from some size on. Whoever
//! reads it trusts nothing: what is short, changed, of another version or of another key is an error, and so a miss.
//!
//! Numbers are little-endian. Header: magic (4 bytes), version, flags, scope, zero (1 each), checksum of all after it,
//! time of creation, time to live, stale time (8 each), WAL position (8), era (8), number of tags, bytes of key, of each part
//! (4 each; all ones where a part is missing), bytes of the body uncompressed (4). Then for each tag its number and its
//! generation (8 each), the key, the body.

use bytes::Bytes;

use crate::entry::{Lifetime, Parts};
use crate::hash::stable;
use crate::ledger::{Era, Lsn};
use crate::tag::{TAGS_MAX, Tag};
use pointsman_policy::Scope;

const MAGIC: [u8; 4] = *b"PMce";
/// Raised whenever the form or the meaning of tags, keys or hashes changes.
pub const VERSION: u8 = 1;
/// What every entry that [`decode`] can read begins with.
pub const HEAD: [u8; 5] = [MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3], VERSION];
/// Where the number of tags is (4 bytes) and where they begin (16 bytes each: number, generation), for whoever compares
/// generations without reading the rest, as a script in the store does.
pub const TAGS_COUNT_AT: usize = CHECKED_FROM + 5 * 8;
/// See [`TAGS_COUNT_AT`].
pub const TAGS_AT: usize = HEADER;
const COMPRESSED: u8 = 1;
const HEADER: usize = 16 + 5 * 8 + 6 * 4;
const MISSING: u32 = u32::MAX;
/// Where the checksum ends, and what it covers begins.
const CHECKED_FROM: usize = 16;
/// Bodies are compressed from this size on where nothing else is asked for.
pub const COMPRESS_FROM_DEFAULT: usize = 4096;

/// An entry as the fleet shares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portable {
    /// Milliseconds since 1970, by the clock of whoever stored it, when its query was sent.
    pub created_unix: u64,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// Who shares it.
    pub scope: Scope,
    /// Up to where the WAL had surely been read, 0 where that is not known.
    pub position: Lsn,
    /// The primary's reign in which it was read.
    pub era: Era,
    /// Each tag with its generation in the shared store when the fill began.
    pub tags: Vec<(Tag, u64)>,
    /// The wire bytes.
    pub parts: Parts,
}

/// Why bytes are no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unreadable {
    /// Fewer bytes than it says, or more.
    #[error("not as long as it says")]
    Length,
    /// Not one of ours.
    #[error("not an entry")]
    Magic,
    /// Written by another version.
    #[error("of another version")]
    Version,
    /// Changed since it was written.
    #[error("its checksum is wrong")]
    Checksum,
    /// A field holds what is never written.
    #[error("a field makes no sense")]
    Field,
    /// Of another key.
    #[error("of another key")]
    Key,
    /// More than an entry may be.
    #[error("larger than an entry may be")]
    TooLarge,
    /// The compressed body cannot be read.
    #[error("its body cannot be decompressed")]
    Compression,
}

/// Writes an entry. `None` if a part is too long for its field.
#[must_use]
pub fn encode(entry: &Portable, key: &[u8], compress_from: usize) -> Option<Vec<u8>> {
    let Parts { parameters, description, rows } = &entry.parts;
    let body: Vec<&[u8]> =
        [parameters, description].into_iter().flatten().chain([rows]).map(|p| &p[..]).collect();
    let body = body.concat();
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).ok().filter(|length| *length != MISSING);
    let optional = |part: &Option<Bytes>| part.as_ref().map_or(Some(MISSING), |part| length(part));
    let raw = length(&body)?;
    let packed = (body.len() >= compress_from).then(|| lz4_flex::block::compress(&body));
    let packed = packed.filter(|packed| packed.len() < body.len());
    let flags = if packed.is_some() { COMPRESSED } else { 0 };
    let mut out = Vec::with_capacity(HEADER + entry.tags.len() * 16 + key.len() + body.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, flags, entry.scope as u8, 0]);
    out.extend_from_slice(&[0; 8]);
    let Lifetime { ttl, stale_while_revalidate } = entry.lifetime;
    for number in [entry.created_unix, ttl, stale_while_revalidate, entry.position.0, entry.era.0] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let tags = u32::try_from(entry.tags.len()).ok().filter(|_| entry.tags.len() <= TAGS_MAX)?;
    for number in [tags, length(key)?, optional(parameters)?, optional(description)?, length(rows)?, raw] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for (tag, generation) in &entry.tags {
        out.extend_from_slice(&tag.number().to_le_bytes());
        out.extend_from_slice(&generation.to_le_bytes());
    }
    out.extend_from_slice(key);
    out.extend_from_slice(packed.as_deref().unwrap_or(&body));
    let checksum = checksum(&out);
    out[8..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
    Some(out)
}

/// The bytes before the checksum count too.
fn checksum(bytes: &[u8]) -> u64 {
    stable(stable(u64::from(VERSION), &bytes[..8]), &bytes[CHECKED_FROM..])
}

/// Reads an entry of this key, whose parts may be `body_max` bytes. Uncompressed parts share `bytes`.
pub fn decode(bytes: &Bytes, key: &[u8], body_max: usize) -> Result<Portable, Unreadable> {
    let header = bytes.get(..HEADER).ok_or(Unreadable::Length)?;
    if header[..4] != MAGIC {
        return Err(Unreadable::Magic);
    }
    if header[4] != VERSION {
        return Err(Unreadable::Version);
    }
    if header[8..CHECKED_FROM] != checksum(bytes).to_le_bytes() {
        return Err(Unreadable::Checksum);
    }
    let (flags, scope) = (header[5], header[6]);
    let scope = [Scope::Role, Scope::User, Scope::Shared].into_iter().find(|known| *known as u8 == scope);
    let scope = scope.filter(|_| flags & !COMPRESSED == 0 && header[7] == 0).ok_or(Unreadable::Field)?;
    let mut rest = Reader(&bytes[CHECKED_FROM..]);
    let [created_unix, ttl, stale_while_revalidate, position, era] = rest.numbers64()?;
    let [tags, key_length, parameters, description, rows, raw] = rest.numbers32()?;
    if tags as usize > TAGS_MAX {
        return Err(Unreadable::Field);
    }
    let tag = |_| rest.numbers64().map(|[tag, generation]| (Tag::from_number(tag), generation));
    let tags = (0..tags).map(tag).collect::<Result<Vec<_>, _>>()?;
    if rest.take(key_length as usize)? != key {
        return Err(Unreadable::Key);
    }
    let body = bytes.slice(bytes.len() - rest.0.len()..);
    let body = unpack(body, flags & COMPRESSED != 0, raw as usize, body_max)?;
    Ok(Portable {
        created_unix,
        lifetime: Lifetime { ttl, stale_while_revalidate },
        scope,
        position: Lsn(position),
        era: Era(era),
        tags,
        parts: split(body, parameters, description, rows)?,
    })
}

fn unpack(body: Bytes, compressed: bool, raw: usize, body_max: usize) -> Result<Bytes, Unreadable> {
    if raw > body_max {
        return Err(Unreadable::TooLarge);
    }
    if !compressed {
        return if body.len() == raw { Ok(body) } else { Err(Unreadable::Length) };
    }
    let mut plain = vec![0; raw];
    match lz4_flex::block::decompress_into(&body, &mut plain) {
        Ok(length) if length == raw => Ok(plain.into()),
        _ => Err(Unreadable::Compression),
    }
}

fn split(mut body: Bytes, parameters: u32, description: u32, rows: u32) -> Result<Parts, Unreadable> {
    let mut part = |length: u32| {
        let length = length as usize;
        if length > body.len() { Err(Unreadable::Length) } else { Ok(body.split_to(length)) }
    };
    let mut optional = |length: u32| if length == MISSING { Ok(None) } else { part(length).map(Some) };
    let (parameters, description) = (optional(parameters)?, optional(description)?);
    let rows = part(rows)?;
    if body.is_empty() { Ok(Parts { parameters, description, rows }) } else { Err(Unreadable::Length) }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Unreadable::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn numbers64<const N: usize>(&mut self) -> Result<[u64; N], Unreadable> {
        let mut numbers = [0; N];
        let (words, _) = self.take(N * 8)?.as_chunks::<8>();
        for (number, word) in numbers.iter_mut().zip(words) {
            *number = u64::from_le_bytes(*word);
        }
        Ok(numbers)
    }

    fn numbers32<const N: usize>(&mut self) -> Result<[u32; N], Unreadable> {
        let mut numbers = [0; N];
        let (words, _) = self.take(N * 4)?.as_chunks::<4>();
        for (number, word) in numbers.iter_mut().zip(words) {
            *number = u32::from_le_bytes(*word);
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests;
