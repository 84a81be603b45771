//! SQL-level `PREPARE`, `EXECUTE` and `DEALLOCATE` in simple queries: the client's names become global ones.

use std::sync::Arc;

use bytes::Bytes;
use pointsman_sql::{Discard, Kind, executes, identifier, prepare_parts};
use pointsman_wire::backend::TransactionStatus;
use pointsman_wire::owed::{Ask, Deal};

use super::Session;
use super::judge::{Judged, Verdict};
use super::message;
use super::notes::{Note, StateNote};
use super::pins::Pins;
use super::request::Taken;
use super::simple::state_note;
use super::statements::{Origin, Prepared};

impl Session {
    /// The statement that a text executes, if that is all it does.
    pub(super) fn executed(&self, sql: &[u8], judged: &Judged) -> Option<Arc<Prepared>> {
        let statement = judged.facts.single()?;
        if !matches!(statement.kind, Kind::Execute(_)) || !statement.functions.is_empty() {
            return None;
        }
        let names = executes(sql, self.wants.rules());
        let [span] = names.as_slice() else { return None };
        self.statements.get(identifier(&sql[span.clone()]).as_bytes()).cloned()
    }

    /// Whether another statement runs a prepared one: `CREATE TABLE .. AS EXECUTE`, `EXPLAIN EXECUTE`.
    pub(super) fn executes_within(&self, sql: &[u8], judged: &Judged) -> bool {
        let may = |kind: &Kind| matches!(kind, Kind::Ddl | Kind::Explain { .. } | Kind::Other);
        !self.statements.is_empty()
            && judged.facts.statements.iter().any(|statement| may(&statement.kind))
            && !executes(sql, self.wants.rules()).is_empty()
    }

    /// What a prepared statement means under the catalog as it is now.
    pub(super) fn verdict_of(&self, prepared: &Prepared) -> Arc<Verdict> {
        prepared.verdict(&self.shared.account.database.catalog())
    }

    /// Sends a text with `PREPARE`, `EXECUTE` or `DEALLOCATE` in it, or answers it here.
    pub(super) fn send_named(&mut self, sql: &[u8], judged: &Judged) -> Taken {
        self.note_marks(judged.verdict.marks);
        let single = judged.facts.single().map(|statement| statement.kind.clone());
        // A failed transaction answers everything with the same error: nothing is defined or removed in it.
        let alive = self.status != TransactionStatus::Failed;
        match single {
            Some(Kind::Prepare(name)) if alive => self.send_prepare(sql, judged, name.as_bytes()),
            // Names that are the connection's own are dropped with the others.
            Some(Kind::Deallocate(None)) if self.pins.has(Pins::UNKNOWN) => {
                self.send_text(sql, state_note(judged));
            }
            Some(Kind::Deallocate(name)) if alive => self.deallocate(sql, name.as_deref()),
            Some(_) => self.send_execute(sql, state_note(judged)),
            // A name prepared among other statements stays the connection's own.
            None => {
                let mut dropped = Vec::new();
                for statement in &judged.facts.statements {
                    match &statement.kind {
                        Kind::Deallocate(name) => dropped.push(name.as_deref()),
                        Kind::Prepare(name) => {
                            self.pins.add(Pins::UNKNOWN);
                            if !dropped.contains(&None) && !dropped.contains(&Some(name)) {
                                self.stand_in_by_query(name);
                            }
                        }
                        _ => {}
                    }
                }
                self.send_execute(sql, state_note(judged));
            }
        }
        Taken::Done
    }

    fn send_prepare(&mut self, sql: &[u8], judged: &Judged, name: &[u8]) {
        if self.statements.get(name).is_some() {
            return self.send_duplicate(sql, name);
        }
        let Some(parts) = prepare_parts(sql, self.wants.rules()) else {
            self.pins.add(Pins::UNKNOWN);
            return self.send_text(sql, None);
        };
        if self.pins.has(Pins::UNKNOWN) {
            // The connection is the session's own, and so are the names on it.
            return self.send_text(sql, None);
        }
        let body = self.judged(&sql[parts.body.clone()]);
        let tail = Bytes::copy_from_slice(&sql[parts.name.end..]);
        let under = self.under();
        let prepared = self.shared.registry.get(Origin::Sql { tail, under }, &body);
        let Some(held) = &mut self.held else { return };
        if held.has(prepared.id) && self.owed.is_empty() {
            self.statements.define(name, prepared);
            return self.answer("PREPARE");
        }
        self.make_room_for_statement(prepared.id);
        let text = [b"PREPARE ".as_slice(), &prepared.global, &sql[parts.name.end..]].concat();
        self.flow.names_pending = true;
        let note = StateNote {
            facts: Arc::clone(&judged.facts),
            next: 0,
            configs: Vec::new(),
            defines: Some((name.into(), prepared)),
            names_done: false,
            doubtful: false,
        };
        self.send_text(&text, Some(Note::State(Box::new(note))));
    }

    /// The name is taken: the server is asked to prepare it twice, so that the error is its own.
    fn send_duplicate(&mut self, sql: &[u8], name: &[u8]) {
        self.stand_in_by_query(&String::from_utf8_lossy(name));
        self.send_text(sql, None);
    }

    fn deallocate(&mut self, sql: &[u8], name: Option<&str>) {
        match name {
            None => {
                let before = std::mem::take(&mut self.statements);
                self.undo_if_skipped(Note::Cleared(Box::new(before)));
                self.answer("DEALLOCATE ALL");
            }
            Some(name) => match self.statements.remove(name.as_bytes()) {
                Some(prepared) => {
                    self.undo_if_skipped(Note::Closed(name.as_bytes().into(), prepared));
                    self.answer("DEALLOCATE");
                }
                None => self.send_text(sql, None),
            },
        }
    }

    /// Notes what undoes a change of names that an error in the pipeline before it may make the server skip.
    fn undo_if_skipped(&mut self, note: Note) {
        if self.flow.unsynced {
            self.owed.push(Ask::Local(Bytes::new()), Deal::Forward, Some(note));
        }
    }

    /// Answers a simple query here, after everything that is owed.
    fn answer(&mut self, tag: &str) {
        // As any simple query does.
        self.statements.set_unnamed(None);
        if self.owed.is_empty() {
            self.io.settle_approved();
            self.io.to_client.extend(&message::command_complete(tag));
            self.io.to_client.extend(&message::ready(self.status.byte()));
            self.release_if_free();
        } else {
            // Replies are owed, so the transaction's status is not known here: the server answers in our place,
            // by an empty query whose EmptyQueryResponse becomes the tag.
            self.send_text(b"", Some(Note::Tag(Bytes::from(message::command_complete(tag)))));
        }
    }

    /// The text of a `Parse` that executes a prepared statement, with the client's names replaced, each prepared first.
    /// None if it executes none: `PREPARE` and `DEALLOCATE` are followed as they complete.
    pub(super) fn translate_names(&mut self, sql: &[u8], judged: &Judged) -> Option<Vec<u8>> {
        let follows = |kind: &Kind| matches!(kind, Kind::Prepare(_) | Kind::Deallocate(_));
        if judged.facts.statements.iter().all(|statement| follows(&statement.kind)) {
            return None;
        }
        let names = executes(sql, self.wants.rules());
        Some(self.with_global_names(sql, &names, Self::have))
    }

    /// SQL that prepares or drops a name which is the client's own, by the extended protocol: the server is given a
    /// statement of that name, so that it finds it there, as it would without us.
    pub(super) fn stand_in(&mut self, note: Option<&Note>) {
        let Some(Note::State(state)) = note else { return };
        let name = match state.facts.single().map(|statement| &statement.kind) {
            Some(Kind::Deallocate(Some(name)) | Kind::Prepare(name)) => name,
            _ => return,
        };
        if self.statements.get(name.as_bytes()).is_some() {
            self.stand_in_for(name.as_bytes());
        }
    }

    /// Has an empty statement of this name on the server, which is closed again before the next request.
    pub(super) fn stand_in_for(&mut self, name: &[u8]) {
        message::close_statement(&mut self.io.to_server, name);
        self.owed.push(Ask::Close, Deal::Swallow, None);
        message::frame(&mut self.io.to_server, b'P', &[name, b"\0", b"\0", &[0, 0]]);
        self.owed.push(Ask::Parse, Deal::Swallow, None);
        if let Some(held) = &mut self.held {
            held.lease.connection().to_close.push(Bytes::copy_from_slice(name));
        }
    }

    /// SQL that drops names, by the extended protocol: what follows in the pipeline may use them again. Returns what
    /// undoes it if the server skips the message.
    pub(super) fn drop_names(&mut self, note: Option<&Note>) -> Option<Note> {
        let Some(Note::State(state)) = note else { return None };
        match &state.facts.single()?.kind {
            Kind::Deallocate(Some(name)) => {
                self.statements.forget_own();
                let prepared = self.statements.remove(name.as_bytes())?;
                Some(Note::Closed(name.as_bytes().into(), prepared))
            }
            Kind::Deallocate(None) | Kind::Discard(Discard::All) => {
                if let Some(held) = &mut self.held {
                    held.forget_all();
                }
                Some(Note::Cleared(Box::new(std::mem::take(&mut self.statements))))
            }
            _ => None,
        }
    }

    /// The same before a simple query.
    fn stand_in_by_query(&mut self, name: &str) {
        if self.statements.get(name.as_bytes()).is_none() {
            return;
        }
        self.forget_server_unnamed();
        let quoted = pointsman_sql::quote_identifier(name);
        message::query(&mut self.io.to_server, format!("PREPARE {quoted} AS SELECT 1").as_bytes());
        self.owed.push(Ask::Query, Deal::Swallow, None);
        if let Some(held) = &mut self.held {
            held.lease.connection().to_close.push(Bytes::copy_from_slice(name.as_bytes()));
        }
    }

    /// Sends a text whose `EXECUTE`s name client statements, each prepared first where the connection lacks it.
    fn send_execute(&mut self, sql: &[u8], note: Option<Note>) {
        let names = executes(sql, self.wants.rules());
        let text = self.with_global_names(sql, &names, Self::prepare_by_query);
        self.send_text(&text, note);
    }

    /// The text with the client's names replaced by global ones, after `prepare` has been called for each.
    fn with_global_names(
        &mut self,
        sql: &[u8],
        names: &[std::ops::Range<usize>],
        prepare: fn(&mut Self, &Prepared),
    ) -> Vec<u8> {
        let mut text = Vec::with_capacity(sql.len() + 32);
        let mut copied = 0;
        for span in names {
            let name = identifier(&sql[span.clone()]);
            let Some(prepared) = self.statements.get(name.as_bytes()).cloned() else { continue };
            prepare(self, &prepared);
            text.extend_from_slice(&sql[copied..span.start]);
            text.extend_from_slice(&prepared.global);
            copied = span.end;
        }
        text.extend_from_slice(&sql[copied..]);
        text
    }
}
