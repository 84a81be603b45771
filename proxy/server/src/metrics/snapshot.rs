//! The state of pools, servers and clients as metric families, asked for when Prometheus asks.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::caching::{self, CacheSnapshot};
use super::databases::{self, DatabaseSnapshot};
use super::family::{Family, Shape, counter, descriptors, gauge};
use super::plugins::{self, PluginSnapshot};
use super::rules::{self, RuleSnapshot};
use super::sharded::{self, ShardedSnapshot};
use crate::upstream::config::Role;
use crate::upstream::server::State as ServerState;

/// Who knows the state of pools, servers and clients. Asked from the admin's thread, a few times a minute.
pub trait PoolSource: Send + Sync {
    /// Every pool; no two with the same labels.
    fn pools(&self) -> Vec<PoolSnapshot>;
    /// Every database that was asked for; no two with the same labels.
    fn databases(&self) -> Vec<DatabaseSnapshot>;
    /// The cache of results; none if nothing is kept.
    fn cache(&self) -> Option<CacheSnapshot>;
    /// The policies' rules, in order.
    fn rules(&self) -> Vec<RuleSnapshot>;
    /// The plugins; no two with the same name.
    fn plugins(&self) -> Vec<PluginSnapshot>;
    /// The databases that are spread over shards; no two with the same name.
    fn sharded(&self) -> Vec<ShardedSnapshot>;
    /// Every server; no two with the same labels.
    fn servers(&self) -> Vec<ServerSnapshot>;
    /// The clients together.
    fn clients(&self) -> ClientSnapshot;
}

/// One pool at one moment.
#[derive(Debug, Clone, Default)]
pub struct PoolSnapshot {
    /// Name of its cluster.
    pub cluster: String,
    /// Address of its server.
    pub server: String,
    /// The server's role now.
    pub role: Option<Role>,
    /// Its database, as the server calls it.
    pub database: String,
    /// Its user.
    pub user: String,
    /// Connections at rest.
    pub idle: usize,
    /// Connections that serve a client.
    pub in_use: usize,
    /// Connections being opened.
    pub opening: usize,
    /// Connections it may have: `size` and `overflow`.
    pub connections_max: usize,
    /// Clients that wait.
    pub waiting: usize,
    /// Clients that may wait.
    pub waiters_max: usize,
    /// How long the first of them has waited.
    pub longest_wait: Duration,
    /// Check-outs that had to wait, since start.
    pub waits: u64,
    /// Time waited in all, since start.
    pub waited: Duration,
    /// Connections opened since start.
    pub opened: u64,
    /// Connections closed since start.
    pub closed: u64,
    /// Server logins that failed since start.
    pub login_failures: u64,
}

/// One server at one moment.
#[derive(Debug, Clone, Default)]
pub struct ServerSnapshot {
    /// Name of its cluster.
    pub cluster: String,
    /// Its address.
    pub server: String,
    /// Its role now; none while it has not said.
    pub role: Option<Role>,
    /// How it does.
    pub state: Option<ServerState>,
    /// WAL bytes that it has yet to replay, for a replica.
    pub lag_bytes: Option<u64>,
    /// How long it has not replayed what the primary had, for a replica.
    pub lag: Option<Duration>,
    /// Time that the last health question took.
    pub round_trip: Option<Duration>,
}

/// The clients at one moment.
#[derive(Debug, Clone, Default)]
pub struct ClientSnapshot {
    /// Connected, logged in or not.
    pub connected: usize,
    /// Connected and not yet logged in.
    pub unauthenticated: usize,
    /// Logged in, without a transaction and with no request under way.
    pub idle: usize,
    /// Most that may be connected.
    pub clients_max: usize,
    /// Most that may be connected and not yet logged in.
    pub unauthenticated_max: usize,
    /// Accepted since start.
    pub accepted: u64,
    /// Turned away since start because a limit was reached.
    pub refused: u64,
    /// Logins that failed since start.
    pub login_failures: u64,
}

const POOL_CONNECTIONS: Shape = gauge(
    "pointsman_pool_connections",
    "Server connections by state: idle, in_use (serving a client), opening.",
);
const POOL_LIMIT: Shape =
    gauge("pointsman_limit_pool_connections", "Most server connections of the pool: size and overflow.");
const POOL_WAITING: Shape =
    gauge("pointsman_pool_waiting_clients", "Clients that wait for a server connection.");
const POOL_WAITING_LIMIT: Shape =
    gauge("pointsman_limit_pool_waiting_clients", "Most clients that may wait for a server connection.");
const POOL_LONGEST_WAIT: Shape =
    gauge("pointsman_pool_longest_wait_seconds", "How long the client that waits longest has waited.");
const POOL_WAITS: Shape = counter("pointsman_pool_waits_total", "Check-outs that had to wait.");
const POOL_WAITED: Shape =
    counter("pointsman_pool_wait_seconds_total", "Time that check-outs have waited in all.");
const POOL_OPENED: Shape = counter("pointsman_pool_opened_connections_total", "Server connections opened.");
const POOL_CLOSED: Shape = counter("pointsman_pool_closed_connections_total", "Server connections closed.");
const POOL_LOGIN_FAILURES: Shape =
    counter("pointsman_pool_login_failures_total", "Logins that the server refused or did not answer.");
const SERVER_UP: Shape = gauge("pointsman_server_up", "1 if the server answers health questions, else 0.");
const SERVER_STATE: Shape = gauge(
    "pointsman_server_state",
    "1 for the server's state: unknown, up, slow, down or fenced; 0 for the others.",
);
const SERVER_LAG: Shape = gauge("pointsman_server_lag_bytes", "WAL that the replica has yet to replay.");
const SERVER_LAG_TIME: Shape = gauge(
    "pointsman_server_lag_seconds",
    "Age of the first WAL of the primary that the replica is not known to have replayed; 0 when it has all.",
);
const SERVER_ROUND_TRIP: Shape =
    gauge("pointsman_server_round_trip_seconds", "Time that the last health question took.");
const CLIENTS: Shape =
    gauge("pointsman_clients", "Clients connected, by state: unauthenticated, idle, active.");
const CLIENTS_LIMIT: Shape = gauge(
    "pointsman_limit_clients",
    "Most clients connected (any) and most not yet logged in (unauthenticated).",
);
const CLIENTS_ACCEPTED: Shape = counter("pointsman_accepted_clients_total", "Clients accepted.");
const CLIENTS_REFUSED: Shape =
    counter("pointsman_refused_clients_total", "Clients turned away because a limit was reached.");
const CLIENT_LOGIN_FAILURES: Shape =
    counter("pointsman_client_login_failures_total", "Clients whose login failed.");

/// A family of pools and how its value is read from one.
type PoolFamily = (&'static Shape, fn(&PoolSnapshot) -> f64);

const POOL_FAMILIES: [PoolFamily; 9] = [
    (&POOL_LIMIT, |pool| pool.connections_max as f64),
    (&POOL_WAITING, |pool| pool.waiting as f64),
    (&POOL_WAITING_LIMIT, |pool| pool.waiters_max as f64),
    (&POOL_LONGEST_WAIT, |pool| pool.longest_wait.as_secs_f64()),
    (&POOL_WAITS, |pool| pool.waits as f64),
    (&POOL_WAITED, |pool| pool.waited.as_secs_f64()),
    (&POOL_OPENED, |pool| pool.opened as f64),
    (&POOL_CLOSED, |pool| pool.closed as f64),
    (&POOL_LOGIN_FAILURES, |pool| pool.login_failures as f64),
];

const OTHER_SHAPES: [&Shape; 11] = [
    &POOL_CONNECTIONS,
    &SERVER_UP,
    &SERVER_STATE,
    &SERVER_LAG,
    &SERVER_LAG_TIME,
    &SERVER_ROUND_TRIP,
    &CLIENTS,
    &CLIENTS_LIMIT,
    &CLIENTS_ACCEPTED,
    &CLIENTS_REFUSED,
    &CLIENT_LOGIN_FAILURES,
];

/// Collects the snapshots.
pub(super) struct State {
    source: Arc<OnceLock<Weak<dyn PoolSource>>>,
    descriptors: Vec<Desc>,
}

impl State {
    pub(super) fn new(source: Arc<OnceLock<Weak<dyn PoolSource>>>) -> Result<Self, prometheus::Error> {
        let shapes: Vec<_> = POOL_FAMILIES
            .iter()
            .map(|(shape, _)| *shape)
            .chain(OTHER_SHAPES)
            .chain(databases::shapes())
            .chain(rules::shapes())
            .chain(plugins::shapes())
            .chain(sharded::shapes())
            .chain(caching::shapes())
            .collect();
        Ok(Self { source, descriptors: descriptors(&shapes)? })
    }
}

impl Collector for State {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptors.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(source) = self.source.get().and_then(Weak::upgrade) else { return Vec::new() };
        let mut families = pool_families(&source.pools());
        families.extend(server_families(&source.servers()));
        families.extend(client_families(&source.clients()));
        families.extend(databases::families(&source.databases()));
        families.extend(rules::families(&source.rules()));
        families.extend(plugins::families(&source.plugins()));
        families.extend(sharded::families(&source.sharded()));
        families.extend(caching::families(source.cache().as_ref()));
        families
    }
}

fn pool_families(pools: &[PoolSnapshot]) -> Vec<MetricFamily> {
    let mut connections = Family::new(&POOL_CONNECTIONS);
    let mut others: Vec<_> = POOL_FAMILIES.iter().map(|(shape, read)| (Family::new(shape), read)).collect();
    for pool in pools {
        let labels = [
            ("cluster", pool.cluster.as_str()),
            ("server", &pool.server),
            ("role", role(pool.role)),
            ("database", &pool.database),
            ("user", &pool.user),
        ];
        for (state, count) in [("idle", pool.idle), ("in_use", pool.in_use), ("opening", pool.opening)] {
            let mut with_state = labels.to_vec();
            with_state.push(("state", state));
            connections.add(&with_state, count as f64);
        }
        for (family, read) in &mut others {
            family.add(&labels, read(pool));
        }
    }
    let others = others.into_iter().map(|(family, _)| family.done());
    std::iter::once(connections.done()).chain(others).collect()
}

/// The states and their names.
const STATES: [(ServerState, &str); 5] = [
    (ServerState::Unknown, "unknown"),
    (ServerState::Up, "up"),
    (ServerState::Slow, "slow"),
    (ServerState::Down, "down"),
    (ServerState::Fenced, "fenced"),
];

fn server_families(servers: &[ServerSnapshot]) -> [MetricFamily; 5] {
    let [mut up, mut state, mut lag, mut lag_time, mut round_trip] =
        [&SERVER_UP, &SERVER_STATE, &SERVER_LAG, &SERVER_LAG_TIME, &SERVER_ROUND_TRIP].map(Family::new);
    for server in servers {
        let labels =
            [("cluster", server.cluster.as_str()), ("server", &server.server), ("role", role(server.role))];
        let answers = matches!(server.state, Some(ServerState::Up | ServerState::Slow | ServerState::Fenced));
        up.add(&labels, f64::from(u8::from(answers)));
        for (known, name) in STATES {
            let mut with_state = labels.to_vec();
            with_state.push(("state", name));
            state.add(&with_state, f64::from(u8::from(server.state == Some(known))));
        }
        if let Some(bytes) = server.lag_bytes {
            lag.add(&labels, bytes as f64);
        }
        if let Some(time) = server.lag {
            lag_time.add(&labels, time.as_secs_f64());
        }
        if let Some(time) = server.round_trip {
            round_trip.add(&labels, time.as_secs_f64());
        }
    }
    [up.done(), state.done(), lag.done(), lag_time.done(), round_trip.done()]
}

fn client_families(clients: &ClientSnapshot) -> [MetricFamily; 5] {
    let mut now = Family::new(&CLIENTS);
    let active = clients.connected.saturating_sub(clients.unauthenticated).saturating_sub(clients.idle);
    for (state, count) in
        [("unauthenticated", clients.unauthenticated), ("idle", clients.idle), ("active", active)]
    {
        now.add(&[("state", state)], count as f64);
    }
    let mut limit = Family::new(&CLIENTS_LIMIT);
    limit.add(&[("state", "any")], clients.clients_max as f64);
    limit.add(&[("state", "unauthenticated")], clients.unauthenticated_max as f64);
    [
        now.done(),
        limit.done(),
        Family::single(&CLIENTS_ACCEPTED, clients.accepted as f64),
        Family::single(&CLIENTS_REFUSED, clients.refused as f64),
        Family::single(&CLIENT_LOGIN_FAILURES, clients.login_failures as f64),
    ]
}

fn role(role: Option<Role>) -> &'static str {
    match role {
        Some(Role::Primary) => "primary",
        Some(Role::Replica) => "replica",
        None => "unknown",
    }
}
