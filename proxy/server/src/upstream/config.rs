//! What the upstream room is configured with: clusters, servers, pools.

use std::path::PathBuf;
use std::time::Duration;

use pointsman_shared::SharedConfig;

use super::choice::ReadTerms;
use super::condition::Patience;
use crate::transport::config::ServerTls;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Host name or IP address, and port. Names are resolved at each connect.
    Tcp {
        /// Host name or IP address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// Path of the Unix-domain socket itself.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// One PostgreSQL server. Its role is found by asking it; `expected` only orders the first attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where it listens.
    pub address: Address,
    /// What the configuration calls it.
    pub expected: Role,
    /// TLS towards it.
    pub tls: ServerTls,
}

/// A server's role in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes writes.
    Primary,
    /// Replays the primary's WAL and takes reads.
    Replica,
}

/// How long a server connection belongs to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PoolMode {
    /// For one transaction.
    #[default]
    Transaction,
    /// Until the client leaves.
    Session,
}

/// One pool: the connections of one database and user to one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// How long a server connection belongs to a client.
    pub mode: PoolMode,
    /// Connections kept.
    pub size: usize,
    /// Connections opened ahead of need and kept.
    pub min_idle: usize,
    /// Connections beyond `size`, closed when idle.
    pub overflow: usize,
    /// Longest wait for a connection.
    pub checkout_timeout: Duration,
    /// Clients that may wait at once.
    pub waiters_max: usize,
    /// Ask a connection for a sign of life at check-out when it was idle for longer than this.
    pub pre_ping: Option<Duration>,
    /// Close a connection of this age when it comes back.
    pub recycle: Option<Duration>,
    /// Close a connection beyond `min_idle` that was idle this long.
    pub idle_timeout: Option<Duration>,
    /// Longest time to connect and log in to the server.
    pub connect_timeout: Duration,
    /// First pause after a failed server login; doubles up to `login_retry_max`.
    pub login_retry: Duration,
    /// Longest pause after failed server logins.
    pub login_retry_max: Duration,
    /// Cancel a statement that runs longer.
    pub statement_timeout: Option<Duration>,
    /// Close a client idle in a transaction for longer.
    pub idle_transaction_timeout: Option<Duration>,
    /// `TimeZone` for clients that do not name one.
    pub timezone: Option<String>,
    /// `application_name` for clients that do not name one.
    pub application_name: Option<String>,
    /// Prepared statements kept on one server connection.
    pub prepared_statements_max: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            mode: PoolMode::Transaction,
            size: 20,
            min_idle: 0,
            overflow: 0,
            checkout_timeout: Duration::from_secs(30),
            waiters_max: 20_000,
            pre_ping: None,
            recycle: Some(Duration::from_secs(3600)),
            idle_timeout: Some(Duration::from_secs(600)),
            connect_timeout: Duration::from_secs(5),
            login_retry: Duration::from_millis(100),
            login_retry_max: Duration::from_secs(15),
            statement_timeout: None,
            idle_transaction_timeout: None,
            timezone: None,
            application_name: None,
            prepared_statements_max: 500,
        }
    }
}

/// A primary with its replicas.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Its name, in metrics and messages.
    pub name: String,
    /// Databases that clients ask for and that live here; empty means any.
    pub databases: Vec<Database>,
    /// It is a shard or a coordinator: without `databases` it serves none by itself.
    pub part: bool,
    /// Its servers, in order of preference.
    pub servers: Vec<ServerConfig>,
    /// Pointsman's own user: health, catalog, `auth_query`.
    pub user: String,
    /// That user's password, if it needs one.
    pub password: Option<String>,
    /// Database for Pointsman's own questions that belong to none.
    pub maintenance_database: String,
    /// The pools' settings.
    pub pool: PoolConfig,
    /// Time between two health questions to a server.
    pub health_interval: Duration,
    /// How long a health question may take.
    pub health_timeout: Duration,
    /// When answers to health questions change a server's state.
    pub patience: Patience,
    /// How long a statement that was not sent yet waits for a primary.
    pub failover_wait: Duration,
    /// How long a replica that has come back takes to get its whole share of reads.
    pub slow_start: Duration,
    /// How reads are served where no rule says otherwise.
    pub reads: ReadTerms,
    /// How often the catalog (volatility of functions, views) is read again.
    pub catalog_refresh: Duration,
    /// Pause between two questions for LSNs while writes are pending.
    pub lsn_interval: Duration,
}

/// A database as clients name it, and what it is called on the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// What clients ask for.
    pub name: String,
    /// What the servers call it.
    pub server_name: String,
}

impl ClusterConfig {
    /// Whether it serves databases that no cluster lists.
    pub fn takes_any(&self) -> bool {
        self.databases.is_empty() && !self.part
    }

    /// Longest time to connect and log in to a server.
    pub fn connect_timeout(&self) -> Duration {
        self.pool.connect_timeout
    }
}

/// Shows no password.
impl std::fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterConfig")
            .field("name", &self.name)
            .field("databases", &self.databases)
            .field("servers", &self.servers)
            .field("user", &self.user)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

/// What is done with a write that is for several shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WritesAcross {
    /// It is refused.
    #[default]
    Refuse,
    /// It commits by two-phase commit.
    TwoPhase,
}

/// A database that is spread over several clusters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardedConfig {
    /// What clients ask for; empty takes any name.
    pub name: String,
    /// The clusters, by name; a shard's number is its place.
    pub shards: Vec<String>,
    /// What every shard's servers call the database; else each shard's primary URL says.
    pub server_name: Option<String>,
    /// The cluster that answers what the shards cannot be asked one by one, in the database that its primary URL names.
    pub coordinator: Option<String>,
    /// What is done with a write that is for several shards.
    pub writes: WritesAcross,
    /// Most memory that one statement's rows may take while they wait to be put together, in bytes.
    pub gather_bytes_max: usize,
    /// The number of this proxy in the ids that it makes; else it is leased.
    pub node: Option<u16>,
    /// Where that is leased.
    pub node_lease: NodeLease,
}

/// Where the numbers of proxies are leased that make ids for a database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NodeLease {
    /// In a table on the first shard.
    #[default]
    Table,
    /// In this Redis.
    Redis(Box<SharedConfig>),
}

impl ShardedConfig {
    /// A database without shards, with every setting at its default.
    pub fn new(name: String) -> Self {
        Self {
            name,
            shards: Vec::new(),
            server_name: None,
            coordinator: None,
            writes: WritesAcross::default(),
            gather_bytes_max: 64 << 20,
            node: None,
            node_lease: NodeLease::default(),
        }
    }

    /// What a shard's servers call the database.
    pub fn database_on(&self, shard: &ClusterConfig) -> String {
        self.server_name.clone().unwrap_or_else(|| shard.maintenance_database.clone())
    }
}
