//! From a statement to the same within one tenant, or to why that is not proven.

use std::ops::ControlFlow;

use pointsman_plugin::statement;
use sqlparser::ast::{
    BinaryOperator as Op, DataType, Delete, Expr, FromTable, Ident, ObjectName, Query, Select, SelectFlavor,
    SetExpr, Statement, TableAlias, TableFactor, TableObject, TableWithJoins, Update, Value, ValueWithSpan,
    VisitMut, VisitorMut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::Config;

/// Functions that see nothing but their arguments.
const FUNCTIONS: &str = " count sum min max avg coalesce nullif greatest least lower upper length abs round concat replace now \
    current_timestamp current_date date_trunc to_char row_number rank dense_rank lag lead string_agg array_agg json_agg \
    jsonb_agg json_build_object jsonb_build_object bool_and bool_or left right ";

/// The statement with every table of tenants cut down to this one's part.
pub(crate) fn within(sql: &str, tenant: &str, config: &Config) -> Result<String, String> {
    if !tenant.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err("the tenant's name is not letters, digits, `-`, `_` and `.`".to_owned());
    }
    if sql.contains('\\') {
        return Err("a backslash, which settings may give another meaning".to_owned());
    }
    let mut parsed = Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(|error| error.to_string())?;
    let [statement] = parsed.as_mut_slice() else { return Err("not one statement".to_owned()) };
    let mut guard = Guard { config, tenant, expressions: Vec::new() };
    guard.statement(statement)?;
    Ok(statement.to_string())
}

struct Guard<'a> {
    config: &'a Config,
    tenant: &'a str,
    /// The common table expressions that are visible everywhere from here on.
    expressions: Vec<String>,
}

fn done(flow: ControlFlow<String>) -> Result<(), String> {
    if let ControlFlow::Break(why) = flow { Err(why) } else { Ok(()) }
}

fn no(why: impl Into<String>) -> ControlFlow<String> {
    ControlFlow::Break(why.into())
}

fn folded(ident: &Ident) -> Option<String> {
    let plain = ident.value.is_ascii() && !ident.value.contains(['.', '"']);
    plain.then(|| {
        if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
    })
}

fn name_of(object: &ObjectName) -> Option<String> {
    let parts = object.0.iter().map(|part| part.as_ident().and_then(folded)).collect::<Option<Vec<_>>>()?;
    Some(parts.join("."))
}

/// The name of a table that stands there by itself: no `ONLY`, sample, arguments.
fn plain(factor: &TableFactor) -> Option<(&ObjectName, Option<&TableAlias>)> {
    match factor {
        TableFactor::Table {
            name,
            alias,
            args: None,
            with_ordinality: false,
            sample: None,
            inheritance: None,
            ..
        } => Some((name, alias.as_ref())),
        _ => None,
    }
}

impl Guard<'_> {
    fn column(&self, name: &ObjectName) -> Option<&String> {
        self.config.tables.get(&name_of(name)?)
    }

    fn statement(&mut self, statement: &mut Statement) -> Result<(), String> {
        match statement {
            Statement::Query(query) => self.query(query),
            Statement::Insert(insert) => {
                let TableObject::TableName(name) = &insert.table else { return Err("its target".to_owned()) };
                let (name, column) =
                    (name_of(name), self.column(name).ok_or("a table that is not a tenant's is written")?);
                if insert.on.is_some() || insert.source.is_none() || !insert.assignments.is_empty() {
                    return Err("ON CONFLICT, or no VALUES".to_owned());
                }
                let given = statement::pinned(&name.unwrap_or_default(), column).unwrap_or_default();
                if given.is_empty() || given.iter().any(|value| value.to_id().as_deref() != Some(self.tenant))
                {
                    return Err(format!("every row must be given {column} = {}", self.tenant));
                }
                done(insert.visit(self))
            }
            Statement::Update(Update { table, assignments, from, selection, returning, .. }) => {
                let (column, condition) = self.target(table)?;
                let set = |target: String| target.to_ascii_lowercase().contains(&column.to_ascii_lowercase());
                if assignments.iter().any(|assignment| set(assignment.target.to_string())) {
                    return Err(format!("{column} is set"));
                }
                done(assignments.visit(self))?;
                done(from.visit(self))?;
                done(returning.visit(self))?;
                self.restrict(selection, condition)
            }
            Statement::Delete(Delete {
                tables,
                from: FromTable::WithFromKeyword(from),
                using,
                selection,
                returning,
                ..
            }) if tables.is_empty() => {
                let [target] = from.as_slice() else { return Err("it has several targets".to_owned()) };
                let (_, condition) = self.target(target)?;
                done(using.visit(self))?;
                done(returning.visit(self))?;
                self.restrict(selection, condition)
            }
            _ => Err("this kind of statement".to_owned()),
        }
    }

    /// A whole query. Only here may common table expressions be: one that is nested is not visible everywhere.
    fn query(&mut self, query: &mut Query) -> Result<(), String> {
        let mut with = query.with.take();
        let recursive = with.as_ref().is_some_and(|with| with.recursive);
        for cte in with.iter_mut().flat_map(|with| with.cte_tables.iter_mut()) {
            let name = folded(&cte.alias.name).ok_or("a name that is not plain")?;
            if self.config.tables.contains_key(&name) || self.config.common.contains(&name) {
                return Err(format!("{name} is a table and a common table expression"));
            }
            // Within itself and those before it, its name means a table, but for one that is recursive.
            if recursive {
                self.expressions.push(name.clone());
            }
            done(cte.query.visit(self))?;
            self.expressions.push(name);
        }
        done(query.visit(self))?;
        query.with = with;
        Ok(())
    }

    /// The tenant's column of what is changed, and the condition on it.
    fn target(&self, table: &TableWithJoins) -> Result<(String, Expr), String> {
        let (name, alias) = plain(&table.relation).filter(|_| table.joins.is_empty()).ok_or("its target")?;
        let column = self.column(name).ok_or_else(|| format!("{name} is not a table of tenants"))?;
        let shown = alias
            .map(|alias| &alias.name)
            .or(name.0.last().and_then(|part| part.as_ident()))
            .ok_or("its target")?;
        let condition = format!("{shown}.\"{column}\" = '{}'", self.tenant);
        let parsed = Parser::new(&PostgreSqlDialect {})
            .try_with_sql(&condition)
            .and_then(|mut parser| parser.parse_expr());
        Ok((column.clone(), parsed.map_err(|error| error.to_string())?))
    }

    fn restrict(&mut self, selection: &mut Option<Expr>, condition: Expr) -> Result<(), String> {
        done(selection.visit(self))?;
        *selection = Some(match selection.take() {
            None => condition,
            Some(own) => Expr::BinaryOp {
                left: Box::new(Expr::Nested(Box::new(own))),
                op: Op::And,
                right: Box::new(condition),
            },
        });
        Ok(())
    }

    fn part(&self, factor: &TableFactor) -> Option<TableFactor> {
        let (name, alias) = plain(factor)?;
        let (column, shown) = (self.column(name)?, name.0.last()?.as_ident()?);
        let query = format!("SELECT * FROM {name} WHERE \"{column}\" = '{}'", self.tenant);
        let Statement::Query(subquery) = Parser::parse_sql(&PostgreSqlDialect {}, &query).ok()?.pop()? else {
            return None;
        };
        let own = || TableAlias { explicit: true, name: shown.clone(), columns: Vec::new(), at: None };
        let alias = Some(alias.cloned().unwrap_or_else(own));
        Some(TableFactor::Derived { lateral: false, subquery, alias, sample: None })
    }
}

impl VisitorMut for Guard<'_> {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        fn known(body: &SetExpr) -> bool {
            match body {
                SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => true,
                SetExpr::SetOperation { left, right, .. } => known(left) && known(right),
                _ => false,
            }
        }
        if query.with.is_some() || !known(&query.body) {
            no("a nested WITH, or TABLE")
        } else {
            ControlFlow::Continue(())
        }
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<String> {
        let standard = select.into.is_none() && matches!(select.flavor, SelectFlavor::Standard);
        if standard { ControlFlow::Continue(()) } else { no("SELECT INTO") }
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<String> {
        let is_known = |name: &String| {
            self.config.tables.contains_key(name)
                || self.config.common.contains(name)
                || self.expressions.contains(name)
        };
        if name_of(relation).as_ref().is_some_and(is_known) {
            ControlFlow::Continue(())
        } else {
            no(format!("{relation} is not a table that it knows"))
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<String> {
        let understood = plain(factor).is_some()
            || matches!(factor, TableFactor::Derived { sample: None, .. } | TableFactor::NestedJoin { .. });
        if understood { ControlFlow::Continue(()) } else { no(format!("{factor} in FROM")) }
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<String> {
        if let Some(part) = self.part(factor) {
            *factor = part;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_ident(&mut self, ident: &mut Ident) -> ControlFlow<String> {
        if ident.value.contains('"') {
            no("a quoted name with a quote in it")
        } else {
            ControlFlow::Continue(())
        }
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<String> {
        match &value.value {
            Value::Number(..) | Value::Boolean(_) | Value::Null => ControlFlow::Continue(()),
            Value::SingleQuotedString(text) if !text.contains("''") => ControlFlow::Continue(()),
            Value::Placeholder(name) if name.starts_with('$') => ControlFlow::Continue(()),
            other => no(format!("the literal {other}")),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        let known = match expr {
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::Value(_)
            | Expr::Nested(_)
            | Expr::Tuple(_) => true,
            Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_) => true,
            Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::Between { .. }
            | Expr::Like { .. }
            | Expr::ILike { .. } => true,
            Expr::In { .. } | Expr::Exists { .. } | Expr::Subquery(_) | Expr::Case { .. } => true,
            Expr::AnyOp { .. }
            | Expr::AllOp { .. }
            | Expr::UnaryOp { .. }
            | Expr::Extract { .. }
            | Expr::Trim { .. }
            | Expr::Substring { .. } => true,
            Expr::BinaryOp { op, .. } => !matches!(op, Op::Custom(_) | Op::PGCustomBinaryOperator(_)),
            Expr::Cast { data_type, .. } => !matches!(data_type, DataType::Custom(..)),
            Expr::Function(function) => name_of(&function.name).is_some_and(|name| {
                FUNCTIONS.split_whitespace().any(|known| known == name)
                    || self.config.functions.contains(&name)
            }),
            _ => false,
        };
        if known { ControlFlow::Continue(()) } else { no(format!("the expression {expr}")) }
    }
}
