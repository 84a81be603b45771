//! From a query without `WITH` to what is gathered for it.

use pg_query::protobuf as pb;

use super::judge::{Judge, Shape, Spread, aggregated};
use super::scope::{Lookups, Scopes};
use super::text::{self, refusal};
use super::tree::{Source, is_set_operation};
use super::{Gather, Lookup, Merge, Refusal, Slice, Why, fold, order, union};
use crate::layout::Schema;
use crate::pick::{KeyUse, KeyValues, Pick};

/// Queries within queries deeper than this are not planned.
const DEPTH_MAX: usize = 16;

/// Plans the queries of one statement.
pub(crate) struct Planner<'a> {
    pub(super) source: Source<'a>,
    pub(super) schema: &'a dyn Schema,
    /// What is known of the columns of lookups.
    pub(super) infos: Lookups,
    /// Why a coordinator does it better.
    pub(super) rather: Option<Refusal>,
    next: u32,
    depth: usize,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(source: Source<'a>, schema: &'a dyn Schema) -> Self {
        Self { source, schema, infos: Lookups::new(), rather: None, next: 1, depth: 0 }
    }

    /// The next lookup's number.
    pub(super) fn number(&mut self) -> u32 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Plans a query over several shards.
    pub(crate) fn gather(&mut self, query: pb::SelectStmt) -> Result<Gather, Refusal> {
        if self.depth >= DEPTH_MAX {
            return Err(refusal(Why::Subquery, "the statement", "Its queries are nested too deep."));
        }
        self.depth += 1;
        let planned = self.planned(query);
        self.depth -= 1;
        planned
    }

    fn planned(&mut self, mut query: pb::SelectStmt) -> Result<Gather, Refusal> {
        if let Some(gather) = self.direct(&query)? {
            return Ok(gather);
        }
        if !query.locking_clause.is_empty() {
            return Err(refusal(Why::Locking, "FOR UPDATE", "Lock the rows of one shard, named by its key."));
        }
        if is_set_operation(&query) && !self.is_union_all(&query) {
            return union::by_branches(self, query);
        }
        let (shape, lookups) = self.settle(&mut query)?;
        match shape {
            Shape::Spread(spread) => self.spread(query, &spread, lookups),
            Shape::Everywhere | Shape::First(_) => {
                let scopes = Scopes::of_query(&query, self.source, self.schema, &self.infos);
                let on = scopes.pick();
                Ok(Gather { lookups, sql: text::of_query(&query)?, on, hidden: 0, merge: append() })
            }
            Shape::Apart if is_set_operation(&query) => union::by_branches(self, query),
            Shape::Apart => Err(refusal(Why::Subquery, "the statement", "Limit it to one shard by its key.")),
        }
    }

    /// A query that is for one shard, whichever values it is run with.
    fn direct(&self, query: &pb::SelectStmt) -> Result<Option<Gather>, Refusal> {
        let scopes = Scopes::of_query(query, self.source, self.schema, &self.infos);
        if scopes.doubt {
            return Ok(None);
        }
        let on = scopes.pick();
        let merge = match &on {
            Pick::Any | Pick::First => append(),
            Pick::Keys(keys) if is_one(keys) => Merge::One,
            Pick::Keys(_) | Pick::All => return Ok(None),
        };
        Ok(Some(Gather { lookups: Vec::new(), sql: text::of_query(query)?, on, hidden: 0, merge }))
    }

    /// Whether a set operation is `UNION ALL` all through, so that shards may do all of it.
    fn is_union_all(&self, query: &pb::SelectStmt) -> bool {
        if !is_set_operation(query) {
            return true;
        }
        let scopes = Scopes::of_query(query, self.source, self.schema, &self.infos);
        matches!((Judge { scopes: &scopes }).whole(query), Ok(Shape::Spread(_)))
    }

    /// A query whose input is spread over shards.
    fn spread(
        &mut self,
        query: pb::SelectStmt,
        spread: &Spread,
        lookups: Vec<Lookup>,
    ) -> Result<Gather, Refusal> {
        enum How {
            Partials,
            Raw,
            Merged(order::Plan),
        }
        let how = {
            let scopes = Scopes::of_query(&query, self.source, self.schema, &self.infos);
            let judge = Judge { scopes: &scopes };
            let grouped = aggregated(&scopes, &query);
            if is_set_operation(&query) {
                match order::of_union(&scopes, &query)? {
                    Some(plan) => How::Merged(plan),
                    None => return union::by_branches(self, query),
                }
            } else if grouped && !judge.covers(&scopes.grouped(&query), spread) {
                if fold::has_partials(&scopes, &query) { How::Partials } else { How::Raw }
            } else if scopes.partitions(&query).iter().any(|partition| !judge.covers(partition, spread)) {
                How::Raw
            } else {
                let within =
                    !query.distinct_clause.is_empty() && judge.covers(&judge.distinct(&query), spread);
                order::of(&scopes, &query, within)?.map_or(How::Raw, How::Merged)
            }
        };
        match how {
            How::Partials => fold::partials(self, query, lookups),
            How::Raw => fold::raw(self, query, lookups),
            How::Merged(plan) => self.merged(query, plan, lookups),
        }
    }

    fn merged(
        &self,
        mut query: pb::SelectStmt,
        plan: order::Plan,
        lookups: Vec<Lookup>,
    ) -> Result<Gather, Refusal> {
        let on = Scopes::of_query(&query, self.source, self.schema, &self.infos).pick();
        let (hidden, merge) = plan.apply(&mut query);
        Ok(Gather { lookups, sql: text::of_query(&query)?, on, hidden, merge })
    }
}

/// Rows of shards one after another.
pub(crate) fn append() -> Merge {
    Merge::Append(Slice::default())
}

/// Whether keys are one key.
fn is_one(keys: &[KeyUse]) -> bool {
    matches!(keys, [KeyUse { values: KeyValues::Tuples(rows), .. }] if rows.len() == 1)
}
