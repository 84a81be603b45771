//! A batch of the extended protocol that no connection is held for: all messages up to `Sync` or `Flush`, planned as one.

use std::sync::Arc;

use pointsman_policy::{Access, Touched};
use pointsman_sql::Facts;
use pointsman_wire::WireError;
use pointsman_wire::backend::CLOSE_COMPLETE;
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::{Bind, Close, Describe, Execute, Parse, Target};

use super::begin::begins;
use super::failed::aborted;
use super::judge::{Marks, Verdict};
use super::plugged::Passed;
use super::request::{Request, Taken};
use super::{Session, message};
use crate::fault::Fault;
use crate::metrics::StatementKind;

/// A longer batch is not waited for: it goes to the primary, message by message.
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// What is known of a batch before anything of it is sent.
#[derive(Debug)]
struct Survey {
    /// Its length in bytes.
    len: usize,
    /// The statement that decides where the batch goes: the one that may do most. None if none is known.
    decides: Option<Meaning>,
    /// What its reads read, all together; none if that is what the one that decides reads.
    reads: Option<Touched>,
    /// A transaction begins with its first statement.
    begins: bool,
    /// It can be answered without a server.
    local: bool,
    /// A statement that it prepares may need ids.
    wants_ids: bool,
}

type Meaning = (Arc<Facts>, Arc<Verdict>);

impl Session {
    /// Takes a whole batch.
    pub(super) async fn batch(&mut self, first: Header) -> Result<Taken, Fault> {
        let survey = if self.is_complete()? { self.survey()? } else { None };
        let Some(survey) = survey else {
            if self.io.from_client.len() < BATCH_BYTES_MAX || self.shards.is_some() {
                return Ok(Taken::NotNow);
            }
            return self.begin_long(first).await;
        };
        if self.held.is_none() && (survey.local || self.flow.skip_to_sync) {
            self.answer_batch(survey.len)?;
            return Ok(Taken::Done);
        }
        if self.has_failed_here() {
            return self.answer_failed_batch(survey.len);
        }
        let mut survey = match self.arrange(survey).await? {
            Ok(survey) => survey,
            Err(taken) => return Ok(taken),
        };
        if let Some((_, verdict)) = survey.decides.as_ref().filter(|(_, verdict)| verdict.is_uncertain()) {
            self.await_functions(verdict).await;
            survey = self.survey()?.unwrap_or(survey);
        }
        let decision =
            match self.batch_admission(survey.len, survey.decides.as_ref().map(|(_, verdict)| verdict)) {
                Ok(decision) => decision,
                Err(fault) => return self.refuse_whole_batch(fault),
            };
        let wanted = self.batch_wanted(decision.as_deref(), survey.len);
        if survey.begins && self.hold_back_batch(survey.len, decision.as_deref(), wanted) {
            return Ok(Taken::Done);
        }
        let request = survey.decides.as_ref().map(|(facts, verdict)| Request {
            facts,
            verdict,
            reads: survey.reads.as_ref().unwrap_or(&verdict.footprint.reads),
            decision: decision.as_deref(),
            wanted,
        });
        if let (Some(request), Some((facts, _))) = (&request, &survey.decides)
            && request.is_cached()
            && self.serve_batch(survey.len, request, facts).await?
        {
            return Ok(Taken::Done);
        }
        match self.perform_on(request.as_ref()).await {
            Ok(true) => {}
            Ok(false) => return Ok(self.keep_admission(Ok(decision))),
            // The server skips what follows.
            Err(fault) if self.fails_with_server() => self.send_refused_message(fault),
            Err(fault) => return self.refuse_batch(fault),
        }
        self.limit_time();
        let (kind, reads) = match &survey.decides {
            Some((_, verdict)) => (verdict.kind, verdict.marks.has(Marks::READ)),
            None => (StatementKind::Other, false),
        };
        self.count(kind);
        self.note_retry(reads, survey.len);
        self.begin_filling();
        self.flow.admitted = true;
        let sent = self.messages(survey.len);
        self.flow.admitted = false;
        sent?;
        Ok(Taken::Done)
    }

    /// Asks the plugins that are to be asked of the batch, and turns to its shard. What it is then, or what became of it.
    async fn arrange(&mut self, mut survey: Survey) -> Result<Result<Survey, Taken>, Fault> {
        if self.flow.admission.as_deref().is_some_and(Result::is_err) {
            // It was refused before: `batch_admission` says so.
            return Ok(Ok(survey));
        }
        match self.plug_batch(survey.len).await {
            Ok(Passed::Changed) => survey = self.survey()?.unwrap_or(survey),
            Ok(Passed::Same) => {}
            Ok(Passed::Answered) => return Ok(Err(Taken::Done)),
            Err(fault) => return self.refuse_whole_batch(fault).map(Err),
        }
        if self.shards.is_some() {
            return self.find_batch_shard(survey).await;
        }
        Ok(Ok(survey))
    }

    /// Fills in the ids that a batch needs, and turns to its shard; or takes it, if it is for several.
    async fn find_batch_shard(&mut self, mut survey: Survey) -> Result<Result<Survey, Taken>, Fault> {
        match self.fill_batch(survey.len, survey.wants_ids).await {
            Ok(false) => {}
            Ok(true) => survey = self.survey()?.unwrap_or(survey),
            Err(fault) if self.fails_with_server() => self.send_refused_message(fault),
            Err(fault) => return self.refuse_whole_batch(fault).map(Err),
        }
        Ok(match self.route_batch(survey.len).await? {
            Some(taken) => Err(taken),
            None if self.still_holds(&survey) => Ok(survey),
            None => Ok(self.survey()?.unwrap_or(survey)),
        })
    }

    /// Whether what was found is under the catalog of the shard that the session is on now.
    fn still_holds(&self, survey: &Survey) -> bool {
        let catalog = self.shared.account.database.catalog();
        survey.decides.as_ref().is_some_and(|(_, verdict)| verdict.is_of(&catalog))
    }

    /// Sends the batch's messages.
    fn messages(&mut self, len: usize) -> Result<(), Fault> {
        let end = self.io.from_client.len() - len;
        while self.io.from_client.len() > end {
            let Some(header) = Header::peek(self.io.from_client.bytes())? else { break };
            self.message(header)?;
        }
        Ok(())
    }

    async fn begin_long(&mut self, first: Header) -> Result<Taken, Fault> {
        if self.has_failed_here() {
            return self.refuse_batch(aborted());
        }
        match self.perform_on(None).await {
            Ok(true) => {
                if let Some(first) = self.plugged_message(first).await? {
                    self.message(first)?;
                }
                Ok(Taken::Done)
            }
            Ok(false) => Ok(Taken::NotNow),
            Err(fault) => self.refuse_batch(fault),
        }
    }

    /// Whether the batch's end has come. No message is looked at twice, however slowly they come.
    fn is_complete(&mut self) -> Result<bool, Fault> {
        let bytes = self.io.from_client.bytes();
        let mut at = std::mem::take(&mut self.flow.surveyed);
        while let Some(header) = Header::peek(bytes.get(at..).unwrap_or_default())? {
            if bytes.len() < at + header.frame_len() {
                break;
            }
            if !matches!(header.tag, b'P' | b'B' | b'D' | b'E' | b'C') {
                return Ok(true);
            }
            at += header.frame_len();
        }
        if bytes.len() < BATCH_BYTES_MAX {
            self.flow.surveyed = at;
        }
        Ok(false)
    }

    /// Looks through the messages that have come. `None`: the batch is not complete.
    fn survey(&self) -> Result<Option<Survey>, Fault> {
        let bytes = self.io.from_client.bytes();
        let mut surveyor = Surveyor::new(self);
        let mut at = 0;
        while let Some(header) = Header::peek(&bytes[at..])? {
            let Some(frame) = bytes.get(at..at + header.frame_len()) else { return Ok(None) };
            // A message that is no part of a batch ends it; it is served after it.
            if !matches!(header.tag, b'P' | b'B' | b'D' | b'E' | b'C' | b'S' | b'H') {
                surveyor.unknown = true;
                return Ok(Some(surveyor.survey(at)));
            }
            surveyor.look(header.tag, &frame[5..]);
            at += header.frame_len();
            if header.tag == b'H' {
                // What follows up to the `Sync` is not known, and will be on the same connection.
                surveyor.unknown = true;
            }
            if matches!(header.tag, b'S' | b'H') {
                return Ok(Some(surveyor.survey(at)));
            }
        }
        Ok(None)
    }

    /// Answers a batch of nothing but `Close` and `Sync` here.
    fn answer_batch(&mut self, len: usize) -> Result<(), Fault> {
        let inbox = std::mem::take(&mut self.io.from_client);
        let mut rest = &inbox.bytes()[..len];
        self.io.settle_approved();
        while let Some(header) = Header::peek(rest)? {
            match header.tag {
                b'S' => {
                    self.flow.skip_to_sync = false;
                    self.io.to_client.extend(&message::ready(self.status.byte()));
                }
                b'C' if !self.flow.skip_to_sync => {
                    let close = Close::decode(&rest[5..header.frame_len()])?;
                    match (close.target, close.name) {
                        (Target::Statement, b"") => drop(self.statements.set_unnamed(None)),
                        (Target::Statement, name) => drop(self.statements.remove(name)),
                        (Target::Portal, _) => {}
                    }
                    self.io.to_client.extend(CLOSE_COMPLETE);
                }
                _ => {}
            }
            rest = &rest[header.frame_len()..];
        }
        self.io.from_client = inbox;
        self.io.from_client.consume(len);
        Ok(())
    }

    /// The error stands for the whole batch: what follows is skipped up to the client's `Sync`.
    pub(super) fn refuse_batch(&mut self, fault: Fault) -> Result<Taken, Fault> {
        self.tell(fault)?;
        self.flow.admission = None;
        self.flow.skip_to_sync = true;
        Ok(Taken::Done)
    }
}

/// Looks at one message after the other.
struct Surveyor<'a> {
    session: &'a Session,
    /// Statements that the batch itself prepares.
    prepared: Vec<(&'a [u8], Meaning)>,
    /// The first statement, if it begins a transaction.
    opens: Option<Meaning>,
    decides: Option<Meaning>,
    /// What the reads read, if they are several.
    reads: Option<Touched>,
    /// A statement is used that nobody prepared.
    unknown: bool,
    /// Statements that begin or end something, beside which no other may go to a replica.
    statements: usize,
    local: bool,
    wants_ids: bool,
}

impl<'a> Surveyor<'a> {
    fn new(session: &'a Session) -> Self {
        Self {
            session,
            prepared: Vec::new(),
            opens: None,
            decides: None,
            reads: None,
            unknown: false,
            statements: 0,
            local: true,
            wants_ids: false,
        }
    }

    fn survey(self, len: usize) -> Survey {
        let Self { session, opens, decides, reads, unknown, statements, local, wants_ids, .. } = self;
        let begins = opens.is_some();
        let mixed = |(_, verdict): &Meaning| statements > 1 && verdict.class.access == Access::Session;
        let decides = match (opens, decides) {
            (None, decides) => decides.filter(|decides| !mixed(decides)),
            (Some(opens), None) => Some(opens).filter(|opens| !mixed(opens)),
            // `BEGIN READ ONLY` and nothing but reads behind it.
            (Some((facts, verdict)), Some(decides)) => Some(decides).filter(|(_, read)| {
                read.class.access == Access::Read && session.may_open_on_replica(&facts, &verdict)
            }),
        };
        let decides = decides.filter(|_| !unknown);
        Survey { len, decides, reads, begins, local, wants_ids }
    }

    /// A message whose body is wrong is for the primary to refuse.
    fn look(&mut self, tag: u8, body: &'a [u8]) {
        if self.try_to_look(tag, body).is_err() {
            self.local = false;
            self.unknown = true;
        }
    }

    fn try_to_look(&mut self, tag: u8, body: &'a [u8]) -> Result<(), WireError> {
        match tag {
            b'P' => self.look_at_parse(Parse::decode(body)?),
            b'B' => self.look_at(Bind::decode(body)?.statement),
            b'D' => {
                let describe = Describe::decode(body)?;
                self.local = false;
                if describe.target == Target::Statement {
                    self.look_at(describe.name);
                }
            }
            b'E' => {
                Execute::decode(body)?;
                self.local = false;
            }
            b'C' => drop(Close::decode(body)?),
            _ if body.is_empty() => {}
            _ => return Err(WireError::Format),
        }
        Ok(())
    }

    /// Until it is bound, a statement that is only prepared goes where it would be executed.
    fn look_at_parse(&mut self, parse: Parse<'a>) {
        let session = self.session;
        let judged = session.judged(parse.sql);
        self.wants_ids |= session.shards.is_some() && session.may_need_ids(&judged.verdict);
        let meaning = (judged.facts, judged.verdict);
        // A statement with a name is prepared on the primary first: what the client is told of it is the primary's word,
        // and a connection there knows it when its definitions change.
        self.unknown |= !parse.name.is_empty() && !begins(&meaning.0);
        self.note(meaning.clone());
        self.statements += 1;
        self.prepared.push((parse.name, meaning));
    }

    fn look_at(&mut self, name: &[u8]) {
        if self.prepared.iter().any(|(known, _)| *known == name) {
            self.local = false;
            return;
        }
        let statements = &self.session.statements;
        let meaning = match name {
            b"" => statements.unnamed().map(|unnamed| {
                let catalog = self.session.shared.account.database.catalog();
                (Arc::clone(&unnamed.facts), unnamed.verdict_under(&catalog))
            }),
            _ => statements
                .get(name)
                .map(|prepared| (Arc::clone(&prepared.facts), self.session.verdict_of(prepared))),
        };
        let known = statements.get(name);
        self.unknown |= known.is_some_and(|known| !known.is_of(self.session.shared.account.database.epoch()));
        match meaning {
            Some(meaning) => self.note(meaning),
            None => {
                self.local = false;
                self.unknown = true;
            }
        }
        self.statements += 1;
    }

    fn note(&mut self, meaning: Meaning) {
        self.local = false;
        if self.statements == 0 && begins(&meaning.0) {
            self.opens = Some(meaning);
            return;
        }
        let more = |known: &Meaning| meaning.1.class.access > known.1.class.access;
        let session_among_others = |known: &Meaning| known.1.class.access != meaning.1.class.access;
        match &self.decides {
            Some(known)
                if session_among_others(known)
                    && known.1.class.access.min(meaning.1.class.access) == Access::Session =>
            {
                self.unknown = true;
            }
            Some(known) if !more(known) => {
                let (first, next) = (&known.1.footprint.reads, &meaning.1.footprint.reads);
                if first != next {
                    self.reads = Some(self.reads.as_ref().unwrap_or(first).and(next));
                }
            }
            _ => self.decides = Some(meaning),
        }
    }
}
