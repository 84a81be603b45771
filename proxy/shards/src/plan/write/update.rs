//! `UPDATE`, `DELETE` and `MERGE`: by keys where the text names them, else on every shard where each of them can change its own
//! rows without seeing the others'.

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};
use pointsman_sql::{Relation, ValueRef};

use super::{Context, listed, one, reference, refusal, refused};
use crate::layout::{FunctionKind, Placement};
use crate::pick::Pick;
use crate::plan::scope::{Closure, ItemId, Known, Lookups, Scopes};
use crate::plan::tree;
use crate::plan::{Each, Many, Plan, Why};

const BY_KEY: &str =
    "join the tables by their shard keys, or read what is needed first and pass it as values";

/// The plan of an `UPDATE`.
pub(super) fn update(context: &Context<'_>, node: &NodeEnum, n: &pb::UpdateStmt) -> Plan {
    changed(context, node, n.relation.as_ref(), &n.target_list)
}

/// The plan of a `DELETE`.
pub(super) fn delete(context: &Context<'_>, node: &NodeEnum, relation: Option<&pb::RangeVar>) -> Plan {
    changed(context, node, relation, &[])
}

fn changed(context: &Context<'_>, node: &NodeEnum, var: Option<&pb::RangeVar>, set: &[Node]) -> Plan {
    let Some(var) = var else { return refused(Why::Unknown, "the table", "name it") };
    let relation = tree::relation(var);
    match context.placement(&relation) {
        Placement::Unsharded => unsharded(context),
        Placement::Reference => reference::changed(context),
        Placement::Sharded(_) => sharded(context, node, &relation, set),
    }
}

fn sharded(context: &Context<'_>, node: &NodeEnum, relation: &Relation, set: &[Node]) -> Plan {
    if let Some(plan) = writes_more(context, relation) {
        return plan;
    }
    if let Some(table) = context.reads().unsharded.first() {
        return refused(Why::Join, format!("{table}, which is on the first shard only"), BY_KEY);
    }
    let lookups = Lookups::new();
    let scopes = context.scopes(node, &lookups);
    let Some(target) = scopes.target.filter(|_| !scopes.doubt) else {
        return refused(Why::Statement, "a part of it that is not known", "write it another way");
    };
    if let Some(plan) = moved(context, &scopes, (target, relation), set) {
        return plan;
    }
    match stays(context, &scopes, target) {
        Ok(()) => Plan { pick: scopes.pick(), many: Many::Each(Each::Rows) },
        Err((why, part)) => Plan { pick: scopes.pick(), many: Many::Refused(refusal(why, part, BY_KEY)) },
    }
}

/// Why a sharded table's write cannot be done: it writes elsewhere too.
pub(super) fn writes_more(context: &Context<'_>, target: &Relation) -> Option<Plan> {
    let facts = context.facts;
    let hint = "write to one table at a time, in a transaction";
    if let Some(other) = facts.writes.iter().find(|written| *written != target) {
        return Some(refused(Why::Write, format!("a write to {other} in WITH"), hint));
    }
    // The target twice: it is read in two places, or written in `WITH` too.
    let with_writes = facts.repeated.contains(target) && context.says(&["with"]).is_some();
    with_writes.then(|| refused(Why::Write, format!("a second write to {target} in WITH"), hint))
}

/// The plan of a write to an unsharded table.
pub(super) fn unsharded(context: &Context<'_>) -> Plan {
    let mut tables = context.reads();
    tables.sharded.extend(super::Tables::of(context.schema, &context.facts.writes).sharded);
    let copied = context.facts.writes.iter().find(|table| context.placement(table) == Placement::Reference);
    match (tables.sharded.first(), copied) {
        (Some(table), _) => {
            let part = format!("{table}, whose rows are spread over the shards");
            refused(Why::Write, part, "read its rows first and pass them as values")
        }
        (None, Some(table)) => {
            let part = format!("a write to {table} in WITH, which is on every shard");
            refused(Why::Write, part, "write to one table at a time, in a transaction")
        }
        (None, None) => one(Pick::First),
    }
}

/// Whether each shard can do the write for its own rows of the target, seeing only its own rows of the other tables; else what is in
/// the way.
pub(super) fn stays(context: &Context<'_>, scopes: &Scopes<'_>, target: ItemId) -> Result<(), (Why, String)> {
    if let Some(word) = context.says(&["limit", "offset", "fetch", "over", "distinct"]) {
        return Err((Why::Subquery, format!("{word} over rows that differ from shard to shard")));
    }
    for item in (0..scopes.items.len()).filter(|item| *item != target) {
        if super::is_everywhere(&scopes.items[item].kind) {
            continue;
        }
        let closure = scopes.closure(&[item, target]);
        if !same_key(scopes, &closure, target, item) {
            let part = format!("{}, which is not joined by the shard key", scopes.items[item].alias);
            return Err((Why::Join, part));
        }
    }
    Ok(())
}

/// Whether two sharded tables' rows that come together lie on the same shard.
pub(super) fn same_key(scopes: &Scopes<'_>, closure: &Closure<'_>, a: ItemId, b: ItemId) -> bool {
    let (Some(first), Some(second)) = (scopes.sharded(a), scopes.sharded(b)) else { return false };
    let same =
        |a: &Vec<_>, b: &Vec<_>| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| closure.equal(*a, *b));
    let (keys, others) = (scopes.key_columns(a), scopes.key_columns(b));
    first.function == second.function && keys.iter().any(|key| others.iter().any(|other| same(key, other)))
}

/// Whether the statement calls an aggregate anywhere.
pub(super) fn aggregates(context: &Context<'_>) -> bool {
    let kind = |name| context.schema.function(name);
    let plain = |kind| matches!(kind, FunctionKind::Plain | FunctionKind::Volatile | FunctionKind::Rows);
    context.facts.functions.iter().any(|name| !plain(kind(name)))
}

/// An item of a target list.
pub(super) fn target(node: &Node) -> Option<&pb::ResTarget> {
    match &node.node {
        Some(NodeEnum::ResTarget(target)) => Some(target),
        _ => None,
    }
}

/// Why an `UPDATE` cannot be done: it sets a shard key to something else than what it is.
fn moved(
    context: &Context<'_>,
    scopes: &Scopes<'_>,
    (item, relation): (ItemId, &Relation),
    set: &[Node],
) -> Option<Plan> {
    let sharded = scopes.sharded(item)?;
    let is_key = |set: &&pb::ResTarget| sharded.keys.iter().flatten().any(|key| **key == *set.name);
    let set =
        set.iter().filter_map(target).filter(is_key).find(|set| !is_same(context, scopes, item, set))?;
    let part = format!("SET {}, a shard key of {relation}", set.name);
    let hint = format!(
        "move the row: DELETE FROM {relation} WHERE ... RETURNING *, then INSERT INTO {relation} with the new {}, in one transaction",
        set.name
    );
    Some(refused(Why::KeyUpdate, part, hint))
}

/// Whether a column is set to the value that the statement is limited to, or to itself.
fn is_same(context: &Context<'_>, scopes: &Scopes<'_>, item: ItemId, set: &pb::ResTarget) -> bool {
    let Some(value) = set.val.as_deref().filter(|_| set.indirection.is_empty()) else { return false };
    let Some(col) = scopes.of_item(item, &set.name) else { return false };
    let closure = scopes.closure(&[item]);
    if let Some(other) = scopes.column(value) {
        return closure.equal(other, col);
    }
    let value = context.source.value(value);
    let plain = !matches!(value, ValueRef::Other | ValueRef::Default | ValueRef::Null);
    let pinned = |known: &&Known| match known {
        Known::In(cols, rows) => {
            cols.as_slice() == [col] && matches!(rows.as_slice(), [row] if **row == [value])
        }
        _ => false,
    };
    plain && closure.facts().iter().any(pinned)
}

/// The plan of a `MERGE`: for one shard, or none.
pub(super) fn merge(context: &Context<'_>, n: &pb::MergeStmt) -> Plan {
    let Some(var) = &n.relation else { return refused(Why::Unknown, "the table", "name it") };
    match context.placement(&tree::relation(var)) {
        Placement::Unsharded => unsharded(context),
        Placement::Reference => reference::changed(context),
        Placement::Sharded(_) => {
            let tables = listed(&context.facts.writes);
            let hint = "use INSERT ... ON CONFLICT, or UPDATE and DELETE by the shard key";
            refused(Why::Write, format!("MERGE INTO {tables}, whose rows may be of any shard"), hint)
        }
    }
}
