//! Whether a query over all shards is the same as the query on each shard, its rows taken together; and if not, which part of it
//! must be run apart first.

mod correlated;
mod sublinks;

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};

use super::scope::{Col, ItemId, ItemKind, LevelId, Scopes};
use super::text::{named, refusal};
use super::tree::{self, address, is_set_operation};
use super::{Refusal, Why};
use crate::layout::{FunctionKind, Placement};
use crate::pick::KeyValues;
pub(crate) use correlated::Near;
use sublinks::sublinks;

/// Where the rows of a relation are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// On every shard, all of them.
    Everywhere,
    /// On the first shard, through these unsharded tables.
    First(Vec<ItemId>),
    /// Each on one shard.
    Spread(Spread),
    /// It is not what its parts are on each shard: it must be run apart.
    Apart,
}

/// Rows that are each on one shard.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Spread {
    /// Sharded tables of which every row has a row, on whose shard it is.
    pub(crate) anchors: Vec<ItemId>,
    /// All sharded tables in it.
    pub(crate) tables: Vec<ItemId>,
}

/// Why a query is not ready.
#[derive(Debug)]
pub(crate) enum Step {
    /// It cannot be made so.
    Refuse(Refusal),
    /// The derived table at this address must be run first.
    Derived(usize),
    /// The query of the `SubLink` at this address must be run first. If it is the list of a positive `IN`, each shard needs only
    /// what it owns of it: these are the columns that are compared with it, and the tables around it.
    Sublink(usize, Option<(Vec<Option<Col>>, Vec<ItemId>)>),
    /// The rows of this table that matter must be found first.
    Item(ItemId),
    /// The rows of one of these tables must be found first, though they may be on any shard; if none can be, it is refused.
    Broadcast(Vec<ItemId>, Refusal),
}

impl From<Refusal> for Step {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

/// The rows of enclosing queries that a query is run for: the anchors of their shapes.
pub(crate) type Outers = Vec<ItemId>;

const JOIN_HINT: &str = "Join sharded tables by their keys, or limit one of them to some keys.";
const SUBQUERY_HINT: &str = "Compare the keys of its tables with those around it, or let it stand by itself.";

/// Judges queries by their scopes.
pub(crate) struct Judge<'s, 'a> {
    pub(crate) scopes: &'s Scopes<'a>,
}

impl<'s, 'a> Judge<'s, 'a> {
    /// A query as a whole: what it reads, or the branches of a set operation.
    pub(crate) fn whole(&self, query: &'a pb::SelectStmt) -> Result<Shape, Step> {
        if is_set_operation(query) {
            self.branches(query, false, &Outers::new())
        } else {
            self.input(query, &Outers::new())
        }
    }

    /// What a query reads: its `FROM` and `WHERE`, and the queries in its expressions.
    pub(crate) fn input(&self, query: &'a pb::SelectStmt, outers: &Outers) -> Result<Shape, Step> {
        let mut shape = Shape::Everywhere;
        for node in &query.from_clause {
            let right = self.item(node, &shape, outers)?;
            shape = self.joined(pb::JoinType::JoinInner, (shape, right))?;
        }
        let mut inner = outers.clone();
        if let Shape::Spread(spread) = &shape {
            inner.extend(&spread.anchors);
        }
        for (sublink, positive) in sublinks(query) {
            let below = self.sublink(sublink, positive, &shape, &inner)?;
            if let (Shape::First(items), Shape::Everywhere) = (&below, &shape) {
                shape = Shape::First(items.clone());
            }
        }
        Ok(shape)
    }

    /// A query below another, as a relation.
    pub(crate) fn query(&self, query: &'a pb::SelectStmt, outers: &Outers) -> Result<Shape, Step> {
        if is_set_operation(query) {
            return self.set_operation(query, outers);
        }
        let shape = self.input(query, outers)?;
        let Shape::Spread(spread) = shape else { return Ok(shape) };
        if self.held(&spread, outers) {
            return Ok(Shape::Everywhere);
        }
        Ok(if self.keeps_apart(query, &spread) { Shape::Spread(spread) } else { Shape::Apart })
    }

    fn set_operation(&self, query: &'a pb::SelectStmt, outers: &Outers) -> Result<Shape, Step> {
        let limited = query.limit_count.is_some() || query.limit_offset.is_some();
        self.branches(query, limited, outers)
    }

    fn branches(&self, query: &'a pb::SelectStmt, limited: bool, outers: &Outers) -> Result<Shape, Step> {
        let all = query.all && query.op() == pb::SetOperation::SetopUnion && !limited;
        let mut shapes = Vec::new();
        for branch in [&query.larg, &query.rarg].into_iter().flatten() {
            shapes.push(self.query(branch, outers)?);
        }
        Ok(match (shapes.remove(0), shapes.pop().unwrap_or(Shape::Everywhere)) {
            (Shape::Everywhere, Shape::Everywhere) => Shape::Everywhere,
            (Shape::First(mut a), Shape::First(b)) => {
                a.extend(b);
                Shape::First(a)
            }
            (Shape::First(a), Shape::Everywhere) | (Shape::Everywhere, Shape::First(a)) => Shape::First(a),
            (Shape::Spread(mut a), Shape::Spread(b)) if all => {
                a.tables.extend(b.tables);
                Shape::Spread(Spread { anchors: Vec::new(), tables: a.tables })
            }
            _ => Shape::Apart,
        })
    }

    /// Whether the rows that matter for one row of an enclosing query are on that row's shard.
    fn held(&self, spread: &Spread, outers: &Outers) -> bool {
        spread.anchors.iter().any(|own| outers.iter().any(|outer| self.together(*own, *outer)))
    }

    /// Whether rows of two tables that are combined are on one shard.
    pub(crate) fn together(&self, a: ItemId, b: ItemId) -> bool {
        let s = self.scopes;
        let (Some(of_a), Some(of_b)) = (s.sharded(a), s.sharded(b)) else { return false };
        if of_a.function != of_b.function {
            return false;
        }
        let closure = s.closure(&[a, b]);
        let equal =
            |a: &[Col], b: &[Col]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| closure.equal(*a, *b));
        s.key_columns(a).iter().any(|a| s.key_columns(b).iter().any(|b| equal(a, b)))
    }

    /// Whether a query's grouping, windows, `DISTINCT` and limits are within shards.
    fn keeps_apart(&self, query: &'a pb::SelectStmt, spread: &Spread) -> bool {
        let s = self.scopes;
        query.limit_count.is_none()
            && query.limit_offset.is_none()
            && query.locking_clause.is_empty()
            && (!aggregated(s, query) || self.covers(&s.grouped(query), spread))
            && s.partitions(query).iter().all(|partition| self.covers(partition, spread))
            && (query.distinct_clause.is_empty() || self.covers(&self.distinct(query), spread))
    }

    /// The columns that `DISTINCT` is by.
    pub(crate) fn distinct(&self, query: &'a pb::SelectStmt) -> Vec<Col> {
        let on: Vec<&Node> = query.distinct_clause.iter().filter(|node| node.node.is_some()).collect();
        if on.is_empty() {
            self.scopes.target_columns(query)
        } else {
            on.into_iter().filter_map(|node| self.scopes.meant(query, node)?.column).collect()
        }
    }

    /// Whether rows that are equal in these columns are on one shard.
    pub(crate) fn covers(&self, cols: &[Col], spread: &Spread) -> bool {
        let s = self.scopes;
        spread.anchors.iter().any(|anchor| {
            let closure = s.closure(&[*anchor]);
            let among =
                |key: &Col| s.info(*key).deterministic && cols.iter().any(|col| closure.equal(*key, *col));
            s.key_columns(*anchor).iter().any(|key| key.iter().all(among))
        })
    }

    fn item(&self, node: &'a Node, left: &Shape, outers: &Outers) -> Result<Shape, Step> {
        match &node.node {
            Some(NodeEnum::RangeVar(_)) => {
                let item = self.scopes.item_at.get(&address(node)).copied();
                let Some(item) = item else { return Err(unknown("FROM").into()) };
                Ok(match &self.scopes.items[item].kind {
                    ItemKind::Lookup(_) => Shape::Everywhere,
                    ItemKind::Table { placement: Placement::Reference, .. } => Shape::Everywhere,
                    ItemKind::Table { placement: Placement::Unsharded, .. } => Shape::First(vec![item]),
                    ItemKind::Table { placement: Placement::Sharded(_), .. } => {
                        Shape::Spread(Spread { anchors: vec![item], tables: vec![item] })
                    }
                    ItemKind::Query | ItemKind::Other => return Err(unknown("WITH").into()),
                })
            }
            Some(NodeEnum::RangeSubselect(n)) => {
                let Some(query) = n.subquery.as_deref().and_then(tree::query) else {
                    return Err(unknown("FROM").into());
                };
                let mut inner = outers.clone();
                if let (true, Shape::Spread(spread)) = (n.lateral, left) {
                    inner.extend(&spread.anchors);
                }
                match self.query(query, &inner)? {
                    Shape::Apart if self.standing_alone(query) => Err(Step::Derived(address(node))),
                    Shape::Apart => Err(self.apart_from(query, &inner, || {
                        n.alias.as_ref().map_or("FROM", |alias| alias.aliasname.as_str()).to_owned()
                    })),
                    Shape::Spread(_)
                        if n.lateral && !self.standing_alone(query) && !matches!(left, Shape::Everywhere) =>
                    {
                        Err(self.apart_from(query, &inner, || "LATERAL".to_owned()))
                    }
                    shape => Ok(shape),
                }
            }
            Some(NodeEnum::JoinExpr(join)) => {
                let (Some(l), Some(r)) = (join.larg.as_deref(), join.rarg.as_deref()) else {
                    return Err(unknown("JOIN").into());
                };
                let l = self.item(l, left, outers)?;
                let both = if matches!(l, Shape::Everywhere) { left } else { &l };
                let r = self.item(r, both, outers)?;
                self.joined(join.jointype(), (l, r))
            }
            Some(NodeEnum::RangeFunction(_)) => Ok(Shape::Everywhere),
            Some(NodeEnum::RangeTableSample(_)) => {
                Err(refusal(Why::Function, "TABLESAMPLE", "A sample is of one shard: name it by a key.")
                    .into())
            }
            _ => Err(unknown("FROM").into()),
        }
    }

    /// A join of two relations.
    fn joined(&self, kind: pb::JoinType, sides: (Shape, Shape)) -> Result<Shape, Step> {
        use pb::JoinType as J;
        match sides {
            (Shape::Everywhere, Shape::Everywhere) => Ok(Shape::Everywhere),
            (Shape::First(mut a), Shape::First(b)) => {
                a.extend(b);
                Ok(Shape::First(a))
            }
            (Shape::First(a), Shape::Everywhere) | (Shape::Everywhere, Shape::First(a)) => {
                Ok(Shape::First(a))
            }
            (Shape::First(items), Shape::Spread(_)) | (Shape::Spread(_), Shape::First(items)) => {
                Err(items.first().map_or_else(|| unknown("FROM").into(), |item| Step::Item(*item)))
            }
            (Shape::Spread(a), Shape::Everywhere) if matches!(kind, J::JoinInner | J::JoinLeft) => {
                Ok(Shape::Spread(a))
            }
            (Shape::Everywhere, Shape::Spread(b)) if matches!(kind, J::JoinInner | J::JoinRight) => {
                Ok(Shape::Spread(b))
            }
            (Shape::Spread(spread), Shape::Everywhere) | (Shape::Everywhere, Shape::Spread(spread)) => {
                let item = spread.tables.iter().copied().find(|item| self.pinned(*item).is_some());
                Err(item.map_or_else(|| self.not_joined(&spread.tables, &spread.tables), Step::Item))
            }
            (Shape::Spread(a), Shape::Spread(b)) => self.spreads(kind, (a, b)),
            (Shape::Apart, _) | (_, Shape::Apart) => Err(unknown("FROM").into()),
        }
    }

    fn spreads(&self, kind: pb::JoinType, (a, b): (Spread, Spread)) -> Result<Shape, Step> {
        use pb::JoinType as J;
        let meet = a.anchors.iter().any(|a| b.anchors.iter().any(|b| self.together(*a, *b)));
        let tables: Vec<ItemId> = a.tables.iter().chain(&b.tables).copied().collect();
        if meet {
            let anchors = match kind {
                J::JoinInner => a.anchors.into_iter().chain(b.anchors).collect(),
                J::JoinLeft => a.anchors,
                J::JoinRight => b.anchors,
                _ => Vec::new(),
            };
            return Ok(Shape::Spread(Spread { anchors, tables }));
        }
        // The side with the fewest keys is looked up first.
        let cost = |spread: &Spread| -> Option<usize> {
            let all: Option<Vec<usize>> = spread.tables.iter().map(|item| self.pinned(*item)).collect();
            all.and_then(|all| all.into_iter().max())
        };
        let (left, right) = (cost(&a), cost(&b));
        let first = |spread: &Spread| spread.tables.first().copied();
        let chosen = match (left, right) {
            (Some(l), Some(r)) if r < l => first(&b),
            (Some(_), _) => first(&a),
            (None, Some(_)) => first(&b),
            (None, None) => None,
        };
        // A side whose rows come also without a match stays where it is.
        let given = match kind {
            J::JoinLeft => &b.tables,
            J::JoinRight => &a.tables,
            _ => &tables,
        };
        Err(chosen.map_or_else(|| self.not_joined(&tables, given), Step::Item))
    }

    /// How many keys a table is limited to; a range is more than any number of them.
    fn pinned(&self, item: ItemId) -> Option<usize> {
        match self.scopes.key_use(item)?.values {
            KeyValues::Tuples(rows) | KeyValues::Rows(rows) => Some(rows.len()),
            KeyValues::Array(_) => Some(usize::MAX - 1),
            KeyValues::Between { .. } => Some(usize::MAX),
        }
    }

    /// Tables that are not joined by their keys: one of some of them is given to every shard.
    fn not_joined(&self, tables: &[ItemId], given: &[ItemId]) -> Step {
        let names: Vec<&str> = tables.iter().map(|item| &*self.scopes.items[*item].alias).collect();
        let refusal = refusal(Why::Join, format!("the join of {}", names.join(" and ")), JOIN_HINT);
        Step::Broadcast(given.to_vec(), refusal)
    }

    /// Whether a query names nothing of the queries around it.
    fn standing_alone(&self, query: &'a pb::SelectStmt) -> bool {
        self.scopes.level_at.get(&address(query)).is_some_and(|level: &LevelId| {
            let level = &self.scopes.levels[*level];
            !level.correlated && !level.unsure
        })
    }

    fn sublink(
        &self,
        at: &'a pb::SubLink,
        positive: bool,
        shape: &Shape,
        outers: &Outers,
    ) -> Result<Shape, Step> {
        let Some(query) = at.subselect.as_deref().and_then(tree::query) else {
            return Err(unknown("a subquery").into());
        };
        let below = self.query(query, outers);
        let alone = self.standing_alone(query);
        let apart = || {
            let by_equality = at.oper_name.is_empty() || tree::is_operator(&at.oper_name, "=");
            let list = positive && by_equality && at.sub_link_type() == pb::SubLinkType::AnySublink;
            let tests = at.testexpr.as_deref().filter(|_| list).map(|test| match &test.node {
                Some(NodeEnum::RowExpr(row)) => row.args.iter().map(|arg| self.scopes.column(arg)).collect(),
                _ => vec![self.scopes.column(test)],
            });
            let anchors = match shape {
                Shape::Spread(spread) => spread.anchors.clone(),
                _ => Vec::new(),
            };
            Step::Sublink(address(at), tests.map(|tests| (tests, anchors)))
        };
        match below {
            Ok(Shape::Everywhere) => Ok(Shape::Everywhere),
            Ok(Shape::First(items)) if !matches!(shape, Shape::Spread(_)) => Ok(Shape::First(items)),
            // What needs other shards stands alone, or not at all.
            _ if alone => Err(apart()),
            Ok(_) => Err(self.apart_from(query, outers, || subquery_name(at))),
            Err(step) => Err(step),
        }
    }
}

fn subquery_name(at: &pb::SubLink) -> String {
    named(&tree::node(NodeEnum::SubLink(Box::new(at.clone()))))
}

fn unknown(part: &'static str) -> Refusal {
    refusal(Why::Unknown, part, "Limit the statement to one shard by its key.")
}

/// Whether a query aggregates.
pub(crate) fn aggregated(scopes: &Scopes<'_>, query: &pb::SelectStmt) -> bool {
    !query.group_clause.is_empty()
        || query.having_clause.is_some()
        || scopes.calls(query, &[FunctionKind::Aggregate])
}
