//! What the shared level is told: where the servers are, how long a call may take, and the limits.

use std::fmt;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion};

/// The settings of one shared level. [`SharedConfig::new`] has the defaults.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedConfig {
    /// `redis://` or `rediss://` addresses. Of a single server: alternatives, tried in turn until one takes
    /// writes. Of a Cluster: any of its nodes; the rest is learnt.
    pub urls: Vec<String>,
    /// The servers are a Redis Cluster.
    pub cluster: bool,
    /// Before each name in the store, `pointsman:` by default. All who share entries have the same. Without
    /// braces, which would put all of a Cluster's keys into one slot.
    pub prefix: String,
    /// The password, instead of the one in the addresses.
    pub password: Option<String>,
    /// How long a client's call may take, 20 ms by default.
    pub deadline: Duration,
    /// How long connecting, a probe of a server that was slow, or publishing may take, 1 s by default. No
    /// client waits for it.
    pub patience: Duration,
    /// Parts of at least this many bytes are compressed.
    pub compress_from: usize,
    /// Entries with longer values than this are not written, 8 MiB by default.
    pub value_bytes_max: usize,
    /// Failures in a row until the breaker opens, 3 by default.
    pub failures_max: u32,
    /// From the breaker's opening to the first try, 1 s by default. Doubles with each try in vain.
    pub retry: Duration,
    /// The longest time between two tries, 30 s by default.
    pub retry_max: Duration,
    /// How long the store keeps a generation that nobody asks for, 24 hours by default. No entry is kept for
    /// longer.
    pub generation_ttl: Duration,
    /// How often each proxy says on the bus that it is there, 500 ms by default.
    pub heartbeat: Duration,
    /// Silence of the bus, or of another proxy on it, that counts as a gap: 3 s by default.
    pub silence: Duration,
    /// Tags of one database that wait to be published; with more, everything is published instead. 4096 by
    /// default.
    pub queue_tags_max: usize,
    /// Events of the bus that wait for whoever takes them; with more, there is a gap. 4096 by default.
    pub events_max: usize,
}

/// The addresses may hold a password.
impl fmt::Debug for SharedConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, prefix, deadline, .. } = self;
        let mut shown = f.debug_struct("SharedConfig");
        shown.field("urls", &self.urls.len()).field("cluster", cluster).field("prefix", prefix);
        shown.field("deadline", deadline).finish_non_exhaustive()
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No address.
    #[error("no address of a Redis server is given")]
    NoUrl,
    /// Not an address. Its text is not repeated: it may hold a password.
    #[error("address {} is not a redis:// or rediss:// address: {why}", .at + 1)]
    Url {
        /// Which one, from 0.
        at: usize,
        /// What the client library says.
        why: String,
    },
    /// See [`SharedConfig::prefix`].
    #[error("the prefix may be 1 to 100 characters without braces, spaces and control characters")]
    Prefix,
    /// A duration or limit that must be more than nothing.
    #[error("{0} must be more than 0")]
    Zero(&'static str),
    /// Others would be taken for gone between two of their heartbeats.
    #[error("silence must be at least two heartbeats")]
    Silence,
    /// A Cluster has one database only, and is not reached by a unix socket.
    #[error("address {} of a cluster must be a host and port, without a database", .at + 1)]
    ClusterUrl {
        /// Which one, from 0.
        at: usize,
    },
}

impl SharedConfig {
    /// The defaults, with these addresses.
    #[must_use]
    pub fn new(urls: Vec<String>) -> Self {
        Self {
            urls,
            cluster: false,
            prefix: "pointsman:".to_owned(),
            password: None,
            deadline: Duration::from_millis(20),
            patience: Duration::from_secs(1),
            compress_from: pointsman_cache::codec::COMPRESS_FROM_DEFAULT,
            value_bytes_max: 8 << 20,
            failures_max: 3,
            retry: Duration::from_secs(1),
            retry_max: Duration::from_secs(30),
            generation_ttl: Duration::from_secs(24 * 3600),
            heartbeat: Duration::from_millis(500),
            silence: Duration::from_secs(3),
            queue_tags_max: 4096,
            events_max: 4096,
        }
    }

    /// Checks everything and parses the addresses.
    ///
    /// # Errors
    /// The first mistake.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.targets().map(|_| ())
    }

    /// The servers, ready to be connected to.
    pub(crate) fn open_targets(&self) -> Result<Vec<ConnectionInfo>, ConfigError> {
        let targets = self.targets()?;
        if targets.iter().any(|target| matches!(target.addr(), ConnectionAddr::TcpTls { .. })) {
            // The client library takes the process's. Where one is chosen already, that one stays.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        Ok(targets)
    }

    fn targets(&self) -> Result<Vec<ConnectionInfo>, ConfigError> {
        self.check_numbers()?;
        let unfit = |c: char| matches!(c, '{' | '}') || c.is_whitespace() || c.is_control();
        if self.prefix.is_empty() || self.prefix.len() > 100 || self.prefix.contains(unfit) {
            return Err(ConfigError::Prefix);
        }
        if self.urls.is_empty() {
            return Err(ConfigError::NoUrl);
        }
        self.urls.iter().enumerate().map(|(at, url)| self.target(at, url)).collect()
    }

    fn check_numbers(&self) -> Result<(), ConfigError> {
        let times = [
            ("deadline", self.deadline),
            ("patience", self.patience),
            ("retry", self.retry),
            ("generation_ttl", self.generation_ttl),
            ("heartbeat", self.heartbeat),
        ];
        if let Some((name, _)) = times.into_iter().find(|(_, time)| time.as_millis() == 0) {
            return Err(ConfigError::Zero(name));
        }
        let limits = [
            ("failures_max", self.failures_max as usize),
            ("queue_tags_max", self.queue_tags_max),
            ("events_max", self.events_max),
        ];
        if let Some((name, _)) = limits.into_iter().find(|(_, limit)| *limit == 0) {
            return Err(ConfigError::Zero(name));
        }
        if self.silence < self.heartbeat * 2 { Err(ConfigError::Silence) } else { Ok(()) }
    }

    fn target(&self, at: usize, url: &str) -> Result<ConnectionInfo, ConfigError> {
        let info = url.into_connection_info();
        let info = info.map_err(|error| ConfigError::Url { at, why: error.category().to_owned() })?;
        let mut settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        let socket = matches!(info.addr(), ConnectionAddr::Unix(_));
        if self.cluster && (socket || settings.db() != 0) {
            return Err(ConfigError::ClusterUrl { at });
        }
        let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
        Ok(info.set_redis_settings(settings).set_tcp_settings(tcp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> SharedConfig {
        SharedConfig::new(vec!["redis://127.0.0.1/".to_owned()])
    }

    #[test]
    fn mistakes_are_told_apart() {
        assert_eq!(config().check(), Ok(()));
        type Spoil = fn(&mut SharedConfig);
        type Expected = fn(&ConfigError) -> bool;
        let spoils: [(Spoil, Expected); 8] = [
            (|c| c.urls.clear(), |e| *e == ConfigError::NoUrl),
            (|c| c.urls.push("http://x".to_owned()), |e| matches!(e, ConfigError::Url { at: 1, .. })),
            (|c| c.prefix = "{all}:".to_owned(), |e| *e == ConfigError::Prefix),
            (|c| c.prefix.clear(), |e| *e == ConfigError::Prefix),
            (|c| c.deadline = Duration::ZERO, |e| *e == ConfigError::Zero("deadline")),
            (|c| c.failures_max = 0, |e| *e == ConfigError::Zero("failures_max")),
            (|c| c.silence = c.heartbeat, |e| *e == ConfigError::Silence),
            (
                |c| {
                    c.cluster = true;
                    c.urls = vec!["redis://127.0.0.1/3".to_owned()];
                },
                |e| *e == ConfigError::ClusterUrl { at: 0 },
            ),
        ];
        for (place, (spoil, expected)) in spoils.into_iter().enumerate() {
            let mut config = config();
            spoil(&mut config);
            let error = config.check().unwrap_err();
            assert!(expected(&error), "{place}: {error}");
        }
    }

    #[test]
    fn a_password_is_taken_from_where_it_is_given_and_never_shown() {
        let mut config = config();
        config.urls = vec!["redis://ann:old@127.0.0.1/".to_owned(), "redis://ann:old@x y/".to_owned()];
        let error = config.targets().unwrap_err();
        config.urls.pop();
        config.password = Some("new".to_owned());
        let targets = config.targets().unwrap();
        assert_eq!(targets[0].redis_settings().username(), Some("ann"));
        assert_eq!(targets[0].redis_settings().password(), Some("new"));
        let shown = format!("{config:?} {error} {error:?}");
        assert!(!shown.contains("old") && !shown.contains("new"), "{shown}");
    }
}
