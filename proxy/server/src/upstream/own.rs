//! Pointsman's own questions to a server: connections of its own user, outside of every pool.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_postgres::NoTls;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::NoTlsStream;

use super::config::{Address, ClusterConfig};
use super::connect::{REFUSED, goes_other_way, open};
use super::server::Server;
use crate::fault::Fault;
use crate::transport::config::TlsMode;
use crate::transport::stream::Stream;

/// A connection of Pointsman's own user. Closed when dropped.
#[derive(Debug)]
pub struct Own {
    client: tokio_postgres::Client,
    server: Arc<Server>,
    driver: tokio::task::JoinHandle<()>,
    /// Told when the server ends the connection.
    ended: Option<oneshot::Receiver<()>>,
}

impl Own {
    /// Completes when the server has ended the connection; with an error when we did. Given once.
    pub fn ended(&mut self) -> Option<oneshot::Receiver<()>> {
        self.ended.take()
    }

    /// Whether it leads to this server.
    pub fn leads_to(&self, server: &Arc<Server>) -> bool {
        Arc::ptr_eq(&self.server, server)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl std::ops::Deref for Own {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// Our own questions: every name is looked up in `pg_catalog` alone, whatever users put on their search paths.
    Ours,
    /// Questions of plugins, which name users' relations.
    Lookup,
}

impl Purpose {
    fn options(self) -> &'static str {
        match self {
            Self::Ours => "-c search_path=pg_catalog -c default_transaction_read_only=on",
            Self::Lookup => "-c standard_conforming_strings=on -c default_transaction_read_only=on",
        }
    }
}

/// Connects to `database` on `server` as the cluster's own user, within `limit`, for our own questions.
///
/// # Errors
/// 08001 or the server's SQLSTATE, with the cause.
pub async fn connect(
    cluster: &ClusterConfig,
    server: &Arc<Server>,
    database: &str,
    limit: Duration,
) -> Result<Own, Fault> {
    connect_for(Purpose::Ours, cluster, server, database, limit).await
}

/// The same for some purpose.
///
/// # Errors
/// 08001 or the server's SQLSTATE, with the cause.
pub async fn connect_for(
    purpose: Purpose,
    cluster: &ClusterConfig,
    server: &Arc<Server>,
    database: &str,
    limit: Duration,
) -> Result<Own, Fault> {
    let address = &server.config.address;
    let work = async {
        let stream = open(&server.config, server.config.tls.mode == TlsMode::Allow).await?;
        let encrypted = stream.is_tls();
        match log_in(purpose, (cluster, address), database, stream).await {
            Err(fault) if goes_other_way(&server.config, encrypted, &fault) => {
                log_in(purpose, (cluster, address), database, open(&server.config, encrypted).await?).await
            }
            outcome => outcome,
        }
    };
    let (client, connection) = tokio::time::timeout(limit, work)
        .await
        .map_err(|_| Fault::upstream("08001", format!("{address} did not answer within {limit:?}")))??;
    let (tell, ended) = oneshot::channel();
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "own connection ended");
        }
        // Whoever does not listen does not need to know.
        let _unheard = tell.send(());
    });
    Ok(Own { client, server: Arc::clone(server), driver, ended: Some(ended) })
}

async fn log_in(
    purpose: Purpose,
    (cluster, address): (&ClusterConfig, &Address),
    database: &str,
    stream: Stream,
) -> Result<(tokio_postgres::Client, tokio_postgres::Connection<Stream, NoTlsStream>), Fault> {
    let mut config = tokio_postgres::Config::new();
    config
        .user(&cluster.user)
        .dbname(database)
        .application_name("pointsman")
        .options(purpose.options())
        // The stream is under TLS already where the configuration says so.
        .ssl_mode(SslMode::Disable);
    if let Some(password) = &cluster.password {
        config.password(password);
    }
    config.connect_raw(stream, NoTls).await.map_err(|error| {
        let told = format!("Pointsman's own user \"{}\" could not log in to {address}", cluster.user);
        let refused = error.code().is_some_and(|code| code.code() == REFUSED);
        Fault::upstream(if refused { REFUSED } else { "08001" }, told).because(why(&error))
    })
}

/// The whole story of a `tokio_postgres` error, whose `Display` leaves the server's message out.
pub fn why(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{} ({})", server.message(), server.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

/// Bounds a question by `limit`.
///
/// # Errors
/// 08006 when the server refuses or does not answer in time.
pub async fn ask<T>(
    limit: Duration,
    question: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(limit, question).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            Err(Fault::upstream("08006", "a question of Pointsman's own failed").because(why(&error)))
        }
        Err(_) => Err(Fault::upstream("08006", format!("no answer within {limit:?}"))),
    }
}
