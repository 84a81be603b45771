//! The clusters of the document: servers from their URLs, pools, and how often Pointsman asks them things.

use std::time::Duration;

use pointsman_policy::Consistency;

use crate::caching::config::RedisConfig;
use crate::transport::config::{ServerTls, TlsMode};
use crate::upstream::choice::ReadTerms;
use crate::upstream::condition::Patience;
use crate::upstream::config::{ClusterConfig, Database, PoolConfig, Role, ServerConfig, ShardedConfig};

use super::pool::read_pool;
use super::problem::Problems;
use super::section::Section;
use super::sharded::read_sharded;
use super::tree::{Node, Place, Value};
use super::url::{ConnectionUrl, TLS_MODES, UrlTls, parse_url};
use super::{CONSOLE_DATABASE, file, value};

/// The keys of one cluster that may stand at the top when there is only one.
const SHORTHAND: [&str; 13] = [
    "primary",
    "replicas",
    "databases",
    "server_tls",
    "pool",
    "health",
    "consistency",
    "max_lag",
    "catch_up_wait",
    "failover_wait",
    "slow_start",
    "catalog_refresh",
    "lsn_interval",
];

/// The words for [`Consistency`].
const LEVELS: &[(&str, Consistency)] = &[
    ("strict", Consistency::Strict),
    ("session", Consistency::Session),
    ("eventual", Consistency::Eventual),
];

/// Answers in a row that a change of state may wait for.
const ANSWERS_MAX: usize = 1000;

/// All clusters, the default one last: those listed, or the one of the shorthand's top-level keys; and the databases that
/// are spread over several of them.
pub(crate) fn read_clusters(
    top: &mut Section<'_>,
    redis: Option<&RedisConfig>,
    problems: &mut Problems<'_>,
) -> (Vec<ClusterConfig>, Vec<ShardedConfig>) {
    let listed = top.list("clusters", problems);
    let written = SHORTHAND.into_iter().find(|key| top.has(key));
    let mut clusters = Vec::new();
    if listed.is_empty() {
        let tls = top.section("server_tls", problems).map(|section| read_tls(section, problems));
        clusters
            .extend(read_cluster(top, "default".into(), tls, problems).map(|cluster| (top.place, cluster)));
    } else {
        if let Some(key) = written {
            problems.add(
                top.place,
                format!("`{key}` at the top is for one cluster; with `clusters` it belongs to one of them"),
            );
        }
        for (path, node) in listed {
            let Some(mut section) = Section::open(node, &path, problems) else { continue };
            section.require("name", problems);
            let name = section.take("name", problems, value::name).unwrap_or_default();
            let tls = section.section("tls", problems).map(|section| read_tls(section, problems));
            clusters.extend(
                read_cluster(&mut section, name, tls, problems).map(|cluster| (section.place, cluster)),
            );
            section.close(problems);
        }
        know_shorthand(top, problems);
    }
    let sharded = read_sharded(top, &mut clusters, redis, problems);
    check_apart(&clusters, problems);
    let mut clusters: Vec<_> = clusters.into_iter().map(|(_, cluster)| cluster).collect();
    clusters.sort_by_key(ClusterConfig::takes_any);
    (clusters, sharded)
}

/// Keeps the shorthand's keys from being called unknown: that they are out of place was said already.
fn know_shorthand(top: &mut Section<'_>, problems: &mut Problems<'_>) {
    for key in SHORTHAND {
        top.node(key, problems);
    }
}

/// Two clusters may share neither name nor database.
fn check_apart(clusters: &[(Place, ClusterConfig)], problems: &mut Problems<'_>) {
    for (index, (place, cluster)) in clusters.iter().enumerate() {
        for (_, earlier) in &clusters[..index] {
            if earlier.name == cluster.name {
                problems.add(*place, format!("a cluster named `{}` was listed before", cluster.name));
            }
            if earlier.takes_any() && cluster.takes_any() {
                let names = format!("`{}` and `{}`", earlier.name, cluster.name);
                problems.add(*place, format!("{names} both take any database; give one of them `databases`"));
            }
            let shared =
                |database: &&Database| earlier.databases.iter().any(|other| other.name == database.name);
            if let Some(database) = cluster.databases.iter().find(shared) {
                let message =
                    format!("database `{}` is already in cluster `{}`", database.name, earlier.name);
                problems.add(*place, message);
            }
        }
    }
}

/// Reads one cluster's keys, at the top or in the list.
fn read_cluster(
    section: &mut Section<'_>,
    name: String,
    tls: Option<ServerTls>,
    problems: &mut Problems<'_>,
) -> Option<ClusterConfig> {
    let databases = read_databases(section, problems);
    let urls = read_urls(section, problems);
    let pool =
        section.section("pool", problems).map_or_else(PoolConfig::default, |pool| read_pool(pool, problems));
    let mut cluster = new_cluster(name, urls?, &tls.unwrap_or_default(), problems);
    cluster.databases = databases;
    cluster.pool = pool;
    if let Some(mut health) = section.section("health", problems) {
        health.set("interval", &mut cluster.health_interval, problems, value::duration);
        health.set("timeout", &mut cluster.health_timeout, problems, value::duration);
        health.set("slow", &mut cluster.patience.slow, problems, value::duration);
        health.set("failures", &mut cluster.patience.failures, problems, answers);
        health.set("recoveries", &mut cluster.patience.recoveries, problems, answers);
        health.close(problems);
    }
    section.set("consistency", &mut cluster.reads.consistency, problems, value::word(LEVELS));
    section.set("max_lag", &mut cluster.reads.max_lag, problems, value::duration_or_off);
    section.set("catch_up_wait", &mut cluster.reads.catch_up_wait, problems, none_if_off);
    section.set("failover_wait", &mut cluster.failover_wait, problems, none_if_off);
    section.set("slow_start", &mut cluster.slow_start, problems, none_if_off);
    section.set("catalog_refresh", &mut cluster.catalog_refresh, problems, value::duration);
    section.set("lsn_interval", &mut cluster.lsn_interval, problems, value::duration);
    Some(cluster)
}

/// A duration, or `off` for none at all.
fn none_if_off(value: &Value) -> Result<Duration, String> {
    value::duration_or_off(value).map(Option::unwrap_or_default)
}

/// A number of answers in a row.
fn answers(value: &Value) -> Result<u32, String> {
    let count = value::count(1, ANSWERS_MAX)(value)?;
    u32::try_from(count).map_err(|error| error.to_string())
}

/// A cluster with every setting at its default. The first URL is the primary's.
pub(crate) fn new_cluster(
    name: String,
    urls: Vec<(Place, ConnectionUrl)>,
    tls: &ServerTls,
    problems: &mut Problems<'_>,
) -> ClusterConfig {
    let first = urls.first().map(|(_, url)| url.clone());
    let mut servers: Vec<ServerConfig> = Vec::new();
    for (index, (place, url)) in urls.into_iter().enumerate() {
        if servers.iter().any(|server| server.address == url.address) {
            problems.add(place, format!("{} is listed twice", url.address));
        }
        let strays = |own: &Option<String>, of: fn(&ConnectionUrl) -> &Option<String>| {
            own.is_some() && first.as_ref().is_some_and(|first| of(first) != own)
        };
        if strays(&url.user, |url| &url.user) || strays(&url.password, |url| &url.password) {
            problems.add(
                place,
                "every URL of a cluster names the same user and password, or only the primary's does",
            );
        }
        let expected = if index == 0 { Role::Primary } else { Role::Replica };
        let tls = server_tls(place, url.tls, tls, problems);
        servers.push(ServerConfig { address: url.address, expected, tls });
    }
    let (user, password, database) =
        first.map(|url| (url.user, url.password, url.database)).unwrap_or_default();
    ClusterConfig {
        name,
        databases: Vec::new(),
        part: false,
        servers,
        user: user.unwrap_or_default(),
        password,
        maintenance_database: database.unwrap_or_else(|| "postgres".into()),
        pool: PoolConfig::default(),
        health_interval: Duration::from_secs(2),
        health_timeout: Duration::from_secs(2),
        patience: Patience { slow: Duration::from_millis(500), failures: 2, recoveries: 2 },
        failover_wait: Duration::from_secs(10),
        slow_start: Duration::from_secs(10),
        reads: ReadTerms::default(),
        catalog_refresh: Duration::from_secs(60),
        lsn_interval: Duration::from_millis(2),
    }
}

/// The primary's URL and the replicas', or `None` if there is no primary to speak of.
fn read_urls(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<Vec<(Place, ConnectionUrl)>> {
    section.require("primary", problems);
    let primary = section.list("primary", problems);
    let replicas = section.list("replicas", problems);
    let found = primary.len();
    if let Some((_, node)) = primary.get(1) {
        problems.add(node.place, "a cluster has one primary; list the others under `replicas`");
    }
    let nodes = primary.into_iter().chain(replicas);
    let urls: Vec<_> = nodes.filter_map(|(path, node)| read_url(&path, node, problems)).collect();
    let (place, first) = urls.first().filter(|_| found > 0)?;
    if first.user.is_none() {
        problems
            .add(*place, "the primary's URL names no user: Pointsman logs in as it for its own questions");
    }
    Some(urls)
}

fn read_url(path: &str, node: &Node, problems: &mut Problems<'_>) -> Option<(Place, ConnectionUrl)> {
    match value::text(&node.value).and_then(|text| parse_url(&text)) {
        Ok(url) => Some((node.place, url)),
        Err(complaint) => {
            problems.add(node.place, format!("`{path}`: {complaint}"));
            None
        }
    }
}

/// What the URL says wins over the cluster's `tls`.
fn server_tls(place: Place, url: UrlTls, cluster: &ServerTls, problems: &mut Problems<'_>) -> ServerTls {
    let mut tls = cluster.clone();
    let system = url.ca.as_deref() == Some("system");
    if let Some(mode) = url.mode {
        tls.mode = mode;
    } else if system {
        tls.mode = TlsMode::VerifyFull;
    }
    let mut set = |target: &mut Option<std::path::PathBuf>, path: Option<String>| {
        let Some(path) = path else { return };
        match file(&path, problems) {
            Ok(path) => *target = Some(path),
            Err(complaint) => problems.add(place, complaint),
        }
    };
    set(&mut tls.certificate, url.certificate);
    set(&mut tls.key, url.key);
    if system {
        tls.ca = None;
    } else {
        set(&mut tls.ca, url.ca);
    }
    checked_tls(tls, place, problems)
}

/// libpq's two rules of thumb: a root certificate makes `require` verify the chain, and a certificate needs its key.
fn checked_tls(mut tls: ServerTls, place: Place, problems: &mut Problems<'_>) -> ServerTls {
    if tls.mode == TlsMode::Require && tls.ca.is_some() {
        tls.mode = TlsMode::VerifyCa;
    }
    if tls.certificate.is_some() != tls.key.is_some() {
        problems.add(place, "a certificate needs its key, and a key its certificate");
    }
    tls
}

fn read_tls(mut section: Section<'_>, problems: &mut Problems<'_>) -> ServerTls {
    let mut tls = ServerTls::default();
    section.set("mode", &mut tls.mode, problems, value::word(TLS_MODES));
    tls.ca = super::take_file(&mut section, "ca", problems);
    tls.certificate = super::take_file(&mut section, "certificate", problems);
    tls.key = super::take_file(&mut section, "key", problems);
    section.close(problems);
    tls
}

fn read_databases(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Vec<Database> {
    let mut databases: Vec<Database> = Vec::new();
    for (path, node) in section.list("databases", problems) {
        let database = match &node.value {
            Value::Map(_) => read_database(&path, node, problems),
            other => match value::name(other) {
                Ok(name) => Some(Database { server_name: name.clone(), name }),
                Err(complaint) => {
                    problems.add(node.place, format!("`{path}`: {complaint}"));
                    None
                }
            },
        };
        let Some(database) = database else { continue };
        if database.name == CONSOLE_DATABASE {
            problems.add(
                node.place,
                format!(
                    "`{path}`: database `{CONSOLE_DATABASE}` is the admin console's; choose another name"
                ),
            );
        }
        if databases.iter().any(|other| other.name == database.name) {
            problems.add(node.place, format!("database `{}` is listed twice", database.name));
        }
        databases.push(database);
    }
    databases
}

fn read_database(path: &str, node: &Node, problems: &mut Problems<'_>) -> Option<Database> {
    let mut section = Section::open(node, path, problems)?;
    section.require("name", problems);
    let name = section.take("name", problems, value::name);
    let server_name = section.take("server_name", problems, value::name);
    section.close(problems);
    let name = name?;
    Some(Database { server_name: server_name.unwrap_or_else(|| name.clone()), name })
}
