//! What an entry takes in memory beside its payload, and that it is counted honestly: measured on the whole process.

use std::fs;

use bytes::Bytes;
use pointsman_cache::ledger::Seq;
use pointsman_cache::{About, Entry, Key, Lifetime, Millis, Parts, RelationTags, Store, StoreLimits, Tags};
use pointsman_policy::Scope;

const ENTRIES: usize = 150_000;
const KEY_BYTES: usize = 200;
const ROWS_BYTES: usize = 500;
const OVERHEAD_MAX: usize = 400;

/// Resident bytes of this process.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    let kilobytes = line.split_whitespace().nth(1).expect("a number");
    kilobytes.parse::<usize>().expect("a number") * 1024
}

#[test]
fn an_entry_takes_what_it_is_counted_for() {
    let store = Store::new(StoreLimits { bytes_max: 1 << 30, entry_bytes_max: 1 << 20 });
    let agents = RelationTags::new(b"app", b"public", b"agents");
    let before = resident();
    for number in 0..ENTRIES {
        let mut key = vec![b'k'; KEY_BYTES];
        key[..8].copy_from_slice(&number.to_le_bytes());
        let mut tags = Tags::new();
        tags.reads_key(agents, b"id", &key[..8]);
        let parts = Parts {
            parameters: None,
            description: Some(Bytes::from(vec![b'T'; 60])),
            rows: Bytes::from(vec![b'D'; ROWS_BYTES]),
        };
        let about = About {
            stamp: Seq(1),
            tags: tags.as_slice(),
            created: Millis(0),
            as_of: Millis(0),
            lifetime: Lifetime { ttl: 1, stale_while_revalidate: 0 },
            scope: Scope::Role,
        };
        store.insert(Entry::new(Key::new(&key), parts, about)).expect("small");
    }
    assert_eq!(store.len(), ENTRIES);
    let taken = (resident() - before) / ENTRIES;
    let counted = usize::try_from(store.bytes()).expect("small") / ENTRIES;
    // The key is part of what is cached; tags and all else are overhead.
    let overhead = taken - KEY_BYTES - ROWS_BYTES - 60;
    println!("{taken} bytes each, counted as {counted}, {overhead} of them overhead");
    assert!(overhead <= OVERHEAD_MAX, "{overhead} bytes of overhead");
    assert!(counted.abs_diff(taken) * 10 <= taken, "counted as {counted}, takes {taken}");
}
