//! Facts about columns, and what follows from them for rows of given items.

use std::collections::HashSet;

use pointsman_sql::ValueRef;

use super::{Col, ItemId, Regions, Scopes, SpaceId};
use crate::pick::Bound;

/// Something that holds for every row (of a space, and with its regions there) that matters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fact {
    pub(crate) space: SpaceId,
    pub(crate) regions: Regions,
    pub(crate) known: Known,
}

/// What holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Known {
    /// Two columns of one family are equal, and not NULL.
    Equal(Col, Col),
    /// Two columns are equal or both NULL.
    Same(Col, Col),
    /// Columns are, together, one of these rows.
    In(Vec<Col>, Vec<Box<[ValueRef]>>),
    /// A column is one of an array.
    Any(Col, ValueRef),
    /// A column is at least, or above, a value.
    Low(Col, Bound),
    /// A column is at most, or below, a value.
    High(Col, Bound),
}

impl Known {
    /// The columns that are not NULL where it holds.
    fn present(&self) -> Vec<Col> {
        match self {
            Self::Equal(a, b) => vec![*a, *b],
            Self::Same(..) => Vec::new(),
            Self::In(cols, _) => cols.clone(),
            Self::Any(col, _) | Self::Low(col, _) | Self::High(col, _) => vec![*col],
        }
    }
}

/// What holds of the rows of some items.
pub(crate) struct Closure<'s> {
    facts: Vec<&'s Known>,
    /// Sets of what is equal.
    classes: Vec<Vec<Member>>,
}

/// A column, or a value as one family's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Col(Col),
    Value(u32, ValueRef),
}

impl Scopes<'_> {
    /// What holds of rows in which all of these items are there.
    pub(crate) fn closure(&self, there: &[ItemId]) -> Closure<'_> {
        let spaces = self.around(there);
        let mut present: HashSet<ItemId> = there.iter().copied().collect();
        let mut left: Vec<&Fact> = self.facts.iter().filter(|fact| spaces.contains(&fact.space)).collect();
        let mut facts: Vec<&Known> = Vec::new();
        loop {
            let (holding, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|fact| {
                fact.regions
                    .iter()
                    .all(|region| present.iter().any(|item| self.regions[*region].contains(item)))
            });
            left = rest;
            if holding.is_empty() {
                break;
            }
            for fact in holding {
                present.extend(fact.known.present().iter().map(|col| col.item));
                facts.push(&fact.known);
            }
        }
        let mut closure = Closure { facts, classes: Vec::new() };
        closure.classes = self.classes(&closure.facts);
        closure
    }

    /// The spaces of these items and those around them.
    fn around(&self, items: &[ItemId]) -> HashSet<SpaceId> {
        let mut spaces = HashSet::new();
        for item in items {
            let mut next = Some(self.items[*item].space);
            while let Some(space) = next.filter(|space| spaces.insert(*space)) {
                next = self.spaces[space];
            }
        }
        spaces
    }

    fn classes(&self, facts: &[&Known]) -> Vec<Vec<Member>> {
        let mut classes: Vec<Vec<Member>> = Vec::new();
        for fact in facts {
            let pair = match fact {
                Known::Equal(a, b) | Known::Same(a, b) => (Member::Col(*a), Member::Col(*b)),
                Known::In(cols, rows) => {
                    let ([col], [row]) = (cols.as_slice(), rows.as_slice()) else { continue };
                    let (Some(family), [value]) = (self.info(*col).family(), &**row) else { continue };
                    (Member::Col(*col), Member::Value(family, *value))
                }
                _ => continue,
            };
            merge(&mut classes, pair);
        }
        classes
    }
}

fn merge(classes: &mut Vec<Vec<Member>>, (a, b): (Member, Member)) {
    let mut at = |member: Member| match classes.iter().position(|class| class.contains(&member)) {
        Some(at) => at,
        None => {
            classes.push(vec![member]);
            classes.len() - 1
        }
    };
    let (first, second) = (at(a), at(b));
    if first != second {
        let (keep, gone) = (first.min(second), first.max(second));
        let moved = classes.swap_remove(gone);
        classes[keep].extend(moved);
    }
}

impl Closure<'_> {
    /// Whether two columns are equal.
    pub(crate) fn equal(&self, a: Col, b: Col) -> bool {
        a == b || self.class(a).contains(&Member::Col(b))
    }

    /// All columns that are equal to one, itself first.
    pub(crate) fn alike(&self, col: Col) -> Vec<Col> {
        let others = self.class(col).iter().filter_map(|member| match member {
            Member::Col(other) if *other != col => Some(*other),
            _ => None,
        });
        std::iter::once(col).chain(others).collect()
    }

    fn class(&self, col: Col) -> &[Member] {
        self.classes.iter().find(|class| class.contains(&Member::Col(col))).map_or(&[], Vec::as_slice)
    }

    /// All that is known of values.
    pub(crate) fn facts(&self) -> &[&Known] {
        &self.facts
    }
}
