//! What is counted, by reason. Each worker, or each rule of a worker, has counters of its own; they are summed when asked.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::codec::Unreadable;
use crate::ledger::Refusal;

/// An enumeration whose values have names for people and metrics.
pub trait Named: Copy + Sized + 'static {
    /// Every value, in the order of its numbers.
    const ALL: &'static [Self];

    /// Its name: lower case, with underscores.
    fn name(self) -> &'static str;

    /// Its place in [`Named::ALL`].
    fn index(self) -> usize;
}

macro_rules! named {
    ($type:ty, $($value:ident => $name:literal),+ $(,)?) => {
        impl Named for $type {
            const ALL: &'static [Self] = &[$(Self::$value),+];

            fn name(self) -> &'static str {
                match self { $(Self::$value => $name),+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

/// What became of a read that a rule would cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Served from memory.
    Hit,
    /// Served from memory past its time, while it is fetched anew.
    StaleHit,
    /// Served from the shared store.
    SharedHit,
    /// Served by another session's fill.
    Followed,
    /// Not there.
    Absent,
    /// There, but invalidated.
    Invalidated,
    /// There, but too old.
    Expired,
    /// Not looked for: [`Bypass`] says why.
    Bypassed,
}

named!(Outcome,
    Hit => "hit", StaleHit => "stale_hit", SharedHit => "shared_hit", Followed => "followed", Absent => "absent",
    Invalidated => "invalidated", Expired => "expired", Bypassed => "bypassed",
);

/// Why a read that a rule names was not looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bypass {
    /// In a transaction.
    Transaction,
    /// Behind others of its session that are not answered yet.
    Pipelined,
    /// The session is pinned to its server connection.
    Pinned,
    /// Not proven to be read-only.
    NotReadOnly,
    /// A function whose result is not the same from call to call.
    Volatile,
    /// Locks rows.
    Locks,
    /// What it reads is not known.
    UnknownRelations,
    /// A temporary relation.
    Temporary,
    /// Row-level security, without the role in its key.
    RowSecurity,
    /// The result names who asks, and the key does not.
    AsksWho,
    /// A portal with a limit of rows.
    RowLimit,
    /// Several statements at once.
    Several,
    /// A value that the rule's tags need has no form, or is missing.
    NoKeyValue,
    /// The ledger is closed.
    Closed,
}

named!(Bypass,
    Transaction => "transaction", Pipelined => "pipelined", Pinned => "pinned", NotReadOnly => "not_read_only", Volatile => "volatile",
    Locks => "locks", UnknownRelations => "unknown_relations", Temporary => "temporary",
    RowSecurity => "row_security", AsksWho => "asks_who", RowLimit => "row_limit", Several => "several_statements",
    NoKeyValue => "no_key_value", Closed => "closed",
);

/// Why a result was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotStored {
    /// The ledger refused.
    Refused(Refusal),
    /// Larger than an entry may be.
    TooLarge,
    /// It ended in an error, or a notice came with it.
    NotPlain,
    /// The connection broke or the client left.
    Interrupted,
    /// The query for its tags failed.
    NoTags,
    /// A plugin said that it is not to be kept.
    Vetoed,
}

named!(Refusal,
    Closed => "closed", OtherEra => "other_era", UnknownTags => "unknown_tags", WriteInFlight => "write_in_flight",
    Marked => "marked", Unsettled => "unsettled", ReplicaBehind => "replica_behind",
    PositionUnknown => "position_unknown", Unpublished => "unpublished",
);

impl Named for NotStored {
    const ALL: &'static [Self] = &[
        Self::Refused(Refusal::Closed),
        Self::Refused(Refusal::OtherEra),
        Self::Refused(Refusal::UnknownTags),
        Self::Refused(Refusal::WriteInFlight),
        Self::Refused(Refusal::Marked),
        Self::Refused(Refusal::Unsettled),
        Self::Refused(Refusal::ReplicaBehind),
        Self::Refused(Refusal::PositionUnknown),
        Self::Refused(Refusal::Unpublished),
        Self::TooLarge,
        Self::NotPlain,
        Self::Interrupted,
        Self::NoTags,
        Self::Vetoed,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.name(),
            Self::TooLarge => "too_large",
            Self::NotPlain => "not_plain",
            Self::Interrupted => "interrupted",
            Self::NoTags => "no_tags",
            Self::Vetoed => "vetoed",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Refused(refusal) => refusal.index(),
            Self::TooLarge => Refusal::ALL.len(),
            Self::NotPlain => Refusal::ALL.len() + 1,
            Self::Interrupted => Refusal::ALL.len() + 2,
            Self::NoTags => Refusal::ALL.len() + 3,
            Self::Vetoed => Refusal::ALL.len() + 4,
        }
    }
}

named!(Unreadable,
    Length => "length", Magic => "magic", Version => "version", Checksum => "checksum", Field => "field", Key => "key",
    TooLarge => "too_large", Compression => "compression",
);

/// Counters by the values of an enumeration.
#[derive(Debug)]
struct By<T, const N: usize>([AtomicU64; N], std::marker::PhantomData<T>);

impl<T: Named, const N: usize> By<T, N> {
    const fn new() -> Self {
        assert!(T::ALL.len() == N, "a counter for each value");
        Self([const { AtomicU64::new(0) }; N], std::marker::PhantomData)
    }

    fn add(&self, value: T) {
        if let Some(counter) = self.0.get(value.index()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn add_to(&self, sums: &mut [u64; N]) {
        for (sum, counter) in sums.iter_mut().zip(&self.0) {
            *sum += counter.load(Ordering::Relaxed);
        }
    }
}

/// One worker's, or one rule's in a worker.
#[derive(Debug)]
pub struct Counters {
    outcomes: By<Outcome, 8>,
    bypasses: By<Bypass, 14>,
    not_stored: By<NotStored, 14>,
    unreadable: By<Unreadable, 8>,
    stored: AtomicU64,
    bytes_stored: AtomicU64,
    bytes_served: AtomicU64,
    /// Ages of hits, summed, in milliseconds.
    age: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            outcomes: By::new(),
            bypasses: By::new(),
            not_stored: By::new(),
            unreadable: By::new(),
            stored: AtomicU64::new(0),
            bytes_stored: AtomicU64::new(0),
            bytes_served: AtomicU64::new(0),
            age: AtomicU64::new(0),
        }
    }
}

impl Counters {
    /// A read was served from the cache: its bytes, and its age in milliseconds.
    pub fn served(&self, outcome: Outcome, bytes: usize, age: u64) {
        self.outcomes.add(outcome);
        self.bytes_served.fetch_add(bytes as u64, Ordering::Relaxed);
        self.age.fetch_add(age, Ordering::Relaxed);
    }

    /// A read was looked for and not found.
    pub fn missed(&self, outcome: Outcome) {
        self.outcomes.add(outcome);
    }

    /// A read was not looked for.
    pub fn bypassed(&self, why: Bypass) {
        self.outcomes.add(Outcome::Bypassed);
        self.bypasses.add(why);
    }

    /// A result was stored.
    pub fn stored(&self, bytes: usize) {
        self.stored.fetch_add(1, Ordering::Relaxed);
        self.bytes_stored.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A result was not.
    pub fn not_stored(&self, why: NotStored) {
        self.not_stored.add(why);
    }

    /// The shared store held what is no entry.
    pub fn unreadable(&self, why: Unreadable) {
        self.unreadable.add(why);
    }

    /// Adds what was counted here to a sum.
    pub fn add_to(&self, counts: &mut Counts) {
        self.outcomes.add_to(&mut counts.outcomes);
        self.bypasses.add_to(&mut counts.bypasses);
        self.not_stored.add_to(&mut counts.not_stored);
        self.unreadable.add_to(&mut counts.unreadable);
        counts.stored += self.stored.load(Ordering::Relaxed);
        counts.bytes_stored += self.bytes_stored.load(Ordering::Relaxed);
        counts.bytes_served += self.bytes_served.load(Ordering::Relaxed);
        counts.age_sum += self.age.load(Ordering::Relaxed);
    }
}

/// Sums of counters. The arrays are in the order of [`Named::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// By [`Outcome`].
    pub outcomes: [u64; 8],
    /// By [`Bypass`].
    pub bypasses: [u64; 14],
    /// By [`NotStored`].
    pub not_stored: [u64; 14],
    /// By [`Unreadable`].
    pub unreadable: [u64; 8],
    /// Results stored.
    pub stored: u64,
    /// Their bytes.
    pub bytes_stored: u64,
    /// Bytes served from the cache.
    pub bytes_served: u64,
    /// Ages of all that was served from the cache, in milliseconds.
    pub age_sum: u64,
}

impl Counts {
    /// How often this became of a read.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(outcome.index()).copied().unwrap_or_default()
    }

    /// Reads served from the cache.
    #[must_use]
    pub fn served(&self) -> u64 {
        [Outcome::Hit, Outcome::StaleHit, Outcome::SharedHit, Outcome::Followed]
            .map(|it| self.of(it))
            .iter()
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indices<T: Named>() {
        for (at, value) in T::ALL.iter().enumerate() {
            assert_eq!(value.index(), at);
            assert!(value.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        }
        let names: std::collections::HashSet<_> = T::ALL.iter().map(|value| value.name()).collect();
        assert_eq!(names.len(), T::ALL.len());
    }

    #[test]
    fn values_have_places_and_names() {
        indices::<Outcome>();
        indices::<Bypass>();
        indices::<NotStored>();
        indices::<Unreadable>();
    }

    #[test]
    fn counters_are_summed() {
        let (one, two) = (Counters::default(), Counters::default());
        one.served(Outcome::Hit, 100, 7);
        two.served(Outcome::Followed, 50, 3);
        two.missed(Outcome::Absent);
        two.bypassed(Bypass::Closed);
        two.stored(60);
        two.not_stored(NotStored::Refused(Refusal::Unpublished));
        two.unreadable(Unreadable::Compression);
        let mut counts = Counts::default();
        one.add_to(&mut counts);
        two.add_to(&mut counts);
        assert_eq!((counts.served(), counts.bytes_served, counts.age_sum), (2, 150, 10));
        assert_eq!(
            (counts.of(Outcome::Absent), counts.of(Outcome::Bypassed), counts.bypasses[13]),
            (1, 1, 1)
        );
        assert_eq!((counts.stored, counts.bytes_stored, counts.not_stored[8]), (1, 60, 1));
        assert_eq!(counts.unreadable[7], 1);
    }
}
