//! Whether a query hands its rows on one by one, so that what a query around it says of them holds inside as well.

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};

use super::super::tree::{self, is_set_operation};
use super::{Col, Scopes};
use crate::layout::FunctionKind;

impl<'a> Scopes<'a> {
    /// Whether a condition on some of its columns could as well stand inside of it; on which, says [`Self::kept`].
    pub(super) fn passes(&self, query: &pb::SelectStmt) -> bool {
        if query.limit_count.is_some() || query.limit_offset.is_some() {
            return false;
        }
        if is_set_operation(query) || !query.values_lists.is_empty() {
            return true;
        }
        let grouped = !query.group_clause.is_empty();
        let aggregates = || self.calls(query, &[FunctionKind::Aggregate, FunctionKind::Unknown]);
        (grouped || (query.having_clause.is_none() && !aggregates()))
            && !self.calls(query, &[FunctionKind::Volatile, FunctionKind::Unknown])
    }

    /// Whether its rows are the combinations of its items, as they are.
    pub(crate) fn keeps_rows(&self, query: &pb::SelectStmt) -> bool {
        let on = query.distinct_clause.iter().any(|node| node.node.is_some());
        self.passes(query)
            && !is_set_operation(query)
            && query.values_lists.is_empty()
            && query.group_clause.is_empty()
            && !on
    }

    /// Whether a query's own targets, or what it groups and sorts by, call a function of some kind.
    pub(crate) fn calls(&self, query: &pb::SelectStmt, kinds: &[FunctionKind]) -> bool {
        let nodes = query.target_list.iter().chain(&query.sort_clause).chain(&query.distinct_clause);
        let nodes = nodes.chain(query.having_clause.as_deref()).chain(&query.group_clause);
        nodes.into_iter().any(|node| self.calls_below(node, kinds))
    }

    /// The same of an expression, the queries in it left out.
    pub(crate) fn calls_below(&self, node: &Node, kinds: &[FunctionKind]) -> bool {
        let Some(inner) = &node.node else { return false };
        if let NodeEnum::FuncCall(call) = inner {
            let kind = self.schema.function(&tree::function_name(call));
            let windowed = call.over.is_some() && kind == FunctionKind::Aggregate;
            if !windowed && kinds.contains(&kind) {
                return true;
            }
        }
        if tree::query(node).is_some() {
            return false;
        }
        let mut found = false;
        tree::children(inner, &mut |child| found = found || self.calls_below(child, kinds));
        found
    }

    /// The columns by which a query groups, dedupes or partitions whatever it groups, dedupes or partitions; `None`: it does not.
    pub(super) fn kept(&self, query: &'a pb::SelectStmt) -> Option<Vec<Col>> {
        let mut kept: Option<Vec<Col>> = None;
        let mut only = |cols: Vec<Col>| match &mut kept {
            Some(kept) => kept.retain(|col| cols.contains(col)),
            None => kept = Some(cols),
        };
        if !query.group_clause.is_empty() {
            only(self.grouped(query));
        }
        if query.distinct_clause.iter().any(|node| node.node.is_some()) {
            only(query.distinct_clause.iter().filter_map(|node| self.meant(query, node)?.column).collect());
        }
        for partition in self.partitions(query) {
            only(partition);
        }
        kept
    }

    /// The columns among a query's targets.
    pub(crate) fn target_columns(&self, query: &pb::SelectStmt) -> Vec<Col> {
        let mut cols = Vec::new();
        for target in &query.target_list {
            let Some(NodeEnum::ResTarget(target)) = &target.node else { continue };
            let Some(value) = target.val.as_deref() else { continue };
            match &value.node {
                Some(NodeEnum::ColumnRef(star)) if tree::is_star(value) => {
                    cols.extend(self.stars.get(&tree::address(star)).into_iter().flatten());
                }
                _ => cols.extend(self.column(value)),
            }
        }
        cols
    }

    /// The columns that a query groups by.
    pub(crate) fn grouped(&self, query: &pb::SelectStmt) -> Vec<Col> {
        let sets = |node: &Node| matches!(&node.node, Some(NodeEnum::GroupingSet(_)));
        if query.group_clause.iter().any(sets) {
            return Vec::new();
        }
        query.group_clause.iter().filter_map(|node| self.meant_by_group(query, node)?.column).collect()
    }

    /// The columns of each `PARTITION BY` that a query's window functions are over.
    pub(crate) fn partitions(&self, query: &pb::SelectStmt) -> Vec<Vec<Col>> {
        let mut windows = Vec::new();
        for node in query.target_list.iter().chain(&query.sort_clause) {
            tree::windows(node, &mut windows);
        }
        let partition = |window: &&pb::WindowDef| {
            let named = |name: &str| {
                let all = query.window_clause.iter().filter_map(|node| match &node.node {
                    Some(NodeEnum::WindowDef(window)) => Some(&**window),
                    _ => None,
                });
                all.into_iter().find(|window| window.name == name)
            };
            let mut cols: Vec<Col> = Vec::new();
            let mut next = Some(*window);
            let mut steps = 0;
            while let Some(window) = next {
                cols.extend(window.partition_clause.iter().filter_map(|node| self.column(node)));
                let name = if steps == 0 && !window.name.is_empty() { &window.name } else { &window.refname };
                next = if name.is_empty() { None } else { named(name) };
                if std::ptr::eq(window, next.unwrap_or(window)) {
                    next = None;
                }
                steps += 1;
                if steps > 16 {
                    break;
                }
            }
            cols
        };
        windows.iter().map(partition).collect()
    }
}
