//! What a rule says of caching, and what a statement's result depends on and changes, as far as its text shows.

mod plan;
mod row_tag;
mod template;
mod who;

use std::fmt;
use std::time::Duration;

pub use plan::{Change, Dependence, KeyColumn, Pinned, Reads, Writes, reads, writes};
pub use row_tag::RowTag;
pub use template::{TagTemplate, TemplateError, value_of};
pub use who::{AsksWho, identity_sensitive};

/// Who shares an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scope {
    /// Sessions with the same role in force (`SET ROLE` or else the user).
    #[default]
    Role,
    /// Sessions of the same user with the same role in force.
    User,
    /// All sessions: for relations that everybody may read alike, which the rule's author vouches for.
    Shared,
}

impl Scope {
    /// Its word in policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::User => "user",
            Self::Shared => "shared",
        }
    }

    /// The scope that a word means.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        [Self::Role, Self::User, Self::Shared].into_iter().find(|scope| scope.name() == word)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What of a session is in the key besides what always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyPart {
    /// The user who logged in.
    User,
    /// `application_name`.
    Application,
    /// The client's address.
    Client,
}

impl KeyPart {
    /// Its word in policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Application => "application",
            Self::Client => "client",
        }
    }

    /// The part that a word means.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        [Self::User, Self::Application, Self::Client].into_iter().find(|part| part.name() == word)
    }
}

/// How the reads that a rule matches are cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caching {
    /// How long an entry is fresh.
    pub ttl: Duration,
    /// After that, how long it is served while one session fetches it anew.
    pub stale_while_revalidate: Duration,
    /// What else is in the key.
    pub key_by: Vec<KeyPart>,
    /// Further tags, with the statement's own values.
    pub tags: Vec<TagTemplate>,
    /// A query whose rows name further tags, with the statement's own values in braces.
    pub tags_from: Option<TagTemplate>,
    /// Columns by whose values writes are told apart.
    pub invalidate_by: Vec<Box<str>>,
    /// Tables whose changes plugins name by tags: where they named tags of a result, it does not depend on all rows of these
    /// because its text reads them.
    pub plugin_tables: Vec<Box<str>>,
    /// Who shares entries.
    pub scope: Scope,
    /// The largest result that is kept, in bytes; none: as large as the cache keeps.
    pub max_entry: Option<usize>,
    /// How far what is served may lag behind writes that did not pass through here; none: until `ttl`.
    pub max_staleness: Option<Duration>,
}

/// `30s per role; stale for 10s; by agent_id; tags feed:{agent_id}`
impl fmt::Display for Caching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} per {}", self.ttl, self.scope)?;
        for part in &self.key_by {
            write!(f, ", {}", part.name())?;
        }
        if !self.stale_while_revalidate.is_zero() {
            write!(f, "; stale for {:?}", self.stale_while_revalidate)?;
        }
        if !self.invalidate_by.is_empty() {
            write!(f, "; by {}", self.invalidate_by.join(", "))?;
        }
        for tag in &self.tags {
            write!(f, "; tag {tag}")?;
        }
        if let Some(query) = &self.tags_from {
            write!(f, "; tags from {query}")?;
        }
        if !self.plugin_tables.is_empty() {
            write!(f, "; plugins name changes of {}", self.plugin_tables.join(", "))?;
        }
        if let Some(bytes) = self.max_entry {
            write!(f, "; at most {bytes} bytes")?;
        }
        if let Some(most) = self.max_staleness {
            write!(f, "; at most {most:?} behind")?;
        }
        Ok(())
    }
}
