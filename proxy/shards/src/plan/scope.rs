//! What the names of a statement mean, and what is known of its columns: every query level's `FROM`, the column that each reference
//! means, and the facts (`a.id = b.agent_id`, `a.id IN (1, 2)`) that hold for the rows that matter.
//!
//! Two notions carry the proofs. A *space* is a set of levels whose rows are combined with one another: a derived table that keeps
//! rows as they are shares the space of the query that reads it, one that does not (`LIMIT`) has a space of its own, below it. A
//! fact holds in its space and those below. A *region* is the side of an outer join that may be all NULL: a fact with regions holds
//! once an item of each of them is known to be there. [`Scopes::closure`] puts both to use.

mod conditions;
mod facts;
mod from;
mod joins;
mod meant;
mod names;
mod outputs;
mod passes;

use std::collections::{HashMap, HashSet};

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};
use pointsman_sql::Relation;

pub(crate) use facts::{Closure, Fact, Known};
pub(crate) use meant::Meant;
pub(crate) use outputs::{
    FLOAT4, FLOAT8, INT2, INT4, INT8, Info, NUMERIC, Output, family, name_of, sum_type, type_oid,
};

use super::tree::{self, Source, address};
use crate::layout::{Placement, Schema};

/// More items than this in one statement are not looked at: then nothing is known of it.
const ITEMS_MAX: usize = 400;

/// An item of some `FROM`, or a write's target.
pub(crate) type ItemId = usize;
/// A query level.
pub(crate) type LevelId = usize;
/// A set of levels whose rows are combined.
pub(crate) type SpaceId = usize;

/// A column: an item's, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Col {
    pub(crate) item: ItemId,
    pub(crate) index: usize,
}

/// Something that a `FROM` names.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) alias: Box<str>,
    pub(crate) level: LevelId,
    pub(crate) space: SpaceId,
    pub(crate) kind: ItemKind,
    /// Its columns in order; `None` if they are not known.
    pub(crate) columns: Option<Vec<Output>>,
}

/// What an item is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ItemKind {
    Table {
        relation: Relation,
        placement: Placement,
    },
    Lookup(u32),
    /// A derived table or a CTE.
    Query,
    /// A function, `VALUES`, a join under an alias, a write's rows.
    Other,
}

/// A query level: one `SELECT`, a write, or a set operation over its branches.
#[derive(Debug)]
pub(crate) struct Level {
    /// Where names are looked for next, and whether the `FROM` there is in sight.
    pub(crate) parent: Option<(LevelId, bool)>,
    pub(crate) space: SpaceId,
    /// The items in sight by their aliases, and the columns of each that are merged into another's by `USING`.
    pub(crate) names: Vec<(ItemId, Vec<Box<str>>)>,
    /// Columns merged by `FULL JOIN ... USING`.
    pub(crate) merged: Vec<Box<str>>,
    /// A name in it, or below it, is of a query around it.
    pub(crate) correlated: bool,
    /// A name in it, or below it, is not known to be of any query: it may be of one around it.
    pub(crate) unsure: bool,
}

/// Regions of which an item must be there.
pub(crate) type Regions = Vec<usize>;

/// The columns of lookups, by their numbers.
pub(crate) type Lookups = HashMap<u32, Vec<Info>>;

/// Where a query stands.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Where names are looked for outside of it, and whether the `FROM` there is in sight.
    pub(crate) names: Option<(LevelId, bool)>,
    pub(crate) space: SpaceId,
    pub(crate) regions: Regions,
}

/// A CTE in sight.
#[derive(Clone)]
pub(crate) struct Cte<'a> {
    expression: &'a pb::CommonTableExpr,
    names: Option<(LevelId, bool)>,
    /// How many of the CTEs in sight it sees itself.
    sees: usize,
    recursive: bool,
}

/// What is known of a statement's names.
pub(crate) struct Scopes<'a> {
    pub(crate) schema: &'a dyn Schema,
    pub(crate) source: Source<'a>,
    pub(crate) lookups: &'a Lookups,
    pub(crate) items: Vec<Item>,
    pub(crate) levels: Vec<Level>,
    pub(crate) facts: Vec<Fact>,
    /// The space around each space.
    pub(crate) spaces: Vec<Option<SpaceId>>,
    /// Item numbers of each region.
    pub(crate) regions: Vec<std::ops::Range<ItemId>>,
    /// Column references by their addresses.
    pub(crate) refs: HashMap<usize, Col>,
    /// The columns of stars, by the addresses of their references.
    pub(crate) stars: HashMap<usize, Vec<Col>>,
    /// Items that are named as a whole row, or with a star.
    pub(crate) whole: HashSet<ItemId>,
    /// Items that are named as a whole row, or of which a column is named that is not among its own.
    pub(crate) rows: HashSet<ItemId>,
    /// Levels by the addresses of their `SelectStmt`.
    pub(crate) level_at: HashMap<usize, LevelId>,
    /// The columns of each query, where they are known.
    pub(crate) outputs_of: HashMap<LevelId, Vec<Output>>,
    /// Items by the addresses of their nodes in `FROM`.
    pub(crate) item_at: HashMap<usize, ItemId>,
    /// The target of the statement, if it writes.
    pub(crate) target: Option<ItemId>,
    /// A part was not understood: there may be tables that are not among the items.
    pub(crate) doubt: bool,
    ctes: Vec<Cte<'a>>,
    expanding: Vec<usize>,
}

impl<'a> Scopes<'a> {
    /// Of a whole statement: `SELECT`, `INSERT`, `UPDATE` or `DELETE`. Of any other there is only doubt.
    pub(crate) fn of(
        node: &'a NodeEnum,
        source: Source<'a>,
        schema: &'a dyn Schema,
        lookups: &'a Lookups,
    ) -> Self {
        let mut scopes = Self::new(source, schema, lookups);
        let place = Place { names: None, space: 0, regions: Regions::new() };
        scopes.target = scopes.statement(node, &place);
        scopes
    }

    /// Of one query.
    pub(crate) fn of_query(
        query: &'a pb::SelectStmt,
        source: Source<'a>,
        schema: &'a dyn Schema,
        lookups: &'a Lookups,
    ) -> Self {
        let mut scopes = Self::new(source, schema, lookups);
        scopes.query(query, &Place { names: None, space: 0, regions: Regions::new() });
        scopes
    }

    fn new(source: Source<'a>, schema: &'a dyn Schema, lookups: &'a Lookups) -> Self {
        Self {
            schema,
            source,
            lookups,
            items: Vec::new(),
            levels: Vec::new(),
            facts: Vec::new(),
            spaces: vec![None],
            regions: Vec::new(),
            refs: HashMap::new(),
            stars: HashMap::new(),
            whole: HashSet::new(),
            rows: HashSet::new(),
            level_at: HashMap::new(),
            outputs_of: HashMap::new(),
            item_at: HashMap::new(),
            target: None,
            doubt: false,
            ctes: Vec::new(),
            expanding: Vec::new(),
        }
    }

    /// A statement that may write; its target's item, if it has one.
    fn statement(&mut self, node: &'a NodeEnum, place: &Place) -> Option<ItemId> {
        match node {
            NodeEnum::SelectStmt(n) => {
                self.query(n, place);
                None
            }
            NodeEnum::InsertStmt(n) => self.insert(n, place),
            NodeEnum::UpdateStmt(n) => self.write(
                place,
                n.with_clause.as_ref(),
                (n.relation.as_ref(), &n.from_clause, n.where_clause.as_deref()),
                (&n.target_list, n.returning_clause.as_ref()),
            ),
            NodeEnum::DeleteStmt(n) => self.write(
                place,
                n.with_clause.as_ref(),
                (n.relation.as_ref(), &n.using_clause, n.where_clause.as_deref()),
                (&[], n.returning_clause.as_ref()),
            ),
            _ => {
                self.doubt = true;
                None
            }
        }
    }

    fn write(
        &mut self,
        place: &Place,
        with: Option<&'a pb::WithClause>,
        (target, from, condition): (Option<&'a pb::RangeVar>, &'a [Node], Option<&'a Node>),
        (targets, returning): (&'a [Node], Option<&'a pb::ReturningClause>),
    ) -> Option<ItemId> {
        let level = self.level(place);
        let ctes = self.push_ctes(with, level);
        let target = target.map(|var| self.table(var, level));
        self.from(from, level, place);
        if let Some(condition) = condition {
            self.condition(condition, level, &place.regions.clone());
        }
        self.expressions(targets, level);
        if let Some(returning) = returning {
            self.expressions(&returning.exprs, level);
        }
        self.ctes.truncate(ctes);
        target
    }

    fn insert(&mut self, n: &'a pb::InsertStmt, place: &Place) -> Option<ItemId> {
        let level = self.level(place);
        let ctes = self.push_ctes(n.with_clause.as_ref(), level);
        let target = n.relation.as_ref().map(|var| self.table(var, level));
        if let Some(query) = n.select_stmt.as_deref().and_then(tree::query) {
            let names: Vec<&str> = n.cols.iter().filter_map(target_name).collect();
            let inner = Place { names: Some((level, false)), ..place.clone() };
            let rows = self.derived(query, &inner);
            if let Some(target) = target {
                self.inserted(target, &names, rows);
            }
        }
        if let Some(conflict) = &n.on_conflict_clause {
            self.expressions(&conflict.target_list, level);
            if let Some(condition) = &conflict.where_clause {
                self.expression(condition, level);
            }
        }
        if let Some(returning) = &n.returning_clause {
            self.expressions(&returning.exprs, level);
        }
        self.ctes.truncate(ctes);
        target
    }

    /// A new level at a place.
    fn level(&mut self, place: &Place) -> LevelId {
        self.levels.push(Level {
            parent: place.names,
            space: place.space,
            names: Vec::new(),
            merged: Vec::new(),
            correlated: false,
            unsure: false,
        });
        self.levels.len() - 1
    }

    /// A new space below another.
    fn space_below(&mut self, space: SpaceId) -> SpaceId {
        self.spaces.push(Some(space));
        self.spaces.len() - 1
    }

    /// Brings the CTEs of a `WITH` into sight; those that write are looked at. Returns how many were in sight before.
    fn push_ctes(&mut self, with: Option<&'a pb::WithClause>, level: LevelId) -> usize {
        let before = self.ctes.len();
        let Some(with) = with else { return before };
        let names = self.levels[level].parent.map(|_| (level, false));
        for node in &with.ctes {
            let Some(NodeEnum::CommonTableExpr(expression)) = &node.node else {
                self.doubt = true;
                continue;
            };
            let sees = if with.recursive { before + with.ctes.len() } else { self.ctes.len() };
            self.ctes.push(Cte { expression, names, sees, recursive: with.recursive });
        }
        for node in &with.ctes {
            let Some(NodeEnum::CommonTableExpr(expression)) = &node.node else { continue };
            match expression.ctequery.as_ref().and_then(|node| node.node.as_ref()) {
                Some(NodeEnum::SelectStmt(_)) | None => {}
                Some(write) => {
                    let space = self.space_below(0);
                    self.statement(
                        write,
                        &Place { names: Some((level, false)), space, regions: Regions::new() },
                    );
                }
            }
        }
        before
    }

    /// The facts' column of a reference.
    pub(crate) fn column(&self, node: &Node) -> Option<Col> {
        match &node.node {
            Some(NodeEnum::ColumnRef(column)) => self.refs.get(&address(column)).copied(),
            _ => None,
        }
    }

    /// What is known of a column.
    pub(crate) fn info(&self, col: Col) -> Info {
        let columns = self.items.get(col.item).and_then(|item| item.columns.as_ref());
        columns.and_then(|columns| columns.get(col.index)).map_or_else(Info::default, |output| output.info)
    }
}

/// The column that an item of a target list names.
fn target_name(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::ResTarget(target)) => Some(target.name.as_str()),
        _ => None,
    }
}
