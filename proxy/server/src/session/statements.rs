//! Prepared statements: one global name for each text with its parameter types, and the names each client gave them.
//!
//! A client's name never reaches a server. A statement is prepared on a server connection under its global name when
//! it is first used there, and stays until it is pushed out by others.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use bytes::{BufMut, Bytes, BytesMut};
use hashbrown::HashMap;
use lru::LruCache;
use pointsman_policy::catalog::Catalog;
use pointsman_sql::Facts;
use pointsman_wire::Oids;
use pointsman_wire::frontend::Parse;

use super::configs::ConfigCalls;
use super::judge::{Judged, Verdict, Verdicts};
use super::notes::Note;
use crate::upstream::database::Database;
use crate::upstream::settings::Interned;

/// What global names begin with.
pub const GLOBAL_PREFIX: &str = "__pointsman_";
/// Texts remembered; one that is forgotten and prepared anew gets another global name.
const KEPT_MAX: usize = 10_000;

/// How a statement was prepared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// By `Parse`: the text, and the parameter types as sent (big-endian OIDs).
    Protocol {
        /// The statement's text.
        sql: Bytes,
        /// The parameter types.
        types: Bytes,
        /// What it was prepared under.
        under: Under,
    },
    /// By SQL `PREPARE`: the part after the name, from the types' parenthesis or `AS` on.
    Sql {
        /// `(types) AS body`, or `AS body`.
        tail: Bytes,
        /// What it was prepared under.
        under: Under,
    },
}

/// What a statement was prepared under: the same text under something else is another statement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Under {
    /// The settings that may change what a text means: PostgreSQL reads constants, for one, when it parses.
    pub settings: Interned,
    /// The definitions, by their number: a client keeps what it was told of.
    pub epoch: u64,
    /// Not 0 if the settings are not known, since they change in the same pipeline: the statement is shared with nobody.
    pub alone: u64,
}

impl Origin {
    /// What the statement was prepared under.
    pub fn under(&self) -> &Under {
        match self {
            Self::Protocol { under, .. } | Self::Sql { under, .. } => under,
        }
    }
}

/// A prepared statement, shared by all clients that prepared the same.
#[derive(Debug)]
pub struct Prepared {
    /// Its number in this process; never 0.
    pub id: u64,
    /// Its name on server connections.
    pub global: Bytes,
    /// How it was prepared.
    pub origin: Origin,
    /// What it reads, writes and calls; of a SQL `PREPARE`, the facts of its body.
    pub facts: Arc<Facts>,
    /// Its `set_config` calls.
    pub configs: ConfigCalls,
    /// How many literals its text has.
    pub literals: u32,
    /// What the facts meant under the catalog last asked of each database.
    verdicts: ArcSwap<Verdicts>,
    /// The types of its parameters, once a server has told of them.
    types: OnceLock<Box<[u32]>>,
}

impl Prepared {
    /// What its facts mean under this catalog.
    pub fn verdict(&self, catalog: &Catalog) -> Arc<Verdict> {
        if let Some(verdict) = self.verdicts.load().of(catalog) {
            return Arc::clone(verdict);
        }
        let verdict = Arc::new(Verdict::new(&self.facts, catalog));
        self.verdicts.rcu(|known| {
            let mut known = Verdicts::clone(known);
            known.remember(Arc::clone(&verdict));
            known
        });
        verdict
    }

    /// The types of its parameters, if a server has told of them.
    pub fn told_types(&self) -> Option<&[u32]> {
        self.types.get().map(|types| &**types)
    }

    /// A server tells of the types of its parameters: the body of a `ParameterDescription`.
    pub fn note_types(&self, body: &[u8]) {
        self.types.get_or_init(|| {
            let raw = body.get(2..).unwrap_or_default();
            let (words, _) = raw.as_chunks::<4>();
            words.iter().map(|word| u32::from_be_bytes(*word)).collect()
        });
    }

    /// Whether preparing it again may give other columns than its client was told of: it selects `*`, and one of its
    /// relations was altered since.
    pub fn may_give_other_columns(&self, database: &Database) -> bool {
        let (Origin::Protocol { sql: text, under, .. } | Origin::Sql { tail: text, under }) = &self.origin;
        let relations = self.facts.statements.iter().flat_map(|one| one.reads.iter().chain(&one.writes));
        text.contains(&b'*') && database.altered_since(under.epoch, relations.map(|relation| &*relation.name))
    }

    /// Whether it was prepared under the definitions of this number.
    pub fn is_of(&self, epoch: u64) -> bool {
        self.origin.under().epoch == epoch
    }

    /// The `Parse` that prepares it on a server connection.
    pub fn parse(&self, sql: &[u8], types: &[u8], out: &mut BytesMut) {
        let parameter_types = Oids::from_raw(types).unwrap_or(Oids::EMPTY);
        Parse { name: &self.global, sql, parameter_types }.encode(out);
    }

    /// `PREPARE global (types) AS body`; of a protocol statement, its own text.
    pub fn prepare_statement(&self) -> Vec<u8> {
        match &self.origin {
            Origin::Protocol { sql, .. } => sql.to_vec(),
            Origin::Sql { tail, .. } => {
                let mut sql = BytesMut::with_capacity(tail.len() + 32);
                sql.put_slice(b"PREPARE ");
                sql.put_slice(&self.global);
                sql.put_slice(b" ");
                sql.put_slice(tail);
                sql.to_vec()
            }
        }
    }
}

/// The name on server connections of the statement with this number.
pub fn global_name(id: u64) -> Bytes {
    Bytes::from(format!("{GLOBAL_PREFIX}{id}"))
}

/// Whether a client's own name could be taken for a global one.
pub fn looks_global(name: &[u8]) -> bool {
    name.starts_with(GLOBAL_PREFIX.as_bytes())
}

/// The prepared statements, by text and types: the most recently prepared ones, whoever holds them. Locked when a
/// statement is prepared, never when it is used.
#[derive(Debug)]
pub struct Registry {
    known: Mutex<LruCache<Origin, Arc<Prepared>>>,
    last: AtomicU64,
}

impl Default for Registry {
    fn default() -> Self {
        let kept = NonZeroUsize::new(KEPT_MAX).unwrap_or(NonZeroUsize::MIN);
        Self { known: Mutex::new(LruCache::new(kept)), last: AtomicU64::new(0) }
    }
}

impl Registry {
    /// A number for an unnamed statement.
    pub fn next_id(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The statement of this origin.
    pub fn get(&self, origin: Origin, judged: &Judged) -> Arc<Prepared> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = known.get(&origin) {
            return Arc::clone(prepared);
        }
        let id = self.next_id();
        let global = global_name(id);
        let prepared = Arc::new(Prepared {
            id,
            global,
            origin: origin.clone(),
            facts: Arc::clone(&judged.facts),
            configs: judged.configs.clone(),
            literals: judged.literals,
            verdicts: ArcSwap::default(),
            types: OnceLock::new(),
        });
        known.put(origin, Arc::clone(&prepared));
        prepared
    }
}

/// The unnamed statement of a client.
#[derive(Debug, Clone)]
pub struct Unnamed {
    /// Its number: a server connection that has the same holds this very statement.
    pub id: u64,
    /// The body of its `Parse`.
    pub parse: Bytes,
    /// Its facts.
    pub facts: Arc<Facts>,
    /// What they mean.
    pub verdict: Arc<Verdict>,
    /// Its `set_config` calls.
    pub configs: ConfigCalls,
    /// How many literals its text has.
    pub literals: u32,
}

impl UnnamedBefore {
    /// PostgreSQL drops the unnamed statement before it parses the next: there is no way back.
    pub fn forget(&mut self) {
        self.before = None;
    }
}

impl Unnamed {
    /// What its facts mean under this catalog.
    pub fn verdict_under(&self, catalog: &Catalog) -> Arc<Verdict> {
        self.verdict.under(&self.facts, catalog)
    }
}

/// A client's statements.
#[derive(Debug, Default)]
pub struct Statements {
    named: HashMap<Box<[u8]>, Arc<Prepared>>,
    /// Two names stand, or stood, for one statement.
    ambiguous: bool,
    /// Statements that stand on the session's own connection under the client's own names.
    own: HashMap<Box<[u8]>, (Judged, Bytes)>,
    unnamed: Option<Box<Unnamed>>,
    /// Counts the changes of the unnamed one.
    unnamed_changes: u64,
}

/// The unnamed statement before a change, and the number of that change.
#[derive(Debug)]
pub struct UnnamedBefore {
    before: Option<Box<Unnamed>>,
    change: u64,
}

impl Statements {
    /// The statement that a client calls `name`.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Prepared>> {
        self.named.get(name)
    }

    /// What the client calls the statement with this number.
    pub fn name_of(&self, id: u64) -> Option<&[u8]> {
        self.named.iter().find(|(_, prepared)| prepared.id == id).map(|(name, _)| &**name)
    }

    /// What must be remembered beside a message about a statement, so that an error names it as the client does.
    pub fn note_of(&self, name: &[u8]) -> Option<Note> {
        (self.ambiguous && self.named.contains_key(name)).then(|| Note::Named(name.into()))
    }

    /// What is known of a statement under the client's own name on its own connection, and its text.
    pub fn own(&self, name: &[u8]) -> Option<&(Judged, Bytes)> {
        self.own.get(name)
    }

    /// Notes such a statement.
    pub fn define_own(&mut self, name: &[u8], judged: Judged, sql: Bytes) {
        self.own.insert(name.into(), (judged, sql));
    }

    /// Names on the connection were given up: nothing is known of those that are left.
    pub fn forget_own(&mut self) {
        self.own.clear();
    }

    /// How many have names.
    pub fn len(&self) -> usize {
        self.named.len() + self.own.len()
    }

    /// Whether none has a name.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.own.is_empty()
    }

    /// The unnamed one.
    pub fn unnamed(&self) -> Option<&Unnamed> {
        self.unnamed.as_deref()
    }

    /// Replaces the unnamed one, or does away with it.
    pub fn set_unnamed(&mut self, unnamed: Option<Unnamed>) -> UnnamedBefore {
        self.unnamed_changes += 1;
        let before = std::mem::replace(&mut self.unnamed, unnamed.map(Box::new));
        UnnamedBefore { before, change: self.unnamed_changes }
    }

    /// Undoes a change, unless another has followed.
    pub fn restore_unnamed(&mut self, undo: UnnamedBefore) {
        if self.unnamed_changes == undo.change {
            self.unnamed_changes -= 1;
            self.unnamed = undo.before;
        }
    }

    /// Gives a statement a name.
    pub fn define(&mut self, name: &[u8], prepared: Arc<Prepared>) {
        self.ambiguous = self.ambiguous || self.name_of(prepared.id).is_some();
        self.named.insert(name.into(), prepared);
    }

    /// Takes a name away.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Prepared>> {
        self.named.remove(name)
    }
}
