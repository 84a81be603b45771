//! The extended query protocol: each message translated to global statement names and passed on in order.

use std::sync::Arc;

use bytes::Bytes;
use pointsman_sql::{ClientEncoding, Facts, Kind};
use pointsman_wire::backend::{CLOSE_COMPLETE, PARSE_COMPLETE, TransactionStatus};
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::{Bind, Close, Describe, Execute, Parse, Target};
use pointsman_wire::owed::{Ask, Deal};
use pointsman_wire::{Oids, WireError};

use super::cached::Execution;
use super::configs::ConfigCalls;
use super::judge::{Judged, Marks, Verdict};
use super::notes::{Note, StateNote};
use super::pins::Pins;
use super::request::Taken;
use super::statements::{Origin, Prepared, Unnamed, looks_global};
use super::{Portal, Session, message};
use crate::fault::Fault;

/// Why a message was not translated.
enum Refusal {
    /// Its body is wrong.
    Malformed,
    /// The session ends.
    Fault(Fault),
}

impl From<WireError> for Refusal {
    fn from(_: WireError) -> Self {
        Self::Malformed
    }
}

impl Session {
    /// Takes messages of the extended protocol: one by one on a connection that is held for them anyway, else all of
    /// them up to the `Sync` or `Flush` that asks for replies.
    pub(super) async fn extended(&mut self, header: Header) -> Result<Taken, Fault> {
        if self.held.is_some() && self.flow.skip_to_sync {
            // Told here of an error that the server knows nothing of: its `Sync` ends that, and needs nothing else first.
            self.message(header)?;
            return Ok(Taken::Done);
        }
        if matches!(header.tag, b'P' | b'B' | b'D' | b'C') && self.stalls_on_names() {
            return Ok(Taken::NotNow);
        }
        let database = &self.shared.account.database;
        if header.tag == b'P' && database.is_catalog_awaited() {
            self.await_catalog().await;
        }
        // What was said of a request holds for it as it was taken up.
        let kept = self.flow.admission.is_some() || self.flow.plugged.were_asked();
        let settled = match self.held {
            // Each statement of a sharded database may be for another shard.
            Some(_) if self.shards.is_some() => self.flow.unsynced,
            Some(_) => !self.is_on_replica() || self.owed.is_empty() || self.flow.unsynced,
            None => false,
        };
        if !settled || kept {
            return self.batch(header).await;
        }
        // The connection is held, so this borrows none: it waits for its turn or for a replica, or catches up.
        if !self.flow.unsynced {
            match self.perform_on(None).await {
                Ok(true) => {}
                Ok(false) => return Ok(Taken::NotNow),
                Err(fault) if self.fails_with_server() => self.send_refused_message(fault),
                Err(fault) => return self.refuse_batch(fault),
            }
        }
        let mut header = self.plugged_message(header).await?;
        if let Some(plugged) = header.filter(|_| self.shards.is_some()) {
            header = self.filled_message(plugged).await?;
        }
        if let Some(header) = header {
            self.message(header)?;
        }
        Ok(Taken::Done)
    }

    /// Asks plugins of the message at the front of the inbox. `None`: it is refused.
    pub(super) async fn plugged_message(&mut self, header: Header) -> Result<Option<Header>, Fault> {
        if header.tag != b'B' {
            return Ok(Some(header));
        }
        match self.plug_bind(header).await {
            Ok(header) => Ok(Some(header)),
            Err(fault) => self.refused_message(header, fault).map(|()| None),
        }
    }

    /// The server refuses in place of the message at the front of the inbox.
    fn refused_message(&mut self, header: Header, fault: Fault) -> Result<(), Fault> {
        if self.flow.ends() {
            return Err(fault);
        }
        self.io.from_client.consume(header.frame_len());
        self.send_refused_message(fault);
        Ok(())
    }

    /// Fills the message at the front of the inbox with ids. `None`: it is refused.
    async fn filled_message(&mut self, header: Header) -> Result<Option<Header>, Fault> {
        match self.fill_batch(header.frame_len(), header.tag == b'P').await {
            Ok(_) => Ok(Header::peek(self.io.from_client.bytes())?),
            Err(fault) => self.refused_message(header, fault).map(|()| None),
        }
    }

    /// Translates and sends the client's next message.
    pub(super) fn message(&mut self, header: Header) -> Result<(), Fault> {
        let explained = if header.tag == b'P' { self.explain_in_place(header) } else { None };
        let header = explained.unwrap_or(header);
        let frame_len = header.frame_len();
        let inbox = std::mem::take(&mut self.io.from_client);
        let frame = &inbox.bytes()[..frame_len];
        let body = &frame[5..];
        let outcome = match header.tag {
            b'P' => self.parse(frame, body),
            b'B' => self.bind(frame, body),
            b'D' => self.describe(frame, body),
            b'E' => self.execute(frame, body),
            b'C' => self.close(frame, body),
            b'S' => {
                self.sync(frame);
                Ok(())
            }
            _ if !body.is_empty() => Err(Refusal::Malformed),
            _ => {
                self.io.to_server.extend(frame);
                // What is answered here is due now: the server may have nothing to say to it.
                self.give_local_replies();
                Ok(())
            }
        };
        let outcome = match outcome {
            Err(Refusal::Malformed) => {
                self.send_malformed(header.tag, frame);
                Ok(())
            }
            Err(Refusal::Fault(fault)) => Err(fault),
            Ok(()) => Ok(()),
        };
        self.io.from_client = inbox;
        self.io.from_client.consume(frame_len);
        outcome
    }

    /// A message whose body is wrong goes to the server as it is, so that the error is the server's own.
    fn send_malformed(&mut self, tag: u8, frame: &[u8]) {
        self.flow.unsynced = true;
        self.io.to_server.extend(frame);
        let ask = match tag {
            b'P' => Ask::Parse,
            b'B' => Ask::Bind,
            b'D' => Ask::DescribePortal,
            b'C' => Ask::Close,
            _ => Ask::Execute,
        };
        self.owed.push(ask, Deal::Forward, None);
    }

    fn sync(&mut self, frame: &[u8]) {
        self.io.to_server.extend(frame);
        self.owed.push(Ask::Sync, Deal::Forward, None);
        self.flow.unsynced = false;
        self.flow.skip_to_sync = false;
    }

    fn parse(&mut self, frame: &[u8], body: &[u8]) -> Result<(), Refusal> {
        let Parse { name, sql, parameter_types } = Parse::decode(body)?;
        let judged = self.judged(sql);
        self.count_template(&judged);
        self.flow.unsynced = true;
        self.readable(name)?;
        if self.is_for_primary(judged.verdict.marks) {
            self.refuse_message_on_replica();
            return Ok(());
        }
        if !name.is_empty() && self.statements.get(name).is_some() {
            self.parse_duplicate(frame, name);
            return Ok(());
        }
        if judged.has(Marks::NAMES)
            && let Some(text) = self.translate_names(sql, &judged)
        {
            // It names another statement, and keeps its own name too: both are this connection's from now on.
            self.pins.add(Pins::UNKNOWN);
            let types = [&count(parameter_types), parameter_types.raw()].concat();
            self.parse_own(name, &[name, b"\0", &text, b"\0", &types].concat(), judged);
            return Ok(());
        }
        if name.is_empty() {
            self.parse_own(name, body, judged);
            return Ok(());
        }
        let of_client = self.statements.len().saturating_sub(self.rewritten.len());
        if of_client >= self.shared.prepared_statements_max {
            let limit = self.shared.prepared_statements_max;
            let fault = Fault::pointsman("53400", format!("a client may prepare at most {limit} statements"))
                .hint("Close statements that are no longer used, or raise prepared_statements_max.");
            return Err(Refusal::Fault(fault));
        }
        if self.pins.has(Pins::UNKNOWN) {
            // The connection is the session's own, and so are the names on it.
            if let Some(held) = &mut self.held {
                held.lease.connection().to_close.retain(|closed| *closed != name);
            }
            self.parse_own(name, body, judged);
            return Ok(());
        }
        let origin = Origin::Protocol {
            sql: Bytes::copy_from_slice(sql),
            types: Bytes::copy_from_slice(parameter_types.raw()),
            under: self.under(),
        };
        let prepared = self.shared.registry.get(origin, &judged);
        self.statements.define(name, Arc::clone(&prepared));
        self.meter.usage.client_parsed();
        self.parse_named(Parse { name, sql, parameter_types }, &prepared);
        Ok(())
    }

    /// A statement that stands on the connection under the client's own name, or under none.
    fn parse_own(&mut self, name: &[u8], body: &[u8], judged: Judged) {
        message::frame(&mut self.io.to_server, b'P', &[body]);
        if !name.is_empty() {
            let sql = Parse::decode(body).map(|parse| Bytes::copy_from_slice(parse.sql)).unwrap_or_default();
            self.statements.define_own(name, judged, sql);
            self.owed.push(Ask::Parse, Deal::Forward, None);
            return;
        }
        let id = self.shared.registry.next_id();
        let Judged { facts, verdict, configs, literals, .. } = judged;
        let unnamed = Unnamed { id, parse: Bytes::copy_from_slice(body), facts, verdict, configs, literals };
        let before = self.statements.set_unnamed(Some(unnamed));
        self.set_server_unnamed(id);
        self.owed.push(Ask::Parse, Deal::Forward, Some(Note::Unnamed(before)));
    }

    /// What is known of a statement that stands under the client's own name on its own connection. Of one of which
    /// nothing is known, it is believed that it may do anything.
    fn own_meaning(&mut self, name: &[u8]) -> Option<(Arc<Facts>, Arc<Verdict>, ConfigCalls)> {
        if let Some((Judged { facts, verdict, configs, .. }, _)) = self.statements.own(name) {
            let catalog = self.shared.account.database.catalog();
            let verdict = verdict.under(facts, &catalog);
            return Some((Arc::clone(facts), verdict, configs.clone()));
        }
        if self.pins.has(Pins::UNKNOWN) {
            self.mark_unknown();
            self.flow.definitions_changed = true;
        }
        None
    }

    /// A name in bytes that the client's encoding does not allow is for the server to refuse.
    fn readable(&self, name: &[u8]) -> Result<(), Refusal> {
        let utf8 = self.wants.rules().encoding == ClientEncoding::Utf8;
        if utf8 && std::str::from_utf8(name).is_err() { Err(Refusal::Malformed) } else { Ok(()) }
    }

    fn parse_named(&mut self, parse: Parse<'_>, prepared: &Prepared) {
        let name = parse.name;
        let known = self.held.as_mut().is_some_and(|held| held.has(prepared.id));
        // In a failed transaction the server refuses even what it has prepared before.
        let known = known && self.status != TransactionStatus::Failed;
        let here = (!known).then_some(prepared.id);
        let note = Note::Defined { name: name.into(), here };
        self.flow.names_pending = true;
        if known {
            let complete = Ask::Local(Bytes::from_static(PARSE_COMPLETE));
            self.owed.push(complete, Deal::Forward, Some(note));
            return;
        }
        self.meter.usage.server_parsed();
        self.make_room_for_statement(prepared.id);
        let Parse { sql, parameter_types, .. } = parse;
        self.send_encoded(|out| prepared.parse(sql, parameter_types.raw(), out));
        self.owed.push(Ask::Parse, Deal::Forward, Some(note));
        if let Some(held) = &mut self.held {
            held.note_prepared(prepared.id);
        }
    }

    /// The client's name is taken: the server is made to know it too, so that the error is the server's own.
    fn parse_duplicate(&mut self, frame: &[u8], name: &[u8]) {
        self.stand_in_for(name);
        self.io.to_server.extend(frame);
        self.owed.push(Ask::Parse, Deal::Forward, None);
    }

    fn bind(&mut self, frame: &[u8], body: &[u8]) -> Result<(), Refusal> {
        let bind = Bind::decode(body)?;
        self.flow.unsynced = true;
        if self.is_on_replica()
            && self.marks_of(bind.statement).is_some_and(|marks| self.is_for_primary(marks))
        {
            self.refuse_message_on_replica();
            return Ok(());
        }
        match self.bind_admission(&bind) {
            Ok(_) => self.limit_time(),
            Err(fault) => {
                self.send_refused_message(fault);
                return Ok(());
            }
        }
        let meaning = if bind.statement.is_empty() {
            self.have_unnamed();
            self.io.to_server.extend(frame);
            let catalog = self.shared.account.database.catalog();
            self.statements.unnamed().map(|unnamed| {
                (Arc::clone(&unnamed.facts), unnamed.verdict_under(&catalog), unnamed.configs.clone())
            })
        } else if let Some(prepared) = self.statements.get(bind.statement).cloned() {
            self.meter.usage.bound();
            self.have(&prepared);
            let parts: [&[u8]; 5] = [bind.portal, b"\0", &prepared.global, b"\0", bind.rest];
            message::frame(&mut self.io.to_server, b'B', &parts);
            Some((Arc::clone(&prepared.facts), self.verdict_of(&prepared), prepared.configs.clone()))
        } else {
            self.send_unknown(frame, bind.statement, |name, out| {
                message::frame(out, b'B', &[bind.portal, b"\0", name, b"\0", bind.rest]);
            });
            self.own_meaning(bind.statement)
        };
        let named = self.statements.note_of(bind.statement);
        self.owed.push(Ask::Bind, Deal::Forward, named);
        match meaning {
            Some((facts, verdict, configs)) => self.bound(&bind, &facts, &verdict, &configs),
            // The connection may know a statement of this name all the same.
            None => self.mark_unknown(),
        }
        Ok(())
    }

    /// Notes what the execution of a portal will mean.
    fn bound(&mut self, bind: &Bind<'_>, facts: &Arc<Facts>, verdict: &Verdict, configs: &ConfigCalls) {
        if verdict.marks.has(Marks::WRITE) {
            self.mark_written(&verdict.footprint);
            self.note_bound_write(bind, facts, verdict);
        }
        self.note_ending(verdict.marks);
        self.note_marks(verdict.marks);
        if !self.flow.portals.is_empty() {
            self.flow.portals.retain(|portal| *portal.name != *bind.portal);
        }
        if verdict.marks.has(Marks::STATE) || verdict.marks.has(Marks::NAMES) {
            self.flow.portals.push(Portal {
                name: bind.portal.into(),
                facts: Arc::clone(facts),
                configs: configs.resolve(bind.parameters().ok().as_ref()),
                doubtful: verdict.marks.has(Marks::DOUBTFUL) || prepares(facts),
            });
        }
    }

    /// What the execution of a portal will write, as the cache must hear of it.
    fn note_bound_write(&mut self, bind: &Bind<'_>, facts: &Facts, verdict: &Verdict) {
        if self.shared.account.database.ledger().is_none() {
            return;
        }
        let (sql, types) = self.text_and_types(bind.statement).unwrap_or_default();
        let parameters = bind.parameters().ok();
        let known = self.parameter_types(bind.statement, &types);
        self.note_write(facts, verdict, &Execution::of_bound(&sql, &types, &known, parameters.as_ref()));
    }

    fn describe(&mut self, frame: &[u8], body: &[u8]) -> Result<(), Refusal> {
        let describe = Describe::decode(body)?;
        self.flow.unsynced = true;
        if describe.target == Target::Portal {
            self.io.to_server.extend(frame);
            self.owed.push(Ask::DescribePortal, Deal::Forward, None);
            return Ok(());
        }
        if describe.name.is_empty() {
            self.have_unnamed();
            self.io.to_server.extend(frame);
        } else if let Some(prepared) = self.statements.get(describe.name).cloned() {
            self.have(&prepared);
            message::frame(&mut self.io.to_server, b'D', &[b"S", &prepared.global, b"\0"]);
        } else {
            self.send_unknown(frame, describe.name, |name, out| {
                message::frame(out, b'D', &[b"S", name, b"\0"]);
            });
        }
        let named = self.note_own_parameters(describe.name, self.described_note(describe.name));
        self.owed.push(Ask::DescribeStatement, Deal::Forward, named);
        Ok(())
    }

    /// The first answer tells the types of the statement's parameters, for all who prepared the same.
    fn described_note(&self, name: &[u8]) -> Option<Note> {
        let note = self.statements.note_of(name);
        let prepared = self.statements.get(name).filter(|prepared| prepared.told_types().is_none());
        let Some(prepared) = prepared else { return note };
        let named = match note {
            Some(Note::Named(name)) => Some(name),
            _ => None,
        };
        Some(Note::Described(Arc::clone(prepared), named))
    }

    fn execute(&mut self, frame: &[u8], body: &[u8]) -> Result<(), Refusal> {
        let execute = Execute::decode(body)?;
        self.flow.unsynced = true;
        let portal = self.flow.portals.iter().find(|portal| *portal.name == *execute.portal);
        let portal_prepares = portal.is_some_and(|portal| prepares(&portal.facts));
        let note = portal.map(|portal| {
            Note::State(Box::new(StateNote {
                facts: Arc::clone(&portal.facts),
                next: 0,
                configs: portal.configs.clone().unwrap_or_default(),
                defines: None,
                names_done: true,
                doubtful: portal.doubtful || portal.configs.is_none(),
            }))
        });
        self.stand_in(note.as_ref());
        if portal_prepares {
            // The name is the connection's own, from the next message of this pipeline on.
            self.pins.add(Pins::UNKNOWN);
        }
        let dropped = self.drop_names(note.as_ref());
        self.io.to_server.extend(frame);
        self.owed.push(Ask::Execute, Deal::Forward, note);
        if dropped.is_some() {
            self.owed.push(Ask::Local(Bytes::new()), Deal::Forward, dropped);
        }
        Ok(())
    }

    fn close(&mut self, frame: &[u8], body: &[u8]) -> Result<(), Refusal> {
        let close = Close::decode(body)?;
        self.flow.unsynced = true;
        if close.target == Target::Portal {
            self.io.to_server.extend(frame);
            self.owed.push(Ask::Close, Deal::Forward, None);
        } else if close.name.is_empty() {
            let before = self.statements.set_unnamed(None);
            self.set_server_unnamed(0);
            self.io.to_server.extend(frame);
            self.owed.push(Ask::Close, Deal::Forward, Some(Note::Unnamed(before)));
        } else if self.statements.get(close.name).is_none() && self.pins.has(Pins::UNKNOWN) {
            self.statements.forget_own();
            self.io.to_server.extend(frame);
            self.owed.push(Ask::Close, Deal::Forward, None);
        } else {
            self.flow.names_pending = true;
            let note =
                self.statements.remove(close.name).map(|prepared| Note::Closed(close.name.into(), prepared));
            self.owed.push(Ask::Local(Bytes::from_static(CLOSE_COMPLETE)), Deal::Forward, note);
        }
        Ok(())
    }

    /// A message about a statement that the client never prepared: the server says so, under the client's name.
    fn send_unknown(
        &mut self,
        frame: &[u8],
        name: &[u8],
        rename: impl FnOnce(&[u8], &mut crate::transport::buffer::Buffer),
    ) {
        if looks_global(name) {
            rename(&[name, b"?"].concat(), &mut self.io.to_server);
        } else {
            self.io.to_server.extend(frame);
        }
    }
}

/// The number of parameter types, as `Parse` carries it.
pub(super) fn count(types: Oids<'_>) -> [u8; 2] {
    u16::try_from(types.len()).unwrap_or(u16::MAX).to_be_bytes()
}

/// SQL-level `PREPARE`, whose name stays the connection's own when it comes by the extended protocol.
fn prepares(facts: &Facts) -> bool {
    facts.statements.iter().any(|statement| matches!(statement.kind, Kind::Prepare(_)))
}
