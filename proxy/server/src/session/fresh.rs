//! What a session reads and writes beside what others do: which replica may serve its read, and when others must see
//! what it wrote.

use std::sync::Arc;

use pointsman_policy::{Access, Decision, Footprint, Plan, Route, Touched, plan};
use pointsman_wire::backend::TransactionStatus;

use super::Session;
use super::held::{Held, Snapshot};
use super::pins::Pins;
use super::request::Request;
use crate::fault::Fault;
use crate::upstream::choice::{Need, ReadTerms};
use crate::upstream::config::{PoolMode, Role};
use crate::upstream::freshness::Writes;

impl Session {
    /// What a read needs of its server; `None` where only the primary may serve the text.
    fn need(&self, request: &Request<'_>, terms: &ReadTerms) -> Option<Need> {
        let database = &self.shared.account.database;
        // With a catalog out of date nothing is provably read-only.
        let may_read = matches!(request.verdict.class.access, Access::Read | Access::Session);
        // In session mode the first connection is the only one: it must be good for everything.
        let may_read = may_read && self.shared.mode == PoolMode::Transaction;
        // What a transaction of one snapshot will read is not known at its first statement.
        let one_snapshot = self.flow.begun.as_ref().is_some_and(|begun| begun.one_snapshot);
        let reads = if one_snapshot { &Touched::Unknown } else { request.reads };
        (may_read && database.is_catalog_current())
            .then(|| Need::new(terms, database, reads, self.token).avoid(self.flow.retry.avoid()))
    }

    /// Looks for a server that serves a read now, besides the primary: what the read needs, and the server.
    pub(super) fn look_for_reader(&self, request: &Request<'_>) -> (Option<Need>, Option<usize>) {
        let mut terms = self.terms(request.decision);
        terms.any = request.decision.is_some_and(|decision| decision.route == Some(Route::Any));
        let need = self.need(request, &terms);
        let reader =
            need.and_then(|need| self.shared.cluster.pick_reader(&self.shared.account.database, &need));
        (need, reader)
    }

    /// The replica that serves a request; `None` is the primary.
    pub(super) async fn reader(&mut self, request: &Request<'_>) -> Result<Option<usize>, Fault> {
        let cluster = Arc::clone(&self.shared.cluster);
        let (need, mut reader) = self.look_for_reader(request);
        let mut plan = self.plan(request, reader.is_some());
        let wait = cluster.read_terms().catch_up_wait;
        if let Some(need) = need
            && reader.is_none()
            && !wait.is_zero()
            && plan.rule() == "replicas-behind"
        {
            let account = Arc::clone(&self.shared.account);
            let found = cluster.await_reader(&account.database, &need, wait);
            reader = Box::pin(self.attend(async { Ok(found.await) })).await?;
            plan = self.plan(request, reader.is_some());
        }
        if plan.is_impossible() {
            self.steering.policies().count_impossible(plan.by());
        }
        let replica = plan.role() == Some(pointsman_policy::Role::Replica);
        let may = replica && self.may_leave_primary(request.facts, request.verdict);
        Ok(reader.filter(|index| may && cluster.primary() != Some(*index)))
    }

    /// Where a request goes, and by which rule; `fresh` says whether there is a server besides the primary for it.
    pub(super) fn plan(&self, request: &Request<'_>, fresh: bool) -> Plan {
        let none = Decision::default();
        let Request { facts, verdict, decision, wanted, .. } = *request;
        plan(facts, &verdict.class, decision.unwrap_or(&none), &self.view(fresh, wanted))
    }

    /// What the replica held is not known to hold though the request must see it: its index, and the need.
    pub(super) fn uncovered(&self, request: Option<&Request<'_>>) -> Option<(usize, Need)> {
        let held = self.held.as_ref().filter(|held| held.role == Role::Replica)?;
        let reads = match (held.snapshot, request) {
            (Snapshot::Taken, _) => return None,
            (_, Some(request)) if request.steers() => return None,
            (Snapshot::Each, Some(request)) => request.reads,
            (Snapshot::Due, _) | (Snapshot::Each, None) => &Touched::Unknown,
        };
        let database = &self.shared.account.database;
        let terms = self.terms(request.and_then(|request| request.decision));
        let need = Need::new(&terms, database, reads, self.token);
        let covered = database.freshness.is_covered_by(held.server.index, need.number);
        (!covered).then_some((held.server.index, need))
    }

    /// In a transaction on a replica, each statement waits until the replica holds what the statement must see.
    pub(super) async fn await_coverage(&mut self, request: Option<&Request<'_>>) -> Result<(), Fault> {
        if let Some((index, need)) = self.uncovered(request) {
            let cluster = Arc::clone(&self.shared.cluster);
            let account = Arc::clone(&self.shared.account);
            let limit = cluster.config().health_timeout;
            let covered = cluster.await_covered(&account.database, &need, index, limit);
            if !Box::pin(self.attend(async { Ok(covered.await) })).await? {
                let told = format!("the replica did not catch up within {limit:?}");
                return Err(Fault::pointsman("40001", told).hint("Try the transaction again."));
            }
        }
        if let Some(held) = &mut self.held {
            // What steers the transaction may begin the next one, with a snapshot of its own (`AND CHAIN`).
            held.snapshot = match (held.snapshot, request.is_some_and(Request::steers)) {
                (Snapshot::Taken, true) => Snapshot::Due,
                (Snapshot::Due, false) => Snapshot::Taken,
                (snapshot, _) => snapshot,
            };
        }
        Ok(())
    }

    /// Something was sent that may write.
    pub(super) fn mark_written(&mut self, footprint: &Footprint) {
        // A temporary relation hides one of the same name, and may have triggers of its own.
        let hidden = self.flow.probe_due || self.pins.has(Pins::TEMPORARY) || self.pins.has(Pins::UNKNOWN);
        if hidden {
            self.mark_unknown();
        } else if let Some(held) = self.on_primary() {
            held.writes.add(footprint);
        }
    }

    /// Something was sent of which it is not known what it writes.
    pub(super) fn mark_unknown(&mut self) {
        if let Some(held) = self.on_primary() {
            held.writes = Writes::All;
            self.note_unknown_write();
        }
    }

    /// The connection held, if it is one that writes can be made on.
    fn on_primary(&mut self) -> Option<&mut Held> {
        self.held.as_mut().filter(|held| held.role == Role::Primary)
    }

    /// Anything that was written is visible before the client hears of it: replicas must follow first.
    pub(super) fn note_visible(&mut self) {
        let Some(held) = &mut self.held else { return };
        if held.writes.is_nothing() {
            return;
        }
        let database = &self.shared.account.database;
        self.token = self.token.max(database.freshness.note(&held.writes));
        if self.owed.is_empty() && self.status == TransactionStatus::Idle {
            held.writes = Writes::Nothing;
            if std::mem::take(&mut self.flow.definitions_changed) {
                database.catalog_changed();
            }
        }
    }

    /// The connection was lost: whether what was written is there is not known, and replicas must prove that they have
    /// it if so.
    pub(super) fn note_lost(&mut self) {
        let Some(held) = &self.held else { return };
        if !held.writes.is_nothing() {
            self.token = self.token.max(self.shared.account.database.freshness.note_all());
        }
    }
}
