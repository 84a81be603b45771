//! Watches a cluster's servers by connections of its own: who is in recovery, on which timeline, how far replayed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::condition::{Condition, Patience};
use super::config::{Address, Role};
use super::election::Claim;
use super::own::{self, Own};
use super::server::{Server, State};
use crate::fault::Fault;

const QUESTION: &str = "SELECT pg_is_in_recovery(), \
     CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_walfile_name(pg_current_wal_lsn()) END, \
     (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END)::text";

/// One server under watch.
struct Watched {
    server: Arc<Server>,
    own: Option<Own>,
    addresses: Vec<SocketAddr>,
    /// Its answers so far.
    condition: Condition,
    /// The last failure logged, so that the log tells of changes only.
    logged: Option<String>,
}

/// Between two rounds out of turn.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// Watches until the cluster is retired.
pub async fn watch(cluster: Arc<Cluster>) {
    let mut watched: Vec<Watched> = Vec::new();
    while !cluster.is_retired() {
        for server in cluster.servers().iter().skip(watched.len()) {
            watched.push(Watched::new(Arc::clone(server)));
        }
        let mut claims = Vec::new();
        let rounds = watched.iter_mut().map(|watched| watched.round(&cluster));
        for claim in join_all(rounds).await {
            claims.extend(claim);
        }
        cluster.decide(&claims);
        let interval = cluster.config().health_interval;
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = cluster.suspected() => tokio::time::sleep(PAUSE_MIN.min(interval)).await,
        }
    }
}

/// Runs all rounds at once, so that one silent server does not hold up the others.
async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pending: Vec<_> = futures.map(|future| (Some(Box::pin(future)), None)).collect();
    std::future::poll_fn(|cx| {
        let mut waiting = false;
        for (future, output) in &mut pending {
            let Some(running) = future else { continue };
            match running.as_mut().poll(cx) {
                std::task::Poll::Ready(value) => {
                    *output = Some(value);
                    *future = None;
                }
                std::task::Poll::Pending => waiting = true,
            }
        }
        if waiting { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    pending.into_iter().filter_map(|(_, output)| output).collect()
}

impl Watched {
    fn new(server: Arc<Server>) -> Self {
        Self { server, own: None, addresses: Vec::new(), condition: Condition::default(), logged: None }
    }

    /// One question; returns the server's claim to be the primary, if it makes one.
    async fn round(&mut self, cluster: &Arc<Cluster>) -> Option<Claim> {
        if self.server.is_removed() {
            self.own = None;
            return None;
        }
        self.resolve().await;
        match self.ask(cluster).await {
            Ok(answer) => self.answered(cluster, &answer),
            Err(fault) => {
                self.own = None;
                self.failed(cluster, &fault);
                None
            }
        }
    }

    async fn ask(&mut self, cluster: &Arc<Cluster>) -> Result<Answer, Fault> {
        let config = cluster.config();
        let own = match self.own.take() {
            Some(own) if !own.is_closed() => own,
            _ => {
                let database = &config.maintenance_database;
                let own = own::connect(&config, &self.server, database, config.health_timeout).await?;
                self.listen_for_end(own, cluster)
            }
        };
        // Without the time that a new connection takes.
        let asked = Instant::now();
        let row = own::ask(config.health_timeout, own.query_one(QUESTION, &[])).await?;
        let unreadable = |error: tokio_postgres::Error| {
            Fault::upstream("08006", "unreadable health answer").because(own::why(&error))
        };
        let position: Option<String> = row.try_get(2).map_err(unreadable)?;
        let answer = Answer {
            asked,
            round_trip: asked.elapsed(),
            in_recovery: row.try_get(0).map_err(unreadable)?,
            wal_file: row.try_get(1).map_err(unreadable)?,
            position: position.as_deref().and_then(parse_lsn).unwrap_or(0),
        };
        self.own = Some(own);
        Ok(answer)
    }

    /// A server that ends the connection may have crashed, and may start again behind what it had replayed, sooner than the
    /// next question is due.
    fn listen_for_end(&self, mut own: Own, cluster: &Arc<Cluster>) -> Own {
        if let Some(ended) = own.ended() {
            let (cluster, index) = (Arc::clone(cluster), self.server.index);
            tokio::spawn(async move {
                if ended.await.is_ok() {
                    cluster.forget_coverage(index);
                    cluster.suspect();
                }
            });
        }
        own
    }

    fn answered(&mut self, cluster: &Cluster, answer: &Answer) -> Option<Claim> {
        let server = &self.server;
        server.set_round_trip(answer.round_trip);
        if self.logged.take().is_some() {
            tracing::info!(server = %server.config.address, "server answers again");
            cluster.lift_pauses(server.index);
        }
        let now = server.state();
        let role = if answer.in_recovery { Role::Replica } else { Role::Primary };
        let before = server.set_said(role);
        // Only a claim to be the primary is fenced.
        let now = if answer.in_recovery && now == State::Fenced { State::Up } else { now };
        let next = self.condition.answered(now, answer.round_trip, &cluster.config().patience);
        self.enter(cluster, next);
        if answer.in_recovery {
            if before != Some(Role::Replica) {
                cluster.forget_coverage(self.server.index);
            }
            cluster.replica_at(&self.server, answer.position);
            return None;
        }
        self.server.set_position(answer.position);
        if cluster.primary() == Some(self.server.index) {
            cluster.primary_at(answer.asked, answer.position);
        }
        let timeline = answer.wal_file.as_deref().and_then(timeline_of).unwrap_or(0);
        self.server.set_timeline(timeline);
        Some(Claim { server: self.server.index, timeline })
    }

    /// Notes the state that follows, and tells of a change.
    fn enter(&mut self, cluster: &Cluster, next: State) {
        let before = self.server.set_state(next);
        if before == next {
            return;
        }
        if before == State::Down && self.condition.take_lost() {
            self.server.start_slowly();
        }
        let server = &self.server.config.address;
        match (before, next) {
            (State::Unknown, _) => tracing::info!(%server, state = ?next, "server reached"),
            _ => tracing::warn!(%server, ?before, now = ?next, "a server's state has changed"),
        }
        if matches!((before, next), (State::Up, State::Slow) | (State::Slow, State::Up)) {
            return;
        }
        cluster.forget_coverage(self.server.index);
    }

    fn failed(&mut self, cluster: &Cluster, fault: &Fault) {
        let text = fault.to_string();
        if self.logged.as_ref() != Some(&text) {
            tracing::warn!(server = %self.server.config.address, %fault, "server does not answer its health question");
            self.logged = Some(text);
        }
        let configured = cluster.config().patience;
        // A replica is left at once; a primary is asked again, so that one lost packet moves nothing.
        let patience = match self.server.said() {
            Some(Role::Primary) => configured,
            _ => Patience { failures: 1, ..configured },
        };
        let next = self.condition.failed(self.server.state(), &patience);
        self.enter(cluster, next);
    }

    /// Looks the name up again; connections to addresses that it has left are drained.
    async fn resolve(&mut self) {
        let Address::Tcp { host, port } = &self.server.config.address else { return };
        if host.parse::<std::net::IpAddr>().is_ok() {
            return;
        }
        // A name that does not resolve now says nothing about the connections there are.
        let Ok(found) = tokio::net::lookup_host((host.as_str(), *port)).await else { return };
        let mut addresses: Vec<SocketAddr> = found.collect();
        addresses.sort();
        if !self.addresses.is_empty() && self.addresses != addresses {
            tracing::info!(server = %self.server.config.address, ?addresses, "the name resolves to other addresses");
            self.server.moved();
            self.own = None;
        }
        self.addresses = addresses;
    }
}

struct Answer {
    asked: Instant,
    round_trip: Duration,
    in_recovery: bool,
    wal_file: Option<String>,
    position: u64,
}

/// `16/B374D848` as a number.
pub fn parse_lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some(u64::from(u32::from_str_radix(high, 16).ok()?) << 32 | u64::from(u32::from_str_radix(low, 16).ok()?))
}

/// The timeline is the first eight hexadecimal digits of a WAL file's name.
fn timeline_of(wal_file: &str) -> Option<u32> {
    u32::from_str_radix(wal_file.get(..8)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_timelines_are_hexadecimal() {
        assert_eq!(parse_lsn("16/B374D848"), Some(0x16_B374_D848));
        assert_eq!(parse_lsn("nonsense"), None);
        assert_eq!(timeline_of("0000000A0000000000000001"), Some(10));
    }
}
