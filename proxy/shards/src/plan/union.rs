//! Set operations whose branches are run apart, and put together by any one PostgreSQL.

use pg_query::protobuf as pb;

use super::planner::{Planner, append};
use super::scope::{Info, Output, Scopes};
use super::text::{self, column, refusal};
use super::tree::is_set_operation;
use super::{Gather, Lookup, Refusal, Why};
use crate::pick::Pick;

/// Each branch is a lookup; the set operation is over their rows.
pub(crate) fn by_branches(planner: &mut Planner<'_>, mut query: pb::SelectStmt) -> Result<Gather, Refusal> {
    let mut lookups = Vec::new();
    branches(planner, &mut query, &mut lookups)?;
    Ok(Gather { lookups, sql: text::of_query(&query)?, on: Pick::Any, hidden: 0, merge: append() })
}

fn branches(
    planner: &mut Planner<'_>,
    query: &mut pb::SelectStmt,
    lookups: &mut Vec<Lookup>,
) -> Result<(), Refusal> {
    if !query.locking_clause.is_empty() {
        return Err(refusal(Why::Locking, "FOR UPDATE", "Lock the rows of one shard, named by its key."));
    }
    for branch in [&mut query.larg, &mut query.rarg].into_iter().flatten() {
        if is_set_operation(branch) {
            branches(planner, branch, lookups)?;
        } else {
            **branch = looked_up(planner, std::mem::take(branch), lookups)?;
        }
    }
    Ok(())
}

/// A query's rows by a lookup, under the names that it gives them.
fn looked_up(
    planner: &mut Planner<'_>,
    query: pb::SelectStmt,
    lookups: &mut Vec<Lookup>,
) -> Result<pb::SelectStmt, Refusal> {
    let (outputs, everywhere) = {
        let scopes = Scopes::of_query(&query, planner.source, planner.schema, &planner.infos);
        let outputs =
            scopes.level_at.get(&super::tree::address(&query)).and_then(|level| scopes.outputs_of.get(level));
        (outputs.cloned(), !scopes.doubt && scopes.pick() == Pick::Any)
    };
    if everywhere {
        return Ok(query);
    }
    let Some(outputs) = outputs else {
        return Err(refusal(Why::SetOperation, "*", "Name the columns of each branch."));
    };
    let number = planner.number();
    let gather = planner.gather(query)?;
    planner.infos.insert(number, outputs.iter().map(|output| output.info).collect::<Vec<Info>>());
    lookups.push(Lookup { number, gather, owned: None });
    let names = text::numbered(outputs.len());
    let target = |(at, output): (usize, &Output)| text::target(column("p", &names[at]), &output.name);
    let mut select = text::select(outputs.iter().enumerate().map(target).collect());
    select.from_clause = vec![text::lookup_range(number, "p", &names)];
    Ok(select)
}
