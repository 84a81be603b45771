//! Reads on a replica that fail before their first reply are asked again elsewhere: the client never knows.

use pointsman_wire::backend::TransactionStatus;
use pointsman_wire::frame::Header;
use pointsman_wire::owed::Deal;

use super::begin::Begun;
use super::plugged::Plugged;
use super::{End, Session};
use crate::fault::Fault;
use crate::transport::buffer::Buffer;
use crate::upstream::config::Role;

/// Requests kept for another try, in bytes.
const RETRY_BYTES_MAX: usize = 256 * 1024;
/// Room for requests that is kept from one to the next, in bytes.
const RETRY_BYTES_KEPT: usize = 16 * 1024;

/// SQLSTATEs by which a replica says that it cannot serve what a primary could: recovery conflict, read-only
/// transaction, recovery in progress, shutting down, starting up.
const REPLICA_ONLY: [&str; 6] = ["40001", "25006", "55000", "57P01", "57P02", "57P03"];

/// The requests that can still be asked again: each a query, or a batch with its `Sync`.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// The client's own bytes, oldest first; empty when there is nothing to retry.
    requests: Vec<u8>,
    /// How many they are.
    count: usize,
    /// The first of them is being answered.
    answered: bool,
    /// The transaction that they are the first statements of, which was held back until they came.
    begun: Option<Box<Begun>>,
    /// The server not to ask again.
    avoid: Option<usize>,
    /// The replica refused: the request goes elsewhere at its ReadyForQuery.
    refused: bool,
}

impl Retry {
    /// The server that failed the request.
    pub fn avoid(&self) -> Option<usize> {
        self.avoid
    }

    /// Whether more than the newest request can be asked again.
    pub fn has_earlier(&self) -> bool {
        self.count > 1
    }

    /// A transaction that was held back is sent, in front of its first statement.
    pub fn note_begun(&mut self, begun: Box<Begun>) {
        self.forget();
        self.begun = Some(begun);
    }

    fn forget(&mut self) {
        self.requests.clear();
        self.requests.shrink_to(RETRY_BYTES_KEPT);
        self.count = 0;
        self.answered = false;
        self.begun = None;
        self.avoid = None;
    }

    /// The first request is answered.
    fn pop(&mut self) {
        let mut len = 0;
        while let Ok(Some(header)) = Header::peek(self.requests.get(len..).unwrap_or_default()) {
            len += header.frame_len();
            if matches!(header.tag, b'Q' | b'S') {
                break;
            }
        }
        self.requests.drain(..len.min(self.requests.len()));
        self.count -= 1;
        self.answered = false;
    }
}

impl Session {
    /// Keeps the next `length` bytes of the client if they are a read on its way to a replica, behind nothing but such
    /// reads, and outside of a transaction or the first in it.
    pub(super) fn note_retry(&mut self, reads: bool, length: usize) {
        let free = self.status == TransactionStatus::Idle || self.flow.retry.begun.is_some();
        let on_replica = self.held.as_ref().is_some_and(|held| held.role == Role::Replica);
        let fits = length <= RETRY_BYTES_MAX.saturating_sub(self.flow.retry.requests.len());
        // What plugins said of it would be lost, or said of what they made of it.
        let touched = self.flow.replaced || self.flow.plugged.word().is_some();
        let retry = &mut self.flow.retry;
        retry.refused = false;
        // What is behind a request that is not kept cannot be asked again without answering out of order.
        if reads && free && !touched && on_replica && fits && self.owed.readies_forwarded() == retry.count {
            retry.requests.extend_from_slice(&self.io.from_client.bytes()[..length]);
            retry.count += 1;
        } else {
            retry.forget();
        }
    }

    /// A reply is on its way to the client: from now on the request cannot be asked again.
    pub(super) fn retry_is_over(&mut self, deal: Deal) {
        let retry = &mut self.flow.retry;
        if deal == Deal::Forward && !retry.refused && retry.count > 0 {
            retry.avoid = None;
            match retry.count {
                1 => retry.forget(),
                _ => retry.answered = true,
            }
        }
    }

    /// At ReadyForQuery: what is behind the request that is answered can be asked again still, unless it is in a
    /// transaction now.
    pub(super) fn retry_goes_on(&mut self) {
        let idle = self.status == TransactionStatus::Idle;
        let retry = &mut self.flow.retry;
        match retry.count {
            0 => {}
            1 => retry.forget(),
            _ if !idle || retry.begun.is_some() => retry.forget(),
            _ => retry.pop(),
        }
    }

    /// Whether an error of this SQLSTATE is kept from the client, since another server will do better.
    pub(super) fn retry_instead(&mut self, sqlstate: &str) -> bool {
        if self.has_unanswered() && REPLICA_ONLY.contains(&sqlstate) {
            self.flow.retry.refused = true;
        }
        self.flow.retry.refused
    }

    fn has_unanswered(&self) -> bool {
        let retry = &self.flow.retry;
        // What waits behind and was rewritten would be asked about again.
        retry.count > 0 && !retry.answered && self.flow.passing.is_none() && !self.flow.replaced
    }

    /// Whether the requests in flight can be asked again of another server.
    pub(super) fn can_retry(&self) -> bool {
        let on_replica = self.held.as_ref().is_some_and(|held| held.role == Role::Replica);
        on_replica && self.has_unanswered()
    }

    /// At ReadyForQuery: whether the request is asked again now.
    pub(super) fn retry_now(&mut self, own: bool) -> bool {
        if own || !self.flow.retry.refused {
            return false;
        }
        let index = self.held.as_ref().map(|held| held.server.index);
        self.flow.failed = false;
        if self.flow.retry.count == 1 && self.flow.retry.begun.is_none() {
            self.put_back(index);
        } else {
            // What follows on this connection is answered out of order, or in a transaction that has failed.
            self.ask_elsewhere(index);
        }
        true
    }

    /// Puts the requests in front of whatever the client has sent since.
    fn put_back(&mut self, avoid: Option<usize>) {
        let retry = &mut self.flow.retry;
        let mut inbox = Buffer::default();
        inbox.extend(&retry.requests);
        inbox.extend(self.io.from_client.bytes());
        self.io.from_client = inbox;
        retry.forget();
        retry.refused = false;
        retry.avoid = avoid;
        self.flow.filling = None;
        // What was known of the front of the inbox is not of these.
        self.flow.surveyed = 0;
        self.flow.admission = None;
        self.flow.plugged = Plugged::Unasked;
        self.flow.decided = None;
        self.shared.counters.retried();
    }

    /// Gives the connection up, and asks again elsewhere what was asked on it.
    fn ask_elsewhere(&mut self, avoid: Option<usize>) {
        let abandoned = self.owed.abandon();
        self.undo(abandoned);
        // What was answered before is the client's.
        self.io.settle_approved();
        self.io.from_server.consume(self.io.from_server.len());
        self.flow.relaying = 0;
        self.flow.fatal = false;
        let begun = self.flow.retry.begun.take();
        self.put_back(avoid);
        self.drop_held();
        if begun.is_some() {
            self.flow.begun = begun;
            self.status = TransactionStatus::InTransaction;
            self.note_answered();
        }
    }

    /// The server connection failed. The client hears of it unless nothing was asked, or can be asked elsewhere.
    pub(super) fn server_gone(&mut self, error: &std::io::Error) -> Result<Option<End>, Fault> {
        let Some(held) = &self.held else { return Ok(None) };
        let (index, address) = (held.server.index, held.server.config.address.to_string());
        self.note_lost();
        self.shared.cluster.suspect_server(index);
        if self.can_retry() {
            self.ask_elsewhere(Some(index));
            return Ok(None);
        }
        if self.flow.fatal {
            return Ok(Some(End::Fatal(Fault::upstream("57P01", "the server ended the connection"))));
        }
        Err(Fault::upstream("08006", format!("server {address} closed the connection unexpectedly"))
            .hint("The statement may or may not have been executed.")
            .because(error))
    }
}
