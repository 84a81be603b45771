//! The log of decisions: a table on the group's first shard, and the few statements that read and change it.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::group::Group;
use super::machine::Answer;
use super::name::{Name, PREFIX};
use super::servers::{Failure, UNDEFINED_TABLE, connect, question};
use crate::fault::Fault;
use crate::upstream::own::Own;

/// Connections for the log that a group has at once.
const CONNECTIONS_MAX: usize = 8;
/// Rows deleted at once.
const DELETED_MAX: usize = 1000;

/// The table. Proxies that make it at the same time wait for each other; rows are changed in place.
const TABLE: &str = "\
BEGIN;
SELECT pg_advisory_xact_lock(hashtext('pointsman.decisions'));
CREATE SCHEMA IF NOT EXISTS pointsman;
CREATE TABLE IF NOT EXISTS pointsman.decisions (
  gid text PRIMARY KEY,
  verdict text NOT NULL CHECK (verdict IN ('open', 'commit', 'abort', 'absent')),
  participants int[] NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMIT";

/// Connections for the log that nobody uses at the moment.
#[derive(Debug)]
pub(super) struct Shelf {
    idle: Mutex<Vec<Own>>,
    permits: Semaphore,
}

impl Default for Shelf {
    fn default() -> Self {
        Self { idle: Mutex::default(), permits: Semaphore::new(CONNECTIONS_MAX) }
    }
}

/// A connection for the log.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    own: Own,
    group: &'a Group,
    /// It was used before: what it leads to may be gone by now.
    pub(super) used: bool,
    _permit: SemaphorePermit<'a>,
}

/// What a row says to recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its transaction is committed.
    Commit,
    /// It is not, and will not be.
    RollBack,
}

impl<'a> Desk<'a> {
    /// Takes a connection that nobody uses, or makes one.
    pub(super) async fn take(group: &'a Group) -> Result<Self, Fault> {
        let full =
            || Fault::pointsman("53300", format!("no connection for the log within {:?}", group.terms.step));
        let permit = tokio::time::timeout(group.terms.step, group.log.permits.acquire()).await;
        let permit = permit.map_err(|_| full())?.map_err(|_| full())?;
        let cluster = &group.shards[0];
        let servers = cluster.servers();
        let primary = cluster.primary().and_then(|index| servers.get(index)).cloned();
        let idle = {
            let mut idle = group.log.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|own| {
                !own.is_closed() && primary.as_ref().is_some_and(|primary| own.leads_to(primary))
            });
            idle.pop()
        };
        let (own, used) = match idle {
            Some(own) => (own, true),
            None => (connect(group, 0).await?, false),
        };
        Ok(Self { own, group, used, _permit: permit })
    }

    /// Keeps it for others: nothing is owed to it.
    pub(super) fn give_back(self) {
        self.group.log.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.own);
    }

    async fn ask(&self, sql: &str) -> Result<Vec<Vec<String>>, Failure> {
        question(&self.own, self.group.terms.step, sql).await
    }

    /// Makes the table unless it is there.
    pub(super) async fn prepare(&self) -> Result<(), Failure> {
        if self.has_table().await? {
            return Ok(());
        }
        self.ask(TABLE).await.map(drop)
    }

    /// Ends a transaction of ours that has failed.
    pub(super) async fn undo(&self) -> Result<(), Failure> {
        self.ask("ROLLBACK").await.map(drop)
    }

    /// Whether the table is there.
    pub(super) async fn has_table(&self) -> Result<bool, Failure> {
        let there = self.ask("SELECT to_regclass('pointsman.decisions') IS NOT NULL").await?;
        Ok(there.first().and_then(|row| row.first()).is_some_and(|value| value == "t"))
    }

    /// Writes a transaction's row, not decided. Not flushed: if it is lost, the transaction cannot be committed any more.
    pub(super) async fn register(&self, name: &Name, shards: &[usize]) -> Result<(), Failure> {
        let shards: Vec<String> = shards.iter().map(usize::to_string).collect();
        let sql = format!(
            "BEGIN; SET LOCAL synchronous_commit = off; \
             INSERT INTO pointsman.decisions (gid, verdict, participants) VALUES ('{name}', 'open', '{{{}}}'); COMMIT",
            shards.join(",")
        );
        self.ask(&sql).await.map(drop)
    }

    /// Changes the row to `commit` if it is not decided. Doing it again does no harm.
    pub(super) async fn decide(&self, name: &Name) -> Result<Answer, Failure> {
        let sql = format!(
            "UPDATE pointsman.decisions SET changed_at = now(), \
             verdict = CASE verdict WHEN 'open' THEN 'commit' ELSE verdict END WHERE gid = '{name}' RETURNING verdict"
        );
        let rows = self.ask(&sql).await?;
        Ok(match rows.first().and_then(|row| row.first()).map(String::as_str) {
            Some("commit") => Answer::Done,
            Some("abort") => Answer::Aborted,
            _ => Answer::Absent,
        })
    }

    /// Sees to it that the row is decided, and tells what it says. It writes in any case, so that its answer is from the primary
    /// and is flushed before anybody acts on it.
    pub(super) async fn resolve(&self, name: &Name) -> Result<Verdict, Failure> {
        let sql = format!(
            "INSERT INTO pointsman.decisions AS there (gid, verdict, participants) VALUES ('{name}', 'absent', '{{}}') \
             ON CONFLICT (gid) DO UPDATE SET verdict = CASE there.verdict WHEN 'open' THEN 'abort' ELSE there.verdict END \
             RETURNING verdict"
        );
        let rows = self.ask(&sql).await?;
        match rows.first().and_then(|row| row.first()).map(String::as_str) {
            Some("commit") => Ok(Verdict::Commit),
            Some("abort" | "absent") => Ok(Verdict::RollBack),
            _ => Err(Failure::Lost("the log has no verdict".to_owned())),
        }
    }

    /// Rows of this group that have not changed for as long as they are kept; none if there is no table.
    pub(super) async fn old(&self) -> Result<Vec<String>, Failure> {
        let sql = format!(
            "SELECT gid FROM pointsman.decisions WHERE gid ~ '^{PREFIX}{}_[0-9]+_[0-9a-f]{{16}}$' \
             AND changed_at < now() - interval '{} milliseconds' ORDER BY changed_at LIMIT {DELETED_MAX}",
            self.group.name,
            self.group.terms.retention.as_millis()
        );
        match self.ask(&sql).await {
            Ok(rows) => Ok(rows.into_iter().flatten().collect()),
            Err(Failure::Refused(sqlstate, _)) if sqlstate == UNDEFINED_TABLE => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    /// Deletes rows that have still not changed.
    pub(super) async fn delete(&self, gids: &[String]) -> Result<(), Failure> {
        let gids: Vec<String> = gids.iter().map(|gid| format!("'{gid}'")).collect();
        let sql = format!(
            "DELETE FROM pointsman.decisions WHERE gid IN ({}) AND changed_at < now() - interval '{} milliseconds'",
            gids.join(","),
            self.group.terms.retention.as_millis()
        );
        self.ask(&sql).await.map(drop)
    }
}
