//! An entry: the wire bytes of a result, what it depends on, and how long it may be served.

use std::sync::Arc;

use bytes::Bytes;

use crate::key::Key;
use crate::ledger::Seq;
use crate::tag::Tag;
use pointsman_policy::Scope;

/// A time in milliseconds, of a clock that never goes back and that all callers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// Milliseconds since `earlier`; none if that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A result as the server sent it: whole messages, shared by all who are served.
///
/// To a `Query`: `description`, `rows`. To `Execute`: `rows`; to a `Describe` of the portal: `description`, or `NoData`;
/// of the statement: `parameters` before it. `ParseComplete`, `BindComplete` and `ReadyForQuery` are the session's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parts {
    /// `ParameterDescription`, if it was asked for.
    pub parameters: Option<Bytes>,
    /// `RowDescription`, if it was seen.
    pub description: Option<Bytes>,
    /// Each `DataRow`, and the `CommandComplete`.
    pub rows: Bytes,
}

impl Parts {
    /// How many bytes they are.
    #[must_use]
    pub fn len(&self) -> usize {
        let optional = [&self.parameters, &self.description];
        self.rows.len() + optional.into_iter().flatten().map(Bytes::len).sum::<usize>()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How long an entry lives, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lifetime {
    /// Until it is no longer fresh.
    pub ttl: u64,
    /// After that, until it is no longer served at all while somebody fetches it anew.
    pub stale_while_revalidate: u64,
}

/// What time makes of an entry. Whether it was invalidated is another question, and the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// To be served.
    Fresh,
    /// To be served while one session fetches it anew.
    Stale,
    /// Not to be served.
    Expired,
}

/// A stored result.
#[derive(Debug)]
pub struct Entry {
    pub(crate) key: Box<[u8]>,
    pub(crate) hash: u64,
    tags: Box<[Tag]>,
    stamp: Seq,
    created: Millis,
    as_of: Millis,
    lifetime: Lifetime,
    scope: Scope,
    parts: Parts,
}

/// What an entry is besides its key and parts.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// From the ledger's `end_fill`.
    pub stamp: Seq,
    /// What it depends on: those given to `end_fill`.
    pub tags: &'a [Tag],
    /// When its query was *sent*: it is no younger than that.
    pub created: Millis,
    /// It shows everything that was committed before: as `created`, unless it was read where that was not there yet.
    pub as_of: Millis,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// Who shares it.
    pub scope: Scope,
}

/// What a place in the store takes beside what the entry itself has on the heap: its handles in the table, with the table's
/// room to grow and the memory of keys that were pushed out; the heads of four or five pieces on the heap; the control
/// blocks of shared bytes. Measured by `tests/overhead.rs`.
const PLACE_BYTES: usize = 176;

impl Entry {
    /// An entry, shared.
    #[must_use]
    pub fn new(key: Key<'_>, parts: Parts, about: About<'_>) -> Arc<Self> {
        Arc::new(Self {
            key: key.bytes().into(),
            hash: key.hash(),
            tags: about.tags.into(),
            stamp: about.stamp,
            created: about.created,
            as_of: about.as_of,
            lifetime: about.lifetime,
            scope: about.scope,
            parts,
        })
    }

    /// The wire bytes.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The key's bytes.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The ledger's number when its fill began.
    #[must_use]
    pub fn stamp(&self) -> Seq {
        self.stamp
    }

    /// What it depends on.
    #[must_use]
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// Who shares it.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// When its query was sent.
    #[must_use]
    pub fn created(&self) -> Millis {
        self.created
    }

    /// Everything that was committed before this is in it.
    #[must_use]
    pub fn as_of(&self) -> Millis {
        self.as_of
    }

    /// How long it lives.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// What time makes of it.
    #[must_use]
    pub fn age(&self, now: Millis) -> Age {
        let age = now.since(self.created);
        if age < self.lifetime.ttl {
            Age::Fresh
        } else if age < self.lifetime.ttl.saturating_add(self.lifetime.stale_while_revalidate) {
            Age::Stale
        } else {
            Age::Expired
        }
    }

    /// All the memory that it takes, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>() + PLACE_BYTES + self.key.len() + size_of_val(&*self.tags) + self.parts.len()
    }
}
