//! How a table's rows are spread, in the words of PostgreSQL's partitions.

use pointsman_shards::function::Function;

/// How rows are spread over partitions, one for each shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spread {
    /// By PostgreSQL's own hash of the key.
    Hash,
    /// By the remainder of an integer.
    Modulo,
    /// By ranges.
    Range(Vec<Range>),
    /// By lists of values.
    List {
        /// Values and their shards; `None` is NULL.
        values: Vec<(Option<String>, usize)>,
        /// The shard of all others.
        default: Option<usize>,
    },
    /// In a way that PostgreSQL cannot be told: every statement asks every shard.
    Untold,
}

/// A range of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The lowest key; `None`: there is none.
    pub from: Option<String>,
    /// The first key beyond; `None`: there is none.
    pub to: Option<String>,
    /// The shard.
    pub shard: usize,
}

impl From<&Function> for Spread {
    fn from(function: &Function) -> Self {
        match function {
            Function::Modulo => Self::Modulo,
        }
    }
}

impl Spread {
    /// Whether each shard is one range, so that it is one partition. A shard's foreign table has all of its rows: two partitions of
    /// it would have each row twice.
    pub(super) fn is_partitions(&self, shards: usize) -> bool {
        match self {
            Self::Hash | Self::Modulo | Self::List { .. } => true,
            Self::Range(ranges) => {
                (0..shards).all(|shard| ranges.iter().filter(|range| range.shard == shard).count() <= 1)
            }
            Self::Untold => false,
        }
    }
}
