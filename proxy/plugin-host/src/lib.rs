//! WebAssembly plugins: loaded, limited, called. It knows no sessions and no PostgreSQL: the server gives it what plugins
//! ask for, as [`Session`], [`Statement`], [`Lookup`] and [`SharedKv`].
//!
//! [`Host::load`] makes [`Plugins`] of [`PluginSpec`]s; the server swaps them for those before, and tells these with
//! [`Plugins::replaced_by`]. A [`Plugin`]'s hooks are called on a worker: they return within the plugin's deadlines, whatever it
//! does, and what fails becomes the verdict that the configuration says, with the reason beside it.

mod bindings;
mod breaker;
mod call;
mod code;
mod convert;
mod engine;
mod error;
mod host;
mod imports;
mod inspect;
mod instance;
mod kv;
mod log;
mod lookup;
mod memo;
mod metrics;
mod plugin;
mod pool;
mod prepare;
mod room;
mod spec;
mod state;
mod stats;
mod verdict;

pub use call::{
    ChangeCall, Constant, ConstantKind, Identity, Operation, Parameter, QueryCall, Relation, RowChange,
    Session, Statement, StatementKind, StoreCall, Value, WriteCall,
};
pub use error::{CallError, FAILURE_KINDS, FailureKind, LoadError, Problem};
pub use host::{Host, HostError, HostOptions, Plugins};
pub use kv::{KvError, KvFuture, SharedKv};
pub use lookup::{Lookup, LookupError, LookupFuture, LookupRequest};
pub use metrics::{MetricKind, MetricSeries, MetricShape};
pub use plugin::{Plugin, PluginStatus, Wants};
pub use spec::{
    Capability, Failures, Hook, Isolation, KvLimits, Limits, LookupLimits, MEMORY_BYTES_MAX, OnFailure,
    PluginSpec,
};
pub use stats::Counts;
pub use verdict::{
    Caching, Changes, ConnectVerdict, Invalidation, Memo, Refusal, Rewrite, Route, Rows, Said, StoreVerdict,
    VERDICT_KINDS, Verdict,
};
