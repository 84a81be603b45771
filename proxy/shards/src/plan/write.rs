//! Plans of everything that is not a query: writes, `COPY`, definitions, and statements about the session.
//!
//! | statement | shards | if they are several |
//! |---|---|---|
//! | `INSERT ... VALUES` | those of the rows' keys | rows are dealt out |
//! | `INSERT ... SELECT`, `UPDATE`, `DELETE` of a sharded table | those of the keys that it names, else all | each its own rows, where that is proven |
//! | a write to a reference table | all | the same on each, where its copies stay alike |
//! | a write to an unsharded table | the first | |
//! | `MERGE` | those of the keys that it names | refused |
//! | `COPY` | all, the first for an unsharded table | rows are dealt out, or come one shard after another |
//! | definitions, `TRUNCATE`, `VACUUM` and their like | all | each, in order |
//! | `LISTEN`, `NOTIFY`, temporary tables | the first | |
//! | `LOCK` | the first for unsharded tables, else all | each, in order |
//! | `EXPLAIN`, `DECLARE CURSOR` | those of its query | refused |
//! | `DO`, `CALL`, `LOAD`, `COMMIT PREPARED`, `ROLLBACK PREPARED` | all | refused: nobody sees into them |
//! | settings, transactions, prepared statements, `FETCH`, `DISCARD` | any | the session sees to them |
//!
//! A refusal holds however many keys the statement names: its pick is all shards, so that it passes where there is only one.

mod copy;
mod insert;
mod names;
mod reference;
pub(crate) mod rows;
mod update;
mod utility;

use std::borrow::Cow;

use pg_query::protobuf::{self as pb, node::Node as NodeEnum};
use pointsman_sql::{LexRules, Relation, Statement, Token, TokenKind, statement_facts, tokens};

use super::scope::{ItemKind, Lookups, Scopes};
use super::tree::Source;
use super::{Each, Many, Plan, Refusal, Why};
use crate::layout::{Placement, Schema};
use crate::pick::Pick;

pub use insert::plan_long_insert;

/// How the plan of a query is made, for statements that hold one.
pub type QueryPlanner<'a> = &'a dyn Fn(&pb::RawStmt) -> Plan;

/// The plan of a statement that is not a query. `source` is the client's own text, of one statement, in UTF-8 and read with
/// `standard_conforming_strings` on; the tree is of the same text.
#[must_use]
pub(crate) fn plan_write(
    statement: &pb::RawStmt,
    source: Source<'_>,
    schema: &dyn Schema,
    query: QueryPlanner<'_>,
) -> Plan {
    let Some(node) = statement.stmt.as_ref().and_then(|node| node.node.as_ref()) else {
        return refused(Why::Statement, "the statement", "send it to one shard with a routing hint");
    };
    let Some(facts) = statement_facts(statement, source.text, source.literals) else {
        return refused(Why::Statement, "a part of it that is not known", "write it another way");
    };
    let context = Context { source, schema, facts: &facts, query };
    context.plan(node)
}

/// What a statement's plan is made from.
#[derive(Clone, Copy)]
struct Context<'a> {
    source: Source<'a>,
    schema: &'a dyn Schema,
    facts: &'a Statement,
    query: QueryPlanner<'a>,
}

impl Context<'_> {
    fn plan(&self, node: &NodeEnum) -> Plan {
        match node {
            NodeEnum::InsertStmt(n) => insert::plan(self, node, n),
            NodeEnum::UpdateStmt(n) => update::update(self, node, n),
            NodeEnum::DeleteStmt(n) => update::delete(self, node, n.relation.as_ref()),
            NodeEnum::MergeStmt(n) => update::merge(self, n),
            NodeEnum::CopyStmt(n) => copy::plan(self, n),
            NodeEnum::CreateTableAsStmt(n) => utility::create_as(self, n),
            NodeEnum::SelectStmt(n) if n.into_clause.is_some() => utility::select_into(self),
            _ => utility::plan(self, node),
        }
    }

    /// The relations that are read, by where they live.
    fn reads(&self) -> Tables {
        Tables::of(self.schema, &self.facts.reads)
    }

    /// Where a table lives.
    fn placement(&self, relation: &Relation) -> Placement {
        self.schema.placement(relation)
    }

    fn scopes<'s>(&'s self, node: &'s NodeEnum, lookups: &'s Lookups) -> Scopes<'s> {
        Scopes::of(node, self.source, self.schema, lookups)
    }

    /// The first of these words (lower case) that stands anywhere in the statement, quoted ones and comments left out, and
    /// `IS DISTINCT FROM` too.
    fn says(&self, words: &[&str]) -> Option<String> {
        let text = self.source.text;
        let tokens = tokens(text.as_bytes(), LexRules::default()).unwrap_or_default();
        let word = |token: &Token| {
            (token.kind == TokenKind::Word).then(|| text[token.start..token.end].to_lowercase())
        };
        let mut before = None;
        for token in &tokens {
            let this = word(token);
            let compares =
                this.as_deref() == Some("distinct") && matches!(before.as_deref(), Some("is" | "not"));
            if !compares && this.as_deref().is_some_and(|this| words.contains(&this)) {
                return this.map(|this| this.to_uppercase());
            }
            before = this;
        }
        None
    }
}

/// Relations by where they live.
#[derive(Debug, Default)]
struct Tables {
    sharded: Vec<Relation>,
    unsharded: Vec<Relation>,
}

impl Tables {
    fn of(schema: &dyn Schema, relations: &[Relation]) -> Self {
        let mut tables = Self::default();
        for relation in relations {
            match schema.placement(relation) {
                Placement::Sharded(_) => tables.sharded.push(relation.clone()),
                Placement::Unsharded => tables.unsharded.push(relation.clone()),
                Placement::Reference => {}
            }
        }
        tables
    }
}

/// A plan for one shard, or none in particular.
fn one(pick: Pick) -> Plan {
    let refusal = Refusal {
        why: Why::Statement,
        part: "a statement that is for one server".into(),
        hint: "limit it to one key, or send it to one shard with a routing hint".into(),
    };
    Plan { pick, many: Many::Refused(refusal) }
}

/// A plan for every shard.
fn each(each: Each) -> Plan {
    Plan { pick: Pick::All, many: Many::Each(each) }
}

/// A refusal of whatever is for more shards than one.
fn refused(why: Why, part: impl Into<Cow<'static, str>>, hint: impl Into<Cow<'static, str>>) -> Plan {
    Plan { pick: Pick::All, many: Many::Refused(refusal(why, part, hint)) }
}

fn refusal(why: Why, part: impl Into<Cow<'static, str>>, hint: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal { why, part: part.into(), hint: hint.into() }
}

/// Names in a list, for a message.
fn listed(relations: &[Relation]) -> String {
    relations.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Of a table that a write reads, whether all its rows are on every shard.
fn is_everywhere(kind: &ItemKind) -> bool {
    !matches!(kind, ItemKind::Table { placement: Placement::Sharded(_) | Placement::Unsharded, .. })
}

#[cfg(test)]
mod tests;
