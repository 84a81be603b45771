//! One client's life after its login. `run` is the story; `request` tells the life of one request.

mod batch;
mod begin;
pub mod cancel;
mod configs;
mod control;
mod extended;
mod held;
mod io;
pub mod judge;
mod message;
mod names;
mod notes;
pub mod opening;
mod pins;
mod prepare;
mod relay;
mod request;
mod retry;
mod settle;
mod simple;
pub mod statements;
mod wants;

use std::sync::Arc;

use pointsman_wire::backend::TransactionStatus;
use pointsman_wire::owed::Owed;

pub use control::{Handle, Order};
use held::Held;
use io::{Event, Io};
use notes::Note;
pub use opening::Opening;
use pins::Pins;
use statements::Statements;
use wants::Wants;

use crate::fault::Fault;
use crate::metrics::{Side, WorkerCounters};
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
    /// This worker's counters.
    pub counters: Arc<WorkerCounters>,
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
    statements: Statements,
    pins: Pins,
    /// What the client was told of the parameters that servers report.
    told: Reported,
    flow: Flow,
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
    /// An error came since the last transaction boundary.
    failed: bool,
    /// A statement took or gave up something that outlives the transaction.
    probe_due: bool,
    /// Definitions were changed in this transaction.
    definitions_changed: bool,
    /// The server said that it is going.
    fatal: bool,
    /// Portals whose statements touch the session, until the transaction ends.
    portals: Vec<Portal>,
    /// The text by which the client began a read-only transaction that no server knows of yet.
    begun: Option<bytes::Bytes>,
    /// A read on a replica that can still be asked again elsewhere.
    retry: retry::Retry,
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
        let Opening { shared, handle, cancel, stream, unread, base, told } = opening;
        let mut pins = Pins::default();
        if shared.mode == PoolMode::Session {
            pins.add(Pins::SESSION_MODE);
        }
        Self {
            shared,
            handle,
            cancel,
            io: Io::new(stream, &unread),
            owed: Owed::default(),
            held: None,
            status: TransactionStatus::Idle,
            wants: Wants::new(base),
            statements: Statements::default(),
            pins,
            told,
            flow: Flow::default(),
        }
    }

    /// Serves the client until it leaves, must leave, or is told to.
    pub async fn run(mut self) -> End {
        let end = match self.serve().await {
            Ok(end) => end,
            Err(fault) => {
                self.shared.counters.error(fault.sqlstate.as_bytes());
                self.io.settle_approved();
                self.io.to_client.extend(&fault.encode("FATAL"));
                End::Fatal(fault)
            }
        };
        if !matches!(end, End::Client) {
            self.flush_client().await;
        }
        self.count_traffic();
        self.part();
        end
    }

    async fn serve(&mut self) -> Result<End, Fault> {
        loop {
            if self.take_requests().await? {
                return Ok(End::Client);
            }
            match self.wait().await {
                Wake::Event(Event::Client | Event::Room) => {}
                Wake::Event(Event::ClientGone) => return Ok(End::Client),
                Wake::Event(Event::Server) => self.relay()?,
                Wake::Event(Event::ServerGone(error)) => {
                    if let Some(end) = self.server_gone(&error)? {
                        return Ok(end);
                    }
                }
                Wake::Order(Order::Stop) => return Err(control::shutting_down()),
                Wake::Order(Order::Drain) => {
                    if self.is_idle() && self.io.from_client.is_empty() {
                        self.io.settle_approved();
                        self.io.to_client.extend(&control::shutting_down().encode("FATAL"));
                        return Ok(End::Shutdown);
                    }
                }
            }
        }
    }

    /// Whether the client is in no transaction, and nothing is held for it.
    fn is_idle(&self) -> bool {
        self.held.is_none() && self.flow.begun.is_none()
    }

    /// Waits for the next thing to do.
    async fn wait(&mut self) -> Wake {
        let idle = self.is_idle();
        let Self { io, held, handle, flow, .. } = self;
        let listen = !flow.stalled;
        let mut server = held.as_mut().map(|held| &mut held.lease.connection().stream);
        std::future::poll_fn(|cx| {
            if let Some(order) = handle.order(idle) {
                return std::task::Poll::Ready(Wake::Order(order));
            }
            io.poll_event(server.as_deref_mut(), listen, cx).map(Wake::Event)
        })
        .await
    }

    /// Hands the bytes counted here on to the worker's counters.
    fn count_traffic(&mut self) {
        let traffic = std::mem::take(&mut self.io.traffic);
        let counters = &self.shared.counters;
        counters.received(Side::Client, traffic.from_client);
        counters.sent(Side::Client, traffic.to_client);
        counters.received(Side::Server, traffic.from_server);
        counters.sent(Side::Server, traffic.to_server);
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
    Order(Order),
}
