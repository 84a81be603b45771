//! Merging against sorting everything; what a server's order is, is in the suites.

use std::cmp::Ordering;

use bytes::{BufMut, Bytes, BytesMut};
use pointsman_wire::backend::DataRow;
use pointsman_wire::frame::take_frame;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const INT4: u32 = 23;
const TEXT: u32 = 25;

fn key(descending: bool, nulls_first: bool) -> SortKey {
    SortKey { descending, nulls_first, bytewise: true }
}

/// A number of its own, then the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    id: usize,
    number: Option<i32>,
    text: Option<String>,
}

impl Row {
    fn frame(&self, out: &mut BytesMut) {
        let (id, number) = (self.id.to_string(), self.number.map(i32::to_be_bytes));
        let text = self.text.as_ref().map(String::as_bytes);
        let number = number.as_ref().map(|bytes| &bytes[..]);
        DataRow { values: vec![Some(id.as_bytes()), None, number, text] }.encode(out);
    }

    fn order(&self, other: &Self, keys: [SortKey; 2], first: usize) -> Ordering {
        let number = one(self.number.as_ref(), other.number.as_ref(), keys[0]);
        if first == 0 {
            return Ordering::Equal;
        }
        if first < 2 { number } else { number.then(one(self.text.as_ref(), other.text.as_ref(), keys[1])) }
    }
}

fn one<T: Ord>(a: Option<&T>, b: Option<&T>, key: SortKey) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) if key.descending => b.cmp(a),
        (Some(a), Some(b)) => a.cmp(b),
        (None, None) => Ordering::Equal,
        (None, _) => {
            if key.nulls_first {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        (_, None) => {
            if key.nulls_first {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
    }
}

fn ids(out: &mut BytesMut) -> Vec<usize> {
    let mut ids = Vec::new();
    while let Some(frame) = take_frame(out, 1 << 20).unwrap() {
        let row = DataRow::decode(frame.body()).unwrap();
        assert_eq!((row.values.len(), row.values[1]), (2, None), "hidden columns are gone");
        ids.push(std::str::from_utf8(row.values[0].unwrap()).unwrap().parse().unwrap());
    }
    assert!(out.is_empty());
    ids
}

/// Feeds shards as the merger wants them, in pieces of so many rows.
fn run(rows: &Rows<'_>, shards: &[Vec<Row>], pieces: &[usize]) -> Vec<usize> {
    let mut merger = Merger::new(rows, shards.len()).unwrap();
    let (mut out, mut fed, mut pieces) = (BytesMut::new(), vec![0; shards.len()], pieces.iter().cycle());
    loop {
        let full = out.len() + 30;
        match merger.pop(&mut out, full).unwrap() {
            Progress::Full => {}
            Progress::Done => return ids(&mut out),
            Progress::Wanting => {
                let shard = merger.wanting().next().expect("it says whom it waits for");
                let until = (fed[shard] + pieces.next().unwrap()).min(shards[shard].len());
                let mut frames = BytesMut::new();
                shards[shard][fed[shard]..until].iter().for_each(|row| row.frame(&mut frames));
                merger.push(shard, frames.freeze());
                fed[shard] = until;
                if until == shards[shard].len() {
                    merger.finish(shard);
                }
            }
        }
    }
}

/// What the rows of all shards are together, by sorting them.
fn expected(rows: &Rows<'_>, shards: &[Vec<Row>], keys: [SortKey; 2], unique: Option<usize>) -> Vec<usize> {
    let mut all: Vec<Row> = shards.concat();
    all.sort_by(|a, b| a.order(b, keys, 2));
    if let Some(first) = unique {
        all.dedup_by(|next, kept| kept.order(next, keys, first).is_eq());
    }
    let all = all.split_off(usize::try_from(rows.offset).unwrap().min(all.len()));
    let limit = rows.limit.map_or(all.len(), |limit| usize::try_from(limit).unwrap().min(all.len()));
    let tied = |row: &&Row| rows.with_ties && limit > 0 && row.order(&all[limit - 1], keys, 2).is_eq();
    let ties = all[limit..].iter().take_while(tied).count();
    all[..limit + ties].iter().map(|row| row.id).collect()
}

fn shards() -> impl Strategy<Value = Vec<Vec<Row>>> {
    let row = (proptest::option::of(-3..3), proptest::option::of("[ab]{0,2}|[ab]{7,9}"));
    vec(vec(row.prop_map(|(number, text)| Row { id: 0, number, text }), 0..12), 1..9)
}

proptest! {
    #[test]
    fn merging_is_sorting(mut shards in shards(), flags in any::<[bool; 5]>(), unique in proptest::option::of(0usize..3),
                          limit in proptest::option::of(0u64..30), offset in 0u64..6, pieces in vec(0usize..5, 1..9)) {
        let keys = [key(flags[0], flags[1]), key(flags[2], flags[3])];
        let mut id = 0;
        for rows in &mut shards {
            rows.sort_by(|a, b| a.order(b, keys, 2));
            rows.iter_mut().for_each(|row| { row.id = id; id += 1; });
        }
        let order = Order { keys: &keys, types: &[INT4, TEXT], unique };
        let rows = Rows { hidden: 2, order: Some(order), limit, offset, with_ties: flags[4] };
        let pieces: Vec<usize> = pieces.iter().copied().chain([1]).collect();
        prop_assert_eq!(run(&rows, &shards, &pieces), expected(&rows, &shards, keys, unique));
        // Without an order: any rows, but so many.
        let rows = Rows { hidden: 2, order: None, limit, offset, with_ties: false };
        let merged = run(&rows, &shards, &pieces);
        let due = (id as u64).saturating_sub(offset).min(limit.unwrap_or(u64::MAX));
        prop_assert_eq!(merged.len() as u64, due);
        prop_assert!(merged.iter().collect::<std::collections::BTreeSet<_>>().len() == merged.len());
    }

    #[test]
    fn damaged_rows_harm_nobody(bytes in vec(any::<u8>(), 0..80), tag in any::<bool>(), oid in any::<proptest::sample::Index>()) {
        let types = [16, 18, 20, 21, 23, 26, 650, 700, 701, 1042, 1186, 1231, 1266, 1560, 1700, 1007, 2951];
        let oid = types[oid.index(types.len())];
        let keys = [key(false, false)];
        let order = Order { keys: &keys, types: &[oid], unique: Some(1) };
        let rows = Rows { hidden: 1, order: Some(order), limit: None, offset: 0, with_ties: false };
        let mut merger = Merger::new(&rows, 2).unwrap();
        let mut frames = BytesMut::new();
        if tag {
            DataRow { values: vec![Some(&bytes)] }.encode(&mut frames);
        } else {
            pointsman_wire::put_frame(&mut frames, b'D', |out| out.put_slice(&bytes));
        }
        let frames = frames.freeze();
        (0..2).for_each(|shard| { merger.push(shard, frames.clone()); merger.finish(shard); });
        let _ = merger.pop(&mut BytesMut::new(), 1 << 20);
    }
}

#[test]
fn what_has_no_order_is_refused() {
    let text = SortKey { bytewise: false, ..key(false, false) };
    let cases = [
        (114, key(false, false)),
        (3802, key(false, false)),
        (16_400, key(false, false)),
        (TEXT, text),
        (1009, text),
    ];
    for (oid, sort) in cases {
        let (keys, types) = ([key(false, false), sort], [INT4, oid]);
        let order = Order { keys: &keys, types: &types, unique: None };
        let rows = Rows { hidden: 2, order: Some(order), limit: None, offset: 0, with_ties: false };
        assert_eq!(Merger::new(&rows, 2).err(), Some(Unsupported { column: 1, type_oid: oid }));
    }
}

#[test]
fn the_limit_needs_no_more_of_any_shard() {
    let keys = [key(false, false), key(false, false)];
    let order = Order { keys: &keys, types: &[INT4, TEXT], unique: None };
    let rows = Rows { hidden: 2, order: Some(order), limit: Some(1), offset: 0, with_ties: false };
    let mut merger = Merger::new(&rows, 2).unwrap();
    let mut out = BytesMut::new();
    for (shard, number) in [(0, 5), (1, 4)] {
        assert_eq!(merger.pop(&mut out, 1000), Ok(Progress::Wanting));
        assert_eq!(merger.wanting().collect::<Vec<_>>(), (shard..2).collect::<Vec<_>>());
        let mut frame = BytesMut::new();
        Row { id: shard, number: Some(number), text: None }.frame(&mut frame);
        merger.push(shard, frame.freeze());
    }
    assert_eq!(merger.pop(&mut out, 1000), Ok(Progress::Done));
    assert_eq!(ids(&mut out), [1]);
    assert!(merger.done());
}

#[test]
fn a_row_that_is_none_names_its_shard() {
    let rows = Rows { hidden: 3, order: None, limit: None, offset: 0, with_ties: false };
    let mut merger = Merger::new(&rows, 2).unwrap();
    let mut frame = BytesMut::new();
    DataRow { values: vec![None, None] }.encode(&mut frame);
    merger.push(1, frame.freeze());
    assert_eq!(merger.pop(&mut BytesMut::new(), 1000), Err(BadRow { shard: 1 }));
    merger.push(1, Bytes::new());
    assert_eq!(merger.queued(0), 0);
}

/// A type's number; then values in the order that PostgreSQL 15 has them in, each with its rank.
const ORDERS: &str = include_str!("order.tsv");

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

/// Each value on a shard of its own, given in an order that has nothing to do with theirs.
#[test]
fn every_type_sorts_as_postgresql_sorts_it() {
    for line in ORDERS.lines() {
        let (oid, values) = line.split_once('\t').unwrap();
        let types = [oid.parse().unwrap()];
        let mut values: Vec<(usize, Vec<u8>)> = values
            .split(' ')
            .map(|value| value.split_once(':').unwrap())
            .map(|(rank, hex)| (rank.parse().unwrap(), bytes(hex)))
            .collect();
        for descending in [false, true] {
            let keys = [key(descending, false)];
            let order = Order { keys: &keys, types: &types, unique: None };
            let rows = Rows { hidden: 1, order: Some(order), limit: None, offset: 0, with_ties: false };
            for _ in 0..values.len() {
                values.rotate_left(1);
                let mut merger = Merger::new(&rows, values.len()).unwrap();
                for (shard, (rank, value)) in values.iter().enumerate() {
                    let mut frame = BytesMut::new();
                    let id = rank * 100 + shard;
                    DataRow { values: vec![Some(id.to_string().as_bytes()), None, Some(value)] }
                        .encode(&mut frame);
                    merger.push(shard, frame.freeze());
                    merger.finish(shard);
                }
                let mut out = BytesMut::new();
                assert_eq!(merger.pop(&mut out, usize::MAX), Ok(Progress::Done), "type {oid}");
                let merged = ids(&mut out);
                let mut sorted: Vec<usize> =
                    values.iter().enumerate().map(|(shard, (rank, _))| rank * 100 + shard).collect();
                sorted.sort_by_key(|id| {
                    if descending { (usize::MAX - id / 100, id % 100) } else { (id / 100, id % 100) }
                });
                assert_eq!(merged, sorted, "type {oid}, descending {descending}");
            }
        }
    }
}
