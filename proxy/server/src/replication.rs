//! Replication connections: logged in on both sides, then passed through byte by byte in session mode.
//! <https://www.postgresql.org/docs/current/protocol-replication.html>

use std::sync::Arc;

use pointsman_wire::backend::{BackendKeyData, ParameterStatus, ReadyForQuery, TransactionStatus};
use pointsman_wire::startup::Startup;
use tokio::io::AsyncWriteExt;

use crate::client::login::Admitted;
use crate::fault::Fault;
use crate::session::cancel::Place;
use crate::upstream::cluster::Cluster;
use crate::upstream::connect::{LoggedIn, Login, log_in};
use crate::upstream::connection::CancelTarget;
use crate::upstream::credentials::Credentials;

/// Whether the startup packet asks for replication: `database`, or any way to write a boolean.
///
/// # Errors
/// 22023 for anything else, as PostgreSQL says it.
pub fn is_asked_for(startup: &Startup) -> Result<bool, Fault> {
    let Some(value) = startup.get("replication") else { return Ok(false) };
    if value == "database" {
        return Ok(true);
    }
    parse_bool(value).ok_or_else(|| {
        Fault::client("22023", format!("invalid value for parameter \"replication\": \"{value}\""))
            .hint("Valid values are: \"false\", 0, \"true\", 1, \"database\".")
    })
}

/// `parse_bool` of PostgreSQL: a word or an unambiguous beginning of it, in any case.
fn parse_bool(value: &str) -> Option<bool> {
    let begins = |word: &str, least: usize| {
        value.len() >= least && word.get(..value.len()).is_some_and(|front| front.eq_ignore_ascii_case(value))
    };
    match value {
        "1" => Some(true),
        "0" => Some(false),
        _ if begins("true", 1) || begins("yes", 1) || begins("on", 2) => Some(true),
        _ if begins("false", 1) || begins("no", 1) || begins("off", 2) => Some(false),
        _ => None,
    }
}

/// A server connection that replicates for a client.
#[derive(Debug)]
pub struct Upstream {
    server: LoggedIn,
    cancel: Arc<CancelTarget>,
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
) -> Result<Upstream, Fault> {
    let servers = cluster.servers();
    let missing = || Fault::upstream("08006", "no server is the primary now");
    let primary = cluster.primary().and_then(|index| servers.get(index)).ok_or_else(missing)?;
    let passed = |name: &str| !matches!(name, "user" | "database") && !name.starts_with("_pq_.");
    let parameters = admitted.startup.parameters.iter().filter(|(name, _)| passed(name)).cloned().collect();
    let login = Login { user: admitted.user.clone(), database: database.to_owned(), credentials, parameters };
    let limit = cluster.config().connect_timeout();
    let config = &primary.config;
    let late =
        |_| Fault::upstream("08001", format!("connecting to {} took longer than {limit:?}", config.address));
    let server = tokio::time::timeout(limit, log_in(config, &login)).await.map_err(late)??;
    let (address, tls) = (config.address.clone(), config.tls.clone());
    let cancel = CancelTarget::new(address, tls, server.key.process_id, server.key.secret.clone());
    Ok(Upstream { server, cancel: Arc::new(cancel) })
}

/// Welcomes the client with what the server said, then passes bytes both ways until one side closes. An order to leave
/// ends it: a stream does not end by itself, and its reader knows where to go on.
pub async fn pass_through(mut admitted: Admitted, upstream: Upstream, place: &Place) {
    let Upstream { server: LoggedIn { framed: mut upstream, reported, .. }, cancel } = upstream;
    place.slot.point_at(Some(&cancel));
    for (name, value) in &reported {
        ParameterStatus { name, value }.encode(&mut admitted.out);
    }
    BackendKeyData { process_id: place.process_id, secret: place.secret.clone() }.encode(&mut admitted.out);
    ReadyForQuery(TransactionStatus::Idle).encode(&mut admitted.out);
    admitted.out.extend_from_slice(&upstream.inbox);
    let work = async {
        admitted.framed.send(&admitted.out).await?;
        upstream.stream.write_all(&admitted.framed.inbox).await?;
        tokio::io::copy_bidirectional(&mut admitted.framed.stream, &mut upstream.stream).await
    };
    let outcome = tokio::select! {
        outcome = work => outcome.map(drop),
        () = place.handle.ordered() => Err(std::io::Error::other("the proxy ends")),
    };
    place.slot.point_at(None);
    if let Err(error) = outcome {
        tracing::debug!(%error, user = admitted.user, "replication connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::parse_bool;

    #[test]
    fn booleans_are_written_as_postgresql_reads_them() {
        for word in ["t", "tr", "TRUE", "y", "Yes", "on", "1"] {
            assert_eq!(parse_bool(word), Some(true), "{word}");
        }
        for word in ["f", "fal", "FALSE", "n", "no", "of", "off", "0"] {
            assert_eq!(parse_bool(word), Some(false), "{word}");
        }
        for word in ["", "o", "truee", "11", "database ", "DATABASE", "onn", "é"] {
            assert_eq!(parse_bool(word), None, "{word}");
        }
    }
}
