//! What the server's replies mean to the session: settings done or undone, transactions ended, pins asked for.

use std::sync::Arc;

use pointsman_cache::stats::NotStored;
use pointsman_sql::{Discard, Kind, Statement, TransactionModes};
use pointsman_wire::backend::{DataRow, TransactionStatus};
use pointsman_wire::frame::Header;
use pointsman_wire::owed::{Ask, Deal, Entry, Reply};

use super::Session;
use super::notes::{Note, StateNote};
use super::pins::Pins;
use super::relay::desync;
use super::statements::Statements;
use crate::fault::Fault;
use crate::upstream::settings::{Value, quote_text};

impl Session {
    /// CommandComplete or EmptyQueryResponse.
    pub(super) fn completed(&mut self, header: Header, reply: Reply<Note>) -> Result<(), Fault> {
        let frame_len = header.frame_len();
        self.retry_is_over(reply.deal);
        if self.flow.filling.is_some() && reply.deal == Deal::Forward {
            match header.tag {
                b'C' => self.filled(frame_len),
                _ => self.spoil(NotStored::NotPlain),
            }
        }
        let mut settled = reply.settled;
        let note = match &mut settled {
            Some(entry) => entry.effect.take(),
            None => self.owed.head_mut().and_then(|entry| entry.effect.take()),
        };
        match note {
            None => self.deal_whole(frame_len, reply.deal),
            Some(Note::Tag(tag)) => {
                self.io.drop_unscanned(frame_len);
                self.io.to_client.extend(&tag);
            }
            Some(Note::State(mut state)) => {
                let tag = &self.io.unscanned()[5..frame_len];
                let rolled_back = tag.starts_with(b"ROLLBACK");
                match header.tag {
                    b's' => self.settle_functions(&state),
                    _ => self.settle_next(&mut state, rolled_back),
                }
                self.deal_whole(frame_len, reply.deal);
                self.keep(settled, Note::State(state));
            }
            Some(other) => {
                self.deal_whole(frame_len, reply.deal);
                self.keep(settled, other);
            }
        }
        Ok(())
    }

    /// A simple query goes on after its first CommandComplete: its note stays beside it.
    fn keep(&mut self, settled: Option<Entry<Note>>, note: Note) {
        if settled.is_none()
            && let Some(head) = self.owed.head_mut()
        {
            head.effect = Some(note);
        }
    }

    fn deal_whole(&mut self, frame_len: usize, deal: Deal) {
        match deal {
            Deal::Swallow => self.io.drop_unscanned(frame_len),
            Deal::Forward => self.io.approved += frame_len,
        }
    }

    fn settle_next(&mut self, state: &mut StateNote, rolled_back: bool) {
        self.settle_functions(state);
        let index = state.next;
        state.next += 1;
        if let Some((name, prepared)) = state.defines.take() {
            if let Some(held) = &mut self.held {
                held.note_prepared(prepared.id);
            }
            self.statements.define(&name, prepared);
        }
        let facts = Arc::clone(&state.facts);
        if let Some(statement) = facts.statements.get(index) {
            self.settle_statement(statement, rolled_back, state.names_done);
        }
    }

    /// What the functions of the next statement have done, which may be suspended before its end.
    fn settle_functions(&mut self, state: &StateNote) {
        for (_, name, value) in state.configs.iter().filter(|(statement, ..)| *statement == state.next) {
            let value = Value::Text(value.clone());
            self.flow.probe_due |= name == "search_path" && value.mentions_temporary();
            self.wants.set(name, value);
        }
        if state.doubtful {
            self.pins.add(Pins::UNKNOWN);
        }
        self.settle_report();
    }

    /// `SET DateStyle` may name one half of the setting and keep the other: the server reports the whole.
    pub(super) fn settle_report(&mut self) {
        const NAME: &str = "datestyle";
        let (Some(held), Some(wanted)) = (&mut self.held, self.wants.client().get(NAME)) else { return };
        let reported = &held.lease.connection().reported;
        let Some((_, whole)) = reported.iter().find(|(name, _)| name.eq_ignore_ascii_case(NAME.as_bytes()))
        else {
            return;
        };
        let whole = Value::Text(String::from_utf8_lossy(whole).into_owned());
        if *wanted != whole && self.wants.server().get(NAME) == Some(wanted) {
            self.wants.set(NAME, whole);
        }
    }

    fn settle_statement(&mut self, statement: &Statement, rolled_back: bool, names_done: bool) {
        match &statement.kind {
            Kind::Set(setting) => {
                let value = Value::Statement(setting.set_statement());
                // What follows in the same text or pipeline may have made temporary objects along that path.
                self.flow.probe_due |= &*setting.name == "search_path" && value.mentions_temporary();
                if !setting.local {
                    self.wants.set(&setting.name, value);
                    self.settle_report();
                }
            }
            Kind::SetSessionCharacteristics(modes) => self.settle_characteristics(modes),
            Kind::Reset(name) => self.wants.reset(name),
            Kind::ResetAll => self.wants.reset_all(false),
            Kind::Discard(Discard::All) => self.discarded(names_done),
            Kind::Deallocate(name) => self.deallocated(name.as_deref(), names_done),
            Kind::Commit { .. } | Kind::Rollback { .. } if rolled_back => {
                self.wants.rollback();
                self.flow.failed = false;
            }
            Kind::Commit { .. } => {
                self.wants.commit();
                self.flow.failed = false;
            }
            Kind::Ddl => {
                let names = statement.writes.iter().map(|relation| &*relation.name);
                self.shared.account.database.altered(names);
            }
            Kind::Savepoint(name) => self.wants.savepoint(name),
            Kind::Release(name) => self.wants.release(name),
            Kind::RollbackTo(name) => {
                self.wants.rollback_to(name);
                self.flow.failed = false;
            }
            _ => {}
        }
    }

    fn settle_characteristics(&mut self, modes: &TransactionModes) {
        use pointsman_sql::Isolation;
        let level = modes.isolation.map(|isolation| match isolation {
            Isolation::ReadUncommitted => "read uncommitted",
            Isolation::ReadCommitted => "read committed",
            Isolation::RepeatableRead => "repeatable read",
            Isolation::Serializable => "serializable",
        });
        let switch = |on: bool| if on { "on" } else { "off" };
        let settings = [
            ("default_transaction_isolation", level),
            ("default_transaction_read_only", modes.read_only.map(switch)),
            ("default_transaction_deferrable", modes.deferrable.map(switch)),
        ];
        for (name, value) in settings {
            if let Some(value) = value {
                self.wants.set(name, Value::Statement(format!("SET {name} TO {}", quote_text(value))));
            }
        }
    }

    fn discarded(&mut self, names_done: bool) {
        self.wants.reset_all(true);
        if !names_done {
            self.statements = Statements::default();
        }
        self.pins.discard();
        if let Some(held) = &mut self.held {
            held.forget_all();
            held.lease.connection().unnamed = 0;
        }
    }

    /// `DEALLOCATE` that reached the server: by the extended protocol, or among other statements.
    fn deallocated(&mut self, name: Option<&str>, names_done: bool) {
        self.statements.forget_own();
        match name {
            Some(_) if names_done => {}
            Some(name) => {
                let removed = self.statements.remove(name.as_bytes());
                if let (Some(prepared), Some(held)) = (removed, &mut self.held) {
                    held.note_hollow(prepared.id);
                }
            }
            None => {
                if !names_done {
                    self.statements = Statements::default();
                }
                if let Some(held) = &mut self.held {
                    held.forget_all();
                }
            }
        }
    }

    /// ReadyForQuery.
    pub(super) fn ready(&mut self, header: Header, reply: Reply<Note>) -> Result<(), Fault> {
        let status = self.io.unscanned().get(5).copied().and_then(TransactionStatus::from_byte);
        let status = status.ok_or_else(|| desync(&"no transaction status"))?;
        let own = reply.deal == Deal::Swallow;
        self.status = status;
        if self.retry_now(own) {
            self.io.drop_unscanned(header.frame_len());
            return Ok(());
        }
        if self.owed.is_empty() {
            // A simple query or function call ends a pipeline as `Sync` does, if nothing before it failed.
            self.flow.unsynced = false;
        }
        if !own {
            self.flow.refusal = None;
            self.retry_goes_on();
            self.meter.ready(!self.owed.is_empty(), status == TransactionStatus::Idle);
            self.transaction_boundary(status);
            if self.owed.is_empty() {
                self.flow.overrun.disarm();
            }
        } else if self.status == TransactionStatus::Idle {
            // A question of our own may have told what the session holds.
            self.meter.settle(self.pins, self.statements.len(), self.wants.client());
        }
        self.deal_whole(header.frame_len(), reply.deal);
        Ok(())
    }

    fn transaction_boundary(&mut self, status: TransactionStatus) {
        if status != TransactionStatus::Idle {
            return;
        }
        if std::mem::take(&mut self.flow.failed) {
            self.wants.rollback();
        } else {
            self.wants.commit();
        }
        self.flow.portals.clear();
        self.shared.counters.transaction();
        self.meter.settle(self.pins, self.statements.len(), self.wants.client());
        self.count_traffic();
    }

    /// An ErrorResponse: whose it is, and what will never be answered.
    pub(super) fn failed(&mut self, reply: Reply<Note>) -> Result<Deal, Fault> {
        if self.asks_for_tags() {
            self.spoil(NotStored::NoTags);
            return Ok(Deal::Swallow);
        }
        self.flow.failed = true;
        let at_fault = reply.skipped.first().or_else(|| self.owed.head());
        let note = at_fault.and_then(|entry| entry.effect.as_ref());
        if matches!(note, Some(Note::CatchUp)) {
            // What follows on this connection would run under the wrong settings.
            return Err(Fault::upstream(
                "08006",
                "the session's settings could not be restored on a server connection",
            ));
        }
        // What we asked in a pipeline failed, and the client's messages behind it with it: the client is told. Where none
        // of the messages was the client's, it is told in answer to the query that they were for.
        let deal = match reply.skipped.is_empty() || self.ends_own_pipeline() {
            true => reply.deal,
            false => Deal::Forward,
        };
        let mut skipped = reply.skipped;
        if let Some(Entry { ask: Ask::Parse, effect: Some(Note::Unnamed(before)), .. }) = skipped.first_mut()
        {
            before.forget();
        }
        self.undo(skipped);
        Ok(deal)
    }

    /// Whether what is owed next ends a pipeline of nothing but our own messages.
    pub(super) fn ends_own_pipeline(&self) -> bool {
        self.owed.head().is_some_and(|head| head.ask == Ask::Sync && head.deal == Deal::Swallow)
    }

    /// Whether the statement is there is not known: it is closed before it is prepared again.
    pub(super) fn forget_prepared(&mut self, id: u64) {
        if let Some(held) = &mut self.held {
            held.note_hollow(id);
        }
    }

    /// Takes back what was noted for messages that the server skipped, newest first.
    pub(super) fn undo(&mut self, skipped: Vec<Entry<Note>>) {
        for entry in skipped.into_iter().rev() {
            match entry.effect {
                Some(Note::Defined { name, here }) => {
                    self.statements.remove(&name);
                    if let Some(id) = here {
                        self.forget_prepared(id);
                    }
                }
                Some(Note::Unnamed(before)) => {
                    self.statements.restore_unnamed(before);
                    if let Some(held) = &mut self.held {
                        // Which statement is there is not known: the next use prepares it again.
                        held.lease.connection().unnamed = u64::MAX;
                    }
                }
                Some(Note::Cleared(statements)) => self.statements = *statements,
                Some(Note::Closed(name, prepared)) => self.statements.define(&name, prepared),
                Some(Note::Here(id)) => self.forget_prepared(id),
                Some(Note::Evicted(id)) => {
                    if let Some(held) = &mut self.held {
                        let name = super::statements::global_name(id);
                        held.lease.connection().to_close.push(name);
                    }
                }
                Some(
                    Note::State(_)
                    | Note::Named(_)
                    | Note::Described(..)
                    | Note::OwnParameters(..)
                    | Note::ChangedResult
                    | Note::Refused(_)
                    | Note::CatchUp
                    | Note::Probe
                    | Note::TagsFrom
                    | Note::Tag(_),
                )
                | None => {}
            }
        }
    }

    /// A row of our own question.
    pub(super) fn probe_answer(&mut self, header: Header) {
        if self.asks_for_tags() {
            return self.take_tag(header);
        }
        if !matches!(self.owed.head().and_then(|head| head.effect.as_ref()), Some(Note::Probe)) {
            return;
        }
        let row = self.io.unscanned().get(5..header.frame_len());
        if let Some(Ok(row)) = row.map(DataRow::decode) {
            self.pins.answer(row.values.into_iter());
        }
    }
}
