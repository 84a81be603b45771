//! One fill for each key in a process: the first who misses leads, others wait for its entry. No executor is asked for:
//! a follower is a future that its leader wakes.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hashbrown::HashTable;

use crate::entry::Entry;
use crate::key::Key;
use crate::ledger::Seq;

const SHARDS: usize = 64;

/// Fills in progress, by key.
#[derive(Debug)]
pub struct Flights {
    shards: Box<[Mutex<HashTable<Arc<Flight>>>]>,
}

#[derive(Debug)]
struct Flight {
    key: Box<[u8]>,
    hash: u64,
    /// The ledger's number before the leader's fill began.
    start: Seq,
    /// Locked to wait, to stop waiting, and to land.
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Those who wait; a place is empty once its follower has gone.
    Aloft(Vec<Option<Waker>>),
    Landed(Arc<Entry>),
    Failed,
}

/// What a session that misses is to do.
#[derive(Debug)]
pub enum Join {
    /// Fetch it, and tell the others.
    Lead(Leader),
    /// Wait for it.
    Follow(Follower),
}

/// Whoever fetches for all. Dropped without [`Leader::land`], the flight has failed, and each follower tries for itself.
#[derive(Debug)]
pub struct Leader {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
}

/// Whoever waits: resolves to the entry, or to nothing if the flight has failed. The entry may be served only if the
/// ledger still permits its stamp and tags: what was acknowledged since the flight began must be seen.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Follower {
    flight: Arc<Flight>,
    place: Option<usize>,
}

impl Flights {
    /// No flights.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() })
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, HashTable<Arc<Flight>>> {
        let shard = &self.shards[(hash >> 48) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the flight of a key, if there is one that may serve this session: one that began no earlier than `own`, the
    /// session's last write, and whose start `permitted` accepts (the ledger, by the tags that the statement is known to
    /// have). Else begins one, which takes the place of another that may not; `now` is the ledger's last number.
    pub fn join(
        self: &Arc<Self>,
        key: Key<'_>,
        now: Seq,
        own: Seq,
        permitted: impl FnOnce(Seq) -> bool,
    ) -> Join {
        let mut shard = self.shard(key.hash());
        let same = |flight: &Arc<Flight>| flight.hash == key.hash() && *flight.key == *key.bytes();
        let found = shard.find_mut(key.hash(), same);
        if let Some(flight) = &found
            && flight.start >= own
            && permitted(flight.start)
        {
            return Join::Follow(Follower { flight: Arc::clone(flight), place: None });
        }
        let flight = Arc::new(Flight {
            key: key.bytes().into(),
            hash: key.hash(),
            start: now,
            state: Mutex::new(State::Aloft(Vec::new())),
        });
        match found {
            Some(place) => *place = Arc::clone(&flight),
            None => {
                shard.insert_unique(key.hash(), Arc::clone(&flight), |flight| flight.hash);
            }
        }
        Join::Lead(Leader { flights: Arc::clone(self), flight })
    }

    /// How many flights there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let len = |shard: &Mutex<HashTable<_>>| shard.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.shards.iter().map(len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn end(&self, flight: &Arc<Flight>, end: State) {
        {
            let mut shard = self.shard(flight.hash);
            let place = shard.find_entry(flight.hash, |other| Arc::ptr_eq(other, flight));
            if let Ok(place) = place {
                place.remove();
            }
        }
        let before = std::mem::replace(&mut *flight.lock(), end);
        if let State::Aloft(waiting) = before {
            waiting.into_iter().flatten().for_each(Waker::wake);
        }
    }
}

impl Flight {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leader {
    /// The entry is there, whether or not it was stored. Nobody joins any more; whoever waits is served.
    pub fn land(self, entry: Arc<Entry>) {
        self.flights.end(&self.flight, State::Landed(entry));
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if matches!(*self.flight.lock(), State::Aloft(_)) {
            self.flights.end(&self.flight, State::Failed);
        }
    }
}

impl Future for Follower {
    type Output = Option<Arc<Entry>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let flight = Arc::clone(&self.flight);
        let mut state = flight.lock();
        match &mut *state {
            State::Landed(entry) => Poll::Ready(Some(Arc::clone(entry))),
            State::Failed => Poll::Ready(None),
            State::Aloft(waiting) => {
                let waker = Some(context.waker().clone());
                match self.place.and_then(|place| waiting.get_mut(place)) {
                    Some(place) => *place = waker,
                    None => {
                        self.place = Some(waiting.len());
                        waiting.push(waker);
                    }
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && let State::Aloft(waiting) = &mut *self.flight.lock()
            && let Some(waker) = waiting.get_mut(place)
        {
            *waker = None;
        }
    }
}

#[cfg(test)]
mod tests;
