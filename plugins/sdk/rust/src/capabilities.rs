//! What a plugin may ask of Pointsman: of the real one as Wasm, of the bench in a native test.

#[cfg(not(target_arch = "wasm32"))]
use crate::bench::host;
#[cfg(target_arch = "wasm32")]
use crate::bindings::pointsman::plugin as host;

/// Who asks. Always there; not in `init`, `shutdown` and `on_change`, where nobody does.
pub mod session {
    use super::host;
    pub use crate::bindings::pointsman::plugin::session::Identity;

    /// Who asks.
    #[must_use]
    pub fn who() -> Identity {
        host::session::who()
    }

    /// The session's own value of a setting, such as `app.tenant`, given at login or by a `SET` of the session.
    #[must_use]
    pub fn setting(name: &str) -> Option<String> {
        host::session::setting(name)
    }
}

/// The statement at hand. Always there; not in `init`, `shutdown`, `on_change` and `on_connect`, where there is none.
pub mod statement {
    use super::host;
    pub use crate::bindings::pointsman::plugin::statement::{Constant, ConstantKind};
    use crate::{Parameter, Relation, Value};

    /// The text as the client sent it, or as a plugin before this one rewrote it.
    #[must_use]
    pub fn sql() -> String {
        host::statement::sql()
    }

    /// The relations that the text names, each once.
    #[must_use]
    pub fn relations() -> Vec<Relation> {
        host::statement::relations()
    }

    /// The literal of this index, from 0 in the order of the text.
    #[must_use]
    pub fn literal(index: u32) -> Option<Constant> {
        host::statement::literal(index)
    }

    /// The parameter of this index: `$1` is 0.
    #[must_use]
    pub fn param(index: u32) -> Option<Parameter> {
        host::statement::param(index)
    }

    /// Every value that the statement pins a column to; none if they are not all known.
    #[must_use]
    pub fn pinned(table: &str, column: &str) -> Option<Vec<Value>> {
        host::statement::pinned(table, column)
    }

    /// The value of a key in the statement's `/*key='value'*/` comments.
    #[must_use]
    pub fn comment(key: &str) -> Option<String> {
        host::statement::comment(key)
    }
}

/// Capability `log`: Pointsman's log.
pub mod log {
    use super::host;
    pub use crate::bindings::pointsman::plugin::log::Level;

    /// Writes a line.
    pub fn write(level: Level, message: &str) {
        host::log::write(level, message);
    }

    /// Whether lines of this level are written.
    #[must_use]
    pub fn enabled(level: Level) -> bool {
        host::log::enabled(level)
    }
}

/// Capability `metric`: metrics with closed labels. Register them in `init`.
pub mod metric {
    use super::host;
    pub use crate::bindings::pointsman::plugin::metric::Label;

    /// A metric that was registered.
    #[derive(Debug, Clone, Copy)]
    pub struct Metric(u32);

    /// A number that only grows; `name` ends in `_total`.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn counter(name: &str, help: &str, labels: &[Label]) -> Result<Metric, String> {
        host::metric::register_counter(name, help, labels).map(Metric)
    }

    /// A number that goes up and down.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn gauge(name: &str, help: &str, labels: &[Label]) -> Result<Metric, String> {
        host::metric::register_gauge(name, help, labels).map(Metric)
    }

    /// A distribution over buckets, whose upper bounds rise.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn histogram(name: &str, help: &str, labels: &[Label], buckets: &[f64]) -> Result<Metric, String> {
        host::metric::register_histogram(name, help, labels, buckets).map(Metric)
    }

    impl Metric {
        /// Adds to a counter or gauge. `labels` has the index of each label's value.
        pub fn add(self, labels: &[u32], by: f64) {
            host::metric::add(self.0, labels, by);
        }

        /// Sets a gauge.
        pub fn set(self, labels: &[u32], to: f64) {
            host::metric::set(self.0, labels, to);
        }

        /// Takes an observation into a histogram.
        pub fn observe(self, labels: &[u32], value: f64) {
            host::metric::observe(self.0, labels, value);
        }
    }
}

/// Capability `kv`: the plugin's own keys and values, of all its instances. It may lose anything at any time.
pub mod kv {
    use std::time::Duration;

    use super::host;
    pub use crate::bindings::pointsman::plugin::kv::KvError;
    use crate::verdict::milliseconds;

    /// The value of a key.
    ///
    /// # Errors
    /// See [`KvError`].
    pub fn get(key: &str) -> Result<Option<Vec<u8>>, KvError> {
        host::kv::get(key)
    }

    /// Sets a key, for so long; without a time it stays while there is room.
    ///
    /// # Errors
    /// See [`KvError`].
    pub fn set(key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), KvError> {
        host::kv::set(key, value, ttl.map(milliseconds))
    }

    /// Removes a key. That there is none is no error.
    ///
    /// # Errors
    /// See [`KvError`].
    pub fn delete(key: &str) -> Result<(), KvError> {
        host::kv::delete(key)
    }

    /// Adds to a decimal number, from 0 if there is none, and gives the sum. The time counts if the key is new.
    ///
    /// # Errors
    /// See [`KvError`].
    pub fn increment(key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, KvError> {
        host::kv::increment(key, by, ttl.map(milliseconds))
    }
}

/// Capability `lookup`: read-only SQL on a replica of the session's database.
pub mod lookup {
    use super::host;
    use crate::Rows;
    pub use crate::bindings::pointsman::plugin::lookup::{LookupError, SqlError};

    /// Asks. Parameters and rows are in text form; `None` is `NULL`.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub fn query(sql: &str, params: &[Option<String>]) -> Result<Rows, LookupError> {
        host::lookup::query(sql, params)
    }
}

/// Capability `clock`.
pub mod clock {
    use super::host;

    /// Microseconds since 1970-01-01 00:00 UTC.
    #[must_use]
    pub fn now() -> u64 {
        host::clock::now()
    }

    /// Nanoseconds since some moment, never going back.
    #[must_use]
    pub fn monotonic() -> u64 {
        host::clock::monotonic()
    }
}

/// Capability `random`: numbers that nobody can guess.
pub mod random {
    use super::host;

    /// One number.
    #[must_use]
    pub fn number() -> u64 {
        host::random::number()
    }

    /// So many bytes, at most 4,096.
    #[must_use]
    pub fn bytes(count: u32) -> Vec<u8> {
        host::random::bytes(count)
    }
}
