//! Entries in the store: written with the generations that their tags had, read if these are still the same.
//!
//! A single server compares them itself, in a script, so that a read is one round trip. A Cluster's script
//! reaches one slot only: there the entry is read first and its tags' generations after it, which is as good,
//! as they are compared with what the store had *after* the call began.

use bytes::Bytes;
use pointsman_cache::codec::{HEAD, Portable, TAGS_AT, TAGS_COUNT_AT, decode, encode};
use pointsman_cache::{Key, TAGS_MAX};
use redis::{Cmd, Script, ServerErrorKind, Value};

use crate::client::Session;
use crate::database::Database;
use crate::generations::{generation, millis};
use crate::miss::Miss;
use crate::stats::add;

const READ: &str = include_str!("read.lua");

/// The script, known to the server by its hash.
#[derive(Debug)]
pub(crate) struct ReadScript(Script);

impl ReadScript {
    pub(crate) fn new() -> Self {
        Self(Script::new(READ))
    }
}

/// What the store has under a key.
enum Found {
    Absent,
    Invalid,
    /// With generations that were compared.
    Valid(Bytes),
    /// With generations that are to be compared.
    Unproven(Bytes),
}

impl Database {
    /// The entry of this key, whose parts may be `body_max` bytes. `Ok(None)` if there is none, or one of its
    /// tags was invalidated since its fill began. How old it is, and whether this proxy's ledger permits it,
    /// the caller checks.
    ///
    /// # Errors
    /// Any [`Miss`]; it was counted.
    pub async fn get(&self, key: Key<'_>, body_max: usize) -> Result<Option<Portable>, Miss> {
        let result = self.find(key, body_max).await;
        self.counted(result)
    }

    async fn find(&self, key: Key<'_>, body_max: usize) -> Result<Option<Portable>, Miss> {
        let session = self.session()?;
        let name = self.inner.names.entry(key);
        let work = async {
            let found = if session.is_single() {
                self.ask_script(&session, &name).await?
            } else {
                self.ask_plainly(&session, &name).await?
            };
            self.accept(&session, found, key, body_max).await
        };
        let found = session.within(self.inner.config.deadline, work).await?;
        if found.is_some() {
            add(&self.inner.stats.hits, 1);
        }
        Ok(found)
    }

    async fn ask_script(&self, session: &Session, name: &[u8]) -> Result<Found, Miss> {
        let script = &self.inner.script.0;
        let mut call = redis::cmd("EVALSHA");
        call.arg(script.get_hash()).arg(1).arg(name).arg(&self.inner.names.tags).arg(&HEAD[..]);
        call.arg(TAGS_COUNT_AT).arg(TAGS_AT).arg(TAGS_MAX);
        let value = match session.command(0, &call).await {
            Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
                session.command(0, redis::cmd("SCRIPT").arg("LOAD").arg(READ)).await?;
                session.command(0, &call).await?
            }
            value => value?,
        };
        match value {
            Value::Nil => Ok(Found::Absent),
            Value::Int(_) => Ok(Found::Invalid),
            Value::BulkString(bytes) => Ok(Found::Valid(bytes.into())),
            _ => Err(Miss::Other),
        }
    }

    async fn ask_plainly(&self, session: &Session, name: &[u8]) -> Result<Found, Miss> {
        match session.command(session.node(name), redis::cmd("GET").arg(name)).await? {
            Value::Nil => Ok(Found::Absent),
            Value::BulkString(bytes) => Ok(Found::Unproven(bytes.into())),
            _ => Err(Miss::Other),
        }
    }

    async fn accept(
        &self,
        session: &Session,
        found: Found,
        key: Key<'_>,
        body_max: usize,
    ) -> Result<Option<Portable>, Miss> {
        let stats = &self.inner.stats;
        let (bytes, proven) = match found {
            Found::Absent => {
                add(&stats.absent, 1);
                return Ok(None);
            }
            Found::Invalid => {
                add(&stats.invalid, 1);
                return Ok(None);
            }
            Found::Valid(bytes) => (bytes, true),
            Found::Unproven(bytes) => (bytes, false),
        };
        add(&stats.bytes_read, bytes.len());
        let entry = decode(&bytes, key.bytes(), body_max).map_err(Miss::Unreadable)?;
        if !self.is_listed(&entry) {
            return Err(Miss::Unlisted);
        }
        if !proven && !self.prove(session, &entry).await? {
            add(&stats.invalid, 1);
            return Ok(None);
        }
        Ok(Some(entry))
    }

    /// Whether an invalidation of everything reaches it. Of what has no tags no generation was compared.
    fn is_listed(&self, entry: &Portable) -> bool {
        entry.tags.iter().any(|(tag, _)| *tag == self.id().everything())
    }

    async fn prove(&self, session: &Session, entry: &Portable) -> Result<bool, Miss> {
        let names: Vec<Vec<u8>> = entry.tags.iter().map(|(tag, _)| self.inner.names.tag(*tag)).collect();
        let now = session
            .scatter(&names, 1, |pipeline, name| {
                pipeline.add_command(Cmd::get(name));
            })
            .await?;
        Ok(entry.tags.iter().zip(&now).all(|((_, then), now)| generation(now) == Some(*then)))
    }

    /// Stores an entry for `life`, or for as long as generations are kept if that is shorter. Its `tags` are
    /// what [`Database::generations`] said before its query was sent.
    ///
    /// # Errors
    /// Any [`Miss`]; it was counted.
    pub async fn put(&self, key: Key<'_>, entry: &Portable, life: std::time::Duration) -> Result<(), Miss> {
        let result = self.store(key, entry, life).await;
        self.counted(result)
    }

    async fn store(&self, key: Key<'_>, entry: &Portable, life: std::time::Duration) -> Result<(), Miss> {
        let session = self.session()?;
        let config = &self.inner.config;
        if !self.is_listed(entry) {
            return Err(Miss::Unlisted);
        }
        let bytes = encode(entry, key.bytes(), config.compress_from);
        let bytes = bytes.filter(|bytes| bytes.len() <= config.value_bytes_max).ok_or(Miss::TooLarge)?;
        let name = self.inner.names.entry(key);
        let mut set = redis::cmd("SET");
        set.arg(&name).arg(&bytes).arg("PX").arg(millis(life.min(config.generation_ttl)));
        let work = async { Ok(session.command(session.node(&name), &set).await?) };
        session.within(config.deadline, work).await?;
        add(&self.inner.stats.stored, 1);
        add(&self.inner.stats.bytes_written, bytes.len());
        Ok(())
    }
}
