//! Answers from the cache, by either protocol: what the server would have said, message by message.

use std::sync::Arc;

use bytes::Bytes;
use pointsman_cache::stats::Bypass;
use pointsman_cache::{Entry, Parts};
use pointsman_sql::Facts;
use pointsman_wire::Oids;
use pointsman_wire::backend::{BIND_COMPLETE, PARSE_COMPLETE};
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::{Bind, BindParameters, Describe, Execute, Parse, Query, Target};

use super::Session;
use super::cached::{Execution, Looked};
use super::judge::{Judged, judge};
use super::request::Request;
use super::statements::{Origin, Unnamed};
use crate::fault::Fault;

/// ReadyForQuery: nothing is served inside a transaction.
pub(super) const READY: &[u8] = b"Z\0\0\0\x05I";

/// A batch that executes one statement to its end and does nothing else.
#[derive(Default)]
struct Single<'a> {
    /// An unnamed statement that it prepares: the body, and what is in it.
    parsed: Option<(&'a [u8], Parse<'a>)>,
    bound: Option<Bind<'a>>,
    /// `P`ortal or `S`tatement, if one is described.
    described: u8,
    executed: bool,
    synced: bool,
}

impl<'a> Single<'a> {
    fn read(mut rest: &'a [u8]) -> Result<Self, Bypass> {
        let mut single = Self::default();
        while let Ok(Some(header)) = Header::peek(rest) {
            let body = rest.get(5..header.frame_len()).ok_or(Bypass::Several)?;
            rest = &rest[header.frame_len()..];
            single.take(header.tag, body)?;
        }
        if single.synced { Ok(single) } else { Err(Bypass::Several) }
    }

    fn take(&mut self, tag: u8, body: &'a [u8]) -> Result<(), Bypass> {
        let other = Bypass::Several;
        match tag {
            b'P' if self.parsed.is_none() && self.bound.is_none() => {
                let parse = Parse::decode(body).map_err(|_| other)?;
                // A statement with a name is the server's to prepare first.
                if !parse.name.is_empty() {
                    return Err(other);
                }
                self.parsed = Some((body, parse));
            }
            b'B' if self.bound.is_none() => {
                let bind = Bind::decode(body).map_err(|_| other)?;
                let same = self.parsed.is_none() || bind.statement.is_empty();
                self.bound = Some(bind).filter(|bind| same && bind.portal.is_empty());
                self.bound.ok_or(other)?;
            }
            b'D' if self.described == 0 && !self.executed => {
                let describe = Describe::decode(body).map_err(|_| other)?;
                let (named, letter) = match describe.target {
                    Target::Portal => (self.bound.map(|_| &b""[..]), b'P'),
                    Target::Statement => (self.statement(), b'S'),
                };
                named.filter(|name| *name == describe.name).ok_or(other)?;
                self.described = letter;
            }
            b'E' if self.bound.is_some() && !self.executed => {
                let execute = Execute::decode(body).map_err(|_| other)?;
                if execute.max_rows > 0 {
                    return Err(Bypass::RowLimit);
                }
                self.executed = execute.portal.is_empty();
            }
            b'S' if self.executed && !self.synced => self.synced = true,
            _ => return Err(other),
        }
        Ok(())
    }

    fn statement(&self) -> Option<&'a [u8]> {
        self.bound.map(|bind| bind.statement).or(self.parsed.map(|_| &b""[..]))
    }
}

impl Session {
    /// Answers a simple query from the cache, or notes that its result is to be kept; false if a server is asked.
    pub(super) async fn serve_query(
        &mut self,
        frame_len: usize,
        request: &Request<'_>,
        facts: &Arc<Facts>,
    ) -> Result<bool, Fault> {
        let Some(terms) = self.cache_terms(request, facts) else { return Ok(false) };
        let inbox = std::mem::take(&mut self.io.from_client);
        let sql = Query::decode(inbox.bytes().get(5..frame_len).unwrap_or_default()).ok();
        let looked = match sql {
            Some(Query { sql }) => self.look(terms, &Execution::of_text(sql)),
            None => Looked::No,
        };
        self.io.from_client = inbox;
        let Some(entry) = self.entry_of(looked).await? else { return Ok(false) };
        self.io.from_client.consume(frame_len);
        self.statements.set_unnamed(None);
        self.io.settle_approved();
        let parts = entry.parts();
        if let Some(description) = &parts.description {
            self.io.share(description);
        }
        self.io.share(&parts.rows);
        self.finish_serving(request);
        Ok(true)
    }

    /// The same for a batch of the extended protocol.
    pub(super) async fn serve_batch(
        &mut self,
        len: usize,
        request: &Request<'_>,
        facts: &Arc<Facts>,
    ) -> Result<bool, Fault> {
        let Some(terms) = self.cache_terms(request, facts) else { return Ok(false) };
        let inbox = std::mem::take(&mut self.io.from_client);
        let batch = inbox.bytes().get(..len).unwrap_or_default();
        let looked = match self.single(batch) {
            Ok((single, sql, types)) => {
                let parameters = single.bound.and_then(|bind| BindParameters::decode(bind.rest).ok());
                let known = self.parameter_types(single.statement().unwrap_or_default(), &types);
                let bound = Execution::of_bound(&sql, &types, &known, parameters.as_ref());
                let asked = Execution { described: single.described, ..bound };
                match parameters {
                    Some(_) => self.look(terms, &asked),
                    None => Looked::No,
                }
            }
            Err(why) => {
                terms.counts.cache.bypassed(why);
                Looked::No
            }
        };
        self.io.from_client = inbox;
        let Some(entry) = self.entry_of(looked).await? else { return Ok(false) };
        let inbox = std::mem::take(&mut self.io.from_client);
        self.answer_from(inbox.bytes().get(..len).unwrap_or_default(), entry.parts());
        self.io.from_client = inbox;
        self.io.from_client.consume(len);
        self.finish_serving(request);
        Ok(true)
    }

    /// The formats of the result of a batch that executes one statement to its end, and describes no statement by name; `None`: it is
    /// another.
    pub(super) fn result_formats(&self, batch: &[u8]) -> Option<Vec<i16>> {
        let single = Single::read(batch).ok().filter(|single| single.described != b'S')?;
        BindParameters::decode(single.bound?.rest).ok().map(|bound| bound.result_formats)
    }

    /// What a batch executes, with its text and the types of its parameters.
    fn single<'a>(&self, batch: &'a [u8]) -> Result<(Single<'a>, Bytes, Bytes), Bypass> {
        let single = Single::read(batch)?;
        if let Some((_, parse)) = single.parsed {
            let sql = Bytes::copy_from_slice(parse.sql);
            return Ok((single, sql, Bytes::copy_from_slice(parse.parameter_types.raw())));
        }
        let name = single.statement().unwrap_or_default();
        let prepared = self.statements.get(name).ok_or(Bypass::Several)?;
        // Prepared before definitions changed, it may give other columns than its client knows of.
        if !prepared.is_of(self.shared.account.database.epoch()) {
            return Err(Bypass::Closed);
        }
        let (sql, types) = self.text_and_types(name).ok_or(Bypass::Several)?;
        Ok((single, sql, types))
    }

    /// The text that a client prepared under a name, and the types of parameters that it named.
    pub(super) fn text_and_types(&self, name: &[u8]) -> Option<(Bytes, Bytes)> {
        if name.is_empty() {
            let unnamed = self.statements.unnamed()?;
            let parse = Parse::decode(&unnamed.parse).ok()?;
            let types = parse.parameter_types.raw();
            return Some((unnamed.parse.slice_ref(parse.sql), unnamed.parse.slice_ref(types)));
        }
        match &self.statements.get(name)?.origin {
            Origin::Protocol { sql, types, .. } => Some((sql.clone(), types.clone())),
            Origin::Sql { .. } => None,
        }
    }

    /// The types of a statement's parameters: those that the server told of, else those that the client named.
    pub(super) fn parameter_types(&self, name: &[u8], named: &[u8]) -> Vec<u32> {
        let told = self.statements.get(name).and_then(|prepared| prepared.told_types());
        told.map_or_else(|| oids(named), <[u32]>::to_vec)
    }

    /// The entry to answer with, if there is one.
    async fn entry_of(&mut self, looked: Looked) -> Result<Option<Arc<Entry>>, Fault> {
        self.flow.filling = None;
        match looked {
            Looked::Serve(entry) => Ok(Some(entry)),
            Looked::Follow(follower, terms) => self.follow(follower, terms).await,
            Looked::Lead(filling) => match self.ask_shared(filling).await? {
                Ok(entry) => Ok(Some(entry)),
                Err(filling) => {
                    self.flow.filling = Some(filling);
                    Ok(None)
                }
            },
            Looked::No => Ok(None),
        }
    }

    /// Answers each message of a batch; what it prepares is known from now on.
    pub(super) fn answer_from(&mut self, mut rest: &[u8], parts: &Parts) {
        self.io.settle_approved();
        while let Ok(Some(header)) = Header::peek(rest) {
            let Some(frame) = rest.get(..header.frame_len()) else { break };
            rest = &rest[header.frame_len()..];
            match header.tag {
                b'P' => {
                    self.define_unnamed(&frame[5..]);
                    self.io.to_client.extend(PARSE_COMPLETE);
                }
                b'B' => self.io.to_client.extend(BIND_COMPLETE),
                b'D' => {
                    for part in [&parts.parameters, &parts.description].into_iter().flatten() {
                        self.io.share(part);
                    }
                }
                b'E' => self.io.share(&parts.rows),
                _ => {}
            }
        }
    }

    /// The unnamed statement is this one, which no server has prepared yet.
    pub(super) fn define_unnamed(&mut self, body: &[u8]) {
        let Ok(parse) = Parse::decode(body) else { return };
        let catalog = self.shared.account.database.catalog();
        let Judged { facts, verdict, configs, literals, .. } = judge(parse.sql, self.wants.rules(), &catalog);
        let id = self.shared.registry.next_id();
        let parse = Bytes::copy_from_slice(body);
        self.statements.set_unnamed(Some(Unnamed { id, parse, facts, verdict, configs, literals }));
    }

    fn finish_serving(&mut self, request: &Request<'_>) {
        self.io.share(&Bytes::from_static(READY));
        self.flow.overrun.forget();
        self.count(request.verdict.kind);
        self.shared.counters.transaction();
        self.meter.served();
        self.count_traffic();
    }
}

/// The types as numbers.
fn oids(raw: &[u8]) -> Vec<u32> {
    Oids::from_raw(raw).map(|oids| oids.iter().collect()).unwrap_or_default()
}
