//! One client's life after its login. `run` is the story; `request` tells the life of one request.

pub mod about;
mod admission;
mod batch;
mod begin;
mod cached;
pub mod cancel;
mod configs;
pub(crate) mod control;
mod explained;
mod extended;
mod failed;
mod failover;
mod filling;
mod fresh;
mod held;
mod io;
pub mod judge;
mod leaving;
mod lone;
mod message;
mod meter;
mod names;
mod notes;
pub mod opening;
mod overrun;
mod pins;
mod plugged;
mod prepare;
mod relay;
mod request;
mod retry;
mod served;
mod settle;
pub(crate) mod shards;
mod simple;
pub mod statements;
mod steer;
mod told;
mod wants;
mod written;

use std::sync::Arc;

use arc_swap::ArcSwap;
use pointsman_cache::ledger::Seq;
use pointsman_wire::backend::TransactionStatus;
use pointsman_wire::owed::Owed;

use begin::Begun;
use cached::Contexts;
pub use control::{Handle, Order};
use filling::Filling;
use held::Held;
use io::{Event, Io};
use leaving::Attendance;
use meter::Meter;
pub(crate) use meter::application_name;
use notes::Note;
pub use opening::Opening;
use pins::Pins;
use plugged::{Plugged, Rewritten};
use shards::{Ruled, Shards};
use statements::Statements;
use steer::Steering;
use wants::Wants;

use crate::caching::ResultCache;
use crate::fault::Fault;
use crate::metrics::{Side, Usage, WorkerCounters};
use crate::plugins::asked::Asking;
use crate::policies::Policies;
use crate::session::statements::Registry;
use crate::upstream::account::{Account, Reported};
use crate::upstream::cluster::Cluster;
use crate::upstream::config::PoolMode;
use cancel::CancelSlot;

/// What a session shares with others and never changes.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The cluster that its database is on.
    pub cluster: Arc<Cluster>,
    /// Its user in its database.
    pub account: Arc<Account>,
    /// All prepared statements.
    pub registry: Arc<Registry>,
    /// The policies in force.
    pub policies: Arc<ArcSwap<Policies>>,
    /// Results kept in memory; none if nothing is kept.
    pub cache: Option<Arc<ResultCache>>,
    /// This worker's counters.
    pub counters: Arc<WorkerCounters>,
    /// What this worker's sessions of the account have used.
    pub usage: Arc<Usage>,
    /// How long a server connection is kept.
    pub mode: PoolMode,
    /// Longest message taken from the client, in bytes.
    pub message_bytes_max: usize,
    /// Statements that the client may name.
    pub prepared_statements_max: usize,
}

/// Why a session ended.
#[derive(Debug)]
pub enum End {
    /// The client said goodbye or closed its side.
    Client,
    /// The client was told a fatal error, by a server or by us.
    Fatal(Fault),
    /// It was told that the proxy shuts down.
    Shutdown,
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    shared: Shared,
    handle: Arc<Handle>,
    cancel: Arc<CancelSlot>,
    io: Io,
    owed: Owed<Note>,
    held: Option<Held>,
    status: TransactionStatus,
    wants: Wants,
    /// Number of its own last write.
    token: u64,
    /// The same as the cache's ledger counts.
    own: Seq,
    /// What all its keys in the cache have in common.
    contexts: Option<Box<Contexts>>,
    statements: Statements,
    pins: Pins,
    /// What the client was told of the parameters that servers report.
    told: Reported,
    flow: Flow,
    meter: Meter,
    steering: Steering,
    /// What the rules say is said of the statement that this session performs a part of.
    ruled: Option<Ruled>,
    /// None if its database has no shards.
    shards: Option<Box<Shards>>,
    /// The session as plugins see it.
    asking: Option<Arc<Asking>>,
    /// Its own names for statements that plugins have rewritten.
    rewritten: Rewritten,
}

/// Where in the conversation the session is.
#[derive(Debug, Default)]
struct Flow {
    /// Messages were sent that no `Sync` has followed yet.
    unsynced: bool,
    /// The client's messages are dropped until its next `Sync`: it was told of an error.
    skip_to_sync: bool,
    /// Bytes of a message from the client that are still to be passed on, or dropped.
    passing: Option<Passing>,
    /// Bytes of a message from the server that are still to be passed on, or dropped.
    relaying: usize,
    /// Whether those are dropped.
    swallowing: bool,
    /// Replies are owed that decide what the client's statement names mean.
    names_pending: bool,
    /// Replies are owed that decide what the client's settings are.
    settings_pending: bool,
    /// Why a statement could not be prepared that the query under way executes: the client hears of it instead of
    /// what the query fails by.
    refusal: Option<Vec<u8>>,
    /// The next request has to wait for the replies owed.
    stalled: bool,
    /// Bytes at the front of what came from the client that are whole messages of a batch without its end.
    surveyed: usize,
    /// An error came since the last transaction boundary.
    failed: bool,
    /// A statement took or gave up something that outlives the transaction.
    probe_due: bool,
    /// Definitions were changed in this transaction.
    definitions_changed: bool,
    /// The server said that it is going.
    fatal: bool,
    /// It said so while nothing was asked of it.
    forsaken: bool,
    /// An order to leave came while the session waited for a connection.
    dismissed: bool,
    /// Whether the client will say more, and hears.
    client: Attendance,
    /// Portals whose statements touch the session, until the transaction ends.
    portals: Vec<Portal>,
    /// A read-only transaction that no server knows of yet.
    begun: Option<Box<Begun>>,
    /// A read on a replica that can still be asked again elsewhere.
    retry: retry::Retry,
    /// What the rules said of the request at the front of the inbox, which has to wait.
    admission: Option<Box<admission::Admission>>,
    /// What plugins said of it.
    plugged: Plugged,
    /// It reads as plugins have made it.
    replaced: bool,
    /// The body of the client's own unnamed statement, which another has taken the place of for this request.
    unnamed_before: Option<bytes::Bytes>,
    /// What the rules say of it, if they were asked before the plugins.
    decided: Option<Box<pointsman_policy::Decision>>,
    /// A message has come that tells of writes which plugins are to hear of first.
    unheard: bool,
    /// Plugins have heard of what the message at hand tells.
    heard: bool,
    /// The last statement that completed, while plugins have not heard of writes, was a `ROLLBACK`.
    rolled_back: bool,
    /// The messages on their way were admitted as a batch.
    admitted: bool,
    /// Nothing was under way before the request that is being sent, and nothing of it ends a transaction.
    quiet: bool,
    /// A result on its way that goes into the cache, too.
    filling: Option<Box<Filling>>,
    /// The time that what is under way may take.
    overrun: overrun::Overrun,
}

impl Flow {
    /// Whether no message is half on its way, from the server or to it: its other half would meet the next client.
    fn is_between_messages(&self) -> bool {
        self.relaying == 0 && self.passing.is_none_or(|passing| passing.dropped)
    }

    /// Whether the session ends before the next request is sent.
    fn ends(&self) -> bool {
        self.dismissed || self.client == Attendance::Gone
    }
}

/// A portal whose statement touches the session.
#[derive(Debug)]
struct Portal {
    name: Box<[u8]>,
    facts: Arc<pointsman_sql::Facts>,
    /// What its `set_config` calls set; None if that cannot be told.
    configs: Option<Vec<configs::Configured>>,
    doubtful: bool,
}

/// A message from the client on its way, too long to be held.
#[derive(Debug, Clone, Copy)]
struct Passing {
    left: usize,
    dropped: bool,
}

impl Session {
    /// A session that has just told its client ReadyForQuery.
    pub fn new(opening: Opening) -> Self {
        let Opening { shared, handle, cancel, stream, unread, base, told, about, shards } = opening;
        let mut pins = Pins::default();
        if shared.mode == PoolMode::Session {
            pins.add(Pins::SESSION_MODE);
        }
        let mut meter = Meter::new(Arc::clone(&shared.usage), about);
        meter.settle(pins, 0, &base);
        let steering = Steering::new(shared.policies.load_full());
        Self {
            shared,
            handle,
            cancel,
            io: Io::new(stream, &unread),
            owed: Owed::default(),
            held: None,
            status: TransactionStatus::Idle,
            wants: Wants::new(base),
            token: 0,
            own: Seq::default(),
            contexts: None,
            statements: Statements::default(),
            pins,
            told,
            flow: Flow::default(),
            meter,
            steering,
            ruled: None,
            shards,
            asking: None,
            rewritten: Rewritten::default(),
        }
    }

    /// Serves the client until it leaves, must leave, or is told to.
    #[expect(clippy::manual_async_fn, reason = "an async fn keeps room for `self` twice")]
    pub fn run(mut self) -> impl Future<Output = End> {
        async move {
            let end = self.live().await;
            self.part();
            end
        }
    }

    async fn live(&mut self) -> End {
        let end = match self.serve().await {
            Ok(end) => end,
            Err(_) if self.flow.client == Attendance::Gone => End::Client,
            Err(fault) => {
                self.shared.counters.error(fault.sqlstate.as_bytes());
                self.tell_last(&fault);
                End::Fatal(fault)
            }
        };
        if self.flow.client != Attendance::Gone {
            self.flush_client().await;
        }
        self.count_traffic();
        end
    }

    async fn serve(&mut self) -> Result<End, Fault> {
        loop {
            if self.take_requests().await? {
                self.goodbye();
            }
            if self.is_over() {
                return Ok(End::Client);
            }
            match self.wait().await {
                Wake::Event(Event::Client | Event::Room) => {}
                Wake::Event(Event::ClientLeft) => self.flow.client = Attendance::Leaving,
                Wake::Event(Event::ClientGone) => self.flow.client = Attendance::Gone,
                Wake::Silence => self.probe_client(),
                Wake::Overrun => self.cancel_overrun(),
                Wake::Idleness => return Err(begin::idle_too_long()),
                Wake::Parted(fault) => return Err(fault),
                Wake::Event(Event::Server) => self.relay_heard().await?,
                Wake::Event(Event::ServerGone(error)) => {
                    if let Some(end) = self.server_gone(&error)? {
                        return Ok(end);
                    }
                }
                Wake::Order(Order::Stop) => return Err(control::shutting_down()),
                Wake::Order(Order::Drain) => {
                    self.tell_last(&control::shutting_down());
                    return Ok(End::Shutdown);
                }
            }
        }
    }

    /// Whether the client is in no transaction, and nothing is held for it.
    fn is_idle(&self) -> bool {
        self.held.is_none() && self.flow.begun.is_none() && !self.spans()
    }

    /// Waits for the next thing to do.
    async fn next_event(&mut self) -> Wake {
        let idle = self.is_idle() && self.io.from_client.is_empty();
        let Self { io, held, handle, flow, shards, .. } = self;
        let listen = !flow.stalled && flow.client == Attendance::There;
        let mut server = held.as_mut().map(|held| &mut held.lease.connection().stream);
        std::future::poll_fn(|cx| {
            if let Some(order) = handle.order(idle) {
                return std::task::Poll::Ready(Wake::Order(order));
            }
            if flow.overrun.poll(cx).is_ready() {
                return std::task::Poll::Ready(Wake::Overrun);
            }
            if flow.begun.as_mut().is_some_and(|begun| begun.poll_idle(cx).is_ready()) {
                return std::task::Poll::Ready(Wake::Idleness);
            }
            if let Some(shards) = shards
                && let std::task::Poll::Ready(fault) = shards.poll_idle(cx)
            {
                return std::task::Poll::Ready(Wake::Parted(fault));
            }
            io.poll_event(server.as_deref_mut(), listen, cx).map(Wake::Event)
        })
        .await
    }

    /// Hands the bytes counted here on to the worker's counters.
    fn count_traffic(&mut self) {
        let traffic = std::mem::take(&mut self.io.traffic);
        let counters = &self.shared.counters;
        self.meter.usage.traffic(traffic.from_client, traffic.to_client);
        counters.received(Side::Client, traffic.from_client);
        counters.sent(Side::Client, traffic.to_client);
        counters.received(Side::Server, traffic.from_server);
        counters.sent(Side::Server, traffic.to_server);
    }

    /// The last word to the client; none where it would end up in the middle of a message of the server's.
    fn tell_last(&mut self, fault: &Fault) {
        if self.flow.relaying > 0 && !self.flow.swallowing {
            tracing::info!(%fault, "a client is left in the middle of a message");
            return;
        }
        self.io.settle_approved();
        self.io.share(&fault.encode("FATAL").into());
    }

    /// Writes what the client is still owed, for a while.
    async fn flush_client(&mut self) {
        let flushed = std::future::poll_fn(|cx| self.io.poll_farewell(cx));
        if tokio::time::timeout(control::FAREWELL_MAX, flushed).await.is_err() {
            tracing::debug!("a client did not read its last message");
        }
    }
}

enum Wake {
    Event(Event),
    /// What is under way has taken longer than a rule lets it.
    Overrun,
    /// The client was idle for too long in a transaction that no server knows of.
    Idleness,
    /// A transaction over several shards has ended while the client was idle.
    Parted(Fault),
    Order(Order),
    /// Nothing has happened for a while to a client that is leaving.
    Silence,
}
