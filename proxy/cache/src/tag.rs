//! Tags: what an entry depends on and what a write changes, as 64-bit numbers.
//!
//! An entry that reads a relation at large carries the relation's tag, which every change of it marks. An entry whose
//! rows of a relation are pinned by a key carries that key's tag and the relation's [`TagKind::Whole`], which only a
//! change of unknown keys marks. Tags that collide invalidate each other's entries: too much, never too little.

mod value;

pub use value::{KEY_BYTES_MAX, KeyText, KeyType};

use crate::hash::stable;

/// What a tag stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TagKind {
    /// Any change of a relation.
    Relation,
    /// A change of a relation of which not every key is known: `TRUNCATE`, DDL, a write by another predicate.
    Whole,
    /// A change of rows with one value in one column.
    Key,
    /// A name from policy or a plugin, such as `feed:42`.
    Name,
}

/// A tag: its kind in the low two bits, a hash above. The same in every process, so that a fleet can share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(u64);

impl Tag {
    fn new(kind: TagKind, hash: u64) -> Self {
        Self(hash & !3 | kind as u64)
    }

    /// A name from policy, within one database.
    #[must_use]
    pub fn named(database: &[u8], name: &[u8]) -> Self {
        Self::new(TagKind::Name, stable(stable(TagKind::Name as u64, database), name))
    }

    /// What it stands for.
    #[must_use]
    pub fn kind(self) -> TagKind {
        match self.0 & 3 {
            0 => TagKind::Relation,
            1 => TagKind::Whole,
            2 => TagKind::Key,
            _ => TagKind::Name,
        }
    }

    /// The number, as [`Tag::from_number`] takes it.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// A tag from its number.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }
}

/// A relation, hashed once, from which the tags of its keys are made. Everybody must name it alike: with its schema, or
/// the family that `policy` knows it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RelationTags(u64);

impl RelationTags {
    /// The relation of this name in this database.
    #[must_use]
    pub fn new(database: &[u8], schema: &[u8], name: &[u8]) -> Self {
        Self(stable(stable(stable(8, database), schema), name))
    }

    /// Any change of it.
    #[must_use]
    pub fn relation(self) -> Tag {
        Tag::new(TagKind::Relation, self.0)
    }

    /// A change of it whose keys are not all known.
    #[must_use]
    pub fn whole(self) -> Tag {
        Tag::new(TagKind::Whole, self.0)
    }

    /// A change of rows with this value in this column. `value` is the canonical text that [`KeyType`] makes.
    #[must_use]
    pub fn key(self, column: &[u8], value: &[u8]) -> Tag {
        Tag::new(TagKind::Key, stable(stable(self.0, column), value))
    }
}

/// A set with more tags than this is everything: one that big costs more to check than to fetch anew.
pub const TAGS_MAX: usize = 256;

/// A set of tags, or everything. Kept by a session and cleared between uses, it allocates nothing when warm.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags {
    tags: Vec<Tag>,
    everything: bool,
}

impl Tags {
    /// No tags.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is written when nobody knows which relations.
    #[must_use]
    pub fn everything() -> Self {
        Self { tags: Vec::new(), everything: true }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.tags.clear();
        self.everything = false;
    }

    /// Adds a tag.
    pub fn add(&mut self, tag: Tag) {
        if self.tags.contains(&tag) {
            return;
        }
        if self.tags.len() < TAGS_MAX {
            self.tags.push(tag);
        } else {
            self.everything = true;
        }
    }

    /// The whole database is meant from now on.
    pub fn add_everything(&mut self) {
        self.everything = true;
    }

    /// Adds all of another set.
    pub fn add_all(&mut self, other: &Self) {
        self.everything |= other.everything;
        for tag in &other.tags {
            self.add(*tag);
        }
    }

    /// A read of a relation at large.
    pub fn reads(&mut self, relation: RelationTags) {
        self.add(relation.relation());
    }

    /// A read of a relation's rows with one value in one column.
    pub fn reads_key(&mut self, relation: RelationTags, column: &[u8], value: &[u8]) {
        self.add(relation.whole());
        self.add(relation.key(column, value));
    }

    /// A write to a relation, not known to which keys.
    pub fn writes(&mut self, relation: RelationTags) {
        self.add(relation.relation());
        self.add(relation.whole());
    }

    /// A write to rows with one value in one column. To be called for every column that entries are keyed by, with the
    /// old and the new value; where one of them is not known, [`Tags::writes`] instead.
    pub fn writes_key(&mut self, relation: RelationTags, column: &[u8], value: &[u8]) {
        self.add(relation.relation());
        self.add(relation.key(column, value));
    }

    /// The tags; not all that is meant if [`Tags::is_everything`].
    #[must_use]
    pub fn as_slice(&self) -> &[Tag] {
        &self.tags
    }

    /// Whether the whole database is meant.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Whether nothing is meant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty() && !self.everything
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_survive() {
        let agents = RelationTags::new(b"app", b"public", b"agents");
        let tags =
            [agents.relation(), agents.whole(), agents.key(b"id", b"7"), Tag::named(b"app", b"feed:7")];
        let kinds = [TagKind::Relation, TagKind::Whole, TagKind::Key, TagKind::Name];
        assert_eq!(tags.map(Tag::kind), kinds);
        assert_eq!(tags.map(|tag| Tag::from_number(tag.number())), tags);
    }

    #[test]
    fn too_many_tags_are_everything() {
        let agents = RelationTags::new(b"app", b"public", b"agents");
        let mut tags = Tags::new();
        for key in 0..TAGS_MAX {
            tags.add(agents.key(b"id", key.to_string().as_bytes()));
        }
        assert!(!tags.is_everything());
        tags.add(agents.key(b"id", b"0"));
        assert!(!tags.is_everything());
        tags.add(agents.relation());
        assert!(tags.is_everything() && tags.as_slice().len() == TAGS_MAX);
    }

    #[test]
    fn every_part_of_a_name_counts() {
        let agents = RelationTags::new(b"app", b"public", b"agents");
        assert_ne!(agents, RelationTags::new(b"app", b"publica", b"gents"));
        assert_ne!(agents, RelationTags::new(b"other", b"public", b"agents"));
        assert_ne!(agents.key(b"id", b"7"), agents.key(b"id", b"8"));
        assert_ne!(agents.key(b"id", b"7"), agents.key(b"id7", b""));
        assert_ne!(Tag::named(b"app", b"feed:7"), Tag::named(b"other", b"feed:7"));
    }

    #[test]
    fn a_key_and_its_relation_meet_where_they_must() {
        let agents = RelationTags::new(b"app", b"public", b"agents");
        let make = |fill: &dyn Fn(&mut Tags)| {
            let mut tags = Tags::new();
            fill(&mut tags);
            tags
        };
        let meet =
            |left: &Tags, right: &Tags| left.as_slice().iter().any(|tag| right.as_slice().contains(tag));
        let (large, seven) = (make(&|t| t.reads(agents)), make(&|t| t.reads_key(agents, b"id", b"7")));
        let (any, to_seven) = (make(&|t| t.writes(agents)), make(&|t| t.writes_key(agents, b"id", b"7")));
        let to_eight = make(&|t| t.writes_key(agents, b"id", b"8"));
        assert!(
            meet(&any, &large) && meet(&any, &seven) && meet(&to_seven, &large) && meet(&to_seven, &seven)
        );
        assert!(meet(&to_eight, &large) && !meet(&to_eight, &seven));
    }
}
