//! What the parts of `ORDER BY`, `DISTINCT ON` and `GROUP BY` mean: a number or a bare name there may be an output column's.

use std::borrow::Cow;

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};

use super::super::text;
use super::super::tree::{self, address, bare_name, strings};
use super::{Col, Info, LevelId, Output, Scopes, name_of};

/// An expression, and what is known of it.
#[derive(Debug)]
pub(crate) struct Meant<'n> {
    pub(crate) expression: Cow<'n, Node>,
    pub(crate) info: Info,
    pub(crate) column: Option<Col>,
}

impl Scopes<'_> {
    /// What a part of `ORDER BY` or `DISTINCT ON` means: the output column that it numbers or names, with stars written out, or else
    /// itself. `None`: it may be one of columns that are not known.
    pub(crate) fn meant<'n>(&self, query: &'n pb::SelectStmt, node: &'n Node) -> Option<Meant<'n>> {
        let name = bare_name(node);
        let number = number(node);
        if name.is_none() && number.is_none() {
            return Some(self.itself(node));
        }
        let Some(targets) = self.written_out(query) else {
            // A star of all that is in sight brings no names but those of input columns.
            return (number.is_none() && !query.target_list.iter().any(is_qualified_star))
                .then(|| self.itself(node));
        };
        let at = match name {
            Some(name) => targets.iter().position(|target| target_name(target) == Some(name)),
            None => number.filter(|at| *at < targets.len()),
        };
        let Some(at) = at else { return name.map(|_| self.itself(node)) };
        let target = match targets {
            Cow::Borrowed(targets) => targets.get(at).and_then(value).map(Cow::Borrowed),
            Cow::Owned(targets) => targets.get(at).and_then(value).cloned().map(Cow::Owned),
        };
        let output = self.level_at.get(&address(query)).and_then(|level| self.outputs_of.get(level)?.get(at));
        let expression = target?;
        let own = self.column(&expression);
        Some(match output {
            Some(output) => Meant { expression, info: output.info, column: output.same.or(own) },
            None => Meant { info: self.info_of(&expression), expression, column: own },
        })
    }

    /// What a part of `GROUP BY` means: a bare name is an input column's where there is one.
    pub(crate) fn meant_by_group<'n>(&self, query: &'n pb::SelectStmt, node: &'n Node) -> Option<Meant<'n>> {
        let input = |name: &str, level: &LevelId| {
            use super::names::Found;
            let (found, at) = self.find(&[name], *level);
            at == Some(*level) && !matches!(found, Found::Of(_))
        };
        match (bare_name(node), self.level_at.get(&address(query))) {
            (Some(name), Some(level)) if input(name, level) => Some(self.itself(node)),
            _ => self.meant(query, node),
        }
    }

    fn itself<'n>(&self, node: &'n Node) -> Meant<'n> {
        Meant { expression: Cow::Borrowed(node), info: self.info_of(node), column: self.column(node) }
    }

    /// Targets with their stars written out; `None`: the columns of one are not known.
    pub(crate) fn written_out<'n>(&self, query: &'n pb::SelectStmt) -> Option<Cow<'n, [Node]>> {
        let star = |node: &Node| value(node).is_none_or(tree::is_star);
        if !query.target_list.iter().any(star) {
            return Some(Cow::Borrowed(&query.target_list));
        }
        let level = *self.level_at.get(&address(query))?;
        let mut targets = Vec::new();
        for node in &query.target_list {
            match &value(node)?.node {
                Some(NodeEnum::ColumnRef(column)) if star(node) => {
                    self.star_targets(level, strings(&column.fields).last(), &mut targets)?;
                }
                _ => targets.push(node.clone()),
            }
        }
        Some(Cow::Owned(targets))
    }

    fn star_targets(&self, level: LevelId, qualifier: Option<&str>, targets: &mut Vec<Node>) -> Option<()> {
        let at = &self.levels[level];
        let merged = !at.merged.is_empty() || at.names.iter().any(|(_, hidden)| !hidden.is_empty());
        if qualifier.is_none() && merged {
            return None;
        }
        let mut found = false;
        for (item, _) in &at.names {
            let item = &self.items[*item];
            if qualifier.is_some_and(|qualifier| qualifier != &*item.alias) || item.alias.is_empty() {
                continue;
            }
            found = true;
            let column = |output: &Output| text::target(text::column(&item.alias, &output.name), "");
            targets.extend(item.columns.as_ref()?.iter().map(column));
        }
        found.then_some(())
    }
}

/// The name that a target has or gets.
fn target_name(target: &Node) -> Option<&str> {
    match &target.node {
        Some(NodeEnum::ResTarget(target)) if target.name.is_empty() => target.val.as_deref().map(name_of),
        Some(NodeEnum::ResTarget(target)) => Some(&target.name),
        _ => None,
    }
}

fn value(target: &Node) -> Option<&Node> {
    match &target.node {
        Some(NodeEnum::ResTarget(target)) => target.val.as_deref(),
        _ => None,
    }
}

fn is_qualified_star(target: &Node) -> bool {
    value(target).is_some_and(|value| match &value.node {
        Some(NodeEnum::ColumnRef(column)) => tree::is_star(value) && column.fields.len() > 1,
        _ => false,
    })
}

/// The place, from 0, that a number says; of none, where there is nothing.
fn number(node: &Node) -> Option<usize> {
    match &node.node {
        Some(NodeEnum::AConst(pb::AConst { val: Some(pb::a_const::Val::Ival(number)), .. })) => Some(
            usize::try_from(number.ival).ok().and_then(|number| number.checked_sub(1)).unwrap_or(usize::MAX),
        ),
        _ => None,
    }
}
