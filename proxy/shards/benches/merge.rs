//! What merging and splitting cost: rows of several shards by an integer and by a text, a `COPY` stream of text.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput};
use pointsman_shards::copy::{CopyError, Splitter};
use pointsman_shards::function::Function;
use pointsman_shards::layout::Sharded;
use pointsman_shards::merge::{Merger, Order, Progress, Rows};
use pointsman_shards::plan::{CopyFormat, CopyFrom, SortKey};
use pointsman_wire::backend::DataRow;

const ROWS: u64 = 100_000;
const SHARDS: u64 = 4;
/// Rows in one piece, as they are read from a socket.
const PIECE: usize = 80;

/// Each shard's rows in pieces; a row has about 100 bytes.
fn pieces(key: impl Fn(u64) -> Vec<u8>) -> Vec<Vec<Bytes>> {
    let shard = |shard: u64| {
        let rows: Vec<u64> =
            (0..ROWS).filter(|row| row.wrapping_mul(2_654_435_761) >> 7 & 3 == shard).collect();
        let piece = |rows: &[u64]| {
            let mut out = BytesMut::new();
            for row in rows {
                let key = key(*row);
                DataRow { values: vec![Some(&[b'v'; 20]), None, Some(&[b'w'; 50]), Some(&key)] }
                    .encode(&mut out);
            }
            out.freeze()
        };
        rows.chunks(PIECE).map(piece).collect()
    };
    (0..SHARDS).map(shard).collect()
}

fn merge(rows: &Rows<'_>, shards: &[Vec<Bytes>]) -> usize {
    let mut merger = Merger::new(rows, shards.len()).expect("known types");
    let mut feeds: Vec<_> = shards.iter().map(|pieces| pieces.iter()).collect();
    let (mut out, mut bytes) = (BytesMut::with_capacity(1 << 16), 0);
    loop {
        match merger.pop(&mut out, 60_000).expect("rows") {
            Progress::Full => {}
            Progress::Done => return bytes + out.len(),
            Progress::Wanting => {
                let shard = merger.wanting().next().expect("a shard");
                match feeds[shard].next() {
                    Some(piece) => merger.push(shard, piece.clone()),
                    None => merger.finish(shard),
                }
            }
        }
        bytes += out.len();
        out.clear();
    }
}

fn merges(c: &mut Criterion) {
    let mut group = c.benchmark_group("merge");
    group.throughput(Throughput::Elements(ROWS));
    let keys = [SortKey { descending: false, nulls_first: false, bytewise: true }];
    let order = |types: &'static [u32]| Order { keys: &keys, types, unique: None };
    let integers = pieces(|row| row.to_be_bytes().to_vec());
    let texts = pieces(|row| format!("a common start {row:012}").into_bytes());
    for (name, order, shards) in [
        ("int8", Some(order(&[20])), &integers),
        ("text", Some(order(&[25])), &texts),
        ("append", None, &integers),
    ] {
        let rows = Rows { hidden: 1, order, limit: None, offset: 0, with_ties: false };
        group.bench_function(name, |b| b.iter(|| black_box(merge(&rows, shards))));
    }
    group.finish();
}

fn splits(c: &mut Criterion) {
    let stream: Vec<u8> = (0..10_000)
        .flat_map(|row| format!("{row}\t{}\tsome words of a post\tt\n", "x".repeat(60)).into_bytes())
        .collect();
    let copy = |format| CopyFrom {
        sharded: std::sync::Arc::new(Sharded {
            keys: Box::default(),
            function: std::sync::Arc::new(Function::Modulo),
            id: None,
        }),
        columns: Box::new([0]),
        types: Box::new([20]),
        width: 4,
        format,
    };
    let text = copy(CopyFormat::Text { delimiter: b'\t', null: Box::from(&b"\\N"[..]) });
    let csv = copy(CopyFormat::Csv {
        delimiter: b'\t',
        quote: b'"',
        escape: b'"',
        null: Box::default(),
        header: false,
        force_not_null: Box::default(),
        force_null: Box::default(),
    });
    let mut group = c.benchmark_group("copy");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    for (name, copy) in [("text", &text), ("csv", &csv)] {
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || Splitter::new(copy, 1 << 20),
                |splitter| {
                    for piece in stream.chunks(8192) {
                        let each = |row: pointsman_shards::copy::Row<'_>| {
                            black_box(row.key(0));
                            Ok::<(), CopyError>(())
                        };
                        splitter.feed(piece, each).expect("a good stream");
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    merges(&mut criterion);
    splits(&mut criterion);
    criterion.final_summary();
}
