//! Why a plugin is not loaded, in words that say what to do; and why a call of one failed.

use std::path::PathBuf;
use std::time::Duration;

/// A plugin that is not loaded.
#[derive(Debug, thiserror::Error)]
#[error("plugin `{plugin}` ({}): {problem}", file.display())]
pub struct LoadError {
    /// Its name.
    pub plugin: String,
    /// Its file.
    pub file: PathBuf,
    /// Why.
    pub problem: Problem,
}

/// Why a plugin is not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    File(#[source] std::io::Error),
    /// It is too big.
    #[error("has {size} bytes, at most {max} are allowed; raise `limits.file` if that is right")]
    Large {
        /// The file's bytes.
        size: u64,
        /// The most.
        max: usize,
    },
    /// It is another file than the one that the configuration means.
    #[error("has SHA-256 {found}, but `sha256: {pinned}` is configured")]
    Pin {
        /// The file's own.
        found: String,
        /// The configuration's.
        pinned: String,
    },
    /// It is not WebAssembly.
    #[error("is not WebAssembly: {0}")]
    NotWasm(String),
    /// It is WebAssembly, but wrong.
    #[error("is not a valid component: {0}")]
    Invalid(String),
    /// A core module from which no component can be made.
    #[error("is a core module that cannot become a component: {0}")]
    CoreModule(String),
    /// It imports what is not granted.
    #[error(
        "imports `{interface}`, which it is not granted; if it may have that, configure `grants: [{grants}]`"
    )]
    NotGranted {
        /// The interface.
        interface: String,
        /// All grants that it needs.
        grants: String,
    },
    /// It imports what there is not.
    #[error("imports `{import}`, which Pointsman does not have{hint}")]
    UnknownImport {
        /// The import.
        import: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// It is made for another version.
    #[error("is made for `{found}`; this Pointsman has {ours}: build it again with that version's contract")]
    OtherVersion {
        /// What it imports or exports.
        found: String,
        /// The version that there is.
        ours: &'static str,
    },
    /// It has no hook.
    #[error("exports no hook of `pointsman:plugin@1.0.0`; its exports: {exports}")]
    NoHook {
        /// What it exports.
        exports: String,
    },
    /// A function has another type than the contract says.
    #[error("differs from the contract `pointsman:plugin@1.0.0`: {0}")]
    Shape(String),
    /// No instance can be made.
    #[error("cannot be started: {0}")]
    Start(CallError),
    /// `init` failed.
    #[error("failed in `init`: {0}")]
    Init(CallError),
    /// `init` said no.
    #[error("refuses its configuration: {0}")]
    Refused(String),
    /// `needs` failed.
    #[error("failed in `needs`: {0}")]
    Needs(CallError),
    /// The configuration is wrong.
    #[error("{0}")]
    Config(String),
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// It took too long.
    #[error("took longer than its deadline of {0:?}")]
    Deadline(Duration),
    /// It wanted more memory.
    #[error("reached its memory limit of {0} bytes")]
    Memory(usize),
    /// It called itself too deep.
    #[error("exhausted the stack: it recursed too deep")]
    Stack,
    /// It gave too much.
    #[error("gave more than {0} bytes (`limits.output_bytes`)")]
    Output(usize),
    /// It trapped, or broke the rules of components.
    #[error("trapped: {0}")]
    Trap(String),
    /// It answered what its contract forbids.
    #[error("broke its contract: {0}")]
    Contract(String),
    /// All instances are taken.
    #[error("is busy: all of its {0} instances are taken (`limits.concurrency`)")]
    Busy(usize),
    /// No room for another instance.
    #[error("has no room for another instance: {0}")]
    Room(String),
    /// It failed so often that it is not asked for a while.
    #[error("is disabled, as it failed too often")]
    Disabled,
    /// Its new instance did not get through `init`.
    #[error("refused its configuration in a new instance: {0}")]
    Init(String),
}

/// The kinds of [`CallError`], a closed set for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum FailureKind {
    /// The deadline.
    Deadline,
    /// The memory limit.
    Memory,
    /// A trap, also of the stack.
    Trap,
    /// Too much output.
    Output,
    /// A forbidden answer.
    Contract,
    /// No instance to be had.
    Busy,
    /// Not asked.
    Disabled,
}

/// Every kind with its label.
pub const FAILURE_KINDS: [(FailureKind, &str); 7] = [
    (FailureKind::Deadline, "deadline"),
    (FailureKind::Memory, "memory"),
    (FailureKind::Trap, "trap"),
    (FailureKind::Output, "output"),
    (FailureKind::Contract, "contract"),
    (FailureKind::Busy, "busy"),
    (FailureKind::Disabled, "disabled"),
];

impl CallError {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Deadline(_) => FailureKind::Deadline,
            Self::Memory(_) => FailureKind::Memory,
            Self::Stack | Self::Trap(_) => FailureKind::Trap,
            Self::Output(_) => FailureKind::Output,
            Self::Contract(_) | Self::Init(_) => FailureKind::Contract,
            Self::Busy(_) | Self::Room(_) => FailureKind::Busy,
            Self::Disabled => FailureKind::Disabled,
        }
    }

    /// Whether the plugin itself is to blame, so that it counts for its breaker.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        !matches!(self.kind(), FailureKind::Busy | FailureKind::Disabled)
    }
}
