//! `ORDER BY`, `LIMIT`, `OFFSET` and `DISTINCT` over rows of several shards: what each shard does, and how its rows are merged.

use std::borrow::Cow;

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};
use pointsman_sql::ValueRef;

use super::scope::{INT2, INT4, INT8, Info, Scopes, type_oid};
use super::text::{self, named, refusal};
use super::tree::{self, strings};
use super::{Merge, Ordered, Refusal, Slice, SortKey, Why};

const LIMIT_HINT: &str = "Give a number or a parameter.";

/// How a query is changed for the shards.
pub(crate) struct Plan {
    slice: Slice,
    /// What is merged by, or nothing.
    keys: Vec<(Key, SortKey)>,
    unique: Option<usize>,
    /// `ORDER BY` of the shards, if it is not the client's.
    sort: Option<Vec<Node>>,
    /// Targets, with stars written out.
    targets: Option<Vec<Node>>,
}

/// Where a hidden column comes from.
enum Key {
    /// An expression.
    Is(Box<Node>),
    /// The target of each branch, from 0.
    Target(usize),
}

/// Of one `SELECT`; `None`: its order is not one that can be merged. `within`: `DISTINCT` needs nothing more.
pub(crate) fn of(scopes: &Scopes<'_>, query: &pb::SelectStmt, within: bool) -> Result<Option<Plan>, Refusal> {
    let slice = slice(scopes, query)?;
    let mut plan = Plan { slice, keys: Vec::new(), unique: None, sort: None, targets: None };
    for node in &query.sort_clause {
        let Some(NodeEnum::SortBy(sort)) = &node.node else { return Ok(None) };
        let Some(inner) = sort.node.as_deref() else { return Ok(None) };
        let (expression, info) = meant(scopes, query, inner)?;
        let Some(bytewise) = bytewise(scopes, info, Some(&expression)) else { return Ok(None) };
        let Some(key) = directed(sort, bytewise) else { return Ok(None) };
        plan.keys.push((Key::Is(Box::new(expression.into_owned())), key));
    }
    if query.distinct_clause.is_empty() || within {
        return Ok(Some(plan));
    }
    let on: Vec<&Node> = query.distinct_clause.iter().filter(|node| node.node.is_some()).collect();
    let done = if on.is_empty() {
        distinct(scopes, query, &mut plan)
    } else {
        distinct_on(scopes, query, &on, &mut plan)?
    };
    Ok(done.then_some(plan))
}

/// What a part of `ORDER BY` or `DISTINCT ON` means.
fn meant<'n>(
    scopes: &Scopes<'_>,
    query: &'n pb::SelectStmt,
    node: &'n Node,
) -> Result<(Cow<'n, Node>, Info), Refusal> {
    let meant = scopes.meant(query, node).ok_or_else(|| {
        refusal(Why::Order, format!("ORDER BY {}", named(node)), "Sort by the column's name and its table's.")
    })?;
    Ok((meant.expression, meant.info))
}

/// `DISTINCT`: shards sort by all columns.
fn distinct(scopes: &Scopes<'_>, query: &pb::SelectStmt, plan: &mut Plan) -> bool {
    let Some(targets) = scopes.written_out(query) else { return false };
    let mut sort = query.sort_clause.clone();
    let sorted: Vec<Option<String>> = plan
        .keys
        .iter()
        .map(|(key, _)| match key {
            Key::Is(expression) => text::of_expression(expression),
            Key::Target(_) => None,
        })
        .collect();
    for (at, target) in targets.iter().enumerate() {
        let Some(NodeEnum::ResTarget(target)) = &target.node else { return false };
        let Some(value) = target.val.as_deref() else { return false };
        if sorted.contains(&text::of_expression(value)) {
            continue;
        }
        let Some(key) = plain_key(scopes, info(scopes, query, at, value), value) else { return false };
        plan.keys.push((Key::Is(Box::new(value.clone())), key));
        let Ok(number) = i32::try_from(at + 1) else { return false };
        sort.push(sort_by(text::integer(number)));
    }
    plan.unique = Some(plan.keys.len());
    plan.sort = Some(sort);
    plan.targets = Some(targets.into_owned());
    true
}

/// What is known of a query's column: by its place, for those that a star stands for.
fn info(scopes: &Scopes<'_>, query: &pb::SelectStmt, at: usize, value: &Node) -> Info {
    let level = scopes.level_at.get(&tree::address(query));
    let output = level.and_then(|level| scopes.outputs_of.get(level)).and_then(|outputs| outputs.get(at));
    output.map_or_else(|| scopes.info_of(value), |output| output.info)
}

fn sort_by(value: Node) -> Node {
    tree::node(NodeEnum::SortBy(Box::new(pb::SortBy {
        node: Some(Box::new(value)),
        sortby_dir: pb::SortByDir::SortbyDefault.into(),
        sortby_nulls: pb::SortByNulls::SortbyNullsDefault.into(),
        use_op: Vec::new(),
        location: -1,
    })))
}

/// `DISTINCT ON`: its expressions come first in `ORDER BY`.
fn distinct_on(
    scopes: &Scopes<'_>,
    query: &pb::SelectStmt,
    on: &[&Node],
    plan: &mut Plan,
) -> Result<bool, Refusal> {
    let sorted = plan.keys.len();
    if sorted == 0 {
        let mut sort = Vec::new();
        for node in on {
            let (expression, info) = meant(scopes, query, node)?;
            let Some(key) = plain_key(scopes, info, &expression) else { return Ok(false) };
            plan.keys.push((Key::Is(Box::new(expression.into_owned())), key));
            sort.push(sort_by((*node).clone()));
        }
        plan.sort = Some(sort);
    } else if sorted < on.len() {
        return Err(refusal(Why::Order, "DISTINCT ON", "Sort by all of its expressions."));
    }
    plan.unique = Some(on.len());
    Ok(true)
}

/// Of `UNION ALL`, by columns of its output; `None`: it is not by those.
pub(crate) fn of_union(scopes: &Scopes<'_>, query: &pb::SelectStmt) -> Result<Option<Plan>, Refusal> {
    let slice = slice(scopes, query)?;
    let mut plan = Plan { slice, keys: Vec::new(), unique: None, sort: None, targets: None };
    let outputs = scopes.level_at.get(&tree::address(query)).and_then(|level| scopes.outputs_of.get(level));
    for node in &query.sort_clause {
        let (Some(NodeEnum::SortBy(sort)), Some(outputs)) = (&node.node, outputs) else { return Ok(None) };
        let at = match sort.node.as_deref().map(|node| &node.node) {
            Some(Some(NodeEnum::AConst(pb::AConst {
                val: Some(pb::a_const::Val::Ival(number)), ..
            }))) => usize::try_from(number.ival - 1).ok(),
            Some(Some(NodeEnum::ColumnRef(column))) => match tree::column_names(column).as_deref() {
                Some([name]) => outputs.iter().position(|output| &*output.name == *name),
                _ => None,
            },
            _ => None,
        };
        let Some((at, output)) = at.and_then(|at| Some((at, outputs.get(at)?))) else { return Ok(None) };
        if leaves(query).iter().any(|leaf| !simple(leaf, at)) {
            return Ok(None);
        }
        let Some(bytewise) = bytewise(scopes, output.info, None) else { return Ok(None) };
        let Some(key) = directed(sort, bytewise) else { return Ok(None) };
        plan.keys.push((Key::Target(at), key));
    }
    Ok(Some(plan))
}

/// Whether a branch's column can be given twice.
fn simple(leaf: &pb::SelectStmt, at: usize) -> bool {
    leaf.values_lists.is_empty()
        && leaf.distinct_clause.is_empty()
        && leaf.target_list.len() > at
        && leaf.target_list.iter().all(|target| match &target.node {
            Some(NodeEnum::ResTarget(target)) => {
                target.val.as_deref().is_some_and(|value| !tree::is_star(value))
            }
            _ => false,
        })
}

fn leaves(query: &pb::SelectStmt) -> Vec<&pb::SelectStmt> {
    match (&query.larg, &query.rarg) {
        (Some(left), Some(right)) => leaves(left).into_iter().chain(leaves(right)).collect(),
        _ => vec![query],
    }
}

/// A key's direction and place of NULLs, as PostgreSQL's defaults have them.
fn directed(sort: &pb::SortBy, bytewise: bool) -> Option<SortKey> {
    let descending = match sort.sortby_dir() {
        pb::SortByDir::SortbyDesc => true,
        pb::SortByDir::SortbyUsing => return None,
        _ => false,
    };
    let nulls_first = match sort.sortby_nulls() {
        pb::SortByNulls::SortbyNullsFirst => true,
        pb::SortByNulls::SortbyNullsLast => false,
        _ => descending,
    };
    Some(SortKey { descending, nulls_first, bytewise })
}

fn plain_key(scopes: &Scopes<'_>, info: Info, expression: &Node) -> Option<SortKey> {
    let bytewise = bytewise(scopes, info, Some(expression))?;
    Some(SortKey { descending: false, nulls_first: false, bytewise })
}

/// Whether an expression, should it be text, sorts by its bytes; `None`: it is text, and does not.
fn bytewise(scopes: &Scopes<'_>, info: Info, expression: Option<&Node>) -> Option<bool> {
    if let Some(NodeEnum::CollateClause(clause)) = expression.and_then(|node| node.node.as_ref()) {
        return strings(&clause.collname)
            .last()
            .is_some_and(|name| matches!(name, "C" | "POSIX"))
            .then_some(true);
    }
    if info.type_oid.is_some() {
        return info.bytewise.then_some(true);
    }
    let mut all = scopes.schema.default_bytewise();
    if let Some(expression) = expression {
        super::deep::every_below(expression, &mut |node| match &node.node {
            Some(NodeEnum::ColumnRef(_)) => {
                let info = scopes.column(node).map_or_else(Info::default, |col| scopes.info(col));
                all &= info.type_oid.is_none() || info.bytewise;
            }
            Some(NodeEnum::CollateClause(_)) => all = false,
            _ => {}
        });
    }
    Some(all)
}

/// `LIMIT` and `OFFSET`.
fn slice(scopes: &Scopes<'_>, query: &pb::SelectStmt) -> Result<Slice, Refusal> {
    let value = |node: &Option<Box<Node>>, part: &str| {
        let Some(node) = node.as_deref() else { return Ok(None) };
        match scopes.source.value(number(node)) {
            ValueRef::Null => Ok(None),
            value @ (ValueRef::Literal(_) | ValueRef::Param(_)) => Ok(Some(value)),
            _ => Err(refusal(Why::Order, format!("{part} {}", named(node)), LIMIT_HINT)),
        }
    };
    Ok(Slice {
        limit: value(&query.limit_count, "LIMIT")?,
        offset: value(&query.limit_offset, "OFFSET")?,
        with_ties: query.limit_option() == pb::LimitOption::WithTies,
    })
}

/// A number of rows without its cast, if that leaves the value as it is or fails.
fn number(node: &Node) -> &Node {
    let Some(NodeEnum::TypeCast(cast)) = &node.node else { return node };
    let Some(inner) = cast.arg.as_deref() else { return node };
    let range = match cast.type_name.as_ref().and_then(type_oid) {
        Some(INT2) => 0..=i32::from(i16::MAX),
        Some(INT4 | INT8) => 0..=i32::MAX,
        _ => return node,
    };
    match &inner.node {
        Some(NodeEnum::ParamRef(_)) => inner,
        Some(NodeEnum::AConst(pb::AConst { isnull: true, .. })) => inner,
        Some(NodeEnum::AConst(pb::AConst { val: Some(pb::a_const::Val::Ival(value)), .. }))
            if range.contains(&value.ival) =>
        {
            inner
        }
        _ => node,
    }
}

/// The rows that each shard must give: as many as are wanted and left out together.
pub(crate) fn push_limit(query: &mut pb::SelectStmt) {
    let Some(offset) = query.limit_offset.take() else { return };
    let none =
        |node: &Node| matches!(&number(node).node, Some(NodeEnum::AConst(constant)) if constant.isnull);
    if none(&offset) {
        return;
    }
    if let Some(limit) = query.limit_count.take() {
        if none(&limit) {
            query.limit_count = Some(limit);
            return;
        }
        let (limit, offset) = (text::cast(*limit, "int8"), text::cast(*offset, "int8"));
        query.limit_count = Some(Box::new(text::operation(limit, "+", offset)));
    }
}

impl Plan {
    /// Changes a query into what each shard is asked. Returns the number of hidden columns, and the merge.
    pub(crate) fn apply(self, query: &mut pb::SelectStmt) -> (usize, Merge) {
        push_limit(query);
        if let Some(targets) = self.targets {
            query.target_list = targets;
        }
        if let Some(sort) = self.sort {
            query.sort_clause = sort;
        }
        if self.keys.is_empty() {
            return (0, Merge::Append(self.slice));
        }
        let mut keys = Vec::new();
        for (at, (key, sort)) in self.keys.into_iter().enumerate() {
            let name = format!("pointsman_key_{}", at + 1);
            match key {
                Key::Is(expression) => query.target_list.push(text::target(*expression, &name)),
                Key::Target(place) => hide(query, place, &name),
            }
            keys.push(sort);
        }
        (keys.len(), Merge::Ordered(Ordered { keys, unique: self.unique, slice: self.slice }))
    }
}

/// Gives a column of each branch again at its end.
fn hide(query: &mut pb::SelectStmt, place: usize, name: &str) {
    if let (Some(left), Some(right)) = (&mut query.larg, &mut query.rarg) {
        hide(left, place, name);
        hide(right, place, name);
        return;
    }
    let value = query.target_list.get(place).and_then(|target| match &target.node {
        Some(NodeEnum::ResTarget(target)) => target.val.as_deref().cloned(),
        _ => None,
    });
    if let Some(value) = value {
        query.target_list.push(text::target(value, name));
    }
}
