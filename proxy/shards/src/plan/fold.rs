//! Grouping, aggregates and windows over rows of several shards: shards send partial results, or the columns that are needed, and
//! any one PostgreSQL does the rest over them as `pointsman.lookup_N AS p(c1, c2, ...)`.

mod aggregates;
mod raw;

use std::collections::HashSet;

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};

use super::planner::{Planner, append};
use super::scope::{Col, INT8, Info, Meant, Scopes, name_of};
use super::text::{self, column, named, refusal};
use super::tree::{self, address};
use super::{Gather, Lookup, Refusal, Why, deep};
use crate::layout::FunctionKind;
use crate::pick::Pick;

pub(crate) use aggregates::has_partials;
pub(crate) use raw::raw;

const HINT: &str = "Group by a key, or limit the statement to one shard by its key.";

/// What shards send, and what stands for it afterwards.
struct Fold<'s, 'a> {
    scopes: &'s Scopes<'a>,
    /// What shards send: an expression's canonical text (empty for a part of an aggregate), the expression, and what is known of it.
    columns: Vec<(String, Node, Info)>,
    /// How many of these are grouped by.
    groups: usize,
    /// Aggregates put together, by their canonical text.
    done: Vec<(String, Node)>,
}

/// Aggregates whose parts can be put together.
pub(crate) fn partials(
    planner: &mut Planner<'_>,
    mut query: pb::SelectStmt,
    lookups: Vec<Lookup>,
) -> Result<Gather, Refusal> {
    name_targets(&mut query);
    let (partial, last, infos) = {
        let scopes = Scopes::of_query(&query, planner.source, planner.schema, &planner.infos);
        let mut fold = Fold { scopes: &scopes, columns: Vec::new(), groups: 0, done: Vec::new() };
        for node in &query.group_clause {
            let Meant { expression, info, .. } = grouped(&scopes, &query, node)?;
            sorts_at_home(&scopes, &expression, info)?;
            fold.columns.push((fold.canonical(&expression), expression.into_owned(), info));
        }
        fold.groups = fold.columns.len();
        let last = fold.last(&query)?;
        let (partial, infos) = fold.partial(&query);
        (partial, last, infos)
    };
    finish(planner, (partial, last), infos, lookups)
}

/// The plan of two queries, the second over the rows of the first.
fn finish(
    planner: &mut Planner<'_>,
    (first, mut last): (pb::SelectStmt, pb::SelectStmt),
    infos: Vec<Info>,
    lookups: Vec<Lookup>,
) -> Result<Gather, Refusal> {
    let number = planner.number();
    last.from_clause = vec![text::lookup_range(number, "p", &text::numbered(infos.len()))];
    let (used_first, used_last) = (lookups_in(&first), lookups_in(&last));
    if used_first.intersection(&used_last).next().is_some() {
        return Err(refusal(Why::Subquery, "a subquery", "It is used both before and after grouping."));
    }
    let (before, after): (Vec<_>, Vec<_>) =
        lookups.into_iter().partition(|lookup| used_first.contains(&lookup.number));
    let on = Scopes::of_query(&first, planner.source, planner.schema, &planner.infos).pick();
    let gather = Gather { lookups: before, sql: text::of_query(&first)?, on, hidden: 0, merge: append() };
    planner.infos.insert(number, infos);
    let mut all = after;
    all.push(Lookup { number, gather, owned: None });
    Ok(Gather { lookups: all, sql: text::of_query(&last)?, on: Pick::Any, hidden: 0, merge: append() })
}

/// Changes what `ORDER BY` and `DISTINCT ON` say of input columns; what names an output column means it in the last query, too.
fn inputs_named(
    query: &pb::SelectStmt,
    last: &mut pb::SelectStmt,
    mut over: impl FnMut(&Node, &mut Node) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let sorted = query.sort_clause.iter().zip(&mut last.sort_clause);
    let mut all = sorted.chain(query.distinct_clause.iter().zip(&mut last.distinct_clause));
    all.try_for_each(|(node, copy)| if is_output(query, node) { Ok(()) } else { over(node, copy) })
}

/// The numbers of the lookups that a query reads.
fn lookups_in(query: &pb::SelectStmt) -> HashSet<u32> {
    let mut found = HashSet::new();
    deep::every(query, &mut |node| {
        if let Some(NodeEnum::RangeVar(var)) = &node.node {
            found.extend(tree::lookup_number(var));
        }
    });
    found
}

/// Gives every target the name that it has anyway.
fn name_targets(query: &mut pb::SelectStmt) {
    for node in &mut query.target_list {
        let Some(NodeEnum::ResTarget(target)) = &mut node.node else { continue };
        let name = target
            .val
            .as_deref()
            .filter(|value| !tree::is_star(value))
            .map(|value| name_of(value).to_owned());
        if let (true, Some(name)) = (target.name.is_empty(), name) {
            target.name = name;
        }
    }
}

/// What a part of `GROUP BY` means.
fn grouped<'n>(scopes: &Scopes<'_>, query: &'n pb::SelectStmt, node: &'n Node) -> Result<Meant<'n>, Refusal> {
    let hint = "Group by the column's name and its table's.";
    scopes.meant_by_group(query, node).ok_or_else(|| refusal(Why::Aggregate, named(node), hint))
}

/// What another PostgreSQL sorts or compares must not depend on a collation that only the column has.
fn sorts_at_home(scopes: &Scopes<'_>, expression: &Node, info: Info) -> Result<(), Refusal> {
    let mut home = info.type_oid.is_none() || info.home;
    if info.type_oid.is_none() {
        deep::every_below(expression, &mut |node| match &node.node {
            Some(NodeEnum::ColumnRef(_)) => {
                let info = scopes.column(node).map_or_else(Info::default, |col| scopes.info(col));
                home &= info.type_oid.is_none() || info.home;
            }
            Some(NodeEnum::CollateClause(_)) => home = false,
            _ => {}
        });
    }
    if home {
        Ok(())
    } else {
        Err(refusal(Why::Order, named(expression), "Its collation is not the database's own."))
    }
}

impl Fold<'_, '_> {
    /// An expression's text with its columns as what they are, so that one expression has one text.
    fn canonical(&self, expression: &Node) -> String {
        let mut cols: Vec<Option<Col>> = Vec::new();
        deep::every_below(expression, &mut |node| {
            if let Some(NodeEnum::ColumnRef(_)) = &node.node {
                cols.push(self.scopes.column(node));
            }
        });
        let mut copy = expression.clone();
        let mut cols = cols.into_iter();
        deep::every_below_mut(&mut copy, &mut |node| {
            if let Some(NodeEnum::ColumnRef(column)) = &mut node.node
                && let Some(Some(col)) = cols.next()
            {
                column.fields =
                    ["pointsman", &col.item.to_string(), &col.index.to_string()].map(tree::string).to_vec();
            }
        });
        text::of_expression(&copy).unwrap_or_default()
    }

    fn own(&self, at: usize) -> Node {
        column("p", &format!("c{}", at + 1))
    }

    /// The query over the partial results.
    fn last(&mut self, query: &pb::SelectStmt) -> Result<pb::SelectStmt, Refusal> {
        let mut last = query.clone();
        last.where_clause = None;
        last.group_clause = (0..self.groups).map(|at| self.own(at)).collect();
        for (node, copy) in query.target_list.iter().zip(&mut last.target_list) {
            self.over(node, copy)?;
        }
        if let (Some(node), Some(copy)) = (&query.having_clause, &mut last.having_clause) {
            self.over(node, copy)?;
        }
        for (node, copy) in query.window_clause.iter().zip(&mut last.window_clause) {
            self.over(node, copy)?;
        }
        inputs_named(query, &mut last, |node, copy| self.over(node, copy))?;
        Ok(last)
    }

    /// Changes a copy of an expression into one over the partial results.
    fn over(&mut self, node: &Node, copy: &mut Node) -> Result<(), Refusal> {
        let Some(kind) = &node.node else { return Ok(()) };
        if !matches!(kind, NodeEnum::ResTarget(_) | NodeEnum::SortBy(_) | NodeEnum::WindowDef(_))
            && self.groups > 0
        {
            let text = self.canonical(node);
            if let Some(at) = self.columns[..self.groups].iter().position(|(own, ..)| *own == text) {
                *copy = self.own(at);
                return Ok(());
            }
        }
        match kind {
            NodeEnum::ColumnRef(_) => Err(refusal(Why::Aggregate, named(node), HINT)),
            NodeEnum::SelectStmt(query) => self.stays(query),
            NodeEnum::FuncCall(call) if self.is_aggregate(call) => {
                *copy = self.aggregate(node, call)?;
                Ok(())
            }
            _ => {
                let mut below = Vec::new();
                tree::children(kind, &mut |child| below.push(child));
                let mut copies = Vec::new();
                if let Some(kind) = &mut copy.node {
                    tree::children_mut(kind, &mut |child| copies.push(child));
                }
                below.into_iter().zip(copies).try_for_each(|(node, copy)| self.over(node, copy))
            }
        }
    }

    /// A query below stays as it is if it names nothing around it.
    fn stays(&self, query: &pb::SelectStmt) -> Result<(), Refusal> {
        let level = self.scopes.level_at.get(&address(query)).map(|level| &self.scopes.levels[*level]);
        if level.is_some_and(|level| !level.correlated && !level.unsure) {
            return Ok(());
        }
        Err(refusal(Why::Subquery, "a subquery over what is grouped", HINT))
    }

    fn is_aggregate(&self, call: &pb::FuncCall) -> bool {
        call.over.is_none()
            && self.scopes.schema.function(&tree::function_name(call)) == FunctionKind::Aggregate
    }

    /// What each shard is asked for.
    fn partial(mut self, query: &pb::SelectStmt) -> (pb::SelectStmt, Vec<Info>) {
        if self.columns.is_empty() {
            let count = pb::FuncCall { agg_star: true, ..text::call("count", Vec::new()) };
            let count = tree::node(NodeEnum::FuncCall(Box::new(count)));
            self.columns.push((String::new(), count, Info::plain(INT8)));
        }
        let numbered = text::numbered(self.columns.len());
        let targets =
            self.columns.iter().zip(&numbered).map(|((_, node, _), name)| text::target(node.clone(), name));
        let mut partial = text::select(targets.collect());
        partial.from_clause.clone_from(&query.from_clause);
        partial.where_clause.clone_from(&query.where_clause);
        partial.group_clause =
            (1..=self.groups).filter_map(|at| i32::try_from(at).ok()).map(text::integer).collect();
        (partial, self.columns.into_iter().map(|(.., info)| info).collect())
    }
}

/// Whether a part of `ORDER BY` or `DISTINCT ON` is an output column's number or name. All targets have names.
fn is_output(query: &pb::SelectStmt, node: &Node) -> bool {
    let inner = match &node.node {
        Some(NodeEnum::SortBy(sort)) => sort.node.as_deref().unwrap_or(node),
        _ => node,
    };
    let target = |name: &str| {
        let named =
            |node: &Node| matches!(&node.node, Some(NodeEnum::ResTarget(target)) if target.name == name);
        query.target_list.iter().any(named)
    };
    match &inner.node {
        Some(NodeEnum::ColumnRef(_)) => tree::bare_name(inner).is_some_and(target),
        kind => matches!(kind, Some(NodeEnum::AConst(_)) | None),
    }
}
