//! What `EXPLAIN ROUTE` says of a sharded database.

use super::super::Session;
use super::executing::Executed;
use super::planned::Declared;
use crate::sharded::{Terms, told};

impl Session {
    /// Turns to the shard that a text is for, as it would be sent there, so that what is told of servers is told of that shard's. False:
    /// it would be for several, or for one that the session cannot turn to.
    pub(in crate::session) fn turn_to_explain(&mut self, sql: &[u8]) -> bool {
        let Some(shards) = &self.shards else { return true };
        let at = shards.at;
        match self.picked_together(sql).ok().and_then(|picked| picked.only(at)) {
            Some(shard) if shard == at => true,
            Some(shard) if self.may_turn() => {
                self.turn_to(shard);
                true
            }
            _ => false,
        }
    }

    /// Item and value, line by line; nothing for a database without shards.
    pub(in crate::session) fn shards_told(&self, sql: &[u8], served_here: bool) -> Vec<(String, String)> {
        let Some(shards) = &self.shards else { return Vec::new() };
        let group = &shards.group;
        let policies = self.shared.policies.load();
        let Some(first) = shards.lanes.first() else { return Vec::new() };
        let catalog = first.account.database.catalog();
        let set = &policies.set;
        let (tables, version) = (set.tables(), set.version());
        let terms = Terms {
            declared: Declared {
                tables,
                version,
                catalog: &catalog,
                shards: shards.len(),
                rules: self.wants.rules(),
            },
            coordinator: group.config.coordinator.as_deref(),
            two_phase: group.two_phase.is_some(),
            parameters: None,
        };
        let executed = self.executed_within(sql, &self.verdict_of_text(sql));
        let parameters = executed.as_ref().and_then(Executed::parameters);
        let terms = Terms { parameters: parameters.as_ref(), ..terms };
        let mut rows = told(executed.as_ref().map_or(sql, |executed| &executed.body), &terms);
        if !served_here && let Err(fault) = self.may_go_across() {
            rows.push(("now".to_owned(), format!("refused: {}", fault.told)));
        }
        rows
    }
}
