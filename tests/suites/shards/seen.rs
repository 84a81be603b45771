//! Where statements went, by the servers' logs.
use std::collections::BTreeSet;

use pointsman_tests::{Proxy, Stage, Wire};

/// The shards whose logs hold a marker. The log's prefix names the database.
fn shards_of(stage: &Stage, marker: &str) -> BTreeSet<usize> {
    let of_log = |log: String| {
        let lines = log.lines().filter(|line| line.contains(marker)).map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    let mut found = BTreeSet::new();
    for (number, shard) in stage.shards.iter().enumerate() {
        let server = shard.servers.first().unwrap_or(&stage.primary);
        let name = format!("@{} ", shard.database);
        if of_log(server.log()).iter().any(|line| line.contains(&name)) {
            found.insert(number);
        }
    }
    found
}

/// The statement with this marker has run on these shards and no others. A marker is a name or a literal in the statement, as
/// comments are not kept in what is rewritten.
///
/// # Panics
/// When it has not.
pub(crate) fn ran_on(stage: &Stage, marker: &str, shards: &[usize]) {
    if Proxy::is_direct() {
        return;
    }
    let want: BTreeSet<usize> = shards.iter().copied().collect();
    assert_eq!(shards_of(stage, marker), want, "where {marker} ran");
}

/// On how many shards the statement with this marker has run.
pub(crate) fn spread(stage: &Stage, marker: &str) -> usize {
    if Proxy::is_direct() { 1 } else { shards_of(stage, marker).len() }
}

/// The first column of each row, `NULL` for null, of a simple query that must not fail.
pub(crate) async fn column(wire: &mut Wire, sql: &str) -> Vec<String> {
    let frames = wire.run(sql).await;
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    rows.map(|row| row.values().swap_remove(0).unwrap_or_else(|| "NULL".to_owned())).collect()
}

/// The first column of the rows of all parts together, sorted as text.
pub(crate) async fn everywhere(parts: &mut [Wire], sql: &str) -> Vec<String> {
    let mut all = Vec::new();
    for wire in parts {
        all.extend(column(wire, sql).await);
    }
    all.sort();
    all
}
