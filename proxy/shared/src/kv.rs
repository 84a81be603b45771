//! Keys and values of others' making in the same store: what plugins of a fleet share. One multiplexed connection, opened when it is
//! first used and anew after it failed. Nothing here touches entries or generations: their names begin otherwise.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, ConnectionInfo, Value};
use tokio::sync::Mutex;

use crate::client::Session;
use crate::config::{ConfigError, SharedConfig};
use crate::generations::millis;
use crate::miss::{Miss, Severity};

/// Adds to a number, and gives it a time to live if it is new. Gives a text back for what is no number.
const INCREMENT: &str = "\
    local known = redis.call('GET', KEYS[1])
    if known and not string.match(known, '^-?%d+$') then return 'not a number' end
    local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
    if not known and ARGV[2] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
    return sum";

/// The store, as keys and values.
#[derive(Debug)]
pub struct Kv {
    config: SharedConfig,
    targets: Vec<ConnectionInfo>,
    /// Locked while a connection is opened, and when one is taken up. The number says which address is next.
    session: Mutex<(Option<Arc<Session>>, usize)>,
}

impl Kv {
    /// A store that is not connected to yet.
    ///
    /// # Errors
    /// If the configuration is wrong.
    pub fn new(config: SharedConfig) -> Result<Self, ConfigError> {
        let targets = config.open_targets()?;
        Ok(Self { config, targets, session: Mutex::default() })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Miss`].
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Miss> {
        match self.ask(key, "GET", &[]).await? {
            Value::Nil => Ok(None),
            Value::BulkString(value) => Ok(Some(value)),
            _ => Err(Miss::Other),
        }
    }

    /// Sets a key, until it is overwritten or its time is over.
    ///
    /// # Errors
    /// [`Miss`]: it may be set or not.
    pub async fn set(&self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), Miss> {
        let life = ttl.map(|ttl| millis(ttl).max(1).to_string());
        let mut words: Vec<&[u8]> = vec![value];
        words.extend(life.as_ref().map(|_| b"PX".as_slice()));
        words.extend(life.as_ref().map(String::as_bytes));
        self.ask(key, "SET", &words).await.map(drop)
    }

    /// Removes a key, if it is there.
    ///
    /// # Errors
    /// [`Miss`]: it may be there or not.
    pub async fn delete(&self, key: &str) -> Result<(), Miss> {
        self.ask(key, "DEL", &[]).await.map(drop)
    }

    /// Adds to a decimal number, from 0 if there is none, and gives the sum; `None`: the value is no number. `ttl` counts if the key
    /// is new.
    ///
    /// # Errors
    /// [`Miss`]: it may be added or not.
    pub async fn increment(&self, key: &str, by: i64, ttl: Option<Duration>) -> Result<Option<i64>, Miss> {
        let mut command = redis::cmd("EVAL");
        let life = ttl.map(|ttl| millis(ttl).max(1).to_string()).unwrap_or_default();
        command.arg(INCREMENT).arg(1).arg(self.name(key)).arg(by).arg(life);
        match self.perform(key, &command).await? {
            Value::Int(sum) => Ok(Some(sum)),
            Value::BulkString(_) => Ok(None),
            _ => Err(Miss::Other),
        }
    }

    fn name(&self, key: &str) -> String {
        format!("{}kv:{key}", self.config.prefix)
    }

    async fn ask(&self, key: &str, verb: &str, words: &[&[u8]]) -> Result<Value, Miss> {
        let mut command = redis::cmd(verb);
        command.arg(self.name(key));
        for word in words {
            command.arg(*word);
        }
        self.perform(key, &command).await
    }

    async fn perform(&self, key: &str, command: &Cmd) -> Result<Value, Miss> {
        let patience = self.config.patience;
        let session = tokio::time::timeout(patience, self.session()).await.unwrap_or(Err(Miss::Deadline))?;
        let node = session.node(self.name(key).as_bytes());
        let asked = tokio::time::timeout(patience, session.command(node, command)).await;
        let answer = asked.map_or(Err(Miss::Deadline), |answer| answer.map_err(Miss::from));
        if let Err(miss) = &answer
            && miss.severity() != Severity::None
        {
            self.give_up(&session).await;
        }
        answer
    }

    async fn session(&self) -> Result<Arc<Session>, Miss> {
        let mut held = self.session.lock().await;
        if let Some(session) = &held.0 {
            return Ok(Arc::clone(session));
        }
        let target = &self.targets[held.1 % self.targets.len()];
        held.1 += 1;
        let session = Arc::new(Session::open(&self.config, target).await?);
        held.0 = Some(Arc::clone(&session));
        Ok(session)
    }

    /// A connection that failed is not used again.
    async fn give_up(&self, session: &Arc<Session>) {
        let mut held = self.session.lock().await;
        if held.0.as_ref().is_some_and(|known| Arc::ptr_eq(known, session)) {
            held.0 = None;
        }
    }
}
