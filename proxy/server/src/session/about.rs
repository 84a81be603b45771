//! What others may know of a session: who it is, what it holds, since when. Its own task notes changes at the edges of
//! transactions; the admin console reads them.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::transport::stream::{Ends, Stream};
use crate::upstream::cluster::Cluster;

use super::pins::Pins;

/// What a client is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Nothing, or nothing that takes a server connection.
    Idle,
    /// It holds a server connection.
    Active,
    /// It waits for one.
    Waiting,
}

/// A session as the console shows it.
#[derive(Debug)]
pub struct About {
    /// The role.
    pub user: String,
    /// The database, as the client asked for it.
    pub database: String,
    /// Where the database lives; None for the console's own clients.
    pub cluster: Option<Arc<Cluster>>,
    /// The ends of its socket.
    pub ends: Ends,
    /// The version of TLS, if it is used.
    pub tls: Option<&'static str>,
    /// When it logged in.
    pub since: SystemTime,
    begun: Instant,
    /// Microseconds from `begun` to its last request.
    asked: AtomicU64,
    /// Index of the server whose connection it holds, counted from 1; 0 for none.
    server: AtomicUsize,
    waiting: AtomicBool,
    pins: AtomicU8,
    prepared: AtomicUsize,
    application_name: Mutex<String>,
}

impl About {
    /// A client that has just logged in.
    pub fn new(user: &str, database: &str, cluster: Option<Arc<Cluster>>, stream: &Stream) -> Self {
        Self {
            user: user.to_owned(),
            database: database.to_owned(),
            cluster,
            ends: stream.ends(),
            tls: stream.tls_version(),
            since: SystemTime::now(),
            begun: Instant::now(),
            asked: AtomicU64::new(0),
            server: AtomicUsize::new(0),
            waiting: AtomicBool::new(false),
            pins: AtomicU8::new(0),
            prepared: AtomicUsize::new(0),
            application_name: Mutex::default(),
        }
    }

    /// It asks for something.
    pub fn note_request(&self, now: Instant) {
        let asked = now.saturating_duration_since(self.begun).as_micros();
        self.asked.store(u64::try_from(asked).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// It holds a connection to the server of this index, or to none.
    pub(super) fn note_server(&self, index: Option<usize>) {
        self.server.store(index.map_or(0, |index| index + 1), Ordering::Relaxed);
    }

    /// It waits for a connection since this moment, or no longer.
    pub(super) fn note_waiting(&self, since: Option<Instant>) {
        if let Some(since) = since {
            self.note_request(since);
        }
        self.waiting.store(since.is_some(), Ordering::Relaxed);
    }

    /// What it has at the end of a transaction.
    pub(super) fn note_state(&self, pins: Pins, prepared: usize) {
        self.pins.store(pins.bits(), Ordering::Relaxed);
        self.prepared.store(prepared, Ordering::Relaxed);
    }

    /// It calls itself something else.
    pub fn note_application_name(&self, name: &str) {
        let mut known = self.application_name.lock().unwrap_or_else(PoisonError::into_inner);
        name.clone_into(&mut known);
    }

    /// What it is doing.
    pub fn doing(&self) -> Doing {
        if self.waiting.load(Ordering::Relaxed) {
            Doing::Waiting
        } else if self.server.load(Ordering::Relaxed) > 0 {
            Doing::Active
        } else {
            Doing::Idle
        }
    }

    /// How long it has waited for a connection.
    pub fn waited(&self) -> Duration {
        match self.doing() {
            Doing::Waiting => self.begun.elapsed().saturating_sub(self.asked()),
            Doing::Idle | Doing::Active => Duration::ZERO,
        }
    }

    fn asked(&self) -> Duration {
        Duration::from_micros(self.asked.load(Ordering::Relaxed))
    }

    /// When it asked for something last; its login if it has not.
    pub fn last_request(&self) -> SystemTime {
        self.since + self.asked()
    }

    /// The address of the server whose connection it holds.
    pub fn server(&self) -> Option<String> {
        let index = self.server.load(Ordering::Relaxed).checked_sub(1)?;
        let servers = self.cluster.as_ref()?.servers();
        servers.get(index).map(|server| server.config.address.to_string())
    }

    /// Why it keeps that connection between transactions, in words.
    pub fn pins(&self) -> String {
        Pins::from_bits(self.pins.load(Ordering::Relaxed)).names().join(",")
    }

    /// Statements that it has prepared.
    pub fn prepared(&self) -> usize {
        self.prepared.load(Ordering::Relaxed)
    }

    /// What it calls itself.
    pub fn application_name(&self) -> String {
        self.application_name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The client's address and port, as they are shown: `unix` and 0 on a Unix-domain socket.
    pub fn peer(&self) -> (String, u16) {
        shown(self.ends.peer)
    }

    /// Our own address and port, as they are shown.
    pub fn local(&self) -> (String, u16) {
        shown(self.ends.local)
    }
}

fn shown(address: Option<SocketAddr>) -> (String, u16) {
    match address {
        Some(address) => (IpAddr::to_canonical(&address.ip()).to_string(), address.port()),
        None => ("unix".to_owned(), 0),
    }
}
