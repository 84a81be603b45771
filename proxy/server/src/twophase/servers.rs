//! Pointsman's own statements on shards' primaries, and what their failures mean.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio_postgres::SimpleQueryMessage;

use super::group::Group;
use crate::fault::Fault;
use crate::upstream::own::{self, Own};

/// What own connections are set to. Their default is to read only. Decisions wait for the disk and for synchronous standbys, whatever
/// the role's settings; and see each other's changes of a row.
const SETTINGS: &str = "\
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; \
SET synchronous_commit = on";

/// SQLSTATE of a prepared transaction that does not exist.
pub(super) const UNDEFINED_OBJECT: &str = "42704";
/// SQLSTATE of a table that does not exist.
pub(super) const UNDEFINED_TABLE: &str = "42P01";
/// SQLSTATE of what somebody may not do.
const NOT_ALLOWED: &str = "42501";

/// Why a statement of our own did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server has not done it: its SQLSTATE and message.
    Refused(String, String),
    /// It may have been done, or not, or will be.
    Lost(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(sqlstate, message) => write!(f, "{message} ({sqlstate})"),
            Self::Lost(why) => f.write_str(why),
        }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::upstream("08006", "a question of Pointsman's own failed").because(failure)
    }
}

impl Failure {
    fn of(error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            // A server that ends the connection may have committed before.
            Some(server) if server.severity() == "ERROR" => {
                Self::Refused(server.code().code().to_owned(), server.message().to_owned())
            }
            _ => Self::Lost(own::why(error)),
        }
    }
}

/// A connection to the primary of a shard, as the cluster's own user.
pub(super) async fn connect(group: &Group, shard: usize) -> Result<Own, Fault> {
    let cluster = &group.shards[shard];
    let (config, servers) = (cluster.config(), cluster.servers());
    let primary = cluster.primary().and_then(|index| servers.get(index));
    let primary = primary
        .ok_or_else(|| Fault::upstream("08001", format!("shard {shard} has no primary at the moment")))?;
    let own = own::connect(&config, primary, &group.database, group.terms.step).await?;
    own::ask(group.terms.step, own.batch_execute(SETTINGS)).await?;
    Ok(own)
}

/// Runs a statement; its rows as texts, NULL as the empty one.
pub(super) async fn question(own: &Own, limit: Duration, sql: &str) -> Result<Vec<Vec<String>>, Failure> {
    let messages = match tokio::time::timeout(limit, own.simple_query(sql)).await {
        Ok(Ok(messages)) => messages,
        Ok(Err(error)) => return Err(Failure::of(&error)),
        Err(_) => return Err(Failure::Lost(format!("no answer within {limit:?}"))),
    };
    let texts = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned()).collect())
        }
        _ => None,
    };
    Ok(messages.into_iter().filter_map(texts).collect())
}

/// What became of a prepared transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finished {
    /// It is committed, or rolled back.
    Here,
    /// There is none: somebody else has finished it, or it never was.
    Before,
    /// Why it is not finished.
    Not(String),
}

/// Finishes a prepared transaction.
pub(super) async fn finish(own: &Own, limit: Duration, gid: &str, commits: bool) -> Finished {
    match question(own, limit, &finishing(gid, commits)).await {
        Ok(_) => Finished::Here,
        Err(Failure::Refused(sqlstate, _)) if sqlstate == UNDEFINED_OBJECT => Finished::Before,
        Err(Failure::Refused(sqlstate, message)) if sqlstate == NOT_ALLOWED => Finished::Not(format!(
            "{message}: Pointsman's own user is neither a superuser nor the one who prepared it"
        )),
        Err(failure) => Finished::Not(failure.to_string()),
    }
}

/// The statement that finishes a prepared transaction. A name needs no escapes.
pub(super) fn finishing(gid: &str, commits: bool) -> String {
    let verb = if commits { "COMMIT" } else { "ROLLBACK" };
    format!("{verb} PREPARED '{gid}'")
}

/// Does all of it at once; the results in the order given.
pub(super) async fn each<T>(work: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut slots: Vec<(Pin<Box<_>>, Option<T>)> =
        work.into_iter().map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (future, result) in slots.iter_mut().filter(|(_, result)| result.is_none()) {
            match future.as_mut().poll(context) {
                Poll::Ready(value) => *result = Some(value),
                Poll::Pending => waiting = true,
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    slots.into_iter().filter_map(|(_, result)| result).collect()
}
