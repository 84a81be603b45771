//! Queries that name something of the queries around them, over tables whose rows are on other shards than the rows that they are for:
//! the tables' rows that matter are found first, and are then on every shard.

use pg_query::protobuf as pb;

use super::super::scope::{Col, ItemId, ItemKind, Scopes};
use super::super::text::refusal;
use super::super::tree::is_set_operation;
use super::{Judge, Outers, SUBQUERY_HINT, Shape, Step, Why};
use crate::layout::Placement;

/// A table outside of a query that is limited to some keys, and columns of one inside that are equal to its columns.
#[derive(Debug)]
pub(crate) struct Near {
    pub(crate) item: ItemId,
    /// Inside, and outside.
    pub(crate) columns: Vec<(Col, Col)>,
}

impl<'a> Judge<'_, 'a> {
    /// The table of a query whose rows are to be found first, as a rule one with few rows. `name` is the query's, for a refusal.
    pub(super) fn apart_from(
        &self,
        query: &'a pb::SelectStmt,
        outers: &Outers,
        name: impl FnOnce() -> String,
    ) -> Step {
        let found = self.elsewhere(query, outers);
        let cost = |item: &ItemId| match self.scopes.placement(*item) {
            Some(Placement::Unsharded) => Some(0),
            _ => self.pinned(*item).or_else(|| self.scopes.near(*item).map(|_| usize::MAX)),
        };
        let best = found.iter().filter_map(|item| Some((cost(item)?, *item))).min();
        best.map_or_else(
            || Step::Broadcast(found, refusal(Why::Subquery, name(), SUBQUERY_HINT)),
            |(_, item)| Step::Item(item),
        )
    }

    /// The tables of a query that are on other shards than the rows it is run for.
    fn elsewhere(&self, query: &'a pb::SelectStmt, outers: &Outers) -> Vec<ItemId> {
        if is_set_operation(query) {
            let branches = [&query.larg, &query.rarg].into_iter().flatten();
            return branches.flat_map(|branch| self.elsewhere(branch, outers)).collect();
        }
        match self.input(query, outers) {
            Ok(Shape::Spread(spread)) if !self.held(&spread, outers) => spread.tables,
            Ok(Shape::First(items)) => items,
            _ => Vec::new(),
        }
    }
}

impl Scopes<'_> {
    /// Whether rows of a table matter only with rows of another that are few.
    pub(crate) fn near(&self, item: ItemId) -> Option<Near> {
        let closure = self.closure(&[item]);
        let own = self.items[item].columns.as_ref()?.len();
        let outside = |other: &ItemId| {
            let it = &self.items[*other];
            it.level != self.items[item].level && matches!(it.kind, ItemKind::Table { .. })
        };
        (0..self.items.len()).filter(outside).find_map(|other| {
            self.key_use(other)?;
            let equal = |index: usize| {
                let col = Col { item, index };
                let other = closure.alike(col).into_iter().find(|alike| alike.item == other)?;
                Some((col, other))
            };
            let columns: Vec<(Col, Col)> = (0..own).filter_map(equal).collect();
            (!columns.is_empty()).then_some(Near { item: other, columns })
        })
    }
}
