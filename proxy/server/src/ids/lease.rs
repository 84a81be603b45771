//! Leases of node numbers: rows of a table on the first shard, made when ids are first asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pointsman_shards::ids::{Ids, NODES_MAX};
use tokio_postgres::SimpleQueryMessage;

use super::{Grant, Leased, Maker, unix_ms};
use crate::fault::Fault;
use crate::upstream::own::{self, Own};

/// How long a lease lasts.
const LEASE: Duration = Duration::from_secs(60);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(15);
/// After how long what failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
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

impl Maker {
    /// Leases a node once ids are asked for, and renews the lease until it is retired.
    pub async fn keep(self: Arc<Self>) {
        if self.node.is_some() {
            return;
        }
        self.wanted.notified().await;
        let (mut own, mut told) = (None, String::new());
        while !self.retired.load(Ordering::Acquire) {
            let pause = match self.step(&mut own).await {
                Ok(()) => {
                    told.clear();
                    RENEW
                }
                Err(fault) => {
                    own = None;
                    self.note(&fault, &mut told);
                    AGAIN
                }
            };
            let _timeout = tokio::time::timeout(pause, self.retiring.notified()).await;
        }
    }

    /// What failed is told to those who ask for ids when there are none; and logged, once for as long as it stays the same.
    fn note(&self, fault: &Fault, told: &mut String) {
        let cause = fault.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
        let why = format!("{}{cause}", fault.told);
        if why != *told {
            tracing::warn!(%fault, "the lease of a node for ids");
        }
        if matches!(&**self.grant.load(), Grant::None(_)) {
            self.grant.store(Arc::new(Grant::None(why.clone().into())));
        }
        *told = why;
    }

    /// Renews the lease, or takes one.
    async fn step(&self, kept: &mut Option<Own>) -> Result<(), Fault> {
        let Some((cluster, database)) = &self.shard else {
            return Err(Fault::pointsman("55000", "the database has no shards"));
        };
        let (config, servers) = (cluster.config(), cluster.servers());
        let primary = cluster.primary().and_then(|index| servers.get(index));
        let primary =
            primary.ok_or_else(|| Fault::upstream("08001", "shard 0 has no primary at the moment"))?;
        let fits = kept.as_ref().is_some_and(|own| !own.is_closed() && own.leads_to(primary));
        if !fits {
            let own = own::connect(&config, primary, database, STEP).await?;
            own::ask(STEP, own.batch_execute(SETTINGS)).await?;
            *kept = Some(own);
        }
        let Some(own) = kept.as_ref() else { return Ok(()) };
        if let Grant::Leased(leased) = &**self.grant.load() {
            if let Some(until) = self.renew(own, leased.node).await? {
                leased.until_ms.store(until, Ordering::Release);
                return Ok(());
            }
            tracing::warn!(node = leased.node, database, "another proxy has taken the node for ids");
            self.grant.store(Arc::new(Grant::None("another proxy has taken its node".into())));
        }
        let leased = self.take(own).await?;
        tracing::info!(node = leased.node, database, "a node for ids is leased");
        self.grant.store(Arc::new(Grant::Leased(leased)));
        Ok(())
    }

    /// Until when ids may be made then, in milliseconds; `None`: the lease is somebody else's.
    async fn renew(&self, own: &Own, node: u16) -> Result<Option<u64>, Fault> {
        let sql = format!(
            "UPDATE pointsman.nodes SET until = clock_timestamp() + interval '{} s', ids_until = greatest(ids_until, {}) \
             WHERE node = {node} AND owner = '{}' RETURNING ids_until",
            LEASE.as_secs(),
            unix_ms().saturating_add(lease_ms()),
            self.owner
        );
        Ok(rows(own, &sql).await?.first().map(|row| number(row, 0)))
    }

    /// Leases the highest node that nobody has, of those whose holders' ids were all of the past if there is one.
    async fn take(&self, own: &Own) -> Result<Leased, Fault> {
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
            self.owner,
            LEASE.as_secs(),
            NODES_MAX - 1,
            ms = lease_ms(),
        );
        for _ in 0..TRIES {
            let rows = rows(own, &sql).await?;
            let Some(row) = rows.first() else { continue };
            let node = u16::try_from(number(row, 0)).unwrap_or(NODES_MAX);
            if let Some(ids) = Ids::resume(node, number(row, 1)) {
                return Ok(Leased { node, ids, until_ms: AtomicU64::new(number(row, 2)) });
            }
        }
        Err(Fault::pointsman("55000", "all nodes are leased"))
    }
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
