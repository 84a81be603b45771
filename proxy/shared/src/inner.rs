//! What all parts of one shared level share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use redis::ConnectionInfo;
use tokio::sync::{Notify, watch};

use crate::client::Session;
use crate::config::{ConfigError, SharedConfig};
use crate::database::Queue;
use crate::entries::ReadScript;
use crate::miss::Miss;
use crate::names::Names;
use crate::stats::Stats;

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: SharedConfig,
    pub(crate) targets: Vec<ConnectionInfo>,
    pub(crate) names: Names,
    pub(crate) script: ReadScript,
    pub(crate) stats: Stats,
    /// Set when everything was published over it, taken away when it is lost.
    pub(crate) session: ArcSwapOption<Session>,
    /// The server of the bus, once one is known.
    pub(crate) server: watch::Sender<Option<ConnectionInfo>>,
    /// Locked to register a database and to look over all.
    queues: Mutex<Vec<Arc<Queue>>>,
    /// Tells the publisher that a queue is not empty.
    pub(crate) wake: Notify,
    /// This proxy's number on the bus.
    pub(crate) sender: u64,
}

impl Inner {
    pub(crate) fn new(config: SharedConfig) -> Result<Self, ConfigError> {
        let targets = config.open_targets()?;
        Ok(Self {
            targets,
            names: Names::new(&config.prefix),
            script: ReadScript::new(),
            stats: Stats::default(),
            session: ArcSwapOption::empty(),
            server: watch::Sender::new(None),
            queues: Mutex::new(Vec::new()),
            wake: Notify::new(),
            sender: rand::random(),
            config,
        })
    }

    /// There is a session, though its breaker may be open.
    pub(crate) fn is_connected(&self) -> bool {
        self.session.load().is_some()
    }

    /// The session, if its breaker lets calls through.
    pub(crate) fn session(&self) -> Result<Arc<Session>, Miss> {
        self.session.load_full().filter(|session| session.breaker.permits()).ok_or(Miss::Closed)
    }

    pub(crate) fn queues(&self) -> MutexGuard<'_, Vec<Arc<Queue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
