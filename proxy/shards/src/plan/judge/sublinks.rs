//! The queries in a query's expressions.

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};

use super::super::tree;

/// The queries in a query's own expressions, and whether each is a condition that every row meets.
pub(super) fn sublinks(query: &pb::SelectStmt) -> Vec<(&pb::SubLink, bool)> {
    let mut found = Vec::new();
    if let Some(condition) = query.where_clause.as_deref() {
        conjuncts(condition, &mut found);
    }
    let nodes = query.target_list.iter().chain(&query.group_clause).chain(&query.sort_clause);
    let nodes =
        nodes.chain(query.having_clause.as_deref()).chain(&query.window_clause).chain(&query.distinct_clause);
    let nodes = nodes
        .chain(query.limit_count.as_deref())
        .chain(query.limit_offset.as_deref())
        .chain(&query.values_lists);
    for node in nodes {
        expression(node, &mut found);
    }
    for node in &query.from_clause {
        from(node, &mut found);
    }
    found
}

fn from<'n>(node: &'n Node, found: &mut Vec<(&'n pb::SubLink, bool)>) {
    match &node.node {
        Some(NodeEnum::JoinExpr(join)) => {
            for side in [&join.larg, &join.rarg].into_iter().flatten() {
                from(side, found);
            }
            if let Some(quals) = &join.quals {
                expression(quals, found);
            }
        }
        Some(NodeEnum::RangeFunction(n)) => n.functions.iter().for_each(|node| expression(node, found)),
        _ => {}
    }
}

fn conjuncts<'n>(node: &'n Node, found: &mut Vec<(&'n pb::SubLink, bool)>) {
    match &node.node {
        Some(NodeEnum::BoolExpr(n)) if n.boolop() == pb::BoolExprType::AndExpr => {
            n.args.iter().for_each(|part| conjuncts(part, found));
        }
        Some(NodeEnum::SubLink(n)) => {
            found.push((n, true));
            if let Some(test) = &n.testexpr {
                expression(test, found);
            }
        }
        _ => expression(node, found),
    }
}

fn expression<'n>(node: &'n Node, found: &mut Vec<(&'n pb::SubLink, bool)>) {
    match &node.node {
        None | Some(NodeEnum::SelectStmt(_)) => {}
        Some(NodeEnum::SubLink(n)) => {
            found.push((n, false));
            if let Some(test) = &n.testexpr {
                expression(test, found);
            }
        }
        Some(kind) => {
            let mut below = Vec::new();
            tree::children(kind, &mut |child| below.push(child));
            for child in below {
                expression(child, found);
            }
        }
    }
}
