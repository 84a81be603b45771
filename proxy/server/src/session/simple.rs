//! Simple queries: one text, one ReadyForQuery.

use std::sync::Arc;

use bytes::Bytes;
use pointsman_sql::Facts;
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::Query;
use pointsman_wire::owed::{Ask, Deal};

use super::admission::Admission;
use super::cached::Execution;
use super::io::Io;
use super::judge::{Judged, Marks, Verdict};
use super::notes::{Note, StateNote};
use super::request::{Request, Taken};
use super::shards::Routed;
use super::{Session, message};
use crate::fault::Fault;
use crate::metrics::StatementKind;
use crate::transport::buffer::Buffer;
use crate::upstream::settings::Value;

impl Session {
    pub(super) async fn simple(&mut self, mut header: Header) -> Result<Taken, Fault> {
        let mut frame_len = header.frame_len();
        if self.has_failed_here()
            && let Some(taken) = self.answer_failed_query(frame_len)?
        {
            return Ok(taken);
        }
        let Some(mut judged) = self.judge_query(frame_len) else { return self.malformed(frame_len).await };
        match self.arrange_query(header, judged).await? {
            Ok(found) => (header, judged) = found,
            Err(taken) => return Ok(taken),
        }
        frame_len = header.frame_len();
        if judged.is_uncertain() {
            self.await_functions(&judged.verdict).await;
            judged = self.judge_query(frame_len).unwrap_or(judged);
        }
        let sql = query_text(&self.io, frame_len).unwrap_or_default();
        let naming = judged.has(Marks::NAMES) || self.executes_within(sql, &judged);
        if naming && self.stalls_on_names() {
            return Ok(Taken::NotNow);
        }
        let sql = query_text(&self.io, frame_len).unwrap_or_default();
        self.count_template(&judged);
        let named = naming.then(|| sql.to_vec());
        let (facts, verdict) = match named.as_deref().and_then(|sql| self.executed(sql, &judged)) {
            Some(prepared) => (Arc::clone(&prepared.facts), self.verdict_of(&prepared)),
            None => (Arc::clone(&judged.facts), Arc::clone(&judged.verdict)),
        };
        let decision = match self.query_admission(frame_len, &facts, &verdict) {
            Ok(decision) => decision,
            Err(fault) => return self.refuse_query(frame_len, fault),
        };
        let wanted = self.wanted(decision.as_deref(), query_text(&self.io, frame_len).unwrap_or_default());
        let shared = &facts;
        let (facts, verdict) = (&**shared, &*verdict);
        let request = Request::of(facts, verdict, decision.as_deref(), wanted);
        if self.hold_back_query(frame_len, &request) {
            return Ok(Taken::Done);
        }
        if request.is_cached() && named.is_none() && self.serve_query(frame_len, &request, shared).await? {
            return Ok(Taken::Done);
        }
        match self.perform_on(Some(&request)).await {
            Ok(true) => {}
            Ok(false) => return Ok(self.keep_admission(Ok(decision))),
            Err(fault) => return self.refuse_query(frame_len, fault),
        }
        self.limit_time();
        self.count(verdict.kind);
        if self.is_for_primary(verdict.marks) {
            self.io.from_client.consume(frame_len);
            self.refuse_query_on_replica();
            return Ok(Taken::Done);
        }
        self.note_retry(verdict.marks.has(Marks::READ), frame_len);
        if verdict.marks.has(Marks::WRITE) {
            self.mark_written(&verdict.footprint);
            self.note_query_write(frame_len, facts, verdict, named.is_some());
        }
        self.note_ending(judged.verdict.marks);
        self.begin_filling();
        Ok(self.send_query(frame_len, named.as_deref(), &judged))
    }

    /// Asks the plugins that are to be asked of the query at the front of the inbox, and turns to its shard. What is there then, or what
    /// became of it.
    async fn arrange_query(
        &mut self,
        header: Header,
        judged: Judged,
    ) -> Result<Result<(Header, Judged), Taken>, Fault> {
        let (mut header, mut judged) = (header, judged);
        if self.shared.policies.load().set.names_plugins() {
            match self.plug_query(header, judged).await? {
                Ok(found) => (header, judged) = found,
                Err(taken) => return Ok(Err(taken)),
            }
        }
        if self.shards.is_some() {
            return self.find_shard(header, judged).await;
        }
        Ok(Ok((header, judged)))
    }

    /// Fills in the ids that the query at the front of the inbox needs, and turns to its shard; or takes it, if it is for several.
    async fn find_shard(
        &mut self,
        header: Header,
        judged: Judged,
    ) -> Result<Result<(Header, Judged), Taken>, Fault> {
        let filled = match self.fill_query(header, &judged).await {
            Ok(filled) => filled,
            Err(fault) => return self.refuse_query(header.frame_len(), fault).map(Err),
        };
        let (header, mut judged) = match filled {
            Some(filled) => (filled, self.judge_query(filled.frame_len()).unwrap_or(judged)),
            None => (header, judged),
        };
        if judged.is_uncertain() {
            self.await_functions(&judged.verdict).await;
            judged = self.judge_query(header.frame_len()).unwrap_or(judged);
        }
        Ok(match self.route_query(header, judged).await? {
            Routed::Here(judged) => Ok((header, judged)),
            Routed::Done(taken) => Err(taken),
        })
    }

    /// Sends the query; one that names statements as the server knows them.
    fn send_query(&mut self, frame_len: usize, named: Option<&[u8]>, judged: &Judged) -> Taken {
        match named {
            Some(sql) => {
                self.io.from_client.consume(frame_len);
                self.send_named(sql, judged)
            }
            None => {
                let note = state_note(judged);
                self.note_marks(judged.verdict.marks);
                self.send_frame(frame_len);
                self.owe_query(note);
                Taken::Done
            }
        }
    }

    fn hold_back_query(&mut self, frame_len: usize, request: &Request<'_>) -> bool {
        let kind = request.verdict.kind;
        if kind != StatementKind::Transaction || self.held.is_some() {
            return false;
        }
        let sql = query_text(&self.io, frame_len).unwrap_or_default().to_vec();
        let taken = self.hold_back(&sql, request);
        if taken {
            self.io.from_client.consume(frame_len);
            self.count(kind);
        }
        taken
    }

    /// What a query writes, as the cache must hear of it; of one that executes another, the values are not known.
    fn note_query_write(&mut self, frame_len: usize, facts: &Facts, verdict: &Verdict, named: bool) {
        let inbox = std::mem::take(&mut self.io.from_client);
        let sql = text_at(&inbox, frame_len).filter(|_| !named).unwrap_or_default();
        self.note_write(facts, verdict, &Execution::of_text(sql));
        self.io.from_client = inbox;
    }

    pub(super) fn judge_query(&self, frame_len: usize) -> Option<Judged> {
        let sql = query_text(&self.io, frame_len)?;
        Some(self.judged(sql))
    }

    /// What the rules say of the query. They look at its text where it is: in the inbox, which is put aside meanwhile.
    pub(super) fn query_admission(
        &mut self,
        frame_len: usize,
        facts: &Facts,
        verdict: &Verdict,
    ) -> Admission {
        let inbox = std::mem::take(&mut self.io.from_client);
        let admission = self.admission(facts, verdict, text_at(&inbox, frame_len).unwrap_or_default());
        self.io.from_client = inbox;
        admission
    }

    /// A query that is no text: the server says so.
    async fn malformed(&mut self, frame_len: usize) -> Result<Taken, Fault> {
        match self.perform_on(None).await {
            Ok(true) => {}
            Ok(false) => return Ok(Taken::NotNow),
            Err(fault) => return self.refuse_query(frame_len, fault),
        }
        self.send_frame(frame_len);
        self.owe_query(None);
        Ok(Taken::Done)
    }

    /// Sends a text of our own making in place of the client's.
    pub(super) fn send_text(&mut self, sql: &[u8], note: Option<Note>) {
        message::query(&mut self.io.to_server, sql);
        self.owe_query(note);
    }

    /// A simple query does away with the unnamed statement, the client's and the server's; unless an error before it makes
    /// the server skip it, or what came before it is asked again.
    fn owe_query(&mut self, note: Option<Note>) {
        let before = self.statements.set_unnamed(None);
        if self.flow.unsynced || self.flow.retry.has_earlier() {
            self.owed.push(Ask::Local(Bytes::new()), Deal::Forward, Some(Note::Unnamed(before)));
        }
        self.owed.push(Ask::Query, Deal::Forward, note);
        if let Some(held) = &mut self.held {
            held.lease.connection().unnamed = 0;
        }
    }

    /// Notes what must be asked or done after the text.
    pub(super) fn note_marks(&mut self, marks: Marks) {
        if marks.has(Marks::TAKES) || (marks.has(Marks::GIVES) && self.pins.any_asked()) {
            self.flow.probe_due = true;
        }
        if marks.has(Marks::STATE) || marks.has(Marks::NAMES) {
            self.flow.names_pending = true;
        }
        self.flow.settings_pending |= marks.has(Marks::STATE);
        if marks.has(Marks::DDL) {
            self.flow.definitions_changed = true;
            // Whether an unqualified name became a temporary object, its text does not show.
            let path = self.wants.client().get("search_path");
            self.flow.probe_due |= path.is_some_and(Value::mentions_temporary);
        }
    }
}

/// The text of the `Query` at the front of what came from the client; None if it is malformed.
fn query_text(io: &Io, frame_len: usize) -> Option<&[u8]> {
    text_at(&io.from_client, frame_len)
}

fn text_at(inbox: &Buffer, frame_len: usize) -> Option<&[u8]> {
    Query::decode(inbox.bytes().get(5..frame_len)?).ok().map(|query| query.sql)
}

/// What has to be settled as the text's statements complete.
pub(super) fn state_note(judged: &Judged) -> Option<Note> {
    if !judged.has(Marks::STATE) {
        return None;
    }
    let configs = judged.configs.resolve(None);
    Some(Note::State(Box::new(StateNote {
        facts: judged.facts.clone(),
        next: 0,
        doubtful: judged.has(Marks::DOUBTFUL) || configs.is_none(),
        configs: configs.unwrap_or_default(),
        defines: None,
        names_done: false,
    })))
}
