//! Shards without input and output: where a table's rows live, which shards a statement is for, what is sent to each when
//! they are several, and how their answers become one.
//!
//! A statement becomes a [`Plan`](plan::Plan): a [`Pick`](pick::Pick), which says by the values of one execution which shards
//! hold the rows that it touches, and what is done if they are several ([`Many`](plan::Many)). A statement whose rows lie on one
//! shard goes there unchanged, whatever it is. Of several, what is not provably right is refused, and the refusal names the part.

pub mod copy;
pub mod function;
pub mod ids;
pub mod key;
pub mod layout;
pub mod lookup;
pub mod merge;
pub mod next_ids;
pub mod pick;
pub mod plan;
mod set;
pub mod told;
pub mod types;
pub mod values;

pub use layout::{Column, FunctionKind, Placement, Schema, Sharded};
pub use set::{SHARDS_MAX, ShardSet};
pub use values::Values;
