//! From a key to its shard.

pub mod hash;
mod list;
mod range;
mod ring;

pub use list::{List, ListError};
pub use range::{Range, RangeError, Ranges};
pub use ring::{POINTS_DEFAULT, POINTS_MAX, Ring};

use std::borrow::Cow;

use crate::key::Key;
use crate::set::ShardSet;

/// A function that spreads keys over shards. Two that are equal put equal keys on the same shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Function {
    /// The remainder of an integer by the number of shards. It is never negative: -1 of 4 is 3 (Euclid's, where `%` of
    /// PostgreSQL gives -1).
    Modulo,
    /// The remainder, by the number of shards, of PostgreSQL's hash of a partition key: a row is on the shard whose number is
    /// the `REMAINDER` of its partition. A NULL does not count in it, and NULLs alone are on the first shard.
    Hash,
    /// The range of values that the key is in.
    Range(Ranges),
    /// The shard that the key is listed for.
    List(List),
    /// The next point on a ring, of which shards have many each: when shards are added, few keys move.
    Ring(Ring),
}

/// Why a key has no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No range and no list has it.
    #[error("no shard is declared for the key {0}")]
    NoShard(Box<str>),
    /// It is NULL.
    #[error("the shard key is NULL")]
    Null,
    /// Its value cannot be known before the statement runs.
    #[error("the value of the shard key cannot be known before the statement runs")]
    Unclear,
    /// The function takes no such values.
    #[error("the shard function `{function}` does not take the key {key}")]
    Type {
        /// The function.
        function: &'static str,
        /// The key.
        key: Box<str>,
    },
    /// The shard is declared and not there.
    #[error("the shard key {key} is declared for shard {shard}, of which there are {shards} from 0")]
    NotThere {
        /// The key.
        key: Box<str>,
        /// Its shard.
        shard: usize,
        /// Shards that are there.
        shards: usize,
    },
}

impl KeyError {
    /// The SQLSTATE that a client is told.
    #[must_use]
    pub fn sqlstate(&self) -> &'static str {
        match self {
            // check_violation, as of a row that no partition takes.
            Self::NoShard(_) => "23514",
            // not_null_violation
            Self::Null => "23502",
            // feature_not_supported
            Self::Unclear => "0A000",
            // datatype_mismatch
            Self::Type { .. } => "42804",
            // config_file_error
            Self::NotThere { .. } => "F0000",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NoShard(_) => "Declare a range, a list or a default for it in the policy's `spec.tables`.",
            Self::Null => "Give the shard key a value.",
            Self::Unclear => "Write the shard key as a plain value or a parameter of the column's type.",
            Self::Type { .. } => "Declare a `function` that takes the type of the shard key.",
            Self::NotThere { .. } => "Configure as many shards as the policy names.",
        })
    }
}

impl Function {
    /// The shard of a key, a value for each of its columns.
    ///
    /// # Errors
    /// [`KeyError`], but [`KeyError::Unclear`].
    pub fn shard(&self, key: &[Key<'_>], shards: usize) -> Result<usize, KeyError> {
        let shards = shards.max(1);
        let shard = match (self, key) {
            (Self::Modulo, [Key::Int(value)]) => return Ok(remainder(*value, shards)),
            (Self::Hash, key) => return Ok(remainder_of_hash(hash::partition_hash(key), shards)),
            (Self::List(list), [value]) => list.shard(value),
            (_, key) if key.contains(&Key::Null) => return Err(KeyError::Null),
            (Self::Range(ranges), [value]) => ranges.shard(value),
            (Self::Ring(ring), key) => return Ok(ring.shard(hash::partition_hash(key), shards)),
            _ => return Err(self.wrong(key)),
        };
        match shard {
            Ok(Some(shard)) if shard < shards => Ok(shard),
            Ok(Some(shard)) => Err(KeyError::NotThere { key: shown(key), shard, shards }),
            Ok(None) if key.contains(&Key::Null) => Err(KeyError::Null),
            Ok(None) => Err(KeyError::NoShard(shown(key))),
            Err(WrongType) => Err(self.wrong(key)),
        }
    }

    /// Shards of the keys between two bounds, each with whether it is included. Other functions than `range` say all.
    #[must_use]
    pub fn shards_between(
        &self,
        low: Option<(&Key<'_>, bool)>,
        high: Option<(&Key<'_>, bool)>,
        shards: usize,
    ) -> ShardSet {
        match self {
            Self::Range(ranges) => {
                ranges.between(low, high).unwrap_or_else(|WrongType| ShardSet::all(shards))
            }
            _ => ShardSet::all(shards),
        }
    }

    /// Its name in a policy.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Modulo => "modulo",
            Self::Hash => "hash",
            Self::Range(_) => "range",
            Self::List(_) => "list",
            Self::Ring(_) => "ring",
        }
    }

    /// The highest shard that it names; `None` if it names none.
    #[must_use]
    pub fn highest(&self) -> Option<usize> {
        match self {
            Self::Range(ranges) => ranges.iter().map(|range| range.shard).max(),
            Self::List(list) => list.highest(),
            _ => None,
        }
    }

    fn wrong(&self, key: &[Key<'_>]) -> KeyError {
        if key.contains(&Key::Null) {
            return KeyError::Null;
        }
        KeyError::Type { function: self.name(), key: shown(key) }
    }
}

/// A value of another type than those declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WrongType;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "shards are few, and the remainder is below their number"
)]
fn remainder(value: i64, shards: usize) -> usize {
    value.rem_euclid(shards as i64) as usize
}

#[expect(clippy::cast_possible_truncation, reason = "the remainder is below the number of shards")]
fn remainder_of_hash(hash: u64, shards: usize) -> usize {
    (hash % shards as u64) as usize
}

fn shown(key: &[Key<'_>]) -> Box<str> {
    match key {
        [value] => value.to_string().into(),
        values => {
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            format!("({})", values.join(", ")).into()
        }
    }
}

#[cfg(test)]
mod tests;
