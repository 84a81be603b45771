//! Whether policies let a request through, and how a client hears that they do not: as of an error of the server, so that
//! an open transaction fails with it and everything stays in order.

use std::sync::Arc;

use bytes::Bytes;
use pointsman_policy::{Decision, Route, hinted_route};
use pointsman_sql::Facts;
use pointsman_wire::backend::TransactionStatus;
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::{Bind, Parse};
use pointsman_wire::owed::{Ask, Deal};

use super::judge::{Judged, Marks, Verdict};
use super::notes::Note;
use super::pins::Pins;
use super::request::Taken;
use super::statements::Origin;
use super::steer::Asked;
use super::{Session, message};
use crate::fault::Fault;

/// What the rules said of the request at the front of the inbox.
pub(super) type Admission = Result<Option<Box<Decision>>, Fault>;

/// What no server accepts, and what its log shows.
const REFUSED: &[u8] = b"refused by Pointsman";

/// A statement that is bound, with its text.
#[derive(Clone)]
pub(super) struct Named {
    pub facts: Arc<Facts>,
    pub verdict: Arc<Verdict>,
    pub sql: Bytes,
    /// How many literals its text has.
    pub literals: u32,
}

impl Named {
    /// A text that was judged.
    pub fn of(judged: Judged, sql: Bytes) -> Self {
        let Judged { facts, verdict, literals, .. } = judged;
        Self { facts, verdict, sql, literals }
    }
}

impl Session {
    /// What the rules say of a simple query, asked once however often it has to wait.
    pub(super) fn admission(&mut self, facts: &Facts, verdict: &Verdict, sql: &[u8]) -> Admission {
        if let Some(known) = self.flow.admission.take() {
            return *known;
        }
        // A failed transaction answers everything with the same error.
        if self.is_past_judging(facts) {
            return Ok(None);
        }
        self.admit(&Asked { facts, verdict, sql, parameter: &|_| None })
    }

    /// Whether there is nothing to judge: in a failed transaction, with nothing under way that ends it, one statement fails, or ends the
    /// transaction itself.
    pub(super) fn is_past_judging(&self, facts: &Facts) -> bool {
        let failed = self.status == TransactionStatus::Failed && self.owed.is_empty() && !self.flow.unsynced;
        failed && facts.single().is_some()
    }

    /// The request has to wait: what the rules said of it is kept until it is taken again.
    pub(super) fn keep_admission(&mut self, admission: Admission) -> Taken {
        self.flow.admission = Some(Box::new(admission));
        Taken::NotNow
    }

    /// A simple query that we refuse: a rule does, or what it needs is not to be had.
    pub(super) fn refuse_query(&mut self, frame_len: usize, fault: Fault) -> Result<Taken, Fault> {
        if self.flow.ends() {
            return Err(fault);
        }
        if self.fails_with_server() {
            self.io.from_client.consume(frame_len);
            self.send_refused_query(fault);
            return Ok(Taken::Done);
        }
        if !self.owed.is_empty() {
            self.flow.stalled = true;
            return Ok(self.keep_admission(Err(fault)));
        }
        self.refuse(frame_len, fault)
    }

    /// In place of a simple query that we refuse: one that the server refuses, so that the transaction fails.
    pub(super) fn send_refused_query(&mut self, fault: Fault) {
        let frame = fault.encode("ERROR").into();
        self.owed.push(Ask::Local(Bytes::new()), Deal::Forward, Some(Note::Refused(frame)));
        self.send_text(REFUSED, None);
    }

    /// The same in place of `Parse` or `Bind`.
    pub(super) fn send_refused_message(&mut self, fault: Fault) {
        message::frame(&mut self.io.to_server, b'P', &[b"\0", REFUSED, b"\0", &[0, 0]]);
        let frame = fault.encode("ERROR").into();
        self.owed.push(Ask::Parse, Deal::Forward, Some(Note::Refused(frame)));
        self.forget_server_unnamed();
    }

    /// A batch of the extended protocol that a rule refuses: nothing of it is performed.
    pub(super) fn refuse_whole_batch(&mut self, fault: Fault) -> Result<Taken, Fault> {
        if self.flow.ends() {
            return Err(fault);
        }
        if self.fails_with_server() {
            // The transaction fails with it; what follows up to the client's `Sync` is dropped.
            self.send_refused_message(fault);
            (self.flow.unsynced, self.flow.skip_to_sync) = (true, true);
            return Ok(Taken::Done);
        }
        if !self.owed.is_empty() {
            self.flow.stalled = true;
            return Ok(self.keep_admission(Err(fault)));
        }
        self.refuse_batch(fault)
    }

    /// Whether an error has to come from the server: a transaction fails with it, or a pipeline.
    pub(super) fn fails_with_server(&self) -> bool {
        self.held.is_some() && (self.status != TransactionStatus::Idle || self.flow.unsynced)
    }

    /// Whether a batch has to be looked at statement by statement.
    fn is_steered(&self, decides: Option<&Verdict>) -> bool {
        let sets = decides.is_none_or(|verdict| verdict.marks.has(Marks::STATE));
        let ruled = self.ruled.as_ref().is_some_and(|ruled| ruled.load().is_some());
        sets || ruled || !self.shared.policies.load().set.is_empty()
    }

    /// What the rules say of a batch: of the statement that decides where it goes. A statement that is refused refuses all.
    pub(super) fn batch_admission(&mut self, len: usize, decides: Option<&Arc<Verdict>>) -> Admission {
        if let Some(known) = self.flow.admission.take() {
            return *known;
        }
        if !self.is_steered(decides.map(|verdict| &**verdict)) {
            return Ok(None);
        }
        let inbox = std::mem::take(&mut self.io.from_client);
        let outcome = self.admit_frames(&inbox.bytes()[..len], decides);
        self.io.from_client = inbox;
        outcome
    }

    fn admit_frames(&mut self, mut rest: &[u8], decides: Option<&Arc<Verdict>>) -> Admission {
        let mut parsed: Vec<(&[u8], Named)> = Vec::new();
        let mut chosen: Option<Box<Decision>> = None;
        while let Some(header) = Header::peek(rest)? {
            let Some(frame) = rest.get(..header.frame_len()) else { break };
            rest = &rest[header.frame_len()..];
            match header.tag {
                b'P' => {
                    let Ok(Parse { name, sql, .. }) = Parse::decode(&frame[5..]) else { continue };
                    parsed.push((name, self.named_by_text(sql)));
                }
                b'B' => {
                    let Ok(bind) = Bind::decode(&frame[5..]) else {
                        self.skip_plugged();
                        continue;
                    };
                    let own = parsed.iter().rev().find(|(name, _)| *name == bind.statement);
                    let known = if own.is_none() { self.named(bind.statement) } else { None };
                    let Some(named) = own.map(|(_, named)| named).or(known.as_ref()) else {
                        self.skip_plugged();
                        continue;
                    };
                    let Some(decision) = self.admit_bound(named, &bind)? else { continue };
                    if chosen.is_none() || decides.is_some_and(|decides| Arc::ptr_eq(decides, &named.verdict))
                    {
                        chosen = Some(decision);
                    }
                }
                _ => {}
            }
        }
        Ok(chosen)
    }

    /// The route that the developer asks for in a batch: the first comment that names one, or the session's setting.
    pub(super) fn batch_wanted(&self, decision: Option<&Decision>, len: usize) -> Option<Route> {
        decision.filter(|decision| decision.overrides_allowed)?;
        let mut rest = self.io.from_client.bytes().get(..len)?;
        while let Ok(Some(header)) = Header::peek(rest) {
            let frame = rest.get(..header.frame_len())?;
            rest = &rest[header.frame_len()..];
            let sql = match header.tag {
                b'P' => Parse::decode(&frame[5..]).ok().map(|parse| Bytes::copy_from_slice(parse.sql)),
                b'B' => Bind::decode(&frame[5..])
                    .ok()
                    .and_then(|bind| self.named(bind.statement))
                    .map(|named| named.sql),
                _ => None,
            };
            if let Some(route) = sql.and_then(|sql| hinted_route(&sql, self.wants.rules())) {
                return Some(route);
            }
        }
        self.set_route()
    }

    /// What the rules say of a statement that is bound on a connection held.
    pub(super) fn bind_admission(&mut self, bind: &Bind<'_>) -> Admission {
        if self.flow.admitted || !self.is_steered(None) {
            return Ok(None);
        }
        match self.named(bind.statement) {
            Some(named) if !self.is_past_judging(&named.facts) => self.admit_bound(&named, bind),
            _ => Ok(None),
        }
    }

    fn admit_bound(&mut self, named: &Named, bind: &Bind<'_>) -> Admission {
        let parameters = bind.parameters().ok();
        let parameter = |number: u32| {
            let index = usize::try_from(number).ok()?.checked_sub(1)?;
            parameters.as_ref()?.integer(index)
        };
        let Named { facts, verdict, sql, .. } = named;
        self.admit(&Asked { facts, verdict, sql, parameter: &parameter })
    }

    fn named_by_text(&self, sql: &[u8]) -> Named {
        Named::of(self.judged(sql), Bytes::copy_from_slice(sql))
    }

    /// The statement that the client calls so.
    pub(super) fn named(&self, name: &[u8]) -> Option<Named> {
        if name.is_empty() {
            let unnamed = self.statements.unnamed()?;
            let sql = unnamed.parse.slice_ref(Parse::decode(&unnamed.parse).ok()?.sql);
            let catalog = self.shared.account.database.catalog();
            let (facts, verdict) = (Arc::clone(&unnamed.facts), unnamed.verdict_under(&catalog));
            return Some(Named { facts, verdict, sql, literals: unnamed.literals });
        }
        let Some(prepared) = self.statements.get(name) else { return self.named_own(name) };
        let sql = match &prepared.origin {
            Origin::Protocol { sql, .. } => sql.clone(),
            Origin::Sql { tail, .. } => tail.clone(),
        };
        let (facts, literals) = (Arc::clone(&prepared.facts), prepared.literals);
        Some(Named { facts, verdict: self.verdict_of(prepared), sql, literals })
    }

    /// The same under the client's own name on its own connection. One of which nothing is known may be anything: it is taken for a
    /// text that is not understood.
    fn named_own(&self, name: &[u8]) -> Option<Named> {
        let Some((judged, sql)) = self.statements.own(name) else {
            return self.pins.has(Pins::UNKNOWN).then(|| self.named_by_text(b"?"));
        };
        let catalog = self.shared.account.database.catalog();
        let verdict = judged.verdict.under(&judged.facts, &catalog);
        Some(Named { facts: Arc::clone(&judged.facts), verdict, sql: sql.clone(), literals: judged.literals })
    }
}
