//! From a key to its shard.

/// A function that spreads keys over shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Function {
    /// The integer modulo the number of shards, never negative.
    Modulo,
}
