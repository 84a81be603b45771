//! What became of cached reads, and what the cache holds and hears. Labels are names from policy files and
//! configurations, and closed sets of words.

use pointsman_cache::stats::{Bypass, Counts, Named, NotStored, Outcome};
use pointsman_shared::{Counts as Shared, GapReason, Miss, UNREADABLE_NAMES};
use prometheus::proto::MetricFamily;

use super::family::{Family, Shape, counter, gauge};

/// One caching rule's counts.
#[derive(Debug, Clone, Default)]
pub struct CacheRuleSnapshot {
    /// The policy's name.
    pub policy: String,
    /// The rule's name.
    pub rule: String,
    /// What became of its reads.
    pub counts: Counts,
    /// It caches; else it is only audited.
    pub enforced: bool,
}

/// One database's ledger.
#[derive(Debug, Clone, Default)]
pub struct LedgerSnapshot {
    /// Name of its cluster.
    pub cluster: String,
    /// Its name on the servers.
    pub database: String,
    /// Entries are served.
    pub open: bool,
    /// Changes made elsewhere are heard of.
    pub streaming: bool,
    /// How changes are heard of, in a word.
    pub hearing: &'static str,
    /// What there is to say of it.
    pub told: String,
    /// Commits that the stream has brought, since start.
    pub commits: u64,
    /// Streams that broke off, since start.
    pub breaks: u64,
    /// Commits heard of that new snapshots may not show yet.
    pub unsettled: usize,
    /// Lost writes whose end is not known.
    pub doubts: usize,
    /// How long ago the moment is before which every change was heard of, in seconds.
    pub behind: Option<f64>,
    /// Its memory, in bytes.
    pub bytes: usize,
    /// Whether the shared store is asked; none if results are not shared.
    pub shared: Option<bool>,
}

/// The cache at one moment.
#[derive(Debug, Clone, Default)]
pub struct CacheSnapshot {
    /// Entries.
    pub entries: usize,
    /// Their memory, in bytes.
    pub bytes: u64,
    /// What they may take, in bytes.
    pub bytes_max: u64,
    /// Entries pushed out by others, since start.
    pub evicted: u64,
    /// Invalidations by request, since start.
    pub invalidated: u64,
    /// Fills under way.
    pub fills: usize,
    /// The caching rules, in order.
    pub rules: Vec<CacheRuleSnapshot>,
    /// The databases with a ledger.
    pub ledgers: Vec<LedgerSnapshot>,
    /// The shared store's counts; none if results are not shared.
    pub shared: Option<Shared>,
}

const READS: Shape = counter(
    "pointsman_cache_reads_total",
    "Reads that a policy's rule caches, by what became of them: hit, stale_hit, shared_hit and followed were served from \
     the cache; absent, invalidated and expired were fetched; bypassed were not looked for.",
);
const BYPASSES: Shape = counter(
    "pointsman_cache_bypasses_total",
    "Reads that a policy's rule would cache and that were not looked for, by reason.",
);
const NOT_STORED: Shape =
    counter("pointsman_cache_not_stored_total", "Results that were fetched and not kept, by reason.");
const STORED: Shape = counter("pointsman_cache_stored_total", "Results kept, by policy and rule.");
const STORED_BYTES: Shape = counter(
    "pointsman_cache_stored_bytes_total",
    "Memory of the results kept, in bytes, their overhead included, by policy and rule.",
);
const SERVED_BYTES: Shape =
    counter("pointsman_cache_served_bytes_total", "Bytes served from the cache, by policy and rule.");
const AGE: Shape = counter(
    "pointsman_cache_served_age_seconds_total",
    "Ages of all results served from the cache, summed; divided by how many were served, their mean age.",
);
const ENTRIES: Shape = gauge("pointsman_cache_entries", "Results in memory.");
const BYTES: Shape =
    gauge("pointsman_cache_bytes", "Memory of the results kept, in bytes, their overhead included.");
const LIMIT: Shape = gauge("pointsman_cache_limit_bytes", "Memory that results may take, in bytes.");
const FILLS: Shape = gauge("pointsman_cache_fills", "Results being fetched for the cache.");
const EVICTIONS: Shape =
    counter("pointsman_cache_evictions_total", "Results pushed out of memory by others.");
const INVALIDATIONS: Shape =
    counter("pointsman_cache_invalidations_total", "INVALIDATE commands of the admin console.");
const OPEN: Shape = gauge(
    "pointsman_cache_open",
    "1 if results of the database are served from the cache; 0 while it is not known what has changed.",
);
const STREAMING: Shape = gauge(
    "pointsman_cache_streaming",
    "1 if writes that do not pass through Pointsman are heard of; 0 if they show only when entries expire.",
);
const COMMITS: Shape =
    counter("pointsman_cache_commits_total", "Commits that the change stream has brought, by database.");
const BREAKS: Shape =
    counter("pointsman_cache_stream_breaks_total", "Change streams that broke off, by database.");
const UNSETTLED: Shape = gauge(
    "pointsman_cache_unsettled",
    "Commits that the change stream has brought and that new snapshots may not show yet, by database.",
);
const DOUBTS: Shape = gauge(
    "pointsman_cache_doubts",
    "Writes whose connection was lost and whose end is not known: what they touch is not kept, by database.",
);
const BEHIND: Shape = gauge(
    "pointsman_cache_behind_seconds",
    "How long ago the moment is before which every change was heard of, by database.",
);

const SHARED_READS: Shape = counter(
    "pointsman_cache_shared_reads_total",
    "Reads of the shared store: hit; absent; invalid, of which a tag was invalidated; or why there was no answer.",
);
const SHARED_UNREADABLE: Shape = counter(
    "pointsman_cache_shared_unreadable_total",
    "What the shared store held that is no result of ours, by what is wrong with it.",
);
const SHARED_STORED: Shape =
    counter("pointsman_cache_shared_stored_total", "Results written to the shared store.");
const SHARED_BYTES: Shape = counter(
    "pointsman_cache_shared_bytes_total",
    "Bytes of results read from the shared store and written to it, as stored.",
);
const SHARED_OPEN: Shape = gauge(
    "pointsman_cache_shared_open",
    "1 if the shared store is asked for the database's results; 0 while it does not answer.",
);
const SHARED_PUBLISHED: Shape =
    counter("pointsman_cache_shared_published_total", "Tags whose invalidation other proxies were told of.");
const SHARED_QUEUE: Shape =
    gauge("pointsman_cache_shared_queue", "Tags whose invalidation waits to be told to other proxies.");
const SHARED_GAPS: Shape = counter(
    "pointsman_cache_shared_gaps_total",
    "Times that other proxies may not have been heard, by reason.",
);

const SHARED: [&Shape; 8] = [
    &SHARED_READS,
    &SHARED_UNREADABLE,
    &SHARED_STORED,
    &SHARED_BYTES,
    &SHARED_OPEN,
    &SHARED_PUBLISHED,
    &SHARED_QUEUE,
    &SHARED_GAPS,
];

const SHAPES: [&Shape; 19] = [
    &READS,
    &BYPASSES,
    &NOT_STORED,
    &STORED,
    &STORED_BYTES,
    &SERVED_BYTES,
    &AGE,
    &ENTRIES,
    &BYTES,
    &LIMIT,
    &FILLS,
    &EVICTIONS,
    &INVALIDATIONS,
    &OPEN,
    &STREAMING,
    &COMMITS,
    &BREAKS,
    &UNSETTLED,
    &DOUBTS,
];

/// The families' shapes.
pub(super) fn shapes() -> impl Iterator<Item = &'static Shape> {
    SHAPES.into_iter().chain([&BEHIND]).chain(SHARED)
}

/// The families, filled; none if nothing is kept.
pub(super) fn families(cache: Option<&CacheSnapshot>) -> Vec<MetricFamily> {
    let Some(cache) = cache else { return Vec::new() };
    let mut families = rule_families(&cache.rules);
    families.extend([
        Family::single(&ENTRIES, cache.entries as f64),
        Family::single(&BYTES, cache.bytes as f64),
        Family::single(&LIMIT, cache.bytes_max as f64),
        Family::single(&FILLS, cache.fills as f64),
        Family::single(&EVICTIONS, cache.evicted as f64),
        Family::single(&INVALIDATIONS, cache.invalidated as f64),
    ]);
    families.extend(ledger_families(&cache.ledgers));
    if let Some(counts) = &cache.shared {
        families.extend(shared_families(counts));
    }
    families
}

fn rule_families(rules: &[CacheRuleSnapshot]) -> Vec<MetricFamily> {
    let by = |shape: &Shape, label: &'static str, counts: &dyn Fn(&Counts) -> Vec<(&'static str, u64)>| {
        let mut family = Family::new(shape);
        for rule in rules {
            for (word, count) in counts(&rule.counts) {
                family.add(&[("policy", &rule.policy), ("rule", &rule.rule), (label, word)], count as f64);
            }
        }
        family.done()
    };
    let single = |shape: &Shape, read: &dyn Fn(&Counts) -> f64| {
        let mut family = Family::new(shape);
        for rule in rules {
            family.add(&[("policy", &rule.policy), ("rule", &rule.rule)], read(&rule.counts));
        }
        family.done()
    };
    vec![
        by(&READS, "outcome", &|counts| named::<Outcome>(&counts.outcomes)),
        by(&BYPASSES, "reason", &|counts| named::<Bypass>(&counts.bypasses)),
        by(&NOT_STORED, "reason", &|counts| named::<NotStored>(&counts.not_stored)),
        single(&STORED, &|counts| counts.stored as f64),
        single(&STORED_BYTES, &|counts| counts.bytes_stored as f64),
        single(&SERVED_BYTES, &|counts| counts.bytes_served as f64),
        single(&AGE, &|counts| counts.age_sum as f64 / 1000.0),
    ]
}

fn named<T: Named>(counts: &[u64]) -> Vec<(&'static str, u64)> {
    T::ALL.iter().zip(counts).map(|(value, count)| (value.name(), *count)).collect()
}

fn shared_families(counts: &Shared) -> Vec<MetricFamily> {
    let by = |shape: &Shape, label: &'static str, counts: &[(&'static str, u64)]| {
        let mut family = Family::new(shape);
        for (word, count) in counts {
            family.add(&[(label, word)], *count as f64);
        }
        family.done()
    };
    let misses = Miss::NAMES.into_iter().zip(counts.misses);
    let reads: Vec<_> = [("hit", counts.hits), ("absent", counts.absent), ("invalid", counts.invalid)]
        .into_iter()
        .chain(misses)
        .collect();
    let unreadable: Vec<_> = UNREADABLE_NAMES.into_iter().zip(counts.unreadable).collect();
    let gaps: Vec<_> = GapReason::NAMES.into_iter().zip(counts.gaps).collect();
    vec![
        by(&SHARED_READS, "outcome", &reads),
        by(&SHARED_UNREADABLE, "kind", &unreadable),
        Family::single(&SHARED_STORED, counts.stored as f64),
        by(&SHARED_BYTES, "direction", &[("read", counts.bytes_read), ("written", counts.bytes_written)]),
        Family::single(&SHARED_PUBLISHED, counts.published as f64),
        Family::single(&SHARED_QUEUE, counts.queue as f64),
        by(&SHARED_GAPS, "reason", &gaps),
    ]
}

fn ledger_families(ledgers: &[LedgerSnapshot]) -> Vec<MetricFamily> {
    type Read = fn(&LedgerSnapshot) -> Option<f64>;
    let all: [(&Shape, Read); 8] = [
        (&OPEN, |ledger| Some(f64::from(u8::from(ledger.open)))),
        (&STREAMING, |ledger| Some(f64::from(u8::from(ledger.streaming)))),
        (&COMMITS, |ledger| Some(ledger.commits as f64)),
        (&BREAKS, |ledger| Some(ledger.breaks as f64)),
        (&UNSETTLED, |ledger| Some(ledger.unsettled as f64)),
        (&DOUBTS, |ledger| Some(ledger.doubts as f64)),
        (&BEHIND, |ledger| ledger.behind),
        (&SHARED_OPEN, |ledger| ledger.shared.map(|open| f64::from(u8::from(open)))),
    ];
    let fill = |(shape, read): &(&Shape, Read)| {
        let mut family = Family::new(shape);
        for ledger in ledgers {
            if let Some(value) = read(ledger) {
                family.add(&[("cluster", &ledger.cluster), ("database", &ledger.database)], value);
            }
        }
        family.done()
    };
    all.iter().map(fill).collect()
}
