//! Statements of the extended protocol that have parameters beside the client's own: for ids, new ones with every `Bind`, and for
//! the shards of keys that are bound.

use std::collections::HashMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use pointsman_shards::next_ids::{Fill, parameters, with_shards};
use pointsman_sql::ValueRef;
use pointsman_wire::Oids;
use pointsman_wire::backend::ParameterDescription;
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::{Bind, BindParameters, Close, Parse, Target};

use super::super::Session;
use super::super::cached::Execution;
use super::super::judge::with_text;
use super::super::notes::Note;
use super::ids::unclear;
use crate::fault::Fault;
use crate::transport::buffer::Buffer;

/// Statements with such parameters, by the client's names for them.
#[derive(Debug, Default)]
pub(super) struct Statements(HashMap<Bytes, Filled>);

/// A statement with such parameters.
#[derive(Debug, Clone)]
struct Filled {
    /// The text as it is prepared.
    text: Bytes,
    /// The client's own parameters; those after them are ours.
    own: usize,
    /// Whose shards come first, by the numbers of their parameters.
    keys: Vec<u32>,
    /// How many ids follow.
    ids: u32,
}

/// A batch as far as it was filled.
#[derive(Default)]
struct Batch {
    parsed: Vec<Bytes>,
    closed: Vec<Bytes>,
}

impl Session {
    /// Fills the messages of a batch of this length at the front of the inbox. `wants_ids`: a statement that it prepares may need
    /// ids. Returns whether anything has changed.
    pub(in crate::session) async fn fill_batch(
        &mut self,
        len: usize,
        wants_ids: bool,
    ) -> Result<bool, Fault> {
        let filled = self.shards.as_ref().is_some_and(|shards| !shards.filled.0.is_empty());
        if !(wants_ids || filled) {
            return Ok(false);
        }
        let bytes = Bytes::copy_from_slice(self.io.from_client.bytes().get(..len).unwrap_or_default());
        let mut rest = &bytes[..];
        let (mut replaced, mut batch) = (Buffer::default(), Batch::default());
        let mut changed = false;
        while let Some(header) = Header::peek(rest)? {
            let Some(frame) = rest.get(..header.frame_len()) else { break };
            rest = &rest[header.frame_len()..];
            let filled = self.fill_frame(header.tag, &frame[5..], &mut batch).await?;
            changed |= filled.is_some();
            replaced.extend(filled.as_deref().unwrap_or(frame));
        }
        if changed {
            self.replace_front(len - rest.len(), replaced);
        }
        Ok(changed)
    }

    /// A message with everything in it; `None`: it stays as it is.
    async fn fill_frame(&mut self, tag: u8, body: &[u8], batch: &mut Batch) -> Result<Option<Bytes>, Fault> {
        match tag {
            b'P' => {
                let Ok(parse) = Parse::decode(body) else { return Ok(None) };
                let name = Bytes::copy_from_slice(parse.name);
                let stands = self.statements.get(&name).is_some() && !batch.closed.contains(&name);
                // The server refuses it.
                let refused = !name.is_empty() && stands;
                if refused {
                    return Ok(None);
                }
                batch.parsed.push(name);
                self.fill_parse(&parse)
            }
            b'B' => match Bind::decode(body) {
                Ok(bind) => self.fill_bind(&bind, batch).await,
                Err(_) => Ok(None),
            },
            b'C' => {
                if let Ok(Close { target: Target::Statement, name }) = Close::decode(body) {
                    batch.closed.push(Bytes::copy_from_slice(name));
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn fill_parse(&mut self, parse: &Parse<'_>) -> Result<Option<Bytes>, Fault> {
        let name = Bytes::copy_from_slice(parse.name);
        let known = self.shards.as_ref().and_then(|shards| shards.filled.0.get(&name));
        if known.is_some_and(|known| *known.text == *parse.sql) {
            // This message was filled before.
            return Ok(None);
        }
        let judged = self.judged(parse.sql);
        let text = std::str::from_utf8(parse.sql).ok().filter(|_| self.may_need_ids(&judged.verdict));
        let filled = match text {
            Some(text) => self.with_parameters(text, parse.parameter_types.len())?,
            None => None,
        };
        let limit = self.shared.prepared_statements_max;
        let Some(shards) = &mut self.shards else { return Ok(None) };
        let Some(filled) = filled else {
            shards.filled.0.remove(&name);
            if text.is_some() {
                self.note_no_ids(&judged.verdict);
            }
            return Ok(None);
        };
        let mut out = BytesMut::new();
        Parse { name: parse.name, sql: &filled.text, parameter_types: parse.parameter_types }
            .encode(&mut out);
        shards.filled.0.insert(name.clone(), filled);
        if shards.filled.0.len() > limit.saturating_mul(2) {
            let statements = &self.statements;
            shards.filled.0.retain(|other, _| *other == name || statements.get(other).is_some());
        }
        Ok(Some(out.freeze()))
    }

    /// The text of a statement that is prepared; `None`: it needs nothing.
    fn with_parameters(&self, text: &str, typed: usize) -> Result<Option<Filled>, Fault> {
        let first = parameters(text).max(u32::try_from(typed).unwrap_or(u32::MAX));
        let (mut number, mut keys) = (first, Vec::new());
        let shown = with_text(text.as_bytes(), self.wants.rules(), |literals, _| {
            let asked = Execution::of_text(text.as_bytes());
            let values = self.values(&asked, literals);
            with_shards(text, |argument, value| {
                let shard_of = self.shard_of()?;
                let ValueRef::Param(key) = value else { return shard_of.number(argument, value, &values) };
                number += 1;
                keys.push(key);
                // The client's own parameter stays in the text, so that it has a type.
                let ty = shard_of.type_name();
                Ok(format!("CASE WHEN ${key}::{ty} IS NOT NULL THEN ${number}::int END"))
            })
        })?;
        let whole = shown.as_deref().unwrap_or(text);
        let filled = match self.needs(whole)? {
            Some(column) => self.fill_with(whole, column.as_ref(), Fill::Parameters(number + 1))?,
            None => None,
        };
        if filled.is_none() && shown.is_none() {
            return Ok(None);
        }
        let own = usize::try_from(first).unwrap_or(usize::MAX);
        let (text, ids) = match filled {
            Some(filled) => (filled.text, filled.added),
            None => (whole.to_owned(), 0),
        };
        Ok(Some(Filled { text: text.into_bytes().into(), own, keys, ids }))
    }

    async fn fill_bind(&mut self, bind: &Bind<'_>, batch: &Batch) -> Result<Option<Bytes>, Fault> {
        let parsed = batch.parsed.iter().any(|name| *name == bind.statement);
        let Some(filled) = self.filled_statement(bind.statement, parsed).cloned() else { return Ok(None) };
        let Ok(own) = bind.parameters() else { return Ok(None) };
        // Of another number, the server says so; or the message was filled before.
        if own.values.len() != filled.own {
            return Ok(None);
        }
        let mut added = self.bound_shards(bind, &filled, &own)?;
        added.extend(self.draw(filled.ids).await?.into_iter().map(|id| Some(id.to_string())));
        let formats = match own.formats.as_slice() {
            [] | [0] => Vec::new(),
            _ => (0..filled.own + added.len())
                .map(|at| if at < filled.own { own.format(at) } else { 0 })
                .collect(),
        };
        let mut values = own.values.clone();
        values.extend(added.iter().map(|value| value.as_ref().map(String::as_bytes)));
        let mut rest = BytesMut::new();
        BindParameters { formats, values, result_formats: own.result_formats }.encode(&mut rest);
        let mut out = BytesMut::new();
        Bind { portal: bind.portal, statement: bind.statement, rest: &rest }.encode(&mut out);
        Ok(Some(out.freeze()))
    }

    /// The shards of the keys that are bound.
    fn bound_shards(
        &self,
        bind: &Bind<'_>,
        filled: &Filled,
        own: &BindParameters<'_>,
    ) -> Result<Vec<Option<String>>, Fault> {
        if filled.keys.is_empty() {
            return Ok(Vec::new());
        }
        let types = self.text_and_types(bind.statement).map(|(_, types)| types).unwrap_or_default();
        let types = self.parameter_types(bind.statement, &types);
        let asked = Execution::of_bound(&filled.text, &[], &types, Some(own));
        let (values, shard_of) = (self.values(&asked, &[]), self.shard_of()?);
        let shard = |number: &u32| {
            let key = values.key(ValueRef::Param(*number), shard_of.kind);
            let key = key.ok_or_else(|| unclear(&format!("${number}")))?;
            Ok(shard_of.shard(&key)?.map(|shard| shard.to_string()))
        };
        filled.keys.iter().map(shard).collect()
    }

    /// What is known of a statement by its name. `parsed`: it is prepared by the batch at hand.
    fn filled_statement(&self, name: &[u8], parsed: bool) -> Option<&Filled> {
        let statements = &self.shards.as_ref()?.filled.0;
        if statements.is_empty() {
            return None;
        }
        let filled = statements.get(name)?;
        // The name may stand for another statement by now.
        let stands = || self.text_and_types(name).is_none_or(|(text, _)| text == filled.text);
        (parsed || stands()).then_some(filled)
    }

    /// How many parameters of a statement are the client's own, if there are others.
    pub(super) fn own_parameters(&self, name: &[u8]) -> Option<usize> {
        self.filled_statement(name, false).map(|filled| filled.own)
    }

    /// The note of a `Describe` of a statement, whose answer must not tell of parameters that the client does not know.
    pub(in crate::session) fn note_own_parameters(&self, name: &[u8], note: Option<Note>) -> Option<Note> {
        match self.own_parameters(name) {
            Some(own) => Some(Note::OwnParameters(own, note.map(Box::new))),
            None => note,
        }
    }
}

/// A ParameterDescription frame of the client's own parameters alone.
pub(in crate::session) fn without_added(body: &[u8], own: usize) -> Option<BytesMut> {
    let types: Vec<u32> = ParameterDescription::decode(body).ok()?.types.iter().take(own).collect();
    let mut raw = BytesMut::new();
    types.iter().for_each(|oid| raw.put_u32(*oid));
    let mut out = BytesMut::new();
    ParameterDescription { types: Oids::from_raw(&raw).unwrap_or(Oids::EMPTY) }.encode(&mut out);
    Some(out)
}
