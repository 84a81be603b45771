//! The ledger under a seeded simulation, whole and with each of its checks left out.

mod random;
mod server;
mod steps;
mod threads;
mod world;

use super::check::Check;
use world::{Report, World};

const STEPS: usize = 400;

fn run(seed: u64, without: Option<Check>) -> Result<Report, String> {
    let mut world = World::new(seed, without);
    for _ in 0..STEPS {
        world.step()?;
    }
    let report = std::mem::take(&mut world.report);
    world.come_to_rest()?;
    Ok(report)
}

/// `LEDGER_SEEDS` names another number of runs, `LEDGER_FIRST` the first.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn nothing_stored_is_older_than_the_contract_allows() {
    let mut all = Report::default();
    let first = number("LEDGER_FIRST", 0);
    for seed in first..first + number("LEDGER_SEEDS", 4000) {
        let report = run(seed, None).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        all.hits += report.hits;
        all.stored_primary += report.stored_primary;
        all.stored_replica += report.stored_replica;
        all.stored_shared += report.stored_shared;
        for (refusal, count) in report.refused {
            *all.refused.entry(refusal).or_default() += count;
        }
        all.told += report.told;
    }
    println!("{all:?}");
    let each = [all.hits, all.stored_primary, all.stored_replica, all.stored_shared, all.told];
    assert!(each.iter().chain(all.refused.values()).all(|count| *count > 100), "{all:?}");
    assert!(all.refused.len() >= 7, "{all:?}");
}

/// Each check of the ledger. The simulation fails without it.
const MUTANTS: [Check; 26] = [
    Check::MarkAtSend,
    Check::OpenWrites,
    Check::MarkAtAck,
    Check::LostWrites,
    Check::Doubts,
    Check::Everything,
    Check::LocalMarks,
    Check::StreamMarks,
    Check::MarkedSince,
    Check::Unsettled,
    Check::SettledAtStart,
    Check::InProgress,
    Check::SnapshotEnd,
    Check::InOrder,
    Check::Wrap,
    Check::Overflow,
    Check::Baseline,
    Check::ReplicaLocal,
    Check::ReplicaStream,
    Check::PositionsAfter,
    Check::StreamRewound,
    Check::ClosedServes,
    Check::ClosedFills,
    Check::Flush,
    Check::Era,
    Check::Published,
];

#[test]
fn every_check_is_needed() {
    let named = MUTANTS.iter().enumerate().all(|(at, check)| *check as usize == at);
    assert!(named && MUTANTS.len() == Check::Published as usize + 1, "each check is in the list");
    let mut survivors = Vec::new();
    for check in MUTANTS {
        let failed = (0..20_000).find_map(|seed| run(seed, Some(check)).err().map(|wrong| (seed, wrong)));
        match failed {
            Some((seed, wrong)) => println!("{check:?}: seed {seed}: {wrong}"),
            None => survivors.push(check),
        }
    }
    assert!(survivors.is_empty(), "the simulation does not miss {survivors:?}");
}
