//! The result cache without sockets, async and clocks: what an entry is called and depends on, when it is no longer
//! valid, how it is kept in memory and written elsewhere, and who fills it.
//!
//! A **read** that a rule caches, outside a transaction: make its [`Key`]; [`Store::look`]. If nothing may be served,
//! [`Flights::join`] with [`Ledger::last`], the session's last write, and [`Ledger::permits`] of the tags known so far. A
//! follower waits, asks [`Ledger::permits`] of the entry that it gets, and else fetches for itself. A leader chooses a
//! server, calls [`Ledger::begin_fill`] *before* it sends the query, [`Ledger::end_fill`] after the last row; permitted
//! or not, the entry [`Leader::land`]s, and what is permitted goes to [`Store::insert`].
//!
//! A **write** collects its [`Tags`]; [`Ledger::sent`] before its autocommit statement or its transaction's `COMMIT` is
//! sent; [`ledger::Write::acknowledged`] before the client is told, or `rolled_back`, or `lost`. Nothing is noted for
//! statements inside a transaction but their tags.
//!
//! The **change stream** calls [`Ledger::change`] for each commit. While [`Ledger::is_unsettled`], somebody asks the
//! primary for its snapshot and calls [`Ledger::settle`]; while [`Ledger::wants_position`], for its position, and calls
//! [`Ledger::positioned`]. Whatever may have been missed: [`Ledger::close`], and [`Ledger::open`] when it is mended.

pub mod codec;
mod entry;
mod flight;
mod hash;
mod key;
pub mod ledger;
pub mod stats;
mod store;
mod tag;

pub use entry::{About, Age, Entry, Lifetime, Millis, Parts};
pub use flight::{Flights, Follower, Join, Leader};
pub use key::{Context, Key, KeyBuilder, KeyScratch, Place, Protocol};
pub use ledger::Ledger;
pub use store::{Look, Store, StoreLimits, TooLarge};
pub use tag::{KEY_BYTES_MAX, KeyText, KeyType, RelationTags, TAGS_MAX, Tag, TagKind, Tags};
