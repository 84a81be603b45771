//! A read on a replica that fails before its first reply is asked again elsewhere: the client never knows.

use pointsman_wire::backend::TransactionStatus;
use pointsman_wire::owed::Deal;

use super::{End, Session};
use crate::fault::Fault;
use crate::transport::buffer::Buffer;
use crate::upstream::config::Role;

/// Longest request kept for another try, in bytes.
const RETRY_BYTES_MAX: usize = 256 * 1024;
/// Room for requests that is kept from one to the next, in bytes.
const RETRY_BYTES_KEPT: usize = 16 * 1024;

/// SQLSTATEs by which a replica says that it cannot serve what a primary could: recovery conflict, read-only
/// transaction, recovery in progress, shutting down, starting up.
const REPLICA_ONLY: [&str; 6] = ["40001", "25006", "55000", "57P01", "57P02", "57P03"];

/// The request that can still be asked again.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// The client's own bytes; empty when there is nothing to retry.
    request: Vec<u8>,
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
}

impl Session {
    /// Keeps the next `length` bytes of the client if they are a read, alone, on its way to a replica.
    pub(super) fn note_retry(&mut self, reads: bool, length: usize) {
        let retry = &mut self.flow.retry;
        let alone = self.owed.is_empty() && self.status == TransactionStatus::Idle;
        let on_replica = self.held.as_ref().is_some_and(|held| held.role == Role::Replica);
        // A second request behind the first: neither can be asked again without answering out of order.
        retry.request.clear();
        retry.refused = false;
        if reads && alone && on_replica && length <= RETRY_BYTES_MAX {
            retry.request.extend_from_slice(&self.io.from_client.bytes()[..length]);
        } else {
            retry.avoid = None;
        }
    }

    /// A reply is on its way to the client: from now on the request cannot be asked again.
    pub(super) fn retry_is_over(&mut self, deal: Deal) {
        let retry = &mut self.flow.retry;
        if deal == Deal::Forward && !retry.refused && !retry.request.is_empty() {
            retry.request.clear();
            retry.request.shrink_to(RETRY_BYTES_KEPT);
            retry.avoid = None;
        }
    }

    /// Whether an error of this SQLSTATE is kept from the client, since another server will do better.
    pub(super) fn retry_instead(&mut self, sqlstate: &str) -> bool {
        let retry = &mut self.flow.retry;
        if !retry.request.is_empty() && self.flow.passing.is_none() && REPLICA_ONLY.contains(&sqlstate) {
            retry.refused = true;
        }
        retry.refused
    }

    /// Whether the request in flight can be asked again of another server.
    pub(super) fn can_retry(&self) -> bool {
        let on_replica = self.held.as_ref().is_some_and(|held| held.role == Role::Replica);
        on_replica && !self.flow.retry.request.is_empty() && self.flow.passing.is_none()
    }

    /// At ReadyForQuery: whether the request is asked again now.
    pub(super) fn retry_now(&mut self, own: bool) -> bool {
        if own || !self.flow.retry.refused {
            return false;
        }
        let index = self.held.as_ref().map(|held| held.server.index);
        self.flow.failed = false;
        self.put_back(index);
        true
    }

    /// Puts the request in front of whatever the client has sent since.
    fn put_back(&mut self, avoid: Option<usize>) {
        let retry = &mut self.flow.retry;
        retry.refused = false;
        retry.avoid = avoid;
        let mut inbox = Buffer::default();
        inbox.extend(&retry.request);
        inbox.extend(self.io.from_client.bytes());
        self.io.from_client = inbox;
        retry.request.clear();
        self.shared.counters.retried();
    }

    /// The server connection failed. The client hears of it unless nothing was asked, or can be asked elsewhere.
    pub(super) fn server_gone(&mut self, error: &std::io::Error) -> Result<Option<End>, Fault> {
        let Some(held) = &self.held else { return Ok(None) };
        let (index, address) = (held.server.index, held.server.config.address.to_string());
        self.note_lost();
        self.shared.cluster.suspect_server(index);
        if self.can_retry() {
            let abandoned = self.owed.abandon();
            self.undo(abandoned);
            self.io.from_server.consume(self.io.from_server.len());
            self.flow.relaying = 0;
            self.flow.fatal = false;
            self.put_back(Some(index));
            self.drop_held();
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
