//! `BEGIN READ ONLY` is held back: the first statement shows where the transaction can run. If that is provably a read, a
//! replica serves all of it; else the primary does. The client hears of the beginning at once.
//!
//! Only a request that does nothing else is held back. A batch that goes on with reads needs no waiting: it goes to a
//! replica as a whole. Any other beginning goes to the primary.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use pointsman_policy::{Access, Decision, Role, Route};
use pointsman_sql::{Facts, Isolation, Kind, TransactionModes};
use pointsman_wire::backend::TransactionStatus;
use tokio::time::{Instant, Sleep};

use super::held::Snapshot;
use super::judge::{Marks, Verdict};
use super::notes::Note;
use super::request::Request;
use super::{Session, message};
use crate::fault::Fault;

/// The setting by which a client bounds its own idleness; a server can keep it only from the beginning.
pub(super) const IDLE_TIMEOUT: &str = "idle_in_transaction_session_timeout";

/// A transaction that the client has begun and no server knows of yet. If the session's status says that it has failed, no
/// server ever will.
#[derive(Debug)]
pub(super) struct Begun {
    /// The text that begins it.
    sql: Bytes,
    /// Its first snapshot serves all of it: what it will read must be there from its first statement on.
    pub one_snapshot: bool,
    /// Its first statement goes to the primary, whatever it is.
    for_primary: bool,
    idle: Option<Idle>,
}

/// How long the client may be idle.
#[derive(Debug)]
pub(super) struct Idle {
    limit: Duration,
    timer: Pin<Box<Sleep>>,
}

impl Idle {
    /// From now on.
    pub fn new(limit: Duration) -> Self {
        Self { limit, timer: Box::pin(tokio::time::sleep(limit)) }
    }

    /// Ready when the client has been idle for too long.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }

    /// The client was answered: its idleness begins anew.
    pub fn answered(&mut self) {
        self.timer.as_mut().reset(Instant::now() + self.limit);
    }
}

impl Begun {
    /// Ready when the client has been idle for too long.
    pub fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.idle.as_mut().map_or(Poll::Pending, |idle| idle.poll(cx))
    }

    /// The client was answered.
    pub fn answered(&mut self) {
        if let Some(idle) = &mut self.idle {
            idle.answered();
        }
    }
}

impl Session {
    /// Takes a simple query that begins a transaction which a replica may serve; false if it is anything else.
    pub(super) fn hold_back(&mut self, sql: &[u8], request: &Request<'_>) -> bool {
        let Some(tag) = begin_tag(sql).filter(|_| self.may_hold_back(request)) else { return false };
        let for_primary = !self.may_begin_on_replica(request);
        self.begin_here(Bytes::copy_from_slice(sql), request.facts, for_primary);
        self.statements.set_unnamed(None);
        self.io.settle_approved();
        self.io.to_client.extend(&message::command_complete(tag));
        self.io.to_client.extend(&message::ready(self.status.byte()));
        true
    }

    /// The same for a batch of the extended protocol.
    pub(super) fn hold_back_batch(
        &mut self,
        len: usize,
        decision: Option<&Decision>,
        wanted: Option<Route>,
    ) -> bool {
        if self.held.is_some() {
            return false;
        }
        let Some(lone) = self.lone(len).filter(|lone| begins(&lone.facts)) else { return false };
        let Some(tag) = begin_tag(&lone.sql) else { return false };
        let request = Request::of(&lone.facts, &lone.verdict, decision, wanted);
        if !self.may_hold_back(&request) {
            return false;
        }
        let for_primary = !self.may_begin_on_replica(&request);
        self.begin_here(lone.sql.clone(), &lone.facts, for_primary);
        self.count(lone.verdict.kind);
        self.answer_lone(len, lone, tag);
        true
    }

    /// Whether the request begins a transaction that a replica may serve, or one of a sharded database.
    fn may_hold_back(&self, request: &Request<'_>) -> bool {
        let free = self.held.is_none() && self.flow.begun.is_none() && !self.spans();
        if !free || !begins(request.facts) {
            return false;
        }
        // Which shard a transaction is for, its first statement says.
        self.shards.is_some() || self.may_begin_on_replica(request)
    }

    fn may_begin_on_replica(&self, request: &Request<'_>) -> bool {
        if self.wants.client().get(IDLE_TIMEOUT).is_some() {
            return false;
        }
        let (_, reader) = self.look_for_reader(request);
        self.plan(request, reader.is_some()).role() == Some(Role::Replica)
    }

    fn begin_here(&mut self, sql: Bytes, facts: &Facts, for_primary: bool) {
        if self.may_span() {
            self.begin_spanning(&sql, false);
            return;
        }
        let limit = self.shared.cluster.config().pool.idle_transaction_timeout;
        let idle = limit.map(Idle::new);
        let one_snapshot = self.keeps_snapshot(facts);
        self.flow.begun = Some(Box::new(Begun { sql, one_snapshot, for_primary, idle }));
        self.status = TransactionStatus::InTransaction;
    }

    /// Whether a batch that begins so may go on on a replica, if all the rest of it is reads. One whose first snapshot
    /// serves all that follows must see more than its first reads name.
    pub(super) fn may_open_on_replica(&self, facts: &Facts, verdict: &Verdict) -> bool {
        let request = Request::of(facts, verdict, None, None);
        !self.keeps_snapshot(facts) && self.plan(&request, true).role() == Some(Role::Replica)
    }

    fn keeps_snapshot(&self, facts: &Facts) -> bool {
        let default = || self.wants.client().says("default_transaction_isolation", "repeatable read");
        beginning(facts)
            .is_some_and(|modes| modes.isolation.map_or_else(default, |is| is == Isolation::RepeatableRead))
    }

    /// Whether the first statement of a transaction that was held back, or one that begins none, may go to a replica.
    pub(super) fn may_leave_primary(&self, facts: &Facts, verdict: &Verdict) -> bool {
        match &self.flow.begun {
            Some(begun) => !begun.for_primary && verdict.class.access == Access::Read,
            None => verdict.class.access == Access::Read || !begins(facts),
        }
    }

    /// Sends what was held back, in front of the statement: if it failed, the server would skip that, too.
    pub(super) fn send_held_back(&mut self) {
        let Some(begun) = self.flow.begun.take() else { return };
        self.run_in_pipeline(b"begin", &begun.sql, || Some(Note::CatchUp));
        if let Some(held) = &mut self.held {
            held.snapshot = if begun.one_snapshot { Snapshot::Taken } else { Snapshot::Each };
        }
        self.status = TransactionStatus::InTransaction;
        self.flow.retry.note_begun(begun);
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

/// The modes of the transaction that a text begins, if that is all it does.
pub(super) fn beginning(facts: &Facts) -> Option<&TransactionModes> {
    match &facts.single()?.kind {
        Kind::Begin(modes) => Some(modes),
        _ => None,
    }
}

/// Whether a text begins a transaction and does nothing else.
pub(super) fn begins(facts: &Facts) -> bool {
    beginning(facts).is_some()
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

/// The client was idle for too long in a transaction that no server knows of: PostgreSQL's own words.
pub(super) fn idle_too_long() -> Fault {
    Fault::client("25P03", "terminating connection due to idle-in-transaction timeout")
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
