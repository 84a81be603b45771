//! From facts to keys: which shards hold the rows of a table that matter.

use std::sync::Arc;

use pointsman_sql::{ROWS_MAX, ValueRef};

use super::scope::{Closure, Col, ItemId, ItemKind, Known, Scopes, family};
use crate::layout::{Placement, Sharded};
use crate::pick::{Bound, KeyUse, KeyValues, Pick};

impl Scopes<'_> {
    /// How a table's rows are spread, if they are.
    pub(crate) fn sharded(&self, item: ItemId) -> Option<&Arc<Sharded>> {
        match self.placement(item) {
            Some(Placement::Sharded(sharded)) => Some(sharded),
            _ => None,
        }
    }

    /// The columns of each of a table's keys that are known by name.
    pub(crate) fn key_columns(&self, item: ItemId) -> Vec<Vec<Col>> {
        let Some(sharded) = self.sharded(item) else { return Vec::new() };
        let columns = self.items[item].columns.as_deref().unwrap_or_default();
        let relation_columns = self.original_names(item);
        let column = |name: &str| {
            let index = relation_columns.iter().position(|own| &**own == name)?;
            (index < columns.len()).then_some(Col { item, index })
        };
        sharded.keys.iter().filter_map(|key| key.iter().map(|name| column(name)).collect()).collect()
    }

    /// A table's own column names, which an alias may have changed.
    pub(crate) fn original_names(&self, item: ItemId) -> Vec<Box<str>> {
        let ItemKind::Table { relation, .. } = &self.items[item].kind else { return Vec::new() };
        let columns = self.schema.columns(relation);
        columns.map_or_else(Vec::new, |columns| columns.iter().map(|column| column.name.clone()).collect())
    }

    /// The keys that the rows of a sharded table which matter are limited to; `None`: they may be on any shard.
    pub(crate) fn key_use(&self, item: ItemId) -> Option<KeyUse> {
        self.key_found(item).map(|(_, key)| key)
    }

    /// The same, with the columns of the key.
    pub(crate) fn key_found(&self, item: ItemId) -> Option<(Vec<Col>, KeyUse)> {
        let sharded = self.sharded(item)?;
        let closure = self.closure(&[item]);
        let mut best: Option<(Vec<Col>, KeyUse)> = None;
        for key in self.key_columns(item) {
            let Some(types) = key.iter().map(|col| self.info(*col).type_oid).collect::<Option<Box<[u32]>>>()
            else {
                continue;
            };
            // Values that are equal must be the same key.
            if key.iter().any(|col| self.info(*col).family().is_none()) {
                continue;
            }
            let Some(values) = self.values(&closure, &key) else { continue };
            let found = KeyUse { sharded: sharded.clone(), types, values };
            if best.as_ref().is_none_or(|(_, best)| rank(&found.values) < rank(&best.values)) {
                best = Some((key, found));
            }
        }
        best
    }

    fn values(&self, closure: &Closure<'_>, key: &[Col]) -> Option<KeyValues> {
        let alike: Vec<Vec<Col>> = key.iter().map(|col| closure.alike(*col)).collect();
        if let Some(rows) = rows(closure, &alike) {
            return Some(KeyValues::Tuples(rows.into_iter().map(Vec::into_boxed_slice).collect()));
        }
        let [alike] = alike.as_slice() else { return None };
        let mut ends: (Option<Bound>, Option<Bound>) = (None, None);
        for fact in closure.facts() {
            match fact {
                Known::Any(col, value) if alike.contains(col) => return Some(KeyValues::Array(*value)),
                Known::Low(col, bound) if alike.contains(col) => ends.0 = ends.0.or(Some(*bound)),
                Known::High(col, bound) if alike.contains(col) => ends.1 = ends.1.or(Some(*bound)),
                _ => {}
            }
        }
        let (low, high) = ends;
        (low.is_some() || high.is_some()).then_some(KeyValues::Between { low, high })
    }

    /// Where a whole statement's rows are.
    pub(crate) fn pick(&self) -> Pick {
        if self.doubt {
            return Pick::All;
        }
        self.pick_of(0..self.items.len())
    }

    /// Where the rows of some items are.
    pub(crate) fn pick_of(&self, items: impl IntoIterator<Item = ItemId>) -> Pick {
        let mut keys: Vec<KeyUse> = Vec::new();
        let (mut sharded, mut unsharded, mut all) = (false, false, false);
        for item in items {
            match self.placement(item) {
                Some(Placement::Unsharded) => unsharded = true,
                Some(Placement::Sharded(_)) => {
                    sharded = true;
                    match self.key_use(item) {
                        Some(key) if keys.iter().any(|other| same_shards(other, &key)) => {}
                        Some(key) => keys.push(key),
                        None => all = true,
                    }
                }
                Some(Placement::Reference) | None => {}
            }
        }
        match (sharded, unsharded) {
            (false, false) => Pick::Any,
            (false, true) => Pick::First,
            (true, true) => Pick::All,
            (true, false) if all => Pick::All,
            (true, false) => Pick::Keys(keys.into()),
        }
    }
}

/// The fewest tuples that the columns of a key, each given with all that equal it, are known to be one of.
fn rows(closure: &Closure<'_>, alike: &[Vec<Col>]) -> Option<Vec<Vec<ValueRef>>> {
    let mut whole: Option<Vec<Vec<ValueRef>>> = None;
    let mut single: Vec<Option<Vec<ValueRef>>> = vec![None; alike.len()];
    for fact in closure.facts() {
        let Known::In(cols, rows) = fact else { continue };
        let places: Vec<Option<usize>> =
            alike.iter().map(|alike| cols.iter().position(|col| alike.contains(col))).collect();
        if let Some(places) = places.iter().copied().collect::<Option<Vec<usize>>>() {
            let found: Vec<Vec<ValueRef>> =
                rows.iter().map(|row| places.iter().map(|at| row[*at]).collect()).collect();
            if whole.as_ref().is_none_or(|best| found.len() < best.len()) {
                whole = Some(found);
            }
        }
        for (place, best) in places.into_iter().zip(&mut single) {
            let Some(place) = place else { continue };
            if best.as_ref().is_none_or(|best| rows.len() < best.len()) {
                *best = Some(rows.iter().map(|row| row[place]).collect());
            }
        }
    }
    whole.or_else(|| product(single.into_iter().collect::<Option<Vec<_>>>()?))
}

/// Each combination of values for the columns.
fn product(columns: Vec<Vec<ValueRef>>) -> Option<Vec<Vec<ValueRef>>> {
    let mut rows: Vec<Vec<ValueRef>> = vec![Vec::new()];
    for values in columns {
        if rows.len() * values.len() > ROWS_MAX {
            return None;
        }
        rows = rows
            .iter()
            .flat_map(|row| values.iter().map(|value| [row.as_slice(), &[*value]].concat()))
            .collect();
    }
    Some(rows)
}

/// Whether two keys are on the same shards, whatever their values.
fn same_shards(a: &KeyUse, b: &KeyUse) -> bool {
    let families = |key: &KeyUse| key.types.iter().map(|oid| family(*oid)).collect::<Vec<_>>();
    a.sharded.function == b.sharded.function && a.values == b.values && families(a) == families(b)
}

/// The fewer shards, the lower.
fn rank(values: &KeyValues) -> usize {
    match values {
        KeyValues::Tuples(rows) | KeyValues::Rows(rows) => rows.len(),
        KeyValues::Array(_) => ROWS_MAX,
        KeyValues::Between { .. } => ROWS_MAX * 2,
    }
}
