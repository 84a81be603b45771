//! What the cache is configured with.

use std::time::Duration;

/// The cache of results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// Memory for entries, in bytes, their overhead included; 0 keeps nothing.
    pub memory: usize,
    /// The largest entry, in bytes.
    pub max_entry: usize,
    /// How changes are heard of that do not pass through here.
    pub changes: ChangesConfig,
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
        Self { memory: 256 << 20, max_entry: 1 << 20, changes: ChangesConfig::default() }
    }
}
