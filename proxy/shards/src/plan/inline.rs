//! Puts the queries of CTEs where they are referred to, so that each is looked at in its place.

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};

use super::text::refusal;
use super::tree::{node, strings};
use super::{Refusal, Why, deep};

/// A CTE's name, its query, and the names of its columns.
type Cte = (String, Node, Vec<Node>);

/// The same query without `WITH`.
pub(crate) fn inline(query: &mut pb::SelectStmt) -> Result<(), Refusal> {
    let mut ctes = Vec::new();
    inside(query, &mut ctes)
}

fn inside(query: &mut pb::SelectStmt, ctes: &mut Vec<Cte>) -> Result<(), Refusal> {
    let before = ctes.len();
    if let Some(with) = query.with_clause.take() {
        if with.recursive {
            return Err(refusal(
                Why::Subquery,
                "WITH RECURSIVE",
                "Limit its tables to one shard by their keys.",
            ));
        }
        for cte in with.ctes {
            let Some(NodeEnum::CommonTableExpr(cte)) = cte.node else { continue };
            let mut inner = *cte.ctequery.unwrap_or_default();
            match &mut inner.node {
                Some(NodeEnum::SelectStmt(query)) => inside(query, ctes)?,
                _ => {
                    let part = format!("WITH {}", cte.ctename);
                    return Err(refusal(Why::Write, part, "Write by a statement of its own."));
                }
            }
            ctes.push((cte.ctename, inner, cte.aliascolnames));
        }
    }
    let mut direct = Vec::new();
    let branches = deep::parts_mut(query, &mut direct);
    for part in direct {
        below(part, ctes)?;
    }
    for branch in branches {
        inside(branch, ctes)?;
    }
    ctes.truncate(before);
    Ok(())
}

fn below(at: &mut Node, ctes: &mut Vec<Cte>) -> Result<(), Refusal> {
    if let Some(NodeEnum::RangeVar(var)) = &at.node {
        let cte = ctes.iter().rev().find(|(name, ..)| var.schemaname.is_empty() && *name == var.relname);
        if let Some((name, query, columns)) = cte {
            *at = reference(var, name, query, columns);
        }
        return Ok(());
    }
    let mut parts: Vec<&mut Node> = Vec::new();
    match &mut at.node {
        None => {}
        Some(NodeEnum::SelectStmt(query)) => inside(query, ctes)?,
        Some(NodeEnum::RangeSubselect(n)) => parts.extend(n.subquery.as_deref_mut()),
        Some(NodeEnum::JoinExpr(n)) => {
            parts.extend(n.larg.as_deref_mut());
            parts.extend(n.rarg.as_deref_mut());
            parts.extend(n.quals.as_deref_mut());
        }
        Some(NodeEnum::RangeFunction(n)) => parts.extend(&mut n.functions),
        Some(NodeEnum::RangeTableSample(n)) => parts.extend(n.relation.as_deref_mut()),
        Some(other) => {
            super::tree::children_mut(other, &mut |child| parts.push(child));
        }
    }
    for part in parts {
        below(part, ctes)?;
    }
    Ok(())
}

/// The CTE's query as a derived table, under the reference's names and else the CTE's.
fn reference(var: &pb::RangeVar, name: &str, query: &Node, columns: &[Node]) -> Node {
    let mut colnames = columns.to_vec();
    if let Some(alias) = &var.alias {
        let own = alias.colnames.len();
        colnames = alias.colnames.iter().cloned().chain(columns.iter().skip(own).cloned()).collect();
    }
    debug_assert_eq!(strings(&colnames).count(), colnames.len());
    let aliasname = var.alias.as_ref().map_or_else(|| name.to_owned(), |alias| alias.aliasname.clone());
    node(NodeEnum::RangeSubselect(Box::new(pb::RangeSubselect {
        lateral: false,
        subquery: Some(Box::new(query.clone())),
        alias: Some(pb::Alias { aliasname, colnames }),
    })))
}
