//! From a name to the item and column that it means, by PostgreSQL's rules.

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};

use super::super::tree::{self, address, column_names};
use super::{Col, ItemId, ItemKind, LevelId, Place, Regions, Scopes};

/// What a name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A column.
    Column(Col),
    /// Something of this item that is not one column: the whole row, or a column that is not known.
    Of(ItemId),
    /// A column of this level, merged of two.
    Merged,
    /// Nothing that is known.
    Nothing,
}

impl<'a> Scopes<'a> {
    /// Looks a name up, from a level outwards; also the level where it was found.
    pub(crate) fn find(&self, names: &[&str], level: LevelId) -> (Found, Option<LevelId>) {
        let mut next = Some((level, true));
        let mut sure = true;
        while let Some((at, in_sight)) = next {
            if in_sight {
                let (found, known) = match names {
                    [name] => self.find_bare(name, at),
                    [qualifier, name] => self.find_qualified((None, qualifier), name, at),
                    [.., schema, qualifier, name] => self.find_qualified((Some(schema), qualifier), name, at),
                    [] => (None, true),
                };
                if let Some(found) = found {
                    return if sure { (found, Some(at)) } else { (Found::Nothing, None) };
                }
                sure &= known;
            }
            next = self.levels[at].parent;
        }
        (Found::Nothing, None)
    }

    /// An item by its alias.
    fn by_alias(&self, schema: Option<&str>, alias: &str, level: LevelId) -> Option<ItemId> {
        let mut found = self.levels[level].names.iter().map(|(item, _)| *item).filter(|item| {
            let item = &self.items[*item];
            let schema_fits = schema.is_none_or(|schema| match &item.kind {
                ItemKind::Table { relation, .. } => relation.schema.as_deref() == Some(schema),
                _ => false,
            });
            &*item.alias == alias && schema_fits
        });
        found.next().filter(|_| found.next().is_none())
    }

    fn find_qualified(
        &self,
        (schema, alias): (Option<&str>, &str),
        name: &str,
        level: LevelId,
    ) -> (Option<Found>, bool) {
        let Some(item) = self.by_alias(schema, alias, level) else { return (None, true) };
        (Some(self.of_item(item, name).map_or(Found::Of(item), Found::Column)), true)
    }

    fn find_bare(&self, name: &str, level: LevelId) -> (Option<Found>, bool) {
        let at = &self.levels[level];
        if at.merged.iter().any(|merged| &**merged == name) {
            return (Some(Found::Merged), true);
        }
        let in_sight = at.names.iter().filter(|(_, hidden)| !hidden.iter().any(|hidden| &**hidden == name));
        let mut found = in_sight.filter_map(|(item, _)| self.of_item(*item, name));
        if let Some(col) = found.next() {
            let found = if found.next().is_none() { Found::Column(col) } else { Found::Nothing };
            return (Some(found), true);
        }
        let known = at.names.iter().all(|(item, _)| self.items[*item].columns.is_some());
        (self.by_alias(None, name, level).map(Found::Of), known)
    }

    /// An item's column by its name, as what it is in the end.
    pub(crate) fn of_item(&self, item: ItemId, name: &str) -> Option<Col> {
        let columns = self.items[item].columns.as_ref()?;
        let mut found = columns.iter().enumerate().filter(|(_, output)| &*output.name == name);
        let (index, output) = found.next()?;
        if found.next().is_some() {
            return None;
        }
        Some(output.same.unwrap_or(Col { item, index }))
    }

    /// Looks a column reference up and notes what it is.
    fn column_ref(&mut self, column: &'a pb::ColumnRef, level: LevelId) {
        let star = matches!(column.fields.last(), Some(Node { node: Some(NodeEnum::AStar(_)) }));
        let names = match column_names(column) {
            Some(names) => names,
            None if star => tree::strings(&column.fields).collect(),
            None => Vec::new(),
        };
        if star {
            return self.star(column, &names, level);
        }
        let (found, at) = self.find(&names, level);
        match found {
            Found::Column(col) => {
                self.refs.insert(address(column), col);
            }
            Found::Of(item) => {
                self.whole.insert(item);
                self.rows.insert(item);
            }
            Found::Merged => {}
            Found::Nothing => return self.outside(level, None),
        }
        self.outside(level, at);
    }

    fn star(&mut self, column: &'a pb::ColumnRef, names: &[&str], level: LevelId) {
        let schema = names.len().checked_sub(2).map(|at| names[at]);
        let mut next = Some((level, true));
        while let Some((at, in_sight)) = next {
            let items: Vec<ItemId> = match names.last() {
                None => self.levels[level].names.iter().map(|(item, _)| *item).collect(),
                Some(alias) if in_sight => self.by_alias(schema, alias, at).into_iter().collect(),
                Some(_) => Vec::new(),
            };
            if names.is_empty() || !items.is_empty() {
                let cols = items.iter().flat_map(|item| self.all_columns(*item)).collect();
                self.stars.insert(address(column), cols);
                self.whole.extend(items);
                return self.outside(level, Some(at));
            }
            next = self.levels[at].parent;
        }
        self.outside(level, None);
    }

    /// An item's columns, as what they are in the end.
    pub(crate) fn all_columns(&self, item: ItemId) -> Vec<Col> {
        let columns = self.items[item].columns.iter().flatten().enumerate();
        columns.map(|(index, output)| output.same.unwrap_or(Col { item, index })).collect()
    }

    /// Notes at a level, and those around it up to `at`, that a name in it is of a query around it.
    fn outside(&mut self, level: LevelId, at: Option<LevelId>) {
        let mut next = Some(level);
        while let Some(here) = next.filter(|here| Some(*here) != at) {
            match at {
                Some(_) => self.levels[here].correlated = true,
                None => self.levels[here].unsure = true,
            }
            next = self.levels[here].parent.map(|(parent, _)| parent);
        }
    }

    /// Looks at expressions.
    pub(super) fn expressions(&mut self, nodes: &'a [Node], level: LevelId) {
        for node in nodes {
            self.expression(node, level);
        }
    }

    /// Looks at an expression and all below it. Queries in it are in spaces of their own.
    pub(super) fn expression(&mut self, node: &'a Node, level: LevelId) {
        match &node.node {
            None => {}
            Some(NodeEnum::ColumnRef(column)) => self.column_ref(column, level),
            Some(NodeEnum::SelectStmt(query)) => {
                let space = self.space_below(self.levels[level].space);
                self.query(query, &Place { names: Some((level, true)), space, regions: Regions::new() });
            }
            Some(kind) => {
                let mut below = Vec::new();
                if !tree::children(kind, &mut |child| below.push(child)) {
                    self.doubt = true;
                }
                for child in below {
                    self.expression(child, level);
                }
            }
        }
    }
}
