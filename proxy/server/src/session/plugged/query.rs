//! Plugins before a simple query.

use std::sync::Arc;

use pointsman_plugin_host::Rewrite;
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::Query;

use super::super::judge::{Judged, Marks};
use super::super::request::Taken;
use super::super::{Session, message};
use super::answer::as_query;
use super::{Execution, Outcome, Plugged, shard_of};
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
        if self.flow.plugged.is_some() || self.flow.admission.is_some() {
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
        let mut asked = Asked::of_text(sql, self.wants.rules(), &judged.facts);
        let (facts, verdict) = match self.executed(&asked.sql, &judged) {
            Some(prepared) => (prepared.facts.clone(), self.verdict_of(&prepared)),
            None => (judged.facts.clone(), judged.verdict.clone()),
        };
        if !self.is_plugged(&facts, &verdict) {
            return Ok(Ok((header, judged)));
        }
        asked.body = (!Arc::ptr_eq(&facts, &judged.facts)).then(|| Arc::clone(&facts));
        let Some(question) = self.question(asked, &facts, &verdict) else { return Ok(Ok((header, judged))) };
        let (outcome, judges) = match self.ask_plugins(question).await {
            Ok(said) => said,
            Err(fault) => return self.refuse_query(header.frame_len(), fault).map(Err),
        };
        let (changes, by) = match outcome {
            Outcome::Answered(rows) if self.is_at_rest() => {
                self.answer_query(header.frame_len(), &rows, &facts);
                return Ok(Err(Taken::Done));
            }
            Outcome::Answered(rows) => (None, Some(as_query(&rows))),
            Outcome::Goes(changes) => {
                let by = changes.rewrite.as_ref().map(|Rewrite { sql, .. }| sql.clone());
                (Some(changes), by)
            }
        };
        let shard = changes.as_ref().and_then(shard_of);
        let execution = Execution { asked: changes.is_some().then_some(judges), changes };
        let executions = [execution].into();
        self.flow.plugged = Some(Box::new(Plugged { executions, shard, ..Plugged::default() }));
        let Some(by) = by else { return Ok(Ok((header, judged))) };
        let mut replaced = Buffer::default();
        message::query(&mut replaced, by.as_bytes());
        let header = self.replace_front(header.frame_len(), replaced).unwrap_or(header);
        let judged = self.judge_query(header.frame_len()).unwrap_or(judged);
        Ok(Ok((header, judged)))
    }
}
