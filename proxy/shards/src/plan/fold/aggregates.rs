//! Aggregates that are put together from parts, with the type and the value that they have over all rows.

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};

use super::super::scope::{FLOAT4, FLOAT8, INT2, INT4, INT8, Info, NUMERIC, Scopes, sum_type};
use super::super::text::{self, refusal};
use super::super::tree::{self, node};
use super::super::{Refusal, Why, deep};
use super::{Fold, HINT, sorts_at_home};
use crate::layout::FunctionKind;

/// How an aggregate is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Combine {
    /// The sum of the parts, zero if there is none.
    Count,
    /// The sum of the parts, as this type.
    Sum(u32),
    /// The sum of sums by the sum of counts, as this type.
    Average(u32),
    /// The same aggregate over the parts.
    Same,
}

/// Whether all aggregates of a query can be put together from parts.
pub(crate) fn has_partials(scopes: &Scopes<'_>, query: &pb::SelectStmt) -> bool {
    let sets = query.group_clause.iter().any(|node| matches!(&node.node, Some(NodeEnum::GroupingSet(_))));
    let mut all = !sets;
    let nodes = query.target_list.iter().chain(&query.sort_clause).chain(query.having_clause.as_deref());
    for node in nodes.chain(&query.window_clause) {
        let mut calls = Vec::new();
        aggregates(scopes, node, &mut calls);
        all &= calls.iter().all(|call| combine(scopes, call).is_some());
    }
    all
}

/// The aggregates in an expression, those of queries in it left out.
pub(super) fn aggregates<'n>(scopes: &Scopes<'_>, at: &'n Node, found: &mut Vec<&'n pb::FuncCall>) {
    let Some(kind) = at.node.as_ref().filter(|_| tree::query(at).is_none()) else { return };
    if let NodeEnum::FuncCall(call) = kind
        && call.over.is_none()
        && scopes.schema.function(&tree::function_name(call)) == FunctionKind::Aggregate
    {
        found.push(call);
        return;
    }
    let mut below = Vec::new();
    tree::children(kind, &mut |child| below.push(child));
    below.into_iter().for_each(|child| aggregates(scopes, child, found));
}

fn combine(scopes: &Scopes<'_>, call: &pb::FuncCall) -> Option<Combine> {
    let name = tree::function_name(call);
    let plain =
        !call.agg_distinct && !call.agg_within_group && call.agg_order.is_empty() && !call.func_variadic;
    if !plain || name.schema.as_deref().is_some_and(|schema| schema != "pg_catalog") {
        return None;
    }
    let mut queries = false;
    for arg in call.args.iter().chain(call.agg_filter.as_deref()) {
        deep::every_below(arg, &mut |node| queries |= tree::query(node).is_some());
    }
    if queries {
        return None;
    }
    if &*name.name == "count" {
        return Some(Combine::Count);
    }
    let [arg] = call.args.as_slice() else { return None };
    let info = scopes.info_of(arg);
    match &*name.name {
        "sum" => Some(Combine::Sum(sum_type(info.type_oid?)?)),
        "avg" => match info.type_oid? {
            INT2 | INT4 | INT8 | NUMERIC => Some(Combine::Average(NUMERIC)),
            FLOAT4 | FLOAT8 => Some(Combine::Average(FLOAT8)),
            _ => None,
        },
        "min" | "max" => info.home.then_some(Combine::Same).filter(|_| info.type_oid.is_some()),
        "bool_and" | "bool_or" | "every" | "bit_and" | "bit_or" | "bit_xor" => Some(Combine::Same),
        _ => None,
    }
}

impl Fold<'_, '_> {
    /// What stands for an aggregate over the partial results.
    pub(super) fn aggregate(&mut self, at: &Node, call: &pb::FuncCall) -> Result<Node, Refusal> {
        let key = self.canonical(at);
        if let Some((_, done)) = self.done.iter().find(|(own, _)| *own == key) {
            return Ok(done.clone());
        }
        let name = tree::function_name(call);
        let Some(combine) = combine(self.scopes, call) else {
            return Err(refusal(Why::Aggregate, text::named(at), HINT));
        };
        let whole = match combine {
            Combine::Count => {
                let sum = self.sum(at.clone(), INT8);
                text::cast(text::coalesce(vec![sum, text::integer(0)]), "int8")
            }
            Combine::Sum(INT8) => text::cast(self.sum(at.clone(), INT8), "int8"),
            Combine::Sum(oid) => self.sum(at.clone(), oid),
            Combine::Average(oid) => self.average(call, oid),
            Combine::Same => {
                let info = call.args.first().map_or_else(Info::default, |arg| self.scopes.info_of(arg));
                if let (Some(arg), "min" | "max") = (call.args.first(), &*name.name) {
                    sorts_at_home(self.scopes, arg, info)?;
                }
                let part = self.part(at.clone(), info);
                node(NodeEnum::FuncCall(Box::new(text::call(&name.name, vec![part]))))
            }
        };
        self.done.push((key, whole.clone()));
        Ok(whole)
    }

    /// A column that shards send.
    fn part(&mut self, expression: Node, info: Info) -> Node {
        self.columns.push((String::new(), expression, info));
        self.own(self.columns.len() - 1)
    }

    /// The sum of a part.
    fn sum(&mut self, expression: Node, type_oid: u32) -> Node {
        let part = self.part(expression, Info::plain(type_oid));
        node(NodeEnum::FuncCall(Box::new(text::call("sum", vec![part]))))
    }

    fn average(&mut self, call: &pb::FuncCall, type_oid: u32) -> Node {
        let with = |name: &str, change: &dyn Fn(Node) -> Node| {
            let mut part = call.clone();
            part.funcname = vec![tree::string(name)];
            part.args = call.args.iter().cloned().map(change).collect();
            node(NodeEnum::FuncCall(Box::new(part)))
        };
        let to = if type_oid == FLOAT8 { "float8" } else { "numeric" };
        let sum = with("sum", &|arg| text::cast(arg, to));
        let count = with("count", &|arg| arg);
        let (sum, count) = (self.sum(sum, type_oid), self.sum(count, INT8));
        let none = text::integer(0);
        let count = node(NodeEnum::AExpr(Box::new(pb::AExpr {
            kind: pb::AExprKind::AexprNullif.into(),
            name: vec![tree::string("=")],
            lexpr: Some(Box::new(count)),
            rexpr: Some(Box::new(none)),
            rexpr_list_start: -1,
            rexpr_list_end: -1,
            location: -1,
        })));
        text::operation(sum, "/", text::cast(count, to))
    }
}
