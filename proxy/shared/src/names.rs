//! What things are called in the store. Names of tags are of fixed form so that a script can make them, too.

use pointsman_cache::{Key, Tag};

#[derive(Debug)]
pub(crate) struct Names {
    /// Before the hex digits of a tag's number.
    pub(crate) tags: String,
    entries: String,
    /// The channel of the bus.
    pub(crate) bus: String,
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { tags: format!("{prefix}t:"), entries: format!("{prefix}e:"), bus: format!("{prefix}bus") }
    }

    /// Where a tag's generation is: 8 bytes.
    pub(crate) fn tag(&self, tag: Tag) -> Vec<u8> {
        named(&self.tags, &tag.number().to_be_bytes())
    }

    pub(crate) fn entry(&self, key: Key<'_>) -> Vec<u8> {
        named(&self.entries, &key.digest())
    }
}

fn named(prefix: &str, bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut name = Vec::with_capacity(prefix.len() + bytes.len() * 2);
    name.extend_from_slice(prefix.as_bytes());
    for byte in bytes {
        name.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_named_by_its_number() {
        let names = Names::new("p:");
        assert_eq!(names.tag(Tag::from_number(0x0123_4567_89ab_cdef)), b"p:t:0123456789abcdef");
        assert_eq!(names.entry(Key::new(b"k")).len(), "p:e:".len() + 32);
    }
}
