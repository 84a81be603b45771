//! What proxies tell each other: a message of fixed form, so that whatever else is on the channel is known
//! for it.
//!
//! Numbers are little-endian: magic with a version (4 bytes), kind (1), sender, its number, database (8
//! each), then tags (8 each) to the end.

use pointsman_cache::Tag;

use crate::database::DatabaseId;

const MAGIC: [u8; 4] = *b"PMb1";
const HEADER: usize = 4 + 1 + 3 * 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// A proxy's life: another number after each start.
    pub(crate) sender: u64,
    /// One more with each invalidation of this sender, from 1; what else it says repeats the last.
    pub(crate) sequence: u64,
    pub(crate) said: Said,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// It is there.
    Beat,
    /// It leaves, and has nothing more to tell.
    Bye,
    /// All of a database is invalid.
    Everything(DatabaseId),
    /// Some tags are.
    Tags(DatabaseId, Vec<Tag>),
}

impl Said {
    pub(crate) fn is_invalidation(&self) -> bool {
        matches!(self, Self::Everything(_) | Self::Tags(..))
    }
}

impl Message {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, database, tags): (u8, u64, &[Tag]) = match &self.said {
            Said::Beat => (0, 0, &[]),
            Said::Bye => (1, 0, &[]),
            Said::Everything(database) => (2, database.0, &[]),
            Said::Tags(database, tags) => (3, database.0, tags),
        };
        let mut bytes = Vec::with_capacity(HEADER + tags.len() * 8);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(kind);
        for number in
            [self.sender, self.sequence, database].into_iter().chain(tags.iter().map(|t| t.number()))
        {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// `None` of anything but a whole message of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, tags) = bytes.split_at_checked(HEADER)?;
        if header[..4] != MAGIC {
            return None;
        }
        let (numbers, _) = header[5..].as_chunks::<8>();
        let [sender, sequence, database] = *numbers else { return None };
        let (tags, rest) = tags.as_chunks::<8>();
        let tags: Vec<Tag> = tags.iter().map(|tag| Tag::from_number(u64::from_le_bytes(*tag))).collect();
        let database = DatabaseId(u64::from_le_bytes(database));
        let said = match (header[4], database.0, tags.is_empty()) {
            (0, 0, true) => Said::Beat,
            (1, 0, true) => Said::Bye,
            (2, _, true) => Said::Everything(database),
            (3, _, _) => Said::Tags(database, tags),
            _ => return None,
        };
        let message =
            Self { sender: u64::from_le_bytes(sender), sequence: u64::from_le_bytes(sequence), said };
        rest.is_empty().then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_and_nothing_else() {
        let database = DatabaseId::new(b"main", b"app");
        let tags = vec![Tag::named(b"app", b"feed:1"), Tag::named(b"app", b"feed:2")];
        for said in [Said::Beat, Said::Bye, Said::Everything(database), Said::Tags(database, tags)] {
            let message = Message { sender: 7, sequence: u64::MAX, said };
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes), Some(message.clone()));
            for length in 0..bytes.len() {
                let cut = Message::decode(&bytes[..length]);
                // Whole tags may be cut off: no message is ever cut by the store, which sends whole ones.
                assert!(cut.is_none() || (length - HEADER).is_multiple_of(8), "{length}: {cut:?}");
            }
            assert_eq!(Message::decode(&[&bytes[..], b"x"].concat()), None);
            for (at, wrong) in [(0, b'X'), (3, b'2'), (4, 9)] {
                let mut other = bytes.clone();
                other[at] = wrong;
                assert_eq!(Message::decode(&other), None);
            }
        }
    }
}
