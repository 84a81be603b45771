//! SHOW CACHE and SHOW CACHE RULES: what each database's cache holds and hears, and what became of each rule's reads.

use pointsman_cache::stats::{Bypass, Named, NotStored, Outcome};

use crate::admin::console::table::{Table, flag, some};
use crate::proxy::Proxy;

pub(super) const CACHE: &[&str] = &[
    "cluster",
    "database",
    "state",
    "hears",
    "told",
    "commits",
    "stream_breaks",
    "unsettled",
    "doubts",
    "behind_seconds",
    "ledger_bytes",
    "entries",
    "bytes",
    "bytes_max",
    "evicted",
    "invalidated",
    "fills",
    "shared",
    "shared_hits",
    "shared_stored",
];

/// A row for each database of which results are kept; entries and bytes are those of all together.
pub(super) fn cache(proxy: &Proxy, table: &mut Table) {
    let Some(cache) = proxy.cache_snapshot() else { return };
    for ledger in &cache.ledgers {
        table.row([
            some(&ledger.cluster),
            some(&ledger.database),
            some(if ledger.open { "open" } else { "closed" }),
            some(ledger.hearing),
            some(&ledger.told),
            some(ledger.commits),
            some(ledger.breaks),
            some(ledger.unsettled),
            some(ledger.doubts),
            ledger.behind.map(|seconds| format!("{seconds:.3}")),
            some(ledger.bytes),
            some(cache.entries),
            some(cache.bytes),
            some(cache.bytes_max),
            some(cache.evicted),
            some(cache.invalidated),
            some(cache.fills),
            some(match ledger.shared {
                None => "off",
                Some(true) => "open",
                Some(false) => "closed",
            }),
            cache.shared.map(|counts| counts.hits.to_string()),
            cache.shared.map(|counts| counts.stored.to_string()),
        ]);
    }
}

pub(super) const RULES: &[&str] = &[
    "policy",
    "rule",
    "hits",
    "stale_hits",
    "shared_hits",
    "followed",
    "absent",
    "invalidated",
    "expired",
    "bypassed",
    "bypasses",
    "stored",
    "not_stored",
    "stored_bytes",
    "served_bytes",
    "mean_age_seconds",
    "enforced",
];

/// A row for each caching rule.
pub(super) fn rules(proxy: &Proxy, table: &mut Table) {
    let Some(cache) = proxy.cache_snapshot() else { return };
    for rule in &cache.rules {
        let counts = &rule.counts;
        let of = |outcome: Outcome| some(counts.of(outcome));
        let served = counts.served();
        let mean = (served > 0).then(|| format!("{:.3}", counts.age_sum as f64 / 1000.0 / served as f64));
        table.row([
            some(&rule.policy),
            some(&rule.rule),
            of(Outcome::Hit),
            of(Outcome::StaleHit),
            of(Outcome::SharedHit),
            of(Outcome::Followed),
            of(Outcome::Absent),
            of(Outcome::Invalidated),
            of(Outcome::Expired),
            of(Outcome::Bypassed),
            some(listed::<Bypass>(&counts.bypasses)),
            some(counts.stored),
            some(listed::<NotStored>(&counts.not_stored)),
            some(counts.bytes_stored),
            some(counts.bytes_served),
            mean,
            flag(rule.enforced),
        ]);
    }
}

/// `locks: 3, volatile: 1`
fn listed<T: Named>(counts: &[u64]) -> String {
    let some = T::ALL.iter().zip(counts).filter(|(_, count)| **count > 0);
    some.map(|(value, count)| format!("{}: {count}", value.name())).collect::<Vec<_>>().join(", ")
}
