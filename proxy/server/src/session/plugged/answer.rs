//! Rows that a plugin answers with: given here where nothing else is under way, else by a query that stands in the statement's place, so
//! that pipelines, portals and transactions are as ever.

use bytes::{Bytes, BytesMut};
use pointsman_cache::Parts;
use pointsman_plugin_host::Rows;
use pointsman_sql::{Facts, quote_identifier, quote_literal};
use pointsman_wire::backend::{CommandComplete, DataRow, Field, RowDescription};
use pointsman_wire::frontend::format_of;

use super::super::Session;
use super::super::served::READY;
use crate::metrics::StatementKind;

impl Session {
    /// Whether nothing is under way, and no transaction is open: what is answered here is answered in order.
    pub(super) fn is_at_rest(&self) -> bool {
        self.held.is_none() && self.flow.begun.is_none() && self.owed.is_empty() && !self.spans()
    }

    /// Answers the query at the front of the inbox.
    pub(super) fn answer_query(&mut self, frame_len: usize, rows: &Rows, facts: &Facts) {
        self.io.from_client.consume(frame_len);
        self.statements.set_unnamed(None);
        self.io.settle_approved();
        let Parts { description, rows, .. } = parts(rows, &[]);
        description.iter().for_each(|description| self.io.share(description));
        self.io.share(&rows);
        self.answered(facts);
    }

    /// Answers the batch at the front of the inbox, if it executes one statement to its end and does nothing else.
    pub(super) fn answer_whole_batch(&mut self, len: usize, rows: &Rows, facts: &Facts) -> bool {
        let inbox = std::mem::take(&mut self.io.from_client);
        let batch = inbox.bytes().get(..len).unwrap_or_default();
        let answered = match self.result_formats(batch) {
            Some(formats) => {
                self.answer_from(batch, &parts(rows, &formats));
                true
            }
            None => false,
        };
        self.io.from_client = inbox;
        if answered {
            self.io.from_client.consume(len);
            self.answered(facts);
        }
        answered
    }

    fn answered(&mut self, facts: &Facts) {
        self.io.share(&Bytes::from_static(READY));
        self.flow.overrun.forget();
        let reads = facts.single().is_some_and(|statement| statement.read_only.is_ok());
        self.count(if reads { StatementKind::Select } else { StatementKind::Other });
        self.shared.counters.transaction();
        self.meter.served();
        self.count_traffic();
    }
}

/// The rows as a server would send them, in these formats.
fn parts(rows: &Rows, formats: &[i16]) -> Parts {
    let named = rows.columns.iter().enumerate();
    let fields = named.map(|(index, name)| Field::text(name.as_bytes(), format_of(formats, index))).collect();
    let (mut description, mut out) = (BytesMut::new(), BytesMut::new());
    RowDescription { fields }.encode(&mut description);
    for row in &rows.rows {
        let values = row.iter().map(|value| value.as_ref().map(String::as_bytes)).collect();
        DataRow { values }.encode(&mut out);
    }
    let tag = format!("SELECT {}", rows.rows.len());
    CommandComplete { tag: tag.as_bytes() }.encode(&mut out);
    Parts { parameters: None, description: Some(description.freeze()), rows: out.freeze() }
}

/// A query whose result is these rows, of type `text`.
pub(in crate::session) fn as_query(rows: &Rows) -> String {
    let value = |value: &Option<String>| match value {
        Some(text) => format!("{}::text", quote_literal(text)),
        None => "NULL::text".to_owned(),
    };
    let listed: Vec<String> = rows
        .rows
        .iter()
        .map(|row| format!("({})", row.iter().map(value).collect::<Vec<_>>().join(", ")))
        .collect();
    let columns: Vec<String> = rows.columns.iter().map(|name| quote_identifier(name)).collect();
    if rows.rows.is_empty() {
        let empty: Vec<String> = columns.iter().map(|name| format!("NULL::text AS {name}")).collect();
        return format!("SELECT {} WHERE false", empty.join(", "));
    }
    format!("SELECT * FROM (VALUES {}) AS answer ({})", listed.join(", "), columns.join(", "))
}
