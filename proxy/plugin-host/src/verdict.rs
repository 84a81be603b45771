//! What hooks answer, checked: a value of these types obeys the contract.

use std::time::Duration;

use crate::call::Parameter;
use crate::error::CallError;

/// Why something is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Five characters.
    pub sqlstate: String,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Rows of text: each row has as many values as there are columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows; `None` is `NULL`.
    pub rows: Vec<Vec<Option<String>>>,
}

/// Another text in the statement's place, not judged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// The text.
    pub sql: String,
    /// Its parameters; `None`: the client's.
    pub params: Option<Vec<Parameter>>,
}

/// Where a statement goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To the primary.
    Primary,
    /// To a replica, where that is allowed.
    Replica,
    /// To the shard of this number.
    Shard(u32),
}

/// Whether and how long a result is cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// Not at all.
    Bypass,
    /// At most so long.
    Ttl(Duration),
}

/// What is changed about a statement that goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Another text.
    pub rewrite: Option<Rewrite>,
    /// Where it goes.
    pub route: Option<Route>,
    /// Further tags of its result.
    pub tags: Vec<String>,
    /// Whether and how long it is cached.
    pub caching: Option<Caching>,
}

impl Changes {
    /// Adds what a later plugin said: its word counts where both have one.
    pub fn merge(&mut self, later: Self) {
        self.rewrite = later.rewrite.or(self.rewrite.take());
        self.route = later.route.or(self.route);
        self.tags.extend(later.tags);
        self.caching = later.caching.or(self.caching);
    }
}

/// What becomes of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It goes on with changes.
    Change(Changes),
    /// It is answered with rows, all columns of type `text`.
    Answer(Rows),
    /// It is refused.
    Refuse(Refusal),
}

/// Every kind of [`Verdict`], as metrics label it.
pub const VERDICT_KINDS: [&str; 4] = ["pass", "change", "answer", "refuse"];

impl Verdict {
    /// Its place in [`VERDICT_KINDS`].
    #[must_use]
    pub fn kind(&self) -> usize {
        match self {
            Self::Pass => 0,
            Self::Change(_) => 1,
            Self::Answer(_) => 2,
            Self::Refuse(_) => 3,
        }
    }
}

/// For how many calls a verdict holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memo {
    /// This one.
    Call,
    /// All of the template by the same identity.
    TemplateAndIdentity,
    /// All of the template.
    Template,
}

/// What is invalidated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invalidation {
    /// These tags.
    Tags(Vec<String>),
    /// Every result of the database: a failed plugin might have named any.
    Everything,
}

/// What becomes of a result that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreVerdict {
    /// It is kept, with further tags and at most so long.
    Keep {
        /// Further tags.
        tags: Vec<String>,
        /// At most so long, if it says so.
        ttl: Option<Duration>,
    },
    /// It is not kept.
    Veto,
}

/// What becomes of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectVerdict {
    /// It may go on, with these settings.
    Allow(Vec<(String, String)>),
    /// It is refused.
    Refuse(Refusal),
}

/// A hook's verdict with how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<V> {
    /// The verdict that counts.
    pub verdict: V,
    /// Why it is the configuration's and not the plugin's own.
    pub failure: Option<CallError>,
    /// How long the plugin took; zero: it was remembered.
    pub took: Duration,
}

impl<V> Said<V> {
    pub(crate) fn remembered(verdict: V) -> Self {
        Self { verdict, failure: None, took: Duration::ZERO }
    }

    pub(crate) fn map<W>(self, to: impl FnOnce(V) -> W) -> Said<W> {
        Said { verdict: to(self.verdict), failure: self.failure, took: self.took }
    }
}
