//! Ranges of values, each on a shard.

use std::cmp::Ordering;

use super::WrongType;
use crate::key::Key;
use crate::set::ShardSet;

/// From a value, included, to another, excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The lowest value; `None`: there is none.
    pub from: Option<Key<'static>>,
    /// The value that comes after the highest; `None`: there is none.
    pub to: Option<Key<'static>>,
    /// The shard of all values between.
    pub shard: usize,
}

/// What is wrong with ranges. Each is told by its index in the list given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The range has no value in it.
    #[error("the range is empty: `from` is not below `to`")]
    Empty(usize),
    /// Two ranges have values in common.
    #[error("the range overlaps another")]
    Overlap(usize, usize),
    /// A bound is of another type than those before it, or NULL.
    #[error("the bound is of another type than those before it")]
    Type(usize),
}

/// Ranges without common values, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges(Box<[Range]>);

impl Ranges {
    /// Sorts ranges. Texts are in the order of their bytes.
    ///
    /// # Errors
    /// [`RangeError`], all there are.
    pub fn new(ranges: Vec<Range>) -> Result<Self, Vec<RangeError>> {
        let mut wrong = of_one_type(&ranges);
        if wrong.is_empty() {
            let empty = |range: &Range| match (&range.from, &range.to) {
                (Some(from), Some(to)) => from.order(to) != Some(Ordering::Less),
                _ => false,
            };
            wrong.extend(
                ranges
                    .iter()
                    .enumerate()
                    .filter(|(_, range)| empty(range))
                    .map(|(at, _)| RangeError::Empty(at)),
            );
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let mut sorted: Vec<(usize, Range)> = ranges.into_iter().enumerate().collect();
        sorted.sort_by(|(_, a), (_, b)| from_order(a, b));
        let overlaps = sorted.windows(2).filter_map(|pair| {
            let [(first, a), (second, b)] = pair else { return None };
            let apart = match (&a.to, &b.from) {
                (Some(to), Some(from)) => to.order(from) != Some(Ordering::Greater),
                _ => false,
            };
            (!apart).then_some(RangeError::Overlap(*first.min(second), *first.max(second)))
        });
        wrong.extend(overlaps);
        if wrong.is_empty() {
            Ok(Self(sorted.into_iter().map(|(_, range)| range).collect()))
        } else {
            Err(wrong)
        }
    }

    /// The ranges, from the lowest.
    pub fn iter(&self) -> impl Iterator<Item = &Range> {
        self.0.iter()
    }

    /// Values that no range has: after the first bound, included, until before the second.
    pub fn gaps(&self) -> impl Iterator<Item = (Option<&Key<'static>>, Option<&Key<'static>>)> {
        let first = self.0.first().and_then(|range| range.from.as_ref()).map(|from| (None, Some(from)));
        let last = self.0.last().and_then(|range| range.to.as_ref()).map(|to| (Some(to), None));
        let between = self.0.windows(2).filter_map(|pair| {
            let (to, from) = (pair[0].to.as_ref(), pair[1].from.as_ref());
            (to != from).then_some((to, from))
        });
        first.into_iter().chain(between).chain(last)
    }

    pub(super) fn shard(&self, value: &Key<'_>) -> Result<Option<usize>, WrongType> {
        self.check(value)?;
        // The first range that does not end before the value is the only one that may have it.
        let ends_before =
            |range: &Range| range.to.as_ref().is_some_and(|to| to.order(value) != Some(Ordering::Greater));
        let at = self.0.partition_point(ends_before);
        let begins = |range: &&Range| {
            range.from.as_ref().is_none_or(|from| from.order(value) != Some(Ordering::Greater))
        };
        Ok(self.0.get(at).filter(begins).map(|range| range.shard))
    }

    pub(super) fn between(
        &self,
        low: Option<(&Key<'_>, bool)>,
        high: Option<(&Key<'_>, bool)>,
    ) -> Result<ShardSet, WrongType> {
        for (bound, _) in low.iter().chain(&high) {
            self.check(bound)?;
        }
        if let (Some((low, low_in)), Some((high, high_in))) = (low, high) {
            match low.order(high) {
                Some(Ordering::Greater) => return Ok(ShardSet::new()),
                Some(Ordering::Equal) if !(low_in && high_in) => return Ok(ShardSet::new()),
                Some(_) => {}
                None => return Err(WrongType),
            }
        }
        let touched = |range: &&Range| {
            let above = match (&range.to, low) {
                (Some(to), Some((low, _))) => low.order(to) == Some(Ordering::Less),
                _ => true,
            };
            let below = match (&range.from, high) {
                (Some(from), Some((high, included))) => match from.order(high) {
                    Some(Ordering::Equal) => included,
                    order => order == Some(Ordering::Less),
                },
                _ => true,
            };
            above && below
        };
        Ok(self.0.iter().filter(touched).map(|range| range.shard).collect())
    }

    /// Whether a value is of the bounds' type.
    fn check(&self, value: &Key<'_>) -> Result<(), WrongType> {
        let bound = self.0.iter().find_map(|range| range.from.as_ref().or(range.to.as_ref()));
        match bound {
            Some(bound) if bound.order(value).is_none() => Err(WrongType),
            _ => Ok(()),
        }
    }
}

fn bounds(range: &Range) -> impl Iterator<Item = &Key<'static>> {
    range.from.iter().chain(&range.to)
}

fn of_one_type(ranges: &[Range]) -> Vec<RangeError> {
    let first = ranges.iter().flat_map(bounds).next();
    let wrong =
        |range: &Range| first.is_some_and(|first| bounds(range).any(|bound| bound.order(first).is_none()));
    ranges.iter().enumerate().filter(|(_, range)| wrong(range)).map(|(at, _)| RangeError::Type(at)).collect()
}

fn from_order(a: &Range, b: &Range) -> Ordering {
    match (&a.from, &b.from) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(a), Some(b)) => a.order(b).unwrap_or(Ordering::Equal),
    }
}
