//! Random statements as trees, so that clauses can be dropped, and as text, with values written out or as parameters.
use std::fmt::Write as _;

use super::values::{Type, Value};

/// A piece of SQL with holes for values and queries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sql(pub(crate) Vec<Piece>);

/// A part of it.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Text(String),
    Value(Value),
    /// In parentheses.
    Query(Box<Query>),
}

impl From<&str> for Sql {
    fn from(text: &str) -> Self {
        Self(vec![Piece::Text(text.to_owned())])
    }
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self(vec![Piece::Text(text)])
    }
}

impl From<Value> for Sql {
    fn from(value: Value) -> Self {
        Self(vec![Piece::Value(value)])
    }
}

impl From<Query> for Sql {
    fn from(query: Query) -> Self {
        Self(vec![Piece::Query(Box::new(query))])
    }
}

/// Pieces one after another.
macro_rules! sql {
    ($($part:expr),* $(,)?) => {{
        let mut whole = $crate::shards::sql::Sql::default();
        $(whole.0.extend($crate::shards::sql::Sql::from($part).0);)*
        whole
    }};
}
pub(crate) use sql;

impl Sql {
    /// Pieces with a text between them.
    pub(crate) fn join(parts: impl IntoIterator<Item = Self>, between: &str) -> Self {
        let mut whole = Self::default();
        for (number, part) in parts.into_iter().enumerate() {
            if number > 0 {
                whole.0.push(Piece::Text(between.to_owned()));
            }
            whole.0.extend(part.0);
        }
        whole
    }
}

/// `SELECT` or several of them.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) with: Vec<(String, Query)>,
    pub(crate) body: Body,
    pub(crate) order: Vec<Sql>,
    /// `LIMIT` and `OFFSET`, or `FETCH FIRST`.
    pub(crate) limit: Option<Sql>,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Select(Box<Select>),
    Set(&'static str, Box<Query>, Box<Query>),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Select {
    /// `DISTINCT`, with the columns of `DISTINCT ON`.
    pub(crate) distinct: Option<Vec<Sql>>,
    pub(crate) targets: Vec<Sql>,
    pub(crate) from: Vec<Sql>,
    pub(crate) conditions: Vec<Sql>,
    pub(crate) group: Vec<Sql>,
    pub(crate) having: Vec<Sql>,
}

/// What is run.
#[derive(Debug, Clone)]
pub(crate) enum Statement {
    Query(Query),
    /// A write of a table: what comes before the conditions, the conditions, and what comes after.
    Write {
        table: &'static str,
        head: Sql,
        conditions: Vec<Sql>,
        tail: Sql,
    },
}

/// How rows of two servers are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Row by row.
    List,
    /// In any order.
    Bag,
    /// In any order, but these columns row by row.
    Columns(Vec<usize>),
}

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// As literals.
    Inline,
    /// As parameters with a cast.
    Cast,
    /// As parameters whose types `Parse` names.
    Typed,
    /// As parameters of which nothing is said.
    Bare,
}

/// A statement's text and parameters.
#[derive(Debug, Clone)]
pub(crate) struct Rendered {
    pub(crate) text: String,
    pub(crate) parameters: Vec<Value>,
    style: Style,
}

impl Rendered {
    pub(crate) fn new(statement: &Statement, style: Style) -> Self {
        let mut out = Self { text: String::new(), parameters: Vec::new(), style };
        match statement {
            Statement::Query(query) => out.query(query),
            Statement::Write { head, conditions, tail, .. } => {
                out.sql(head);
                out.list(" WHERE ", conditions, " AND ");
                out.sql(tail);
            }
        }
        out
    }

    /// The types that `Parse` names.
    pub(crate) fn types(&self) -> Vec<u32> {
        match self.style {
            Style::Typed => self.parameters.iter().map(|value| value.ty.oid()).collect(),
            _ => Vec::new(),
        }
    }

    fn sql(&mut self, sql: &Sql) {
        for piece in &sql.0 {
            match piece {
                Piece::Text(text) => self.text.push_str(text),
                Piece::Value(value) => self.value(value),
                Piece::Query(query) => {
                    self.text.push('(');
                    self.query(query);
                    self.text.push(')');
                }
            }
        }
    }

    fn value(&mut self, value: &Value) {
        if self.style == Style::Inline {
            self.text.push_str(&value.literal());
            return;
        }
        self.parameters.push(value.clone());
        write!(self.text, "${}", self.parameters.len()).expect("a string takes it");
        if self.style == Style::Cast || value.ty == Type::Json {
            write!(self.text, "::{}", value.ty.name()).expect("a string takes it");
        }
    }

    fn list(&mut self, before: &str, parts: &[Sql], between: &str) {
        for (number, part) in parts.iter().enumerate() {
            self.text.push_str(if number == 0 { before } else { between });
            self.sql(part);
        }
    }

    fn query(&mut self, query: &Query) {
        for (number, (name, inner)) in query.with.iter().enumerate() {
            self.text.push_str(if number == 0 { "WITH " } else { ", " });
            self.text.push_str(name);
            self.text.push_str(" AS (");
            self.query(inner);
            self.text.push(')');
        }
        if !query.with.is_empty() {
            self.text.push(' ');
        }
        match &query.body {
            Body::Select(select) => self.select(select),
            Body::Set(operator, left, right) => {
                self.text.push('(');
                self.query(left);
                write!(self.text, ") {operator} (").expect("a string takes it");
                self.query(right);
                self.text.push(')');
            }
        }
        self.list(" ORDER BY ", &query.order, ", ");
        if let Some(limit) = &query.limit {
            self.text.push(' ');
            self.sql(limit);
        }
    }

    fn select(&mut self, select: &Select) {
        self.text.push_str("SELECT ");
        if let Some(on) = &select.distinct {
            self.text.push_str("DISTINCT ");
            self.list("ON (", on, ", ");
            self.text.push_str(if on.is_empty() { "" } else { ") " });
        }
        self.list("", &select.targets, ", ");
        self.list(" FROM ", &select.from, " ");
        self.list(" WHERE ", &select.conditions, " AND ");
        self.list(" GROUP BY ", &select.group, ", ");
        self.list(" HAVING ", &select.having, " AND ");
    }
}
