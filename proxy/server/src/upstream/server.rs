//! One PostgreSQL server as it is known to be now: its role, whether it answers, how far behind and how busy it is.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::config::{Role, ServerConfig};
use super::moment::Moment;

/// How a server does, whatever its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Not reached yet.
    Unknown = 0,
    /// Answers.
    Up = 1,
    /// Answers, but late: it gets reads only where no other fits.
    Slow = 2,
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
    made: Instant,
    state: AtomicU8,
    /// What it last said that it is: 0 nothing, 1 primary, 2 replica.
    role: AtomicU8,
    /// Of its claim to be the primary, or of the WAL that it replays; 0 when unknown.
    timeline: AtomicU32,
    /// Counts up when the name resolves to other addresses: older connections are not used again.
    generation: AtomicU64,
    /// Connections checked out.
    pub outstanding: AtomicUsize,
    /// Of the last health question, in microseconds.
    round_trip: AtomicU64,
    /// Replay position last heard, as a 64-bit LSN.
    position: AtomicU64,
    /// What it is known to have replayed of the primary's own timeline, as a 64-bit LSN.
    replayed: AtomicU64,
    /// Since when it has not replayed what the primary had.
    behind_since: Moment,
    /// When it answered again after it was down.
    back_since: Moment,
    /// No longer configured.
    removed: AtomicBool,
}

impl Server {
    /// A server of which nothing is known yet.
    pub fn new(config: ServerConfig, index: usize) -> Self {
        Self {
            config,
            index,
            made: Instant::now(),
            state: AtomicU8::new(State::Unknown as u8),
            role: AtomicU8::new(0),
            timeline: AtomicU32::new(0),
            generation: AtomicU64::new(0),
            outstanding: AtomicUsize::new(0),
            round_trip: AtomicU64::new(0),
            position: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            behind_since: Moment::default(),
            back_since: Moment::default(),
            removed: AtomicBool::new(false),
        }
    }

    /// How it does.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            1 => State::Up,
            2 => State::Slow,
            3 => State::Down,
            4 => State::Fenced,
            _ => State::Unknown,
        }
    }

    /// Notes how it does; returns how it did before.
    pub fn set_state(&self, state: State) -> State {
        let before = self.state();
        self.state.store(state as u8, Ordering::Release);
        before
    }

    /// What it last said that it is.
    pub fn said(&self) -> Option<Role> {
        match self.role.load(Ordering::Acquire) {
            1 => Some(Role::Primary),
            2 => Some(Role::Replica),
            _ => None,
        }
    }

    /// Notes what it says that it is; returns what it said before.
    pub fn set_said(&self, role: Role) -> Option<Role> {
        let before = self.said();
        let number = match role {
            Role::Primary => 1,
            Role::Replica => 2,
        };
        self.role.store(number, Ordering::Release);
        before
    }

    /// The role to show for it.
    pub fn role(&self) -> Role {
        self.said().unwrap_or(self.config.expected)
    }

    /// Whether reads may be sent to it as a replica.
    pub fn is_readable_replica(&self) -> bool {
        matches!(self.state(), State::Up | State::Slow)
            && self.said() == Some(Role::Replica)
            && !self.is_removed()
    }

    /// Whether it is no longer configured.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Notes whether it is configured.
    pub fn set_removed(&self, removed: bool) {
        self.removed.store(removed, Ordering::Release);
    }

    /// Timeline of its claim to be the primary, or of what it replays.
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
        self.position.load(Ordering::Relaxed)
    }

    /// Notes a WAL position.
    pub fn set_position(&self, lsn: u64) {
        self.position.store(lsn, Ordering::Relaxed);
    }

    /// What it is known to have replayed of the primary's own timeline; 0 while that is not known.
    pub fn replayed(&self) -> u64 {
        self.replayed.load(Ordering::Acquire)
    }

    /// Notes what it has replayed of the primary's own timeline.
    pub fn set_replayed(&self, lsn: u64) {
        self.replayed.store(lsn, Ordering::Release);
    }

    /// Notes since when it has not replayed what the primary had.
    pub fn set_behind_since(&self, since: Option<Instant>) {
        self.behind_since.set(self.made, since);
    }

    /// How long it has not replayed what the primary had.
    pub fn lag(&self) -> Duration {
        self.behind_since.get(self.made).map(|since| since.elapsed()).unwrap_or_default()
    }

    /// It has come back: its share of reads grows from now on.
    pub fn start_slowly(&self) {
        self.back_since.set(self.made, Some(Instant::now()));
    }

    /// The part of its share of reads that it gets while it starts slowly, from 0 to 1.
    pub fn share(&self, slow_start: Duration) -> f64 {
        let Some(since) = self.back_since.get(self.made) else { return 1.0 };
        let elapsed = since.elapsed();
        if elapsed < slow_start {
            return elapsed.as_secs_f64() / slow_start.as_secs_f64();
        }
        self.back_since.set(self.made, None);
        1.0
    }
}
