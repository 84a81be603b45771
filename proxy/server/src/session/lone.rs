//! A batch of the extended protocol that does nothing but execute one command without parameters and rows, and is answered
//! here: no server takes part in what it does.

use std::sync::Arc;

use bytes::Bytes;
use pointsman_sql::Facts;
use pointsman_wire::backend::{BIND_COMPLETE, NO_DATA, PARSE_COMPLETE};
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::{Bind, Describe, Execute, Parse, Target};

use super::judge::{Judged, Verdict};
use super::statements::{Origin, Unnamed};
use super::{Session, message};

/// A ParameterDescription without parameters.
const NO_PARAMETERS: &[u8] = b"t\0\0\0\x06\0\0";

/// The command.
#[derive(Debug)]
pub(super) struct Lone {
    pub sql: Bytes,
    pub facts: Arc<Facts>,
    pub verdict: Arc<Verdict>,
    /// The name under which the batch itself prepares it, the body of that `Parse`, and what is known of the text.
    parsed: Option<(Bytes, Bytes, Judged)>,
}

/// The messages seen so far.
#[derive(Default)]
struct Seen<'a> {
    parsed: Option<(Parse<'a>, &'a [u8])>,
    bound: Option<&'a [u8]>,
    executed: bool,
}

impl<'a> Seen<'a> {
    /// Takes the next message; `None` if such a batch has none like it there.
    fn take(&mut self, tag: u8, body: &'a [u8]) -> Option<()> {
        if self.executed {
            return None;
        }
        match tag {
            b'P' if self.parsed.is_none() && self.bound.is_none() => {
                let parse = Parse::decode(body).ok().filter(|parse| parse.parameter_types.is_empty())?;
                self.parsed = Some((parse, body));
            }
            b'B' if self.bound.is_none() => {
                let bind = Bind::decode(body).ok().filter(|bind| bind.portal.is_empty())?;
                bind.parameters().ok().filter(|parameters| parameters.values.is_empty())?;
                self.bound = Some(self.same(bind.statement)?);
            }
            b'D' => match Describe::decode(body).ok()? {
                Describe { target: Target::Statement, name } => {
                    let known = self.bound.or(self.parsed.as_ref().map(|(parse, _)| parse.name));
                    known.filter(|known| *known == name)?;
                }
                Describe { target: Target::Portal, name } => {
                    self.bound.filter(|_| name.is_empty())?;
                }
            },
            b'E' => {
                let execute = Execute::decode(body).ok()?;
                self.bound.filter(|_| execute.portal.is_empty())?;
                self.executed = true;
            }
            _ => return None,
        }
        Some(())
    }

    /// The name, if it is not another than that of the statement prepared.
    fn same(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        self.parsed.as_ref().is_none_or(|(parse, _)| parse.name == name).then_some(name)
    }
}

impl Session {
    /// Looks whether the first `len` bytes that came are such a batch.
    pub(super) fn lone(&self, len: usize) -> Option<Lone> {
        let mut rest = self.io.from_client.bytes().get(..len)?;
        let mut seen = Seen::default();
        while let Ok(Some(header)) = Header::peek(rest) {
            let body = rest.get(5..header.frame_len())?;
            rest = &rest[header.frame_len()..];
            if matches!(header.tag, b'S' | b'H') && body.is_empty() && rest.is_empty() {
                break;
            }
            seen.take(header.tag, body)?;
        }
        let statement = seen.bound.filter(|_| seen.executed)?;
        match seen.parsed {
            Some((parse, body)) => self.lone_parsed(parse, body),
            None => self.lone_known(statement),
        }
    }

    fn lone_parsed(&self, parse: Parse<'_>, body: &[u8]) -> Option<Lone> {
        let full = self.statements.len() >= self.shared.prepared_statements_max;
        if !parse.name.is_empty() && (full || self.statements.get(parse.name).is_some()) {
            return None;
        }
        let judged = self.judged(parse.sql);
        Some(Lone {
            sql: Bytes::copy_from_slice(parse.sql),
            facts: Arc::clone(&judged.facts),
            verdict: Arc::clone(&judged.verdict),
            parsed: Some((Bytes::copy_from_slice(parse.name), Bytes::copy_from_slice(body), judged)),
        })
    }

    fn lone_known(&self, name: &[u8]) -> Option<Lone> {
        let named = self.named(name)?;
        Some(Lone { sql: named.sql, facts: named.facts, verdict: named.verdict, parsed: None })
    }

    /// Answers such a batch here; `tag` completes the command.
    pub(super) fn answer_lone(&mut self, len: usize, lone: Lone, tag: &str) {
        if let Some((name, body, judged)) = lone.parsed {
            self.define_here(&name, lone.sql, body, judged);
        }
        self.io.settle_approved();
        let mut rest = self.io.from_client.bytes().get(..len).unwrap_or_default();
        while let Ok(Some(header)) = Header::peek(rest) {
            let Some(frame) = rest.get(..header.frame_len()) else { break };
            rest = &rest[header.frame_len()..];
            let out = &mut self.io.to_client;
            match (header.tag, frame.get(5)) {
                (b'P', _) => out.extend(PARSE_COMPLETE),
                (b'B', _) => out.extend(BIND_COMPLETE),
                (b'D', Some(b'S')) => out.extend(&[NO_PARAMETERS, NO_DATA].concat()),
                (b'D', _) => out.extend(NO_DATA),
                (b'E', _) => out.extend(&message::command_complete(tag)),
                (b'S', _) => out.extend(&message::ready(self.status.byte())),
                _ => {}
            }
        }
        self.io.from_client.consume(len);
    }

    /// Gives a statement a name that no server has prepared yet.
    fn define_here(&mut self, name: &[u8], sql: Bytes, body: Bytes, judged: Judged) {
        if name.is_empty() {
            let Judged { facts, verdict, configs, literals, .. } = judged;
            let id = self.shared.registry.next_id();
            self.statements.set_unnamed(Some(Unnamed { id, parse: body, facts, verdict, configs, literals }));
            return;
        }
        let origin = Origin::Protocol { sql, types: Bytes::new(), under: self.under() };
        let prepared = self.shared.registry.get(origin, &judged);
        self.statements.define(name, prepared);
        self.meter.usage.client_parsed();
    }
}
