//! Simple queries that are for several shards, or for one that the session cannot turn to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pointsman_cache::Protocol;
use pointsman_sql::{Facts, Kind, split};
use pointsman_wire::backend::TransactionStatus;
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::Query;

use pointsman_shards::pick::Picked;
use pointsman_shards::plan::{Gather, Many, Refusal, Why};

use super::super::begin::begins;
use super::super::cached::Execution;
use super::super::judge::{Judged, Marks, judge};
use super::super::request::Taken;
use super::super::{Session, message};
use super::across::copy_by_extended;
use super::described::Told;
use super::gather::{Run, Sink};
use super::planned::Planned;
use super::way::Way;
use crate::fault::Fault;
use crate::sharded::Counts;

/// What becomes of an execution for several shards.
pub(super) enum Outcome {
    /// It was answered but for its completion, which this is.
    Complete(String),
    /// It was answered whole.
    Answered,
}

/// What becomes of a simple query.
pub(in crate::session) enum Routed {
    /// It goes on where the session is now.
    Here(Judged),
    /// It was taken, or has to wait.
    Done(Taken),
}

impl Session {
    /// Turns to the shard that the query at the front of the inbox is for, or performs it across shards.
    pub(in crate::session) async fn route_query(
        &mut self,
        header: Header,
        judged: Judged,
    ) -> Result<Routed, Fault> {
        let frame_len = header.frame_len();
        let way = match self.await_shards_catalog().await {
            Ok(()) => self.query_way(frame_len, &judged),
            Err(fault) => Err(fault),
        };
        match way {
            Ok(Way::Here) if judged.verdict.is_of(&self.shared.account.database.catalog()) => {
                Ok(Routed::Here(judged))
            }
            Ok(Way::Here) => Ok(Routed::Here(self.judge_query(frame_len).unwrap_or(judged))),
            Ok(Way::NotYet) => Ok(Routed::Done(Taken::NotNow)),
            Ok(Way::Across(planned)) => self.query_across(header, &judged, planned).await.map(Routed::Done),
            Err(fault) => self.refuse_query(frame_len, fault).map(Routed::Done),
        }
    }

    /// Finds the way of the simple query at the front of the inbox.
    fn query_way(&mut self, frame_len: usize, judged: &Judged) -> Result<Way, Fault> {
        let inbox = std::mem::take(&mut self.io.from_client);
        let body = inbox.bytes().get(5..frame_len).unwrap_or_default();
        let way = match Query::decode(body) {
            Ok(Query { sql }) => self.way_of_text(sql, judged),
            Err(_) => Ok(Way::Here),
        };
        self.io.from_client = inbox;
        way
    }

    fn way_of_text(&mut self, sql: &[u8], judged: &Judged) -> Result<Way, Fault> {
        if let Some(executed) = self.executed_by(sql, judged) {
            return self.way_of_execute(&executed);
        }
        let statements = &judged.facts.statements;
        let several = statements.len() > 1;
        if several && self.may_span() && statements.iter().any(|one| matches!(one.kind, Kind::Begin(_))) {
            let planned = self.planned(sql, &judged.verdict, true);
            return Ok(planned.map_or(Way::Here, Way::Across));
        }
        self.find_way(&judged.verdict, &Execution::of_text(sql), several)
    }

    /// Performs a simple query across shards.
    async fn query_across(
        &mut self,
        header: Header,
        judged: &Judged,
        planned: Arc<Planned>,
    ) -> Result<Taken, Fault> {
        let frame_len = header.frame_len();
        let body = self.io.from_client.bytes().get(5..frame_len).unwrap_or_default();
        let sql = Query::decode(body).map(|query| query.sql.to_vec()).unwrap_or_default();
        let executed = self.executed(&sql, judged);
        let (facts, verdict) = match &executed {
            Some(prepared) => (&prepared.facts, self.verdict_of(prepared)),
            None => (&judged.facts, Arc::clone(&judged.verdict)),
        };
        let decision = match self.query_admission(frame_len, facts, &verdict) {
            Ok(decision) => decision,
            Err(fault) => return self.refuse_query(frame_len, fault),
        };
        if let Err(fault) = self.may_go_across() {
            return self.refuse_query(frame_len, fault);
        }
        self.io.from_client.consume(frame_len);
        self.statements.set_unnamed(None);
        self.io.settle_approved();
        self.rule_parts(decision.as_deref(), &sql);
        self.count(verdict.kind);
        let outcome = match judged.facts.statements.len() {
            0 | 1 => self.query_part(judged, &planned, &sql).await,
            _ => self.query_parts(&sql).await,
        };
        if let Err(fault) = outcome {
            self.tell(fault)?;
        }
        self.io.to_client.extend(&message::ready(self.status.byte()));
        self.note_spanning_answered();
        self.shared.counters.transaction();
        Ok(Taken::Done)
    }

    /// Performs one statement of a query, and completes it.
    async fn query_part(&mut self, judged: &Judged, planned: &Planned, sql: &[u8]) -> Result<(), Fault> {
        let outcome = match Box::pin(self.perform_named(sql, judged)).await? {
            Some(outcome) => outcome,
            None => Box::pin(self.perform_across(&judged.facts, planned, &Execution::of_text(sql))).await?,
        };
        match outcome {
            Outcome::Complete(tag) => self.io.to_client.extend(&message::command_complete(&tag)),
            Outcome::Answered => {}
        }
        Ok(())
    }

    /// Performs the statements of a query one after another, in one transaction.
    async fn query_parts(&mut self, sql: &[u8]) -> Result<(), Fault> {
        let ranges = split(sql, self.wants.rules()).unwrap_or_default();
        if !self.spans() {
            if !self.may_span() {
                return Err(refused(&several_statements()));
            }
            self.begin_spanning(b"BEGIN", true);
        }
        for range in ranges {
            let one = sql.get(range).unwrap_or_default();
            if !self.spans() {
                self.begin_spanning(b"BEGIN", true);
            }
            let judged = self.judged(one);
            let Some(planned) = self.planned(one, &judged.verdict, true) else { continue };
            if let Err(fault) = self.query_part(&judged, &planned, one).await {
                self.end_implicit(true).await?;
                return Err(fault);
            }
        }
        self.end_implicit(false).await
    }

    /// Ends a transaction that the client did not begin itself.
    pub(super) async fn end_implicit(&mut self, failed: bool) -> Result<(), Fault> {
        if !self.spans_implicitly() {
            return Ok(());
        }
        match failed {
            true => self.roll_back_spanning(false).await.map(drop),
            false => self.commit_spanning(false).await.map(drop),
        }
    }

    /// Whether the session may leave its shard for a statement: not in the middle of a transaction.
    pub(super) fn may_go_across(&self) -> Result<(), Fault> {
        if self.spans() || (self.status == TransactionStatus::Idle && self.flow.begun.is_none()) {
            return Ok(());
        }
        Err(Fault::pointsman("0A000", "the statement is for another shard than its transaction, or for several")
            .hint("Keep to the rows of one shard in a transaction, or set `cross_shard_writes: two_phase` for the database."))
    }

    /// Performs an execution on its shards. `formats` are those of its result, as `Bind` has them; its columns are described in
    /// front of the rows if the protocol is the simple one.
    pub(super) async fn perform_across(
        &mut self,
        facts: &Facts,
        planned: &Planned,
        asked: &Execution<'_>,
    ) -> Result<Outcome, Fault> {
        if !self.spans() {
            if self.may_span() && begins(facts) {
                self.begin_spanning(asked.sql, false);
                return Ok(Outcome::Complete("BEGIN".into()));
            }
            return self.perform_planned(planned, asked).await;
        }
        let outcome = match self.steer_spanning(facts, asked.sql).await {
            Some(outcome) => outcome,
            None => self.perform_planned(planned, asked).await,
        };
        if outcome.is_err() {
            self.fail_spanning();
        }
        outcome
    }

    async fn perform_planned(&mut self, planned: &Planned, asked: &Execution<'_>) -> Result<Outcome, Fault> {
        let turn = self.shards.as_ref().map_or(0, |shards| shards.turn);
        let picked = match self.hinted(asked.sql, planned)? {
            Some(hinted) => hinted,
            None => self.picked(planned, asked)?,
        };
        if let Some(shard) = picked.only(turn) {
            return self.perform_on_shard(shard, asked).await;
        }
        match &planned.plan.many {
            Many::Refused(refusal) => match self.coordinator(asked) {
                Some(lane) => self.ask_coordinator(lane, refusal, asked).await,
                None => {
                    self.count_across(|counts| &counts.refused[place(refusal)]);
                    Err(refused(refusal))
                }
            },
            Many::Gather(gather) => self.perform_gather(gather, asked).await,
            Many::Broadcast(gather, refusal) => match self.coordinator(asked) {
                Some(lane) => self.ask_coordinator(lane, refusal, asked).await,
                None => self.perform_gather(gather, asked).await,
            },
            Many::CopyFrom(_) | Many::CopyAll | Many::CopyTo(_) if asked.protocol != Protocol::Simple => {
                Err(copy_by_extended())
            }
            Many::CopyFrom(copy) => self.copy_from(Some(copy), asked.sql).await,
            Many::CopyAll => self.copy_from(None, asked.sql).await,
            Many::CopyTo(copy) => {
                let shards: Vec<usize> = match self.picked(planned, asked)? {
                    Picked::Shards(set) => set.iter().collect(),
                    Picked::Any => vec![0],
                };
                self.copy_to(*copy, asked.sql, &shards).await
            }
            many => self.write_across(many, planned, asked).await,
        }
    }
}

impl Session {
    /// What the client is told of a gather's columns, and the types of all parameters. A server's word on a portal is from its
    /// plan, and may say more of a column than its word on the text; but of rows that were looked up before, only the client's own
    /// text has it all.
    async fn columns_told(
        &mut self,
        gather: &Gather,
        asked: &Execution<'_>,
    ) -> Result<(Told, Vec<u32>), Fault> {
        let simple = asked.protocol == Protocol::Simple;
        if simple && gather.lookups.is_empty() {
            return Ok((Told::Theirs, Vec::new()));
        }
        let described = self.describe_original(asked).await?;
        let told = match simple || asked.described == b'P' {
            true => Told::This(described.row_description.clone()),
            false => Told::Nothing,
        };
        Ok((told, described.parameters.clone()))
    }

    /// The lane of the coordinator, if it can answer a statement: one that reads, while no transaction is open on several shards, of
    /// which it would see nothing.
    fn coordinator(&self, asked: &Execution<'_>) -> Option<usize> {
        let lane = self.shards.as_ref().and_then(|shards| shards.coordinator()).filter(|_| !self.spans())?;
        let catalog = self.shared.account.database.catalog();
        judge(asked.sql, self.wants.rules(), &catalog).verdict.marks.has(Marks::READ).then_some(lane)
    }

    /// Has the coordinator answer what the shards cannot be asked one by one, or had better not be.
    async fn ask_coordinator(
        &mut self,
        lane: usize,
        refusal: &Refusal,
        asked: &Execution<'_>,
    ) -> Result<Outcome, Fault> {
        self.count_across(|counts| &counts.coordinated[place(refusal)]);
        self.perform_on_shard(lane, asked).await
    }

    async fn perform_gather(&mut self, gather: &Gather, asked: &Execution<'_>) -> Result<Outcome, Fault> {
        let formats = asked.parameters.map(|own| own.result_formats.clone()).unwrap_or_default();
        let (told, types) = self.columns_told(gather, asked).await?;
        let run = Run { asked, types: &types };
        let sink = Sink::Client { formats: &formats, told };
        self.count_across(|counts| &counts.gathered);
        let rows = self.gather(gather, run, sink, &[]).await?;
        Ok(Outcome::Complete(format!("SELECT {rows}")))
    }

    /// Counts a statement.
    pub(super) fn count_across(&self, counter: impl FnOnce(&Counts) -> &AtomicU64) {
        if let Some(shards) = &self.shards {
            counter(&shards.group.counts).fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn several_statements() -> Refusal {
    Refusal {
        why: Why::Statement,
        part: "a text of several statements".into(),
        hint: "Send them one by one, or set `cross_shard_writes: two_phase` for the database.".into(),
    }
}

/// The place of a refusal's reason among the counts.
fn place(refusal: &Refusal) -> usize {
    Why::ALL.iter().position(|why| *why == refusal.why).unwrap_or(0)
}

/// The error of a statement that cannot be done on several shards.
pub(super) fn refused(refusal: &Refusal) -> Fault {
    let told = format!("cannot be done on several shards: {}", refusal.part);
    Fault::pointsman("0A000", told).hint(refusal.hint.clone())
}
