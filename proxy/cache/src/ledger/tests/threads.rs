//! The ledger from many threads at once: what the simulation, which takes one step at a time, cannot see.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use super::super::{Backend, Commit, Era, Ledger, Lsn, Refusal, Seq, Snapshot, Source, Watch};
use crate::tag::{Tag, Tags};

const ROUNDS: u32 = 3000;

fn tags() -> Tags {
    let mut tags = Tags::new();
    tags.add(Tag::named(b"app", b"feed:1"));
    tags
}

fn snapshot(end: u64) -> Snapshot {
    Snapshot::new(end, end, vec![]).expect("a snapshot")
}

/// A row whose versions count upwards: the one that queries see, and the one that readers must not miss.
#[derive(Default)]
struct RowVersions {
    visible: AtomicU64,
    must: AtomicU64,
    over: AtomicBool,
    /// Fills that were stored.
    stored: AtomicU64,
}

/// Fills and looks until the writer is done.
fn read(ledger: &Ledger, row: &RowVersions) {
    let tags = tags();
    while !row.over.load(SeqCst) {
        let fill = ledger.begin_fill(Era(1), Source::Primary).expect("an open ledger");
        let version = row.visible.load(SeqCst);
        let Ok(stamp) = ledger.end_fill(&fill, &tags) else { continue };
        row.stored.fetch_add(1, SeqCst);
        for _ in 0..20 {
            let must = row.must.load(SeqCst);
            if !ledger.permits(stamp, tags.as_slice()) {
                break;
            }
            assert!(version >= must, "version {version} is served where {must} was heard of");
        }
    }
}

fn race(watch: Watch, mut write: impl FnMut(&std::sync::Arc<Ledger>, &RowVersions, u32)) {
    let ledger = Ledger::new(16);
    ledger.open(Era(1), watch, &snapshot(1));
    let row = RowVersions::default();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(|| read(&ledger, &row))).collect();
        let mut stored = 0;
        for version in 1..=ROUNDS {
            write(&ledger, &row, version);
            // Now and then the readers get their turn.
            while version.is_multiple_of(10)
                && row.stored.load(SeqCst) == stored
                && !readers.iter().any(|reader| reader.is_finished())
            {
                std::thread::yield_now();
            }
            stored = row.stored.load(SeqCst);
        }
        row.over.store(true, SeqCst);
    });
}

#[test]
fn commits_of_the_stream_race_with_fills() {
    race(Watch::Stream, |ledger, row, version| {
        ledger.change(Commit { end: Lsn(u64::from(version)), xid: version }, &tags());
        row.must.store(version.into(), SeqCst);
        row.visible.store(version.into(), SeqCst);
        ledger.settle(Era(1), &snapshot(u64::from(version) + 1));
    });
}

#[test]
fn writes_race_with_fills() {
    race(Watch::OwnWritesOnly, |ledger, row, version| {
        let write = ledger.sent(&tags(), Backend(1));
        row.visible.store(version.into(), SeqCst);
        // Others may have seen it before the acknowledgement is here: nothing older is served from now on.
        row.must.store(version.into(), SeqCst);
        write.acknowledged();
    });
}

#[test]
fn a_write_that_is_dropped_is_held_in_doubt_without_a_stream() {
    let ledger = Ledger::new(16);
    ledger.open(Era(1), Watch::OwnWritesOnly, &snapshot(1));
    drop(ledger.sent(&tags(), Backend(77)));
    let end = || {
        let fill = ledger.begin_fill(Era(1), Source::Primary).expect("an open ledger");
        ledger.end_fill(&fill, &tags())
    };
    assert_eq!(end(), Err(Refusal::WriteInFlight));
    let doubts = ledger.doubts();
    assert_eq!((doubts.len(), doubts[0].1, ledger.state().doubts), (1, Backend(77), 1));
    ledger.resolve(doubts[0].0);
    ledger.resolve(doubts[0].0);
    assert!(end().is_ok());
    drop(ledger.sent(&tags(), Backend(78)));
    ledger.open(Era(1), Watch::Stream, &snapshot(1));
    assert!(end().is_ok(), "the stream will bring what becomes of it");
}

#[test]
fn a_position_is_wanted_after_marks_of_our_own_only() {
    let ledger = Ledger::new(16);
    ledger.open(Era(1), Watch::Stream, &snapshot(1));
    assert!(ledger.wants_position() && !ledger.is_unsettled());
    ledger.positioned(Era(1), ledger.last(), Lsn(10));
    ledger.positioned(Era(2), Seq(1000), Lsn(10));
    assert!(!ledger.wants_position());
    ledger.change(Commit { end: Lsn(20), xid: 5 }, &tags());
    assert!(!ledger.wants_position() && ledger.is_unsettled());
    let replica = |replayed| {
        let fill = ledger.begin_fill(Era(1), Source::Replica { replayed: Lsn(replayed) });
        ledger.end_fill(&fill.expect("an open ledger"), &tags())
    };
    assert_eq!(replica(100), Err(Refusal::Unsettled));
    ledger.settle(Era(1), &snapshot(6));
    assert_eq!(replica(19), Err(Refusal::ReplicaBehind));
    assert!(replica(20).is_ok());
    ledger.invalidate(&tags());
    assert!(ledger.wants_position());
    assert_eq!(replica(100), Err(Refusal::PositionUnknown));
}
