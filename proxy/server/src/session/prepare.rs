//! Preparing a statement on the connection held, in the middle of whatever the client sends.

use bytes::{Bytes, BytesMut};
use pointsman_wire::Oids;
use pointsman_wire::backend::TransactionStatus;
use pointsman_wire::frontend::{Bind, Close, Execute, Parse, SYNC, Target};
use pointsman_wire::owed::{Ask, Deal};

use super::Session;
use super::notes::Note;
use super::statements::{GLOBAL_PREFIX, Origin, Prepared, Under};
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
}
