//! A table's key and its values as a condition.

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};
use pointsman_sql::{Literal, ValueRef};

use super::text::{self, column};
use super::tree::{self, Source, node};
use crate::pick::{Bound, KeyValues};

/// `key = value` and its like.
pub(super) fn key_condition(
    source: Source<'_>,
    (alias, key): (&str, &[&str]),
    values: &KeyValues,
) -> Option<Node> {
    let ([name], left) = (key, column(alias, key.first()?)) else { return None };
    debug_assert!(!name.is_empty());
    if let KeyValues::Between { low, high } = values {
        let end = |bound: &Option<Bound>, [with, without]: [&str; 2]| {
            let bound = bound.as_ref()?;
            let operator = if bound.included { with } else { without };
            Some(text::operation(left.clone(), operator, value_node(source, bound.value)?))
        };
        let ends = [end(low, [">=", ">"]), end(high, ["<=", "<"])];
        return text::all(ends.into_iter().flatten().collect()).map(|condition| *condition);
    }
    let (kind, right) = match values {
        KeyValues::Tuples(rows) => {
            let items =
                rows.iter().map(|row| value_node(source, *row.first()?)).collect::<Option<Vec<_>>>()?;
            (pb::AExprKind::AexprIn, node(NodeEnum::List(pb::List { items })))
        }
        KeyValues::Array(value) => (pb::AExprKind::AexprOpAny, value_node(source, *value)?),
        KeyValues::Between { .. } | KeyValues::Rows(_) => return None,
    };
    Some(node(NodeEnum::AExpr(Box::new(pb::AExpr {
        kind: kind.into(),
        name: vec![tree::string("=")],
        lexpr: Some(Box::new(left)),
        rexpr: Some(Box::new(right)),
        rexpr_list_start: -1,
        rexpr_list_end: -1,
        location: -1,
    }))))
}

/// A value as it stands in the client's text.
fn value_node(source: Source<'_>, value: ValueRef) -> Option<Node> {
    let literal = |at: usize, minus: bool| {
        let literal: &Literal = source.literals.get(at)?;
        let start = literal.start as usize;
        let from = if minus { source.text.get(..start)?.rfind('-')? } else { start };
        let text = source.text.get(from..literal.end as usize)?;
        let mut parsed = pg_query::parse(&format!("SELECT {text}"), 0).ok()?.protobuf;
        let Some(NodeEnum::SelectStmt(mut select)) = parsed.stmts.pop()?.stmt?.node else { return None };
        let Some(NodeEnum::ResTarget(target)) = select.target_list.pop()?.node else { return None };
        let mut value = *target.val?;
        let Some(NodeEnum::AConst(constant)) = &mut value.node else { return None };
        constant.location = i32::try_from(from).ok()?;
        Some(value)
    };
    match value {
        ValueRef::Literal(at) => literal(at, false),
        ValueRef::Negative(at) => literal(at, true),
        ValueRef::Param(number) => {
            let number = i32::try_from(number).ok()?;
            Some(node(NodeEnum::ParamRef(pb::ParamRef { number, location: -1 })))
        }
        ValueRef::Null => Some(node(NodeEnum::AConst(pb::AConst { isnull: true, location: -1, val: None }))),
        _ => None,
    }
}
