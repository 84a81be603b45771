//! A connection on loan: given back whole, or closed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::connection::Connection;
use super::pool::Pool;

/// A connection checked out of its pool. Dropped, it is closed: half an answer belongs to nobody.
#[derive(Debug)]
pub struct Lease {
    /// None only between being taken apart and being dropped.
    connection: Option<Box<Connection>>,
    pool: Arc<Pool>,
}

impl Lease {
    pub(super) fn new(connection: Box<Connection>, pool: Arc<Pool>) -> Self {
        pool.server.outstanding.fetch_add(1, Ordering::Relaxed);
        Self { connection: Some(connection), pool }
    }

    /// The connection.
    #[expect(
        clippy::expect_used,
        reason = "the connection leaves only through methods that consume the lease"
    )]
    pub fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a lease holds its connection until it is consumed")
    }

    /// The pool it comes from.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Gives the connection back. The server must have said ReadyForQuery `I` and owe nothing.
    pub fn release(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.server.outstanding.fetch_sub(1, Ordering::Relaxed);
            self.pool.put(connection);
        }
    }

    pub(super) fn into_connection(mut self) -> Option<Box<Connection>> {
        let connection = self.connection.take();
        if connection.is_some() {
            self.pool.server.outstanding.fetch_sub(1, Ordering::Relaxed);
        }
        connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.server.outstanding.fetch_sub(1, Ordering::Relaxed);
            self.pool.forget(connection);
        }
    }
}

/// A lease on its way to someone who waits. If they have left meanwhile, the unused connection goes back.
#[derive(Debug)]
pub(super) struct Grant(Option<Lease>);

impl Grant {
    pub(super) fn new(lease: Lease) -> Self {
        Self(Some(lease))
    }

    pub(super) fn accept(mut self) -> Option<Lease> {
        self.0.take()
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if let Some(lease) = self.0.take() {
            lease.release();
        }
    }
}
