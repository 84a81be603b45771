//! The proxy as its life cycle and its metrics see it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_trait::async_trait;

use crate::admin::http::Readiness;
use crate::config::Config;
use crate::lifecycle::Running;
use crate::metrics::{
    CacheSnapshot, ClientSnapshot, DatabaseSnapshot, PluginSnapshot, PoolSnapshot, PoolSource, RuleSnapshot,
    ServerSnapshot, ShardedSnapshot, Used,
};
use crate::policies::RuleCounts;
use crate::proxy::Proxy;
use crate::upstream::cluster::Cluster;
use crate::upstream::config::Role;
use crate::upstream::pool::Pool;
use crate::upstream::server::{Server, State};

#[async_trait]
impl Running for Proxy {
    fn readiness(&self) -> Readiness {
        if !self.is_listening() {
            return Readiness::NotReady("not listening".into());
        }
        let clusters = self.clusters.all();
        match clusters.iter().find(|cluster| !has_primary(cluster)) {
            Some(cluster) => {
                Readiness::NotReady(format!("cluster {} has no primary that answers", cluster.config().name))
            }
            None => Readiness::Ready,
        }
    }

    async fn reload(&self, config: Config) -> Result<(), String> {
        let set = config.policy_set().map_err(|error| error.to_string())?;
        Proxy::reload(self, config, set).await.map_err(|fault| fault.to_string())
    }

    async fn drain(&self, deadline: Duration) {
        Proxy::drain(self, deadline).await;
    }

    fn stop(&self) {
        Proxy::stop(self);
    }
}

impl PoolSource for Proxy {
    fn pools(&self) -> Vec<PoolSnapshot> {
        let mut pools = Vec::new();
        for cluster in self.clusters.all().iter() {
            let name = &cluster.config().name;
            for account in cluster.accounts() {
                let live = account.pools().filter(|pool| !pool.server.is_removed());
                pools.extend(live.map(|pool| pool_snapshot(name, pool)));
            }
        }
        pools
    }

    fn cache(&self) -> Option<CacheSnapshot> {
        self.cache_snapshot()
    }

    fn rules(&self) -> Vec<RuleSnapshot> {
        let policies = self.policies.load();
        let snapshot = |(rule, counts): (&pointsman_policy::Rule, &RuleCounts)| RuleSnapshot {
            policy: rule.policy.to_string(),
            rule: rule.name.to_string(),
            matched: counts.matched.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            timed_out: counts.timed_out.load(Relaxed),
            impossible: counts.impossible.load(Relaxed),
        };
        policies.rules().map(snapshot).collect()
    }

    fn plugins(&self) -> Vec<PluginSnapshot> {
        let plugins = self.plugins.current();
        let snapshot = |plugin: &std::sync::Arc<pointsman_plugin_host::Plugin>| PluginSnapshot {
            name: plugin.name().to_owned(),
            status: plugin.status(),
            own: plugin.metrics(),
        };
        plugins.iter().map(snapshot).collect()
    }

    fn sharded(&self) -> Vec<ShardedSnapshot> {
        self.clusters.groups().iter().map(|group| group.snapshot()).collect()
    }

    fn databases(&self) -> Vec<DatabaseSnapshot> {
        let mut databases = Vec::new();
        for cluster in self.clusters.all().iter() {
            let accounts = cluster.accounts();
            for database in cluster.databases() {
                let of_it = || accounts.iter().filter(|account| account.database.name == database.name);
                let last = of_it().map(|account| account.last_period());
                databases.push(DatabaseSnapshot {
                    cluster: cluster.config().name.clone(),
                    database: database.name.clone(),
                    used: of_it().fold(Used::default(), |sum, account| sum.and(account.used())),
                    last_period: last.fold(Default::default(), |(sum, long), (used, lasted)| {
                        (sum.and(used), long.max(lasted))
                    }),
                    paused: database.gate.is_closed(),
                });
            }
        }
        databases
    }

    fn servers(&self) -> Vec<ServerSnapshot> {
        let mut servers = Vec::new();
        for cluster in self.clusters.all().iter() {
            let all = cluster.servers();
            let live = all.iter().filter(|server| !server.is_removed());
            servers.extend(live.map(|server| server_snapshot(cluster, server)));
        }
        servers
    }

    fn clients(&self) -> ClientSnapshot {
        let limits = &self.settings().config.limits;
        let connected = self.counts.connected.load(Relaxed);
        let unauthenticated = self.counts.unauthenticated.load(Relaxed);
        let pools: usize = self.pools().iter().map(|pool| pool.in_use + pool.waiting).sum();
        let busy = pools + self.clusters.all().iter().map(|cluster| cluster.waiting()).sum::<usize>();
        ClientSnapshot {
            connected,
            unauthenticated,
            idle: connected.saturating_sub(unauthenticated).saturating_sub(busy),
            clients_max: limits.clients_max,
            unauthenticated_max: limits.unauthenticated_max,
            accepted: self.counts.accepted.load(Relaxed),
            refused: self.counts.refused.load(Relaxed),
            login_failures: self.counts.login_failures.load(Relaxed),
        }
    }
}

fn has_primary(cluster: &Cluster) -> bool {
    let servers = cluster.servers();
    cluster.primary().and_then(|index| servers.get(index)).is_some_and(|server| {
        matches!(server.state(), State::Up | State::Slow) && server.said() == Some(Role::Primary)
    })
}

fn pool_snapshot(cluster: &str, pool: &Pool) -> PoolSnapshot {
    let (config, usage) = (pool.config(), pool.usage());
    PoolSnapshot {
        cluster: cluster.to_owned(),
        server: pool.server.config.address.to_string(),
        role: Some(pool.server.role()),
        database: pool.database.clone(),
        user: pool.user.clone(),
        idle: usage.idle,
        in_use: usage.in_use,
        opening: usage.opening,
        connections_max: config.size + config.overflow,
        waiting: usage.waiting,
        waiters_max: config.waiters_max,
        longest_wait: usage.longest_wait,
        waits: pool.counters.waits.load(Relaxed),
        waited: Duration::from_micros(pool.counters.wait_micros.load(Relaxed)),
        opened: pool.counters.opened.load(Relaxed),
        closed: pool.counters.closed.load(Relaxed),
        login_failures: pool.counters.login_failures.load(Relaxed),
    }
}

fn server_snapshot(cluster: &Cluster, server: &Server) -> ServerSnapshot {
    let state = server.state();
    let up = !matches!(state, State::Unknown | State::Down);
    let knows_lag = server.said() == Some(Role::Replica) && server.position() > 0;
    ServerSnapshot {
        cluster: cluster.config().name.clone(),
        server: server.config.address.to_string(),
        role: Some(server.role()),
        state: Some(state),
        lag_bytes: cluster.lag_bytes(server).filter(|_| knows_lag),
        lag: knows_lag.then(|| server.lag()),
        round_trip: up.then(|| server.round_trip()),
    }
}
