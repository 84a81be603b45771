//! What each database has used, as metric families.

use std::time::Duration;

use prometheus::proto::MetricFamily;

use super::family::{Family, Shape, counter, gauge};
use super::usage::Used;

/// One database at one moment, its users together.
#[derive(Debug, Clone, Default)]
pub struct DatabaseSnapshot {
    /// Name of its cluster.
    pub cluster: String,
    /// Its name, as the server calls it.
    pub database: String,
    /// What was used since start.
    pub used: Used,
    /// What was used in the last whole period, and how long that was.
    pub last_period: (Used, Duration),
    /// Whether its clients are kept waiting until it is resumed.
    pub paused: bool,
}

const TRANSACTIONS: Shape = counter(
    "pointsman_database_transactions_total",
    "Transactions ended in the database, those of a single statement included.",
);
const QUERIES: Shape = counter(
    "pointsman_database_queries_total",
    "Requests answered by servers: simple queries, and batches of the extended protocol up to their Sync.",
);
const RECEIVED: Shape =
    counter("pointsman_database_received_bytes_total", "Bytes received from the database's clients.");
const SENT: Shape = counter("pointsman_database_sent_bytes_total", "Bytes sent to the database's clients.");
const TRANSACTION_TIME: Shape = counter(
    "pointsman_database_transaction_seconds_total",
    "Time that clients spent in transactions on a server connection, idle in them or not.",
);
const QUERY_TIME: Shape = counter(
    "pointsman_database_query_seconds_total",
    "Time that clients spent with a request under way on a server connection.",
);
const WAIT_TIME: Shape = counter(
    "pointsman_database_wait_seconds_total",
    "Time that the database's clients have waited for a server connection.",
);
const PAUSED: Shape = gauge(
    "pointsman_database_paused",
    "1 while the admin console keeps the database's clients waiting, else 0.",
);

/// A family and how its value is read from a database.
type DatabaseFamily = (&'static Shape, fn(&DatabaseSnapshot) -> f64);

const FAMILIES: [DatabaseFamily; 8] = [
    (&TRANSACTIONS, |database| database.used.transactions as f64),
    (&QUERIES, |database| database.used.queries as f64),
    (&RECEIVED, |database| database.used.received as f64),
    (&SENT, |database| database.used.sent as f64),
    (&TRANSACTION_TIME, |database| seconds(database.used.transaction_micros)),
    (&QUERY_TIME, |database| seconds(database.used.query_micros)),
    (&WAIT_TIME, |database| seconds(database.used.wait_micros)),
    (&PAUSED, |database| f64::from(u8::from(database.paused))),
];

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// The families' shapes.
pub(super) fn shapes() -> impl Iterator<Item = &'static Shape> {
    FAMILIES.iter().map(|(shape, _)| *shape)
}

/// The families, filled. A database that has not served a transaction yet is left out: anyone may ask for a name.
pub(super) fn families(databases: &[DatabaseSnapshot]) -> Vec<MetricFamily> {
    let fill = |(shape, read): &DatabaseFamily| {
        let mut family = Family::new(shape);
        for database in databases.iter().filter(|database| database.used.transactions > 0) {
            let labels = [("cluster", database.cluster.as_str()), ("database", &database.database)];
            family.add(&labels, read(database));
        }
        family.done()
    };
    FAMILIES.iter().map(fill).collect()
}
