//! What policies say of tables.

use pointsman_sql::{Facts, Relation};

use crate::pattern::NamePattern;

/// What the policies of a set say of tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tables {
    entries: Vec<(NamePattern, TableFacts)>,
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

    /// Whether a table of a text is read from the primary only.
    #[must_use]
    pub fn keep_on_primary(&self, facts: &Facts) -> bool {
        let mut reads = facts.statements.iter().flat_map(|statement| &statement.reads);
        reads.any(|relation| self.of(relation).read_from_primary)
    }
}
