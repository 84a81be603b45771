//! From changed rows to tags: relations by their families' slots, rows by their key columns' old and new values.

use hashbrown::HashMap;
use pointsman_cache::{KeyType, RelationTags, Tags};
use pointsman_policy::catalog::Catalog;
use pointsman_wire::replication::{Change, Identity, Old, Relation, Tuple, TupleColumn};

use crate::caching::tags;

/// A relation as the stream described it.
#[derive(Debug)]
struct Described {
    schema: Box<str>,
    name: Box<str>,
    full: bool,
    /// Each column's name, and whether old rows show it.
    columns: Vec<(Box<str>, bool)>,
    /// Under the catalog and policies of these versions.
    known: Option<((u64, u64), Known)>,
}

/// What a relation's changes mark.
#[derive(Debug)]
enum Known {
    /// Its family is not known.
    Everything,
    /// This family, told apart by these columns: place, name, kind, whether old rows show it.
    Family(RelationTags, Vec<(usize, Box<[u8]>, KeyType, bool)>),
}

/// The relations of one stream.
#[derive(Debug, Default)]
pub struct Relations(HashMap<u32, Described>);

/// What tags are made by.
#[derive(Clone, Copy)]
pub struct By<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// The columns that policies tell rows apart by.
    pub columns: &'a [Box<str>],
    /// The policies' version.
    pub version: u64,
    /// What the database's tags begin with.
    pub space: &'a [u8],
}

impl Relations {
    /// Adds what a change marks. `Begin`, `Commit` and messages mark nothing here.
    pub fn add(&mut self, change: &Change<'_>, by: &By<'_>, marks: &mut Tags) {
        match change {
            Change::Relation(relation) => self.describe(relation),
            Change::Insert { relation, new } => self.row(*relation, (None, Some(*new)), by, marks),
            Change::Update { relation, old, new } => {
                self.row(*relation, (Some(*old), Some(*new)), by, marks);
            }
            Change::Delete { relation, old } => self.row(*relation, (Some(Some(*old)), None), by, marks),
            Change::Truncate { relations } => {
                for relation in relations {
                    match self.known(*relation, by) {
                        Some(Known::Family(family, _)) => marks.writes(*family),
                        _ => marks.add_everything(),
                    }
                }
            }
            Change::Begin { .. } | Change::Commit { .. } | Change::Message { .. } | Change::Other => {}
        }
    }

    fn describe(&mut self, relation: &Relation<'_>) {
        let full = relation.identity == Identity::Full;
        let described = Described {
            schema: relation.schema.into(),
            name: relation.name.into(),
            full,
            columns: relation.columns.iter().map(|column| (column.name.into(), full || column.key)).collect(),
            known: None,
        };
        self.0.insert(relation.oid, described);
    }

    fn known(&mut self, oid: u32, by: &By<'_>) -> Option<&Known> {
        let described = self.0.get_mut(&oid)?;
        let versions = (by.catalog.version(), by.version);
        if described.known.as_ref().is_none_or(|(made, _)| *made != versions) {
            let known = known(described, by);
            described.known = Some((versions, known));
        }
        described.known.as_ref().map(|(_, known)| known)
    }

    /// A row changed, from old to new. `old`: `None` if it is new; `Some(None)` if nothing of the old row was sent, since what is sent of
    /// old rows has not changed.
    fn row(
        &mut self,
        oid: u32,
        (old, new): (Option<Option<Old<'_>>>, Option<Tuple<'_>>),
        by: &By<'_>,
        marks: &mut Tags,
    ) {
        let Some(Known::Family(family, keys)) = self.known(oid, by) else { return marks.add_everything() };
        marks.add(family.relation());
        let mut whole = keys.is_empty();
        for (place, name, kind, shown) in keys {
            let mut mark = |column: Option<TupleColumn<'_>>| match column {
                // No result that is pinned by a value holds such a row.
                Some(TupleColumn::Null) => true,
                Some(TupleColumn::Value(value)) => kind.of_text(value).is_some_and(|form| {
                    marks.writes_key(*family, name, form.as_bytes());
                    true
                }),
                Some(TupleColumn::Unchanged) | None => false,
            };
            let of_new = new.and_then(|new| new.column(*place));
            // A long value that did not change is not sent with the new row: the old one has it, if it has the column.
            let unchanged = of_new == Some(TupleColumn::Unchanged);
            let new_known = new.is_none() || unchanged || mark(of_new);
            let old_known = match old {
                None => !unchanged,
                Some(Some(old)) if *shown => mark(old.tuple().column(*place)),
                Some(None) if *shown && !unchanged => true,
                Some(_) => false,
            };
            whole |= !(new_known && old_known);
        }
        if whole {
            marks.writes(*family);
        }
    }
}

fn known(described: &Described, by: &By<'_>) -> Known {
    let Some(slot) = by.catalog.relation_slot(&described.schema, &described.name) else {
        return Known::Everything;
    };
    let keys = by.catalog.key_columns(slot).iter().filter(|key| by.columns.contains(&key.name));
    let placed = keys.filter_map(|key| {
        let place = described.columns.iter().position(|(name, _)| *name == key.name)?;
        let kind = KeyType::of_oid(key.type_oid)?;
        Some((place, key.name.as_bytes().into(), kind, described.full || described.columns[place].1))
    });
    Known::Family(tags::relation(by.space, slot), placed.collect())
}

#[cfg(test)]
mod tests;
