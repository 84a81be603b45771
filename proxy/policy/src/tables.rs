//! What policies say of tables.

pub(crate) mod read;

use std::sync::Arc;

use pointsman_shards::{Placement, Sharded};
use pointsman_sql::{Facts, Relation};

use crate::pattern::NamePattern;

/// What the policies of a set say of tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tables {
    entries: Vec<(NamePattern, TableFacts)>,
    placements: Vec<(NamePattern, Placement)>,
}

/// What a policy says of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableFacts {
    /// `large: true`.
    pub large: bool,
    /// `read_from: primary`.
    pub read_from_primary: bool,
}

impl Tables {
    /// Adds what is said of the tables that a pattern means.
    pub(crate) fn add(&mut self, pattern: NamePattern, facts: TableFacts) {
        self.entries.push((pattern, facts));
    }

    /// Adds another policy's.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.entries.extend(other.entries.iter().cloned());
        self.placements.extend(other.placements.iter().cloned());
    }

    /// Adds where the tables live that a pattern means.
    pub(crate) fn place(&mut self, pattern: NamePattern, placement: Placement) {
        self.placements.push((pattern, placement));
    }

    /// Where a relation's rows live: as the first says that means it, of all policies in their order. What none means is
    /// unsharded.
    #[must_use]
    pub fn placement(&self, relation: &Relation) -> Placement {
        let means = |(pattern, _): &&(NamePattern, Placement)| {
            pattern.matches(relation.schema.as_deref(), &relation.name)
        };
        self.placements.iter().find(means).map_or(Placement::Unsharded, |(_, placement)| placement.clone())
    }

    /// Whether it is said of any table that it is on more than the first shard.
    #[must_use]
    pub fn are_sharded(&self) -> bool {
        self.placements.iter().any(|(_, placement)| *placement != Placement::Unsharded)
    }

    /// The tables whose functions name shards, each with the highest number named, from 0: there must be more shards than that.
    pub fn shards_named(&self) -> impl Iterator<Item = (&NamePattern, usize)> {
        self.placements.iter().filter_map(|(pattern, placement)| match placement {
            Placement::Sharded(sharded) => Some((pattern, sharded.function.highest()?)),
            Placement::Unsharded | Placement::Reference => None,
        })
    }

    /// The tables that are spread over shards.
    pub fn sharded(&self) -> impl Iterator<Item = (&NamePattern, &Arc<Sharded>)> {
        self.placements.iter().filter_map(|(pattern, placement)| match placement {
            Placement::Sharded(sharded) => Some((pattern, sharded)),
            Placement::Unsharded | Placement::Reference => None,
        })
    }

    /// What is said of a relation by any policy.
    #[must_use]
    pub fn of(&self, relation: &Relation) -> TableFacts {
        let mut all = TableFacts::default();
        for (pattern, facts) in &self.entries {
            if pattern.matches(relation.schema.as_deref(), &relation.name) {
                all.large |= facts.large;
                all.read_from_primary |= facts.read_from_primary;
            }
        }
        all
    }

    /// Whether a relation is declared large.
    #[must_use]
    pub fn is_large(&self, relation: &Relation) -> bool {
        self.of(relation).large
    }

    /// Whether any table is read from the primary only.
    pub(crate) fn keep_some_on_primary(&self) -> bool {
        self.entries.iter().any(|(_, facts)| facts.read_from_primary)
    }

    /// Whether a table of a text is read from the primary only.
    #[must_use]
    pub fn keep_on_primary(&self, facts: &Facts) -> bool {
        let mut reads = facts.statements.iter().flat_map(|statement| &statement.reads);
        reads.any(|relation| self.of(relation).read_from_primary)
    }
}
