//! The result cache's second level: entries in Redis, shared by a fleet of proxies, and the bus by which they
//! hear of each other's invalidations. A single server or a Cluster. Whatever fails is a [`Miss`], counted,
//! and never an error.
//!
//! **Start**: [`Shared::start`] within a tokio runtime, once for a process; [`Shared::database`] for each
//! database, with a function that gives its ledger's last number. Nothing is waited for: until there is a
//! connection, and everything was published over it, each call is [`Miss::Closed`] at once.
//!
//! **A read** that the first level does not have: note [`Database::published`]; `Ledger::begin_fill` with
//! `Source::Shared` of that number; [`Database::get`]; if there is an entry, `Ledger::end_fill` with its tags
//! without the database's own (the one of [`DatabaseId::number`]), and its age decide. An entry is served
//! only if each of its tags has the generation in the store that it had before its query was sent.
//!
//! **A fill** from a server: [`Database::generations`] of the tags *before* the query is sent; then the
//! query; then `Ledger::end_fill`, and only if that permits it, [`Database::put`] with these generations as
//! the entry's tags. Tags that are invalidated in between, by whomever, make the entry invalid from the
//! start. Not put are fills whose tags are known only after the query, and fills from a replica: it may lack
//! what another proxy wrote and published already.
//!
//! **A write or a commit of the change stream**: [`Database::push`] of its tags, *then* their marks in the
//! ledger. The publisher takes all that has gathered, deletes the tags' generations, and tells the bus. A
//! client must not hear of its commit before others could know: [`Database::published_to`] the ledger's
//! number of the mark, within a bound.
//!
//! **The bus**: [`Bus::next`] in one task. [`BusEvent::Invalidate`] marks its tags in the ledger, without a
//! push: the store knows. At a [`BusEvent::Gap`] what others may have changed is flushed (`Ledger::close`);
//! at [`BusEvent::Open`] the ledger may be opened. With a change stream that is whole the proxy need not
//! close: the bus is only faster.
//!
//! **End**: [`Shared::close`] publishes what waits and says goodbye, so that nobody takes this proxy for
//! lost.
//!
//! Beside all that, [`Leases`]: numbers that one proxy holds at a time; and [`Kv`]: keys and values of others' making.
//!
//! What it rests on: a connection that still stands leads to a store that did not go back in time. Over a new
//! one nothing is believed until everything was invalidated through it. A Cluster's primary that was cut off
//! from the others may take invalidations that its successor never sees, until it notices
//! (`cluster-node-timeout`); then its sessions end.

mod backoff;
mod breaker;
mod bus;
mod client;
mod config;
mod database;
mod entries;
mod generations;
mod inner;
mod keeper;
mod kv;
mod leases;
mod miss;
mod names;
mod publisher;
mod stats;
mod topology;

pub use breaker::BreakerState;
pub use bus::{Bus, BusEvent, GAP_REASONS, GapReason};
pub use config::{ConfigError, SharedConfig};
pub use database::{Database, DatabaseId};
pub use kv::Kv;
pub use leases::{Leases, SKEW, Term};
pub use miss::{MISS_KINDS, Miss};
pub use stats::{Counts, UNREADABLE_NAMES};

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use database::Queue;
use inner::Inner;

/// The shared level of one process. Dropped, it ends as with [`Shared::close`], but nobody waits for that.
#[derive(Debug)]
pub struct Shared {
    inner: Arc<Inner>,
    /// Dropped to end the keeper.
    stop: watch::Sender<()>,
    keeper: JoinHandle<()>,
    listener: JoinHandle<()>,
}

impl Shared {
    /// Starts the tasks that keep the connection and listen to the bus, on the current tokio runtime.
    ///
    /// # Errors
    /// If the configuration is wrong. That a server is not there is none.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(config: SharedConfig) -> Result<(Self, Bus), ConfigError> {
        let inner = Arc::new(Inner::new(config)?);
        let (stop, stopped) = watch::channel(());
        // Two, at least, so that a gap and its end find room.
        let (events, receiver) = mpsc::channel(inner.config.events_max.max(2));
        let keeper = tokio::spawn(keeper::keep(Arc::clone(&inner), stopped));
        let listener = tokio::spawn(bus::listen(Arc::clone(&inner), events));
        Ok((Self { inner, stop, keeper, listener }, Bus { events: receiver }))
    }

    /// A database's handle. `last` gives the last number of its ledger, and is called often. To be called
    /// once for each database, and the handle cloned: another call makes another queue.
    #[must_use]
    pub fn database(&self, id: DatabaseId, last: impl Fn() -> u64 + Send + Sync + 'static) -> Database {
        let queue = Arc::new(Queue::new(id, Box::new(last)));
        self.inner.queues().push(Arc::clone(&queue));
        self.inner.wake.notify_one();
        Database { inner: Arc::clone(&self.inner), queue }
    }

    /// Whether there is a connection whose breaker is closed. See also [`Database::is_open`].
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.inner.session().is_ok()
    }

    /// The breaker's state: open, too, where there is no connection.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        let session = self.inner.session.load();
        session.as_ref().map_or(BreakerState::Open, |session| session.breaker.state())
    }

    /// This proxy's number on the bus.
    #[must_use]
    pub fn sender(&self) -> u64 {
        self.inner.sender
    }

    /// The counters now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let queue = self.inner.queues().iter().map(|queue| queue.length()).sum();
        self.inner.stats.counts(queue)
    }

    /// Publishes what waits, if the store is there, says goodbye and ends. Takes the configuration's patience
    /// at most twice.
    pub async fn close(self) {
        drop(self.stop);
        drop(self.keeper.await);
        self.listener.abort();
    }
}
