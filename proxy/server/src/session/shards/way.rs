//! Which shard a request is for: found from its plan and its values before anything of it is sent.

use std::sync::Arc;

use pointsman_shards::pick::Picked;
use pointsman_sql::{Literal, split};
use pointsman_wire::backend::TransactionStatus;

use super::super::Session;
use super::super::cached::Execution;
use super::super::judge::{Verdict, with_text};
use super::planned::{Declared, Planned};
use crate::fault::Fault;

/// Where a request goes.
#[derive(Debug)]
pub(super) enum Way {
    /// Where the session is now.
    Here,
    /// Not before the replies owed have come.
    NotYet,
    /// To several shards, or to one that the session cannot turn to.
    Across(Arc<Planned>),
}

impl Session {
    /// Waits for the first shard's catalog to be read, if it is being read: statements are planned by it.
    ///
    /// # Errors
    /// It was never read, and is not in time.
    pub(in crate::session) async fn await_shards_catalog(&self) -> Result<(), Fault> {
        let first = self.shards.as_ref().and_then(|shards| shards.lanes.first());
        if let Some(lane) = first.filter(|lane| lane.account.database.is_catalog_awaited()) {
            let limit = lane.cluster.config().health_timeout;
            Box::pin(lane.account.database.catalog_known(limit)).await;
        }
        match first {
            Some(lane) if lane.account.database.catalog().version() == 0 => {
                Err(Fault::pointsman("57P03", "the catalog of the first shard has not been read yet")
                    .hint("Statements are planned by it. Try again once its primary can be reached."))
            }
            _ => Ok(()),
        }
    }

    /// Waits for the catalogs of all shards that are being read.
    pub(in crate::session) async fn await_all_catalogs(&self) {
        for lane in self.shards.iter().flat_map(|shards| shards.lanes.iter()) {
            if lane.account.database.is_catalog_awaited() {
                let limit = lane.cluster.config().health_timeout;
                Box::pin(lane.account.database.catalog_known(limit)).await;
            }
        }
    }

    /// Whether the session may turn to another shard: nothing is held there, nor under way.
    pub(super) fn may_turn(&self) -> bool {
        self.held.is_none()
    }

    /// The plan of a text.
    pub(super) fn planned(&self, sql: &[u8], verdict: &Verdict, whole: bool) -> Option<Arc<Planned>> {
        let shards = self.shards.as_ref()?;
        let policies = self.shared.policies.load();
        let catalog = shards.lanes.first()?.account.database.catalog();
        let set = &policies.set;
        let (tables, version) = (set.tables(), set.version());
        let rules = self.wants.rules();
        let declared = Declared { tables, version, catalog: &catalog, shards: shards.len(), rules };
        let memo = verdict.planned();
        let known = memo.known(&declared);
        match known {
            Some(known) if !known.has_literals() => Some(known),
            known => Some(with_text(sql, rules, |literals, _| {
                known
                    .filter(|known| known.serves(sql, literals, whole))
                    .unwrap_or_else(|| memo.renew(sql, literals, &declared))
            })),
        }
    }

    /// The shards that an execution is for.
    pub(super) fn picked(&self, planned: &Planned, asked: &Execution<'_>) -> Result<Picked, Fault> {
        let count = self.shards.as_ref().map_or(1, |shards| shards.len());
        let pick = |literals: &[Literal]| {
            planned.plan.pick.shards(&self.values(asked, literals), count).map_err(no_shard)
        };
        match planned.has_literals() {
            true => with_text(asked.sql, self.wants.rules(), |literals, _| pick(literals)),
            false => pick(&[]),
        }
    }

    /// The shards that the statements of one text are for, all together.
    pub(super) fn picked_together(&self, sql: &[u8]) -> Result<Picked, Fault> {
        let mut all = Picked::Any;
        for range in split(sql, self.wants.rules()).unwrap_or_default() {
            let one = sql.get(range).unwrap_or_default();
            let verdict = self.verdict_of_text(one);
            let picked = match self.executed_within(one, &verdict) {
                Some(executed) => self.picked_by(&executed)?,
                None => match self.planned(one, &verdict, false) {
                    Some(planned) => self.picked(&planned, &Execution::of_text(one))?,
                    None => Picked::Any,
                },
            };
            all = match (all, picked) {
                (Picked::Any, picked) | (picked, Picked::Any) => picked,
                (Picked::Shards(mut set), Picked::Shards(more)) => {
                    set.add(more);
                    Picked::Shards(set)
                }
            };
        }
        Ok(all)
    }

    /// Turns to the shard that an execution is for, if that is one and the session may.
    pub(super) fn find_way(
        &mut self,
        verdict: &Verdict,
        asked: &Execution<'_>,
        several: bool,
    ) -> Result<Way, Fault> {
        if self.spans() {
            let planned = self.planned(asked.sql, verdict, true);
            return Ok(planned.map_or(Way::Here, Way::Across));
        }
        let Some(planned) = self.planned(asked.sql, verdict, false) else { return Ok(Way::Here) };
        let picked = match (self.hinted(asked.sql, &planned)?, several) {
            (Some(hinted), _) => hinted,
            (None, true) => self.picked_together(asked.sql)?,
            (None, false) => self.picked(&planned, asked)?,
        };
        Ok(self.take_way(picked, &planned, asked.sql, verdict))
    }

    fn take_way(&mut self, picked: Picked, planned: &Arc<Planned>, sql: &[u8], verdict: &Verdict) -> Way {
        let (may_turn, status) = (self.may_turn(), self.status);
        let Some(shards) = &mut self.shards else { return Way::Here };
        if picked == Picked::Any && may_turn && self.flow.begun.is_none() && status == TransactionStatus::Idle
        {
            shards.turn = (shards.turn + 1) % shards.len().max(1);
        }
        let preferred = if may_turn { shards.turn } else { shards.at };
        match picked.only(preferred) {
            Some(shard) if shard == shards.at => return Way::Here,
            Some(shard) if may_turn => {
                self.turn_to(shard);
                return Way::Here;
            }
            _ => {}
        }
        // What is under way has to end first: then the connection is given back, unless the session keeps it.
        if !self.owed.is_empty() {
            self.flow.stalled = true;
            return Way::NotYet;
        }
        let planned = match planned.is_of(sql) {
            true => Arc::clone(planned),
            false => self.planned(sql, verdict, true).unwrap_or_else(|| Arc::clone(planned)),
        };
        Way::Across(planned)
    }
}

/// A key that has no shard.
pub(super) fn no_shard(error: pointsman_shards::function::KeyError) -> Fault {
    Fault::client(error.sqlstate(), error.to_string()).hint(error.hint())
}
