//! A transaction that may be on several shards: on each that it has touched an inner session has one open. It commits on all
//! or on none.

use pointsman_sql::{Facts, Kind};
use pointsman_wire::backend::TransactionStatus;

use super::super::Session;
use super::super::begin::Idle;
use super::super::failed::aborted;
use super::across::no_shards;
use super::leg::Leg;
use super::query::Outcome;
use crate::fault::Fault;
use crate::twophase::{Participant as _, Trouble, commit};

/// The client's transaction.
#[derive(Debug, Default)]
pub(super) struct Spanning {
    /// What begins it, and what was said since that counts on every shard: savepoints, `SET LOCAL`.
    opening: Vec<Vec<u8>>,
    pub(super) legs: Vec<Leg>,
    /// Its savepoints, the last one last.
    savepoints: Vec<Box<str>>,
    /// Legs that are in use.
    leased: usize,
    /// A shard's part is lost: only the end of all is left.
    broken: bool,
    /// It ends with the client's `Sync`, or its text.
    implicit: bool,
    /// How long the client may be idle.
    pub(super) idle: Option<Idle>,
}

impl Session {
    /// Whether the client is in a transaction that may be on several shards.
    pub(in crate::session) fn spans(&self) -> bool {
        self.shards.as_ref().is_some_and(|shards| shards.spanning.is_some())
    }

    /// Whether that ends with the client's `Sync`, or its text.
    pub(super) fn spans_implicitly(&self) -> bool {
        let spanning = self.shards.as_ref().and_then(|shards| shards.spanning.as_ref());
        spanning.is_some_and(|spanning| spanning.implicit)
    }

    /// Whether transactions may be on several shards.
    pub(in crate::session) fn may_span(&self) -> bool {
        self.shards.as_ref().is_some_and(|shards| shards.group.two_phase.is_some())
    }

    /// Begins one.
    pub(in crate::session) fn begin_spanning(&mut self, sql: &[u8], implicit: bool) {
        let (opening, idle) = match implicit {
            true => (vec![sql.to_vec()], None),
            false => self.opening(sql),
        };
        if let Some(shards) = &mut self.shards {
            let spanning = Spanning { opening, implicit, idle, ..Spanning::default() };
            shards.spanning = Some(Box::new(spanning));
            self.status = TransactionStatus::InTransaction;
        }
    }

    fn spanning(&mut self) -> Option<&mut Spanning> {
        self.shards.as_mut()?.spanning.as_deref_mut()
    }

    /// A shard that takes part in the transaction.
    pub(super) fn spanning_shard(&self) -> Option<usize> {
        let spanning = self.shards.as_ref()?.spanning.as_ref()?;
        spanning.legs.first().map(|leg| leg.shard)
    }

    /// An inner session on a shard: the transaction's own, if there is one.
    pub(super) async fn lease_leg(&mut self, shard: usize) -> Result<Leg, Fault> {
        if let Some(spanning) = self.spanning() {
            spanning.leased += 1;
            if let Some(at) = spanning.legs.iter().position(|leg| leg.shard == shard) {
                return Ok(spanning.legs.swap_remove(at));
            }
        }
        let mut leg = self.open_leg(shard).ok_or_else(no_shards)?;
        let opening = self.spanning().map(|spanning| spanning.opening.clone()).unwrap_or_default();
        for sql in opening {
            let ran = leg.run(&String::from_utf8_lossy(&sql)).await;
            if let Err(Trouble::Refused(fault) | Trouble::Lost(fault)) = ran {
                return Err(fault);
            }
        }
        Ok(leg)
    }

    /// The same for several shards.
    pub(super) async fn lease_legs(&mut self, shards: &[usize]) -> Result<Vec<Leg>, Fault> {
        let mut legs = Vec::with_capacity(shards.len());
        for shard in shards {
            legs.push(self.lease_leg(*shard).await?);
        }
        Ok(legs)
    }

    /// Gives inner sessions back. Those of a transaction are kept, once they have answered all; `failed` cancels what still runs.
    pub(super) async fn return_legs(&mut self, legs: Vec<Leg>, failed: bool) {
        for mut leg in legs {
            if !self.spans() {
                continue;
            }
            if failed {
                leg.cancel();
            }
            if leg.settle().await.is_ok()
                && let Some(spanning) = self.spanning()
            {
                spanning.leased = spanning.leased.saturating_sub(1);
                spanning.legs.push(leg);
            }
        }
    }

    /// Performs what steers the transaction; `None` if the statement does not.
    pub(super) async fn steer_spanning(
        &mut self,
        facts: &Facts,
        sql: &[u8],
    ) -> Option<Result<Outcome, Fault>> {
        let failed = self.status == TransactionStatus::Failed;
        let Some(single) = facts.single() else { return failed.then(|| Err(aborted())) };
        let outcome = match &single.kind {
            Kind::Commit { chain } if !failed => self.commit_spanning(*chain).await,
            Kind::Commit { chain } | Kind::Rollback { chain } => self.roll_back_spanning(*chain).await,
            Kind::RollbackTo(name) => self.steer_savepoint(name, &single.kind, sql).await,
            _ if failed => Err(aborted()),
            Kind::Begin(_) => self.begin_again(sql),
            Kind::Savepoint(name) | Kind::Release(name) => {
                self.steer_savepoint(name, &single.kind, sql).await
            }
            Kind::SetTransaction(_) => self.steer_all(sql).await,
            Kind::Set(setting) if setting.local => self.steer_all(sql).await,
            Kind::Set(_)
            | Kind::Reset(_)
            | Kind::ResetAll
            | Kind::Discard(_)
            | Kind::SetSessionCharacteristics(_) => Err(Fault::pointsman(
                "0A000",
                "a setting of the session inside a transaction that may be on several shards",
            )
            .hint("Use SET LOCAL, or change the setting outside of the transaction.")),
            Kind::PrepareTransaction => Err(Fault::pointsman(
                "0A000",
                "PREPARE TRANSACTION of a transaction that may be on several shards",
            )
            .hint("COMMIT does it on all of them together.")),
            _ => return None,
        };
        Some(outcome)
    }

    /// Runs a command of savepoints on every shard. Whether there is one of the name is known here: perhaps no shard takes part yet.
    async fn steer_savepoint(&mut self, name: &str, kind: &Kind, sql: &[u8]) -> Result<Outcome, Fault> {
        let known = self
            .spanning()
            .and_then(|spanning| spanning.savepoints.iter().rposition(|savepoint| **savepoint == *name));
        let left = match (kind, known) {
            (Kind::Savepoint(_), _) => None,
            (Kind::RollbackTo(_), Some(at)) => Some(at + 1),
            (_, Some(at)) => Some(at),
            (_, None) => {
                return Err(Fault::client("3B001", format!("savepoint \"{name}\" does not exist")));
            }
        };
        let outcome = self.steer_all(sql).await?;
        if let Some(spanning) = self.spanning() {
            match left {
                Some(left) => spanning.savepoints.truncate(left),
                None => spanning.savepoints.push(name.into()),
            }
        }
        Ok(outcome)
    }

    /// Runs a command on every shard that takes part, and on those that will.
    async fn steer_all(&mut self, sql: &[u8]) -> Result<Outcome, Fault> {
        let Some(spanning) = self.spanning() else { return Err(no_shards()) };
        if spanning.broken || spanning.leased > 0 {
            return Err(aborted());
        }
        let text = String::from_utf8_lossy(sql).into_owned();
        let mut tag = command_word(&text);
        let mut legs = std::mem::take(&mut spanning.legs);
        let mut refused = None;
        for leg in &mut legs {
            match leg.run(&text).await {
                Ok(told) => tag = told,
                Err(Trouble::Refused(fault)) => refused = Some(fault),
                Err(Trouble::Lost(fault)) => {
                    refused = Some(fault);
                    if let Some(spanning) = self.spanning() {
                        spanning.broken = true;
                    }
                }
            }
        }
        if let Some(spanning) = self.spanning() {
            spanning.legs = legs;
            if refused.is_none() {
                spanning.opening.push(sql.to_vec());
            }
        }
        match refused {
            Some(fault) => Err(fault),
            None => {
                self.status = TransactionStatus::InTransaction;
                Ok(Outcome::Complete(tag))
            }
        }
    }

    /// `BEGIN` inside of a transaction. One that was to end with its text goes on from here as the client's own.
    fn begin_again(&mut self, sql: &[u8]) -> Result<Outcome, Fault> {
        match self.spanning() {
            Some(Spanning { implicit: true, legs, leased: 0, .. }) if legs.is_empty() => {
                self.begin_spanning(sql, false);
            }
            Some(spanning) if spanning.implicit => spanning.implicit = false,
            _ => self.tell_warning("25001", "there is already a transaction in progress"),
        }
        Ok(Outcome::Complete("BEGIN".into()))
    }

    /// Commits on all shards, or on none.
    pub(super) async fn commit_spanning(&mut self, chain: bool) -> Result<Outcome, Fault> {
        let Some(shards) = &mut self.shards else { return Err(no_shards()) };
        let Some(mut spanning) = shards.spanning.take() else { return Err(no_shards()) };
        self.status = TransactionStatus::Idle;
        if spanning.broken || spanning.leased > 0 {
            return Err(aborted());
        }
        let two_phase = self.two_phase()?;
        match spanning.legs.as_mut_slice() {
            [] => {}
            [leg] => match leg.run("COMMIT").await {
                Ok(_) => {}
                Err(Trouble::Refused(fault) | Trouble::Lost(fault)) => return Err(fault),
            },
            legs => {
                two_phase.ready().await?;
                self.count_across(|counts| &counts.written);
                let outcome = commit(&two_phase, legs).await?;
                self.warn(&outcome);
            }
        }
        for leg in &spanning.legs {
            self.note_written_on(leg.shard);
        }
        self.chain(chain, &spanning);
        Ok(Outcome::Complete("COMMIT".into()))
    }

    /// Rolls back on all shards.
    pub(super) async fn roll_back_spanning(&mut self, chain: bool) -> Result<Outcome, Fault> {
        let Some(shards) = &mut self.shards else { return Err(no_shards()) };
        let Some(mut spanning) = shards.spanning.take() else { return Err(no_shards()) };
        self.status = TransactionStatus::Idle;
        for leg in &mut spanning.legs {
            // A connection that is lost has nothing to roll back.
            let _ended = leg.run("ROLLBACK").await;
        }
        self.chain(chain, &spanning);
        Ok(Outcome::Complete("ROLLBACK".into()))
    }

    /// `AND CHAIN`: the next transaction begins as this one did.
    fn chain(&mut self, chain: bool, before: &Spanning) {
        if chain && let Some(begin) = before.opening.first() {
            self.begin_spanning(begin, false);
        }
    }

    /// A statement of the transaction has failed, and so has the transaction.
    pub(in crate::session) fn fail_spanning(&mut self) {
        if let Some(spanning) = self.spanning() {
            spanning.broken |= spanning.leased > 0;
            self.status = TransactionStatus::Failed;
            self.note_spanning_answered();
        }
    }
}

/// What completes a command that no shard has run: its first word.
fn command_word(sql: &str) -> String {
    sql.trim_start().chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_ascii_uppercase()
}
