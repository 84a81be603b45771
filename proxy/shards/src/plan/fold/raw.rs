//! Shards send the columns that are needed, and any one PostgreSQL does all but `FROM` and `WHERE` over them.

use std::borrow::Cow;

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};

use super::super::judge::aggregated;
use super::super::planner::Planner;
use super::super::scope::{Col, Info, Scopes};
use super::super::text::{self, column, named, refusal};
use super::super::tree::{self, address};
use super::super::{Gather, Lookup, Refusal, Why, order};
use super::{HINT, aggregates, finish, grouped, inputs_named, name_targets, sorts_at_home};

/// Columns as shards send them.
struct Raw<'s, 'a> {
    scopes: &'s Scopes<'a>,
    columns: Vec<(Col, Node, Info)>,
}

pub(crate) fn raw(
    planner: &mut Planner<'_>,
    mut query: pb::SelectStmt,
    lookups: Vec<Lookup>,
) -> Result<Gather, Refusal> {
    let targets = {
        let scopes = Scopes::of_query(&query, planner.source, planner.schema, &planner.infos);
        scopes.written_out(&query).map(Cow::into_owned)
    };
    let Some(targets) = targets else { return Err(refusal(Why::Unknown, "*", "Name the columns.")) };
    query.target_list = targets;
    name_targets(&mut query);
    let (first, last, infos) = {
        let scopes = Scopes::of_query(&query, planner.source, planner.schema, &planner.infos);
        let mut raw = Raw { scopes: &scopes, columns: Vec::new() };
        let last = raw.last(&query)?;
        let first = raw.first(&query)?;
        (first, last, raw.columns.into_iter().map(|(.., info)| info).collect())
    };
    finish(planner, (first, last), infos, lookups)
}

impl Raw<'_, '_> {
    fn last(&mut self, query: &pb::SelectStmt) -> Result<pb::SelectStmt, Refusal> {
        let mut last = query.clone();
        last.where_clause = None;
        let lists =
            [(&query.target_list, &mut last.target_list), (&query.window_clause, &mut last.window_clause)];
        for (nodes, copies) in lists {
            nodes.iter().zip(copies).try_for_each(|(node, copy)| self.over(node, copy))?;
        }
        if let (Some(node), Some(copy)) = (&query.having_clause, &mut last.having_clause) {
            self.over(node, copy)?;
        }
        for (node, copy) in query.group_clause.iter().zip(&mut last.group_clause) {
            let expression = grouped(self.scopes, query, node)?.expression;
            *copy = (*expression).clone();
            self.over(&expression, copy)?;
        }
        inputs_named(query, &mut last, |node, copy| self.over(node, copy))?;
        Ok(last)
    }

    fn over(&mut self, node: &Node, copy: &mut Node) -> Result<(), Refusal> {
        let Some(kind) = &node.node else { return Ok(()) };
        match kind {
            NodeEnum::ColumnRef(_) => {
                let Some(col) = self.scopes.column(node) else {
                    return Err(refusal(Why::Unknown, named(node), "Name the column and its table."));
                };
                *copy = self.column(col, node)?;
                Ok(())
            }
            NodeEnum::SelectStmt(query) => {
                let level =
                    self.scopes.level_at.get(&address(&**query)).map(|level| &self.scopes.levels[*level]);
                if level.is_some_and(|level| !level.correlated && !level.unsure) {
                    return Ok(());
                }
                Err(refusal(Why::Subquery, "a subquery over what is grouped", HINT))
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

    fn column(&mut self, col: Col, node: &Node) -> Result<Node, Refusal> {
        let at = match self.columns.iter().position(|(own, ..)| *own == col) {
            Some(at) => at,
            None => {
                let info = self.scopes.info(col);
                sorts_at_home(self.scopes, node, info)?;
                self.columns.push((col, node.clone(), info));
                self.columns.len() - 1
            }
        };
        Ok(column("p", &format!("c{}", at + 1)))
    }

    /// What each shard is asked for.
    fn first(&mut self, query: &pb::SelectStmt) -> Result<pb::SelectStmt, Refusal> {
        if self.columns.is_empty() {
            self.columns.push((Col { item: usize::MAX, index: 0 }, text::integer(1), Info::plain(23)));
        }
        let names = text::numbered(self.columns.len());
        let targets =
            self.columns.iter().zip(&names).map(|((_, node, _), name)| text::target(node.clone(), name));
        let mut first = text::select(targets.collect());
        first.from_clause.clone_from(&query.from_clause);
        first.where_clause.clone_from(&query.where_clause);
        let windows = !self.scopes.partitions(query).is_empty();
        let grouped = aggregated(self.scopes, query);
        if !windows
            && (if grouped {
                self.ignores_copies(query)
            } else {
                !query.distinct_clause.is_empty() && plain_distinct(query)
            })
        {
            first.distinct_clause = vec![Node { node: None }];
        }
        if !windows && !grouped && query.distinct_clause.is_empty() && query.limit_count.is_some() {
            self.limited(query, &mut first);
        }
        Ok(first)
    }

    /// No more than the first rows of each shard are wanted.
    fn limited(&self, query: &pb::SelectStmt, first: &mut pb::SelectStmt) {
        first.sort_clause.clone_from(&query.sort_clause);
        for (node, copy) in query.sort_clause.iter().zip(&mut first.sort_clause) {
            if let (Some(NodeEnum::SortBy(sort)), Some(NodeEnum::SortBy(copy))) = (&node.node, &mut copy.node)
                && let Some(meant) = sort.node.as_deref().and_then(|node| self.scopes.meant(query, node))
            {
                copy.node = Some(Box::new(meant.expression.into_owned()));
            }
        }
        first.limit_count.clone_from(&query.limit_count);
        first.limit_offset.clone_from(&query.limit_offset);
        first.limit_option = query.limit_option;
        order::push_limit(first);
    }

    /// Whether no aggregate depends on how often a row is there.
    fn ignores_copies(&self, query: &pb::SelectStmt) -> bool {
        let mut calls = Vec::new();
        let nodes = query.target_list.iter().chain(&query.sort_clause).chain(query.having_clause.as_deref());
        nodes.for_each(|node| aggregates::aggregates(self.scopes, node, &mut calls));
        calls.iter().all(|call| {
            let name = tree::function_name(call).name;
            call.agg_distinct || matches!(&*name, "min" | "max" | "bool_and" | "bool_or" | "every")
        })
    }
}

fn plain_distinct(query: &pb::SelectStmt) -> bool {
    query.distinct_clause.iter().all(|node| node.node.is_none())
}
