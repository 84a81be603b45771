//! From a statement's text to its plan.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pg_query::protobuf::{self as pb, node::Node as NodeEnum};
use pointsman_sql::Literal;

use super::planner::Planner;
use super::scope::{Lookups, Scopes};
use super::text::{named, refusal};
use super::tree::{self, Source, address};
use super::write::plan_write;
use super::{Many, Plan, Refusal, Why, deep, inline};
use crate::layout::{FunctionKind, Schema};
use crate::pick::Pick;

const ONE_SHARD: &str = "Limit the statement to one shard by its key.";

/// Plans a text. One that cannot be parsed is for any server, which says why. `literals` are the text's, in order. The text is as the parser must see it: strings with
/// backslashes that are escapes only under `standard_conforming_strings = off` are not for this.
#[must_use]
pub fn plan(text: &str, literals: &[Literal], schema: &dyn Schema) -> Plan {
    let parsed = catch_unwind(AssertUnwindSafe(|| pg_query::parse(text, 0)));
    let Ok(Ok(parsed)) = parsed else { return nobody(Pick::Any) };
    let [statement] = parsed.protobuf.stmts.as_slice() else {
        return nobody(if parsed.protobuf.stmts.is_empty() { Pick::Any } else { Pick::All });
    };
    let source = Source { text, literals };
    of_statement(statement, source, schema)
}

fn of_statement(statement: &pb::RawStmt, source: Source<'_>, schema: &dyn Schema) -> Plan {
    match statement.stmt.as_ref().and_then(|node| node.node.as_ref()) {
        Some(node @ NodeEnum::SelectStmt(query)) if query.into_clause.is_none() => {
            select(query, node, source, schema)
        }
        _ => plan_write(statement, source, schema, &|inner| of_statement(inner, source, schema)),
    }
}

/// A text that PostgreSQL has to refuse itself, or of several statements.
fn nobody(pick: Pick) -> Plan {
    refused(pick, refusal(Why::Statement, "a text of several statements", "Send them one by one."))
}

fn refused(pick: Pick, refusal: Refusal) -> Plan {
    Plan { pick, many: Many::Refused(refusal) }
}

fn select(query: &pb::SelectStmt, statement: &NodeEnum, source: Source<'_>, schema: &dyn Schema) -> Plan {
    let lookups = Lookups::new();
    let scopes = Scopes::of(statement, source, schema, &lookups);
    let pick = scopes.pick();
    if matches!(pick, Pick::Any | Pick::First)
        && let Some(refusal) = hidden(query, schema)
    {
        return refused(Pick::All, refusal);
    }
    if matches!(pick, Pick::Any | Pick::First) {
        return refused(pick, refusal(Why::Statement, "the statement", "It is for one server."));
    }
    if scopes.doubt {
        return refused(pick, refusal(Why::Unknown, "a part of the statement", ONE_SHARD));
    }
    let many = forbidden(query, &scopes).map_or_else(|| gathered(query, source, schema), Err);
    match many {
        Ok(many) => Plan { pick, many },
        Err(refusal) => refused(pick, refusal),
    }
}

fn gathered(query: &pb::SelectStmt, source: Source<'_>, schema: &dyn Schema) -> Result<Many, Refusal> {
    let mut query = query.clone();
    inline::inline(&mut query)?;
    let mut planner = Planner::new(source, schema);
    let gather = Box::new(planner.gather(query)?);
    Ok(match planner.rather {
        Some(refusal) => Many::Broadcast(gather, refusal),
        None => Many::Gather(gather),
    })
}

/// What may read rows of several shards though the text does not show it.
fn hidden(query: &pb::SelectStmt, schema: &dyn Schema) -> Option<Refusal> {
    let mut found = None;
    deep::every(query, &mut |node| match &node.node {
        Some(NodeEnum::RangeVar(var)) if found.is_none() && schema.shows_sharded(&tree::relation(var)) => {
            found = Some(refusal(
                Why::Unknown,
                format!("the view {}", var.relname),
                "Read its tables instead, or name a shard: /* pointsman: shard_key=... */.",
            ));
        }
        Some(NodeEnum::FuncCall(call))
            if found.is_none() && schema.may_read_tables(&tree::function_name(call)) =>
        {
            found = Some(refusal(
                Why::Function,
                named(node),
                "Say in a policy what it reads (`functions`), or name a shard: /* pointsman: shard_key=... */.",
            ));
        }
        _ => {}
    });
    found
}

/// What is for one shard only, wherever in the statement it stands.
fn forbidden(query: &pb::SelectStmt, scopes: &Scopes<'_>) -> Option<Refusal> {
    let mut found = None;
    let mut check = |refusal: Option<Refusal>| {
        if found.is_none() {
            found = refusal;
        }
    };
    deep::every(query, &mut |node| match &node.node {
        Some(NodeEnum::FuncCall(call)) => {
            let kind = scopes.schema.function(&tree::function_name(call));
            if matches!(kind, FunctionKind::Volatile | FunctionKind::Unknown) {
                check(Some(refusal(
                    Why::Function,
                    named(node),
                    "It is not known to be the same on every shard.",
                )));
            }
        }
        Some(NodeEnum::RangeVar(var)) if tree::lookup_number(var).is_some() => {
            check(Some(refusal(Why::Unknown, var.relname.clone(), "The name is kept for other uses.")));
        }
        Some(NodeEnum::CommonTableExpr(cte)) => {
            let level = cte
                .ctequery
                .as_deref()
                .and_then(tree::query)
                .and_then(|query| scopes.level_at.get(&address(query)));
            // Elsewhere, names of queries around it could mean something else.
            if level.is_some_and(|level| scopes.levels[*level].correlated || scopes.levels[*level].unsure) {
                check(Some(refusal(Why::Subquery, format!("WITH {}", cte.ctename), ONE_SHARD)));
            }
        }
        Some(NodeEnum::SelectStmt(query)) if !query.locking_clause.is_empty() => {
            check(Some(refusal(Why::Locking, "FOR UPDATE", ONE_SHARD)));
        }
        _ => {}
    });
    if !query.locking_clause.is_empty() {
        found = Some(refusal(Why::Locking, "FOR UPDATE", ONE_SHARD));
    }
    found
}
