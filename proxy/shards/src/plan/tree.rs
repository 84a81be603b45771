//! Small things about parse trees: their children, their names, what a constant is, and their text.

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};
use pointsman_sql::{FunctionName, Literal, Relation, ValueRef};

/// The text that was parsed, and its literals.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) text: &'a str,
    pub(crate) literals: &'a [Literal],
}

impl Source<'_> {
    /// Where a plain value comes from; [`ValueRef::Other`] for an expression.
    pub(crate) fn value(&self, node: &Node) -> ValueRef {
        match &node.node {
            Some(NodeEnum::AConst(constant)) if constant.isnull => ValueRef::Null,
            Some(NodeEnum::AConst(constant)) => match &constant.val {
                Some(pb::a_const::Val::Boolval(value)) => ValueRef::Bool(value.boolval),
                _ => {
                    self.first_alike(pointsman_sql::literal_ref(self.text, self.literals, constant.location))
                }
            },
            Some(NodeEnum::ParamRef(param)) => {
                u32::try_from(param.number).map_or(ValueRef::Other, ValueRef::Param)
            }
            _ => ValueRef::Other,
        }
    }

    /// Literals that are written alike are one value: the first of them stands for all.
    fn first_alike(&self, value: ValueRef) -> ValueRef {
        let first = |index: usize| {
            let raw = |l: &Literal| l.raw(self.text.as_bytes());
            let it = &self.literals[index];
            self.literals.iter().position(|l| l.kind == it.kind && raw(l) == raw(it)).unwrap_or(index)
        };
        match value {
            ValueRef::Literal(index) => ValueRef::Literal(first(index)),
            ValueRef::Negative(index) => ValueRef::Negative(first(index)),
            other => other,
        }
    }
}

/// Where something stands in memory, to tell nodes of one tree apart while it is not changed.
pub(crate) fn address<T>(it: &T) -> usize {
    std::ptr::from_ref(it).addr()
}

macro_rules! parts {
    ($n:ident, $f:ident, $iter:ident, $deref:ident; $($many:ident)*; $($one:ident)*) => {{
        $(for child in $n.$many.$iter() { $f(child); })*
        $(if let Some(child) = $n.$one.$deref() { $f(child); })*
        true
    }};
}

macro_rules! children {
    ($(#[$doc:meta])* $name:ident, $window:ident, $node:ty, $kind:ty, $def:ty, $iter:ident, $deref:ident) => {
        $(#[$doc])*
        pub(crate) fn $name<'n>(node: $kind, f: &mut dyn FnMut($node)) -> bool {
            match node {
                NodeEnum::AExpr(n) => parts!(n, f, $iter, $deref; ; lexpr rexpr),
                NodeEnum::SubLink(n) => parts!(n, f, $iter, $deref; ; testexpr subselect),
                NodeEnum::TypeCast(n) => parts!(n, f, $iter, $deref; ; arg),
                NodeEnum::AIndirection(n) => parts!(n, f, $iter, $deref; indirection; arg),
                NodeEnum::SortBy(n) => parts!(n, f, $iter, $deref; ; node),
                NodeEnum::BoolExpr(n) => parts!(n, f, $iter, $deref; args; ),
                NodeEnum::CollateClause(n) => parts!(n, f, $iter, $deref; ; arg),
                NodeEnum::AIndices(n) => parts!(n, f, $iter, $deref; ; lidx uidx),
                NodeEnum::AArrayExpr(n) => parts!(n, f, $iter, $deref; elements; ),
                NodeEnum::ResTarget(n) => parts!(n, f, $iter, $deref; indirection; val),
                NodeEnum::CaseExpr(n) => parts!(n, f, $iter, $deref; args; arg defresult),
                NodeEnum::CaseWhen(n) => parts!(n, f, $iter, $deref; ; expr result),
                NodeEnum::RowExpr(n) => parts!(n, f, $iter, $deref; args; ),
                NodeEnum::CoalesceExpr(n) => parts!(n, f, $iter, $deref; args; ),
                NodeEnum::MinMaxExpr(n) => parts!(n, f, $iter, $deref; args; ),
                NodeEnum::NullTest(n) => parts!(n, f, $iter, $deref; ; arg),
                NodeEnum::BooleanTest(n) => parts!(n, f, $iter, $deref; ; arg),
                NodeEnum::NamedArgExpr(n) => parts!(n, f, $iter, $deref; ; arg),
                NodeEnum::GroupingFunc(n) => parts!(n, f, $iter, $deref; args; ),
                NodeEnum::GroupingSet(n) => parts!(n, f, $iter, $deref; content; ),
                NodeEnum::MultiAssignRef(n) => parts!(n, f, $iter, $deref; ; source),
                NodeEnum::List(n) => parts!(n, f, $iter, $deref; items; ),
                NodeEnum::WindowDef(n) => $window(n, f),
                NodeEnum::FuncCall(n) => {
                    if let Some(over) = n.over.$deref() {
                        $window(over, f);
                    }
                    parts!(n, f, $iter, $deref; args agg_order; agg_filter)
                }
                NodeEnum::AConst(_)
                | NodeEnum::ParamRef(_)
                | NodeEnum::ColumnRef(_)
                | NodeEnum::AStar(_)
                | NodeEnum::SetToDefault(_)
                | NodeEnum::SqlvalueFunction(_)
                | NodeEnum::String(_)
                | NodeEnum::Integer(_)
                | NodeEnum::Float(_)
                | NodeEnum::Boolean(_)
                | NodeEnum::BitString(_) => true,
                _ => false,
            }
        }

        fn $window<'n>(n: $def, f: &mut dyn FnMut($node)) -> bool {
            parts!(n, f, $iter, $deref; partition_clause order_clause; start_offset end_offset)
        }
    };
}

children!(
    /// Calls `f` with each child of an expression; a query below it is given as a whole. False: the node is not known.
    children, window_parts, &'n Node, &'n NodeEnum, &'n pb::WindowDef, iter, as_deref
);
children!(
    /// Like [`children`], to change them.
    children_mut, window_parts_mut, &'n mut Node, &'n mut NodeEnum, &'n mut pb::WindowDef, iter_mut, as_deref_mut
);

/// The strings of a list of names.
pub(crate) fn strings(nodes: &[Node]) -> impl Iterator<Item = &str> {
    nodes.iter().filter_map(|node| match &node.node {
        Some(NodeEnum::String(name)) => Some(name.sval.as_str()),
        _ => None,
    })
}

/// A column reference's names, without a star.
pub(crate) fn column_names(column: &pb::ColumnRef) -> Option<Vec<&str>> {
    let parts: Vec<&str> = strings(&column.fields).collect();
    (parts.len() == column.fields.len()).then_some(parts)
}

/// The name, if a node is a column reference without a qualifier.
pub(crate) fn bare_name(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::ColumnRef(column)) => match column_names(column)?.as_slice() {
            [name] => Some(name),
            _ => None,
        },
        _ => None,
    }
}

/// The relation that a range names.
pub(crate) fn relation(var: &pb::RangeVar) -> Relation {
    let schema = (!var.schemaname.is_empty()).then(|| var.schemaname.as_str().into());
    Relation { schema, name: var.relname.as_str().into() }
}

/// The function that is called.
pub(crate) fn function_name(call: &pb::FuncCall) -> FunctionName {
    let parts: Vec<&str> = strings(&call.funcname).collect();
    let name = parts.last().copied().unwrap_or_default().into();
    FunctionName { schema: parts.len().checked_sub(2).map(|at| parts[at].into()), name }
}

/// The number `N`, if a range is `pointsman.lookup_N`.
pub(crate) fn lookup_number(var: &pb::RangeVar) -> Option<u32> {
    (var.schemaname == "pointsman").then(|| var.relname.strip_prefix("lookup_")?.parse().ok())?
}

/// The query in a node.
pub(crate) fn query(node: &Node) -> Option<&pb::SelectStmt> {
    match &node.node {
        Some(NodeEnum::SelectStmt(select)) => Some(select),
        _ => None,
    }
}

/// A node of a kind.
pub(crate) fn node(kind: NodeEnum) -> Node {
    Node { node: Some(kind) }
}

/// A name as a node.
pub(crate) fn string(name: &str) -> Node {
    node(NodeEnum::String(pb::String { sval: name.into() }))
}

/// Whether an operator is exactly this one, unqualified or of `pg_catalog`.
pub(crate) fn is_operator(name: &[Node], operator: &str) -> bool {
    match strings(name).collect::<Vec<_>>().as_slice() {
        [one] => *one == operator,
        [schema, one] => *schema == "pg_catalog" && *one == operator,
        _ => false,
    }
}

/// Whether a query is made of others by `UNION`, `INTERSECT` or `EXCEPT`.
pub(crate) fn is_set_operation(select: &pb::SelectStmt) -> bool {
    !matches!(select.op(), pb::SetOperation::SetopNone | pb::SetOperation::Undefined)
}

/// Whether a node is `*` or `a.*`.
pub(crate) fn is_star(node: &Node) -> bool {
    matches!(&node.node, Some(NodeEnum::ColumnRef(column))
        if matches!(column.fields.last(), Some(Node { node: Some(NodeEnum::AStar(_)) })))
}

/// The windows that functions in an expression are over; queries in it are left out.
pub(crate) fn windows<'n>(at: &'n Node, found: &mut Vec<&'n pb::WindowDef>) {
    let Some(inner) = at.node.as_ref().filter(|_| query(at).is_none()) else { return };
    if let NodeEnum::FuncCall(call) = inner {
        found.extend(call.over.as_deref());
    }
    let mut below = Vec::new();
    children(inner, &mut |child| below.push(child));
    for child in below {
        windows(child, found);
    }
}
