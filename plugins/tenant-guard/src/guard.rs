//! From a statement to the same within one tenant, or to why that is not proven.

use std::ops::ControlFlow::{self, Break, Continue};

use pointsman_plugin::statement;
use sqlparser::ast::{
    BinaryOperator, Delete, Expr, FromTable, Ident, Insert, ObjectName, Query, SelectItem, SetExpr,
    Statement, TableAlias, TableFactor, TableObject, TableWithJoins, Update, Value, ValueWithSpan, VisitMut,
    VisitorMut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::Config;
use crate::harmless::{self, folded, name_of, number_of, plain};

/// The statement with every table of tenants cut down to this one's part.
pub(crate) fn within(sql: &str, tenant: &str, config: &Config) -> Result<String, String> {
    if !tenant.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err("the tenant's name is not letters, digits, `-`, `_` and `.`".to_owned());
    }
    if sql.contains('\\') {
        return Err("a backslash, which settings may give another meaning".to_owned());
    }
    let parse = |sql: &str| Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(|error| error.to_string());
    let mut parsed = parse(sql)?;
    let [statement] = parsed.as_mut_slice() else { return Err("not one statement".to_owned()) };
    let inside = !matches!(statement, Statement::Query(_));
    Guard { config, tenant, expressions: Vec::new(), inside }.statement(statement)?;
    let text = statement.to_string();
    // PostgreSQL gets the print: it must mean what was judged.
    let same = parse(&text)? == parsed;
    same.then_some(text).ok_or_else(|| "it does not read back as it was understood".to_owned())
}

struct Guard<'a> {
    config: &'a Config,
    tenant: &'a str,
    /// The common table expressions, all of which are visible everywhere.
    expressions: Vec<String>,
    /// Whether what is visited now is part of something: only a whole query may begin with `WITH`.
    inside: bool,
}

fn ensure(is_so: bool, why: impl FnOnce() -> String) -> ControlFlow<String> {
    if is_so { Continue(()) } else { Break(why()) }
}

fn expression(sql: &str) -> Result<Expr, String> {
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql);
    parser.and_then(|mut parser| parser.parse_expr()).map_err(|error| error.to_string())
}

fn last(name: &ObjectName) -> Option<&Ident> {
    name.0.last().and_then(|part| part.as_ident())
}

impl Guard<'_> {
    /// The tenant's column of a table.
    fn column(&self, name: &ObjectName) -> Result<&String, String> {
        let column = name_of(name).and_then(|name| self.config.tables.get(&name));
        column.ok_or_else(|| format!("{name} is not a table of tenants"))
    }

    fn statement(&mut self, statement: &mut Statement) -> Result<(), String> {
        let targets = match statement {
            Statement::Update(update) => vec![update.table.clone()],
            Statement::Delete(Delete { from: FromTable::WithFromKeyword(from), .. }) => from.clone(),
            _ => Vec::new(),
        };
        if let Break(why) = statement.visit(self) {
            return Err(why);
        }
        // The visit has made a subquery of the target, too, which cannot be written.
        match (statement, targets.as_slice()) {
            (Statement::Query(_), []) => Ok(()),
            (Statement::Insert(insert), []) => self.insert(insert),
            (Statement::Update(Update { table, assignments, selection, .. }), [target]) => {
                let column = self.restrict(target, selection)?.to_ascii_lowercase();
                table.clone_from(target);
                let is_set = |text: String| text.to_ascii_lowercase().contains(&column);
                let moved = assignments.iter().any(|one| is_set(one.target.to_string()));
                if moved { Err(format!("{column} is set")) } else { Ok(()) }
            }
            (Statement::Delete(Delete { tables, from, selection, .. }), [target]) if tables.is_empty() => {
                self.restrict(target, selection)?;
                *from = FromTable::WithFromKeyword(targets);
                Ok(())
            }
            _ => Err("this kind of statement, or its target".to_owned()),
        }
    }

    /// Adds the tenant to the condition of a write, and gives its column.
    fn restrict(&self, target: &TableWithJoins, selection: &mut Option<Expr>) -> Result<&String, String> {
        let one = plain(&target.relation).filter(|_| target.joins.is_empty());
        let (name, alias) = one.ok_or("its target")?;
        let column = self.column(name)?;
        let shown = alias.map(|alias| &alias.name).or(last(name)).ok_or("its target")?;
        let right = expression(&format!("{shown}.\"{column}\" = '{}'", self.tenant))?;
        *selection = Some(match selection.take().map(|own| Box::new(Expr::Nested(Box::new(own)))) {
            None => right,
            Some(left) => Expr::BinaryOp { left, op: BinaryOperator::And, right: Box::new(right) },
        });
        Ok(column)
    }

    /// New rows are the tenant's: the column is added, or what it is given is proven to be the tenant.
    fn insert(&self, insert: &mut Insert) -> Result<(), String> {
        let TableObject::TableName(name) = &insert.table else { return Err("its target".to_owned()) };
        let column = self.column(name)?;
        if insert.on.is_some() || insert.columns.is_empty() {
            return Err("ON CONFLICT, or no list of columns".to_owned());
        }
        let given = insert.columns.iter().position(|named| name_of(named).as_ref() == Some(column));
        let own = expression(&format!("'{}'", self.tenant))?;
        match (insert.source.as_mut().map(|source| source.body.as_mut()), given) {
            (Some(SetExpr::Values(values)), Some(at)) => {
                let is_own = |row: &Vec<Expr>| row.get(at).is_some_and(|value| self.is_own(value));
                let proven = values.rows.iter().all(|row| is_own(&row.content));
                let why = || format!("every row must have {column} = {}", self.tenant);
                return proven.then_some(()).ok_or_else(why);
            }
            (Some(SetExpr::Values(values)), None) => {
                values.rows.iter_mut().for_each(|row| row.content.push(own.clone()));
            }
            (Some(SetExpr::Select(select)), None) => select.projection.push(SelectItem::UnnamedExpr(own)),
            _ => return Err(format!("rows that are not VALUES must leave {column} out")),
        }
        insert.columns.push(ObjectName::from(vec![Ident::with_quote('"', column)]));
        Ok(())
    }

    fn is_own(&self, value: &Expr) -> bool {
        let Expr::Value(ValueWithSpan { value, .. }) = value else { return false };
        match value {
            Value::Number(text, _) | Value::SingleQuotedString(text) => text == self.tenant,
            Value::Placeholder(name) => number_of(name)
                .and_then(statement::param)
                .and_then(|param| param.to_id())
                .is_some_and(|id| id == self.tenant),
            _ => false,
        }
    }
}

impl VisitorMut for Guard<'_> {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        let inside = std::mem::replace(&mut self.inside, true);
        if let Some(with) = &mut query.with {
            ensure(!inside, || "a nested WITH".to_owned())?;
            // Their names then mean them everywhere, in each other and in themselves, and no table.
            with.recursive = true;
            for one in &with.cte_tables {
                let name = folded(&one.alias.name).unwrap_or_default();
                let table = self.config.tables.contains_key(&name) || self.config.common.contains(&name);
                ensure(!table && !name.is_empty(), || format!("a common table expression named {name}"))?;
                self.expressions.push(name);
            }
        }
        ensure(harmless::query(&query.body), || "SELECT INTO, TABLE, or a write in a query".to_owned())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<String> {
        let Config { tables, common, .. } = self.config;
        let is_known = |name: String| {
            tables.contains_key(&name) || common.contains(&name) || self.expressions.contains(&name)
        };
        ensure(name_of(relation).is_some_and(is_known), || format!("{relation} is not a table that it knows"))
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<String> {
        let Some((name, alias)) = plain(factor) else {
            let is_known =
                matches!(factor, TableFactor::Derived { sample: None, .. } | TableFactor::NestedJoin { .. });
            return ensure(is_known, || format!("{factor} in FROM"));
        };
        let Ok(column) = self.column(name) else { return Continue(()) };
        let part = format!("(SELECT * FROM {name} WHERE \"{column}\" = '{}')", self.tenant);
        let (Ok(Expr::Subquery(subquery)), Some(shown)) = (expression(&part), last(name)) else {
            return Break(format!("the name {name}"));
        };
        let own = || TableAlias { explicit: true, name: shown.clone(), columns: Vec::new(), at: None };
        let alias = Some(alias.cloned().unwrap_or_else(own));
        *factor = TableFactor::Derived { lateral: false, subquery, alias, sample: None };
        Continue(())
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<String> {
        ensure(harmless::value(&value.value), || format!("the literal {value}"))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        ensure(harmless::expression(expr, &self.config.functions), || format!("the expression {expr}"))
    }
}
