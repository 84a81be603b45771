//! What becomes of a statement over shards, told line by line: which shards it is for and why, and what is done if they are
//! several.

mod key;
mod many;

use crate::layout::Placement;
use crate::pick::{Pick, Picked};
use crate::plan::Plan;
use crate::values::Values;

use key::KeyTold;

/// Item and value.
pub type Row = (String, String);

/// What there is to tell of.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The statement's plan.
    pub plan: &'a Plan,
    /// The text, its literals, and what was bound, if anything was.
    pub values: Values<'a>,
    /// Number of shards.
    pub shards: usize,
    /// The tables that it names, and where they live.
    pub tables: &'a [(String, Placement)],
    /// Who answers a statement that the shards cannot be asked one by one; none if it is refused.
    pub coordinator: Option<&'a str>,
    /// Whether writes on several shards are allowed.
    pub two_phase: bool,
}

/// The shards that a statement is for, as far as they are known.
#[derive(Debug, Clone, PartialEq)]
enum Known {
    /// These.
    Picked(Picked),
    /// Which they are depends on values that are not bound yet.
    Later,
    /// There is none, and an error says so.
    Wrong,
}

impl Question<'_> {
    /// Item and value, line by line.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (table, placement) in self.tables {
            add(&mut rows, "table", placed(table, placement));
        }
        let known = self.shards_told(&mut rows);
        match known {
            Known::Wrong => {}
            Known::Picked(Picked::Any) => add(&mut rows, "sent", "as it is, to one shard"),
            Known::Picked(Picked::Shards(set)) if set.len() == 1 => {
                add(&mut rows, "sent", "as it is, to that shard");
            }
            Known::Later => {
                add(&mut rows, "sent", "as it is, if they are one");
                self.many_told(None, &mut rows);
            }
            Known::Picked(Picked::Shards(set)) => self.many_told(Some(set), &mut rows),
        }
        rows
    }

    /// Which shards, and by what.
    fn shards_told(&self, rows: &mut Vec<Row>) -> Known {
        let picked = match self.plan.pick.shards(&self.values, self.shards) {
            Ok(picked) => picked,
            Err(error) => {
                add(rows, "shards", format!("none: {error}"));
                add(rows, "hint", error.hint());
                return Known::Wrong;
            }
        };
        let (told, known) = self.on(&self.plan.pick, picked);
        add(rows, "shards", told);
        known
    }

    /// Which shards a pick comes to, in words.
    fn on(&self, pick: &Pick, picked: Picked) -> (String, Known) {
        let shards = self.shards;
        let all = || if shards == 1 { "the only one".to_owned() } else { format!("all {shards}") };
        let told = match (pick, picked) {
            (Pick::Keys(uses), _) if KeyTold::of(self).is_open(uses) => {
                let told = format!("by {} of {shards}, as soon as it is bound", KeyTold::of(self).uses(uses));
                return (told, Known::Later);
            }
            (Pick::Keys(uses), Picked::Any) => {
                format!("any of {shards}, as no row can match {}", KeyTold::of(self).uses(uses))
            }
            (_, Picked::Any) => format!("any of {shards}"),
            (Pick::First, _) => format!("the first of {shards}"),
            (Pick::Keys(uses), Picked::Shards(set)) => {
                let by = KeyTold::of(self).uses(uses);
                match set.len() {
                    len if len == shards => format!("{}, by {by}", all()),
                    len => format!("{len} of {shards} ({}), by {by}", numbers(set.iter())),
                }
            }
            (_, Picked::Shards(_)) => all(),
        };
        (told, Known::Picked(picked))
    }
}

fn add(rows: &mut Vec<Row>, item: &str, value: impl Into<String>) {
    rows.push((item.to_owned(), value.into()));
}

/// `shard 2`, `shards 0, 3`
fn numbers(shards: impl Iterator<Item = usize>) -> String {
    const SHOWN_MAX: usize = 16;
    let all: Vec<String> = shards.map(|shard| shard.to_string()).collect();
    let word = if all.len() == 1 { "shard" } else { "shards" };
    match all.get(..SHOWN_MAX) {
        Some(first) if all.len() > SHOWN_MAX => {
            format!("{word} {} and {} more", first.join(", "), all.len() - SHOWN_MAX)
        }
        _ => format!("{word} {}", all.join(", ")),
    }
}

fn placed(table: &str, placement: &Placement) -> String {
    match placement {
        Placement::Unsharded => format!("{table}: unsharded, on the first shard"),
        Placement::Reference => format!("{table}: reference, whole on every shard"),
        Placement::Sharded(sharded) => {
            let keys: Vec<String> = sharded.keys.iter().map(|key| key::columns(key)).collect();
            let id = sharded.id.as_ref().map(|id| format!(", ids for {id}")).unwrap_or_default();
            format!("{table}: shard key {}, by {}{id}", keys.join(" or "), sharded.function.name())
        }
    }
}

#[cfg(test)]
mod tests;
