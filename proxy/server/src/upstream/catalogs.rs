//! Reads each database's catalog from the primary: at first use, on a timer, and when definitions were changed.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use pointsman_policy::Overrides;
use pointsman_policy::catalog::{Catalog, Rows};
use pointsman_policy::queries::Question;
use tokio_postgres::SimpleQueryMessage;

use super::cluster::Cluster;
use super::database::Database;
use super::own::{self, Own};
use super::server::Server;
use crate::fault::Fault;

/// Reads until the cluster is retired.
pub async fn watch(cluster: Arc<Cluster>, overrides: Arc<ArcSwap<Overrides>>) {
    let mut reader = Reader { cluster, overrides, owns: HashMap::new(), logged: None };
    while !reader.cluster.is_retired() {
        let config = reader.cluster.config();
        let again = reader.round().await;
        let pause = if again { config.health_interval } else { config.catalog_refresh };
        tokio::select! {
            () = tokio::time::sleep(pause) => {
                for database in reader.cluster.databases() {
                    database.refresh();
                }
            }
            () = reader.cluster.catalogs_asked() => {}
        }
    }
}

struct Reader {
    cluster: Arc<Cluster>,
    overrides: Arc<ArcSwap<Overrides>>,
    /// By database, with the server that it leads to.
    owns: HashMap<String, (usize, Own)>,
    logged: Option<String>,
}

impl Reader {
    /// Reads the catalogs that are stale; true if one could not be read.
    async fn round(&mut self) -> bool {
        let mut failed = false;
        for database in self.cluster.databases() {
            if !database.take_stale() {
                continue;
            }
            match self.read(&database).await {
                Ok(catalog) => {
                    self.logged = None;
                    database.set_catalog(catalog);
                }
                Err(fault) => {
                    failed = true;
                    database.cannot_be_read();
                    let text = fault.to_string();
                    if self.logged.as_ref() != Some(&text) {
                        tracing::warn!(database = database.name, %fault,
                            "the catalog cannot be read: statements that call functions or read relations go to the primary");
                        self.logged = Some(text);
                    }
                }
            }
        }
        failed
    }

    async fn read(&mut self, database: &Database) -> Result<Catalog, Fault> {
        let servers = self.cluster.servers();
        let primary: &Arc<Server> = self
            .cluster
            .primary()
            .and_then(|index| servers.get(index))
            .ok_or_else(|| Fault::upstream("08001", "no primary to read the catalog from"))?;
        let config = self.cluster.config();
        let limit = config.connect_timeout();
        let own = match self.owns.remove(&database.name) {
            Some((index, own)) if index == primary.index && !own.is_closed() => own,
            _ => own::connect(&config, primary, &database.name, limit).await?,
        };
        let rows = ask(&own, limit).await?;
        self.owns.insert(database.name.clone(), (primary.index, own));
        Ok(Catalog::build(&rows, &self.overrides.load()))
    }
}

/// Asks all questions of one server.
///
/// # Errors
/// It does not answer in time, or not what it should.
pub async fn ask(own: &Own, limit: Duration) -> Result<Rows, Fault> {
    let mut rows = Rows::default();
    for question in Question::ALL {
        let answer = own::ask(limit, own.simple_query(question.sql())).await?;
        for message in answer {
            let SimpleQueryMessage::Row(row) = message else { continue };
            let values: Vec<Option<&str>> = (0..row.len()).map(|column| row.get(column)).collect();
            rows.add(question, &values).map_err(|error| Fault::upstream("XX000", error.to_string()))?;
        }
    }
    Ok(rows)
}
