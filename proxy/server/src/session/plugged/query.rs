//! Plugins before a simple query.

use std::sync::Arc;

use pointsman_plugin_host::Rewrite;
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::Query;

use super::super::judge::{Judged, Marks};
use super::super::request::Taken;
use super::super::{Session, message};
use super::answer::as_query;
use super::{Outcome, Plugged, shard_of};
use crate::fault::Fault;
use crate::plugins::asked::Asked;
use crate::transport::buffer::Buffer;

impl Session {
    /// Asks the plugins that rules name for the query at the front of the inbox. What is there then, or what became of it.
    pub(in crate::session) async fn plug_query(
        &mut self,
        header: Header,
        judged: Judged,
    ) -> Result<Result<(Header, Judged), Taken>, Fault> {
        if self.flow.plugged.were_asked() || self.flow.admission.is_some() {
            return Ok(Ok((header, judged)));
        }
        if judged.has(Marks::NAMES) && self.stalls_on_names() {
            return Ok(Err(Taken::NotNow));
        }
        let mut judged = judged;
        if self.shared.account.database.is_catalog_awaited() {
            self.await_catalog().await;
            judged = self.judge_query(header.frame_len()).unwrap_or(judged);
        }
        let body = self.io.from_client.bytes().get(5..header.frame_len()).unwrap_or_default();
        let Ok(Query { sql }) = Query::decode(body) else { return Ok(Ok((header, judged))) };
        let mut asked = Asked::of_text(sql, self.wants.rules(), &judged);
        let (facts, verdict) = match self.executed(&asked.sql, &judged) {
            Some(prepared) => (prepared.facts.clone(), self.verdict_of(&prepared)),
            None => (judged.facts.clone(), judged.verdict.clone()),
        };
        if !self.is_plugged(&facts, &verdict) {
            return Ok(Ok((header, judged)));
        }
        asked.body = (!Arc::ptr_eq(&facts, &judged.facts)).then(|| Arc::clone(&facts));
        let Some(question) = self.question(asked, &facts, &verdict) else { return Ok(Ok((header, judged))) };
        let outcome = match self.ask_plugins(&question).await {
            Ok(outcome) => outcome,
            Err(fault) => return self.refuse_query(header.frame_len(), fault).map(Err),
        };
        let (changes, whole, by) = match outcome {
            Outcome::Answered(rows) if self.is_at_rest() => {
                self.answer_query(header.frame_len(), &rows, &facts);
                return Ok(Err(Taken::Done));
            }
            Outcome::Answered(rows) => (None, true, Some(as_query(&rows))),
            Outcome::Goes(changes, whole) => {
                let by = changes.rewrite.as_ref().map(|Rewrite { sql, .. }| sql.clone());
                (Some(changes), whole, by)
            }
        };
        let shard = changes.as_ref().and_then(shard_of);
        self.flow.plugged = Plugged::of([question.execution(changes, whole)].into(), shard);
        let Some(by) = by else {
            // The rules need not be asked again.
            self.flow.decided = Some(question.decision);
            return Ok(Ok((header, judged)));
        };
        self.flow.replaced = true;
        let mut replaced = Buffer::default();
        message::query(&mut replaced, by.as_bytes());
        let header = self.replace_front(header.frame_len(), replaced).unwrap_or(header);
        let judged = self.judge_query(header.frame_len()).unwrap_or(judged);
        Ok(Ok((header, judged)))
    }
}
