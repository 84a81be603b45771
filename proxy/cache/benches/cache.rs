//! What the cache costs: an invalidation, the check of a hit, a whole look into the store, a key, the shared form.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use pointsman_cache::codec::{COMPRESS_FROM_DEFAULT, Portable, decode, encode};
use pointsman_cache::ledger::{Backend, Commit, Era, KEY_SLOTS_DEFAULT, Ledger, Lsn, Seq, Snapshot, Watch};
use pointsman_cache::{
    About, Context, Entry, Key, KeyScratch, Lifetime, Millis, Parts, Place, Protocol, RelationTags, Store,
    StoreLimits, Tags,
};
use pointsman_policy::Scope;

const AGENTS: u32 = 100_000;
const ROWS_BYTES: usize = 2048;

fn agents() -> RelationTags {
    RelationTags::new(b"app", b"public", b"agents")
}

fn open_ledger() -> std::sync::Arc<Ledger> {
    let ledger = Ledger::new(KEY_SLOTS_DEFAULT);
    ledger.open(Era(1), Watch::Stream, &Snapshot::new(10, 10, vec![]).expect("a snapshot"));
    ledger
}

/// Tags of writes to different agents, far apart in the table.
fn written() -> Vec<Tags> {
    (0..AGENTS)
        .map(|agent| {
            let mut tags = Tags::new();
            tags.writes_key(agents(), b"id", agent.wrapping_mul(7919).to_string().as_bytes());
            tags
        })
        .collect()
}

/// Settled every thousand commits, as a poll would.
fn invalidations(c: &mut Criterion) {
    let tags = written();
    let mut group = c.benchmark_group("invalidation");
    group.throughput(Throughput::Elements(1));
    let (ledger, mut next) = (open_ledger(), 0_u32);
    group.bench_function("change of the stream", |b| {
        b.iter(|| {
            next += 1;
            let commit = Commit { end: Lsn(u64::from(next)), xid: next };
            ledger.change(commit, &tags[(next % AGENTS) as usize]);
            if next.is_multiple_of(1000) {
                let end = u64::from(next) + 1;
                ledger.settle(Era(1), &Snapshot::new(end, end, vec![]).expect("a snapshot"));
            }
        });
    });
    let mut next = 0;
    group.bench_function("write sent and acknowledged", |b| {
        b.iter(|| {
            next = (next + 1) % tags.len();
            ledger.sent(&tags[next], Backend(1)).acknowledged()
        });
    });
    group.bench_function("change, its tags made from text", |b| {
        let (mut tags, mut next) = (Tags::new(), 10_000_000_u32);
        b.iter(|| {
            next += 1;
            let mut key = [b'0'; 8];
            key.copy_from_slice(&next.to_be_bytes().map(|byte| [byte >> 4, byte & 15]).concat());
            tags.clear();
            tags.writes_key(agents(), b"id", &key);
            ledger.invalidate(&tags)
        });
    });
    group.finish();
}

fn store() -> (Store, Vec<Vec<u8>>) {
    let store = Store::new(StoreLimits { bytes_max: 1 << 30, entry_bytes_max: 1 << 20 });
    let rows = Bytes::from(vec![b'D'; ROWS_BYTES]);
    let mut keys = Vec::new();
    for agent in 0..AGENTS {
        let mut key = vec![b'k'; 300];
        key[..4].copy_from_slice(&agent.to_le_bytes());
        let mut tags = Tags::new();
        tags.reads_key(agents(), b"id", agent.to_string().as_bytes());
        let lifetime = Lifetime { ttl: 1000, stale_while_revalidate: 0 };
        let about = About {
            stamp: Seq(1_000_000),
            tags: tags.as_slice(),
            created: Millis(0),
            as_of: Millis(0),
            lifetime,
            scope: Scope::Role,
        };
        let parts = Parts { rows: rows.clone(), ..Parts::default() };
        store.insert(Entry::new(Key::new(&key), parts, about)).expect("small");
        keys.push(key);
    }
    (store, keys)
}

fn hits(c: &mut Criterion) {
    let ledger = open_ledger();
    let mut group = c.benchmark_group("hit");
    let read: Vec<Tags> = (0..AGENTS)
        .map(|agent| {
            let mut tags = Tags::new();
            tags.reads_key(agents(), b"id", agent.wrapping_mul(7919).to_string().as_bytes());
            tags.reads(RelationTags::new(b"app", b"public", b"friendships"));
            tags
        })
        .collect();
    let mut next = 0;
    group.bench_function("permits, three tags of a hundred thousand agents", |b| {
        b.iter(|| {
            next = (next + 1) % read.len();
            ledger.permits(Seq(1_000_000), black_box(read[next].as_slice()))
        });
    });
    let (store, keys) = store();
    let mut next = 0_usize;
    group.bench_function("look, by a key of 300 bytes", |b| {
        b.iter(|| {
            next = (next + 7919) % keys.len();
            store.look(Key::new(black_box(&keys[next])), &ledger, Millis(5))
        });
    });
    group.bench_function("look, one hot key", |b| {
        b.iter(|| store.look(Key::new(black_box(&keys[7])), &ledger, Millis(5)));
    });
    group.finish();
}

fn keys(c: &mut Criterion) {
    let place = Place { cluster: b"main", database: b"app", user: b"ann", role: b"ann" };
    let settings: [(&[u8], &[u8]); 3] =
        [(b"client_encoding", b"UTF8"), (b"search_path", b"public"), (b"timezone", b"UTC")];
    let context = Context::new(place, Scope::Role, settings);
    let text = [b's'; 600];
    let mut scratch = KeyScratch::new();
    c.bench_function("key/a text of 600 bytes and a parameter", |b| {
        b.iter(|| {
            let mut key = scratch.begin(&context, Protocol::Extended);
            key.text(black_box(&text)).parameter(23, 1, Some(&[0, 0, 0, 42])).formats([1]);
            black_box(key.finish());
        });
    });
    let key = [b'k'; 700];
    c.bench_function("key/digest of 700 bytes", |b| b.iter(|| Key::new(black_box(&key)).digest()));
}

fn shared(c: &mut Criterion) {
    let text: Vec<u8> =
        (0..).flat_map(|row: u32| format!("D row {row} of a feed").into_bytes()).take(8192).collect();
    for (name, bytes) in [("2 KB, plain", ROWS_BYTES), ("8 KB, compressed", 8192)] {
        let entry = Portable {
            created_unix: 0,
            lifetime: Lifetime::default(),
            scope: Scope::Role,
            position: Lsn(0),
            era: Era(1),
            tags: Vec::new(),
            parts: Parts { rows: Bytes::copy_from_slice(&text[..bytes]), ..Parts::default() },
        };
        let key = [b'k'; 300];
        let encode = || encode(&entry, &key, COMPRESS_FROM_DEFAULT).expect("small");
        c.bench_function(&format!("shared/encode {name}"), |b| b.iter(encode));
        let written = Bytes::from(encode());
        c.bench_function(&format!("shared/decode {name}"), |b| {
            b.iter_batched(
                || written.clone(),
                |written| decode(&written, &key, 1 << 20),
                BatchSize::SmallInput,
            );
        });
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    invalidations(&mut criterion);
    hits(&mut criterion);
    keys(&mut criterion);
    shared(&mut criterion);
    criterion.final_summary();
}
