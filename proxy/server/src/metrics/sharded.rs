//! What became of statements over shards, and of transactions on several. Labels are the databases' names in the configuration,
//! and closed sets of words.

use pointsman_shards::plan::Why;
use prometheus::proto::MetricFamily;

use super::family::{Family, Shape, counter, gauge};

/// The counts of a database that is spread over shards.
#[derive(Debug, Clone, Default)]
pub struct ShardedSnapshot {
    /// What clients call it; `*` if it takes any name.
    pub database: String,
    /// Statements gathered from several shards.
    pub gathered: u64,
    /// Statements written on several shards.
    pub written: u64,
    /// Statements asked of the coordinator, in the order of [`Why::ALL`].
    pub coordinated: [u64; Why::ALL.len()],
    /// Statements refused, in the order of [`Why::ALL`].
    pub refused: [u64; Why::ALL.len()],
    /// Transactions on several shards; none if they are not allowed.
    pub two_phase: Option<TwoPhaseSnapshot>,
}

/// What became of transactions on several shards.
#[derive(Debug, Clone, Copy, Default)]
pub struct TwoPhaseSnapshot {
    /// Committed, the late ones included.
    pub committed: u64,
    /// Of these, not yet on all shards when the client was told.
    pub late: u64,
    /// Rolled back on all shards.
    pub rolled_back: u64,
    /// Whose decision is not known.
    pub unknown: u64,
    /// Parts that recovery has committed.
    pub recovered_commits: u64,
    /// Parts that recovery has rolled back.
    pub recovered_rollbacks: u64,
    /// Prepared parts, and shards that cannot be asked, that recovery cannot deal with.
    pub stuck: usize,
    /// Prepared parts that may be on their way.
    pub young: usize,
}

const STATEMENTS: Shape = counter(
    "pointsman_shards_statements_total",
    "Statements done on several shards of a sharded database, by outcome: gathered (read) or written.",
);
const COORDINATED: Shape = counter(
    "pointsman_shards_coordinated_total",
    "Statements asked of the coordinator, by the reason why the shards could not be asked one by one.",
);
const REFUSED: Shape = counter(
    "pointsman_shards_refused_total",
    "Statements for several shards that were refused, by reason: the part that cannot be done there.",
);
const TRANSACTIONS: Shape = counter(
    "pointsman_two_phase_transactions_total",
    "Transactions on several shards, by outcome: committed, rolled_back, or unknown for want of an answer.",
);
const LATE: Shape = counter(
    "pointsman_two_phase_late_total",
    "Transactions committed on several shards whose clients were told before all shards had finished.",
);
const RECOVERED: Shape = counter(
    "pointsman_two_phase_recovered_total",
    "Prepared parts of transactions that recovery has finished, by outcome: committed or rolled_back.",
);
const DOUBTFUL: Shape = gauge(
    "pointsman_two_phase_doubtful",
    "What recovery has left, by state: stuck (a prepared part or a shard that it cannot deal with) or young (prepared a moment \
     ago). SHOW TWO_PHASE lists it.",
);

/// The families' shapes.
pub(super) fn shapes() -> impl Iterator<Item = &'static Shape> {
    [&STATEMENTS, &COORDINATED, &REFUSED, &TRANSACTIONS, &LATE, &RECOVERED, &DOUBTFUL].into_iter()
}

/// The families, filled.
pub(super) fn families(databases: &[ShardedSnapshot]) -> Vec<MetricFamily> {
    let mut families = statement_families(databases).to_vec();
    families.extend(two_phase_families(databases));
    families
}

fn statement_families(databases: &[ShardedSnapshot]) -> [MetricFamily; 3] {
    let [mut statements, mut coordinated, mut refused] =
        [&STATEMENTS, &COORDINATED, &REFUSED].map(Family::new);
    for one in databases {
        let database = ("database", one.database.as_str());
        for (outcome, count) in [("gathered", one.gathered), ("written", one.written)] {
            statements.add(&[database, ("outcome", outcome)], count as f64);
        }
        for (family, counts) in [(&mut coordinated, &one.coordinated), (&mut refused, &one.refused)] {
            for (why, count) in Why::ALL.into_iter().zip(counts) {
                family.add(&[database, ("reason", why.name())], *count as f64);
            }
        }
    }
    [statements.done(), coordinated.done(), refused.done()]
}

fn two_phase_families(databases: &[ShardedSnapshot]) -> [MetricFamily; 4] {
    let [mut transactions, mut late, mut recovered, mut doubtful] =
        [&TRANSACTIONS, &LATE, &RECOVERED, &DOUBTFUL].map(Family::new);
    for one in databases {
        let Some(counts) = one.two_phase else { continue };
        let database = ("database", one.database.as_str());
        let outcomes = [
            ("committed", counts.committed),
            ("rolled_back", counts.rolled_back),
            ("unknown", counts.unknown),
        ];
        for (outcome, count) in outcomes {
            transactions.add(&[database, ("outcome", outcome)], count as f64);
        }
        late.add(&[database], counts.late as f64);
        for (outcome, count) in
            [("committed", counts.recovered_commits), ("rolled_back", counts.recovered_rollbacks)]
        {
            recovered.add(&[database, ("outcome", outcome)], count as f64);
        }
        for (state, count) in [("stuck", counts.stuck), ("young", counts.young)] {
            doubtful.add(&[database, ("state", state)], count as f64);
        }
    }
    [transactions.done(), late.done(), recovered.done(), doubtful.done()]
}
