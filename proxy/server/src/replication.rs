//! Replication connections: logged in on both sides, then passed through byte by byte in session mode.
//! <https://www.postgresql.org/docs/current/protocol-replication.html>

use pointsman_wire::backend::{BackendKeyData, ParameterStatus, ReadyForQuery, TransactionStatus};
use pointsman_wire::startup::Startup;
use tokio::io::AsyncWriteExt;

use crate::client::login::Admitted;
use crate::fault::Fault;
use crate::upstream::cluster::Cluster;
use crate::upstream::connect::{LoggedIn, Login, log_in};
use crate::upstream::credentials::Credentials;

/// Whether the startup packet asks for replication: `true`, `on`, `yes`, `1` or `database`.
pub fn is_asked_for(startup: &Startup) -> bool {
    startup.get("replication").is_some_and(|value| {
        ["true", "on", "yes", "1", "database"].iter().any(|word| value.eq_ignore_ascii_case(word))
    })
}

/// Logs in to the primary with the client's own startup parameters.
///
/// # Errors
/// The server's refusal, or 08001 when it cannot be reached.
pub async fn connect(
    cluster: &Cluster,
    admitted: &Admitted,
    database: &str,
    credentials: Credentials,
) -> Result<LoggedIn, Fault> {
    let servers = cluster.servers();
    let missing = || Fault::upstream("08006", "no server is the primary now");
    let primary = cluster.primary().and_then(|index| servers.get(index)).ok_or_else(missing)?;
    let passed = |name: &str| !matches!(name, "user" | "database") && !name.starts_with("_pq_.");
    let parameters = admitted.startup.parameters.iter().filter(|(name, _)| passed(name)).cloned().collect();
    let login = Login { user: admitted.user.clone(), database: database.to_owned(), credentials, parameters };
    let limit = cluster.config().connect_timeout();
    tokio::time::timeout(limit, log_in(&primary.config, &login)).await.map_err(|_| {
        Fault::upstream(
            "08001",
            format!("connecting to {} took longer than {limit:?}", primary.config.address),
        )
    })?
}

/// Welcomes the client with what the server said, then passes bytes both ways until one side closes. The key is the
/// server's: a cancel for it is of no use here, as for any walsender.
pub async fn pass_through(mut admitted: Admitted, server: LoggedIn) {
    let LoggedIn { framed: mut upstream, key, reported } = server;
    for (name, value) in &reported {
        ParameterStatus { name, value }.encode(&mut admitted.out);
    }
    BackendKeyData { process_id: key.process_id, secret: key.secret }.encode(&mut admitted.out);
    ReadyForQuery(TransactionStatus::Idle).encode(&mut admitted.out);
    admitted.out.extend_from_slice(&upstream.inbox);
    let outcome = async {
        admitted.framed.send(&admitted.out).await?;
        upstream.stream.write_all(&admitted.framed.inbox).await?;
        tokio::io::copy_bidirectional(&mut admitted.framed.stream, &mut upstream.stream).await
    };
    if let Err(error) = outcome.await {
        tracing::debug!(%error, user = admitted.user, "replication connection ended");
    }
}
