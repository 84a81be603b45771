//! Write plugins for Pointsman in Rust.
//!
//! A plugin is a type that implements [`Plugin`], and one line that says which of its hooks Pointsman is to call:
//!
//! ```
//! use pointsman_plugin::{Outcome, Plugin, Query, Refusal, StatementKind, session};
//!
//! /// Lets the user `auditor` read, and nothing else.
//! struct ReadOnly;
//!
//! impl Plugin for ReadOnly {
//!     fn init(_config: &str) -> Result<Self, String> {
//!         Ok(Self)
//!     }
//!
//!     fn on_query(&mut self, query: Query) -> Outcome {
//!         if query.read_only || session::who().user != "auditor" {
//!             return Outcome::pass();
//!         }
//!         Outcome::refuse(Refusal::new("42501", "auditors only read").hint("ask for another role"))
//!     }
//! }
//!
//! pointsman_plugin::export!(ReadOnly: on_query);
//!
//! // In a test, without Wasm:
//! use pointsman_plugin::bench::{Bench, Statement};
//! let mut bench = Bench::<ReadOnly>::new("null").expect("init");
//! bench.user("auditor");
//! assert!(bench.query(&Statement::new("SELECT 1")).is_pass());
//! let outcome = bench.query(&Statement::new("DELETE FROM agents").writes("agents"));
//! assert_eq!(outcome.refusal().expect("refused").sqlstate, "42501");
//! ```
//!
//! Its crate is a `cdylib`, built with `cargo build --release --target wasm32-unknown-unknown`. The file
//! `target/wasm32-unknown-unknown/release/NAME.wasm` is the plugin: Pointsman loads it as it is.
//!
//! - [`session`] and [`statement`] say who asks for what; nothing of them is copied but what is asked for.
//! - [`log`], [`metric`], [`kv`], [`lookup`], [`clock`] and [`random`] are capabilities. What a plugin calls must be in `grants` of
//!   its configuration; what it does not call is not imported.
//! - A panic is a trap: the call has failed, and the configuration's `on_failure` says what becomes of the statement. Its message
//!   is not seen outside.
//! - There are several instances at a time, and any may go at any time: what must last belongs in [`kv`].

#[cfg(not(target_arch = "wasm32"))]
pub mod bench;
#[doc(hidden)]
pub mod bindings;
mod capabilities;
mod export;
mod verdict;

pub use bindings::needs::exports::pointsman::plugin::needs::Wants;
pub use bindings::on_change::exports::pointsman::plugin::on_change::{Batch, Column, Operation, RowChange};
pub use bindings::on_connect::exports::pointsman::plugin::on_connect::{ConnectVerdict, Setting};
pub use bindings::on_query::exports::pointsman::plugin::on_query::{
    Caching, Changes, Memo, Outcome, Query, Rewrite, Route, Verdict,
};
pub use bindings::on_store::exports::pointsman::plugin::on_store::{Entry, StoreVerdict, Storing};
pub use bindings::on_write::exports::pointsman::plugin::on_write::Written;
pub use bindings::pointsman::plugin::types::{Parameter, Refusal, Relation, Rows, StatementKind, Tag, Value};
pub use capabilities::{clock, kv, log, lookup, metric, random, session, statement};
#[doc(hidden)]
pub use export::Exported;

/// A plugin: one value of it is an instance, with one call at a time. Implement the hooks that you want, and name them in [`export!`].
pub trait Plugin: Sized + 'static {
    /// Makes an instance. `config` is JSON: what the plugin's configuration has below `config`, or `null`.
    ///
    /// # Errors
    /// What is wrong with the configuration, for a person to read. The plugin is then not loaded; at a reload the old one stays.
    fn init(config: &str) -> Result<Self, String>;

    /// The instance ends in peace. Not called after a failure.
    fn shutdown(&mut self) {}

    /// What the host is to prepare; asked once, when the plugin is loaded. Exported as `needs`.
    fn needs(&mut self) -> Wants {
        Wants { changes_of: Vec::new(), values: false }
    }

    /// A statement, before it is sent.
    fn on_query(&mut self, _query: Query) -> Outcome {
        Outcome::pass()
    }

    /// A statement that wrote, before its client hears of its commit: the tags to invalidate besides those that its text shows.
    fn on_write(&mut self, _written: Written) -> Vec<Tag> {
        Vec::new()
    }

    /// Committed changes of the change stream: the tags to invalidate besides those that the changes show.
    fn on_change(&mut self, _batch: Batch) -> Vec<Tag> {
        Vec::new()
    }

    /// A result, before it is kept in the cache.
    fn on_store(&mut self, _entry: Entry) -> StoreVerdict {
        StoreVerdict::Keep
    }

    /// A client that has proven who it is, before it hears so.
    fn on_connect(&mut self) -> ConnectVerdict {
        ConnectVerdict::Allow(Vec::new())
    }
}
