//! `INSERT`: each row's key, and the rows' own texts, so that they can be dealt out.

use std::sync::Arc;

use pg_query::protobuf::{self as pb, node::Node as NodeEnum};
use pointsman_sql::{Relation, TEMPLATE_BYTES_MAX, ValueRef};

use super::rows::Rows;
use super::{Context, QueryPlanner, listed, one, plan_write, reference, refusal, refused, update};
use crate::layout::{Column, Placement, Schema, Sharded};
use crate::pick::{KeyUse, KeyValues, Pick};
use crate::plan::scope::Lookups;
use crate::plan::tree::{self, Source, strings};
use crate::plan::{Each, Insert, InsertRow, Many, Plan, Why};

const GIVE_KEY: &str = "give the shard key in every row, as a literal or a parameter";

/// The plan of an `INSERT ... VALUES` that is too long to be parsed whole ([`TEMPLATE_BYTES_MAX`]): it is parsed with its first row
/// only. `None`: it is no such statement, or its rows hold queries.
#[must_use]
pub fn plan_long_insert(text: &str, schema: &dyn Schema) -> Option<Plan> {
    let rows = Rows::find(text)?;
    if rows.has_queries() {
        return None;
    }
    let [before, after] = rows.around();
    let short = [before, rows.text(rows.rows.first()?), after].concat();
    if short.len() > TEMPLATE_BYTES_MAX {
        return None;
    }
    let parsed = pg_query::parse(&short, 0).ok()?.protobuf;
    let [statement] = parsed.stmts.as_slice() else { return None };
    let Some(NodeEnum::InsertStmt(_)) = statement.stmt.as_ref()?.node else { return None };
    let literals = literals(&short)?;
    let no_query: QueryPlanner<'_> = &|_| one(Pick::All);
    let source = Source { text: &short, literals: &literals };
    let plan = plan_write(statement, source, schema, no_query);
    with_rows(plan, &rows, statement, schema)
}

/// The literals of a text.
fn literals(text: &str) -> Option<Vec<pointsman_sql::Literal>> {
    pointsman_sql::literals(text.as_bytes(), pointsman_sql::LexRules::default()).ok()
}

/// The plan of a text of many rows, from that of the same text with the first of them only.
fn with_rows(plan: Plan, rows: &Rows<'_>, statement: &pb::RawStmt, schema: &dyn Schema) -> Option<Plan> {
    let Some(NodeEnum::InsertStmt(n)) = statement.stmt.as_ref()?.node.as_ref() else { return None };
    let relation = tree::relation(n.relation.as_ref()?);
    let sharded = match schema.placement(&relation) {
        Placement::Sharded(sharded) => sharded,
        Placement::Unsharded => return Some(plan),
        // The other rows have to be looked at too.
        Placement::Reference => return None,
    };
    match (&plan.pick, &plan.many) {
        (_, Many::Refused(refusal)) if refusal.why == Why::Subquery => return None,
        (Pick::Keys(_), _) => {}
        _ => return Some(plan),
    }
    let target = match Target::of(n, &relation, sharded, schema) {
        Ok(target) => target,
        Err(plan) => return Some(*plan),
    };
    Some(target.dealt(n, rows))
}

/// The plan of an `INSERT`.
pub(super) fn plan(context: &Context<'_>, node: &NodeEnum, n: &pb::InsertStmt) -> Plan {
    let Some(var) = &n.relation else { return refused(Why::Unknown, "the table", "name it") };
    let relation = tree::relation(var);
    let sharded = match context.placement(&relation) {
        Placement::Unsharded => return update::unsharded(context),
        Placement::Reference => return reference::changed(context),
        Placement::Sharded(sharded) => sharded,
    };
    if let Some(plan) = update::writes_more(context, &relation) {
        return plan;
    }
    let target = match Target::of(n, &relation, sharded, context.schema) {
        Ok(target) => target,
        Err(plan) => return *plan,
    };
    if let Some(plan) = target.conflict(n) {
        return plan;
    }
    let Some(query) = n.select_stmt.as_deref().and_then(tree::query) else {
        return refused(Why::Unknown, format!("DEFAULT VALUES for {relation}"), GIVE_KEY);
    };
    if query.values_lists.is_empty() {
        return of_query(context, node, query);
    }
    let Some(rows) =
        Rows::find(context.source.text).filter(|rows| rows.rows.len() == query.values_lists.len())
    else {
        return refused(
            Why::Unknown,
            "the list of rows",
            "write it as INSERT INTO table (columns) VALUES (...), (...)",
        );
    };
    let plan = target.dealt(n, &rows);
    let reads = context.reads();
    if let Some(table) = reads.unsharded.first() {
        return refused(Why::Join, format!("{table}, which is on the first shard only"), "read it first");
    }
    if reads.sharded.is_empty() {
        return plan;
    }
    with_reads(context, node, plan)
}

/// Rows that hold queries over sharded tables are for one shard, where all of it lies.
fn with_reads(context: &Context<'_>, node: &NodeEnum, plan: Plan) -> Plan {
    let lookups = Lookups::new();
    let scopes = context.scopes(node, &lookups);
    let others = (0..scopes.items.len()).filter(|item| scopes.target != Some(*item));
    let part = format!("a query over {} among the rows", listed(&context.reads().sharded));
    let hint = "limit it to the shard key of the rows, or read it first";
    match (plan.pick, scopes.pick_of(others)) {
        (Pick::Keys(rows), Pick::Keys(read)) if !scopes.doubt => {
            let keys = rows.into_iter().chain(read).collect();
            Plan { pick: Pick::Keys(keys), many: Many::Refused(refusal(Why::Subquery, part, hint)) }
        }
        _ => refused(Why::Subquery, part, hint),
    }
}

/// `INSERT ... SELECT`.
fn of_query(context: &Context<'_>, node: &NodeEnum, query: &pb::SelectStmt) -> Plan {
    let hint =
        "select the shard key into the shard key from tables that are joined by it, or read the rows first";
    let part = || "INSERT ... SELECT whose rows are not proven to stay on their shards".to_owned();
    let lookups = Lookups::new();
    let scopes = context.scopes(node, &lookups);
    let Some(target) = scopes.target.filter(|_| !scopes.doubt) else {
        return refused(Why::Write, part(), hint);
    };
    if let Some(table) = context.reads().unsharded.first() {
        return refused(Why::Join, format!("{table}, which is on the first shard only"), "read it first");
    }
    // Rows lie where their first key says. It has to come from a table whose rows are on the shard that inserts them.
    let closure = scopes.closure(&[target]);
    let keys = scopes.key_columns(target);
    let whole = scopes.sharded(target).is_some_and(|sharded| sharded.keys.len() == keys.len());
    let Some(key) = keys.first().filter(|_| whole) else { return refused(Why::Write, part(), hint) };
    let anchor = (0..scopes.items.len())
        .find(|item| *item != target && update::found_by(&scopes, &closure, key, (target, *item)));
    let Some(anchor) = anchor else { return refused(Why::Write, part(), hint) };
    let grouped = if query.group_clause.is_empty() {
        !update::aggregates(context)
    } else {
        let grouped = scopes.grouped(query);
        key.iter().all(|col| grouped.iter().any(|by| closure.equal(*by, *col)))
    };
    let plain = !tree::is_set_operation(query) && grouped;
    if plain && update::stays(context, &scopes, anchor).is_ok() {
        return Plan { pick: scopes.pick(), many: Many::Each(Each::Rows) };
    }
    Plan { pick: scopes.pick(), many: Many::Refused(refusal(Why::Write, part(), hint)) }
}

/// A row's key: a value for each of its columns.
type Key = Box<[ValueRef]>;

/// The table that rows are inserted into.
struct Target {
    relation: Relation,
    sharded: Arc<Sharded>,
    /// Where the columns of the key that says where a row lies are in a row, from 0.
    at: Box<[usize]>,
    /// Their types (`pg_type.oid`).
    types: Box<[u32]>,
}

impl Target {
    /// Finds the key's columns; else the plan that says what is missing.
    fn of(
        n: &pb::InsertStmt,
        relation: &Relation,
        sharded: Arc<Sharded>,
        schema: &dyn Schema,
    ) -> Result<Self, Box<Plan>> {
        let fail = |why, part: String, hint: &'static str| Err(Box::new(refused(why, part, hint)));
        let Some(columns) = schema.columns(relation) else {
            return fail(Why::Unknown, format!("the columns of {relation}"), "insert into the table itself");
        };
        if n.r#override() == pb::OverridingKind::OverridingUserValue {
            return fail(Why::Statement, "OVERRIDING USER VALUE".into(), "leave it out");
        }
        let Some(key) = sharded.keys.first() else {
            return fail(Why::Unknown, format!("the shard key of {relation}"), "declare it");
        };
        let mut at = Vec::with_capacity(key.len());
        let mut types = Vec::with_capacity(key.len());
        for name in key {
            let Some(type_oid) = type_of(&columns, name) else {
                return fail(
                    Why::Unknown,
                    format!("the column {name} of {relation}"),
                    "declare the table's own column",
                );
            };
            let Some(place) = place(n, &columns, name) else {
                return fail(Why::Unknown, format!("the shard key {name}, which is left out"), GIVE_KEY);
            };
            at.push(place);
            types.push(type_oid);
        }
        let (at, types) = (at.into(), types.into());
        Ok(Self { relation: relation.clone(), sharded, at, types })
    }

    /// Why `ON CONFLICT` cannot be done: it sets the key to something else than that of the row that was to be inserted.
    fn conflict(&self, n: &pb::InsertStmt) -> Option<Plan> {
        let clause = n.on_conflict_clause.as_ref()?;
        let targets: Vec<&pb::ResTarget> = clause.target_list.iter().filter_map(update::target).collect();
        let keys = || self.sharded.keys.iter().flatten();
        let set = targets.iter().find(|target| keys().any(|key| **key == *target.name))?;
        let excluded = |key: &str| {
            targets.iter().any(|target| {
                let value = target.val.as_ref().and_then(|val| val.node.as_ref());
                let Some(NodeEnum::ColumnRef(column)) = value else { return false };
                let names: Vec<&str> = strings(&column.fields).collect();
                target.name == key && target.indirection.is_empty() && names == ["excluded", key]
            })
        };
        let all_set = self.sharded.keys.first()?.iter().all(|key| excluded(key));
        let set_keys = keys().filter(|key| targets.iter().any(|target| *target.name == ***key));
        if all_set && set_keys.into_iter().all(|key| excluded(key)) {
            return None;
        }
        let part = format!("ON CONFLICT DO UPDATE SET {}, a shard key of {}", set.name, self.relation);
        Some(refused(Why::KeyUpdate, part, "leave the shard key as it is: take it out of the SET"))
    }

    /// The plan of these rows.
    fn dealt(&self, n: &pb::InsertStmt, rows: &Rows<'_>) -> Plan {
        let mut keys = Vec::with_capacity(rows.rows.len());
        for (number, row) in rows.rows.iter().enumerate() {
            match self.key(rows, row) {
                Ok(key) => keys.push(key),
                Err(what) => {
                    let part =
                        format!("the shard key of row {} for {}, which is {what}", number + 1, self.relation);
                    return refused(Why::Unknown, part, GIVE_KEY);
                }
            }
        }
        let several = keys.len() > 1;
        let many = match several.then(|| unlike_a_list(n)).flatten() {
            Some(part) => Many::Refused(refusal(Why::Statement, part, "leave it out")),
            None if several => Many::Insert(Box::new(self.rows(n, rows, &keys))),
            None => one(Pick::All).many,
        };
        Plan { pick: Pick::Keys([self.key_use(keys.into())].into()), many }
    }

    fn rows(&self, n: &pb::InsertStmt, rows: &Rows<'_>, keys: &[Key]) -> Insert {
        let conflict = n.on_conflict_clause.as_ref();
        let skips = |clause: &pb::OnConflictClause| -> bool {
            clause.action() != pb::OnConflictAction::OnconflictUpdate || clause.where_clause.is_some()
        };
        let row = |(row, key): (&super::rows::Row, &Key)| InsertRow {
            text: rows.text(row).to_owned(),
            key: self.key_use([key.clone()].into()),
        };
        Insert {
            around: rows.around().map(str::to_owned),
            rows: rows.rows.iter().zip(keys).map(row).collect(),
            returning: n.returning_clause.is_some(),
            may_skip: conflict.is_some_and(|clause| skips(clause)),
        }
    }

    /// A row's key, or what stands there instead.
    fn key(&self, rows: &Rows<'_>, row: &super::rows::Row) -> Result<Box<[ValueRef]>, &'static str> {
        let cells = rows.cells(row);
        let value =
            |(at, type_oid): (&usize, &u32)| match cells.get(*at).map(|cell| rows.value(cell, *type_oid)) {
                None => Err("left out"),
                Some(ValueRef::Default) => Err("DEFAULT"),
                Some(ValueRef::Other) => Err("an expression"),
                Some(value) => Ok(value),
            };
        self.at.iter().zip(&self.types).map(value).collect()
    }

    fn key_use(&self, tuples: Box<[Box<[ValueRef]>]>) -> KeyUse {
        KeyUse { sharded: self.sharded.clone(), types: self.types.clone(), values: KeyValues::Rows(tuples) }
    }
}

/// What makes a list of rows more than that.
fn unlike_a_list(n: &pb::InsertStmt) -> Option<&'static str> {
    let query = n.select_stmt.as_deref().and_then(tree::query)?;
    match () {
        () if query.limit_count.is_some() || query.limit_offset.is_some() => {
            Some("LIMIT or OFFSET after VALUES")
        }
        () if !query.sort_clause.is_empty() => Some("ORDER BY after VALUES"),
        () if !query.locking_clause.is_empty() => Some("a locking clause after VALUES"),
        () => None,
    }
}

/// The type of a column.
pub(super) fn type_of(columns: &[Column], name: &str) -> Option<u32> {
    columns.iter().find(|column| &*column.name == name).map(|column| column.type_oid)
}

/// Where a column is in a row, from 0.
fn place(n: &pb::InsertStmt, columns: &[Column], name: &str) -> Option<usize> {
    if n.cols.is_empty() {
        return columns.iter().position(|column| &*column.name == name);
    }
    let named = |target: &pb::ResTarget| target.name == name && target.indirection.is_empty();
    n.cols.iter().position(|node| update::target(node).is_some_and(named))
}
