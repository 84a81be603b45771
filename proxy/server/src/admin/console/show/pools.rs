//! SHOW POOLS and SHOW LISTS: connections and clients of each database and user.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::admin::console::table::{Table, flag, some};
use crate::proxy::Proxy;
use crate::session::about::{About, Doing};
use crate::upstream::account::Account;
use crate::upstream::cluster::Cluster;
use crate::upstream::config::{PoolMode, Role};
use crate::upstream::pool::PoolUse;

pub(super) const COLUMNS: &[&str] = &[
    "database",
    "user",
    "cl_active",
    "cl_waiting",
    "cl_active_cancel_req",
    "cl_waiting_cancel_req",
    "sv_active",
    "sv_active_cancel",
    "sv_being_canceled",
    "sv_idle",
    "sv_used",
    "sv_tested",
    "sv_login",
    "maxwait",
    "maxwait_us",
    "pool_mode",
    "load_balance_hosts",
    "cluster",
    "sv_primary",
    "sv_replica",
    "sv_max",
    "paused",
];

/// The pools of one account together.
#[derive(Default)]
struct Sum {
    used: PoolUse,
    primary: usize,
    replica: usize,
    limit: usize,
}

/// A row for each database and user.
pub(super) fn fill(proxy: &Proxy, table: &mut Table) {
    let sessions: Vec<Arc<About>> = proxy.sessions.all().into_iter().map(|(_, about)| about).collect();
    for cluster in proxy.clusters.all().iter() {
        let mut accounts = cluster.accounts();
        accounts.sort_by(|a, b| (&a.database.name, &a.user).cmp(&(&b.database.name, &b.user)));
        for account in accounts {
            let row = row(proxy, cluster, &account, &sessions);
            table.row(row);
        }
    }
}

fn row(
    proxy: &Proxy,
    cluster: &Arc<Cluster>,
    account: &Account,
    sessions: &[Arc<About>],
) -> [Option<String>; 22] {
    let ours = |about: &&Arc<About>| {
        about.user == account.user
            && about.cluster.as_ref().is_some_and(|theirs| Arc::ptr_eq(theirs, cluster))
            && super::server_name(proxy, cluster, &about.database) == account.database.name
    };
    let doing: Vec<Doing> = sessions.iter().filter(ours).map(|about| about.doing()).collect();
    let waiting = doing.iter().filter(|doing| **doing == Doing::Waiting).count();
    let sum = sum(account);
    let (used, wait) = (sum.used, sum.used.longest_wait);
    [
        Some(super::client_name(proxy, cluster, &account.database.name)),
        some(&account.user),
        some(doing.len() - waiting),
        some(waiting),
        // A cancel takes no place in a pool, and a connection is tested by whoever takes it out.
        some(0),
        some(0),
        some(used.in_use),
        some(0),
        some(0),
        some(used.idle),
        some(0),
        some(0),
        some(used.opening),
        some(wait.as_secs()),
        some(wait.subsec_micros()),
        some(mode(cluster.config().pool.mode)),
        None,
        some(&cluster.config().name),
        some(sum.primary),
        some(sum.replica),
        some(sum.limit),
        flag(account.database.gate.is_closed()),
    ]
}

fn sum(account: &Account) -> Sum {
    let mut sum = Sum::default();
    for pool in account.pools().filter(|pool| !pool.server.is_removed()) {
        let (used, config) = (pool.usage(), pool.config());
        match pool.server.role() {
            Role::Primary => sum.primary += used.idle + used.in_use,
            Role::Replica => sum.replica += used.idle + used.in_use,
        }
        sum.limit += config.size + config.overflow;
        sum.used = PoolUse {
            idle: sum.used.idle + used.idle,
            in_use: sum.used.in_use + used.in_use,
            opening: sum.used.opening + used.opening,
            waiting: sum.used.waiting + used.waiting,
            longest_wait: Duration::max(sum.used.longest_wait, used.longest_wait),
        };
    }
    sum
}

/// PgBouncer's word for a pool's mode.
pub(super) fn mode(mode: PoolMode) -> &'static str {
    match mode {
        PoolMode::Transaction => "transaction",
        PoolMode::Session => "session",
    }
}

/// A row for each kind of thing. Nothing is kept for later use here, and names are not cached.
pub(super) fn lists(proxy: &Proxy, table: &mut Table) {
    let clusters = proxy.clusters.all();
    let accounts: Vec<Arc<Account>> = clusters.iter().flat_map(|cluster| cluster.accounts()).collect();
    let connections: usize =
        accounts.iter().flat_map(|account| account.pools()).map(|pool| pool.usage().total()).sum();
    let mut users: Vec<&str> = accounts.iter().map(|account| account.user.as_str()).collect();
    users.sort_unstable();
    users.dedup();
    let databases: usize = clusters.iter().map(|cluster| cluster.databases().len()).sum();
    for (list, items) in [
        ("databases", databases),
        ("users", users.len()),
        ("peers", 0),
        ("pools", accounts.len()),
        ("peer_pools", 0),
        ("free_clients", 0),
        ("used_clients", proxy.counts.connected.load(Relaxed)),
        ("login_clients", proxy.counts.unauthenticated.load(Relaxed)),
        ("free_servers", 0),
        ("used_servers", connections),
        ("dns_names", 0),
        ("dns_zones", 0),
        ("dns_queries", 0),
        ("dns_pending", 0),
        ("clusters", clusters.len()),
    ] {
        table.row([some(list), some(items)]);
    }
}
