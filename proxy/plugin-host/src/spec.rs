//! What a configuration says of one plugin, as typed values; `Default` has what it leaves out.

use std::path::PathBuf;
use std::time::Duration;

/// What a plugin may import, once its configuration grants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// Pointsman's log.
    Log,
    /// Metrics of its own.
    Metric,
    /// Keys and values of its own.
    Kv,
    /// Read-only SQL on a replica.
    Lookup,
    /// The time.
    Clock,
    /// Numbers that nobody can guess.
    Random,
}

impl Capability {
    /// Each with its name in the configuration, which is its interface's name.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("log", Self::Log),
        ("metric", Self::Metric),
        ("kv", Self::Kv),
        ("lookup", Self::Lookup),
        ("clock", Self::Clock),
        ("random", Self::Random),
    ];

    /// Its name in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, capability)| *capability == self).map_or("", |(word, _)| word)
    }
}

/// A hook that judges something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// A statement before it is sent.
    Query,
    /// A statement that wrote.
    Write,
    /// Changes from the change stream.
    Change,
    /// A result before it is kept.
    Store,
    /// A client before it is let in.
    Connect,
}

impl Hook {
    /// Each with its name in the configuration, which is its interface's name.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("on-query", Self::Query),
        ("on-write", Self::Write),
        ("on-change", Self::Change),
        ("on-store", Self::Store),
        ("on-connect", Self::Connect),
    ];

    /// Its interface's name.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, hook)| *hook == self).map_or("", |(word, _)| word)
    }
}

/// What a failed call of a hook counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Things go on as if there were no plugin.
    Open,
    /// The safe side: the statement or client is refused, everything that could be stale is invalidated, nothing is kept.
    Closed,
}

impl OnFailure {
    /// Each with its name in the configuration.
    pub const WORDS: &'static [(&'static str, Self)] = &[("open", Self::Open), ("closed", Self::Closed)];
}

/// [`OnFailure`] of each hook. By default all are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    /// `on-query`.
    pub query: OnFailure,
    /// `on-write`.
    pub write: OnFailure,
    /// `on-change`.
    pub change: OnFailure,
    /// `on-store`.
    pub store: OnFailure,
    /// `on-connect`.
    pub connect: OnFailure,
}

impl Failures {
    /// The same for every hook.
    #[must_use]
    pub fn all(failure: OnFailure) -> Self {
        Self { query: failure, write: failure, change: failure, store: failure, connect: failure }
    }

    /// What is said for one hook.
    #[must_use]
    pub fn of(&self, hook: Hook) -> OnFailure {
        match hook {
            Hook::Query => self.query,
            Hook::Write => self.write,
            Hook::Change => self.change,
            Hook::Store => self.store,
            Hook::Connect => self.connect,
        }
    }
}

/// Whether an instance serves more than one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// It is used again. What it left in its memory is there.
    Reused,
    /// Each call has a new instance, with `init`.
    PerCall,
}

impl Isolation {
    /// Each with its name in the configuration.
    pub const WORDS: &'static [(&'static str, Self)] =
        &[("reused", Self::Reused), ("per-call", Self::PerCall)];
}

/// What a plugin may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest file, in bytes.
    pub file_bytes_max: usize,
    /// The memory of one instance, in bytes; at most [`MEMORY_BYTES_MAX`].
    pub memory_bytes_max: usize,
    /// How long one call may take, without the time that lookups take.
    pub deadline: Duration,
    /// How long `init` may take, `_start` and all included.
    pub init_deadline: Duration,
    /// How long all lookups of one call may take.
    pub lookup_deadline: Duration,
    /// How much one call may give back, in bytes as they are on this side.
    pub output_bytes_max: usize,
    /// How many calls there are at a time, and so how many instances.
    pub concurrency: usize,
    /// Calls that fail one after the other until the plugin is disabled.
    pub failures_max: u32,
    /// How long it is disabled then; doubles, up to 64 times that, until a call succeeds.
    pub retry: Duration,
    /// How many verdicts each worker remembers.
    pub memos_max: usize,
}

/// The largest `memory_bytes_max`.
pub const MEMORY_BYTES_MAX: usize = 1 << 30;

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes_max: 64 << 20,
            memory_bytes_max: 16 << 20,
            deadline: Duration::from_millis(50),
            init_deadline: Duration::from_secs(1),
            lookup_deadline: Duration::from_millis(100),
            output_bytes_max: 1 << 20,
            concurrency: 64,
            failures_max: 5,
            retry: Duration::from_secs(1),
            memos_max: 1024,
        }
    }
}

/// What a plugin may keep in `kv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvLimits {
    /// How many keys.
    pub entries_max: usize,
    /// Keys and values together, in bytes.
    pub bytes_max: usize,
    /// One value, in bytes. A key has at most 1,024.
    pub value_bytes_max: usize,
    /// Whether the values are shared by a fleet.
    pub shared: bool,
}

impl Default for KvLimits {
    fn default() -> Self {
        Self { entries_max: 10_000, bytes_max: 4 << 20, value_bytes_max: 64 << 10, shared: false }
    }
}

/// What a lookup may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupLimits {
    /// Rows of one answer.
    pub rows_max: usize,
    /// Values of one answer, in bytes.
    pub bytes_max: usize,
}

impl Default for LookupLimits {
    fn default() -> Self {
        Self { rows_max: 10_000, bytes_max: 1 << 20 }
    }
}

/// A plugin's entry in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginSpec {
    /// What rules, logs and metrics call it.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// The file's SHA-256, if only that one is to be loaded.
    pub sha256: Option<[u8; 32]>,
    /// What it may import.
    pub grants: Vec<Capability>,
    /// What its `init` is told, as JSON.
    pub config: serde_json::Value,
    /// What it may use.
    pub limits: Limits,
    /// What it may keep.
    pub kv: KvLimits,
    /// What it may look up.
    pub lookup: LookupLimits,
    /// What a failed call counts as.
    pub on_failure: Failures,
    /// Whether instances are reused.
    pub isolation: Isolation,
}

impl PluginSpec {
    /// A plugin of which only its name and file are said.
    #[must_use]
    pub fn new(name: impl Into<String>, file: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            file: file.into(),
            sha256: None,
            grants: Vec::new(),
            config: serde_json::Value::Null,
            limits: Limits::default(),
            kv: KvLimits::default(),
            lookup: LookupLimits::default(),
            on_failure: Failures::all(OnFailure::Closed),
            isolation: Isolation::Reused,
        }
    }
}
