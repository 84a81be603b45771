//! What is kept, what is pushed out, and what is not served.

use bytes::Bytes;

use super::*;
use crate::entry::{About, Lifetime, Parts};
use crate::ledger::{Era, Seq, Snapshot, Source, Watch};
use crate::tag::{Tag, Tags};
use pointsman_policy::Scope;

const LIMITS: StoreLimits = StoreLimits { bytes_max: 1 << 20, entry_bytes_max: 64 << 10 };

fn entry(key: &[u8], bytes: usize, stamp: Seq, tags: &[Tag]) -> Arc<Entry> {
    let lifetime = Lifetime { ttl: 100, stale_while_revalidate: 50 };
    let about =
        About { stamp, tags, created: Millis(1000), as_of: Millis(1000), lifetime, scope: Scope::Role };
    let parts = Parts { rows: Bytes::from(vec![b'r'; bytes]), ..Parts::default() };
    Entry::new(Key::new(key), parts, about)
}

fn open_ledger() -> Arc<Ledger> {
    let ledger = Ledger::new(1024);
    ledger.open(Era(1), Watch::OwnWritesOnly, &Snapshot::new(5, 5, vec![]).expect("a snapshot"));
    ledger
}

#[test]
fn an_entry_lives_by_the_clock() {
    let (store, ledger) = (Store::new(LIMITS), open_ledger());
    store.insert(entry(b"one", 10, ledger.last(), &[])).expect("small");
    let look = |now| store.look(Key::new(b"one"), &ledger, Millis(now));
    assert!(matches!(look(1000), Look::Fresh(_)) && matches!(look(1099), Look::Fresh(_)));
    assert!(matches!(look(1100), Look::Stale(_)) && matches!(look(1149), Look::Stale(_)));
    assert!(matches!(look(1150), Look::Expired) && matches!(look(1000), Look::Absent));
    assert_eq!((store.len(), store.bytes()), (0, 0));
}

#[test]
fn what_the_ledger_does_not_permit_is_not_served() {
    let (store, ledger) = (Store::new(LIMITS), open_ledger());
    let mut tags = Tags::new();
    tags.add(Tag::named(b"app", b"feed:1"));
    let fill = ledger.begin_fill(Era(1), Source::Primary).expect("an open ledger");
    let stamp = ledger.end_fill(&fill, &tags).expect("nothing happened");
    store.insert(entry(b"one", 10, stamp, tags.as_slice())).expect("small");
    let look = || store.look(Key::new(b"one"), &ledger, Millis(1000));
    assert!(matches!(look(), Look::Fresh(_)));
    ledger.invalidate(&tags);
    assert!(matches!(look(), Look::Invalidated) && matches!(look(), Look::Absent));
}

#[test]
fn one_key_has_one_entry() {
    let (store, ledger) = (Store::new(LIMITS), open_ledger());
    for bytes in [10, 20] {
        store.insert(entry(b"one", bytes, ledger.last(), &[])).expect("small");
    }
    let Look::Fresh(found) = store.look(Key::new(b"one"), &ledger, Millis(1000)) else { panic!("absent") };
    assert_eq!((found.parts().len(), store.len()), (20, 1));
    assert_eq!(store.bytes(), found.weight() as u64);
    store.clear();
    assert!(store.is_empty());
}

#[test]
fn a_hash_that_collides_serves_nothing() {
    let one = Place(entry(b"one", 1, Seq(0), &[]));
    let mut twin = entry(b"two", 1, Seq(0), &[]);
    Arc::get_mut(&mut twin).expect("not shared yet").hash = one.0.hash;
    assert!(one != Place(twin));
    assert!(Key::new(b"one").equivalent(&one));
}

#[test]
fn bytes_are_bounded() {
    let (store, ledger) = (Store::new(LIMITS), open_ledger());
    let stamp = ledger.last();
    let large = store.insert(entry(b"large", LIMITS.entry_bytes_max, stamp, &[])).expect_err("large");
    assert_eq!(large.bytes_max, LIMITS.entry_bytes_max);
    for key in 0..5000_u32 {
        store.insert(entry(&key.to_le_bytes(), 1000, stamp, &[])).expect("small");
        assert!(store.bytes() <= store.bytes_max());
    }
    assert!(store.bytes() > store.bytes_max() * 8 / 10, "{store:?}");
    assert_eq!(store.len() as u64 + store.evicted(), 5000);
    let greatest = entry(b"greatest", 60 << 10, stamp, &[]);
    store.insert(greatest).expect("not too large");
    assert!(matches!(store.look(Key::new(b"greatest"), &ledger, Millis(1000)), Look::Fresh(_)));
}

#[test]
fn a_scan_does_not_push_out_what_is_in_use() {
    let (store, ledger) = (Store::new(LIMITS), open_ledger());
    let stamp = ledger.last();
    let hot: Vec<[u8; 4]> = (0..200_u32).map(u32::to_le_bytes).collect();
    let hits = |store: &Store| {
        let served =
            |key: &&[u8; 4]| matches!(store.look(Key::new(*key), &ledger, Millis(1000)), Look::Fresh(_));
        hot.iter().filter(served).count()
    };
    for key in &hot {
        store.insert(entry(key, 1000, stamp, &[])).expect("small");
    }
    for _ in 0..3 {
        assert_eq!(hits(&store), hot.len());
    }
    for key in 1000..20_000_u32 {
        store.insert(entry(&key.to_le_bytes(), 1000, stamp, &[])).expect("small");
    }
    let kept = hits(&store);
    assert!(kept > 150, "{kept} of {}", hot.len());
}
