//! From a changed tree to text, and nodes to change it with.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};

use super::tree::{node, string};
use super::{Refusal, Why};

/// A refusal.
pub(crate) fn refusal(why: Why, part: impl Into<Cow<'static, str>>, hint: &'static str) -> Refusal {
    Refusal { why, part: part.into(), hint: Cow::Borrowed(hint) }
}

/// A query's text. What does not parse to the same text again is refused.
pub(crate) fn of_query(query: &pb::SelectStmt) -> Result<String, Refusal> {
    let failed =
        || refusal(Why::Statement, "the statement", "It cannot be written anew; name its shard by its key.");
    let text = deparse(query.clone()).ok_or_else(failed)?;
    let again = catch_unwind(AssertUnwindSafe(|| pg_query::parse(&text, 0))).ok().and_then(Result::ok);
    let again = again.and_then(|mut parsed| parsed.protobuf.stmts.pop()?.stmt?.node);
    match again {
        Some(NodeEnum::SelectStmt(ref again)) if deparse((**again).clone()).as_deref() == Some(&text) => {
            Ok(text)
        }
        _ => Err(failed()),
    }
}

fn deparse(query: pb::SelectStmt) -> Option<String> {
    let kind = NodeEnum::SelectStmt(Box::new(query));
    catch_unwind(AssertUnwindSafe(|| kind.deparse(pg_query::DeparseOptions::default()))).ok()?.ok()
}

/// An expression's text, the same for expressions that are the same.
pub(crate) fn of_expression(expression: &Node) -> Option<String> {
    deparse(select(vec![target(expression.clone(), "")]))
}

/// What a part is called in a refusal: its text, cut short.
pub(crate) fn named(expression: &Node) -> String {
    let text = of_expression(expression).unwrap_or_default();
    let text = text.strip_prefix("SELECT ").unwrap_or(&text);
    if text.is_empty() { "the statement".to_owned() } else { text.chars().take(120).collect() }
}

/// An empty query with these targets.
pub(crate) fn select(targets: Vec<Node>) -> pb::SelectStmt {
    pb::SelectStmt {
        target_list: targets,
        limit_option: pb::LimitOption::Default.into(),
        op: pb::SetOperation::SetopNone.into(),
        ..Default::default()
    }
}

/// A target, with a name if that is not empty.
pub(crate) fn target(value: Node, name: &str) -> Node {
    node(NodeEnum::ResTarget(Box::new(pb::ResTarget {
        name: name.into(),
        val: Some(Box::new(value)),
        ..Default::default()
    })))
}

/// `qualifier.name`.
pub(crate) fn column(qualifier: &str, name: &str) -> Node {
    node(NodeEnum::ColumnRef(pb::ColumnRef { fields: vec![string(qualifier), string(name)], location: -1 }))
}

/// A whole number.
pub(crate) fn integer(value: i32) -> Node {
    let val = Some(pb::a_const::Val::Ival(pb::Integer { ival: value }));
    node(NodeEnum::AConst(pb::AConst { isnull: false, location: -1, val }))
}

/// `value::pg_catalog.type`, as the parser has the types of the standard.
pub(crate) fn cast(value: Node, to: &str) -> Node {
    node(NodeEnum::TypeCast(Box::new(pb::TypeCast {
        arg: Some(Box::new(value)),
        type_name: Some(pb::TypeName {
            names: vec![string("pg_catalog"), string(to)],
            typemod: -1,
            location: -1,
            ..Default::default()
        }),
        location: -1,
    })))
}

/// `left operator right`.
pub(crate) fn operation(left: Node, operator: &str, right: Node) -> Node {
    node(NodeEnum::AExpr(Box::new(pb::AExpr {
        kind: pb::AExprKind::AexprOp.into(),
        name: vec![string(operator)],
        lexpr: Some(Box::new(left)),
        rexpr: Some(Box::new(right)),
        rexpr_list_start: -1,
        rexpr_list_end: -1,
        location: -1,
    })))
}

/// `(tests) IN (query)`.
pub(crate) fn among(mut tests: Vec<Node>, query: pb::SelectStmt) -> Node {
    let test = if tests.len() == 1 { tests.pop() } else { None };
    let row = |args| {
        node(NodeEnum::RowExpr(Box::new(pb::RowExpr {
            args,
            row_format: pb::CoercionForm::CoerceImplicitCast.into(),
            location: -1,
            ..Default::default()
        })))
    };
    node(NodeEnum::SubLink(Box::new(pb::SubLink {
        sub_link_type: pb::SubLinkType::AnySublink.into(),
        testexpr: Some(Box::new(test.unwrap_or_else(|| row(tests)))),
        subselect: Some(Box::new(node(NodeEnum::SelectStmt(Box::new(query))))),
        location: -1,
        ..Default::default()
    })))
}

/// A call of a function of `pg_catalog`.
pub(crate) fn call(name: &str, args: Vec<Node>) -> pb::FuncCall {
    pb::FuncCall {
        funcname: vec![string(name)],
        args,
        funcformat: pb::CoercionForm::CoerceExplicitCall.into(),
        location: -1,
        ..Default::default()
    }
}

/// `COALESCE(args)`.
pub(crate) fn coalesce(args: Vec<Node>) -> Node {
    node(NodeEnum::CoalesceExpr(Box::new(pb::CoalesceExpr { args, location: -1, ..Default::default() })))
}

/// All of these conditions.
pub(crate) fn all(mut conditions: Vec<Node>) -> Option<Box<Node>> {
    match conditions.len() {
        0 => None,
        1 => conditions.pop().map(Box::new),
        _ => Some(Box::new(node(NodeEnum::BoolExpr(Box::new(pb::BoolExpr {
            boolop: pb::BoolExprType::AndExpr.into(),
            args: conditions,
            location: -1,
            ..Default::default()
        }))))),
    }
}

/// `pointsman.lookup_N AS alias(names)`.
pub(crate) fn lookup_range(number: u32, alias: &str, names: &[Box<str>]) -> Node {
    node(NodeEnum::RangeVar(pb::RangeVar {
        schemaname: "pointsman".into(),
        relname: format!("lookup_{number}"),
        inh: true,
        relpersistence: "p".into(),
        alias: Some(pb::Alias {
            aliasname: alias.into(),
            colnames: names.iter().map(|name| string(name)).collect(),
        }),
        location: -1,
        ..Default::default()
    }))
}

/// `c1`, `c2` and so on.
pub(crate) fn numbered(count: usize) -> Vec<Box<str>> {
    (1..=count).map(|at| format!("c{at}").into()).collect()
}
