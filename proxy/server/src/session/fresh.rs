//! What a session reads and writes beside what others do: which replica may serve its read, and when others must see
//! what it wrote.

use pointsman_policy::{Access, Footprint, Touched};
use pointsman_sql::Facts;
use pointsman_wire::backend::TransactionStatus;

use super::Session;
use super::judge::Verdict;
use super::pins::Pins;
use crate::fault::Fault;
use crate::upstream::choice::{Need, ReadTerms};
use crate::upstream::config::Role;
use crate::upstream::freshness::Writes;

impl Session {
    /// What a read needs of its server; `None` where only the primary may serve the text.
    fn need(&self, verdict: &Verdict, terms: &ReadTerms) -> Option<Need> {
        let database = &self.shared.account.database;
        // With a catalog out of date nothing is provably read-only.
        let may_read = matches!(verdict.class.access, Access::Read | Access::Session);
        (may_read && database.is_catalog_current()).then(|| {
            Need::new(terms, database, &verdict.footprint.reads, self.token).avoid(self.flow.retry.avoid())
        })
    }

    /// The replica that serves a request by these terms; `None` is the primary.
    pub(super) async fn reader(&self, facts: &Facts, verdict: &Verdict, terms: &ReadTerms) -> Option<usize> {
        let cluster = &self.shared.cluster;
        let database = &self.shared.account.database;
        let need = self.need(verdict, terms);
        let mut reader = need.and_then(|need| cluster.pick_reader(database, &need));
        let mut plan = self.plan(facts, verdict, reader.is_some());
        if let Some(need) = need
            && reader.is_none()
            && !terms.catch_up_wait.is_zero()
            && plan.rule() == "replicas-behind"
        {
            reader = cluster.await_reader(database, &need, terms.catch_up_wait).await;
            plan = self.plan(facts, verdict, reader.is_some());
        }
        let replica = plan.role() == pointsman_policy::Role::Replica;
        reader.filter(|index| replica && cluster.primary() != Some(*index))
    }

    /// In a transaction on a replica, each statement waits until the replica holds what the statement must see.
    pub(super) async fn await_coverage(
        &self,
        request: Option<&Verdict>,
        terms: &ReadTerms,
    ) -> Result<(), Fault> {
        let Some(held) = self.held.as_ref().filter(|held| held.role == Role::Replica) else {
            return Ok(());
        };
        let reads = match request.map(|verdict| (verdict.class.access, &verdict.footprint.reads)) {
            // It ends the transaction, or steers it: it reads nothing.
            Some((Access::Session, _)) => return Ok(()),
            Some((_, reads)) => reads,
            None => &Touched::Unknown,
        };
        if !self.owed.is_empty() {
            return Ok(());
        }
        let cluster = &self.shared.cluster;
        let database = &self.shared.account.database;
        let need = Need::new(terms, database, reads, self.token);
        let limit = cluster.config().health_timeout;
        if database.freshness.is_covered_by(held.server.index, need.number)
            || cluster.await_covered(database, &need, held.server.index, limit).await
        {
            return Ok(());
        }
        Err(Fault::pointsman("40001", format!("the replica did not catch up within {limit:?}"))
            .hint("Try the transaction again."))
    }

    /// Something was sent that may write.
    pub(super) fn mark_written(&mut self, footprint: &Footprint) {
        // A temporary relation hides one of the same name, and may have triggers of its own.
        let hidden = self.flow.probe_due || self.pins.has(Pins::TEMPORARY) || self.pins.has(Pins::UNKNOWN);
        let Some(held) = &mut self.held else { return };
        if hidden {
            held.writes = Writes::All;
        } else {
            held.writes.add(footprint);
        }
    }

    /// Something was sent of which it is not known what it writes.
    pub(super) fn mark_unknown(&mut self) {
        if let Some(held) = &mut self.held {
            held.writes = Writes::All;
        }
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
