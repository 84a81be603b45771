//! Preparing a statement on the connection held, in the middle of whatever the client sends.

use bytes::{Bytes, BytesMut};
use pointsman_sql::{Facts, Kind};
use pointsman_wire::Oids;
use pointsman_wire::backend::TransactionStatus;
use pointsman_wire::frontend::{Bind, Close, Execute, Parse, SYNC, Target};
use pointsman_wire::owed::{Ask, Deal};

use super::notes::Note;
use super::statements::{GLOBAL_PREFIX, Origin, Prepared, Under};
use super::{Session, message};
use crate::upstream::settings::{Settings, steps};

impl Session {
    /// What a statement is prepared under that the client sends now.
    pub(super) fn under(&mut self) -> Under {
        let alone = if self.flow.settings_pending { self.shared.registry.next_id() } else { 0 };
        let epoch = self.shared.account.database.epoch();
        Under { settings: self.wants.meaning(), epoch, alone }
    }

    /// Prepares a statement under the settings that it was first prepared under, whatever the client's are by now.
    pub(super) fn prepare_in_pipeline(&mut self, prepared: &Prepared) {
        self.meter.usage.server_parsed();
        let (then, now) = (&prepared.origin.under().settings, self.wants.meaning());
        // PostgreSQL itself follows a change of role.
        let others = (*then != now).then(|| (then.0.without_identity(), now.0.without_identity()));
        if let Some((then, now)) = &others {
            self.set_in_pipeline(now, then);
        }
        let note = || Some(Note::Here(prepared.id));
        match &prepared.origin {
            Origin::Protocol { sql, types, .. } => {
                self.send_encoded(|out| prepared.parse(sql, types, out));
                self.owed.push(Ask::Parse, Deal::Swallow, note());
            }
            Origin::Sql { .. } => self.run_in_pipeline(b"prepare", &prepared.prepare_statement(), note),
        }
        if let Some((then, now)) = &others {
            self.set_in_pipeline(then, now);
        }
        if self.flow.settings_pending {
            // Under which settings is not known: it is not for anybody else, nor for later.
            self.forget_prepared(prepared.id);
        }
    }

    /// Sets what differs between two sets of settings. If one cannot be set, the server skips to the client's `Sync`,
    /// and undoes the others with the transaction.
    fn set_in_pipeline(&mut self, has: &Settings, wants: &Settings) {
        for sql in steps(has, wants) {
            self.run_in_pipeline(b"set", sql.as_bytes(), || None);
        }
    }

    /// Runs a statement of our own, under a name of our own, without ending the pipeline. An earlier one that failed may
    /// have left that name taken.
    pub(super) fn run_in_pipeline(&mut self, word: &[u8], sql: &[u8], note: impl Fn() -> Option<Note>) {
        let name = &[GLOBAL_PREFIX.as_bytes(), word].concat();
        self.send_encoded(|out| {
            Close { target: Target::Statement, name }.encode(out);
            Parse { name, sql, parameter_types: Oids::EMPTY }.encode(out);
            Bind { portal: name, statement: name, rest: &[0; 6] }.encode(out);
            Execute { portal: name, max_rows: 0 }.encode(out);
            Close { target: Target::Portal, name }.encode(out);
            Close { target: Target::Statement, name }.encode(out);
        });
        for ask in [Ask::Close, Ask::Parse, Ask::Bind, Ask::Execute, Ask::Close, Ask::Close] {
            self.owed.push(ask, Deal::Swallow, note());
        }
    }

    /// Has a statement prepared before a simple query that executes it. If that fails, the query fails, too, and the
    /// client is told of the first failure in place of the second.
    pub(super) fn prepare_by_query(&mut self, prepared: &Prepared) {
        let failed = self.status == TransactionStatus::Failed;
        let Some(held) = &mut self.held else { return };
        if failed || held.has(prepared.id) {
            return;
        }
        if prepared.may_give_other_columns(&self.shared.account.database) {
            if held.may_have(prepared.id) {
                self.make_room_for_statement(prepared.id);
            }
            self.owed.push(Ask::Local(Bytes::new()), Deal::Forward, Some(Note::ChangedResult));
            return;
        }
        self.make_room_for_statement(prepared.id);
        if let Some(held) = &mut self.held {
            held.note_prepared(prepared.id);
            held.lease.connection().unnamed = 0;
        }
        self.prepare_in_pipeline(prepared);
        if !self.flow.unsynced {
            // A query that follows a failure without `Sync` would never be answered.
            self.io.to_server.extend(SYNC);
            self.owed.push(Ask::Sync, Deal::Swallow, None);
        }
    }

    pub(super) fn send_encoded(&mut self, encode: impl FnOnce(&mut BytesMut)) {
        let mut out = BytesMut::new();
        encode(&mut out);
        self.io.to_server.extend(&out);
    }

    /// Has a statement prepared on the connection.
    pub(super) fn have(&mut self, prepared: &Prepared) {
        let Some(held) = &mut self.held else { return };
        if held.has(prepared.id) {
            return;
        }
        if prepared.may_give_other_columns(&self.shared.account.database) {
            return self.refuse_changed_result();
        }
        self.make_room_for_statement(prepared.id);
        if self.status == TransactionStatus::Failed && !ends_transaction(&prepared.facts) {
            return self.have_hollow(prepared);
        }
        if let Some(held) = &mut self.held {
            held.note_prepared(prepared.id);
        }
        self.prepare_in_pipeline(prepared);
    }

    /// Has the server refuse what follows up to `Sync`, as it would if it still had the statement as it was.
    fn refuse_changed_result(&mut self) {
        message::frame(&mut self.io.to_server, b'P', &[b"\0", b"=\0", &[0, 0]]);
        self.owed.push(Ask::Parse, Deal::Forward, Some(Note::ChangedResult));
        self.set_server_unnamed(0);
    }

    /// In a failed transaction nothing can be prepared but an empty statement; so that the error comes where it would
    /// come without us, an empty one stands in for the statement.
    fn have_hollow(&mut self, prepared: &Prepared) {
        message::frame(&mut self.io.to_server, b'P', &[&prepared.global, b"\0", b"\0", &[0, 0]]);
        self.owed.push(Ask::Parse, Deal::Swallow, Some(Note::Here(prepared.id)));
        if let Some(held) = &mut self.held {
            held.note_hollow(prepared.id);
        }
    }

    /// Has the client's unnamed statement, or none, on the connection.
    pub(super) fn have_unnamed(&mut self) {
        let wanted = self.statements.unnamed().map_or(0, |unnamed| unnamed.id);
        let Some(held) = &mut self.held else { return };
        if held.lease.connection().unnamed == wanted {
            return;
        }
        held.lease.connection().unnamed = wanted;
        match self.statements.unnamed() {
            Some(unnamed) => {
                message::frame(&mut self.io.to_server, b'P', &[&unnamed.parse]);
                self.owed.push(Ask::Parse, Deal::Swallow, None);
            }
            // Another client's unnamed statement is there: it must not answer for a missing one.
            None => {
                message::close_statement(&mut self.io.to_server, b"");
                self.owed.push(Ask::Close, Deal::Swallow, None);
            }
        }
    }

    pub(super) fn set_server_unnamed(&mut self, id: u64) {
        if let Some(held) = &mut self.held {
            held.lease.connection().unnamed = id;
        }
    }

    /// Before statement `id` is prepared: closes what may stand under its name, or the least recently used statement if
    /// the connection is full of them.
    pub(super) fn make_room_for_statement(&mut self, id: u64) {
        let Some(held) = &mut self.held else { return };
        if held.may_have(id) {
            message::close_statement(&mut self.io.to_server, &super::statements::global_name(id));
            self.owed.push(Ask::Close, Deal::Swallow, None);
            return;
        }
        let prepared = &mut held.lease.connection().prepared;
        if prepared.len() < prepared.cap().get() {
            return;
        }
        let Some((id, _)) = prepared.pop_lru() else { return };
        message::close_statement(&mut self.io.to_server, &super::statements::global_name(id));
        self.owed.push(Ask::Close, Deal::Swallow, Some(Note::Evicted(id)));
    }
}

/// Whether a failed transaction lets the statement through.
fn ends_transaction(facts: &Facts) -> bool {
    let ends =
        |kind: &Kind| matches!(kind, Kind::Commit { .. } | Kind::Rollback { .. } | Kind::RollbackTo(_));
    facts.single().is_some_and(|statement| ends(&statement.kind))
}
