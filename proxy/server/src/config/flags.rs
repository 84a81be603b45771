//! The configuration from flags alone: one cluster or one of shards, any database.

use std::path::{Path, PathBuf};

use crate::caching::config::CacheConfig;
use crate::client::config::{AuthConfig, AuthMethod, ClientLimits};
use crate::plugins::config::PluginsConfig;
use crate::transport::config::ServerTls;
use crate::upstream::config::{ClusterConfig, PoolConfig, PoolMode, ShardedConfig};

use super::clusters::new_cluster;
use super::login::{default_users, read_userlist};
use super::pool::POOL_SIZE_MAX;
use super::problem::{ConfigError, Problems};
use super::read::{
    LISTEN, SHUTDOWN_TIMEOUT, TEMPLATES_MAX, WORKERS_MAX, default_workers, parse_address, parse_listen,
};
use super::tree::Place;
use super::url::{ConnectionUrl, parse_url};
use super::{Config, file};

/// What `pointsman serve` was given instead of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flags {
    /// Addresses and paths of Unix-domain sockets; none means `127.0.0.1:6432`.
    pub listen: Vec<String>,
    /// The primary's URL.
    pub primary: String,
    /// The replicas' URLs.
    pub replicas: Vec<String>,
    /// The URLs of shards' primaries, in place of one primary.
    pub shards: Vec<String>,
    /// Server connections per database, user and server.
    pub pool_size: Option<usize>,
    /// How long a server connection belongs to a client.
    pub pool_mode: PoolMode,
    /// A userlist's path.
    pub userlist: Option<PathBuf>,
    /// Policy files.
    pub policies: Vec<PathBuf>,
    /// Where metrics and health are served.
    pub admin: Option<String>,
    /// Worker threads.
    pub workers: Option<usize>,
}

/// Flags have no line; problems in URLs are told apart by their flag.
const NOWHERE: Place = Place { line: 0, column: 0 };

impl Config {
    /// The configuration that flags describe.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn from_flags(flags: &Flags) -> Result<Self, ConfigError> {
        let mut problems = Problems::new("command line", "", Path::new(""));
        let pool = read_pool(flags, &mut problems);
        let mut sharded = Vec::new();
        let mut clusters = if flags.shards.is_empty() {
            let urls = read_urls(flags, &mut problems);
            vec![new_cluster("default".into(), urls, &ServerTls::default(), &mut problems)]
        } else {
            let clusters = read_shards(flags, &mut problems);
            let mut config = ShardedConfig::new(String::new());
            config.shards = clusters.iter().map(|cluster| cluster.name.clone()).collect();
            sharded.push(config);
            clusters
        };
        for cluster in &mut clusters {
            cluster.pool = pool.clone();
        }
        let mut auth = read_auth(flags, &mut problems);
        default_users(&mut auth);
        let config = Self {
            listen: read_listen(flags, &mut problems),
            admin: flags
                .admin
                .as_deref()
                .and_then(|text| noted(parse_address(text), "--admin", &mut problems)),
            workers: flags.workers.unwrap_or_else(default_workers),
            tls: None,
            limits: ClientLimits::default(),
            auth,
            clusters,
            sharded,
            policies: read_policies(flags, &mut problems),
            plugins: PluginsConfig::default(),
            cache: CacheConfig::default(),
            templates_max: TEMPLATES_MAX,
            shutdown_timeout: SHUTDOWN_TIMEOUT,
            watch: true,
        };
        if !(1..=WORKERS_MAX).contains(&config.workers) {
            problems.add_unplaced(format!("--workers: expected a number from 1 to {WORKERS_MAX}"));
        }
        problems.finish()?;
        Ok(config)
    }
}

/// The value, or the complaint noted under its flag.
fn noted<T>(read: Result<T, String>, flag: &str, problems: &mut Problems<'_>) -> Option<T> {
    read.map_err(|complaint| problems.add_unplaced(format!("{flag}: {complaint}"))).ok()
}

fn read_urls(flags: &Flags, problems: &mut Problems<'_>) -> Vec<(Place, ConnectionUrl)> {
    let primary = noted(parse_url(&flags.primary), "--primary", problems);
    if primary.as_ref().is_some_and(|url| url.user.is_none()) {
        problems
            .add_unplaced("--primary: the URL names no user: Pointsman logs in as it for its own questions");
    }
    let replicas = flags.replicas.iter();
    let replicas: Vec<_> = replicas.filter_map(|url| noted(parse_url(url), "--replica", problems)).collect();
    primary.into_iter().chain(replicas).map(|url| (NOWHERE, url)).collect()
}

/// A cluster for each shard, named by its number.
fn read_shards(flags: &Flags, problems: &mut Problems<'_>) -> Vec<ClusterConfig> {
    let mut clusters = Vec::new();
    for (number, text) in flags.shards.iter().enumerate() {
        let Some(url) = noted(parse_url(text), "--shard", problems) else { continue };
        if url.user.is_none() {
            problems.add_unplaced(
                "--shard: the URL names no user: Pointsman logs in as it for its own questions",
            );
        }
        let urls = vec![(NOWHERE, url)];
        let mut cluster = new_cluster(format!("shard{number}"), urls, &ServerTls::default(), problems);
        cluster.part = true;
        clusters.push(cluster);
    }
    clusters
}

fn read_pool(flags: &Flags, problems: &mut Problems<'_>) -> PoolConfig {
    let mut pool = PoolConfig { mode: flags.pool_mode, ..PoolConfig::default() };
    pool.size = flags.pool_size.unwrap_or(pool.size);
    if !(1..=POOL_SIZE_MAX).contains(&pool.size) {
        problems.add_unplaced(format!("--pool-size: expected a number from 1 to {POOL_SIZE_MAX}"));
    }
    pool
}

fn read_auth(flags: &Flags, problems: &mut Problems<'_>) -> AuthConfig {
    let mut auth = AuthConfig {
        method: AuthMethod::Scram,
        users: Vec::new(),
        userlist: flags.userlist.clone(),
        auth_query: None,
        admins: Vec::new(),
    };
    if let Some(path) = &flags.userlist {
        match read_userlist(path) {
            Ok(users) => auth.users = users,
            Err(wrong) => problems.append(wrong),
        }
    }
    auth
}

fn read_listen(flags: &Flags, problems: &mut Problems<'_>) -> Vec<crate::transport::config::Listen> {
    let default = [LISTEN.to_owned()];
    let texts = if flags.listen.is_empty() { &default[..] } else { &flags.listen };
    texts.iter().filter_map(|text| noted(parse_listen(text), "--listen", problems)).collect()
}

fn read_policies(flags: &Flags, problems: &mut Problems<'_>) -> Vec<PathBuf> {
    let read = |path: &PathBuf| noted(file(&path.to_string_lossy(), problems), "--policy", problems);
    flags.policies.iter().filter_map(read).collect()
}
