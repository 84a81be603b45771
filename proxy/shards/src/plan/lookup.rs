//! Parts of a query that are run first: cut out of it, and a lookup's rows put in their place.

use std::collections::HashSet;

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};

use super::condition::key_condition;
use super::judge::{Judge, Near, Shape, Spread, Step};
use super::limits::own_conditions;
use super::planner::Planner;
use super::scope::{Col, Info, ItemId, ItemKind, LevelId, Scopes};
use super::text::{self, column, refusal};
use super::tree::{self, address, node};
use super::{Lookup, Owned, Refusal, Why, deep};
use crate::pick::Pick;

/// A query is made ready in at most so many steps.
const STEPS_MAX: usize = 32;

/// A part to be run first.
pub(super) struct Change {
    /// The address of the node in `FROM`, or of the `SubLink`.
    at: usize,
    pub(super) query: pb::SelectStmt,
    infos: Vec<Info>,
    /// The names of its columns in the outer query, and its own.
    names: Vec<Box<str>>,
    alias: String,
    /// Addresses of conditions that it meets already.
    met: HashSet<usize>,
    owned: Option<Owned>,
}

impl Planner<'_> {
    /// Cuts out of a query what must be run first, until the rest is the same on each shard.
    pub(super) fn settle(&mut self, query: &mut pb::SelectStmt) -> Result<(Shape, Vec<Lookup>), Refusal> {
        let mut lookups: Vec<Lookup> = Vec::new();
        for _ in 0..STEPS_MAX {
            let mut rather = None;
            let change = {
                let scopes = Scopes::of_query(query, self.source, self.schema, &self.infos);
                if scopes.doubt {
                    return Err(refusal(
                        Why::Unknown,
                        "a part of the query",
                        "Limit it to one shard by its key.",
                    ));
                }
                match (Judge { scopes: &scopes }).whole(query) {
                    Ok(shape) => {
                        if let Shape::Spread(spread) = &shape {
                            own(&scopes, query, spread, &mut lookups);
                        }
                        return Ok((shape, lookups));
                    }
                    Err(Step::Refuse(refusal)) => return Err(refusal),
                    Err(Step::Derived(at)) => derived(&scopes, query, at)?,
                    Err(Step::Sublink(at, tests)) => sublink(&scopes, query, at, tests)?,
                    Err(Step::Item(item)) => self.table(&scopes, query, item)?,
                    Err(Step::Broadcast(tables, refusal)) => {
                        let (change, whole) = self.broadcast(&scopes, query, &tables, &refusal)?;
                        rather = rather.or(whole.then_some(refusal));
                        change
                    }
                }
            };
            self.rather = self.rather.take().or(rather);
            lookups.push(self.apply(query, change)?);
        }
        Err(refusal(Why::Subquery, "the statement", "It has too many parts on different shards."))
    }

    fn apply(&mut self, query: &mut pb::SelectStmt, change: Change) -> Result<Lookup, Refusal> {
        let number = self.number();
        let gather = self.gather(change.query)?;
        self.infos.insert(number, change.infos);
        let mut placed = false;
        deep::every_mut(query, &mut |at| {
            if placed {
                return;
            }
            if address(at) == change.at {
                *at = text::lookup_range(number, &change.alias, &change.names);
                placed = true;
            } else if let Some(NodeEnum::SubLink(link)) = &mut at.node
                && address(&**link) == change.at
            {
                let names = text::numbered(change.names.len());
                let targets = names.iter().map(|name| text::target(column("l", name), "")).collect();
                let mut select = text::select(targets);
                select.from_clause = vec![text::lookup_range(number, "l", &names)];
                link.subselect = Some(Box::new(node(NodeEnum::SelectStmt(Box::new(select)))));
                placed = true;
            }
        });
        deep::every_mut(query, &mut |at| {
            if change.met.contains(&address(at)) {
                let val = Some(pb::a_const::Val::Boolval(pb::Boolean { boolval: true }));
                *at = node(NodeEnum::AConst(pb::AConst { isnull: false, location: -1, val }));
            }
        });
        drop_true(query);
        Ok(Lookup { number, gather, owned: change.owned })
    }

    /// The rows of a table that matter: its own conditions, and the columns that are asked for.
    pub(super) fn table(
        &self,
        scopes: &Scopes<'_>,
        query: &pb::SelectStmt,
        item: ItemId,
    ) -> Result<Change, Refusal> {
        let at = scopes.item_at.iter().find(|(_, of)| **of == item).map(|(at, _)| *at);
        let (Some(at), Some(columns)) = (at, scopes.items[item].columns.as_ref()) else {
            return Err(not_known(scopes, item));
        };
        let met = own_conditions(scopes, query, item);
        let used = used_columns(scopes, query, item, &met);
        let mut select = self.rows(scopes, query, (item, &used), &met)?;
        if scopes.sharded(item).is_some()
            && scopes.key_use(item).is_none()
            && let Some(near) = scopes.near(item)
        {
            self.only_near(scopes, query, &near, &mut select)?;
        }
        Ok(Change {
            at,
            query: select,
            infos: used.iter().map(|index| columns[*index].info).collect(),
            names: used.iter().map(|index| columns[*index].name.clone()).collect(),
            alias: scopes.items[item].alias.to_string(),
            met: met.into_iter().map(address).collect(),
            owned: None,
        })
    }

    /// Some columns of a table's rows that meet some conditions, by its key where that is known.
    fn rows(
        &self,
        scopes: &Scopes<'_>,
        query: &pb::SelectStmt,
        (item, used): (ItemId, &[usize]),
        conditions: &[&Node],
    ) -> Result<pb::SelectStmt, Refusal> {
        let at = scopes.item_at.iter().find(|(_, of)| **of == item).map(|(at, _)| *at);
        let known = scopes.items[item].columns.as_ref();
        let (Some(range), Some(columns)) = (at.and_then(|at| find(query, at)), known) else {
            return Err(not_known(scopes, item));
        };
        let alias = &scopes.items[item].alias;
        let target = |index: &usize| text::target(column(alias, &columns[*index].name), "");
        let mut select = text::select(used.iter().map(target).collect());
        select.from_clause = vec![range.clone()];
        let mut conditions: Vec<Node> = conditions.iter().map(|condition| (*condition).clone()).collect();
        select.where_clause = text::all(conditions.clone());
        let limited = {
            let inner = Scopes::of_query(&select, self.source, self.schema, &self.infos);
            inner.pick() != Pick::All
        };
        if let (false, Some((key, used))) = (limited, scopes.key_found(item)) {
            let key: Vec<&str> = key.iter().map(|col| &*columns[col.index].name).collect();
            conditions.extend(key_condition(self.source, (alias, &key), &used.values));
            select.where_clause = text::all(conditions);
        }
        Ok(select)
    }

    /// Limits rows to those that are near.
    fn only_near(
        &self,
        scopes: &Scopes<'_>,
        query: &pb::SelectStmt,
        near: &Near,
        select: &mut pb::SelectStmt,
    ) -> Result<(), Refusal> {
        let columns: Vec<usize> = near.columns.iter().map(|(_, outside)| outside.index).collect();
        let conditions = own_conditions(scopes, query, near.item);
        let outside = self.rows(scopes, query, (near.item, &columns), &conditions)?;
        let name = |col: &Col| {
            let item = &scopes.items[col.item];
            let output = item.columns.as_ref().and_then(|columns| columns.get(col.index));
            Some(column(&item.alias, &output?.name))
        };
        let tests: Option<Vec<Node>> = near.columns.iter().map(|(inside, _)| name(inside)).collect();
        let tests = tests.ok_or_else(|| not_known(scopes, near.item))?;
        let among = text::among(tests, outside);
        let own = select.where_clause.take().map(|condition| *condition);
        select.where_clause = text::all(own.into_iter().chain([among]).collect());
        Ok(())
    }
}

fn not_known(scopes: &Scopes<'_>, item: ItemId) -> Refusal {
    refusal(Why::Unknown, scopes.items[item].alias.to_string(), "Its columns are not known.")
}

/// The node at an address.
fn find(query: &pb::SelectStmt, at: usize) -> Option<&Node> {
    let mut found = None;
    deep::every(query, &mut |node| {
        if address(node) == at {
            found = Some(node);
        }
    });
    found
}

pub(super) fn derived(scopes: &Scopes<'_>, query: &pb::SelectStmt, at: usize) -> Result<Change, Refusal> {
    let item = scopes.item_at.get(&at).copied();
    let inner = find(query, at).and_then(|node| match &node.node {
        Some(NodeEnum::RangeSubselect(n)) => n.subquery.as_deref().and_then(tree::query),
        _ => None,
    });
    let (Some(item), Some(inner)) = (item, inner) else {
        return Err(refusal(Why::Subquery, "FROM", "It cannot be run by itself."));
    };
    let item = &scopes.items[item];
    let Some(columns) = &item.columns else {
        return Err(refusal(Why::Unknown, item.alias.to_string(), "Name its columns."));
    };
    Ok(Change {
        at,
        query: inner.clone(),
        infos: columns.iter().map(|output| output.info).collect(),
        names: columns.iter().map(|output| output.name.clone()).collect(),
        alias: item.alias.to_string(),
        met: HashSet::new(),
        owned: None,
    })
}

type Tests = Option<(Vec<Option<Col>>, Vec<ItemId>)>;

fn sublink(scopes: &Scopes<'_>, query: &pb::SelectStmt, at: usize, tests: Tests) -> Result<Change, Refusal> {
    let mut link = None;
    deep::every(query, &mut |node| {
        if let Some(NodeEnum::SubLink(n)) = &node.node
            && address(&**n) == at
        {
            link = Some(&**n);
        }
    });
    let inner = link.and_then(|link| Some((link, link.subselect.as_deref().and_then(tree::query)?)));
    let Some((link, inner)) = inner else {
        return Err(refusal(Why::Subquery, "a subquery", "It cannot be run by itself."));
    };
    let mut inner_query = inner.clone();
    let infos = if link.sub_link_type() == pb::SubLinkType::ExistsSublink {
        existence(scopes, &mut inner_query);
        scopes.level_at.get(&address(inner)).and(None)
    } else {
        scopes.level_at.get(&address(inner)).and_then(|level| scopes.outputs_of.get(level))
    };
    let infos: Vec<Info> = match infos {
        Some(outputs) => outputs.iter().map(|output| output.info).collect(),
        None if inner_query.target_list.iter().all(|target| !is_star_target(target)) => {
            vec![Info::default(); width(&inner_query)]
        }
        None => return Err(refusal(Why::Unknown, "a subquery", "Name its columns.")),
    };
    let owned = tests.and_then(|(tests, tables)| owned(scopes, &tests, &tables, None));
    Ok(Change {
        at,
        query: inner_query,
        names: text::numbered(infos.len()),
        infos,
        alias: String::new(),
        met: HashSet::new(),
        owned,
    })
}

fn width(query: &pb::SelectStmt) -> usize {
    let mut leaf = query;
    while let Some(left) = leaf.larg.as_deref() {
        leaf = left;
    }
    match leaf.values_lists.first().map(|row| &row.node) {
        Some(Some(NodeEnum::List(row))) => row.items.len(),
        _ => leaf.target_list.len(),
    }
}

fn is_star_target(target: &Node) -> bool {
    match &target.node {
        Some(NodeEnum::ResTarget(target)) => target.val.as_deref().is_none_or(tree::is_star),
        _ => true,
    }
}

/// `EXISTS` needs no columns.
fn existence(scopes: &Scopes<'_>, query: &mut pb::SelectStmt) {
    let plain = !tree::is_set_operation(query)
        && query.values_lists.is_empty()
        && query.distinct_clause.is_empty()
        && !super::judge::aggregated(scopes, query);
    if plain {
        query.target_list = vec![text::target(text::integer(1), "")];
        query.sort_clause.clear();
    }
}

/// The query of a level.
pub(super) fn at_level<'q>(
    query: &'q pb::SelectStmt,
    scopes: &Scopes<'_>,
    level: LevelId,
) -> Option<&'q pb::SelectStmt> {
    let mut queries = vec![query];
    let mut at = 0;
    while let Some(query) = queries.get(at).copied() {
        if scopes.level_at.get(&address(query)) == Some(&level) {
            return Some(query);
        }
        queries.extend(query.larg.as_deref().into_iter().chain(query.rarg.as_deref()));
        if at == 0 {
            deep::every(query, &mut |node| queries.extend(tree::query(node)));
        }
        at += 1;
    }
    None
}

/// The columns of a table that are asked for other than in some conditions, in the table's order.
pub(super) fn used_columns(
    scopes: &Scopes<'_>,
    query: &pb::SelectStmt,
    item: ItemId,
    met: &[&Node],
) -> Vec<usize> {
    let columns = scopes.items[item].columns.as_deref().unwrap_or_default();
    let mut elsewhere: HashSet<usize> = HashSet::new();
    for condition in met {
        deep::every_below(condition, &mut |node| {
            if let Some(NodeEnum::ColumnRef(column)) = &node.node {
                elsewhere.insert(address(column));
            }
        });
    }
    let mut used: HashSet<usize> = scopes
        .refs
        .iter()
        .filter(|(at, col)| col.item == item && !elsewhere.contains(at))
        .map(|(_, col)| col.index)
        .collect();
    let mut all = scopes.whole.contains(&item);
    deep::every(query, &mut |node| {
        if let Some(NodeEnum::JoinExpr(join)) = &node.node {
            all |= join.is_natural || join.alias.is_some();
            let named = |name: &str| columns.iter().position(|output| &*output.name == name);
            used.extend(tree::strings(&join.using_clause).filter_map(named));
        }
    });
    if all {
        return (0..columns.len()).collect();
    }
    if used.is_empty() && !columns.is_empty() {
        used.insert(0);
    }
    let mut used: Vec<usize> = used.into_iter().collect();
    used.sort_unstable();
    used
}

/// The columns among some that are compared with a key of one of the tables.
fn owned(
    scopes: &Scopes<'_>,
    columns: &[Option<Col>],
    tables: &[ItemId],
    of: Option<ItemId>,
) -> Option<Owned> {
    tables.iter().find_map(|table| {
        let closure = scopes.closure(&[of.unwrap_or(*table)]);
        let sharded = scopes.sharded(*table)?.clone();
        scopes.key_columns(*table).iter().find_map(|key| {
            let place =
                |key: &Col| columns.iter().position(|col| col.is_some_and(|col| closure.equal(col, *key)));
            Some(Owned {
                columns: key.iter().map(place).collect::<Option<_>>()?,
                types: key.iter().map(|col| scopes.info(*col).type_oid).collect::<Option<_>>()?,
                sharded: sharded.clone(),
            })
        })
    })
}

/// Of each lookup in `FROM` that is compared with a key, each shard needs only what it owns.
fn own(scopes: &Scopes<'_>, query: &pb::SelectStmt, spread: &Spread, lookups: &mut [Lookup]) {
    let Some(level) = scopes.level_at.get(&address(query)) else { return };
    let here = |item: &ItemId| scopes.items[*item].level == *level;
    let tables: Vec<ItemId> = spread.tables.iter().copied().filter(here).collect();
    for (item, of) in scopes.items.iter().enumerate() {
        let ItemKind::Lookup(number) = of.kind else { continue };
        let Some(lookup) = lookups.iter_mut().find(|lookup| lookup.number == number && here(&item)) else {
            continue;
        };
        let columns: Vec<Option<Col>> = scopes.all_columns(item).into_iter().map(Some).collect();
        lookup.owned = owned(scopes, &columns, &tables, Some(item));
    }
}

/// Takes `true` out of conditions.
fn drop_true(query: &mut pb::SelectStmt) {
    let is_true = |at: &Node| {
        matches!(
            &at.node,
            Some(NodeEnum::AConst(pb::AConst {
                val: Some(pb::a_const::Val::Boolval(pb::Boolean { boolval: true })),
                location: -1,
                ..
            }))
        )
    };
    let tidy = |query: &mut pb::SelectStmt| {
        let Some(condition) = query.where_clause.take() else { return };
        let mut condition = *condition;
        if let Some(NodeEnum::BoolExpr(n)) = &mut condition.node
            && n.boolop() == pb::BoolExprType::AndExpr
        {
            let parts = std::mem::take(&mut n.args);
            query.where_clause = text::all(parts.into_iter().filter(|part| !is_true(part)).collect());
        } else if !is_true(&condition) {
            query.where_clause = Some(Box::new(condition));
        }
    };
    tidy(query);
    deep::every_mut(query, &mut |node| {
        if let Some(NodeEnum::SelectStmt(query)) = &mut node.node {
            tidy(query);
        }
    });
}
