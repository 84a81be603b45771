//! The life of one request, from the client's bytes to the server's:
//!
//! 1. read: a request is what a client sends up to `Query`, `Sync`, `Flush` or a copy message;
//! 2. judge: its template's facts, remembered (`judge`);
//! 3. plan: a pure function says which role serves it (`Session::plan`);
//! 4. perform: borrow a connection of that role (`held`), translate names (`extended`, `names`), send;
//! 5. relay the replies (`relay`), settle what they mean (`settle`), give the connection back (`held`).

use pointsman_policy::{Access, Decision, Replicas, Route, SessionView, Touched};
use pointsman_sql::Facts;
use pointsman_wire::backend::TransactionStatus;
use pointsman_wire::error::WireError;
use pointsman_wire::frame::{Header, frontend_body_max};
use pointsman_wire::owed::{Ask, Deal};

use super::failed::aborted;
use super::judge::{Judged, Verdict, templates_held};
use super::plugged::Plugged;
use super::{Passing, Session};
use crate::fault::Fault;
use crate::metrics::{StatementKind, Target};
use crate::upstream::config;

/// Transactions that a client may have in flight at once; the next waits, and others get their turn.
const AHEAD_MAX: usize = 8;

/// What became of the bytes that the client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// A request was taken; there may be another.
    Done,
    /// The next request is not there yet, or may not be taken yet.
    NotNow,
    /// The client said goodbye.
    Goodbye,
}

/// A request as it is performed.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    /// The facts of the statement that decides where it goes.
    pub facts: &'a Facts,
    /// What they mean.
    pub verdict: &'a Verdict,
    /// What the whole request reads.
    pub reads: &'a Touched,
    /// What the rules say of it.
    pub decision: Option<&'a Decision>,
    /// The route that the developer asks for, where a rule lets them.
    pub wanted: Option<Route>,
}

impl<'a> Request<'a> {
    /// A single text.
    pub fn of(
        facts: &'a Facts,
        verdict: &'a Verdict,
        decision: Option<&'a Decision>,
        wanted: Option<Route>,
    ) -> Self {
        Self { facts, verdict, reads: &verdict.footprint.reads, decision, wanted }
    }

    /// Whether a rule caches it.
    pub fn is_cached(&self) -> bool {
        self.decision.is_some_and(|decision| decision.cache.is_some())
    }

    /// Whether it ends a transaction, or steers it, and reads nothing.
    pub fn steers(&self) -> bool {
        self.verdict.class.access == Access::Session
    }
}

impl Session {
    /// Takes all the requests that have come and may be served now; true when the client said goodbye.
    pub(super) async fn take_requests(&mut self) -> Result<bool, Fault> {
        loop {
            match self.take_request().await? {
                Taken::Done => {
                    // What was said of it, and by whom, was said of it alone.
                    self.flow.plugged = Plugged::Unasked;
                    self.flow.decided = None;
                    self.flow.replaced = false;
                    self.flow.admission = None;
                    if let Some(body) = self.flow.unnamed_before.take() {
                        self.define_unnamed(&body);
                    }
                }
                Taken::NotNow => return Ok(false),
                Taken::Goodbye => return Ok(true),
            }
        }
    }

    async fn take_request(&mut self) -> Result<Taken, Fault> {
        if self.flow.passing.is_some() {
            return Ok(self.pass_on());
        }
        // Nor while half a notice is on its way that nobody asked for: what is answered here must not break into it.
        if self.flow.stalled
            || self.io.is_full()
            || self.io.is_sharing()
            || (self.flow.relaying > 0 && self.owed.is_empty())
        {
            return Ok(Taken::NotNow);
        }
        let Some(header) = Header::peek(self.io.from_client.bytes())? else { return Ok(Taken::NotNow) };
        let body_max = frontend_body_max(header.tag).ok_or(WireError::FrontendType(header.tag))?;
        if header.body_len > body_max.min(self.shared.message_bytes_max) {
            return Err(WireError::Length.into());
        }
        if header.tag == b'd' {
            return Ok(self.copy_data(header));
        }
        if self.io.from_client.len() < header.frame_len() {
            return Ok(Taken::NotNow);
        }
        self.refuse_fenced()?;
        let header = if header.tag == b'Q' { self.explain_query(header).await } else { header };
        match header.tag {
            b'X' => Ok(Taken::Goodbye),
            b'c' | b'f' => Ok(self.copy_end(header)),
            tag if (self.flow.skip_to_sync || self.owed.is_skipping()) && tag != b'S' => {
                self.io.from_client.consume(header.frame_len());
                Ok(Taken::Done)
            }
            b'Q' => self.simple(header).await,
            b'F' => self.function_call(header).await,
            b'p' => Err(WireError::FrontendType(b'p').into()),
            _ => self.extended(header).await,
        }
    }

    /// The session as a plan sees it; `fresh` says whether there is a server besides the primary for a read.
    pub(super) fn view(&self, fresh: bool, wanted: Option<Route>) -> SessionView {
        SessionView {
            held: self.holds(),
            serializable: self.wants.client().says("default_transaction_isolation", "serializable"),
            read_only: self.wants.client().says("default_transaction_read_only", "on"),
            replicas: if fresh { Replicas::Fresh } else { Replicas::Behind },
            wanted,
        }
    }

    /// What keeps the session where it is.
    fn holds(&self) -> pointsman_policy::Held {
        let Some(held) = &self.held else { return pointsman_policy::Held::Nothing };
        let role = match held.role {
            config::Role::Primary => pointsman_policy::Role::Primary,
            config::Role::Replica => pointsman_policy::Role::Replica,
        };
        match (self.status, self.pins.first()) {
            (TransactionStatus::Idle, None) => pointsman_policy::Held::Nothing,
            (TransactionStatus::Idle, Some(pin)) => pointsman_policy::Held::Pinned(pin, role),
            _ => pointsman_policy::Held::Transaction(role),
        }
    }

    /// Has a connection that may serve the request (`None`: only the primary may). `Ok(false)` means: not before the
    /// replies owed have come.
    pub(super) async fn perform_on(&mut self, request: Option<&Request<'_>>) -> Result<bool, Fault> {
        self.note_request();
        if self.held.is_some() {
            if !self.owed.is_empty() && (self.may_go_elsewhere(request) || self.is_greedy()) {
                self.flow.stalled = true;
                return Ok(false);
            }
            self.await_cancelled().await;
            self.await_coverage(request).await?;
        } else {
            let reader = match request {
                Some(request) => self.reader(request).await?,
                None => None,
            };
            self.hold(reader).await?;
            self.status = TransactionStatus::Idle;
        }
        let alone = self.owed.is_empty() && !self.flow.unsynced;
        self.meter.request(alone, alone && self.status == TransactionStatus::Idle);
        self.catch_up();
        self.send_held_back();
        Ok(true)
    }

    /// Whether a request behind others may be for another server than theirs: it writes, or must see what the replica held
    /// may lack. What was sent without `Sync` is answered only with what follows it: that cannot go elsewhere.
    fn may_go_elsewhere(&self, request: Option<&Request<'_>>) -> bool {
        let reads = request.is_some_and(|request| request.verdict.class.access == Access::Read);
        self.is_on_replica() && !self.flow.unsynced && (!reads || self.uncovered(request).is_some())
    }

    /// Waits for the catalog to be read, if it is being read.
    pub(super) async fn await_catalog(&self) {
        let limit = self.shared.cluster.config().health_timeout;
        Box::pin(self.shared.account.database.catalog_known(limit)).await;
    }

    /// Waits for the catalog to be read because it lacks a function.
    pub(super) async fn await_functions(&self, verdict: &Verdict) {
        let database = &self.shared.account.database;
        if database.is_catalog_awaited() {
            self.await_catalog().await;
        } else if verdict.class.suspect {
            Box::pin(database.reread(self.shared.cluster.config().health_timeout)).await;
        }
    }

    /// Whether a request that names statements has to wait: what the names mean depends on replies owed.
    pub(super) fn stalls_on_names(&mut self) -> bool {
        let waits = self.flow.names_pending && !self.owed.is_empty() && !self.flow.unsynced;
        self.flow.stalled |= waits;
        waits
    }

    /// Whether the session has sent enough ahead: others may be waiting for the connection.
    fn is_greedy(&self) -> bool {
        !self.flow.unsynced
            && self.status == TransactionStatus::Idle
            && self.pins.is_empty()
            && self.owed.readies() >= AHEAD_MAX
    }

    /// Whether the connection held leads to a replica.
    pub(super) fn is_on_replica(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.role == config::Role::Replica)
    }

    /// Counts a statement.
    pub(super) fn count(&self, kind: StatementKind) {
        let target = match &self.held {
            Some(held) if held.role == config::Role::Replica => Target::Replica,
            Some(_) => Target::Primary,
            None => Target::Local,
        };
        self.shared.counters.statement(kind, target);
    }

    /// Counts a look into the template cache.
    pub(super) fn count_template(&self, judged: &Judged) {
        self.shared.counters.template(judged.hit);
        if !judged.hit {
            self.shared.counters.set_templates(templates_held());
        }
    }

    async fn function_call(&mut self, header: Header) -> Result<Taken, Fault> {
        if self.ruled.is_none() && self.shared.policies.load().set.names_plugins() {
            let told = "FunctionCall is refused where rules name plugins: it has no text that they could be asked of";
            let fault = Fault::client("0A000", told).hint("Call the function in a SELECT.");
            return self.refuse_query(header.frame_len(), fault);
        }
        if self.has_failed_here() {
            return self.refuse(header.frame_len(), aborted());
        }
        match self.perform_on(None).await {
            Ok(true) => {}
            Ok(false) => return Ok(Taken::NotNow),
            Err(fault) => return self.refuse_query(header.frame_len(), fault),
        }
        self.send_frame(header.frame_len());
        self.owed.push(Ask::FunctionCall, Deal::Forward, None);
        self.mark_unknown();
        Ok(Taken::Done)
    }

    /// Moves the next `length` bytes of the client to the server.
    pub(super) fn send_frame(&mut self, length: usize) {
        self.io.to_server.extend(&self.io.from_client.bytes()[..length]);
        self.io.from_client.consume(length);
    }

    /// Tells the client of an error in place of the reply to a simple query or function call of this length. A
    /// transaction that is open on a server stays open: the server has heard nothing of it.
    pub(super) fn refuse(&mut self, frame_len: usize, fault: Fault) -> Result<Taken, Fault> {
        self.tell(fault)?;
        // What was kept of the rules was said of this request.
        self.flow.admission = None;
        self.io.from_client.consume(frame_len);
        self.io.to_client.extend(&super::message::ready(self.status.byte()));
        Ok(Taken::Done)
    }

    /// Tells the client of an error. One that ends the session is passed on. A transaction that no server knows of fails
    /// with it.
    pub(super) fn tell(&mut self, fault: Fault) -> Result<(), Fault> {
        if self.flow.ends() {
            return Err(fault);
        }
        tracing::debug!(%fault, user = self.shared.account.user, "request refused");
        self.shared.counters.error(fault.sqlstate.as_bytes());
        self.flow.filling = None;
        self.io.settle_approved();
        self.io.to_client.extend(&fault.encode("ERROR"));
        self.fail_spanning();
        if self.flow.begun.is_some() {
            self.status = TransactionStatus::Failed;
            self.note_answered();
        }
        Ok(())
    }

    /// Copy data is passed on as it comes, in pieces. Outside of a copy PostgreSQL drops it, and so do we.
    fn copy_data(&mut self, header: Header) -> Taken {
        let dropped = self.held.is_none() || self.owed.is_empty() || self.owed.is_skipping();
        self.flow.passing = Some(Passing { left: header.frame_len(), dropped });
        self.pass_on()
    }

    fn pass_on(&mut self) -> Taken {
        let Some(Passing { left, dropped }) = self.flow.passing else { return Taken::Done };
        if self.io.is_full() {
            return Taken::NotNow;
        }
        let count = left.min(self.io.from_client.len());
        if dropped || self.held.is_none() {
            self.io.from_client.consume(count);
        } else {
            self.send_frame(count);
        }
        let left = left - count;
        self.flow.passing = (left > 0).then_some(Passing { left, dropped });
        if left > 0 { Taken::NotNow } else { Taken::Done }
    }

    fn copy_end(&mut self, header: Header) -> Taken {
        if self.held.is_none() || self.owed.is_empty() || self.owed.is_skipping() {
            self.io.from_client.consume(header.frame_len());
        } else {
            self.send_frame(header.frame_len());
            self.owed.push(Ask::CopyEnd, Deal::Forward, None);
        }
        Taken::Done
    }
}
