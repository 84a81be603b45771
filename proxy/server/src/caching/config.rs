//! What the cache is configured with.

use std::time::Duration;

use pointsman_shared::SharedConfig;

/// The cache of results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// Memory for entries, in bytes, their overhead included; 0 keeps nothing.
    pub memory: usize,
    /// The largest entry, in bytes.
    pub max_entry: usize,
    /// How changes are heard of that do not pass through here.
    pub changes: ChangesConfig,
    /// Where results are shared with other proxies; none keeps them to this one.
    pub redis: Option<RedisConfig>,
}

/// Where results are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// `redis://` and `rediss://` addresses.
    pub urls: Vec<String>,
    /// They are nodes of a Redis Cluster.
    pub cluster: bool,
    /// What every name in the store begins with.
    pub prefix: String,
    /// The password, if it is not in the addresses.
    pub password: Option<String>,
    /// How long a client's call may take.
    pub deadline: Duration,
    /// Results of at least this many bytes are compressed.
    pub compress_from: usize,
    /// From the breaker's opening to the first try.
    pub retry: Duration,
}

impl RedisConfig {
    /// The same for whoever keeps the connection.
    pub fn shared(&self) -> SharedConfig {
        SharedConfig {
            cluster: self.cluster,
            prefix: self.prefix.clone(),
            password: self.password.clone(),
            deadline: self.deadline,
            compress_from: self.compress_from,
            retry: self.retry,
            ..SharedConfig::new(self.urls.clone())
        }
    }
}

/// Shows neither addresses nor the password.
impl std::fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisConfig")
            .field("urls", &self.urls.len())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// How changes are heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangesConfig {
    /// Whether they are asked for.
    pub mode: ChangesMode,
    /// The publication that names the tables.
    pub publication: String,
    /// A permanent slot, made before; none: a temporary one for each connection.
    pub slot: Option<String>,
    /// How far the stream may be behind before nothing is served.
    pub lag_max: Duration,
    /// WAL that the primary may keep for the slot, in bytes, before it is given up.
    pub retained_max: u64,
    /// How often definitions and grants are compared where no event trigger tells of them.
    pub definitions_interval: Duration,
}

/// Whether changes are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangesMode {
    /// Where the primary offers them.
    Auto,
    /// Never: writes that do not pass through here are not seen.
    Off,
}

impl Default for ChangesConfig {
    fn default() -> Self {
        Self {
            mode: ChangesMode::Auto,
            publication: "pointsman".to_owned(),
            slot: None,
            lag_max: Duration::from_secs(5),
            retained_max: 1 << 30,
            definitions_interval: Duration::from_secs(2),
        }
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { memory: 256 << 20, max_entry: 1 << 20, changes: ChangesConfig::default(), redis: None }
    }
}
