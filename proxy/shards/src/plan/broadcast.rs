//! Tables that are joined other than by their keys: the rows of one that matter are read from all its shards, and given to each.

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};

use super::judge::Judge;
use super::limits::own_conditions;
use super::lookup::{Change, at_level, derived, used_columns};
use super::planner::Planner;
use super::scope::{ItemId, ItemKind, LevelId, Scopes};
use super::text;
use super::tree::{self, address};
use super::{Refusal, deep};
use crate::layout::FunctionKind;
use crate::types::{built_in, element_of};

impl Planner<'_> {
    /// One of some tables, or the derived table around it, to be run first, and whether nothing limits its rows.
    pub(super) fn broadcast(
        &self,
        scopes: &Scopes<'_>,
        query: &pb::SelectStmt,
        tables: &[ItemId],
        refusal: &Refusal,
    ) -> Result<(Change, bool), Refusal> {
        let judge = Judge { scopes };
        let cost = |item: &ItemId| {
            let filtered = !own_conditions(scopes, query, *item).is_empty();
            (group(&judge, *item), !filtered, !meets_a_key(scopes, *item), std::cmp::Reverse(*item))
        };
        let can = tables.iter().copied().filter(|item| may_be_given(scopes, query, *item));
        let item = can.min_by_key(cost).ok_or_else(|| refusal.clone())?;
        let change = match around(scopes, query, item) {
            Some(at) => derived(scopes, query, at)?,
            None => self.table(scopes, query, item)?,
        };
        let whole = change.query.where_clause.is_none();
        Ok((change, whole))
    }
}

/// How many tables of its query are joined with a table by their keys, itself among them.
fn group(judge: &Judge<'_, '_>, item: ItemId) -> usize {
    let level = judge.scopes.items[item].level;
    let of = |other: &ItemId| judge.scopes.items[*other].level == level && judge.together(item, *other);
    (0..judge.scopes.items.len()).filter(of).count()
}

/// Whether a column of a table is compared with another's key, so that each shard needs only some of its rows.
fn meets_a_key(scopes: &Scopes<'_>, item: ItemId) -> bool {
    let closure = scopes.closure(&[item]);
    let own = scopes.all_columns(item);
    let meets = |key: &super::scope::Col| own.iter().any(|col| closure.equal(*col, *key));
    (0..scopes.items.len())
        .filter(|other| *other != item)
        .any(|other| scopes.key_columns(other).iter().any(|key| key.iter().all(meets)))
}

/// Whether rows that are given to other shards serve as well as those of the table.
fn may_be_given(scopes: &Scopes<'_>, query: &pb::SelectStmt, item: ItemId) -> bool {
    let it = &scopes.items[item];
    let Some(columns) = it.columns.as_deref() else { return false };
    let given = |oid: u32| built_in(oid).is_some() || element_of(oid).is_some();
    let conditions = own_conditions(scopes, query, item);
    let used = used_columns(scopes, query, item, &conditions);
    let known = used
        .iter()
        .filter_map(|at| columns.get(*at))
        .all(|output| output.info.home && output.info.type_oid.is_some_and(given));
    matches!(it.kind, ItemKind::Table { .. })
        && known
        && !scopes.rows.contains(&item)
        && !scopes.levels.iter().any(|level| level.unsure)
        && !depends_on_primary_key(scopes, query, item)
}

/// Whether a grouped query names columns of a table by which it does not group: PostgreSQL allows it where it groups by the table's
/// primary key, which given rows do not have.
fn depends_on_primary_key(scopes: &Scopes<'_>, query: &pb::SelectStmt, item: ItemId) -> bool {
    let Some(query) = at_level(query, scopes, scopes.items[item].level) else { return true };
    if query.group_clause.is_empty() {
        return false;
    }
    let grouped: Vec<Option<String>> = query
        .group_clause
        .iter()
        .filter_map(|node| scopes.meant_by_group(query, node))
        .map(|meant| text::of_expression(&meant.expression))
        .collect();
    let columns = scopes.grouped(query);
    let nodes = query.target_list.iter().chain(&query.sort_clause).chain(query.having_clause.as_deref());
    let mut left: Vec<&Node> = nodes.chain(&query.window_clause).collect();
    while let Some(node) = left.pop() {
        let Some(kind) = &node.node else { continue };
        match kind {
            NodeEnum::ColumnRef(_) => {
                let column = scopes.column(node);
                if tree::is_star(node)
                    || column.is_some_and(|col| col.item == item && !columns.contains(&col))
                {
                    return true;
                }
            }
            NodeEnum::FuncCall(call)
                if call.over.is_none()
                    && scopes.schema.function(&tree::function_name(call)) == FunctionKind::Aggregate => {}
            NodeEnum::SelectStmt(inner) => {
                deep::every(inner, &mut |node| {
                    left.extend(matches!(node.node, Some(NodeEnum::ColumnRef(_))).then_some(node))
                });
            }
            NodeEnum::ResTarget(_) | NodeEnum::SortBy(_) | NodeEnum::WindowDef(_) => {
                tree::children(kind, &mut |child| left.push(child));
            }
            _ if grouped.contains(&text::of_expression(node)) => {}
            _ => {
                tree::children(kind, &mut |child| left.push(child));
            }
        }
    }
    false
}

/// The outermost derived table around a table that stands by itself and has fewer rows: it groups, or leaves out what is alike.
fn around(scopes: &Scopes<'_>, query: &pb::SelectStmt, item: ItemId) -> Option<usize> {
    let alone = |level: &LevelId| {
        let level = &scopes.levels[*level];
        !level.correlated && !level.unsure
    };
    let mut found = None;
    deep::every(query, &mut |node| {
        let Some(NodeEnum::RangeSubselect(n)) = &node.node else { return };
        let Some(inner) = n.subquery.as_deref().and_then(tree::query) else { return };
        if found.is_none()
            && scopes.level_at.get(&address(inner)).is_some_and(alone)
            && !scopes.keeps_rows(inner)
            && contains(scopes, inner, item)
        {
            found = Some(address(node));
        }
    });
    found
}

fn contains(scopes: &Scopes<'_>, query: &pb::SelectStmt, item: ItemId) -> bool {
    let mut found = false;
    deep::every(query, &mut |node| found |= scopes.item_at.get(&address(node)) == Some(&item));
    found
}
