//! The server connection that a session holds: how it gets it, keeps it in step, and gives it back.

use std::sync::Arc;

use pointsman_wire::backend::TransactionStatus;
use pointsman_wire::owed::{Ask, Deal};

use super::failover::{is_unreachable, no_primary};
use super::notes::Note;
use super::pins::{PROBE, Pins};
use super::statements::global_name;
use super::written::Written;
use super::{Session, message};
use crate::fault::{Fault, Side};
use crate::upstream::config::{PoolMode, Role};
use crate::upstream::connection::Place;
use crate::upstream::freshness::Writes;
use crate::upstream::lease::Lease;
use crate::upstream::ping;
use crate::upstream::server::{Server, State};
use crate::upstream::settings::difference;

/// Connections tried for one request, while settings cannot be brought to the client's on them.
const CONNECTION_TRIES: usize = 3;

/// A server connection on loan.
#[derive(Debug)]
pub(super) struct Held {
    pub lease: Lease,
    pub role: Role,
    pub server: Arc<Server>,
    /// What was sent that may write: the replies tell when it is visible.
    pub writes: Writes,
    /// The same for the cache, whose ledger tells relations and keys apart.
    pub written: Option<Box<Written>>,
    /// Which snapshot the statements of the transaction under way read from.
    pub snapshot: Snapshot,
}

/// Which snapshot a transaction's statements read from, as far as it matters on a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Snapshot {
    /// Each takes one of its own.
    Each,
    /// The next takes one that serves all that follow.
    Due,
    /// It was taken: what comes later is not seen, and not waited for.
    Taken,
}

/// Why no connection is held.
#[derive(Debug)]
pub(super) struct Unheld {
    pub fault: Fault,
    /// The server could not be reached, or is not what it was: another may serve, or this one later.
    pub unreachable: bool,
}

impl Held {
    /// Whether a statement is prepared on the connection.
    pub fn has(&mut self, id: u64) -> bool {
        self.lease.connection().prepared.get(&id).is_some_and(|place| *place == Place::Taken)
    }

    /// Whether something else may stand on the connection under the statement's name.
    pub fn may_have(&mut self, id: u64) -> bool {
        let connection = self.lease.connection();
        let name = global_name(id);
        let due = connection.to_close.len();
        connection.to_close.retain(|closed| *closed != name);
        connection.to_close.len() < due
            || connection.prepared.get(&id).is_some_and(|place| *place == Place::Unknown)
    }

    /// The connection's statements are gone, but for those that were prepared since.
    pub fn forget_all(&mut self) {
        for (_, place) in self.lease.connection().prepared.iter_mut() {
            *place = Place::Unknown;
        }
    }

    /// Something else stands on the connection under a statement's name: it is replaced at the next use.
    pub fn note_hollow(&mut self, id: u64) {
        self.note(id, Place::Unknown);
    }

    /// A statement is being prepared on the connection.
    pub fn note_prepared(&mut self, id: u64) {
        self.note(id, Place::Taken);
    }

    fn note(&mut self, id: u64, place: Place) {
        let connection = self.lease.connection();
        if let Some((pushed_out, _)) = connection.prepared.push(id, place)
            && pushed_out != id
        {
            connection.to_close.push(global_name(pushed_out));
        }
    }
}

impl Session {
    /// Borrows a connection to this replica, or to the primary, and brings its settings to the client's.
    pub(super) async fn hold(&mut self, replica: Option<usize>) -> Result<(), Fault> {
        let servers = self.shared.cluster.servers();
        let Some(server) = replica.and_then(|index| servers.get(index)) else {
            return self.hold_primary().await;
        };
        match self.borrow_from(server, Role::Replica).await {
            // A pool of ours that is full stays full for whoever has waited.
            Err(unheld) if !is_full(&unheld.fault) && !self.flow.ends() => {
                // What the server refuses to one client, it need not refuse to others.
                if unheld.unreachable {
                    self.shared.cluster.suspect_server(server.index);
                }
                self.shared.counters.retried();
                self.hold_primary().await
            }
            outcome => outcome.map_err(|unheld| unheld.fault),
        }
    }

    pub(super) async fn borrow_from(&mut self, server: &Arc<Server>, role: Role) -> Result<(), Unheld> {
        let mut tries = CONNECTION_TRIES;
        loop {
            tries -= 1;
            if let Err(fault) = self.check_out(server, role).await {
                let unreachable = is_unreachable(&fault);
                return Err(Unheld { fault, unreachable });
            }
            match self.confirm_settings().await {
                Ok(()) => return Ok(()),
                Err(fault) => {
                    // What the last client left may be what cannot be undone: that is not this client's fault.
                    self.drop_held();
                    if tries == 0 {
                        return Err(Unheld { fault, unreachable: false });
                    }
                }
            }
        }
    }

    async fn check_out(&mut self, server: &Arc<Server>, role: Role) -> Result<(), Fault> {
        let pool = self.shared.account.pool(server).ok_or_else(no_primary)?;
        let mut lease = match pool.try_checkout() {
            Some(lease) => lease,
            None => {
                let pool = Arc::clone(pool);
                Box::pin(self.queue_up(&pool, server.index, role)).await?
            }
        };
        self.meter.assigned(server.index);
        let connection = lease.connection();
        self.cancel.point_at(Some(&connection.cancel));
        self.wants.meet(&connection.settings);
        if !connection.unread.is_empty() {
            self.io.from_server.extend(connection.unread.bytes());
            connection.unread.consume(connection.unread.len());
            connection.unread.release();
        }
        self.held = Some(Held {
            lease,
            role,
            server: Arc::clone(server),
            writes: Writes::Nothing,
            written: None,
            snapshot: Snapshot::Each,
        });
        Ok(())
    }

    /// A change of role, and settings that an extension may have taken over since, are confirmed before anything runs
    /// under them; other settings travel with the query.
    async fn confirm_settings(&mut self) -> Result<(), Fault> {
        let (has, wants) = (self.wants.server(), self.wants.client());
        if Arc::ptr_eq(has, wants) || !(has.differ_in_identity(wants) || has.differ_in_placeholders(wants)) {
            return Ok(());
        }
        let sql = difference(self.wants.server(), self.wants.client());
        let Some(held) = &mut self.held else { return Ok(()) };
        let limit = held.lease.pool().config().connect_timeout;
        Box::pin(ping::run(held.lease.connection(), sql.as_bytes(), limit)).await.map_err(|fault| {
            Fault::pointsman("08006", "the session's settings could not be restored on a server connection")
                .because(fault)
        })?;
        self.forget_server_unnamed();
        self.wants.caught_up(false);
        Ok(())
    }

    /// A simple query does away with the connection's unnamed statement.
    pub(super) fn forget_server_unnamed(&mut self) {
        if let Some(held) = &mut self.held {
            held.lease.connection().unnamed = 0;
        }
    }

    /// Before a request, where the server is between requests: closes what is due, which a failed transaction takes too, and
    /// sends the settings that the connection lacks, which it does not.
    pub(super) fn catch_up(&mut self) {
        if self.flow.unsynced || self.owed.is_skipping() {
            return;
        }
        let Some(held) = &mut self.held else { return };
        let connection = held.lease.connection();
        for name in std::mem::take(&mut connection.to_close) {
            message::close_statement(&mut self.io.to_server, &name);
            self.owed.push(Ask::Close, Deal::Swallow, None);
        }
        if self.status == TransactionStatus::Failed || self.wants.agree() {
            return;
        }
        let sql = difference(self.wants.server(), self.wants.client());
        if !sql.is_empty() {
            message::query(&mut self.io.to_server, sql.as_bytes());
            self.owed.push(Ask::Query, Deal::Swallow, Some(Note::CatchUp));
            connection.unnamed = 0;
        }
        self.wants.caught_up(self.status == TransactionStatus::InTransaction);
    }

    /// Whether a connection is held of which nothing is awaited: the server is idle, owes nothing, is between two messages
    /// and waits for no `Sync`.
    pub(super) fn is_free(&self) -> bool {
        let between = self.owed.is_empty() && !self.owed.is_skipping() && self.flow.is_between_messages();
        between && self.status == TransactionStatus::Idle && !self.flow.unsynced && self.held.is_some()
    }

    /// Gives the connection back if the server is idle, owes nothing, is between two messages and waits for no `Sync`, and
    /// the session holds nothing on it.
    pub(super) fn release_if_free(&mut self) {
        if !self.is_free() {
            return;
        }
        if self.flow.probe_due {
            self.flow.probe_due = false;
            self.forget_server_unnamed();
            message::query(&mut self.io.to_server, PROBE);
            self.owed.push(Ask::Query, Deal::Swallow, Some(Note::Probe));
            return;
        }
        self.flow.stalled = false;
        if !self.pins.is_empty() {
            return;
        }
        let Some(mut held) = self.held.take() else { return };
        self.hand_in(held.lease.connection());
        self.cancel.point_at(None);
        self.meter.about.note_server(None);
        held.lease.release();
    }

    /// Leaves on the connection what the next session must know of it.
    fn hand_in(&mut self, connection: &mut crate::upstream::connection::Connection) {
        connection.settings = Arc::clone(self.wants.server());
        let rest = self.io.unscanned().len();
        if rest > 0 {
            connection.unread.extend(self.io.unscanned());
            self.io.settle_approved();
            self.io.from_server.consume(rest);
        }
    }

    /// Closes the connection held, if any.
    pub(super) fn drop_held(&mut self) {
        self.cancel.point_at(None);
        self.meter.lost();
        self.flow.filling = None;
        self.held = None;
        self.wants.lose_server();
        self.status = TransactionStatus::Idle;
        self.flow.unsynced = false;
        self.flow.stalled = false;
        self.io.to_server.consume(self.io.to_server.len());
        self.io.to_server.release();
    }

    /// A server that is no longer believed to be the primary gets nothing more.
    pub(super) fn refuse_fenced(&self) -> Result<(), Fault> {
        match &self.held {
            Some(held) if held.role == Role::Primary && held.server.state() == State::Fenced => {
                Err(Fault::upstream("57P01", "the server of this transaction is no longer the primary")
                    .hint("Try the transaction again."))
            }
            _ => Ok(()),
        }
    }

    /// The client has left: an open transaction is rolled back, a running statement is cancelled, and a connection
    /// that holds state of the session is reset or closed.
    pub(super) fn part(mut self) {
        let Some(mut held) = self.held.take() else { return };
        let connection = held.lease.connection();
        let between = self.owed.is_empty() && !self.owed.is_skipping() && self.flow.is_between_messages();
        let resting = between && !self.flow.unsynced && self.io.to_server.is_empty();
        let mut beyond = self.pins;
        beyond.clear(Pins::SESSION_MODE);
        if !resting || !beyond.is_empty() || self.flow.probe_due {
            if !self.owed.is_empty() {
                super::cancel::cancel_in_background(&connection.cancel);
            }
            self.cancel.point_at(None);
            return;
        }
        let discard = self.shared.mode == PoolMode::Session;
        if discard {
            connection.prepared.clear();
            connection.unnamed = 0;
            connection.settings = crate::upstream::settings::Settings::default().intern();
        } else {
            self.wants.rollback();
            connection.settings = Arc::clone(self.wants.server());
        }
        self.cancel.point_at(None);
        let open = self.status != TransactionStatus::Idle;
        tokio::spawn(async move {
            let limit = held.lease.pool().config().connect_timeout;
            let mut steps: Vec<&[u8]> = Vec::new();
            steps.extend(open.then_some(b"ROLLBACK".as_slice()));
            steps.extend(discard.then_some(b"DISCARD ALL".as_slice()));
            for sql in steps {
                if let Err(fault) = ping::run(held.lease.connection(), sql, limit).await {
                    tracing::debug!(%fault, "a connection could not be cleaned and is closed");
                    return;
                }
            }
            if let Some(written) = held.written.take() {
                written.rolled_back();
            }
            held.lease.release();
        });
    }
}

/// Whether no connection of our own pool became free.
fn is_full(fault: &Fault) -> bool {
    fault.side == Side::Pointsman && fault.sqlstate == "53300"
}
