//! What plugins look up: read-only SQL, as the cluster's own user, on a replica that is up to date enough for reads, else on
//! the primary. Connections are kept for the next question, a few for each database.
//!
//! A text is proven to read before it is asked, by the same facts and catalog as a client's; the connection is read-only
//! besides. It is asked as `PREPARE` and `EXECUTE`, for these answer in text form, and its parameters become literals.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use futures_util::{StreamExt, pin_mut};
use pointsman_plugin_host::{Lookup, LookupError, LookupFuture, LookupRequest, Rows};
use pointsman_policy::{Access, Class, classify};
use pointsman_sql::{Facts, LexRules, quote_literal};
use tokio::sync::Semaphore;
use tokio_postgres::SimpleQueryMessage;

use crate::clusters::Clusters;
use crate::session::judge::judge;
use crate::upstream::cluster::Cluster;
use crate::upstream::own::{self, Own, Purpose};
use crate::upstream::server::Server;

/// Connections that all plugins together may have to one database.
const CONNECTIONS_MAX: usize = 16;
/// Connections to one database that wait for the next question.
const IDLE_MAX: usize = 8;
/// Statements that are kept prepared on one connection; then it is replaced.
const PREPARED_MAX: usize = 64;

/// Answers lookups, once it knows the clusters.
#[derive(Clone, Default)]
pub struct Lookups(Arc<Inner>);

#[derive(Default)]
struct Inner {
    clusters: OnceLock<Weak<Clusters>>,
    databases: Mutex<HashMap<String, Arc<Asking>>>,
}

/// The connections to one database.
struct Asking {
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

/// A connection with what is prepared on it.
struct Connection {
    own: Own,
    prepared: HashMap<u64, Box<str>>,
}

impl Lookups {
    /// The clusters are there.
    pub fn begin(&self, clusters: &Arc<Clusters>) {
        self.0.clusters.get_or_init(|| Arc::downgrade(clusters));
    }
}

impl Inner {
    fn asking(&self, database: String) -> Arc<Asking> {
        let mut databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        let known = databases.entry(database).or_insert_with(|| {
            Arc::new(Asking { permits: Semaphore::new(CONNECTIONS_MAX), idle: Mutex::default() })
        });
        Arc::clone(known)
    }

    /// The server to ask, and the database's name there.
    fn server(&self, database: &str) -> Result<(Arc<Cluster>, Arc<Server>, String), LookupError> {
        let unavailable = |why: &str| LookupError::Unavailable(why.to_owned());
        let clusters =
            self.clusters.get().and_then(Weak::upgrade).ok_or_else(|| unavailable("no clusters"))?;
        if clusters.find_group(database).is_some() {
            return Err(unavailable("the database is spread over shards, and a lookup asks one server"));
        }
        // The change stream knows databases by their names on the servers.
        let found = clusters.find(database).or_else(|| {
            let all = clusters.all();
            let known =
                |cluster: &&Arc<Cluster>| cluster.databases().iter().any(|known| known.name == database);
            Some((Arc::clone(all.iter().find(known)?), database.to_owned()))
        });
        let (cluster, name) = found.ok_or_else(|| unavailable("no such database"))?;
        let servers = cluster.servers();
        let terms = cluster.read_terms();
        let fresh = |server: &&Arc<Server>| {
            server.is_readable_replica() && terms.max_lag.is_none_or(|most| server.lag() <= most)
        };
        let nearest = servers.iter().filter(fresh).min_by_key(|server| server.round_trip());
        let primary = || cluster.primary().and_then(|index| servers.get(index));
        let server = nearest.or_else(primary).cloned().ok_or_else(|| unavailable("no server answers"))?;
        Ok((cluster, server, name))
    }
}

impl Lookup for Lookups {
    fn query(&self, request: LookupRequest) -> LookupFuture {
        let lookups = Arc::clone(&self.0);
        Box::pin(async move {
            let (cluster, server, database) = lookups.server(&request.database)?;
            proven_to_read(&request, &cluster, &database).await?;
            let asking = lookups.asking(format!("{}/{database}", cluster.config().name));
            let permit = asking.permits.acquire().await;
            let _permit = permit.map_err(|_| LookupError::Unavailable("shutting down".to_owned()))?;
            let mut connection = match asking.take(&server) {
                Some(connection) => connection,
                None => connect(&cluster, &server, &database).await?,
            };
            let answer = connection.ask(&request).await;
            // One that failed midway has rows on their way that nobody reads; one whose statement is not what it was begins anew.
            let usable = match &answer {
                Ok(_) => true,
                Err(LookupError::Failed { sqlstate, .. }) => !matches!(sqlstate.as_str(), "0A000" | "26000"),
                Err(_) => false,
            };
            if usable {
                asking.give_back(connection);
            }
            answer
        })
    }
}

/// Whether a text only reads, as the database's catalog says.
async fn proven_to_read(
    request: &LookupRequest,
    cluster: &Arc<Cluster>,
    database: &str,
) -> Result<(), LookupError> {
    let database = cluster.database(database);
    if database.is_catalog_awaited() {
        database.catalog_known(request.deadline).await;
    }
    let catalog = Arc::clone(&database.catalog());
    let judged = judge(request.sql.as_bytes(), LexRules::default(), &catalog);
    let facts: &Facts = &judged.facts;
    let class: Class = classify(facts, &catalog);
    if facts.single().is_none() {
        return Err(LookupError::Refused("it is not one statement that is understood".to_owned()));
    }
    if class.access != Access::Read {
        let reasons: Vec<String> = class.reasons.iter().map(ToString::to_string).collect();
        return Err(LookupError::Refused(format!("it is not proven to read only: {}", reasons.join("; "))));
    }
    Ok(())
}

/// Connects, however long this call may wait for it.
async fn connect(
    cluster: &Arc<Cluster>,
    server: &Arc<Server>,
    database: &str,
) -> Result<Connection, LookupError> {
    let config = cluster.config();
    let own = own::connect_for(Purpose::Lookup, &config, server, database, config.connect_timeout()).await;
    let own = own.map_err(|fault| LookupError::Unavailable(fault.to_string()))?;
    Ok(Connection { own, prepared: HashMap::new() })
}

impl Asking {
    /// A connection to this server that nobody uses.
    fn take(&self, server: &Arc<Server>) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.own.is_closed());
        let at = idle.iter().rposition(|connection| connection.own.leads_to(server))?;
        Some(idle.remove(at))
    }

    /// It is kept for the next question; of too many, the one that was not used for longest goes.
    fn give_back(&self, connection: Connection) {
        if connection.prepared.len() >= PREPARED_MAX {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= IDLE_MAX {
            idle.remove(0);
        }
        idle.push(connection);
    }
}

impl Connection {
    async fn ask(&mut self, request: &LookupRequest) -> Result<Rows, LookupError> {
        let LookupRequest { sql, params, limits, deadline, .. } = request;
        let mut hasher = DefaultHasher::new();
        sql.hash(&mut hasher);
        let id = hasher.finish();
        // In front of each: the one before may have left it little time.
        let timed = format!("SET statement_timeout = {}", deadline.as_millis().max(1));
        if self.prepared.get(&id).is_none_or(|known| **known != **sql) {
            let text = format!("{timed}; PREPARE lookup_{id:x} AS {sql}\n");
            self.own.batch_execute(&text).await.map_err(told)?;
            self.prepared.insert(id, sql.as_str().into());
        }
        let given: Vec<String> = params
            .iter()
            .map(|value| value.as_deref().map_or_else(|| "NULL".to_owned(), quote_literal))
            .collect();
        let arguments = if given.is_empty() { String::new() } else { format!(" ({})", given.join(", ")) };
        let text = format!("{timed}; EXECUTE lookup_{id:x}{arguments}");
        let answer = self.own.simple_query_raw(&text).await.map_err(told)?;
        pin_mut!(answer);
        let (mut rows, mut bytes) = (Rows::default(), 0);
        while let Some(message) = answer.next().await {
            match message.map_err(told)? {
                SimpleQueryMessage::RowDescription(columns) => {
                    rows.columns = columns.iter().map(|column| column.name().to_owned()).collect();
                }
                SimpleQueryMessage::Row(row) => {
                    let values = (0..row.len()).map(|at| row.try_get(at).map(|text| text.map(str::to_owned)));
                    let row = values.collect::<Result<Vec<_>, _>>().map_err(told)?;
                    bytes += row.iter().flatten().map(String::len).sum::<usize>();
                    rows.rows.push(row);
                    if rows.rows.len() > limits.rows_max || bytes > limits.bytes_max {
                        return Err(LookupError::TooLarge);
                    }
                }
                _ => {}
            }
        }
        Ok(rows)
    }
}

fn told(error: tokio_postgres::Error) -> LookupError {
    match error.as_db_error() {
        Some(said) => LookupError::Failed {
            sqlstate: said.code().code().to_owned(),
            message: said.message().to_owned(),
        },
        None => LookupError::Unavailable(own::why(&error)),
    }
}
