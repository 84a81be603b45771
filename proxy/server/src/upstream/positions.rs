//! Asks the primary for its WAL position and the replicas for theirs, while any acknowledged write is pending.

use std::sync::Arc;

use hashbrown::HashMap;

use super::cluster::Cluster;
use super::freshness::{Freshness, Targets};
use super::health::parse_lsn;
use super::own::{self, Own};
use super::server::Server;
use crate::fault::Fault;

const PRIMARY: &str = "SELECT pg_current_wal_insert_lsn()::text";
const REPLICA: &str = "SELECT pg_last_wal_replay_lsn()::text WHERE pg_is_in_recovery()";

/// Asks until the cluster is retired.
pub async fn watch(cluster: Arc<Cluster>) {
    let mut asker = Asker { cluster, owns: HashMap::new(), targets: Targets::default(), primary: None };
    while !asker.cluster.is_retired() {
        let config = asker.cluster.config();
        match asker.round().await {
            Ok(true) => tokio::time::sleep(config.lsn_interval).await,
            Ok(false) => asker.cluster.positions_asked().await,
            Err(fault) => {
                // Health tells of servers that do not answer; here it only means: the primary serves the reads.
                tracing::debug!(%fault, "no WAL position");
                tokio::time::sleep(config.health_interval).await;
            }
        }
    }
}

struct Asker {
    cluster: Arc<Cluster>,
    /// By server index.
    owns: HashMap<usize, Own>,
    targets: Targets,
    /// The server that the targets are positions of.
    primary: Option<usize>,
}

impl Asker {
    /// One round of questions; false when nothing is pending.
    async fn round(&mut self) -> Result<bool, Fault> {
        let servers = self.cluster.servers();
        let replicas = self.cluster.replicas();
        let primary = self.cluster.primary();
        if primary != self.primary {
            self.targets.clear();
            self.primary = primary;
        }
        let Some(primary) = primary.and_then(|index| servers.get(index)) else { return Ok(false) };
        let databases: Vec<Arc<Freshness>> =
            self.cluster.databases().iter().map(|database| Arc::clone(&database.freshness)).collect();
        let pending = Targets::pending(&databases, &replicas);
        if pending.is_empty() {
            return Ok(false);
        }
        let lsn = self.ask(primary, PRIMARY).await?;
        // The answer counts only if this server was the primary all along.
        if self.cluster.primary() != self.primary {
            return Ok(true);
        }
        self.targets.add(lsn, pending);
        for replica in replicas.iter().filter_map(|index| servers.get(*index)) {
            match self.ask(replica, REPLICA).await {
                Ok(lsn) => {
                    replica.set_position(lsn);
                    self.targets.reached(replica.index, lsn);
                }
                Err(fault) => tracing::debug!(server = %replica.config.address, %fault, "no replay position"),
            }
        }
        self.targets.settle(&replicas);
        Ok(true)
    }

    async fn ask(&mut self, server: &Arc<Server>, question: &str) -> Result<u64, Fault> {
        let config = self.cluster.config();
        let own = match self.owns.remove(&server.index) {
            Some(own) if !own.is_closed() => own,
            _ => own::connect(&config, server, &config.maintenance_database, config.health_timeout).await?,
        };
        let row = own::ask(config.health_timeout, own.query_one(question, &[])).await?;
        let text: Option<String> = row
            .try_get(0)
            .map_err(|error| Fault::upstream("08006", "unreadable WAL position").because(own::why(&error)))?;
        self.owns.insert(server.index, own);
        text.as_deref().and_then(parse_lsn).ok_or_else(|| Fault::upstream("08006", "no WAL position"))
    }
}
