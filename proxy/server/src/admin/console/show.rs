//! SHOW: what there is to see, and its columns. PgBouncer's columns come first, under their names and in their order.

mod caching;
mod clients;
mod plugins;
mod pools;
mod set;
mod shards;
mod stats;
mod topology;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::table::{Table, some};
use crate::proxy::Proxy;
use crate::upstream::cluster::Cluster;

/// What can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    Help,
    Version,
    Pools,
    Stats,
    StatsTotals,
    StatsAverages,
    Servers,
    Clients,
    Databases,
    Lists,
    Config,
    Policies,
    Rules,
    Plugins,
    Reloads,
    Cache,
    CacheRules,
    Shards,
    ShardStats,
    TwoPhase,
}

impl Show {
    /// Each with its word and what it tells.
    pub const ALL: [(&'static str, Self, &'static str); 20] = [
        ("HELP", Self::Help, "the commands"),
        ("VERSION", Self::Version, "the version"),
        ("POOLS", Self::Pools, "clients and server connections of each database and user"),
        ("STATS", Self::Stats, "what each database has used: since start, and a second in the last minute"),
        ("STATS_TOTALS", Self::StatsTotals, "the first half of STATS"),
        ("STATS_AVERAGES", Self::StatsAverages, "the second half of STATS"),
        ("SERVERS", Self::Servers, "the PostgreSQL servers: role, state, lag, connections"),
        ("CLIENTS", Self::Clients, "who is connected, and what each does and holds"),
        ("DATABASES", Self::Databases, "the databases, where they are, and whether they are paused"),
        ("LISTS", Self::Lists, "how many there are of everything"),
        ("CONFIG", Self::Config, "the configuration in use"),
        ("POLICIES", Self::Policies, "the policy files in use"),
        ("RULES", Self::Rules, "the policies' rules, and how often each has matched"),
        ("PLUGINS", Self::Plugins, "the plugins, and what each has done"),
        ("CACHE", Self::Cache, "each database's cache: whether it is served, and what changes it hears of"),
        ("CACHE RULES", Self::CacheRules, "the caching rules, and what became of their reads"),
        ("SHARDS", Self::Shards, "the shards of each sharded database, and its coordinator"),
        ("SHARD_STATS", Self::ShardStats, "what became of statements and transactions on several shards"),
        ("TWO_PHASE", Self::TwoPhase, "transactions in doubt: prepared on a shard and not finished"),
        ("RELOADS", Self::Reloads, "how often the configuration was read again, and how it went last"),
    ];

    /// The table's columns.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Help => &["command", "what"],
            Self::Version => &["version"],
            Self::Pools => pools::COLUMNS,
            Self::Stats => stats::COLUMNS,
            Self::StatsTotals => stats::TOTALS,
            Self::StatsAverages => stats::AVERAGES,
            Self::Servers => topology::SERVERS,
            Self::Clients => clients::COLUMNS,
            Self::Databases => topology::DATABASES,
            Self::Lists => &["list", "items"],
            Self::Config => &["key", "value", "default", "changeable"],
            Self::Policies => &["name", "file", "rules", "functions"],
            Self::Rules => set::RULES,
            Self::Plugins => plugins::COLUMNS,
            Self::Cache => caching::CACHE,
            Self::CacheRules => caching::RULES,
            Self::Shards => shards::SHARDS,
            Self::ShardStats => shards::STATS,
            Self::TwoPhase => shards::TWO_PHASE,
            Self::Reloads => {
                &["taken", "refused", "in_use_since", "last_outcome", "last_time", "last_cause", "last_error"]
            }
        }
    }

    /// The table as it is now.
    pub fn table(self, proxy: &Proxy) -> Table {
        let mut table = Table::new(self.columns());
        match self {
            Self::Help => help(&mut table),
            Self::Version => table.row([some(format_args!("Pointsman {}", env!("CARGO_PKG_VERSION")))]),
            Self::Pools => pools::fill(proxy, &mut table),
            Self::Stats => stats::fill(proxy, true, true, &mut table),
            Self::StatsTotals => stats::fill(proxy, true, false, &mut table),
            Self::StatsAverages => stats::fill(proxy, false, true, &mut table),
            Self::Servers => topology::servers(proxy, &mut table),
            Self::Clients => clients::fill(proxy, &mut table),
            Self::Databases => topology::databases(proxy, &mut table),
            Self::Lists => pools::lists(proxy, &mut table),
            Self::Config => set::config(&proxy.settings().config, &mut table),
            Self::Policies => set::policies(proxy, &mut table),
            Self::Rules => set::rules(proxy, &mut table),
            Self::Plugins => plugins::fill(proxy, &mut table),
            Self::Cache => caching::cache(proxy, &mut table),
            Self::CacheRules => caching::rules(proxy, &mut table),
            Self::Shards => shards::shards(proxy, &mut table),
            Self::ShardStats => shards::stats(proxy, &mut table),
            Self::TwoPhase => shards::two_phase(proxy, &mut table),
            Self::Reloads => set::reloads(proxy, &mut table),
        }
        table
    }
}

fn help(table: &mut Table) {
    for (name, _, what) in Show::ALL {
        table.row([some(format_args!("SHOW {name}")), some(what)]);
    }
    for (command, what) in [
        ("PAUSE [database]", "close server connections as they come back, and keep clients waiting"),
        ("RESUME [database]", "end a pause"),
        ("INVALIDATE TAG 'tag' | TABLE name | ALL", "serve no more of what is cached and depends on it"),
        ("RELOAD", "read the configuration again, as SIGHUP does"),
    ] {
        table.row([some(command), some(what)]);
    }
}

/// The databases of a cluster that have other names for clients than on its servers, or may have: both names of each. Of a sharded
/// database, the cluster holds a part.
fn named(proxy: &Proxy, cluster: &Arc<Cluster>) -> Vec<(String, String)> {
    let config = cluster.config();
    let mut names: Vec<(String, String)> =
        config.databases.iter().map(|known| (known.name.clone(), known.server_name.clone())).collect();
    for group in proxy.clusters.groups().iter().filter(|group| !group.config.name.is_empty()) {
        let here = group.parts().filter(|part| Arc::ptr_eq(&part.cluster, cluster));
        names.extend(here.map(|part| (group.config.name.clone(), part.database.clone())));
    }
    names
}

/// What clients call the database that a cluster's servers call `server_name`.
fn client_name(proxy: &Proxy, cluster: &Arc<Cluster>, server_name: &str) -> String {
    let known = named(proxy, cluster).into_iter().find(|(_, theirs)| theirs == server_name);
    known.map_or_else(|| server_name.to_owned(), |(name, _)| name)
}

/// The databases of a cluster that are configured or were asked for, as clients call them.
pub(super) fn database_names(proxy: &Proxy, cluster: &Arc<Cluster>) -> BTreeSet<String> {
    let configured = cluster.config().databases.iter().map(|known| known.name.clone()).collect::<Vec<_>>();
    let asked = cluster.databases().into_iter().map(|known| client_name(proxy, cluster, &known.name));
    configured.into_iter().chain(asked).collect()
}

/// What a cluster's servers call the database that clients call `name`.
fn server_name(proxy: &Proxy, cluster: &Arc<Cluster>, name: &str) -> String {
    let known = named(proxy, cluster).into_iter().find(|(ours, _)| ours == name);
    known.map_or_else(|| name.to_owned(), |(_, server_name)| server_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_columns_share_a_name() {
        for (name, show, _) in Show::ALL {
            let mut columns = show.columns().to_vec();
            columns.sort_unstable();
            columns.dedup();
            assert_eq!(columns.len(), show.columns().len(), "{name}");
        }
    }

    #[test]
    fn averages_and_totals_are_the_halves_of_stats() {
        let totals = stats::TOTALS.iter().skip(1);
        let both: Vec<_> = ["database"].iter().chain(totals).chain(stats::AVERAGES.iter().skip(1)).collect();
        assert_eq!(both, stats::COLUMNS.iter().collect::<Vec<_>>());
    }
}
