//! Smaller statements out of a larger one: each lacks a clause or a part of one.
use super::generate::Case;
use super::sql::{Body, Order, Piece, Query, Select, Sql, Statement};

/// The statements that are one step smaller.
pub(crate) fn smaller(case: &Case) -> Vec<Case> {
    match &case.statement {
        Statement::Query(query) => {
            let order = |smaller: &Query| match (&query.body, &smaller.body) {
                (Body::Select(a), Body::Select(b)) if a.targets.len() != b.targets.len() => Order::Bag,
                _ if query.order.len() != smaller.order.len() => Order::Bag,
                _ => case.order.clone(),
            };
            let all = queries(query).into_iter();
            all.map(|query| Case { order: order(&query), statement: Statement::Query(query) }).collect()
        }
        Statement::Write { table, head, conditions, tail } => {
            let mut all = Vec::new();
            for conditions in without_one(conditions) {
                let (head, tail) = (head.clone(), tail.clone());
                all.push(Statement::Write { table, head, conditions, tail });
            }
            if !tail.0.is_empty() {
                let (head, conditions) = (head.clone(), conditions.clone());
                all.push(Statement::Write { table, head, conditions, tail: Sql::default() });
            }
            all.into_iter().map(|statement| Case { statement, order: case.order.clone() }).collect()
        }
    }
}

/// Lists that lack one of the parts.
fn without_one<T: Clone>(parts: &[T]) -> Vec<Vec<T>> {
    let without = |at: usize| {
        let mut parts = parts.to_vec();
        parts.remove(at);
        parts
    };
    (0..parts.len()).map(without).collect()
}

fn queries(query: &Query) -> Vec<Query> {
    let mut all = Vec::new();
    if query.limit.is_some() {
        all.push(Query { limit: None, ..query.clone() });
    } else if !first_of_each(query) {
        all.extend(without_one(&query.order).into_iter().map(|order| Query { order, ..query.clone() }));
    }
    all.extend(without_one(&query.with).into_iter().map(|with| Query { with, ..query.clone() }));
    for (at, (_, inner)) in query.with.iter().enumerate() {
        for inner in queries(inner) {
            let mut smaller = query.clone();
            smaller.with[at].1 = inner;
            all.push(smaller);
        }
    }
    match &query.body {
        Body::Select(select) => {
            let free = query.limit.is_none() && !first_of_each(query);
            for select in selects(select, free) {
                all.push(Query { body: Body::Select(Box::new(select)), ..query.clone() });
            }
        }
        Body::Set(operator, left, right) => {
            all.push(Query { body: left.body.clone(), ..query.clone() });
            all.push(Query { body: right.body.clone(), ..query.clone() });
            for left in queries(left) {
                all.push(Query { body: Body::Set(operator, Box::new(left), right.clone()), ..query.clone() });
            }
            for right in queries(right) {
                all.push(Query { body: Body::Set(operator, left.clone(), Box::new(right)), ..query.clone() });
            }
        }
    }
    all
}

/// Whether it has `DISTINCT ON`, whose rows depend on the order.
fn first_of_each(query: &Query) -> bool {
    match &query.body {
        Body::Select(select) => select.distinct.as_ref().is_some_and(|on| !on.is_empty()),
        Body::Set(..) => false,
    }
}

/// `free`: no limit depends on the columns.
fn selects(select: &Select, free: bool) -> Vec<Select> {
    let mut all = Vec::new();
    all.extend(
        without_one(&select.conditions).into_iter().map(|conditions| Select { conditions, ..select.clone() }),
    );
    all.extend(without_one(&select.having).into_iter().map(|having| Select { having, ..select.clone() }));
    all.extend(without_one(&select.group).into_iter().map(|group| Select { group, ..select.clone() }));
    if select.from.len() > 1 {
        let mut smaller = select.clone();
        smaller.from.pop();
        all.push(smaller);
    }
    if free && select.targets.len() > 1 {
        all.extend(
            without_one(&select.targets).into_iter().map(|targets| Select { targets, ..select.clone() }),
        );
    }
    if free && select.distinct.is_some() {
        all.push(Select { distinct: None, ..select.clone() });
    }
    for clause in [clause_conditions, clause_from, clause_targets] {
        for (at, part) in clause(&mut select.clone()).iter().enumerate() {
            for smaller in inner(part) {
                let mut copy = select.clone();
                clause(&mut copy)[at] = smaller;
                all.push(copy);
            }
        }
    }
    all
}

fn clause_conditions(select: &mut Select) -> &mut Vec<Sql> {
    &mut select.conditions
}

fn clause_from(select: &mut Select) -> &mut Vec<Sql> {
    &mut select.from
}

fn clause_targets(select: &mut Select) -> &mut Vec<Sql> {
    &mut select.targets
}

/// The piece of SQL with one of its queries made smaller.
fn inner(sql: &Sql) -> Vec<Sql> {
    let mut all = Vec::new();
    for (at, piece) in sql.0.iter().enumerate() {
        let Piece::Query(query) = piece else { continue };
        for query in queries(query) {
            let mut copy = sql.clone();
            copy.0[at] = Piece::Query(Box::new(query));
            all.push(copy);
        }
    }
    all
}

/// Shows every piece of SQL in a query, but for limits.
pub(crate) fn each_sql(query: &mut Query, see: &mut dyn FnMut(&mut Sql)) {
    for (_, inner) in &mut query.with {
        each_sql(inner, see);
    }
    match &mut query.body {
        Body::Select(select) => {
            let Select { distinct, targets, from, conditions, group, having } = &mut **select;
            for list in [targets, from, conditions, group, having].into_iter().chain(distinct) {
                list.iter_mut().for_each(|sql| each_piece(sql, see));
            }
        }
        Body::Set(_, left, right) => {
            each_sql(left, see);
            each_sql(right, see);
        }
    }
    query.order.iter_mut().for_each(|sql| each_piece(sql, see));
}

fn each_piece(sql: &mut Sql, see: &mut dyn FnMut(&mut Sql)) {
    see(sql);
    for piece in &mut sql.0 {
        if let Piece::Query(query) = piece {
            each_sql(query, see);
        }
    }
}
