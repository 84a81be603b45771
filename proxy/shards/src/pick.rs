//! Which shards hold the rows that a statement touches, by the values of one execution.

use std::sync::Arc;

use pointsman_sql::ValueRef;

use crate::function::KeyError;
use crate::key::{Key, KeyType};
use crate::layout::Sharded;
use crate::set::ShardSet;
use crate::values::Values;

/// The shards that a statement is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Pick {
    /// No shard in particular, any will do: it touches reference tables only, or none.
    Any,
    /// The first: it touches unsharded tables.
    First,
    /// The shards of all these keys together.
    Keys(Box<[KeyUse]>),
    /// Every shard.
    All,
}

/// The values of a sharded table's key that a statement is limited to.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyUse {
    /// The table's.
    pub sharded: Arc<Sharded>,
    /// Types of the key's columns (`pg_type.oid`). No column of text may have a collation that is not deterministic.
    pub types: Box<[u32]>,
    /// The values.
    pub values: KeyValues,
}

/// Values of a key, as the text has them. Literals are counted in the client's own text.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyValues {
    /// The key is compared with these by `=`. Each has one value for each column of the key. One with a NULL, and one for
    /// which no shard is declared, is equal to no row's and adds no shard.
    Tuples(Box<[Box<[ValueRef]>]>),
    /// Rows with these keys are stored. Each has one value for each column of the key, and must have a shard.
    Rows(Box<[Box<[ValueRef]>]>),
    /// `= ANY (array)`.
    Array(ValueRef),
    /// Between two bounds, each included or not.
    Between {
        /// The lower one.
        low: Option<Bound>,
        /// The upper one.
        high: Option<Bound>,
    },
}

/// An end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Its value.
    pub value: ValueRef,
    /// Whether it belongs to the range.
    pub included: bool,
}

/// The shards of one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picked {
    /// Any shard will do: no row that differs between shards is touched.
    Any,
    /// These, one at least.
    Shards(ShardSet),
}

impl Picked {
    /// The shard, if one is enough; of several that will do, `preferred`.
    #[must_use]
    pub fn only(self, preferred: usize) -> Option<usize> {
        match self {
            Self::Any => Some(preferred),
            Self::Shards(set) => set.only(),
        }
    }
}

impl Pick {
    /// The shards of an execution with these values. A value that cannot be known means all shards. If no row can match,
    /// because all keys that are compared are NULL say, it is [`Picked::Any`].
    ///
    /// # Errors
    /// A key of a row to be stored has no shard. One that cannot be known is no error here: it may have any.
    pub fn shards(&self, values: &Values<'_>, shards: usize) -> Result<Picked, KeyError> {
        let uses = match self {
            Self::Any => return Ok(Picked::Any),
            Self::First => return Ok(Picked::Shards(ShardSet::one(0))),
            Self::All => return Ok(Picked::Shards(ShardSet::all(shards))),
            Self::Keys(uses) => uses,
        };
        let mut picked = ShardSet::new();
        for one in uses {
            match one.shards(values, shards)? {
                Some(set) => picked.add(set),
                None => return Ok(Picked::Shards(ShardSet::all(shards))),
            }
        }
        Ok(if picked.is_empty() { Picked::Any } else { Picked::Shards(picked) })
    }
}

impl KeyUse {
    /// The shard of the one row to be stored that this is the key of.
    ///
    /// # Errors
    /// It has none, or its key cannot be known.
    pub fn shard(&self, values: &Values<'_>, shards: usize) -> Result<usize, KeyError> {
        let (KeyValues::Tuples(tuples) | KeyValues::Rows(tuples)) = &self.values else {
            return Err(KeyError::Unclear);
        };
        let [tuple] = &**tuples else { return Err(KeyError::Unclear) };
        self.with_key(values, tuple, |key| self.sharded.function.shard(key, shards))
            .ok_or(KeyError::Unclear)
            .flatten()
    }

    /// `None`: they cannot be known.
    fn shards(&self, values: &Values<'_>, shards: usize) -> Result<Option<ShardSet>, KeyError> {
        let function = &self.sharded.function;
        let mut set = ShardSet::new();
        let known = match &self.values {
            KeyValues::Tuples(tuples) => tuples.iter().all(|tuple| {
                self.with_key(values, tuple, |key| self.compared(key, shards, &mut set)).unwrap_or(false)
            }),
            KeyValues::Rows(rows) => {
                let mut known = true;
                for row in rows {
                    match self.with_key(values, row, |key| function.shard(key, shards)) {
                        Some(shard) => set.insert(shard?),
                        None => known = false,
                    }
                }
                known
            }
            KeyValues::Array(array) => self.kind().is_some_and(|kind| {
                values.elements(*array, kind, |key| self.compared(&[key], shards, &mut set))
            }),
            KeyValues::Between { low, high } => match self.between(values, *low, *high, shards) {
                Some(between) => {
                    set = between;
                    true
                }
                None => false,
            },
        };
        Ok(known.then_some(set))
    }

    /// Adds the shard of a key that is compared; false if it cannot be known.
    fn compared(&self, key: &[Key<'_>], shards: usize, set: &mut ShardSet) -> bool {
        if key.contains(&Key::Null) {
            return true;
        }
        match self.sharded.function.shard(key, shards) {
            Ok(shard) => {
                set.insert(shard);
                true
            }
            // Rows are never stored with such a key.
            Err(KeyError::NoShard(_) | KeyError::Null) => true,
            Err(KeyError::Unclear | KeyError::Type { .. } | KeyError::NotThere { .. }) => false,
        }
    }

    /// Bounds of text are in the order of its collation, which may be another than that of its bytes.
    fn between(
        &self,
        values: &Values<'_>,
        low: Option<Bound>,
        high: Option<Bound>,
        shards: usize,
    ) -> Option<ShardSet> {
        let kind = self.kind().filter(|kind| !kind.is_text())?;
        let mut empty = false;
        // A bound that cannot be known is none.
        let mut bound = |bound: Option<Bound>| {
            let bound = bound?;
            let key = values.key(bound.value, kind)?;
            empty |= key == Key::Null;
            Some((key, bound.included))
        };
        let (low, high) = (bound(low), bound(high));
        if empty {
            return Some(ShardSet::new());
        }
        Some(self.sharded.function.shards_between(
            low.as_ref().map(|(key, included)| (key, *included)),
            high.as_ref().map(|(key, included)| (key, *included)),
            shards,
        ))
    }

    /// The type of a key of one column.
    fn kind(&self) -> Option<KeyType> {
        match &*self.types {
            [oid] => KeyType::of_oid(*oid),
            _ => None,
        }
    }

    /// Calls `then` with a key's values; `None` if one of them cannot be known.
    fn with_key<T>(
        &self,
        values: &Values<'_>,
        tuple: &[ValueRef],
        then: impl FnOnce(&[Key<'_>]) -> T,
    ) -> Option<T> {
        let key = |(value, oid): (&ValueRef, &u32)| values.key(*value, KeyType::of_oid(*oid)?);
        match (tuple, &*self.types) {
            ([value], [oid]) => Some(then(&[key((value, oid))?])),
            (tuple, types) if tuple.len() == types.len() => {
                let keys: Option<Vec<Key<'_>>> = tuple.iter().zip(types).map(key).collect();
                Some(then(&keys?))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
