//! The conditions that limit a table's rows by themselves, in `WHERE` and in joins.

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};

use super::deep;
use super::lookup::at_level;
use super::scope::{ItemId, Scopes};
use super::tree::address;

/// The conditions about a table alone without which its rows do not matter: of its query's `WHERE`, and of joins.
pub(super) fn own_conditions<'q>(
    scopes: &Scopes<'_>,
    query: &'q pb::SelectStmt,
    item: ItemId,
) -> Vec<&'q Node> {
    let mut parts = Vec::new();
    let Some(query) = at_level(query, scopes, scopes.items[item].level) else { return parts };
    let all = query.from_clause.iter().find_map(|node| joined_on(scopes, node, item, &mut parts));
    if let (Some(true), Some(condition)) = (all, query.where_clause.as_deref()) {
        conjuncts(condition, &mut parts);
    }
    parts.retain(|part| about(scopes, part, item));
    parts
}

/// The conditions of the joins of an item without which its rows do not matter, and whether that holds of those around them. `None`: it
/// is not there.
fn joined_on<'q>(
    scopes: &Scopes<'_>,
    node: &'q Node,
    item: ItemId,
    parts: &mut Vec<&'q Node>,
) -> Option<bool> {
    use pb::JoinType as J;
    if scopes.item_at.get(&address(node)) == Some(&item) {
        return Some(true);
    }
    let Some(NodeEnum::JoinExpr(join)) = &node.node else { return None };
    let (all, left) = match join.larg.as_deref().and_then(|side| joined_on(scopes, side, item, parts)) {
        Some(all) => (all, true),
        None => (joined_on(scopes, join.rarg.as_deref()?, item, parts)?, false),
    };
    let kind = join.jointype();
    let (here, around) = match (kind, left) {
        (J::JoinInner, _) => (true, true),
        (J::JoinLeft, false) | (J::JoinRight, true) => (true, false),
        (J::JoinLeft, true) | (J::JoinRight, false) => (false, true),
        _ => (false, false),
    };
    if let (true, Some(quals)) = (all && here, join.quals.as_deref()) {
        conjuncts(quals, parts);
    }
    Some(all && around)
}

fn conjuncts<'n>(at: &'n Node, parts: &mut Vec<&'n Node>) {
    match &at.node {
        Some(NodeEnum::BoolExpr(n)) if n.boolop() == pb::BoolExprType::AndExpr => {
            n.args.iter().for_each(|part| conjuncts(part, parts));
        }
        _ => parts.push(at),
    }
}

/// Whether an expression names a table's columns, and nothing else.
fn about(scopes: &Scopes<'_>, expression: &Node, item: ItemId) -> bool {
    let (mut all, mut any) = (true, false);
    deep::every_below(expression, &mut |node| match &node.node {
        Some(NodeEnum::ColumnRef(_)) => {
            let own = scopes.column(node).is_some_and(|col| col.item == item);
            all &= own;
            any |= own;
        }
        Some(NodeEnum::SubLink(_)) => all = false,
        _ => {}
    });
    all && any
}
