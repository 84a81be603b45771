//! Databases that are spread over several clusters.

use super::problem::Problems;
use super::section::Section;
use super::tree::{Node, Place};
use super::{CONSOLE_DATABASE, value};
use crate::caching::config::RedisConfig;
use crate::upstream::config::{ClusterConfig, NodeLease, ShardedConfig, WritesAcross};

/// Shards that one database may have.
pub(crate) const SHARDS_MAX: usize = 256;

const WRITES: &[(&str, WritesAcross)] =
    &[("refuse", WritesAcross::Refuse), ("two_phase", WritesAcross::TwoPhase)];

/// Whether in Redis.
const LEASES: &[(&str, bool)] = &[("table", false), ("redis", true)];

/// Reads `sharded`, and tells the clusters that are shards or coordinators so.
pub(crate) fn read_sharded(
    top: &mut Section<'_>,
    clusters: &mut [(Place, ClusterConfig)],
    redis: Option<&RedisConfig>,
    problems: &mut Problems<'_>,
) -> Vec<ShardedConfig> {
    let mut all: Vec<ShardedConfig> = Vec::new();
    for (path, node) in top.list("sharded", problems) {
        let Some(read) = read_one(&path, node, clusters, redis, problems) else { continue };
        if all.iter().any(|other| other.name == read.name) {
            problems.add(node.place, format!("`{path}`: database `{}` is listed twice", read.name));
        }
        if let Some(cluster) = clusters
            .iter()
            .map(|(_, cluster)| cluster)
            .find(|cluster| cluster.databases.iter().any(|known| known.name == read.name))
        {
            let message =
                format!("`{path}`: database `{}` is already in cluster `{}`", read.name, cluster.name);
            problems.add(node.place, message);
        }
        all.push(read);
    }
    all
}

fn read_one(
    path: &str,
    node: &Node,
    clusters: &mut [(Place, ClusterConfig)],
    redis: Option<&RedisConfig>,
    problems: &mut Problems<'_>,
) -> Option<ShardedConfig> {
    let mut section = Section::open(node, path, problems)?;
    section.require("name", problems);
    section.require("shards", problems);
    let name = section.take("name", problems, value::name).unwrap_or_default();
    if name == CONSOLE_DATABASE {
        problems.add(
            node.place,
            format!("`{path}`: database `{name}` is the admin console's; choose another name"),
        );
    }
    let mut config = ShardedConfig::new(name);
    for (path, node) in section.list("shards", problems) {
        let Some(shard) = read_cluster_name(&path, node, clusters, problems) else { continue };
        if config.shards.contains(&shard) {
            problems.add(node.place, format!("`{path}`: cluster `{shard}` is listed twice"));
        }
        config.shards.push(shard);
    }
    if section.has("shards") && !(1..=SHARDS_MAX).contains(&config.shards.len()) {
        problems.add(node.place, format!("`{path}.shards`: a database has 1 to {SHARDS_MAX} shards"));
    }
    config.server_name = section.take("server_name", problems, value::name);
    if let Some((path, node)) = section.list("coordinator", problems).into_iter().next() {
        config.coordinator = read_cluster_name(&path, node, clusters, problems);
    }
    section.set("cross_shard_writes", &mut config.writes, problems, value::word(WRITES));
    section.set("gather_bytes_max", &mut config.gather_bytes_max, problems, value::bytes(64 * 1024, 1 << 40));
    config.node =
        section.take("node", problems, value::count(0, 1023)).and_then(|node| u16::try_from(node).ok());
    config.node_lease = read_node_lease(&mut section, redis, problems);
    section.close(problems);
    Some(config)
}

/// Where this proxy's number is leased, if it is not set.
fn read_node_lease(
    section: &mut Section<'_>,
    redis: Option<&RedisConfig>,
    problems: &mut Problems<'_>,
) -> NodeLease {
    let Some(in_redis) = section.take("node_lease", problems, value::word(LEASES)) else {
        return NodeLease::Table;
    };
    let why = match redis {
        _ if section.has("node") => "nothing is leased where `node` is set",
        Some(redis) if in_redis => return NodeLease::Redis(Box::new(redis.shared())),
        None if in_redis => "there is no `cache.redis` that says where to lease",
        _ => return NodeLease::Table,
    };
    let place = section.node("node_lease", problems).map_or(section.place, |node| node.place);
    problems.add(place, format!("`{}.node_lease`: {why}", section.path));
    NodeLease::Table
}

/// The name of a cluster that is listed, which serves no database by itself from now on.
fn read_cluster_name(
    path: &str,
    node: &Node,
    clusters: &mut [(Place, ClusterConfig)],
    problems: &mut Problems<'_>,
) -> Option<String> {
    let name = match value::name(&node.value) {
        Ok(name) => name,
        Err(complaint) => {
            problems.add(node.place, format!("`{path}`: {complaint}"));
            return None;
        }
    };
    match clusters.iter_mut().map(|(_, cluster)| cluster).find(|cluster| cluster.name == name) {
        Some(cluster) => {
            cluster.part = true;
            Some(name)
        }
        None => {
            problems
                .add(node.place, format!("`{path}`: no cluster is named `{name}`; `clusters` lists them"));
            None
        }
    }
}
