//! Kinds of statements by name, as policies know them.

use pointsman_sql::{Kind, NotReadOnly, Statement};

/// A set of verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verbs(u64);

/// What a verb has that conditions may ask for, and what it surely does.
#[derive(Clone, Copy)]
struct Traits {
    /// It may name relations and functions in its text.
    names: bool,
    /// It may have a `WHERE` that facts know.
    filter: bool,
    /// It may have a `LIMIT` that facts know.
    limit: bool,
    /// It never only reads.
    writes: bool,
}

const QUERY: Traits = Traits { names: true, filter: true, limit: true, writes: false };
const LIST: Traits = Traits { names: true, filter: false, limit: true, writes: false };
const COPY_OUT: Traits = Traits { names: true, filter: false, limit: false, writes: false };
const CHANGE: Traits = Traits { names: true, filter: true, limit: false, writes: true };
const WRITE: Traits = Traits { names: true, filter: false, limit: false, writes: true };
/// It touches no data by its own text.
const SESSION: Traits = Traits { names: false, filter: false, limit: false, writes: false };
const OPAQUE: Traits = Traits { names: false, filter: false, limit: false, writes: true };

macro_rules! verbs {
    ($($word:literal $traits:ident),* $(,)?) => {
        /// Every verb, in the order of its bit.
        pub(crate) const VERB_WORDS: &[&str] = &[$($word),*];
        const TRAITS: &[Traits] = &[$($traits),*];
    };
}

verbs! {
    "select" QUERY, "values" LIST, "show" SESSION, "explain" QUERY, "insert" WRITE, "update" CHANGE,
    "delete" CHANGE, "merge" WRITE, "copy_from" WRITE, "copy_to" COPY_OUT, "begin" SESSION, "commit" SESSION,
    "rollback" SESSION, "savepoint" SESSION, "release" SESSION, "rollback_to" SESSION,
    "prepare_transaction" OPAQUE, "commit_prepared" OPAQUE, "rollback_prepared" OPAQUE,
    "set_transaction" SESSION, "set_session_characteristics" SESSION, "set" SESSION, "reset" SESSION,
    "discard" SESSION, "prepare" SESSION, "execute" COPY_OUT, "deallocate" SESSION, "listen" SESSION,
    "unlisten" SESSION, "notify" OPAQUE, "declare" COPY_OUT, "fetch" SESSION, "move" SESSION, "close" SESSION,
    "lock" WRITE, "call" WRITE, "do" OPAQUE, "ddl" WRITE, "truncate" WRITE, "vacuum" OPAQUE, "other" COPY_OUT,
}

impl Verbs {
    /// The verb of this name.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        VERB_WORDS.iter().position(|known| *known == word).map(|at| Self(1 << at))
    }

    /// The verb of a statement.
    #[must_use]
    pub fn of(statement: &Statement) -> Self {
        Self::named(word(statement)).unwrap_or_default()
    }

    /// Both sets.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `others` are here.
    #[must_use]
    pub fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether one of `others` is here.
    #[must_use]
    pub fn meets(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// The names.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        VERB_WORDS.iter().enumerate().filter(move |(at, _)| self.0 >> at & 1 == 1).map(|(_, word)| *word)
    }

    fn traits(self) -> impl Iterator<Item = (&'static str, Traits)> {
        VERB_WORDS
            .iter()
            .zip(TRAITS)
            .enumerate()
            .filter(move |(at, _)| self.0 >> at & 1 == 1)
            .map(|(_, (word, traits))| (*word, *traits))
    }

    /// The first verb that never only reads.
    pub(crate) fn writing(self) -> Option<&'static str> {
        self.traits().find(|(_, traits)| traits.writes).map(|(word, _)| word)
    }

    /// Whether none of them only reads.
    pub(crate) fn all_write(self) -> bool {
        self.traits().all(|(_, traits)| traits.writes)
    }

    /// Whether one of them may name relations and functions.
    pub(crate) fn may_name(self) -> bool {
        self.traits().any(|(_, traits)| traits.names)
    }

    /// Whether one of them may have a `WHERE`.
    pub(crate) fn may_filter(self) -> bool {
        self.traits().any(|(_, traits)| traits.filter)
    }

    /// Whether one of them may have a `LIMIT`.
    pub(crate) fn may_limit(self) -> bool {
        self.traits().any(|(_, traits)| traits.limit)
    }
}

/// A statement's verb.
pub(crate) fn word(statement: &Statement) -> &'static str {
    match &statement.kind {
        Kind::Select => "select",
        Kind::Values => "values",
        Kind::Show(_) => "show",
        Kind::Explain { .. } => "explain",
        Kind::Insert => "insert",
        Kind::Update => "update",
        Kind::Delete => "delete",
        Kind::Merge => "merge",
        Kind::CopyFrom(_) => "copy_from",
        Kind::CopyTo(_) => "copy_to",
        Kind::Begin(_) => "begin",
        Kind::Commit { .. } => "commit",
        Kind::Rollback { .. } => "rollback",
        Kind::Savepoint(_) => "savepoint",
        Kind::Release(_) => "release",
        Kind::RollbackTo(_) => "rollback_to",
        Kind::PrepareTransaction => "prepare_transaction",
        Kind::CommitPrepared => "commit_prepared",
        Kind::RollbackPrepared => "rollback_prepared",
        Kind::SetTransaction(_) => "set_transaction",
        Kind::SetSessionCharacteristics(_) => "set_session_characteristics",
        Kind::Set(_) => "set",
        Kind::Reset(_) | Kind::ResetAll => "reset",
        Kind::Discard(_) => "discard",
        Kind::Prepare(_) => "prepare",
        Kind::Execute(_) => "execute",
        Kind::Deallocate(_) => "deallocate",
        Kind::Listen(_) => "listen",
        Kind::Unlisten(_) => "unlisten",
        Kind::Notify => "notify",
        Kind::DeclareCursor { .. } => "declare",
        Kind::Fetch => "fetch",
        Kind::Move => "move",
        Kind::CloseCursor(_) => "close",
        Kind::Lock => "lock",
        Kind::Call => "call",
        Kind::Do => "do",
        Kind::Ddl => "ddl",
        Kind::Other => match statement.read_only {
            Err(NotReadOnly::Command("TRUNCATE")) => "truncate",
            Err(NotReadOnly::Command("VACUUM or ANALYZE")) => "vacuum",
            _ => "other",
        },
    }
}
