//! SHOW SHARDS, SHOW SHARD_STATS and SHOW TWO_PHASE: the shards of each sharded database, what became of statements over several, and
//! what is in doubt.

use pointsman_shards::plan::Why;

use super::topology::state;
use crate::admin::console::table::{Table, flag, some};
use crate::metrics::{DatabaseSnapshot, PoolSource, ShardedSnapshot, TwoPhaseSnapshot};
use crate::proxy::Proxy;
use crate::sharded::{Group, Part};
use crate::upstream::config::Role;

pub(super) const SHARDS: &[&str] = &[
    "database",
    "shard",
    "cluster",
    "server_database",
    "primary",
    "state",
    "replicas",
    "replicas_up",
    "queries",
    "paused",
];

/// A row for each shard, and one for the coordinator after them.
pub(super) fn shards(proxy: &Proxy, table: &mut Table) {
    let used = proxy.databases();
    for group in proxy.clusters.groups().iter() {
        for (number, part) in group.shards.iter().enumerate() {
            table.row(part_row(group, number.to_string(), part, &used));
        }
        if let Some(part) = &group.coordinator {
            table.row(part_row(group, "coordinator".to_owned(), part, &used));
        }
    }
}

fn part_row(group: &Group, shard: String, part: &Part, used: &[DatabaseSnapshot]) -> [Option<String>; 10] {
    let cluster = &part.cluster;
    let name = &cluster.config().name;
    let servers = cluster.servers();
    let primary = cluster.primary().and_then(|index| servers.get(index));
    let replicas = || {
        let live = servers.iter().filter(|server| !server.is_removed());
        live.filter(|server| server.role() == Role::Replica)
    };
    let used = used.iter().find(|used| used.cluster == *name && used.database == part.database);
    [
        some(group.shown_name()),
        Some(shard),
        some(name),
        some(&part.database),
        primary.and_then(|server| some(&server.config.address)),
        some(primary.map_or("no primary", |server| state(server))),
        some(replicas().count()),
        some(replicas().filter(|server| server.is_readable_replica()).count()),
        some(used.map_or(0, |used| used.used.queries)),
        flag(used.map_or_else(|| cluster.is_paused(), |used| used.paused)),
    ]
}

pub(super) const STATS: &[&str] = &["database", "what", "reason", "count"];

/// Rows for each sharded database: what was done; and by reason what the coordinator was asked and what was refused, where that
/// was anything.
pub(super) fn stats(proxy: &Proxy, table: &mut Table) {
    for one in proxy.sharded() {
        fill_stats(&one, table);
    }
}

fn fill_stats(one: &ShardedSnapshot, table: &mut Table) {
    let mut row = |what: &str, reason: Option<&str>, count: u64| {
        table.row([some(&one.database), some(what), reason.and_then(some), some(count)]);
    };
    row("gathered", None, one.gathered);
    row("written", None, one.written);
    for (what, counts) in [("coordinated", &one.coordinated), ("refused", &one.refused)] {
        for (why, count) in Why::ALL.into_iter().zip(counts).filter(|(_, count)| **count > 0) {
            row(what, Some(why.name()), *count);
        }
    }
    let Some(TwoPhaseSnapshot {
        committed,
        late,
        rolled_back,
        unknown,
        recovered_commits,
        recovered_rollbacks,
        ..
    }) = one.two_phase
    else {
        return;
    };
    for (what, count) in [
        ("committed", committed),
        ("committed_late", late),
        ("rolled_back", rolled_back),
        ("unknown", unknown),
        ("recovered_commits", recovered_commits),
        ("recovered_rollbacks", recovered_rollbacks),
    ] {
        row(what, None, count);
    }
}

pub(super) const TWO_PHASE: &[&str] =
    &["database", "shard", "cluster", "gid", "owner", "age_seconds", "reason", "stuck"];

/// A row for each prepared transaction that the last recovery has left, and for each shard that it could not ask.
pub(super) fn two_phase(proxy: &Proxy, table: &mut Table) {
    for group in proxy.clusters.groups().iter() {
        let Some(two_phase) = &group.two_phase else { continue };
        for doubtful in two_phase.doubtful().iter() {
            let cluster = group.shards.get(doubtful.shard).map(|part| part.cluster.config().name.clone());
            table.row([
                some(group.shown_name()),
                some(doubtful.shard),
                cluster,
                some(&doubtful.gid),
                some(&doubtful.owner),
                some(format_args!("{:.3}", doubtful.age.as_secs_f64())),
                some(&doubtful.reason),
                flag(doubtful.stuck),
            ]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_listed_where_they_were_counted() {
        let mut one =
            ShardedSnapshot { database: "social".into(), gathered: 3, ..ShardedSnapshot::default() };
        one.refused[2] = 4;
        let mut table = Table::new(STATS);
        fill_stats(&one, &mut table);
        let shown: Vec<String> = table
            .rows
            .iter()
            .map(|row| row.iter().map(|value| value.as_deref().unwrap_or("-")).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(shown, ["social gathered - 3", "social written - 0", "social refused aggregate 4"]);
        one.two_phase = Some(TwoPhaseSnapshot { committed: 7, late: 1, ..TwoPhaseSnapshot::default() });
        fill_stats(&one, &mut table);
        assert_eq!(table.rows.len(), 3 + 9);
    }
}
