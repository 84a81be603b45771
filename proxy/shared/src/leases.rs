//! Numbers that are leased: a key for each, which expires unless its holder renews it.
//!
//! What two holders of a number make with it never overlaps, whatever the store forgets (a restart, an eviction, a replica that
//! takes over), for it is told apart by the store's clock and not by who has the key: a holder may make what is of a time in
//! `(from, until]`. `until` is a lease after the store's clock at the last renewal, and `from` is more than a lease after its
//! clock when the number was taken: later than the `until` of any holder before, of whom the store may know nothing any more.
//! A renewal fails once the key is another's, or gone. What this rests on is that the store's clock does not go back by more
//! than [`SKEW`] while the store forgets, and that a key which it evicted does not come back.

use std::time::Duration;

use redis::{Cmd, ConnectionInfo, Value};

use crate::client::Session;
use crate::config::{ConfigError, SharedConfig};
use crate::generations::millis;
use crate::miss::Miss;

const TAKE: &str = include_str!("leases/take.lua");
const RENEW: &str = include_str!("leases/renew.lua");

/// By how much the clocks of servers may differ of which one takes over from another.
pub const SKEW: Duration = Duration::from_secs(1);

/// The numbers that one set of owners leases from.
#[derive(Debug)]
pub struct Leases {
    config: SharedConfig,
    targets: Vec<ConnectionInfo>,
    /// What the names of the keys begin with: all of them are in one slot of a Cluster.
    prefix: String,
    owner: String,
    lease: Duration,
    session: Option<Session>,
    /// Which address is tried next.
    turn: usize,
}

/// What a holder may do, by the store's clock: milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// The time now.
    pub now_ms: u64,
    /// Nothing may be of this time or an earlier one. The same for as long as the number is held.
    pub from_ms: u64,
    /// Nothing may be of a later time than this.
    pub until_ms: u64,
}

impl Leases {
    /// Leases of `owner` among those who say the same `name`, and the same `lease`: for how long each is. Connects when it is first
    /// asked.
    ///
    /// # Errors
    /// If the configuration is wrong.
    pub fn new(
        config: SharedConfig,
        name: &str,
        owner: String,
        lease: Duration,
    ) -> Result<Self, ConfigError> {
        let targets = config.open_targets()?;
        let prefix = format!("{}{{nodes.{name}}}:", config.prefix);
        Ok(Self { config, targets, prefix, owner, lease, session: None, turn: 0 })
    }

    /// Leases the highest number below `count` that nobody holds; `None` if all are held.
    ///
    /// # Errors
    /// [`Miss`]. A number that was taken meanwhile is held until its lease ends.
    pub async fn take(&mut self, count: u16) -> Result<Option<(u16, Term)>, Miss> {
        let mut all = redis::cmd("MGET");
        for number in 0..count {
            all.arg(self.key(number));
        }
        let Value::Array(holders) = self.ask(&all).await? else { return Err(Miss::Other) };
        let free = (0..count).zip(holders).filter(|(_, holder)| *holder == Value::Nil);
        for (number, _) in free.collect::<Vec<_>>().into_iter().rev() {
            if let Some(now_ms) = self.run(TAKE, number).await? {
                let from_ms = now_ms + millis(self.lease) + millis(SKEW);
                return Ok(Some((number, self.term(now_ms, from_ms))));
            }
        }
        Ok(None)
    }

    /// Holds the number for longer; `None` if it is held no more.
    ///
    /// # Errors
    /// [`Miss`]: it may be held or not.
    pub async fn renew(&mut self, number: u16, from_ms: u64) -> Result<Option<Term>, Miss> {
        let now = self.run(RENEW, number).await?;
        Ok(now.map(|now_ms| self.term(now_ms, from_ms)))
    }

    fn term(&self, now_ms: u64, from_ms: u64) -> Term {
        Term { now_ms, from_ms, until_ms: now_ms + millis(self.lease) }
    }

    fn key(&self, number: u16) -> String {
        format!("{}{number}", self.prefix)
    }

    /// The store's clock, if the script does what it is for.
    async fn run(&mut self, script: &str, number: u16) -> Result<Option<u64>, Miss> {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(1).arg(self.key(number)).arg(&self.owner).arg(millis(self.lease));
        match self.ask(&command).await? {
            Value::Nil => Ok(None),
            Value::Int(now) => u64::try_from(now).map(Some).map_err(|_| Miss::Other),
            _ => Err(Miss::Other),
        }
    }

    /// Asks the node that keeps the keys. A connection that failed is not used again.
    async fn ask(&mut self, command: &Cmd) -> Result<Value, Miss> {
        let work = async {
            let session = match self.session.take() {
                Some(session) => session,
                None => Session::open(&self.config, &self.targets[self.turn % self.targets.len()]).await?,
            };
            let value = session.command(session.node(self.prefix.as_bytes()), command).await?;
            Ok((session, value))
        };
        match tokio::time::timeout(self.config.patience, work).await.unwrap_or(Err(Miss::Deadline)) {
            Ok((session, value)) => {
                self.session = Some(session);
                Ok(value)
            }
            Err(miss) => {
                self.turn += 1;
                Err(miss)
            }
        }
    }
}
