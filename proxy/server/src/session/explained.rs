//! `EXPLAIN ROUTE statement`: why the statement would go where it would go, now and in this session. It is decided and
//! planned by the functions that perform it; the client gets the answer as the rows of a query that stands in its place,
//! so that every driver and either protocol can ask.

use std::sync::Arc;

use pointsman_plugin_host::Rows;
use pointsman_policy::{Question, explain};
use pointsman_sql::{ClientEncoding, explain_route};
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::{Parse, Query};

use super::extended::count;
use super::judge::judge;
use super::plugged::{Plugged, as_query};
use super::request::Request;
use super::steer::Asked;
use super::{Session, message};
use crate::transport::buffer::Buffer;

impl Session {
    /// The same as [`Self::explain_in_place`] for a `Query`, with a catalog that is known: the query itself would wait for it.
    pub(super) async fn explain_query(&mut self, header: Header) -> Header {
        if self.asks_for_route(header).is_some() {
            self.await_all_catalogs().await;
            if self.shared.account.database.is_catalog_awaited() {
                self.await_catalog().await;
            }
        }
        let Some(explained) = self.explain_in_place(header) else { return header };
        // The explanation is ours: plugins have nothing to say of it.
        self.flow.plugged = Plugged::Silent;
        explained
    }

    /// Replaces the `Query` or `Parse` at the front of the inbox by a query for its explanation, if it asks for one. Returns
    /// the header of what is there then; `None`: it asks for none.
    pub(super) fn explain_in_place(&mut self, header: Header) -> Option<Header> {
        let frame = self.asks_for_route(header)?;
        let mut replaced = Buffer::default();
        match header.tag {
            b'Q' => {
                let asked = explain_route(Query::decode(&frame[5..]).ok()?.sql)?;
                message::query(&mut replaced, self.explanation(asked).as_bytes());
            }
            b'P' => {
                let Parse { name, sql, parameter_types } = Parse::decode(&frame[5..]).ok()?;
                let asked = explain_route(sql)?;
                let text = self.explanation(asked);
                let count = count(parameter_types);
                let parts: [&[u8]; 6] = [name, b"\0", text.as_bytes(), b"\0", &count, parameter_types.raw()];
                message::frame(&mut replaced, b'P', &parts);
            }
            _ => return None,
        }
        let now = Header::peek(replaced.bytes()).ok()??;
        self.io.from_client.consume(header.frame_len());
        replaced.extend(self.io.from_client.bytes());
        self.io.from_client = replaced;
        Some(now)
    }

    /// A copy of the frame at the front of the inbox, if it asks for a route.
    fn asks_for_route(&self, header: Header) -> Option<Vec<u8>> {
        let frame = self.io.from_client.bytes().get(..header.frame_len())?;
        // Nearly every query is told apart by its first letter, before its end is looked for.
        if header.tag == b'Q'
            && frame.get(5).is_some_and(|byte| matches!(byte | 0x20, b'a'..=b'd' | b'f'..=b'z'))
        {
            return None;
        }
        let sql = match header.tag {
            b'Q' => Query::decode(&frame[5..]).ok()?.sql,
            b'P' => Parse::decode(&frame[5..]).ok()?.sql,
            _ => return None,
        };
        explain_route(sql).map(|_| frame.to_vec())
    }

    /// A query whose rows are the explanation of `sql`.
    fn explanation(&mut self, sql: &[u8]) -> String {
        let served_here = self.turn_to_explain(sql);
        let catalog = self.shared.account.database.catalog();
        let judged = judge(sql, self.wants.rules(), &catalog);
        let (facts, verdict) = match self.executed(sql, &judged) {
            Some(prepared) => (Arc::clone(&prepared.facts), self.verdict_of(&prepared)),
            None => (Arc::clone(&judged.facts), Arc::clone(&judged.verdict)),
        };
        let asked = Asked { facts: &facts, verdict: &verdict, sql, parameter: &|_| None };
        let decision = self.decide(&asked);
        let wanted = self.wanted(decision.as_ref(), sql);
        let request = Request::of(&facts, &verdict, decision.as_ref(), wanted);
        let (need, reader) = self.look_for_reader(&request);
        let session = self.view(reader.is_some(), wanted);
        let policies = Arc::clone(self.steering.policies());
        let identity = self.identity();
        let shards = self.shards_told(sql, served_here);
        let mut told = self.with_view(&asked, true, |view| {
            let question =
                Question { set: &policies.set, view: *view, class: &verdict.class, identity, session };
            explain(&question)
        });
        told.shards = shards;
        let mut rows = told.rows();
        if served_here
            && let (Some(_), Some(index)) = (need, reader)
            && told.target != "primary"
            && let Some(server) = self.shared.cluster.servers().get(index)
        {
            rows.push(("server now".to_owned(), server.config.address.to_string()));
        }
        if served_here {
            rows.extend(self.cache_told(&request, &facts, sql));
        }
        rows.extend(self.plugins_told(sql, &judged, (&facts, &verdict)));
        if wanted.is_none()
            && let Some(route) = self.set_route()
        {
            rows.push((
                "override".to_owned(),
                format!("pointsman.route = {route} has no effect: no rule allows it"),
            ));
        }
        self.as_query(&rows)
    }

    fn as_query(&self, rows: &[(String, String)]) -> String {
        // The texts are UTF-8; a client of another encoding gets what both have.
        let ascii = self.wants.rules().encoding != ClientEncoding::Utf8;
        let told = |text: &str| match ascii {
            true => text.replace(|c: char| !c.is_ascii(), "?"),
            false => text.to_owned(),
        };
        let rows = rows.iter().map(|(item, value)| vec![Some(told(item)), Some(told(value))]).collect();
        as_query(&Rows { columns: vec!["item".to_owned(), "value".to_owned()], rows })
    }
}
