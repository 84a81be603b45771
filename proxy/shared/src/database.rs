//! A database's handle: what its sessions call, and the queue of what is to be published for it.
//!
//! The queue is where the ledger's promise to a fill from the store is kept: whoever marks tags first puts
//! them here, the publisher notes the ledger's last number *before* it takes all, and has published up to
//! that number when the store has them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pointsman_cache::{Tag, Tags};
use tokio::sync::watch;

use crate::client::Session;
use crate::inner::Inner;
use crate::miss::Miss;
use crate::stats::add;

/// A database's number, the same in every proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatabaseId(pub(crate) u64);

impl DatabaseId {
    /// The database of this name in the cluster of this name: the names that the fleet shares and keys are
    /// made of.
    #[must_use]
    pub fn new(cluster: &[u8], database: &[u8]) -> Self {
        // No tag from policy begins so; were there one, it would invalidate too much.
        Self(Tag::named(database, &[b"\0everything of ", cluster].concat()).number())
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// The tag that every entry of it carries besides its own.
    pub(crate) fn everything(self) -> Tag {
        Tag::from_number(self.0)
    }
}

/// One database of the shared level; cheap to clone. Made by [`crate::Shared::database`].
#[derive(Debug, Clone)]
pub struct Database {
    pub(crate) inner: Arc<Inner>,
    pub(crate) queue: Arc<Queue>,
}

impl Database {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> DatabaseId {
        self.queue.id
    }

    /// Whether entries may be read and written now. A call at another time costs nothing and is
    /// [`Miss::Closed`].
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.session().is_ok()
    }

    /// These tags are invalid from now on. Called when they are marked in the ledger, *before* that. Takes a
    /// short lock and does not wait; the publisher does the rest. Beyond the queue's bound, and while there
    /// is no connection, it becomes everything.
    pub fn push(&self, tags: &Tags) {
        if tags.is_empty() {
            return;
        }
        let connected = self.inner.is_connected();
        let mut pending = self.queue.lock();
        if tags.is_everything() || !connected {
            pending.collapse();
        } else if !pending.everything {
            pending.tags.extend(tags.as_slice());
            if pending.tags.len() > self.inner.config.queue_tags_max {
                pending.collapse();
                add(&self.inner.stats.overflows, 1);
            }
        }
        drop(pending);
        self.inner.wake.notify_one();
    }

    /// The number up to which the store knows of all marks, for the ledger's `Source::Shared`: to be read
    /// before [`Database::get`] is called.
    #[must_use]
    pub fn published(&self) -> u64 {
        // The ledger first: what is marked after that is not meant, what was marked before is in the queue.
        let last = (self.queue.last)();
        let pending = self.queue.lock();
        if pending.is_empty() && !pending.in_flight && self.queue.is_whole() {
            return last;
        }
        *self.queue.published.borrow()
    }

    /// Waits until the store knows of all marks up to this number of the ledger. The caller bounds the wait.
    pub async fn published_to(&self, number: u64) {
        let mut published = self.queue.published.subscribe();
        while self.published() < number {
            if published.changed().await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn session(&self) -> Result<Arc<Session>, Miss> {
        if self.queue.is_whole() { self.inner.session() } else { Err(Miss::Closed) }
    }

    /// Counts a miss on its way out.
    pub(crate) fn counted<T>(&self, result: Result<T, Miss>) -> Result<T, Miss> {
        result.inspect_err(|miss| self.inner.stats.missed(*miss))
    }
}

/// What is to be published for a database.
pub(crate) struct Queue {
    pub(crate) id: DatabaseId,
    /// The ledger's last number.
    last: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Locked for as long as it takes to copy a few numbers.
    pending: Mutex<Pending>,
    published: watch::Sender<u64>,
    /// Since the connection was made, everything was published over it.
    whole: AtomicBool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Pending {
    tags: HashSet<Tag>,
    everything: bool,
    /// Something was taken, and the store has not said that it has it.
    in_flight: bool,
}

impl Pending {
    fn collapse(&mut self) {
        self.tags = HashSet::new();
        self.everything = true;
    }

    fn is_empty(&self) -> bool {
        self.tags.is_empty() && !self.everything
    }
}

impl Queue {
    /// A queue that holds everything: what was marked before is not known.
    pub(crate) fn new(id: DatabaseId, last: Box<dyn Fn() -> u64 + Send + Sync>) -> Self {
        let pending = Pending { everything: true, ..Pending::default() };
        let (pending, published) = (Mutex::new(pending), watch::Sender::new(0));
        Self { id, last, pending, published, whole: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    pub(crate) fn length(&self) -> u64 {
        let pending = self.lock();
        if pending.everything { 1 } else { pending.tags.len() as u64 }
    }

    /// What the store has may be of another time: everything is to be published before any of it is believed.
    pub(crate) fn doubt(&self) {
        self.whole.store(false, Ordering::Release);
        self.lock().collapse();
    }

    /// Takes all.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Batch> {
        let number = (self.last)();
        let mut pending = self.lock();
        if pending.is_empty() {
            return None;
        }
        let (tags, everything) = (std::mem::take(&mut pending.tags), std::mem::take(&mut pending.everything));
        pending.in_flight = true;
        Some(Batch { queue: Arc::clone(self), number, tags: tags.into_iter().collect(), everything })
    }
}

/// What was taken from a queue. Goes back into it when dropped.
#[derive(Debug)]
pub(crate) struct Batch {
    queue: Arc<Queue>,
    number: u64,
    pub(crate) tags: Vec<Tag>,
    pub(crate) everything: bool,
}

impl Batch {
    pub(crate) fn id(&self) -> DatabaseId {
        self.queue.id
    }

    /// The store has it.
    pub(crate) fn done(mut self) {
        if self.everything {
            self.queue.whole.store(true, Ordering::Release);
        }
        self.tags.clear();
        self.everything = false;
        self.queue.lock().in_flight = false;
        self.queue.published.send_modify(|published| *published = self.number.max(*published));
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let mut pending = self.queue.lock();
        if self.everything {
            pending.collapse();
        } else if !pending.everything {
            pending.tags.extend(self.tags.drain(..));
        }
        pending.in_flight = false;
    }
}
