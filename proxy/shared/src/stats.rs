//! Counters of the shared level. Each is added to without a lock and read at any time.

use std::sync::atomic::{AtomicU64, Ordering};

use pointsman_cache::codec::Unreadable;

use crate::bus::{GAP_REASONS, GapReason};
use crate::miss::{MISS_KINDS, Miss};

/// Kinds of [`Unreadable`], for metrics, in the order of [`Counts::unreadable`].
pub const UNREADABLE_NAMES: [&str; 8] =
    ["length", "magic", "version", "checksum", "field", "key", "too_large", "compression"];

#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) hits: AtomicU64,
    pub(crate) absent: AtomicU64,
    pub(crate) invalid: AtomicU64,
    pub(crate) stored: AtomicU64,
    pub(crate) bytes_read: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) published_everything: AtomicU64,
    pub(crate) overflows: AtomicU64,
    pub(crate) sessions: AtomicU64,
    pub(crate) heard: AtomicU64,
    misses: [AtomicU64; MISS_KINDS],
    unreadable: [AtomicU64; UNREADABLE_NAMES.len()],
    background: [AtomicU64; MISS_KINDS],
    gaps: [AtomicU64; GAP_REASONS],
}

/// The counters at one moment. All but `queue` only ever grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Entries served.
    pub hits: u64,
    /// Entries that were not there.
    pub absent: u64,
    /// Entries that one of their tags' generations made invalid.
    pub invalid: u64,
    /// Entries written.
    pub stored: u64,
    /// Bytes of entries read, as stored.
    pub bytes_read: u64,
    /// Bytes of entries written, as stored.
    pub bytes_written: u64,
    /// Tags published.
    pub published: u64,
    /// How often all of a database was published.
    pub published_everything: u64,
    /// How often a queue was too long and became everything.
    pub overflows: u64,
    /// Sessions that were opened: reconnections are one less.
    pub sessions: u64,
    /// Messages of other proxies.
    pub heard: u64,
    /// Calls that gave nothing, by [`Miss::index`].
    pub misses: [u64; MISS_KINDS],
    /// Entries that could not be read, by the places of [`UNREADABLE_NAMES`].
    pub unreadable: [u64; UNREADABLE_NAMES.len()],
    /// Failures that no caller saw: connecting, probing, publishing. By [`Miss::index`].
    pub background: [u64; MISS_KINDS],
    /// Gaps in the bus, by [`GapReason::index`].
    pub gaps: [u64; GAP_REASONS],
    /// Tags that wait to be published, a whole database counting as one.
    pub queue: u64,
}

pub(crate) fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(amount as u64, Ordering::Relaxed);
}

impl Stats {
    pub(crate) fn missed(&self, miss: Miss) {
        add(&self.misses[miss.index()], 1);
        if let Miss::Unreadable(why) = miss {
            add(&self.unreadable[place(why)], 1);
        }
    }

    pub(crate) fn failed_behind(&self, miss: Miss) {
        add(&self.background[miss.index()], 1);
    }

    pub(crate) fn gap(&self, reason: GapReason) {
        add(&self.gaps[reason.index()], 1);
    }

    pub(crate) fn counts(&self, queue: u64) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            hits: of(&self.hits),
            absent: of(&self.absent),
            invalid: of(&self.invalid),
            stored: of(&self.stored),
            bytes_read: of(&self.bytes_read),
            bytes_written: of(&self.bytes_written),
            published: of(&self.published),
            published_everything: of(&self.published_everything),
            overflows: of(&self.overflows),
            sessions: of(&self.sessions),
            heard: of(&self.heard),
            misses: self.misses.each_ref().map(of),
            unreadable: self.unreadable.each_ref().map(of),
            background: self.background.each_ref().map(of),
            gaps: self.gaps.each_ref().map(of),
            queue,
        }
    }
}

fn place(why: Unreadable) -> usize {
    match why {
        Unreadable::Length => 0,
        Unreadable::Magic => 1,
        Unreadable::Version => 2,
        Unreadable::Checksum => 3,
        Unreadable::Field => 4,
        Unreadable::Key => 5,
        Unreadable::TooLarge => 6,
        Unreadable::Compression => 7,
    }
}
