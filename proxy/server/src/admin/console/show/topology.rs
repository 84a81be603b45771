//! SHOW SERVERS and SHOW DATABASES: the PostgreSQL servers of each cluster, and the databases on them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::pools::mode;
use crate::admin::console::table::{Table, flag, some};
use crate::proxy::Proxy;
use crate::upstream::cluster::Cluster;
use crate::upstream::config::{Address, Role};
use crate::upstream::server::{Server, State};

pub(super) const SERVERS: &[&str] = &[
    "cluster",
    "address",
    "role",
    "state",
    "timeline",
    "lag_bytes",
    "lag_seconds",
    "round_trip_us",
    "connections",
    "idle",
    "outstanding",
];

pub(super) const DATABASES: &[&str] = &[
    "name",
    "host",
    "port",
    "database",
    "force_user",
    "pool_size",
    "min_pool_size",
    "reserve_pool_size",
    "server_lifetime",
    "pool_mode",
    "load_balance_hosts",
    "max_connections",
    "current_connections",
    "max_client_connections",
    "current_client_connections",
    "paused",
    "disabled",
    "cluster",
    "configured",
];

/// A row for each server that is configured.
pub(super) fn servers(proxy: &Proxy, table: &mut Table) {
    for cluster in proxy.clusters.all().iter() {
        let all = cluster.servers();
        let primary = cluster.primary().and_then(|index| all.get(index));
        for server in all.iter().filter(|server| !server.is_removed()) {
            table.row(server_row(cluster, server, primary));
        }
    }
}

fn server_row(
    cluster: &Cluster,
    server: &Arc<Server>,
    primary: Option<&Arc<Server>>,
) -> [Option<String>; 11] {
    let is_replica = server.role() == Role::Replica;
    let (here, there) = (server.position(), primary.map_or(0, |primary| primary.position()));
    let lag = (is_replica && here > 0 && there > 0).then(|| there.saturating_sub(here));
    let accounts = cluster.accounts();
    let pools = || accounts.iter().flat_map(|account| account.pools());
    let uses = || pools().filter(|pool| Arc::ptr_eq(&pool.server, server)).map(|pool| pool.usage());
    [
        some(&cluster.config().name),
        some(&server.config.address),
        some(if is_replica { "replica" } else { "primary" }),
        some(state(server)),
        Some(server.timeline()).filter(|timeline| *timeline > 0).and_then(some),
        lag.and_then(some),
        lag.and_then(|_| some(format_args!("{:.3}", server.lag().as_secs_f64()))),
        some(server.round_trip().as_micros()),
        some(uses().map(|used| used.total()).sum::<usize>()),
        some(uses().map(|used| used.idle).sum::<usize>()),
        some(server.outstanding.load(Relaxed)),
    ]
}

/// How a server does, in a word.
pub(super) fn state(server: &Server) -> &'static str {
    match server.state() {
        State::Unknown => "unknown",
        State::Up => "up",
        State::Slow => "slow",
        State::Down => "down",
        State::Fenced => "fenced",
    }
}

/// A row for each database that is configured or was asked for; of a sharded one, for each of its shards.
pub(super) fn databases(proxy: &Proxy, table: &mut Table) {
    for cluster in proxy.clusters.all().iter() {
        for name in super::database_names(proxy, cluster) {
            table.row(database_row(proxy, cluster, &name));
        }
    }
}

fn database_row(proxy: &Proxy, cluster: &Arc<Cluster>, name: &str) -> [Option<String>; 19] {
    let config = cluster.config();
    let server_name = super::server_name(proxy, cluster, name);
    let all = cluster.servers();
    let (host, port) =
        match cluster.primary().and_then(|index| all.get(index)).map(|server| &server.config.address) {
            Some(Address::Tcp { host, port }) => (some(host), some(port)),
            Some(Address::Unix(path)) => (some(path.display()), None),
            None => (None, None),
        };
    let accounts = cluster.accounts();
    let of_it = accounts.iter().filter(|account| account.database.name == server_name);
    let connections: usize = of_it.flat_map(|account| account.pools()).map(|pool| pool.usage().total()).sum();
    let is_client = |cluster: &Arc<Cluster>, theirs: &Option<Arc<Cluster>>| {
        theirs.as_ref().is_some_and(|theirs| Arc::ptr_eq(theirs, cluster))
    };
    let sessions = proxy.sessions.all();
    let clients =
        sessions.iter().filter(|(_, about)| about.database == name && is_client(cluster, &about.cluster));
    let known = cluster.databases().into_iter().find(|database| database.name == server_name);
    [
        some(name),
        host,
        port,
        Some(server_name),
        None,
        some(config.pool.size),
        some(config.pool.min_idle),
        some(config.pool.overflow),
        some(config.pool.recycle.map_or(0, |age| age.as_secs())),
        some(mode(config.pool.mode)),
        None,
        // Connections are limited by pool, clients for the whole process.
        some(0),
        some(connections),
        some(0),
        some(clients.count()),
        flag(known.map_or_else(|| cluster.is_paused(), |database| database.gate.is_closed())),
        some(0),
        some(&config.name),
        flag(super::named(proxy, cluster).iter().any(|(known, _)| known == name)),
    ]
}
