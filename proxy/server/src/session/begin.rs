//! `BEGIN READ ONLY` is held back: the first statement shows where the transaction can run. If that is provably a read, a
//! replica serves all of it; else the primary does. The client hears of the beginning at once.
//!
//! Only a simple query that does nothing else is held back; any other beginning goes to the primary.

use bytes::Bytes;
use pointsman_policy::{Access, Role};
use pointsman_sql::{Facts, Kind};
use pointsman_wire::backend::TransactionStatus;

use super::judge::{Marks, Verdict};
use super::notes::Note;
use super::request::Request;
use super::{Session, message};
use crate::fault::Fault;

impl Session {
    /// Takes a simple query that begins a transaction which a replica may serve; false if it is anything else.
    pub(super) fn hold_back(&mut self, sql: &[u8], request: &Request<'_>) -> bool {
        let begins = request.facts.single().is_some_and(|statement| matches!(statement.kind, Kind::Begin(_)));
        let free = self.held.is_none() && self.flow.begun.is_none();
        let Some(tag) = begin_tag(sql).filter(|_| begins && free) else { return false };
        let (_, reader) = self.look_for_reader(request.verdict, request.decision);
        if self.plan(request, reader.is_some()).role() != Some(Role::Replica) {
            return false;
        }
        self.flow.begun = Some(Bytes::copy_from_slice(sql));
        self.status = TransactionStatus::InTransaction;
        self.statements.set_unnamed(None);
        self.io.settle_approved();
        self.io.to_client.extend(&message::command_complete(tag));
        self.io.to_client.extend(&message::ready(self.status.byte()));
        true
    }

    /// Whether the first statement of a transaction that was held back, or one that begins none, may go to a replica.
    pub(super) fn may_leave_primary(&self, facts: &Facts, verdict: &Verdict) -> bool {
        let begins = facts.single().is_some_and(|statement| matches!(statement.kind, Kind::Begin(_)));
        verdict.class.access == Access::Read || (self.flow.begun.is_none() && !begins)
    }

    /// Sends what was held back, in front of the statement: if it failed, the server would skip that, too.
    pub(super) fn send_held_back(&mut self) {
        let Some(sql) = self.flow.begun.take() else { return };
        self.run_in_pipeline(b"begin", &sql, || Some(Note::CatchUp));
        self.status = TransactionStatus::InTransaction;
    }

    /// Whether a statement must not run in the transaction that is open on a replica, though that may take it.
    pub(super) fn is_for_primary(&self, marks: Marks) -> bool {
        let unfit = marks.has(Marks::PRIMARY) || marks.has(Marks::TAKES) || marks.has(Marks::DOUBTFUL);
        unfit && self.is_on_replica() && self.status == TransactionStatus::InTransaction
    }

    /// In place of a simple query that is for the primary: the server is made to refuse something, so that the
    /// transaction fails, and the client is told why.
    pub(super) fn refuse_query_on_replica(&mut self) {
        self.send_refused_query(for_primary());
    }

    /// The same in place of `Parse` or `Bind`.
    pub(super) fn refuse_message_on_replica(&mut self) {
        self.send_refused_message(for_primary());
    }

    /// The properties of the statement that a client calls so.
    pub(super) fn marks_of(&self, name: &[u8]) -> Option<Marks> {
        match name {
            b"" => self.statements.unnamed().map(|unnamed| unnamed.verdict.marks),
            _ => self.statements.get(name).map(|prepared| self.verdict_of(prepared).marks),
        }
    }
}

/// What completes the command; none if the text begins with anything but the command's first word.
fn begin_tag(sql: &[u8]) -> Option<&'static str> {
    let sql = sql.trim_ascii_start();
    let begins = |word: &[u8]| sql.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    match () {
        () if begins(b"begin") => Some("BEGIN"),
        () if begins(b"start") => Some("START TRANSACTION"),
        () => None,
    }
}

/// The error of a statement that is for the primary, in a transaction on a replica.
fn for_primary() -> Fault {
    Fault::pointsman("25006", "cannot execute this statement in a read-only transaction on a replica").hint(
        "Begin the transaction READ WRITE, or make this its first statement: then the primary serves it.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_postgresqls() {
        assert_eq!(begin_tag(b" Begin read only"), Some("BEGIN"));
        assert_eq!(begin_tag(b"START TRANSACTION READ ONLY"), Some("START TRANSACTION"));
        assert_eq!(begin_tag(b"/* START */ BEGIN READ ONLY"), None);
    }
}
