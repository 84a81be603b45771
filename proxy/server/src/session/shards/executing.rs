//! SQL's `PREPARE`, `EXECUTE` and `DEALLOCATE`, where no server can be asked to do it as it stands: an `EXECUTE` that is for
//! several shards is performed as its statement with the values as text, and in a transaction that may be on several shards
//! names are kept here.

use bytes::Bytes;
use pointsman_shards::pick::Picked;
use pointsman_sql::{
    Argument, Kind, LexRules, PrepareParts, Written, execute_arguments, listed, prepare_parts,
};
use pointsman_wire::backend::TransactionStatus;
use pointsman_wire::frontend::BindParameters;

use super::super::Session;
use super::super::cached::Execution;
use super::super::judge::{Judged, Marks, Verdict};
use super::super::statements::{Origin, Prepared};
use super::pieces::unknown_statement;
use super::query::Outcome;
use super::way::Way;
use crate::fault::Fault;

/// `pg_type.oid` of the types that a value may be written as without quotes.
const BOOL: u32 = 16;
const INTEGERS: [u32; 3] = [20, 21, 23];
const NUMBERS: [u32; 3] = [700, 701, 1700];
const TEXTS: [u32; 2] = [25, 1043];

/// The statement of an `EXECUTE`, and its values.
#[derive(Debug)]
pub(super) struct Executed {
    /// The text of the statement that was prepared.
    pub body: Bytes,
    /// The values, if each is a plain one.
    arguments: Option<Vec<Argument>>,
}

impl Executed {
    /// The values as `Bind` would bring them.
    pub fn parameters(&self) -> Option<BindParameters<'_>> {
        let arguments = self.arguments.as_ref()?.iter();
        let values = arguments.map(|argument| argument.text.as_ref().map(String::as_bytes)).collect();
        Some(BindParameters { formats: Vec::new(), values, result_formats: Vec::new() })
    }
}

impl Session {
    /// What a text executes, if that is all it does, and the statement was prepared.
    pub(super) fn executed_by(&self, sql: &[u8], judged: &Judged) -> Option<Executed> {
        let Kind::Execute(name) = &judged.facts.single()?.kind else { return None };
        self.executed_body(sql, self.statements.get(name.as_bytes())?)
    }

    /// The same of a text of which no more is known than its verdict.
    pub(super) fn executed_within(&self, sql: &[u8], verdict: &Verdict) -> Option<Executed> {
        let names = verdict.marks.has(Marks::NAMES) && !self.statements.is_empty();
        names.then(|| self.judged(sql)).and_then(|judged| self.executed_by(sql, &judged))
    }

    fn executed_body(&self, sql: &[u8], prepared: &Prepared) -> Option<Executed> {
        let rules = self.wants.rules();
        let body = match &prepared.origin {
            Origin::Protocol { sql, .. } => sql.clone(),
            Origin::Sql { tail, .. } => {
                let (whole, parts) = prepare_of(tail, rules)?;
                Bytes::copy_from_slice(&whole[parts.body])
            }
        };
        Some(Executed { body, arguments: execute_arguments(sql, rules) })
    }

    /// The way of an `EXECUTE`: its values are those of the statement that was prepared.
    pub(super) fn way_of_execute(&mut self, executed: &Executed) -> Result<Way, Fault> {
        let verdict = self.verdict_of_text(&executed.body);
        let parameters = executed.parameters();
        self.find_way(&verdict, &Execution::of_bound(&executed.body, &[], &[], parameters.as_ref()), false)
    }

    /// The shards that an `EXECUTE` is for.
    pub(super) fn picked_by(&self, executed: &Executed) -> Result<Picked, Fault> {
        let verdict = self.verdict_of_text(&executed.body);
        let parameters = executed.parameters();
        let asked = Execution::of_bound(&executed.body, &[], &[], parameters.as_ref());
        match self.planned(&executed.body, &verdict, false) {
            Some(planned) => self.picked(&planned, &asked),
            None => Ok(Picked::Any),
        }
    }

    /// Performs what names a prepared statement; `None` if the text does not, or can be left to a shard.
    pub(super) async fn perform_named(
        &mut self,
        sql: &[u8],
        judged: &Judged,
    ) -> Result<Option<Outcome>, Fault> {
        let Some(single) = judged.facts.single() else { return Ok(None) };
        if self.status == TransactionStatus::Failed {
            return Ok(None);
        }
        match &single.kind {
            Kind::Execute(name) => match self.executed(sql, judged) {
                Some(prepared) => self.execute_across(sql, name, &prepared).await.map(Some),
                None if self.statements.get(name.as_bytes()).is_some() => Err(not_plain()),
                None => Err(unknown_statement(name.as_bytes())),
            },
            Kind::Prepare(name) if self.spans() => self.prepare_here(sql, name).await.map(Some),
            Kind::Deallocate(name) if self.spans() => self.deallocate_here(name.as_deref()).map(Some),
            _ => Ok(None),
        }
    }

    /// Performs an `EXECUTE` as its statement. The client is told of columns and rows as the simple protocol has them.
    async fn execute_across(
        &mut self,
        sql: &[u8],
        name: &str,
        prepared: &Prepared,
    ) -> Result<Outcome, Fault> {
        let executed = self.executed_body(sql, prepared).ok_or_else(not_plain)?;
        let types = self.types_of(prepared).await?;
        let raw: Vec<u8> = types.iter().flat_map(|oid| oid.to_be_bytes()).collect();
        let asked = Execution::of_bound(&executed.body, &raw, &types, None);
        let described = self.describe_original(&asked).await?;
        let arguments = executed.arguments.as_deref().ok_or_else(not_plain)?;
        let expected = described.parameters.len();
        if arguments.len() != expected {
            let told = format!("wrong number of parameters for prepared statement \"{name}\"");
            return Err(Fault::client("42601", told)
                .hint(format!("Expected {expected} parameters but got {}.", arguments.len())));
        }
        let misfit = arguments.iter().zip(&described.parameters).position(|(value, oid)| !fits(value, *oid));
        if let Some(place) = misfit {
            return Err(misfitting(place + 1));
        }
        let parameters = executed.parameters();
        let verdict = self.verdict_of_text(&executed.body);
        let Some(planned) = self.planned(&executed.body, &verdict, true) else { return Err(not_plain()) };
        let asked = Execution {
            described: b'P',
            ..Execution::of_bound(&executed.body, &raw, &described.parameters, parameters.as_ref())
        };
        Box::pin(self.perform_across(&prepared.facts, &planned, &asked)).await
    }

    /// The types of a statement's parameters, as far as they were named when it was prepared.
    async fn types_of(&mut self, prepared: &Prepared) -> Result<Vec<u32>, Fault> {
        match &prepared.origin {
            Origin::Protocol { types, .. } => {
                Ok(types.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word)).collect())
            }
            Origin::Sql { tail, .. } => {
                let (whole, parts) = prepare_of(tail, self.wants.rules()).ok_or_else(not_plain)?;
                self.types_named(parts.types.map(|types| &whole[types])).await
            }
        }
    }

    /// The types of a `PREPARE`'s list: a server knows them by their names.
    async fn types_named(&mut self, list: Option<&[u8]>) -> Result<Vec<u32>, Fault> {
        let Some(list) = list else { return Ok(Vec::new()) };
        let names = listed(list, self.wants.rules()).ok_or_else(not_plain)?;
        let cast =
            |(at, name): (usize, &&[u8])| format!("${}::{}", at + 1, String::from_utf8_lossy(name).trim());
        let casts: Vec<String> = names.iter().enumerate().map(cast).collect();
        let sql = format!("SELECT {}", casts.join(", "));
        let described = self.describe_original(&Execution::of_bound(sql.as_bytes(), &[], &[], None)).await?;
        Ok(described.parameters.clone())
    }

    /// `PREPARE` in a transaction that may be on several shards: a server looks at the statement, and its name is kept here.
    async fn prepare_here(&mut self, sql: &[u8], name: &str) -> Result<Outcome, Fault> {
        let rules = self.wants.rules();
        let parts = prepare_parts(sql, rules).ok_or_else(not_plain)?;
        if self.statements.get(name.as_bytes()).is_some() {
            return Err(Fault::client("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        let types = self.types_named(parts.types.map(|types| &sql[types])).await?;
        let raw: Vec<u8> = types.iter().flat_map(|oid| oid.to_be_bytes()).collect();
        let body = &sql[parts.body];
        self.describe_original(&Execution::of_bound(body, &raw, &types, None)).await?;
        let judged = self.judged(body);
        let tail = Bytes::copy_from_slice(&sql[parts.name.end..]);
        let under = self.under();
        let prepared = self.shared.registry.get(Origin::Sql { tail, under }, &judged);
        self.statements.define(name.as_bytes(), prepared);
        Ok(Outcome::Complete("PREPARE".into()))
    }

    /// `DEALLOCATE` there.
    fn deallocate_here(&mut self, name: Option<&str>) -> Result<Outcome, Fault> {
        let Some(name) = name else {
            self.statements = Default::default();
            return Ok(Outcome::Complete("DEALLOCATE ALL".into()));
        };
        match self.statements.remove(name.as_bytes()) {
            Some(_) => Ok(Outcome::Complete("DEALLOCATE".into())),
            None => Err(unknown_statement(name.as_bytes())),
        }
    }
}

/// A `PREPARE` whose text is kept from behind the name, and its parts.
fn prepare_of(tail: &[u8], rules: LexRules) -> Option<(Vec<u8>, PrepareParts)> {
    let whole = [b"PREPARE x ", tail].concat();
    let parts = prepare_parts(&whole, rules)?;
    Some((whole, parts))
}

/// Whether a value, sent as text, is what PostgreSQL would make of it as it is written.
fn fits(argument: &Argument, oid: u32) -> bool {
    let texts = TEXTS.contains(&oid);
    match argument.written {
        Written::Null | Written::String => true,
        Written::Bool => oid == BOOL || texts,
        Written::Integer => INTEGERS.contains(&oid) || NUMBERS.contains(&oid) || texts,
        Written::Number => NUMBERS.contains(&oid),
    }
}

/// An `EXECUTE` whose columns would have to be described before it is performed.
pub(super) fn execute_by_extended() -> Fault {
    Fault::pointsman("0A000", "EXECUTE of a statement for several shards by the extended protocol")
        .hint("Send it as a simple query, or bind the prepared statement by its name.")
}

fn misfitting(number: usize) -> Fault {
    let told =
        format!("EXECUTE of a statement for several shards, with a value of another type than ${number}");
    Fault::pointsman("0A000", told)
        .hint("Write the value as a string, '...', or as a plain value of the parameter's type.")
}

/// An `EXECUTE` that is not for one shard, as far as can be told.
fn not_plain() -> Fault {
    Fault::pointsman("0A000", "EXECUTE of a statement for several shards, with a value that is not plain")
        .hint("Write each value as a plain one, such as 5, '...', true or NULL, or prepare the statement by the extended protocol.")
}
