//! Batches of the extended protocol that are not for one shard as a whole: taken message by message, each statement performed
//! where it belongs, in order. After an error the rest is skipped up to the client's `Sync`, as a server would.

use bytes::{Bytes, BytesMut};
use pointsman_shards::pick::Picked;
use pointsman_sql::Facts;
use pointsman_wire::backend::{BIND_COMPLETE, CLOSE_COMPLETE, NO_DATA, PARSE_COMPLETE, ParameterDescription};
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::{Bind, BindParameters, Close, Describe, Execute, Parse, Target};
use pointsman_wire::{Oids, WireError};

use super::super::begin::begins;
use super::super::cached::Execution;
use super::super::judge::{Marks, Verdict};
use super::super::request::Taken;
use super::super::statements::{Origin, Unnamed};
use super::super::{Session, message};
use super::described::Described;
use super::executing::execute_by_extended;
use super::portals::Portal;
use crate::fault::Fault;
use std::sync::Arc;

/// Where a batch goes.
#[derive(Debug)]
enum BatchWay {
    /// Where the session is now.
    Here,
    /// Not before the replies owed have come.
    NotYet,
    /// Message by message.
    Pieces,
}

/// A statement as a batch names it: its text, and the types that `Parse` named.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub sql: Bytes,
    pub types: Bytes,
    pub known: Vec<u32>,
    /// What its text means, where that is known already.
    meaning: Option<(Arc<Facts>, Arc<Verdict>)>,
}

/// A batch as far as it was taken.
#[derive(Default)]
struct Pieces {
    portals: Vec<Portal>,
    failed: bool,
}

impl Session {
    /// Turns to the shard that the batch at the front of the inbox is for, or takes it across shards; `None`: it goes on where the
    /// session is now.
    pub(in crate::session) async fn route_batch(&mut self, len: usize) -> Result<Option<Taken>, Fault> {
        let way = match self.await_shards_catalog().await {
            Ok(()) => self.batch_way(len),
            Err(fault) => Err(fault),
        };
        match way {
            Ok(BatchWay::Here) => Ok(None),
            Ok(BatchWay::NotYet) => Ok(Some(Taken::NotNow)),
            Ok(BatchWay::Pieces) => self.batch_in_pieces(len).await.map(Some),
            // The server skips what follows.
            Err(fault) if self.fails_with_server() => {
                self.send_refused_message(fault);
                Ok(None)
            }
            Err(fault) => self.refuse_batch(fault).map(Some),
        }
    }

    /// Finds the way of the batch at the front of the inbox.
    fn batch_way(&mut self, len: usize) -> Result<BatchWay, Fault> {
        let inbox = std::mem::take(&mut self.io.from_client);
        let way = self.way_of_frames(&inbox.bytes()[..len]);
        self.io.from_client = inbox;
        way
    }

    fn way_of_frames(&mut self, mut rest: &[u8]) -> Result<BatchWay, Fault> {
        if self.spans() {
            return Ok(BatchWay::Pieces);
        }
        let may_span = self.may_span() && self.held.is_none();
        let mut parsed: Vec<(&[u8], Named)> = Vec::new();
        let mut picked: Option<usize> = None;
        let mut flushes = false;
        while let Some(header) = Header::peek(rest)? {
            let Some(frame) = rest.get(..header.frame_len()) else { break };
            rest = &rest[header.frame_len()..];
            match header.tag {
                b'P' => {
                    let Ok(parse) = Parse::decode(&frame[5..]) else { return Ok(BatchWay::Here) };
                    let meaning = Some(self.meaning_of_text(parse.sql));
                    parsed.push((parse.name, Named { meaning, ..Named::of(&parse) }));
                }
                b'B' => {
                    let Ok(bind) = Bind::decode(&frame[5..]) else { return Ok(BatchWay::Here) };
                    let own = parsed.iter().rev().find(|(name, _)| *name == bind.statement);
                    let known = if own.is_none() { self.known_statement(bind.statement) } else { None };
                    let Some(named) = own.map(|(_, named)| named).or(known.as_ref()) else {
                        return Ok(BatchWay::Here);
                    };
                    let (facts, verdict) =
                        named.meaning.clone().unwrap_or_else(|| self.meaning_of_text(&named.sql));
                    if may_span && begins(&facts) {
                        return Ok(self.pieces_once_free());
                    }
                    match self.pick_of(named, &verdict, &bind)? {
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
    fn pick_of(&self, named: &Named, verdict: &Verdict, bind: &Bind<'_>) -> Result<Picked, Fault> {
        let parameters = bind.parameters().ok();
        let asked = Execution::of_bound(&named.sql, &named.types, &named.known, parameters.as_ref());
        if let Some(executed) = self.executed_within(&named.sql, verdict) {
            return match self.picked_by(&executed)? {
                Picked::Shards(set) if set.only().is_none() => Err(execute_by_extended()),
                picked => Ok(picked),
            };
        }
        match self.planned(&named.sql, verdict, false) {
            Some(planned) => match self.hinted(&named.sql, &planned)? {
                Some(hinted) => Ok(hinted),
                None => self.picked(&planned, &asked),
            },
            None => Ok(Picked::Any),
        }
    }

    fn meaning_of_text(&self, sql: &[u8]) -> (Arc<Facts>, Arc<Verdict>) {
        let judged = self.judged(sql);
        (judged.facts, judged.verdict)
    }

    pub(super) fn verdict_of_text(&self, sql: &[u8]) -> Arc<Verdict> {
        self.meaning_of_text(sql).1
    }

    fn known_statement(&self, name: &[u8]) -> Option<Named> {
        let (sql, types) = self.text_and_types(name)?;
        let known = self.parameter_types(name, &types);
        let prepared = self.statements.get(name);
        let meaning = prepared.map(|prepared| (Arc::clone(&prepared.facts), self.verdict_of(prepared)));
        Some(Named { sql, types, known, meaning })
    }

    /// Takes a batch message by message.
    async fn batch_in_pieces(&mut self, len: usize) -> Result<Taken, Fault> {
        let batch = Bytes::copy_from_slice(&self.io.from_client.bytes()[..len]);
        self.io.from_client.consume(len);
        self.io.settle_approved();
        let mut pieces = Pieces { failed: self.flow.skip_to_sync, portals: self.kept_portals() };
        if !self.spans() && !pieces.failed && self.writes_more_than_once(&batch) {
            if !self.may_span() {
                return self.refuse_batch_across(&batch);
            }
            self.begin_spanning(b"BEGIN", true);
        }
        let mut rest = &batch[..];
        while let Some(header) = Header::peek(rest)? {
            let Some(frame) = rest.get(..header.frame_len()) else { break };
            rest = &rest[header.frame_len()..];
            if header.tag == b'S' {
                if let Err(fault) = self.end_implicit(pieces.failed).await {
                    self.tell(fault)?;
                }
                pieces.failed = false;
                self.io.to_client.extend(&message::ready(self.status.byte()));
            } else if !pieces.failed
                && let Err(fault) = Box::pin(self.piece(header.tag, &frame[5..], &mut pieces)).await
            {
                self.tell(fault)?;
                self.fail_spanning();
                pieces.failed = true;
            }
        }
        self.note_spanning_answered();
        self.keep_portals(pieces.portals);
        self.flow.skip_to_sync = pieces.failed;
        self.shared.counters.transaction();
        Ok(Taken::Done)
    }

    /// Portals of a transaction live until it ends.
    fn kept_portals(&mut self) -> Vec<Portal> {
        self.shards.as_mut().map(|shards| std::mem::take(&mut shards.portals)).unwrap_or_default()
    }

    fn keep_portals(&mut self, portals: Vec<Portal>) {
        let keeps = self.spans() && !self.spans_implicitly();
        if let Some(shards) = &mut self.shards {
            shards.portals = if keeps { portals } else { Vec::new() };
        }
    }

    /// Whether a batch executes several statements of which one may write: it is one transaction.
    fn writes_more_than_once(&self, batch: &[u8]) -> bool {
        let (mut executes, mut writes, mut rest) = (0, false, batch);
        let mut parsed: Vec<(&[u8], &[u8])> = Vec::new();
        while let Ok(Some(header)) = Header::peek(rest) {
            let Some(body) = rest.get(5..header.frame_len()) else { break };
            rest = &rest[header.frame_len()..];
            match header.tag {
                b'P' => parsed.extend(Parse::decode(body).ok().map(|parse| (parse.name, parse.sql))),
                b'B' => {
                    let Ok(bind) = Bind::decode(body) else { continue };
                    let own = parsed.iter().rev().find(|(name, _)| *name == bind.statement);
                    let known = own.map(|(_, sql)| Bytes::copy_from_slice(sql));
                    let sql = known.or_else(|| Some(self.known_statement(bind.statement)?.sql));
                    writes |= sql.is_some_and(|sql| !self.verdict_of_text(&sql).marks.has(Marks::READ));
                }
                b'E' => executes += 1,
                _ => {}
            }
        }
        executes > 1 && writes
    }

    /// The whole batch is refused.
    fn refuse_batch_across(&mut self, batch: &[u8]) -> Result<Taken, Fault> {
        let fault = Fault::pointsman("0A000", "a pipeline that writes on several shards")
            .hint("Set `cross_shard_writes: two_phase` for the database, or end each statement with a Sync.");
        self.tell(fault)?;
        if batch.ends_with(super::SYNC) {
            self.io.to_client.extend(&message::ready(self.status.byte()));
        } else {
            self.flow.skip_to_sync = true;
        }
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
                let rest = Bytes::copy_from_slice(bind.rest);
                pieces.portals.push(Portal { name, statement, rest, fetched: None });
                self.io.to_client.extend(BIND_COMPLETE);
                Ok(())
            }
            b'D' => self.piece_describe(Describe::decode(body)?, pieces).await,
            b'E' => {
                let execute = Execute::decode(body)?;
                let portal = pieces.portals.iter_mut().find(|portal| *portal.name == *execute.portal);
                self.piece_execute(execute, portal.ok_or_else(|| unknown_portal(execute.portal))?).await
            }
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
        let judged = self.judged(parse.sql);
        if parse.name.is_empty() {
            let id = self.shared.registry.next_id();
            let (facts, verdict, configs) = (judged.facts, judged.verdict, judged.configs);
            let parse = Bytes::copy_from_slice(body);
            self.statements.set_unnamed(Some(Unnamed {
                id,
                parse,
                facts,
                verdict,
                configs,
                literals: judged.literals,
            }));
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

    pub(super) async fn describe_named(&mut self, named: &Named) -> Result<Arc<Described>, Fault> {
        self.describe_original(&Execution::of_bound(&named.sql, &named.types, &named.known, None)).await
    }
}

impl Named {
    fn of(parse: &Parse<'_>) -> Self {
        Self {
            sql: Bytes::copy_from_slice(parse.sql),
            types: Bytes::copy_from_slice(parse.parameter_types.raw()),
            known: parse.parameter_types.iter().collect(),
            meaning: None,
        }
    }
}

impl Pieces {
    fn portal(&self, name: &[u8]) -> Result<&Portal, Fault> {
        self.portals.iter().find(|portal| *portal.name == *name).ok_or_else(|| unknown_portal(name))
    }
}

fn unknown_portal(name: &[u8]) -> Fault {
    let name = String::from_utf8_lossy(name).into_owned();
    Fault::client("34000", format!("portal \"{name}\" does not exist"))
}

pub(super) fn unknown_statement(name: &[u8]) -> Fault {
    let told = match name {
        b"" => "unnamed prepared statement does not exist".to_owned(),
        name => format!("prepared statement \"{}\" does not exist", String::from_utf8_lossy(name)),
    };
    Fault::client("26000", told)
}
