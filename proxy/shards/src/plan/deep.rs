//! Walks over whole queries, with the queries below them.

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};

use super::tree;

macro_rules! deep {
    ($(#[$doc:meta])* $query:ident, $node:ident, $(#[$parts_doc:meta])* $parts:ident, $iter:ident, $deref:ident, $as:ident, $select:ty, $at:ty, $callback:path) => {
        $(#[$doc])*
        pub(crate) fn $query<'n>(select: $select, f: &mut dyn $callback) {
            let mut direct: Vec<$at> = Vec::new();
            let branches = $parts(select, &mut direct);
            for node in direct {
                $node(node, f);
            }
            for branch in branches {
                $query(branch, f);
            }
        }

        $(#[$parts_doc])*
        pub(crate) fn $parts<'n>(select: $select, direct: &mut Vec<$at>) -> Vec<$select> {
            if let Some(with) = select.with_clause.$as() {
                direct.extend(with.ctes.$iter());
            }
            direct.extend(select.distinct_clause.$iter());
            direct.extend(select.target_list.$iter());
            direct.extend(select.from_clause.$iter());
            direct.extend(select.where_clause.$deref());
            direct.extend(select.group_clause.$iter());
            direct.extend(select.having_clause.$deref());
            direct.extend(select.window_clause.$iter());
            direct.extend(select.values_lists.$iter());
            direct.extend(select.sort_clause.$iter());
            direct.extend(select.limit_offset.$deref());
            direct.extend(select.limit_count.$deref());
            select.larg.$deref().into_iter().chain(select.rarg.$deref()).collect()
        }
    };
}

deep!(
    /// Calls `f` with every node of a query, before those below it.
    every, every_below,
    /// The nodes directly in a query, and the branches of a set operation.
    parts, iter, as_deref, as_ref, &'n pb::SelectStmt, &'n Node, FnMut(&'n Node)
);
deep!(
    /// Calls `f` with every node of a query, before those below it; what `f` puts in a node's place is walked too.
    every_mut, every_below_mut,
    /// The nodes directly in a query, and the branches of a set operation.
    parts_mut, iter_mut, as_deref_mut, as_mut, &'n mut pb::SelectStmt, &'n mut Node, FnMut(&mut Node)
);

/// Calls `f` with a node and every one below it.
pub(crate) fn every_below<'n>(node: &'n Node, f: &mut dyn FnMut(&'n Node)) {
    f(node);
    let mut below: Vec<&'n Node> = Vec::new();
    match &node.node {
        None => {}
        Some(NodeEnum::SelectStmt(query)) => every(query, f),
        Some(NodeEnum::RangeSubselect(n)) => below.extend(n.subquery.as_deref()),
        Some(NodeEnum::JoinExpr(n)) => {
            below.extend(n.larg.as_deref());
            below.extend(n.rarg.as_deref());
            below.extend(n.quals.as_deref());
        }
        Some(NodeEnum::RangeFunction(n)) => below.extend(&n.functions),
        Some(NodeEnum::RangeTableSample(n)) => {
            below.extend(n.relation.as_deref());
            below.extend(&n.args);
        }
        Some(NodeEnum::CommonTableExpr(n)) => below.extend(n.ctequery.as_deref()),
        Some(other) => {
            tree::children(other, &mut |child| below.push(child));
        }
    }
    for child in below {
        every_below(child, f);
    }
}

/// Calls `f` with a node and every one below it.
pub(crate) fn every_below_mut(node: &mut Node, f: &mut dyn FnMut(&mut Node)) {
    f(node);
    let mut below: Vec<&mut Node> = Vec::new();
    match &mut node.node {
        None => {}
        Some(NodeEnum::SelectStmt(query)) => every_mut(query, f),
        Some(NodeEnum::RangeSubselect(n)) => below.extend(n.subquery.as_deref_mut()),
        Some(NodeEnum::JoinExpr(n)) => {
            below.extend(n.larg.as_deref_mut());
            below.extend(n.rarg.as_deref_mut());
            below.extend(n.quals.as_deref_mut());
        }
        Some(NodeEnum::RangeFunction(n)) => below.extend(&mut n.functions),
        Some(NodeEnum::RangeTableSample(n)) => {
            below.extend(n.relation.as_deref_mut());
            below.extend(&mut n.args);
        }
        Some(NodeEnum::CommonTableExpr(n)) => below.extend(n.ctequery.as_deref_mut()),
        Some(other) => {
            tree::children_mut(other, &mut |child| below.push(child));
        }
    }
    for child in below {
        every_below_mut(child, f);
    }
}
