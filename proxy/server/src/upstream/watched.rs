//! Whether a database's changes are heard of that do not pass through here: told by whoever listens, asked by sessions and
//! by the console.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::moment::Moment;

/// How changes are heard of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Hearing {
    /// Nothing is kept of the database's results.
    #[default]
    Off,
    /// Only those that pass through here; and why.
    OwnWritesOnly(String),
    /// The stream is being opened; until then nothing is served.
    Opening,
    /// By the stream of this slot.
    Stream {
        /// The slot.
        slot: String,
        /// Whether an event trigger tells of definitions and grants; else they are compared from time to time.
        definitions: bool,
    },
    /// Not for now, so that nothing is served; and why.
    Broken(String),
}

impl Hearing {
    /// A word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::OwnWritesOnly(_) => "own_writes_only",
            Self::Opening => "opening",
            Self::Stream { .. } => "stream",
            Self::Broken(_) => "broken",
        }
    }

    /// What there is to say of it.
    pub fn told(&self) -> String {
        match self {
            Self::Off | Self::Opening => String::new(),
            Self::OwnWritesOnly(why) | Self::Broken(why) => why.clone(),
            Self::Stream { slot, definitions: true } => format!("slot {slot}"),
            Self::Stream { slot, definitions: false } => {
                format!("slot {slot}; definitions and grants are compared from time to time")
            }
        }
    }
}

/// How changes are heard of, and up to when.
#[derive(Debug)]
pub struct Watched {
    made: Instant,
    /// Every change before this moment was heard of.
    seen: Moment,
    /// Commits that the stream has brought, since start.
    commits: AtomicU64,
    /// Streams that broke off, since start.
    breaks: AtomicU64,
    /// Locked when it changes, and by the console.
    hearing: Mutex<Hearing>,
}

impl Default for Watched {
    fn default() -> Self {
        Self {
            made: Instant::now(),
            seen: Moment::default(),
            commits: AtomicU64::new(0),
            breaks: AtomicU64::new(0),
            hearing: Mutex::default(),
        }
    }
}

impl Watched {
    /// The moment before which every change was heard of; none while that cannot be said.
    pub fn seen_since(&self) -> Option<Instant> {
        self.seen.get(self.made)
    }

    /// Every change before `at` was heard of; none: that cannot be said any more.
    pub fn set_seen(&self, at: Option<Instant>) {
        self.seen.set(self.made, at);
    }

    /// The stream has brought a commit.
    pub fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// Commits that the stream has brought, since start.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// A stream has broken off.
    pub fn count_break(&self) {
        self.breaks.fetch_add(1, Ordering::Relaxed);
    }

    /// Streams that broke off, since start.
    pub fn breaks(&self) -> u64 {
        self.breaks.load(Ordering::Relaxed)
    }

    /// How changes are heard of.
    pub fn hearing(&self) -> Hearing {
        self.hearing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// They are heard of so from now on; true if that is news.
    pub fn set_hearing(&self, hearing: Hearing) -> bool {
        let mut known = self.hearing.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *known != hearing;
        *known = hearing;
        news
    }
}
