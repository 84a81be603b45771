//! What two-phase commit is configured with.

use std::time::Duration;

/// How long things may take, and stay. Nothing is less safe for other values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// One statement of a commit, and the connection that it takes.
    pub step: Duration,
    /// The decision, if the first try had no answer.
    pub decide: Duration,
    /// How long a client waits for shards that cannot be reached once its transaction is committed.
    pub finish: Duration,
    /// Recovery leaves alone what was prepared more recently.
    pub grace: Duration,
    /// Between two recoveries.
    pub interval: Duration,
    /// How long the log keeps what was decided.
    pub retention: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            step: Duration::from_secs(10),
            decide: Duration::from_secs(10),
            finish: Duration::from_secs(5),
            grace: Duration::from_secs(15),
            interval: Duration::from_secs(5),
            retention: Duration::from_secs(600),
        }
    }
}
