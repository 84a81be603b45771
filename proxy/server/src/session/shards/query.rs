//! Simple queries that are for several shards, or for one that the session cannot turn to.

use std::sync::Arc;

use pointsman_cache::Protocol;
use pointsman_wire::backend::TransactionStatus;
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::Query;

use pointsman_shards::pick::Picked;
use pointsman_shards::plan::{Many, Plan, Refusal};

use super::super::cached::Execution;
use super::super::judge::{Judged, Verdict};
use super::super::request::Taken;
use super::super::{Session, message};
use super::gather::{Run, Sink};
use super::planned::Planned;
use super::way::Way;
use crate::fault::Fault;

/// What becomes of an execution for several shards.
pub(super) enum Outcome {
    /// It was answered but for its completion, which this is.
    Complete(String),
    /// It was answered whole.
    Answered,
}

impl Session {
    /// Finds the way of the simple query at the front of the inbox.
    pub(in crate::session) fn query_way(
        &mut self,
        frame_len: usize,
        verdict: &Verdict,
    ) -> Result<Way, Fault> {
        let inbox = std::mem::take(&mut self.io.from_client);
        let body = inbox.bytes().get(5..frame_len).unwrap_or_default();
        let way = match Query::decode(body) {
            Ok(Query { sql }) => self.find_way(verdict, &Execution::of_text(sql)),
            Err(_) => Ok(Way::Here),
        };
        self.io.from_client = inbox;
        way
    }

    /// Performs a simple query across shards.
    pub(in crate::session) async fn query_across(
        &mut self,
        header: Header,
        judged: &Judged,
        planned: Arc<Planned>,
    ) -> Result<Taken, Fault> {
        let frame_len = header.frame_len();
        if let Err(fault) = self.query_admission(frame_len, &judged.facts, &judged.verdict) {
            return self.refuse_query(frame_len, fault);
        }
        if let Err(fault) = self.may_go_across(&planned.plan) {
            return self.refuse_query(frame_len, fault);
        }
        let body = self.io.from_client.bytes().get(5..frame_len).unwrap_or_default();
        let sql = Query::decode(body).map(|query| query.sql.to_vec()).unwrap_or_default();
        self.io.from_client.consume(frame_len);
        self.statements.set_unnamed(None);
        self.io.settle_approved();
        self.count(judged.verdict.kind);
        let asked = Execution::of_text(&sql);
        match Box::pin(self.perform_across(&planned, &asked, Some(&[]))).await {
            Ok(Outcome::Complete(tag)) => self.io.to_client.extend(&message::command_complete(&tag)),
            Ok(Outcome::Answered) => {}
            Err(fault) => self.tell(fault)?,
        }
        self.io.to_client.extend(&message::ready(self.status.byte()));
        self.shared.counters.transaction();
        Ok(Taken::Done)
    }

    /// Whether the session may leave its shard for a statement: not in the middle of a transaction.
    pub(super) fn may_go_across(&self, plan: &Plan) -> Result<(), Fault> {
        if let Many::Refused(refusal) = &plan.many
            && self.held.is_none()
        {
            return Err(refused(refusal));
        }
        if self.status == TransactionStatus::Idle && self.flow.begun.is_none() {
            return Ok(());
        }
        Err(Fault::pointsman("0A000", "the statement is for another shard than its transaction, or for several")
            .hint("Keep to the rows of one shard in a transaction, or set `cross_shard_writes: two_phase` for the database."))
    }

    /// Performs an execution on its shards. `formats` are those of its result, as `Bind` has them; its columns are described in
    /// front of the rows if the protocol is the simple one.
    pub(super) async fn perform_across(
        &mut self,
        planned: &Planned,
        asked: &Execution<'_>,
        describe: Option<&[i16]>,
    ) -> Result<Outcome, Fault> {
        let result_formats = asked.parameters.map(|own| own.result_formats.clone()).unwrap_or_default();
        if let Picked::Shards(set) = self.picked(planned, asked)?
            && let Some(shard) = set.only()
        {
            return self.perform_on_shard(shard, asked, describe).await;
        }
        match &planned.plan.many {
            Many::Refused(refusal) => Err(refused(refusal)),
            Many::Gather(gather) => {
                let described = self.describe_original(asked).await?;
                let description = match describe {
                    Some(formats) => Some(described.with_formats(formats)?),
                    None => None,
                };
                let run = Run { asked, types: &described.parameters };
                let sink = Sink::Client { formats: &result_formats, description };
                let rows = self.gather(gather, run, sink).await?;
                Ok(Outcome::Complete(format!("SELECT {rows}")))
            }
            Many::CopyFrom(_) | Many::CopyTo(_) if asked.protocol != Protocol::Simple => {
                Err(Fault::pointsman("0A000", "COPY of several shards' rows by the extended protocol")
                    .hint("Send it as a simple query, as COPY is by all drivers."))
            }
            Many::CopyFrom(copy) => self.copy_from(copy, asked.sql).await,
            Many::CopyTo(copy) => {
                let shards: Vec<usize> = match self.picked(planned, asked)? {
                    Picked::Shards(set) => set.iter().collect(),
                    Picked::Any => vec![0],
                };
                self.copy_to(*copy, asked.sql, &shards).await
            }
            many => self.write_across(many, planned, asked, describe).await,
        }
    }
}

/// The error of a statement that cannot be done on several shards.
pub(super) fn refused(refusal: &Refusal) -> Fault {
    let told = format!("the statement is for several shards, and {} cannot be done there", refusal.part);
    Fault::pointsman("0A000", told).hint(refusal.hint.clone())
}
