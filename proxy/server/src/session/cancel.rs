//! Cancel requests: from a client's key to the statement that runs for it now, and to no other.
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hashbrown::HashMap;
use pointsman_wire::startup::CancelRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::about::About;
use super::control::Handle;
use crate::random::same;
use crate::transport::dial::{To, dial};
use crate::upstream::config::Address;
use crate::upstream::connection::{CancelHold, CancelTarget};

/// Longest time that a cancel may take; its target is held for as long.
const CANCEL_MAX: Duration = Duration::from_secs(5);

/// The server connection that serves a session now.
#[derive(Debug, Default)]
pub struct CancelSlot(Mutex<Option<Arc<CancelTarget>>>);

impl CancelSlot {
    /// Says which connection serves the session from now on. The session calls it before the connection can serve
    /// anyone else.
    pub fn point_at(&self, target: Option<&Arc<CancelTarget>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = target.cloned();
    }

    /// Cancels what runs for the session now, without waiting for it; whose connection was asked, if one was.
    pub(super) fn cancel_in_background(&self) -> Option<Arc<CancelTarget>> {
        let hold = self.hold()?;
        let target = Arc::clone(hold.target());
        tokio::spawn(deliver(hold));
        Some(target)
    }

    /// Holds the connection that serves the session now.
    fn hold(&self) -> Option<CancelHold> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(CancelHold::new)
    }
}

/// One session as others may reach it.
#[derive(Debug)]
struct Live {
    secret: Bytes,
    slot: Arc<CancelSlot>,
    handle: Arc<Handle>,
    about: Arc<About>,
}

/// All sessions, by the process id that their clients were told.
#[derive(Debug, Default)]
pub struct Sessions {
    live: Mutex<HashMap<i32, Live>>,
}

/// A session's place among all sessions; dropped, the place is free.
#[derive(Debug)]
pub struct Place {
    sessions: Arc<Sessions>,
    /// What the client is told.
    pub process_id: i32,
    /// What the client is told.
    pub secret: Bytes,
    /// For `Session`.
    pub slot: Arc<CancelSlot>,
    /// For `Session`.
    pub handle: Arc<Handle>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.process_id);
    }
}

impl Sessions {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<i32, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sessions there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// A place for a new session, with a secret of `secret_len` random bytes (4 in protocol 3.0, 32 in 3.2).
    pub fn enter(self: &Arc<Self>, secret_len: usize, about: Arc<About>) -> Place {
        let secret: Bytes = (0..secret_len).map(|_| rand::random::<u8>()).collect::<Vec<u8>>().into();
        let slot = Arc::new(CancelSlot::default());
        let handle = Arc::new(Handle::default());
        let mut live = self.lock();
        let process_id = loop {
            let candidate = rand::random_range(1..i32::MAX);
            if !live.contains_key(&candidate) {
                break candidate;
            }
        };
        let (for_slot, for_handle) = (Arc::clone(&slot), Arc::clone(&handle));
        let entry = Live { secret: secret.clone(), slot: for_slot, handle: for_handle, about };
        live.insert(process_id, entry);
        Place { sessions: Arc::clone(self), process_id, secret, slot, handle }
    }

    /// All sessions, by the process id that their clients were told, in its order.
    pub fn all(&self) -> Vec<(i32, Arc<About>)> {
        let mut all: Vec<_> = self.lock().iter().map(|(id, live)| (*id, Arc::clone(&live.about))).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    /// Gives all sessions an order.
    pub fn give_all(&self, order: super::control::Order) {
        for live in self.lock().values() {
            live.handle.give(order);
        }
    }

    /// Cancels what runs for the session that the key names. Like PostgreSQL, says nothing about wrong keys.
    pub async fn cancel(&self, request: &CancelRequest) {
        let hold = {
            let live = self.lock();
            live.get(&request.process_id).filter(|live| same(&live.secret, &request.secret)).and_then(
                |live| {
                    let hold = live.slot.hold();
                    if hold.is_none() {
                        live.handle.cancel();
                    }
                    hold
                },
            )
        };
        if let Some(hold) = hold {
            deliver(hold).await;
        }
    }
}

/// Cancels what a client left behind that is gone.
pub(super) fn cancel_in_background(target: &Arc<CancelTarget>) {
    tokio::spawn(deliver(CancelHold::new(target)));
}

/// Sends the cancel and waits until the server has closed the connection: then it has been dealt with.
async fn deliver(hold: CancelHold) {
    let target = hold.target();
    let work = async {
        let to = match &target.address {
            Address::Tcp { host, port } => To::Tcp(host, *port),
            Address::Unix(path) => To::Unix(path),
        };
        let mut stream = dial(to, &target.tls, false).await?;
        let mut out = BytesMut::new();
        CancelRequest { process_id: target.process_id, secret: target.secret.clone() }.encode(&mut out);
        stream.write_all(&out).await?;
        stream.flush().await?;
        let mut rest = [0; 64];
        while stream.read(&mut rest).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    match tokio::time::timeout(CANCEL_MAX, work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a cancel request ended early"),
        Err(_) => {
            target.doubt();
            tracing::warn!(server = %target.address, "a cancel request took longer than {CANCEL_MAX:?}")
        }
    }
}
