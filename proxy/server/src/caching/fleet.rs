//! The other proxies of the fleet: results shared with them in Redis, and their invalidations heard on its bus.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use hashbrown::HashMap;
use pointsman_cache::Ledger;
use pointsman_shared::{Bus, BusEvent, ConfigError, Counts, DatabaseId, Shared, SharedConfig};

use crate::upstream::database::Database;
use crate::upstream::watched::Hearing;

/// The fleet.
#[derive(Debug)]
pub struct Fleet {
    config: SharedConfig,
    /// Started on the watchers' runtime.
    shared: OnceLock<Shared>,
    /// Locked when a database joins, and at each message of the bus.
    databases: Mutex<HashMap<DatabaseId, Weak<Database>>>,
    /// Why the others are not heard; locked when that changes, and by keepers.
    gap: Mutex<Option<String>>,
}

impl Fleet {
    /// A fleet of which nothing is heard yet.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn new(config: SharedConfig) -> Result<Arc<Self>, ConfigError> {
        config.check()?;
        let gap = Mutex::new(Some("the bus is not open yet".to_owned()));
        Ok(Arc::new(Self { config, shared: OnceLock::new(), databases: Mutex::default(), gap }))
    }

    /// Connects, and listens to the bus, on the runtime that is entered, for as long as that lives. Called once, before
    /// any database joins.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn start(self: &Arc<Self>) -> Result<(), ConfigError> {
        let (shared, bus) = Shared::start(self.config.clone())?;
        if self.shared.set(shared).is_ok() {
            let fleet = Arc::clone(self);
            tokio::spawn(async move { fleet.listen(bus).await });
        }
        Ok(())
    }

    async fn listen(&self, mut bus: Bus) {
        while let Some(event) = bus.next().await {
            match event {
                BusEvent::Open => {
                    self.set_gap(None);
                    tracing::info!("other proxies are heard");
                }
                BusEvent::Gap(reason) => {
                    tracing::warn!(?reason, "other proxies may not have been heard");
                    self.set_gap(Some(format!("{reason:?}").to_lowercase()));
                    self.close_deaf();
                }
                BusEvent::Invalidate { database, tags, .. } => {
                    if let Some((database, ledger)) = self.find(database) {
                        ledger.invalidate(&tags);
                        database.freshness.note_all();
                    }
                }
            }
        }
    }

    /// Databases without a change stream hear of the others' writes by the bus alone.
    fn close_deaf(&self) {
        let databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        for database in databases.values().filter_map(Weak::upgrade) {
            match (database.watched.hearing(), database.ledger()) {
                (Hearing::Stream { .. }, _) | (_, None) => {}
                (_, Some(ledger)) => ledger.close(),
            }
        }
    }

    fn find(&self, id: DatabaseId) -> Option<(Arc<Database>, Arc<Ledger>)> {
        let databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        let database = databases.get(&id)?.upgrade()?;
        let ledger = Arc::clone(database.ledger()?);
        Some((database, ledger))
    }

    /// A database's results are shared from now on.
    pub fn join(&self, database: &Arc<Database>, ledger: &Arc<Ledger>) {
        let id = DatabaseId::new(database.cluster.as_bytes(), database.name.as_bytes());
        self.databases.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::downgrade(database));
        let ledger = Arc::clone(ledger);
        if let Some(shared) = self.shared.get() {
            database.share(|| shared.database(id, move || ledger.last().0));
        }
    }

    /// Why the others are not heard; none if they are.
    pub fn gap(&self) -> Option<String> {
        self.gap.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_gap(&self, why: Option<String>) {
        *self.gap.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// What was counted.
    pub fn counts(&self) -> Option<Counts> {
        self.shared.get().map(Shared::counts)
    }
}
