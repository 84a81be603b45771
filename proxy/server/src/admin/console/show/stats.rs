//! SHOW STATS: what each database has used.

use std::time::Duration;

use crate::admin::console::table::{Table, some};
use crate::metrics::{PoolSource, Used};
use crate::proxy::Proxy;

pub(super) const COLUMNS: &[&str] = &[
    "database",
    "total_server_assignment_count",
    "total_xact_count",
    "total_query_count",
    "total_received",
    "total_sent",
    "total_xact_time",
    "total_query_time",
    "total_wait_time",
    "total_client_parse_count",
    "total_server_parse_count",
    "total_bind_count",
    "avg_server_assignment_count",
    "avg_xact_count",
    "avg_query_count",
    "avg_recv",
    "avg_sent",
    "avg_xact_time",
    "avg_query_time",
    "avg_wait_time",
    "avg_client_parse_count",
    "avg_server_parse_count",
    "avg_bind_count",
    "cluster",
];

pub(super) const TOTALS: &[&str] = &[
    "database",
    "total_server_assignment_count",
    "total_xact_count",
    "total_query_count",
    "total_received",
    "total_sent",
    "total_xact_time",
    "total_query_time",
    "total_wait_time",
    "total_client_parse_count",
    "total_server_parse_count",
    "total_bind_count",
];

pub(super) const AVERAGES: &[&str] = &[
    "database",
    "avg_server_assignment_count",
    "avg_xact_count",
    "avg_query_count",
    "avg_recv",
    "avg_sent",
    "avg_xact_time",
    "avg_query_time",
    "avg_wait_time",
    "avg_client_parse_count",
    "avg_server_parse_count",
    "avg_bind_count",
    "cluster",
];

/// A row for each database, with totals, averages or both.
pub(super) fn fill(proxy: &Proxy, with_totals: bool, with_averages: bool, table: &mut Table) {
    let clusters = proxy.clusters.all();
    for database in proxy.databases() {
        let cluster = clusters.iter().find(|cluster| cluster.config().name == database.cluster);
        let name = cluster.map_or_else(
            || database.database.clone(),
            |cluster| super::client_name(proxy, cluster, &database.database),
        );
        let mut row = vec![Some(name)];
        if with_totals {
            row.extend(totals(database.used).map(some));
        }
        if with_averages {
            let (used, lasted) = database.last_period;
            row.extend(averages(used, lasted).map(some));
            row.push(Some(database.cluster));
        }
        table.row(row);
    }
}

/// In the order of the columns; times are in microseconds.
fn totals(used: Used) -> [u64; 11] {
    [
        used.assignments,
        used.transactions,
        used.queries,
        used.received,
        used.sent,
        used.transaction_micros,
        used.query_micros,
        used.wait_micros,
        used.client_parses,
        used.server_parses,
        used.binds,
    ]
}

/// In the order of the columns: counts a second, and times for each transaction, query or assignment.
fn averages(used: Used, lasted: Duration) -> [u64; 11] {
    let micros = u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX);
    let a_second = |count: u64| count.saturating_mul(1_000_000).checked_div(micros).unwrap_or(0);
    let each = |time: u64, count: u64| time.checked_div(count).unwrap_or(0);
    [
        a_second(used.assignments),
        a_second(used.transactions),
        a_second(used.queries),
        a_second(used.received),
        a_second(used.sent),
        each(used.transaction_micros, used.transactions),
        each(used.query_micros, used.queries),
        each(used.wait_micros, used.assignments),
        a_second(used.client_parses),
        a_second(used.server_parses),
        a_second(used.binds),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_rates_and_means() {
        let used = Used {
            queries: 120,
            query_micros: 2400,
            received: 6000,
            assignments: 4,
            wait_micros: 9,
            ..Used::default()
        };
        let found = averages(used, Duration::from_secs(60));
        assert_eq!(found, [0, 0, 2, 100, 0, 0, 20, 2, 0, 0, 0]);
        assert_eq!(averages(used, Duration::ZERO)[2], 0, "no period is over yet");
    }
}
