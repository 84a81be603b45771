//! The result cache without sockets, async and clocks: what an entry is called and depends on, when it is no longer
//! valid, how it is kept in memory and written elsewhere, and who fills it.

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
pub use key::{Context, Key, KeyBuilder, KeyScratch, Place, Protocol, Scope};
pub use ledger::Ledger;
pub use store::{Look, Store, StoreLimits, TooLarge};
pub use tag::{
    KEY_BYTES_MAX, KeyText, KeyType, RelationTags, TAGS_MAX, Tag, TagKind, TagTemplate, Tags, TemplateError,
};
