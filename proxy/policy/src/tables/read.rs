//! What a policy file says of tables. What the table of keys has already complained of is left out here.

mod function;

use std::sync::Arc;

use pointsman_shards::{Placement, Sharded};

use super::{TableFacts, Tables};
use crate::format;
use crate::pattern::NamePattern;
use crate::problem::Problems;
use crate::yaml::{Node, Place};

/// The columns of a key.
type Columns = Box<[Box<str>]>;

/// Keys that say something of how rows are spread, and mean nothing without `shard_key`.
const NEED_SHARD_KEY: [&str; 8] =
    ["also", "function", "key_type", "ranges", "values", "default_shard", "points", "id"];

/// Reads `spec.tables`; `path` is the file's.
pub(crate) fn tables(node: &Node, path: &str, problems: &mut Problems<'_>) -> Tables {
    let mut tables = Tables::default();
    let mut placed: Vec<(NamePattern, Placement, Place)> = Vec::new();
    for (name, value) in node.entries() {
        let pattern = NamePattern::new(&name.name);
        let facts = TableFacts {
            large: value.get("large").and_then(Node::boolean).unwrap_or(false),
            read_from_primary: value.get("read_from").and_then(Node::text) == Some("primary"),
        };
        tables.add(pattern.clone(), facts);
        // What is not whole is complained of once.
        let mut trial = Problems::new(path);
        format::check(value, &format::TABLE_SHAPE, "", &mut trial);
        if trial.count() > 0 {
            continue;
        }
        let placement = Reader { table: &name.name, node: value, problems }.placement();
        if let Some(placement) = placement {
            placed.push((pattern, placement, name.place));
        }
    }
    contradictions(&placed, problems);
    for (pattern, placement, _) in placed {
        tables.place(pattern, placement);
    }
    tables
}

/// Complains of two names that mean the same tables and place them otherwise.
fn contradictions(placed: &[(NamePattern, Placement, Place)], problems: &mut Problems<'_>) {
    for (at, (name, placement, place)) in placed.iter().enumerate() {
        let same = |other: &NamePattern| other.covers(name) || name.covers(other);
        let earlier = placed[..at].iter().find(|(other, ..)| same(other));
        if let Some((other, differs, first)) = earlier
            && differs != placement
        {
            let line = first.line;
            problems.add(
                *place,
                format!("`{name}` places tables otherwise that `{other}` in line {line} means too"),
            );
        }
    }
}

struct Reader<'a, 'p, 'f> {
    table: &'a str,
    node: &'a Node,
    problems: &'p mut Problems<'f>,
}

impl Reader<'_, '_, '_> {
    /// Where the table lives; `None` if nothing is said, or nothing that can be.
    fn placement(mut self) -> Option<Placement> {
        let flag = |key: &str| self.node.get(key).and_then(Node::boolean).unwrap_or(false);
        let (reference, unsharded) = (flag("reference"), flag("unsharded"));
        if reference && unsharded {
            self.add("unsharded", "a table is not both `reference` and `unsharded`");
        }
        if self.node.get("shard_key").is_some() {
            for (key, said) in [("reference", reference), ("unsharded", unsharded)] {
                if said {
                    self.add(key, format!("a table with a `shard_key` is not `{key}`"));
                }
            }
            return self.sharded().map(|sharded| Placement::Sharded(Arc::new(sharded)));
        }
        for key in NEED_SHARD_KEY {
            if self.node.get(key).is_some() {
                self.add(key, format!("`{key}` means nothing without a `shard_key`"));
            }
        }
        match (reference, unsharded) {
            (true, _) => Some(Placement::Reference),
            (_, true) => Some(Placement::Unsharded),
            _ => None,
        }
    }

    fn sharded(&mut self) -> Option<Sharded> {
        let before = self.problems.count();
        let keys = self.keys()?;
        let function = function::read(self, keys.first()?.len());
        let id: Option<Box<str>> = self.node.get("id").and_then(Node::text).map(Into::into);
        let sharded = Sharded { keys: keys.into(), function: Arc::new(function?), id };
        (self.problems.count() == before).then_some(sharded)
    }

    /// The shard key, and those that name the same entity.
    fn keys(&mut self) -> Option<Vec<Columns>> {
        let first = self.node.get("shard_key")?;
        let mut keys = vec![columns(first)];
        self.doubled(&keys[0], first.place);
        for node in self.node.get("also").map(Node::items).unwrap_or_default() {
            let key = columns(node);
            self.doubled(&key, node.place);
            if key.len() != keys[0].len() {
                let (found, wanted) = (key.len(), keys[0].len());
                self.add_at(
                    node.place,
                    format!("`also` has a key of {found} columns, `shard_key` has {wanted}"),
                );
            } else if keys.contains(&key) {
                self.add_at(node.place, format!("`{}` is a key already", key.join("`, `")));
            }
            keys.push(key);
        }
        Some(keys)
    }

    fn doubled(&mut self, key: &Columns, place: Place) {
        for (at, column) in key.iter().enumerate() {
            if key[..at].contains(column) {
                self.add_at(place, format!("`{column}` is twice in one key"));
            }
        }
    }

    /// Complains at a key's value.
    fn add(&mut self, key: &str, message: impl Into<String>) {
        let place = self.node.get(key).unwrap_or(self.node).place;
        self.add_at(place, message);
    }

    fn add_at(&mut self, place: Place, message: impl Into<String>) {
        self.problems.add(place, format!("table `{}`: {}", self.table, message.into()));
    }
}

fn columns(node: &Node) -> Columns {
    node.items().iter().filter_map(Node::text).map(Into::into).collect()
}

#[cfg(test)]
mod tests;
