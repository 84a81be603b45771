//! What the server does for a plugin that asks for rows.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::spec::LookupLimits;
use crate::verdict::Rows;

/// A plugin's question.
#[derive(Debug, Clone)]
pub struct LookupRequest {
    /// The plugin.
    pub plugin: String,
    /// The session's database.
    pub database: String,
    /// The text, not judged yet.
    pub sql: String,
    /// Its parameters in text form; `None` is `NULL`.
    pub params: Vec<Option<String>>,
    /// How long it may take. The host stops waiting then.
    pub deadline: Duration,
    /// How much it may bring.
    pub limits: LookupLimits,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupError {
    /// It may not be asked.
    Refused(String),
    /// It took too long.
    Deadline,
    /// There is too much.
    TooLarge,
    /// PostgreSQL refused it.
    Failed {
        /// Its SQLSTATE.
        sqlstate: String,
        /// Its message.
        message: String,
    },
    /// No server can be asked.
    Unavailable(String),
}

/// What [`Lookup::query`] gives back.
pub type LookupFuture = Pin<Box<dyn Future<Output = Result<Rows, LookupError>> + Send>>;

/// Read-only SQL on a replica. Whoever implements it proves that a text only reads.
pub trait Lookup: Send + Sync {
    /// Asks.
    fn query(&self, request: LookupRequest) -> LookupFuture;
}
