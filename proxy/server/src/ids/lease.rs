//! Leases of node numbers, renewed for as long as their database is configured.

mod redis;
mod table;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Grant, Leased, Maker};
use crate::fault::Fault;
use crate::upstream::config::NodeLease;

use redis::Redis;
use table::Table;

/// After how long what failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Where nodes are leased.
enum Store {
    Table(Box<Table>),
    Redis(Box<Redis>),
}

impl Store {
    fn of(maker: &Maker) -> Result<Self, Fault> {
        let owner = format!("{:016x}", rand::random::<u64>());
        match &maker.lease {
            NodeLease::Redis(config) => {
                Redis::new(config, &maker.database, owner).map(|redis| Self::Redis(Box::new(redis)))
            }
            NodeLease::Table => {
                let first = maker.shard.clone();
                let first = first.ok_or_else(|| Fault::pointsman("55000", "the database has no shards"))?;
                Ok(Self::Table(Box::new(Table::new(first, owner))))
            }
        }
    }

    /// Holds a node for longer, and says when to do so again; `None`: it is not held any more.
    async fn renew(&mut self, leased: &Leased) -> Result<Option<Duration>, Fault> {
        match self {
            Self::Table(table) => table.renew(leased).await,
            Self::Redis(redis) => redis.renew(leased).await,
        }
    }

    /// Leases a node, and says when to renew that.
    async fn take(&mut self) -> Result<(Leased, Duration), Fault> {
        match self {
            Self::Table(table) => table.take().await,
            Self::Redis(redis) => redis.take().await,
        }
    }
}

impl Maker {
    /// Leases a node, and renews the lease until it is retired. A row of the table is written once ids are asked for.
    pub async fn keep(self: Arc<Self>) {
        if self.node.is_some() {
            return;
        }
        let mut told = String::new();
        let mut store = match Store::of(&self) {
            Ok(store) => store,
            Err(fault) => return self.note(&fault, &mut told),
        };
        if matches!(store, Store::Table(_)) {
            self.wanted.notified().await;
        }
        while !self.retired.load(Ordering::Acquire) {
            let pause = match self.step(&mut store).await {
                Ok(pause) => {
                    told.clear();
                    pause
                }
                Err(fault) => {
                    self.note(&fault, &mut told);
                    AGAIN
                }
            };
            let _timeout = tokio::time::timeout(pause, self.retiring.notified()).await;
        }
    }

    /// What failed is told to those who ask for ids when there are none; and logged, once for as long as it stays the same.
    fn note(&self, fault: &Fault, told: &mut String) {
        let cause = fault.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
        let why = format!("{}{cause}", fault.told);
        if why != *told {
            tracing::warn!(%fault, "the lease of a node for ids");
        }
        if matches!(&**self.grant.load(), Grant::None(_)) {
            self.grant.store(Arc::new(Grant::None(why.clone().into())));
        }
        *told = why;
    }

    /// Renews the lease, or takes one; says when to come again.
    async fn step(&self, store: &mut Store) -> Result<Duration, Fault> {
        let database = &self.database;
        let grant = self.grant.load_full();
        if let Grant::Leased(leased) = &*grant {
            if let Some(pause) = store.renew(leased).await? {
                return Ok(pause);
            }
            tracing::warn!(node = leased.node, database, "the node for ids is no longer this proxy's");
            self.grant.store(Arc::new(Grant::None("its node is no longer this proxy's".into())));
        }
        let (leased, pause) = store.take().await?;
        tracing::info!(node = leased.node, database, "a node for ids is leased");
        self.grant.store(Arc::new(Grant::Leased(leased)));
        Ok(pause)
    }
}
