//! Definitions, maintenance, and statements about the session.

use pg_query::protobuf::{self as pb, node::Node as NodeEnum};
use pointsman_sql::{Kind, SessionState};

use super::{Context, Tables, each, listed, one, refusal, refused};
use crate::layout::Placement;
use crate::pick::Pick;
use crate::plan::tree;
use crate::plan::{Each, Many, Plan, Why};

const HINT: &str = "send it to one shard with a routing hint, or to each by itself";

/// The plan of any other statement.
pub(super) fn plan(context: &Context<'_>, node: &NodeEnum) -> Plan {
    match &context.facts.kind {
        Kind::Explain { .. } => explain(context, node),
        Kind::DeclareCursor { .. } => declare(context, node),
        Kind::Select | Kind::Values => (context.query)(&raw(node)),
        Kind::Listen(_) | Kind::Unlisten(_) | Kind::Notify => one(Pick::First),
        Kind::Lock => lock(context),
        Kind::Call => refused(Why::Statement, "CALL, whose procedure may touch any table", HINT),
        Kind::Do => refused(Why::Statement, "DO, whose code may touch any table", HINT),
        Kind::CommitPrepared | Kind::RollbackPrepared => {
            refused(Why::Statement, "a prepared transaction, which may be on any shard", HINT)
        }
        Kind::Ddl | Kind::Other => definition(context, node),
        // Writes and `COPY` have plans of their own.
        Kind::Insert | Kind::Update | Kind::Delete | Kind::Merge | Kind::CopyFrom(_) | Kind::CopyTo(_) => {
            refused(Why::Statement, "a part of it that is not known", HINT)
        }
        Kind::Show(_)
        | Kind::Begin(_)
        | Kind::Commit { .. }
        | Kind::Rollback { .. }
        | Kind::Savepoint(_)
        | Kind::Release(_)
        | Kind::RollbackTo(_)
        | Kind::PrepareTransaction
        | Kind::SetTransaction(_)
        | Kind::SetSessionCharacteristics(_)
        | Kind::Set(_)
        | Kind::Reset(_)
        | Kind::ResetAll
        | Kind::Discard(_)
        | Kind::Prepare(_)
        | Kind::Execute(_)
        | Kind::Deallocate(_)
        | Kind::Fetch
        | Kind::Move
        | Kind::CloseCursor(_) => one(Pick::Any),
    }
}

/// A node as a statement of its own.
fn raw(node: &NodeEnum) -> pb::RawStmt {
    let stmt = pb::Node { node: Some(node.clone()) };
    pb::RawStmt { stmt: Some(Box::new(stmt)), stmt_location: 0, stmt_len: 0 }
}

/// The plan of a statement inside of another.
fn inner(context: &Context<'_>, node: Option<&pb::Node>) -> Option<Plan> {
    let node = node?.node.as_ref()?;
    let query = matches!(node, NodeEnum::SelectStmt(select) if select.into_clause.is_none());
    let statement = raw(node);
    Some(if query {
        (context.query)(&statement)
    } else {
        super::plan_write(&statement, context.source, context.schema, context.query)
    })
}

fn explain(context: &Context<'_>, node: &NodeEnum) -> Plan {
    let NodeEnum::ExplainStmt(n) = node else { return refused(Why::Statement, "EXPLAIN", HINT) };
    if matches!(n.query.as_deref().and_then(|node| node.node.as_ref()), Some(NodeEnum::ExecuteStmt(_))) {
        return refused(Why::Statement, "EXPLAIN of EXECUTE", "explain the statement itself");
    }
    let hint = "use EXPLAIN ROUTE, or send it to one shard with a routing hint";
    on_one(inner(context, n.query.as_deref()), "EXPLAIN of a statement over several shards", hint)
}

fn declare(context: &Context<'_>, node: &NodeEnum) -> Plan {
    let NodeEnum::DeclareCursorStmt(n) = node else { return refused(Why::Statement, "DECLARE", HINT) };
    let hint = "limit its query to one shard key, or use a portal of the extended protocol";
    on_one(inner(context, n.query.as_deref()), "a cursor over several shards", hint)
}

/// Where an inner statement goes if that is one shard.
fn on_one(inner: Option<Plan>, part: &'static str, hint: &'static str) -> Plan {
    let pick = inner.map_or(Pick::All, |plan| plan.pick);
    Plan { pick, many: Many::Refused(refusal(Why::Statement, part, hint)) }
}

fn lock(context: &Context<'_>) -> Plan {
    let facts = context.facts;
    let spread = |table| context.placement(table) != Placement::Unsharded;
    if facts.reads.iter().any(spread) { each(Each::Definition) } else { one(Pick::First) }
}

fn definition(context: &Context<'_>, node: &NodeEnum) -> Plan {
    if matches!(node, NodeEnum::LoadStmt(_)) {
        return refused(Why::Statement, "LOAD", HINT);
    }
    if context
        .facts
        .state
        .iter()
        .any(|state| matches!(state, SessionState::TempTable | SessionState::TempReference))
    {
        return temporary(context);
    }
    altered_key(context, node).unwrap_or_else(|| each(Each::Definition))
}

/// A temporary table is no declared one: it lives where those do.
fn temporary(context: &Context<'_>) -> Plan {
    let tables = Tables::of(context.schema, &context.facts.reads);
    if tables.sharded.is_empty() {
        return one(Pick::First);
    }
    let part = format!("a temporary relation over {}", listed(&tables.sharded));
    refused(Why::Statement, part, "gather the rows with a query and insert them")
}

/// Why a definition cannot be changed: rows would lie on the wrong shards.
fn altered_key(context: &Context<'_>, node: &NodeEnum) -> Option<Plan> {
    let is_key = |var: Option<&pb::RangeVar>, column: &str| {
        let relation = tree::relation(var?);
        let Placement::Sharded(sharded) = context.placement(&relation) else { return None };
        sharded.keys.iter().flatten().any(|key| **key == *column).then_some(relation)
    };
    let found = match node {
        NodeEnum::AlterTableStmt(n) => n.cmds.iter().find_map(|node| {
            let NodeEnum::AlterTableCmd(command) = node.node.as_ref()? else { return None };
            let changes = matches!(
                command.subtype(),
                pb::AlterTableType::AtDropColumn | pb::AlterTableType::AtAlterColumnType
            );
            let relation = is_key(n.relation.as_ref(), &command.name).filter(|_| changes)?;
            Some((relation, command.name.clone()))
        }),
        NodeEnum::RenameStmt(n) if n.rename_type() == pb::ObjectType::ObjectColumn => {
            is_key(n.relation.as_ref(), &n.subname).map(|relation| (relation, n.subname.clone()))
        }
        _ => None,
    };
    let (relation, column) = found?;
    let part = format!("a change of {column}, a shard key of {relation}");
    Some(refused(Why::KeyUpdate, part, "change it on each shard by itself, and the declaration with it"))
}

/// `CREATE TABLE ... AS` and `CREATE MATERIALIZED VIEW`.
pub(super) fn create_as(context: &Context<'_>, n: &pb::CreateTableAsStmt) -> Plan {
    let executes =
        matches!(n.query.as_deref().and_then(|node| node.node.as_ref()), Some(NodeEnum::ExecuteStmt(_)));
    if executes {
        return refused(Why::Statement, "CREATE TABLE AS EXECUTE", "create the table, then insert the rows");
    }
    let reads = context.reads();
    let view = n.objtype() == pb::ObjectType::ObjectMatview;
    // Filled on the first shard, where undeclared relations are read, and empty or alike on the others.
    if view && reads.sharded.is_empty() {
        return each(Each::Definition);
    }
    filled(context, "CREATE TABLE AS or CREATE MATERIALIZED VIEW")
}

/// `SELECT ... INTO`.
pub(super) fn select_into(context: &Context<'_>) -> Plan {
    filled(context, "SELECT INTO")
}

/// A new table that is filled at once: it is where its rows come from, which is one shard.
fn filled(context: &Context<'_>, part: &'static str) -> Plan {
    let reads = context.reads();
    let hint = "create the table, then insert the rows";
    let declared = context.facts.writes.iter().any(|table| context.placement(table) != Placement::Unsharded);
    if declared || !reads.sharded.is_empty() {
        return refused(Why::Statement, part, hint);
    }
    one(Pick::First)
}
