//! Queries and what they read: the items of `FROM`, joins, derived tables, CTEs.

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};
use pointsman_sql::{ROWS_MAX, ValueRef};

use super::super::tree::{self, address, is_set_operation, strings};
use super::outputs::collates;
use super::{
    Col, Cte, Fact, ITEMS_MAX, Info, Item, ItemId, ItemKind, Known, LevelId, Output, Place, Regions, Scopes,
    SpaceId,
};
use crate::layout::Placement;

/// The rows of a query.
#[derive(Default)]
pub(super) struct Rows<'a> {
    outputs: Option<Vec<Output>>,
    /// Of `VALUES`.
    values: &'a [Node],
    /// Of a set operation.
    branches: Vec<(SpaceId, Vec<Output>)>,
}

impl<'a> Scopes<'a> {
    /// A query, in the space of its place.
    pub(super) fn query(&mut self, query: &'a pb::SelectStmt, place: &Place) -> Rows<'a> {
        let level = self.level(place);
        self.level_at.insert(address(query), level);
        let ctes = self.push_ctes(query.with_clause.as_ref(), level);
        let rows = if is_set_operation(query) {
            self.set_operation(query, level)
        } else if !query.values_lists.is_empty() {
            self.expressions(&query.values_lists, level);
            let outputs = self.values_outputs(&query.values_lists);
            Rows { outputs, values: &query.values_lists, ..Rows::default() }
        } else {
            self.plain(query, level, place)
        };
        self.by_name(&query.sort_clause, level, rows.outputs.as_deref());
        if let Some(outputs) = &rows.outputs {
            self.outputs_of.insert(level, outputs.clone());
        }
        for limit in [&query.limit_count, &query.limit_offset].into_iter().flatten() {
            self.expression(limit, level);
        }
        if query.into_clause.is_some() {
            self.doubt = true;
        }
        self.ctes.truncate(ctes);
        rows
    }

    fn plain(&mut self, query: &'a pb::SelectStmt, level: LevelId, place: &Place) -> Rows<'a> {
        self.from(&query.from_clause, level, place);
        if let Some(condition) = &query.where_clause {
            self.condition(condition, level, &place.regions);
        }
        self.expressions(&query.target_list, level);
        let mut outputs = self.outputs(&query.target_list, level);
        if let Some(outputs) = &outputs {
            self.outputs_of.insert(level, outputs.clone());
        }
        self.by_name(&query.group_clause, level, outputs.as_deref());
        if let Some(having) = &query.having_clause {
            self.expression(having, level);
        }
        self.expressions(&query.window_clause, level);
        let only_on = query.distinct_clause.iter().filter(|node| node.node.is_some());
        for node in only_on {
            self.by_name(std::slice::from_ref(node), level, outputs.as_deref());
        }
        if let (Some(outputs), Some(kept)) = (&mut outputs, self.kept(query)) {
            for output in outputs {
                output.same = output.same.filter(|col| kept.contains(col));
            }
        }
        Rows { outputs, ..Rows::default() }
    }

    /// Looks at parts that may be numbers or names of output columns.
    fn by_name(&mut self, nodes: &'a [Node], level: LevelId, outputs: Option<&[Output]>) {
        for node in nodes {
            let inner = match &node.node {
                Some(NodeEnum::SortBy(sort)) => sort.node.as_deref().unwrap_or(node),
                _ => node,
            };
            let is_output = match &inner.node {
                Some(NodeEnum::ColumnRef(column)) => match tree::column_names(column).as_deref() {
                    Some([name]) => outputs.is_none_or(|all| all.iter().any(|output| &*output.name == *name)),
                    _ => false,
                },
                _ => false,
            };
            let found = match &inner.node {
                Some(NodeEnum::ColumnRef(column)) if is_output => {
                    let names = tree::column_names(column).unwrap_or_default();
                    self.find(&names, level).1 == Some(level)
                }
                _ => true,
            };
            if found {
                self.expression(inner, level);
            }
        }
    }

    fn set_operation(&mut self, query: &'a pb::SelectStmt, level: LevelId) -> Rows<'a> {
        let mut rows = Rows::default();
        for (at, branch) in [&query.larg, &query.rarg].into_iter().flatten().enumerate() {
            let space = self.space_below(self.levels[level].space);
            let place = Place { names: Some((level, true)), space, regions: Regions::new() };
            let inner = self.derived(branch, &place);
            let outputs = inner.outputs.unwrap_or_default();
            match inner.branches.is_empty() {
                true => rows.branches.push((space, outputs.clone())),
                false => rows.branches.extend(inner.branches),
            }
            if at == 0 {
                rows.outputs = (!outputs.is_empty()).then_some(outputs);
            } else {
                self.meet(&mut rows.outputs, &outputs);
            }
        }
        rows
    }

    /// The columns of a set operation: known as far as both sides agree.
    fn meet(&self, all: &mut Option<Vec<Output>>, more: &[Output]) {
        for (at, output) in all.iter_mut().flatten().enumerate() {
            output.same = None;
            if more.get(at).is_none_or(|other| other.info != output.info) {
                output.info = Info::default();
            }
        }
    }

    fn values_outputs(&self, lists: &'a [Node]) -> Option<Vec<Output>> {
        let cells = |row: &'a Node| match &row.node {
            Some(NodeEnum::List(list)) => list.items.as_slice(),
            _ => &[],
        };
        let width = cells(lists.first()?).len();
        let output = |at: usize| {
            let mut infos = lists
                .iter()
                .take(ROWS_MAX)
                .filter_map(|row| cells(row).get(at))
                .map(|node| self.info_of(node));
            let first = infos.next().unwrap_or_default();
            let info = if infos.all(|info| info == first) { first } else { Info::default() };
            Output { name: format!("column{}", at + 1).into(), same: None, info }
        };
        Some((0..width).map(output).collect())
    }

    /// A query below another: in its space, if it keeps rows as they are; else in one below that.
    pub(super) fn derived(&mut self, query: &'a pb::SelectStmt, place: &Place) -> Rows<'a> {
        if self.passes(query) && query.with_clause.as_ref().is_none_or(|with| !with.recursive) {
            return self.query(query, place);
        }
        let space = self.space_below(place.space);
        let mut rows = self.query(query, &Place { space, ..place.clone() });
        rows.branches.clear();
        for output in rows.outputs.iter_mut().flatten() {
            output.same = None;
        }
        rows
    }

    /// The items of `FROM`.
    pub(super) fn from(&mut self, nodes: &'a [Node], level: LevelId, place: &Place) {
        for node in nodes {
            self.item(node, level, place);
        }
    }

    pub(super) fn item(&mut self, node: &'a Node, level: LevelId, place: &Place) {
        if self.items.len() >= ITEMS_MAX {
            self.doubt = true;
            return;
        }
        match &node.node {
            Some(NodeEnum::RangeVar(var)) => self.range(var, node, level, place),
            Some(NodeEnum::JoinExpr(join)) => self.join(join, level, place),
            Some(NodeEnum::RangeSubselect(n)) => {
                let Some(query) = n.subquery.as_deref().and_then(tree::query) else {
                    self.doubt = true;
                    return;
                };
                let inner = Place { names: Some((level, n.lateral)), ..place.clone() };
                let at = self.items.len();
                let rows = self.derived(query, &inner);
                let item = self.rows_item(n.alias.as_ref(), "", rows, (level, place));
                self.item_at.insert(address(node), item);
                debug_assert!(item >= at);
            }
            Some(NodeEnum::RangeFunction(n)) => {
                self.expressions(&n.functions, level);
                let item = self.add(alias_name(n.alias.as_ref(), ""), level, ItemKind::Other, None);
                self.item_at.insert(address(node), item);
            }
            Some(NodeEnum::RangeTableSample(n)) => {
                self.expressions(&n.args, level);
                if let Some(inner) = n.relation.as_deref() {
                    self.item(inner, level, place);
                }
            }
            _ => self.doubt = true,
        }
    }

    pub(super) fn add(
        &mut self,
        alias: &str,
        level: LevelId,
        kind: ItemKind,
        columns: Option<Vec<Output>>,
    ) -> ItemId {
        let space = self.levels[level].space;
        let item = self.items.len();
        self.items.push(Item { alias: alias.into(), level, space, kind, columns });
        self.levels[level].names.push((item, Vec::new()));
        item
    }

    fn range(&mut self, var: &'a pb::RangeVar, node: &'a Node, level: LevelId, place: &Place) {
        let seen = self.ctes.iter().rposition(|cte| cte.expression.ctename == var.relname);
        let cte = seen.filter(|_| var.schemaname.is_empty()).map(|at| self.ctes[at].clone());
        let item = match cte {
            Some(cte) => self.cte(&cte, var, level, place),
            None => self.table(var, level),
        };
        self.item_at.insert(address(node), item);
    }

    /// A reference to a CTE is looked at as if the CTE's query stood there.
    fn cte(&mut self, cte: &Cte<'a>, var: &'a pb::RangeVar, level: LevelId, place: &Place) -> ItemId {
        let key = address(cte.expression);
        let query = cte.expression.ctequery.as_deref().and_then(tree::query);
        let again = self.expanding.contains(&key);
        let (Some(query), false) = (query, again) else {
            let alias = alias_name(var.alias.as_ref(), &var.relname);
            return self.add(alias, level, ItemKind::Other, None);
        };
        let others = self.ctes.split_off(cte.sees.min(self.ctes.len()));
        self.expanding.push(key);
        let inner = Place { names: cte.names, ..place.clone() };
        let mut rows = if cte.recursive {
            let space = self.space_below(place.space);
            let mut rows = self.query(query, &Place { space, ..inner });
            rows.branches.clear();
            rows.outputs = rows.outputs.map(|outputs| {
                outputs
                    .into_iter()
                    .map(|output| Output { same: None, info: Info::default(), ..output })
                    .collect()
            });
            rows
        } else {
            self.derived(query, &inner)
        };
        self.expanding.pop();
        self.ctes.extend(others);
        rename(&mut rows.outputs, &cte.expression.aliascolnames);
        self.rows_item(var.alias.as_ref(), &var.relname, rows, (level, place))
    }

    /// The item of a derived table.
    fn rows_item(
        &mut self,
        alias: Option<&'a pb::Alias>,
        name: &str,
        mut rows: Rows<'a>,
        (level, place): (LevelId, &Place),
    ) -> ItemId {
        if let Some(alias) = alias {
            rename(&mut rows.outputs, &alias.colnames);
        }
        let item = self.add(alias_name(alias, name), level, ItemKind::Query, rows.outputs);
        let columns: Vec<Option<Col>> =
            (0..self.width(item)).map(|index| Some(Col { item, index })).collect();
        self.listed_rows(&columns, rows.values, place.space, &place.regions);
        self.link(&columns, rows.branches, false);
        item
    }

    fn width(&self, item: ItemId) -> usize {
        self.items[item].columns.as_ref().map_or(0, Vec::len)
    }

    /// Columns are, together, one of the rows of `VALUES`.
    fn listed_rows(&mut self, cols: &[Option<Col>], lists: &'a [Node], space: SpaceId, regions: &Regions) {
        if lists.is_empty() || lists.len() > ROWS_MAX {
            return;
        }
        let cell = |row: &'a Node, at: usize| match &row.node {
            Some(NodeEnum::List(list)) => list.items.get(at),
            _ => None,
        };
        let mut listed: Vec<(Col, Vec<ValueRef>)> = Vec::new();
        for (at, col) in cols.iter().enumerate() {
            let Some(col) = *col else { continue };
            let value = |row| self.value_for(col, cell(row, at)?);
            if let Some(values) = lists.iter().map(value).collect() {
                listed.push((col, values));
            }
        }
        if listed.is_empty() {
            return;
        }
        let rows =
            (0..lists.len()).map(|row| listed.iter().map(|(_, values)| values[row]).collect()).collect();
        let known = Known::In(listed.iter().map(|(col, _)| *col).collect(), rows);
        self.facts.push(Fact { space, regions: regions.clone(), known });
    }

    /// In each branch of a set operation, its columns are those of the whole.
    fn link(&mut self, cols: &[Option<Col>], branches: Vec<(SpaceId, Vec<Output>)>, strict: bool) {
        for (space, outputs) in branches {
            for (col, output) in cols.iter().zip(outputs) {
                let (Some(col), Some(same)) = (*col, output.same) else { continue };
                let known = match (self.equal(col, same), strict) {
                    (Some(known), true) => known,
                    (Some(_), false) => Known::Same(col, same),
                    (None, _) => continue,
                };
                self.facts.push(Fact { space, regions: Regions::new(), known });
            }
        }
    }

    /// `(tests) IN (query)`.
    pub(super) fn same_as_tests(
        &mut self,
        tests: &[Option<Col>],
        rows: Rows<'a>,
        level: LevelId,
        regions: &Regions,
    ) {
        let space = self.levels[level].space;
        for (test, output) in tests.iter().zip(rows.outputs.iter().flatten()) {
            if let (Some(test), Some(same)) = (*test, output.same) {
                self.equate((test, same), level, regions);
            }
        }
        self.listed_rows(tests, rows.values, space, regions);
        self.link(tests, rows.branches, true);
    }

    /// The rows that an `INSERT` puts into its target.
    pub(super) fn inserted(&mut self, target: ItemId, names: &[&str], rows: Rows<'a>) {
        let space = self.items[target].space;
        let cols: Vec<Option<Col>> = if names.is_empty() {
            (0..self.width(target)).map(|index| Some(Col { item: target, index })).collect()
        } else {
            names.iter().map(|name| self.of_item(target, name)).collect()
        };
        for (col, output) in cols.iter().zip(rows.outputs.iter().flatten()) {
            if let (Some(col), Some(same)) = (*col, output.same)
                && self.equal(col, same).is_some()
            {
                self.facts.push(Fact { space, regions: Regions::new(), known: Known::Same(col, same) });
            }
        }
        self.listed_rows(&cols, rows.values, space, &Regions::new());
        self.link(&cols, rows.branches, false);
    }

    /// A table, or a lookup's rows.
    pub(super) fn table(&mut self, var: &'a pb::RangeVar, level: LevelId) -> ItemId {
        let alias = alias_name(var.alias.as_ref(), &var.relname);
        let number = tree::lookup_number(var).filter(|number| self.lookups.contains_key(number));
        let (kind, mut columns) = match number {
            Some(number) => {
                let column = |info: &Info| Output { name: "".into(), same: None, info: *info };
                (
                    ItemKind::Lookup(number),
                    self.lookups.get(&number).map(|all| all.iter().map(column).collect()),
                )
            }
            None => {
                let relation = tree::relation(var);
                let placement = self.schema.placement(&relation);
                let columns = self.schema.columns(&relation).map(|columns| {
                    let column = |column: &crate::layout::Column| Output {
                        name: column.name.clone(),
                        same: None,
                        info: Info {
                            type_oid: Some(column.type_oid),
                            bytewise: column.bytewise,
                            deterministic: column.deterministic,
                            home: self.is_home(&relation, column),
                        },
                    };
                    columns.iter().map(column).collect()
                });
                (ItemKind::Table { relation, placement }, columns)
            }
        };
        if let Some(alias) = &var.alias {
            rename(&mut columns, &alias.colnames);
        }
        self.add(alias, level, kind, columns)
    }

    fn is_home(&self, relation: &pointsman_sql::Relation, column: &crate::layout::Column) -> bool {
        let default = self.schema.default_bytewise();
        !collates(column.type_oid)
            || (column.bytewise && default)
            || (column.bytewise == default && self.schema.default_collation(relation, &column.name))
    }

    /// Where a table's rows are.
    pub(crate) fn placement(&self, item: ItemId) -> Option<&Placement> {
        match &self.items[item].kind {
            ItemKind::Table { placement, .. } => Some(placement),
            _ => None,
        }
    }
}

fn alias_name<'n>(alias: Option<&'n pb::Alias>, name: &'n str) -> &'n str {
    alias.map_or(name, |alias| alias.aliasname.as_str())
}

/// Gives columns the names of an alias's list.
pub(super) fn rename(columns: &mut Option<Vec<Output>>, names: &[Node]) {
    for (output, name) in columns.iter_mut().flatten().zip(strings(names)) {
        output.name = name.into();
    }
}
