//! Values that are listed for their shards.

use std::collections::HashMap;

use super::WrongType;
use crate::key::Key;

/// Values and their shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    values: HashMap<Key<'static>, usize>,
    default: Option<usize>,
}

/// What is wrong with a list. Each is told by its index in the list given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A value is listed twice.
    #[error("the value is listed twice")]
    Twice(usize, usize),
    /// A value is of another type than those before it.
    #[error("the value is of another type than those before it")]
    Type(usize),
}

impl List {
    /// Values and their shards, and the shard of all others, NULL among them; without one these have none.
    ///
    /// # Errors
    /// [`ListError`], all there are.
    pub fn new(listed: &[(Key<'static>, usize)], default: Option<usize>) -> Result<Self, Vec<ListError>> {
        let mut wrong = Vec::new();
        let mut places: HashMap<&Key<'static>, usize> = HashMap::new();
        for (at, (value, _)) in listed.iter().enumerate() {
            let first = listed.iter().map(|(value, _)| value).find(|value| **value != Key::Null);
            if *value != Key::Null && first.is_some_and(|first| first.order(value).is_none()) {
                wrong.push(ListError::Type(at));
            }
            match places.get(value) {
                Some(earlier) => wrong.push(ListError::Twice(*earlier, at)),
                None => drop(places.insert(value, at)),
            }
        }
        if wrong.is_empty() {
            Ok(Self { values: listed.iter().cloned().collect(), default })
        } else {
            Err(wrong)
        }
    }

    pub(super) fn shard(&self, value: &Key<'_>) -> Result<Option<usize>, WrongType> {
        let some = self.values.keys().find(|listed| **listed != Key::Null);
        if *value != Key::Null && some.is_some_and(|listed| listed.order(value).is_none()) {
            return Err(WrongType);
        }
        Ok(self.values.get(value).copied().or(self.default))
    }

    pub(super) fn highest(&self) -> Option<usize> {
        self.values.values().copied().chain(self.default).max()
    }
}
