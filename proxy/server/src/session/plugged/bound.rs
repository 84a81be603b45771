//! Plugins before statements of the extended protocol: asked at each `Bind`, when the values are known. A rewritten statement
//! takes the place of an unnamed one of the same batch; else the session prepares it under a name of its own, once.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pointsman_plugin_host::{Parameter, Rewrite, Rows, Value};
use pointsman_sql::Facts;
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::{Bind, BindParameters, Parse};

use super::super::admission::Named;
use super::super::statements::{GLOBAL_PREFIX, Origin};
use super::super::{Session, message};
use super::answer::as_query;
use super::{Execution, Outcome, Plugged};
use crate::fault::Fault;
use crate::plugins::asked::Asked;
use crate::transport::buffer::Buffer;

/// Rewritten statements that a session keeps prepared between batches; of more, those that were rewritten first are forgotten.
const REWRITTEN_MAX: usize = 64;

/// A batch on its way past the plugins: its messages, some of them in other words.
#[derive(Default)]
struct Passing {
    frames: Vec<Bytes>,
    /// It binds once, to the only statement that it prepares, which has no name: then a rewritten one takes that one's place.
    alone: bool,
    /// Where that is prepared.
    unnamed: Option<usize>,
    parsed: Vec<(Bytes, Named, Bytes)>,
    executions: Vec<Execution>,
    shard: Option<u32>,
    asked: bool,
    changed: bool,
    /// What the only execution is answered with, and what it was to execute.
    answer: Option<(Rows, Arc<Facts>)>,
}

/// The session's own names for statements that plugins have rewritten.
#[derive(Debug, Default)]
pub(in crate::session) struct Rewritten {
    names: VecDeque<Bytes>,
    /// Part of all of them.
    secret: Option<u128>,
}

impl Rewritten {
    /// How many there are.
    pub(in crate::session) fn len(&self) -> usize {
        self.names.len()
    }
}

/// What became of a batch that plugins were asked of.
pub(in crate::session) enum Passed {
    /// It is as it was.
    Same,
    /// It reads otherwise now.
    Changed,
    /// It is answered.
    Answered,
}

impl Session {
    /// Asks the plugins that rules name for the statements of the batch at the front of the inbox.
    pub(in crate::session) async fn plug_batch(&mut self, len: usize) -> Result<Passed, Fault> {
        if !self.may_be_plugged() {
            return Ok(Passed::Same);
        }
        if self.shared.account.database.is_catalog_awaited() {
            self.await_catalog().await;
        }
        self.forget_rewritten();
        let mut rest = Bytes::copy_from_slice(self.io.from_client.bytes().get(..len).unwrap_or_default());
        let mut passing = Passing { alone: is_alone(&rest), ..Passing::default() };
        while let Some(header) = Header::peek(&rest)? {
            if rest.len() < header.frame_len() {
                break;
            }
            let frame = rest.split_to(header.frame_len());
            match header.tag {
                b'P' => self.pass_parse(frame, &mut passing),
                b'B' => self.pass_bind(frame, &mut passing).await?,
                _ => passing.frames.push(frame),
            }
        }
        let Passing { frames, executions, shard, asked, changed, answer, .. } = passing;
        if !asked {
            return Ok(Passed::Same);
        }
        if let Some((rows, facts)) = answer.filter(|_| executions.len() == 1)
            && self.is_at_rest()
            && self.answer_whole_batch(len, &rows, &facts)
        {
            return Ok(Passed::Answered);
        }
        self.flow.plugged = Plugged::of(executions.into(), shard);
        if !changed {
            return Ok(Passed::Same);
        }
        self.flow.replaced = true;
        let mut replaced = Buffer::default();
        frames.iter().for_each(|frame| replaced.extend(frame));
        self.replace_front(len, replaced);
        Ok(Passed::Changed)
    }

    /// The same for the `Bind` at the front of the inbox, on a connection that is held.
    pub(in crate::session) async fn plug_bind(&mut self, header: Header) -> Result<Header, Fault> {
        match self.plug_batch(header.frame_len()).await? {
            Passed::Same | Passed::Answered => Ok(header),
            Passed::Changed => Ok(Header::peek(self.io.from_client.bytes())?.unwrap_or(header)),
        }
    }

    /// Whether plugins may have something to say of the request at the front of the inbox, and have not said it.
    fn may_be_plugged(&self) -> bool {
        !self.flow.plugged.were_asked()
            && self.flow.admission.is_none()
            && self.ruled.is_none()
            && self.shared.policies.load().set.names_plugins()
    }

    fn pass_parse(&mut self, frame: Bytes, passing: &mut Passing) {
        if let Ok(Parse { name, sql, parameter_types }) = Parse::decode(&frame[5..]) {
            let named = Named::of(self.judged(sql), frame.slice_ref(sql));
            passing.unnamed = (passing.alone && name.is_empty()).then_some(passing.frames.len());
            passing.parsed.push((frame.slice_ref(name), named, frame.slice_ref(parameter_types.raw())));
        }
        passing.frames.push(frame);
    }

    async fn pass_bind(&mut self, frame: Bytes, passing: &mut Passing) -> Result<(), Fault> {
        let Ok(bind) = Bind::decode(&frame[5..]) else {
            passing.frames.push(frame);
            passing.executions.push(Execution::default());
            return Ok(());
        };
        let own = passing.parsed.iter().rev().find(|(name, ..)| *name == bind.statement);
        let known = own.map(|(_, named, types)| (named.clone(), types.clone()));
        let known = known.or_else(|| {
            let types = self.text_and_types(bind.statement).map(|(_, types)| types);
            Some((self.named(bind.statement)?, types.unwrap_or_default()))
        });
        let Some((named, types)) = known else {
            passing.frames.push(frame);
            passing.executions.push(Execution::default());
            return Ok(());
        };
        let execution = self.ask_of_bound(&frame, &bind, (&named, types), passing).await?;
        passing.executions.push(execution);
        Ok(())
    }

    /// Asks of one `Bind`, and puts it, or what stands in its place, among the frames.
    async fn ask_of_bound(
        &mut self,
        frame: &Bytes,
        bind: &Bind<'_>,
        (named, types): (&Named, Bytes),
        passing: &mut Passing,
    ) -> Result<Execution, Fault> {
        let reusable = passing.unnamed.take().filter(|_| bind.statement.is_empty());
        let question = if self.is_plugged(&named.facts, &named.verdict) {
            let statement = Asked {
                sql: named.sql.clone(),
                rules: self.wants.rules(),
                facts: named.facts.clone(),
                body: None,
                bound: frame.slice_ref(bind.rest),
                types: self.parameter_types(bind.statement, &types),
                literals: named.literals,
            };
            self.question(statement, &named.facts, &named.verdict)
        } else {
            None
        };
        let Some(question) = question else {
            passing.frames.push(frame.clone());
            return Ok(Execution::default());
        };
        passing.asked = true;
        let bound = Arc::clone(&question.statement);
        let outcome = self.ask_plugins(&question).await?;
        let (changes, whole, rewrite) = match outcome {
            Outcome::Answered(rows) => {
                let rewrite = Rewrite { sql: as_query(&rows), params: Some(Vec::new()) };
                passing.answer = Some((rows, Arc::clone(&named.facts)));
                (None, true, Some(rewrite))
            }
            Outcome::Goes(changes, whole) => {
                let rewrite = changes.rewrite.clone();
                (Some(changes), whole, rewrite)
            }
        };
        passing.shard = changes.as_ref().and_then(super::shard_of).or(passing.shard);
        let execution = question.execution(changes, whole);
        let Some(Rewrite { sql, params }) = rewrite else {
            passing.frames.push(frame.clone());
            return Ok(execution);
        };
        passing.changed = true;
        let (rest, types) = match params {
            None => (frame.slice_ref(bind.rest), types),
            Some(params) => {
                let (rest, types) = encoded(&params, &bound);
                (rest, types.iter().flat_map(|oid| oid.to_be_bytes()).collect())
            }
        };
        let statement = match reusable {
            Some(at) => {
                // It stays the client's own unnamed statement.
                self.flow.unnamed_before = Some(passing.frames[at].slice(5..));
                passing.frames[at] = parse_frame(&sql, &types);
                Bytes::new()
            }
            None => self.prepare_rewritten(&sql, types),
        };
        let mut out = Buffer::default();
        message::frame(&mut out, b'B', &[bind.portal, b"\0", &statement, b"\0", &rest]);
        passing.frames.push(Bytes::copy_from_slice(out.bytes()));
        Ok(execution)
    }

    /// The session's own name for a statement of a plugin's making: one that no client can guess.
    fn prepare_rewritten(&mut self, sql: &str, types: Bytes) -> Bytes {
        let judged = self.judged(sql.as_bytes());
        let origin =
            Origin::Protocol { sql: Bytes::copy_from_slice(sql.as_bytes()), types, under: self.under() };
        let prepared = self.shared.registry.get(origin, &judged);
        let secret = *self.rewritten.secret.get_or_insert_with(rand::random);
        let name = Bytes::from(format!("{GLOBAL_PREFIX}rewritten_{}_{secret:032x}", prepared.id));
        if self.statements.get(&name).is_none() {
            self.statements.define(&name, prepared);
        }
        if !self.rewritten.names.contains(&name) {
            self.rewritten.names.push_back(name.clone());
        }
        name
    }

    /// Forgets the statements that were rewritten first, if there are many.
    fn forget_rewritten(&mut self) {
        while self.rewritten.names.len() > REWRITTEN_MAX
            && let Some(oldest) = self.rewritten.names.pop_front()
        {
            self.statements.remove(&oldest);
        }
    }
}

/// Whether a batch prepares one statement, without a name, and binds once, to it.
fn is_alone(mut batch: &[u8]) -> bool {
    let (mut parses, mut binds) = (0, 0);
    while let Ok(Some(header)) = Header::peek(batch) {
        let Some(frame) = batch.get(..header.frame_len()) else { break };
        batch = &batch[header.frame_len()..];
        match header.tag {
            b'P' => parses += 1 + i32::from(!frame[5..].starts_with(b"\0")),
            b'B' => {
                let own = Bind::decode(&frame[5..]).is_ok_and(|bind| bind.statement.is_empty());
                binds += 1 + i32::from(!own);
            }
            // What is described or closed is the client's own statement.
            b'D' | b'C' if frame.get(5) == Some(&b'S') => binds += 1,
            _ => {}
        }
    }
    (parses, binds) == (1, 1)
}

/// A `Parse` of an unnamed statement; `types` as `Parse` carries them, without their number.
fn parse_frame(sql: &str, types: &[u8]) -> Bytes {
    let count = u16::try_from(types.len() / 4).unwrap_or(u16::MAX).to_be_bytes();
    let mut out = Buffer::default();
    message::frame(&mut out, b'P', &[b"\0", sql.as_bytes(), b"\0", &count, types]);
    Bytes::copy_from_slice(out.bytes())
}

/// What a `Bind` holds after its names for these parameters, with the result's formats of `before`; and their types.
pub(super) fn encoded(params: &[Parameter], before: &Asked) -> (Bytes, Vec<u32>) {
    let formats = params.iter().map(|param| i16::from(matches!(param.value, Value::Binary(_)))).collect();
    let values = params
        .iter()
        .map(|param| match &param.value {
            Value::Null => None,
            Value::Text(text) => Some(text.as_bytes()),
            Value::Binary(bytes) => Some(bytes.as_slice()),
        })
        .collect();
    let result_formats =
        BindParameters::decode(&before.bound).map(|bound| bound.result_formats).unwrap_or_default();
    let mut rest = BytesMut::new();
    BindParameters { formats, values, result_formats }.encode(&mut rest);
    (rest.freeze(), params.iter().map(|param| param.type_oid).collect())
}
