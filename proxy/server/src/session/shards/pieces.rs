//! Batches of the extended protocol that are not for one shard as a whole: taken message by message, each statement performed
//! where it belongs, in order. After an error the rest is skipped up to the client's `Sync`, as a server would.

use bytes::{Bytes, BytesMut};
use pointsman_shards::pick::Picked;
use pointsman_wire::backend::{BIND_COMPLETE, CLOSE_COMPLETE, NO_DATA, PARSE_COMPLETE, ParameterDescription};
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::{Bind, BindParameters, Close, Describe, Execute, Parse, Target};
use pointsman_wire::{Oids, WireError};

use super::super::cached::Execution;
use super::super::judge::{Verdict, judge};
use super::super::request::Taken;
use super::super::statements::{Origin, Unnamed};
use super::super::{Session, message};
use super::described::Described;
use super::query::Outcome;
use crate::fault::Fault;
use std::sync::Arc;

/// Where a batch goes.
#[derive(Debug)]
pub(in crate::session) enum BatchWay {
    /// Where the session is now.
    Here,
    /// Not before the replies owed have come.
    NotYet,
    /// Message by message.
    Pieces,
}

/// A statement as a batch names it: its text, and the types that `Parse` named.
#[derive(Debug, Clone)]
struct Named {
    sql: Bytes,
    types: Bytes,
    known: Vec<u32>,
}

/// A portal of the batch.
struct Portal {
    name: Bytes,
    statement: Named,
    rest: Bytes,
}

/// A batch as far as it was taken.
#[derive(Default)]
struct Pieces {
    portals: Vec<Portal>,
    failed: bool,
}

impl Session {
    /// Finds the way of the batch at the front of the inbox.
    pub(in crate::session) fn batch_way(&mut self, len: usize) -> Result<BatchWay, Fault> {
        let inbox = std::mem::take(&mut self.io.from_client);
        let way = self.way_of_frames(&inbox.bytes()[..len]);
        self.io.from_client = inbox;
        way
    }

    fn way_of_frames(&mut self, mut rest: &[u8]) -> Result<BatchWay, Fault> {
        let mut parsed: Vec<(&[u8], Named)> = Vec::new();
        let mut picked: Option<usize> = None;
        let mut flushes = false;
        while let Some(header) = Header::peek(rest)? {
            let Some(frame) = rest.get(..header.frame_len()) else { break };
            rest = &rest[header.frame_len()..];
            match header.tag {
                b'P' => {
                    let Ok(parse) = Parse::decode(&frame[5..]) else { return Ok(BatchWay::Here) };
                    parsed.push((parse.name, Named::of(&parse)));
                }
                b'B' => {
                    let Ok(bind) = Bind::decode(&frame[5..]) else { return Ok(BatchWay::Here) };
                    let own = parsed.iter().rev().find(|(name, _)| *name == bind.statement);
                    let Some(named) =
                        own.map(|(_, named)| named.clone()).or_else(|| self.known_statement(bind.statement))
                    else {
                        return Ok(BatchWay::Here);
                    };
                    match self.pick_of(&named, &bind)? {
                        Picked::Any => {}
                        Picked::Shards(set) => match (set.only(), picked) {
                            (Some(shard), None) => picked = Some(shard),
                            (Some(shard), Some(before)) if shard == before => {}
                            _ => return Ok(self.pieces_once_free()),
                        },
                    }
                }
                b'H' => flushes = true,
                _ => {}
            }
        }
        let at = self.shards.as_ref().map_or(0, |shards| shards.at);
        match picked {
            Some(shard) if shard == at => {}
            Some(shard) if self.held.is_none() => self.turn_to(shard),
            Some(_) => return Ok(self.pieces_once_free()),
            // What is asked before anything is bound must not tie the session to a shard.
            None if flushes && self.held.is_none() => return Ok(BatchWay::Pieces),
            None => {}
        }
        Ok(BatchWay::Here)
    }

    fn pieces_once_free(&mut self) -> BatchWay {
        if self.owed.is_empty() {
            return BatchWay::Pieces;
        }
        self.flow.stalled = true;
        BatchWay::NotYet
    }

    /// The shards of a statement that is bound.
    fn pick_of(&self, named: &Named, bind: &Bind<'_>) -> Result<Picked, Fault> {
        let parameters = bind.parameters().ok();
        let verdict = self.verdict_of_text(&named.sql);
        let asked = Execution::of_bound(&named.sql, &named.types, &named.known, parameters.as_ref());
        match self.planned(&named.sql, &verdict, false) {
            Some(planned) => self.picked(&planned, &asked),
            None => Ok(Picked::Any),
        }
    }

    fn verdict_of_text(&self, sql: &[u8]) -> Arc<Verdict> {
        judge(sql, self.wants.rules(), &self.shared.account.database.catalog()).verdict
    }

    fn known_statement(&self, name: &[u8]) -> Option<Named> {
        let (sql, types) = self.text_and_types(name)?;
        let known = self.parameter_types(name, &types);
        Some(Named { sql, types, known })
    }

    /// Takes a batch message by message.
    pub(in crate::session) async fn batch_in_pieces(&mut self, len: usize) -> Result<Taken, Fault> {
        let batch = Bytes::copy_from_slice(&self.io.from_client.bytes()[..len]);
        self.io.from_client.consume(len);
        self.io.settle_approved();
        let mut pieces = Pieces { failed: self.flow.skip_to_sync, ..Pieces::default() };
        let mut rest = &batch[..];
        while let Some(header) = Header::peek(rest)? {
            let Some(frame) = rest.get(..header.frame_len()) else { break };
            rest = &rest[header.frame_len()..];
            if header.tag == b'S' {
                pieces.failed = false;
                self.io.to_client.extend(&message::ready(self.status.byte()));
            } else if !pieces.failed
                && let Err(fault) = Box::pin(self.piece(header.tag, &frame[5..], &mut pieces)).await
            {
                self.tell(fault)?;
                pieces.failed = true;
            }
        }
        self.flow.skip_to_sync = pieces.failed;
        self.shared.counters.transaction();
        Ok(Taken::Done)
    }

    async fn piece(&mut self, tag: u8, body: &[u8], pieces: &mut Pieces) -> Result<(), Fault> {
        match tag {
            b'P' => self.piece_parse(body).await,
            b'B' => {
                let bind = Bind::decode(body)?;
                bind.parameters()?;
                let statement =
                    self.known_statement(bind.statement).ok_or_else(|| unknown_statement(bind.statement))?;
                let name = Bytes::copy_from_slice(bind.portal);
                pieces.portals.retain(|portal| portal.name != name);
                pieces.portals.push(Portal { name, statement, rest: Bytes::copy_from_slice(bind.rest) });
                self.io.to_client.extend(BIND_COMPLETE);
                Ok(())
            }
            b'D' => self.piece_describe(Describe::decode(body)?, pieces).await,
            b'E' => self.piece_execute(Execute::decode(body)?, pieces).await,
            b'C' => {
                let close = Close::decode(body)?;
                match (close.target, close.name) {
                    (Target::Statement, b"") => drop(self.statements.set_unnamed(None)),
                    (Target::Statement, name) => drop(self.statements.remove(name)),
                    (Target::Portal, name) => pieces.portals.retain(|portal| *portal.name != *name),
                }
                self.io.to_client.extend(CLOSE_COMPLETE);
                Ok(())
            }
            b'H' => Ok(()),
            _ => Err(WireError::Format.into()),
        }
    }

    /// Has a server look at the text, and remembers it.
    async fn piece_parse(&mut self, body: &[u8]) -> Result<(), Fault> {
        let parse = Parse::decode(body)?;
        let named = Named::of(&parse);
        self.describe_named(&named).await?;
        let judged = judge(parse.sql, self.wants.rules(), &self.shared.account.database.catalog());
        if parse.name.is_empty() {
            let id = self.shared.registry.next_id();
            let (facts, verdict, configs) = (judged.facts, judged.verdict, judged.configs);
            let parse = Bytes::copy_from_slice(body);
            self.statements.set_unnamed(Some(Unnamed { id, parse, facts, verdict, configs }));
        } else {
            if self.statements.get(parse.name).is_some() {
                let name = String::from_utf8_lossy(parse.name).into_owned();
                return Err(Fault::client("42P05", format!("prepared statement \"{name}\" already exists")));
            }
            let origin = Origin::Protocol { sql: named.sql, types: named.types, under: self.under() };
            let prepared = self.shared.registry.get(origin, &judged);
            self.statements.define(parse.name, prepared);
        }
        self.io.to_client.extend(PARSE_COMPLETE);
        Ok(())
    }

    async fn piece_describe(&mut self, describe: Describe<'_>, pieces: &Pieces) -> Result<(), Fault> {
        let (named, formats) = match describe.target {
            Target::Statement => {
                let named =
                    self.known_statement(describe.name).ok_or_else(|| unknown_statement(describe.name))?;
                (named, None)
            }
            Target::Portal => {
                let portal = pieces.portal(describe.name)?;
                (portal.statement.clone(), Some(BindParameters::decode(&portal.rest)?.result_formats))
            }
        };
        let described = self.describe_named(&named).await?;
        if formats.is_none() {
            let own = self.own_parameters(describe.name).unwrap_or(described.parameters.len());
            let own = described.parameters.iter().take(own);
            let raw: Vec<u8> = own.flat_map(|oid| oid.to_be_bytes()).collect();
            let mut out = BytesMut::new();
            ParameterDescription { types: Oids::from_raw(&raw).unwrap_or(Oids::EMPTY) }.encode(&mut out);
            self.io.to_client.extend(&out);
        }
        match described.columns {
            Some(_) => self.io.to_client.extend(&described.with_formats(&formats.unwrap_or_default())?),
            None => self.io.to_client.extend(NO_DATA),
        }
        Ok(())
    }

    async fn piece_execute(&mut self, execute: Execute<'_>, pieces: &Pieces) -> Result<(), Fault> {
        let portal = pieces.portal(execute.portal)?;
        if execute.max_rows > 0 {
            return Err(Fault::pointsman("0A000", "rows of several shards cannot be fetched in portions")
                .hint("Execute the portal without a row limit, or use LIMIT."));
        }
        let named = &portal.statement;
        let described = self.describe_named(named).await?;
        let verdict = self.verdict_of_text(&named.sql);
        let Some(planned) = self.planned(&named.sql, &verdict, true) else { return Ok(()) };
        self.may_go_across()?;
        let parameters = BindParameters::decode(&portal.rest)?;
        self.count(verdict.kind);
        let asked = Execution::of_bound(&named.sql, &named.types, &described.parameters, Some(&parameters));
        match self.perform_across(&planned, &asked, None).await? {
            Outcome::Complete(tag) => self.io.to_client.extend(&message::command_complete(&tag)),
            Outcome::Answered => {}
        }
        Ok(())
    }

    async fn describe_named(&mut self, named: &Named) -> Result<Arc<Described>, Fault> {
        self.describe_original(&Execution::of_bound(&named.sql, &named.types, &named.known, None)).await
    }
}

impl Named {
    fn of(parse: &Parse<'_>) -> Self {
        Self {
            sql: Bytes::copy_from_slice(parse.sql),
            types: Bytes::copy_from_slice(parse.parameter_types.raw()),
            known: parse.parameter_types.iter().collect(),
        }
    }
}

impl Pieces {
    fn portal(&self, name: &[u8]) -> Result<&Portal, Fault> {
        self.portals.iter().find(|portal| *portal.name == *name).ok_or_else(|| {
            let name = String::from_utf8_lossy(name).into_owned();
            Fault::client("34000", format!("portal \"{name}\" does not exist"))
        })
    }
}

fn unknown_statement(name: &[u8]) -> Fault {
    let told = match name {
        b"" => "unnamed prepared statement does not exist".to_owned(),
        name => format!("prepared statement \"{}\" does not exist", String::from_utf8_lossy(name)),
    };
    Fault::client("26000", told)
}
