//! Finds key predicates and rows in a parse tree.

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};

use super::{Insert, KeyPredicate, KeyValue, Keys, ROWS_MAX, ValueRef};
use crate::facts::Relation;
use crate::lexer::Literal;
use crate::parse::Source;
use crate::walk::{relation, strings};

/// The keys of a top-level statement.
pub(crate) fn of(node: &NodeEnum, source: &Source<'_>) -> Keys {
    let mut keys = match node {
        NodeEnum::SelectStmt(n) => select(n, source),
        NodeEnum::InsertStmt(n) => insert(n, source),
        NodeEnum::UpdateStmt(n) => {
            let mut finder = Finder::new(source, n.with_clause.as_ref());
            finder.target(n.relation.as_ref());
            finder.from(&n.from_clause);
            let mut keys = finder.finish(n.where_clause.as_deref());
            keys.returning = n.returning_clause.is_some();
            keys.set_targets = targets(&n.target_list);
            keys
        }
        NodeEnum::DeleteStmt(n) => {
            let mut finder = Finder::new(source, n.with_clause.as_ref());
            finder.target(n.relation.as_ref());
            finder.from(&n.using_clause);
            let mut keys = finder.finish(n.where_clause.as_deref());
            keys.returning = n.returning_clause.is_some();
            keys
        }
        _ => return Keys::default(),
    };
    keys.known = true;
    keys
}

fn select(n: &pb::SelectStmt, source: &Source<'_>) -> Keys {
    let mut finder = Finder::new(source, n.with_clause.as_ref());
    finder.from(&n.from_clause);
    let mut keys = finder.finish(n.where_clause.as_deref());
    keys.limit = n.limit_count.as_deref().map(|node| value(node, source));
    keys.offset = n.limit_offset.as_deref().map(|node| value(node, source));
    keys
}

fn insert(n: &pb::InsertStmt, source: &Source<'_>) -> Keys {
    let mut insert = Insert { columns: targets(&n.cols), ..Insert::default() };
    if let Some(NodeEnum::SelectStmt(select)) = n.select_stmt.as_deref().and_then(|node| node.node.as_ref()) {
        insert.row_count = select.values_lists.len();
        if insert.row_count <= ROWS_MAX {
            insert.rows = select.values_lists.iter().map(|row| list(row, source)).collect();
        }
    }
    insert.on_conflict = n.on_conflict_clause.is_some();
    insert.overriding_user_value = n.r#override() == pb::OverridingKind::OverridingUserValue;
    Keys {
        returning: n.returning_clause.is_some(),
        set_targets: n
            .on_conflict_clause
            .as_ref()
            .map(|clause| targets(&clause.target_list))
            .unwrap_or_default(),
        insert: Some(insert),
        ..Keys::default()
    }
}

/// The column names of a target list.
fn targets(list: &[Node]) -> Vec<Box<str>> {
    list.iter()
        .filter_map(|node| match &node.node {
            Some(NodeEnum::ResTarget(target)) => Some(target.name.as_str().into()),
            _ => None,
        })
        .collect()
}

fn list(node: &Node, source: &Source<'_>) -> Vec<ValueRef> {
    match &node.node {
        Some(NodeEnum::List(list)) => list.items.iter().map(|item| value(item, source)).collect(),
        _ => Vec::new(),
    }
}

/// Where a value comes from; a cast's result is not its argument's value, so a cast is an expression.
fn value(node: &Node, source: &Source<'_>) -> ValueRef {
    match &node.node {
        Some(NodeEnum::AConst(constant)) if constant.isnull => ValueRef::Null,
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(pb::a_const::Val::Boolval(value)) => ValueRef::Bool(value.boolval),
            _ => located(constant.location, source),
        },
        Some(NodeEnum::ParamRef(param)) => {
            u32::try_from(param.number).map_or(ValueRef::Other, ValueRef::Param)
        }
        Some(NodeEnum::SetToDefault(_)) => ValueRef::Default,
        _ => ValueRef::Other,
    }
}

/// A constant stands at its literal, or at the minus before it.
fn located(location: i32, source: &Source<'_>) -> ValueRef {
    literal_ref(source.text, source.literals, location)
}

/// The literal that the parser's `location` (bytes) of a constant means: the one that starts there, or the one after the minus that
/// stands there. `literals` are the text's, in order.
#[must_use]
pub fn literal_ref(text: &str, literals: &[Literal], location: i32) -> ValueRef {
    let find = |at: usize| {
        let start = u32::try_from(at).ok()?;
        literals.binary_search_by_key(&start, |l| l.start).ok()
    };
    let Ok(at) = usize::try_from(location) else { return ValueRef::Other };
    if let Some(index) = find(at) {
        return ValueRef::Literal(index);
    }
    let rest = text.as_bytes().get(at..).unwrap_or_default();
    if rest.first() != Some(&b'-') {
        return ValueRef::Other;
    }
    let space = rest[1..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    find(at + 1 + space).map_or(ValueRef::Other, ValueRef::Negative)
}

/// A name that a query knows in its `FROM`.
struct Known {
    alias: Box<str>,
    /// `None`: a subquery, a function, a CTE.
    relation: Option<Relation>,
}

struct Finder<'a> {
    source: &'a Source<'a>,
    ctes: Vec<&'a str>,
    known: Vec<Known>,
    keys: Keys,
}

impl<'a> Finder<'a> {
    fn new(source: &'a Source<'a>, with: Option<&'a pb::WithClause>) -> Self {
        let ctes = with.map(|with| with.ctes.as_slice()).unwrap_or_default();
        let ctes = ctes
            .iter()
            .filter_map(|node| match &node.node {
                Some(NodeEnum::CommonTableExpr(cte)) => Some(cte.ctename.as_str()),
                _ => None,
            })
            .collect();
        Self { source, ctes, known: Vec::new(), keys: Keys::default() }
    }

    fn target(&mut self, var: Option<&pb::RangeVar>) {
        if let Some(var) = var {
            self.know(var, Some(relation(var)));
        }
    }

    fn know(&mut self, var: &pb::RangeVar, relation: Option<Relation>) {
        let alias = var.alias.as_ref().map_or(var.relname.as_str(), |alias| alias.aliasname.as_str());
        // A list of columns gives other names to them than the relation does.
        let renamed = var.alias.as_ref().is_some_and(|alias| !alias.colnames.is_empty());
        let relation = relation.filter(|_| !renamed);
        self.known.push(Known { alias: alias.into(), relation });
    }

    /// Notes the names in `FROM`; the conditions of inner joins hold for every row, those of outer joins do not.
    fn from(&mut self, items: &'a [Node]) {
        let mut conditions = Vec::new();
        for item in items {
            self.item(item, true, &mut conditions);
        }
        for condition in conditions {
            self.condition(condition);
        }
    }

    fn item(&mut self, item: &'a Node, every_row: bool, conditions: &mut Vec<&'a Node>) {
        match &item.node {
            Some(NodeEnum::RangeVar(var)) => {
                let is_cte = var.schemaname.is_empty() && self.ctes.contains(&var.relname.as_str());
                self.know(var, (!is_cte).then(|| relation(var)));
            }
            Some(NodeEnum::JoinExpr(join)) => {
                let inner = every_row && join.jointype() == pb::JoinType::JoinInner;
                for side in [&join.larg, &join.rarg].into_iter().flatten() {
                    self.item(side, inner, conditions);
                }
                if inner && let Some(quals) = &join.quals {
                    conditions.push(quals);
                }
                if let Some(alias) = &join.alias {
                    self.known.push(Known { alias: alias.aliasname.as_str().into(), relation: None });
                }
            }
            other => {
                let alias = match other {
                    Some(NodeEnum::RangeSubselect(n)) => n.alias.as_ref(),
                    Some(NodeEnum::RangeFunction(n)) => n.alias.as_ref(),
                    _ => None,
                };
                let alias = alias.map_or("", |alias| alias.aliasname.as_str());
                self.known.push(Known { alias: alias.into(), relation: None });
            }
        }
    }

    fn finish(mut self, condition: Option<&'a Node>) -> Keys {
        self.keys.has_where = condition.is_some();
        if let Some(condition) = condition {
            self.condition(condition);
        }
        self.keys
    }

    fn condition(&mut self, node: &'a Node) {
        match &node.node {
            Some(NodeEnum::BoolExpr(all)) if all.boolop() == pb::BoolExprType::AndExpr => {
                for part in &all.args {
                    self.condition(part);
                }
            }
            Some(NodeEnum::AExpr(expression)) => {
                if let Some(predicate) = self.predicate(expression) {
                    self.keys.predicates.push(predicate);
                }
            }
            _ => {}
        }
    }

    fn predicate(&self, e: &pb::AExpr) -> Option<KeyPredicate> {
        if strings(&e.name).last() != Some("=") || strings(&e.name).count() != 1 {
            return None;
        }
        let (left, right) = (e.lexpr.as_deref()?, e.rexpr.as_deref()?);
        let (column, value) = match e.kind() {
            pb::AExprKind::AexprOp => match (column(left), column(right)) {
                (Some(column), None) => (column, KeyValue::Eq(self.plain(right)?)),
                (None, Some(column)) => (column, KeyValue::Eq(self.plain(left)?)),
                _ => return None,
            },
            pb::AExprKind::AexprIn => {
                let values = list(right, self.source);
                if values.contains(&ValueRef::Other) || values.is_empty() {
                    return None;
                }
                (column(left)?, KeyValue::In(values))
            }
            pb::AExprKind::AexprOpAny => (column(left)?, self.any(right)?),
            _ => return None,
        };
        Some(self.placed(column, value))
    }

    fn plain(&self, node: &Node) -> Option<ValueRef> {
        Some(value(node, self.source)).filter(|value| *value != ValueRef::Other)
    }

    fn any(&self, node: &Node) -> Option<KeyValue> {
        if let Some(NodeEnum::AArrayExpr(array)) = &node.node {
            let values: Option<Vec<_>> = array.elements.iter().map(|item| self.plain(item)).collect();
            return values.map(KeyValue::In);
        }
        // A cast to an array does not change which values are meant, as far as the text can say.
        let inner = match &node.node {
            Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref()?,
            _ => node,
        };
        self.plain(inner).map(KeyValue::AnyArray)
    }

    /// Finds the relation of a column: by its qualifier, or the only one there is.
    fn placed(&self, column: Vec<&str>, value: KeyValue) -> KeyPredicate {
        let (qualifier, name) = match column.as_slice() {
            [.., qualifier, name] => (Some(*qualifier), *name),
            [name] => (None, *name),
            [] => (None, ""),
        };
        let known = match qualifier {
            // Names hidden by an alias around them, and tables of one name in several schemas, are not told apart.
            Some(qualifier) => {
                let mut found = self.known.iter().filter(|known| &*known.alias == qualifier);
                found.next().filter(|_| found.next().is_none())
            }
            None if self.known.len() == 1 => self.known.first(),
            None => None,
        };
        KeyPredicate {
            relation: known.and_then(|known| known.relation.clone()),
            alias: known.map(|known| known.alias.clone()),
            column: name.into(),
            value,
        }
    }
}

/// A column reference's parts.
fn column(node: &Node) -> Option<Vec<&str>> {
    match &node.node {
        Some(NodeEnum::ColumnRef(column)) => {
            let parts: Vec<&str> = strings(&column.fields).collect();
            (parts.len() == column.fields.len()).then_some(parts)
        }
        _ => None,
    }
}
