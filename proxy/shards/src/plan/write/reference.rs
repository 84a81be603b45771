//! Writes to reference tables: the same on every shard, refused where the copies would come to differ.
//!
//! What the text does not show is not seen: defaults of columns that are left out (`now()`, an identity or a serial whose sequences
//! have run apart), triggers, and functions that are declared stable and are not. Give such columns their values in the statement.

use pg_query::protobuf as pb;

use super::{Context, each, listed, refused};
use crate::layout::{FunctionKind, Placement};
use crate::plan::tree;
use crate::plan::{Each, Plan, Why};

/// Functions that are stable, and yet not the same on each shard. (`pg_catalog`)
const OF_A_SERVER: [&str; 12] = [
    "now",
    "transaction_timestamp",
    "statement_timestamp",
    "txid_current_if_assigned",
    "txid_current_snapshot",
    "pg_current_snapshot",
    "pg_backend_pid",
    "inet_server_addr",
    "inet_server_port",
    "current_setting",
    "pg_postmaster_start_time",
    "pg_current_xact_id_if_assigned",
];

/// Aggregates whose result does not depend on the order in which rows are read.
const ORDERLESS: [&str; 6] = ["count", "min", "max", "bool_and", "bool_or", "every"];

/// The plan of an `INSERT` into a reference table.
pub(super) fn insert(context: &Context<'_>, n: &pb::InsertStmt) -> Plan {
    let query = n.select_stmt.as_deref().and_then(tree::query);
    if query.is_some_and(|query| query.values_lists.is_empty())
        && let Some(word) = context.says(&["limit", "offset", "fetch", "over", "distinct"])
    {
        return refused(
            Why::Order,
            format!("{word} in a write to a reference table"),
            "insert the rows by their values",
        );
    }
    changed(context)
}

/// The plan of any write to a reference table.
pub(super) fn changed(context: &Context<'_>) -> Plan {
    let tables = context.reads();
    let elsewhere = [tables.sharded, tables.unsharded].concat();
    if !elsewhere.is_empty() {
        let part = format!("{}, of which not every shard has the same rows", listed(&elsewhere));
        return refused(Why::Write, part, "read what is needed first and pass it as values");
    }
    let other = context.facts.writes.iter().find(|table| context.placement(table) != Placement::Reference);
    if let Some(other) = other {
        let hint = "write to one table at a time, in a transaction";
        return refused(Why::Write, format!("a write to {other} beside a reference table"), hint);
    }
    match differs(context) {
        Some(what) => {
            let part = format!("{what}, which is not the same on every shard");
            refused(Why::Function, part, "compute the value first and pass it as a literal or a parameter")
        }
        None => each(Each::Copies),
    }
}

/// A function or a keyword whose value each shard would have its own of.
fn differs(context: &Context<'_>) -> Option<String> {
    let facts = context.facts;
    let word = facts.value_words.iter().find(|word| word.contains("time") || word.contains("date"));
    if let Some(word) = word {
        return Some(word.to_uppercase());
    }
    let own = |name: &&pointsman_sql::FunctionName| {
        // Its calls are replaced by an id before anything is sent.
        if name.schema.as_deref() == Some("pointsman") {
            return false;
        }
        let known = name.schema.as_deref().is_none_or(|schema| schema == "pg_catalog");
        match context.schema.function(name) {
            FunctionKind::Plain => known && OF_A_SERVER.contains(&&*name.name),
            FunctionKind::Aggregate => !(known && ORDERLESS.contains(&&*name.name)),
            FunctionKind::Rows => false,
            FunctionKind::Volatile | FunctionKind::Window | FunctionKind::Unknown => true,
        }
    };
    facts.functions.iter().find(own).map(|name| format!("{name}()"))
}
