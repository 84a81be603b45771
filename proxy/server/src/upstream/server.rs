//! One PostgreSQL server as it is known to be now: its role, whether it answers, how busy it is.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::config::{Role, ServerConfig};

/// What is known of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Not asked yet.
    Unknown = 0,
    /// Answers, and is not in recovery.
    Primary = 1,
    /// Answers, and is in recovery.
    Replica = 2,
    /// Does not answer.
    Down = 3,
    /// Says that it is a primary, and so does another on the same or a newer timeline: gets nothing.
    Fenced = 4,
}

/// A server. Shared by its pools, its health task and the plans made for it.
#[derive(Debug)]
pub struct Server {
    /// Where it is and how it is reached.
    pub config: ServerConfig,
    /// Its place in the cluster's list.
    pub index: usize,
    state: AtomicU8,
    /// Of the primary's claim; 0 when unknown.
    timeline: AtomicU32,
    /// Counts up when the name resolves to other addresses: older connections are not used again.
    generation: AtomicU64,
    /// Connections checked out.
    pub outstanding: AtomicUsize,
    /// Of the last health question, in microseconds.
    round_trip: AtomicU64,
    /// Replay position last heard, as a 64-bit LSN.
    replayed: AtomicU64,
    /// No longer configured.
    removed: AtomicBool,
}

impl Server {
    /// A server of which nothing is known yet.
    pub fn new(config: ServerConfig, index: usize) -> Self {
        Self {
            config,
            index,
            state: AtomicU8::new(State::Unknown as u8),
            timeline: AtomicU32::new(0),
            generation: AtomicU64::new(0),
            outstanding: AtomicUsize::new(0),
            round_trip: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            removed: AtomicBool::new(false),
        }
    }

    /// What is known of it.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            1 => State::Primary,
            2 => State::Replica,
            3 => State::Down,
            4 => State::Fenced,
            _ => State::Unknown,
        }
    }

    /// Notes what is known of it; returns what was known before.
    pub fn set_state(&self, state: State) -> State {
        let before = self.state();
        self.state.store(state as u8, Ordering::Release);
        before
    }

    /// Whether reads may be sent to it as a replica.
    pub fn is_readable_replica(&self) -> bool {
        self.state() == State::Replica && !self.is_removed()
    }

    /// Whether it is no longer configured.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Notes whether it is configured.
    pub fn set_removed(&self, removed: bool) {
        self.removed.store(removed, Ordering::Release);
    }

    /// Timeline of its claim to be the primary.
    pub fn timeline(&self) -> u32 {
        self.timeline.load(Ordering::Acquire)
    }

    /// Notes its timeline.
    pub fn set_timeline(&self, timeline: u32) {
        self.timeline.store(timeline, Ordering::Release);
    }

    /// Counts up with each change of the addresses that its name resolves to.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Its name resolves to other addresses now.
    pub fn moved(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Time of the last health question.
    pub fn round_trip(&self) -> Duration {
        Duration::from_micros(self.round_trip.load(Ordering::Relaxed))
    }

    /// Notes the time of a health question.
    pub fn set_round_trip(&self, time: Duration) {
        self.round_trip.store(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// WAL position replayed (a replica) or inserted (a primary), as last heard.
    pub fn position(&self) -> u64 {
        self.replayed.load(Ordering::Relaxed)
    }

    /// Notes a WAL position.
    pub fn set_position(&self, lsn: u64) {
        self.replayed.store(lsn, Ordering::Relaxed);
    }

    /// The role to show for it.
    pub fn role(&self) -> Role {
        match self.state() {
            State::Primary | State::Fenced => Role::Primary,
            State::Replica => Role::Replica,
            State::Unknown | State::Down => self.config.expected,
        }
    }
}
