//! Node numbers as rows of a table on the first shard.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pointsman_shards::ids::NODES_MAX;
use tokio_postgres::SimpleQueryMessage;

use super::super::{Leased, unix_ms};
use crate::fault::Fault;
use crate::upstream::cluster::Cluster;
use crate::upstream::own::{self, Own};

/// How long a lease lasts.
const LEASE: Duration = Duration::from_secs(60);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(15);
/// One statement, and the connection that it takes.
const STEP: Duration = Duration::from_secs(5);
/// Tries to get a node that other proxies get first.
const TRIES: usize = 8;

/// What own connections are set to: their default is to read only. A lease waits for the disk and for synchronous standbys.
const SETTINGS: &str = "\
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; \
SET synchronous_commit = on";

/// The table. `ids_from` is the last millisecond of the holder before, `ids_until` that of this one: both since the Unix epoch.
const TABLE: &str = "\
BEGIN;
SELECT pg_advisory_xact_lock(hashtext('pointsman.nodes'));
CREATE SCHEMA IF NOT EXISTS pointsman;
CREATE TABLE IF NOT EXISTS pointsman.nodes (
  node int PRIMARY KEY CHECK (node BETWEEN 0 AND 1023),
  owner text NOT NULL,
  until timestamptz NOT NULL,
  ids_from bigint NOT NULL,
  ids_until bigint NOT NULL
);
COMMIT";

/// Leases of one owner.
pub(super) struct Table {
    /// The first shard: its cluster, and what its servers call the database.
    first: (Arc<Cluster>, String),
    owner: String,
    own: Option<Own>,
}

impl Table {
    pub(super) fn new(first: (Arc<Cluster>, String), owner: String) -> Self {
        Self { first, owner, own: None }
    }

    /// A connection to where the primary is now, after each failure another.
    async fn connection(&mut self) -> Result<Own, Fault> {
        let (cluster, database) = &self.first;
        let (config, servers) = (cluster.config(), cluster.servers());
        let primary = cluster.primary().and_then(|index| servers.get(index));
        let primary =
            primary.ok_or_else(|| Fault::upstream("08001", "shard 0 has no primary at the moment"))?;
        if let Some(own) = self.own.take().filter(|own| !own.is_closed() && own.leads_to(primary)) {
            return Ok(own);
        }
        let own = own::connect(&config, primary, database, STEP).await?;
        own::ask(STEP, own.batch_execute(SETTINGS)).await?;
        Ok(own)
    }

    /// Holds a node for longer, and says when to do so again; `None`: it is somebody else's.
    pub(super) async fn renew(&mut self, leased: &Leased) -> Result<Option<Duration>, Fault> {
        let own = self.connection().await?;
        let sql = format!(
            "UPDATE pointsman.nodes SET until = clock_timestamp() + interval '{} s', ids_until = greatest(ids_until, {}) \
             WHERE node = {} AND owner = '{}' RETURNING ids_until",
            LEASE.as_secs(),
            unix_ms().saturating_add(lease_ms()),
            leased.node,
            self.owner
        );
        let rows = rows(&own, &sql).await?;
        self.own = Some(own);
        let Some(row) = rows.first() else { return Ok(None) };
        leased.until_ms.store(number(row, 0), Ordering::Release);
        Ok(Some(RENEW))
    }

    /// Leases the highest node that nobody has, of those whose holders' ids were all of the past if there is one.
    pub(super) async fn take(&mut self) -> Result<(Leased, Duration), Fault> {
        let own = self.connection().await?;
        let leased = take(&own, &self.owner).await?;
        self.own = Some(own);
        Ok((leased, RENEW))
    }
}

async fn take(own: &Own, owner: &str) -> Result<Leased, Fault> {
    let there = rows(own, "SELECT to_regclass('pointsman.nodes') IS NOT NULL").await?;
    if there.first().and_then(|row| row.first()).is_none_or(|there| there != "t") {
        rows(own, TABLE).await?;
    }
    let now = unix_ms();
    let sql = format!(
        "INSERT INTO pointsman.nodes AS there (node, owner, until, ids_from, ids_until) \
         SELECT number, '{}', clock_timestamp() + interval '{} s', 0, {now} + {ms} \
         FROM generate_series(0, {}) AS number LEFT JOIN pointsman.nodes ON node = number \
         WHERE until IS NULL OR until < clock_timestamp() \
         ORDER BY coalesce(ids_until, 0) >= {now}, number DESC LIMIT 1 \
         ON CONFLICT (node) DO UPDATE SET owner = excluded.owner, until = excluded.until, \
         ids_from = there.ids_until, ids_until = greatest(there.ids_until, {now}) + {ms} \
         WHERE there.until < clock_timestamp() RETURNING node, ids_from, ids_until",
        owner,
        LEASE.as_secs(),
        NODES_MAX - 1,
        ms = lease_ms(),
    );
    for _ in 0..TRIES {
        let rows = rows(own, &sql).await?;
        let Some(row) = rows.first() else { continue };
        let node = u16::try_from(number(row, 0)).unwrap_or(NODES_MAX);
        if let Some(leased) = Leased::new(node, number(row, 1), number(row, 2)) {
            return Ok(leased);
        }
    }
    Err(Fault::pointsman("55000", "all nodes are leased"))
}

/// How long ids may be made by a lease, in milliseconds.
fn lease_ms() -> u64 {
    u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX)
}

fn number(row: &[String], column: usize) -> u64 {
    row.get(column).and_then(|text| text.parse().ok()).unwrap_or(0)
}

async fn rows(own: &Own, sql: &str) -> Result<Vec<Vec<String>>, Fault> {
    let messages = own::ask(STEP, own.simple_query(sql)).await?;
    let texts = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned()).collect())
        }
        _ => None,
    };
    Ok(messages.into_iter().filter_map(texts).collect())
}
