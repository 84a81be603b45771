//! The result cache without sockets, async and clocks: what an entry is called and depends on, when it is no longer
//! valid, how it is kept in memory and written elsewhere, and who fills it.

mod hash;
pub mod ledger;
pub mod tag;
