//! What is done on several shards, in words.

use super::key::KeyTold;
use super::{Known, Question, Row, add, numbers};
use crate::pick::Pick;
use crate::plan::{CopyFrom, Each, Gather, Insert, Many, Merge, Ordered, Refusal, Slice, SortKey};
use crate::set::ShardSet;

/// The item of what is done.
const ITEM: &str = "over several";

impl Question<'_> {
    /// What is done; `on` are the shards, if they are known.
    pub(super) fn many_told(&self, on: Option<ShardSet>, rows: &mut Vec<Row>) {
        match &self.plan.many {
            Many::Refused(refusal) => self.refusal_told(refusal, rows),
            Many::Broadcast(_, refusal) if self.coordinator.is_some() => self.refusal_told(refusal, rows),
            Many::Gather(gather) | Many::Broadcast(gather, _) => {
                self.gather_told(ITEM, gather, rows);
                self.lookups_told(gather, rows);
                add(rows, "sent to each", gather.sql.clone());
            }
            Many::CopyTo(_) => add(rows, ITEM, "copied: the rows of one shard after another"),
            Many::Each(_) | Many::Insert(_) | Many::CopyFrom(_) | Many::CopyAll if !self.two_phase => {
                add(rows, ITEM, "refused (write): it writes on several shards");
                let hint = "Set `cross_shard_writes: two_phase` for the database, or write the rows of one shard at a time.";
                add(rows, "hint", hint);
            }
            Many::Each(each) => {
                let told = match each {
                    Each::Rows => "written as it is on each, by two-phase commit; counts are added up",
                    Each::Copies => "written as it is on every shard, by two-phase commit; one answers",
                    Each::Definition => {
                        "run as it is on every shard, by two-phase commit where it can be; one answers"
                    }
                };
                add(rows, ITEM, told);
            }
            Many::Insert(insert) => add(rows, ITEM, self.insert_told(insert, on.is_some())),
            Many::CopyFrom(copy) => add(rows, ITEM, copy_told(copy)),
            Many::CopyAll => add(rows, ITEM, "all rows to every shard as they come, by two-phase commit"),
        }
    }

    fn refusal_told(&self, refusal: &Refusal, rows: &mut Vec<Row>) {
        let (why, part) = (refusal.why.name(), &refusal.part);
        match self.coordinator {
            Some(name) => add(rows, ITEM, format!("asked of the coordinator {name} ({why}): {part}")),
            None => {
                add(rows, ITEM, format!("refused ({why}): {part} cannot be done there"));
                add(rows, "hint", refusal.hint.clone());
            }
        }
    }

    fn gather_told(&self, item: &str, gather: &Gather, rows: &mut Vec<Row>) {
        let picked = gather.on.shards(&self.values, self.shards).ok();
        let on = picked.map(|picked| self.on(&gather.on, picked));
        let is_one = |known: &Known| match known {
            Known::Picked(picked) => picked.only(0).is_some(),
            Known::Later | Known::Wrong => false,
        };
        let mut told = match &gather.merge {
            _ if !gather.lookups.is_empty() && gather.on == Pick::Any => {
                "folded: one shard puts together what all are asked for before".to_owned()
            }
            _ if on.as_ref().is_some_and(|(_, known)| is_one(known)) => {
                "gathered: the rows of one shard".to_owned()
            }
            Merge::Append(slice) => {
                format!("gathered: the rows of one shard after another{}", self.slice(slice))
            }
            Merge::One => "gathered: the rows of one shard, which has all of them".to_owned(),
            Merge::Ordered(ordered) => format!("gathered: {}", self.ordered(ordered)),
        };
        if gather.on != self.plan.pick
            && gather.on != Pick::Any
            && let Some((on, _)) = on
        {
            told += &format!("; asked of {on}");
        }
        add(rows, item, told);
    }

    /// What is asked first, the innermost before what needs it.
    fn lookups_told(&self, gather: &Gather, rows: &mut Vec<Row>) {
        for lookup in &gather.lookups {
            self.lookups_told(&lookup.gather, rows);
            let item = format!("lookup {}", lookup.number);
            self.gather_told(&item, &lookup.gather, rows);
            if let Some(owned) = &lookup.owned {
                let count = owned.columns.len();
                let columns = if count == 1 {
                    "a shard key".to_owned()
                } else {
                    format!("a shard key of {count} columns")
                };
                add(
                    rows,
                    &item,
                    format!("each shard is given the rows whose values are {columns} of its own"),
                );
            }
            add(rows, &item, lookup.gather.sql.clone());
        }
    }

    fn ordered(&self, ordered: &Ordered) -> String {
        let key = |key: &SortKey| {
            let direction = if key.descending { "descending" } else { "ascending" };
            let nulls = match (key.nulls_first, key.descending) {
                (true, false) => ", NULL first",
                (false, true) => ", NULL last",
                _ => "",
            };
            format!("{direction}{nulls}")
        };
        let keys: Vec<String> = ordered.keys.iter().map(key).collect();
        let columns = match keys.len() {
            1 => "1 value".to_owned(),
            count => format!("{count} values"),
        };
        let unique = match ordered.unique {
            None => "",
            Some(_) => "; of equal rows one stays",
        };
        format!(
            "merged in the order of {columns} ({}){unique}{}",
            keys.join("; "),
            self.slice(&ordered.slice)
        )
    }

    /// `, LIMIT 10 OFFSET $1`
    fn slice(&self, slice: &Slice) -> String {
        let told = KeyTold::of(self);
        let mut parts = Vec::new();
        parts.extend(slice.limit.map(|limit| format!("LIMIT {}", told.value(limit))));
        parts.extend(slice.offset.map(|offset| format!("OFFSET {}", told.value(offset))));
        if slice.with_ties {
            parts.push("WITH TIES".to_owned());
        }
        if parts.is_empty() { String::new() } else { format!(", {}", parts.join(" ")) }
    }

    fn insert_told(&self, insert: &Insert, known: bool) -> String {
        let mut told = format!("{} rows dealt out by their keys, by two-phase commit", insert.rows.len());
        if known {
            let shard = |row: &crate::plan::InsertRow| row.key.shard(&self.values, self.shards);
            match insert.rows.iter().map(shard).collect::<Result<Vec<_>, _>>() {
                Ok(owners) => {
                    let set: ShardSet = owners.iter().copied().collect();
                    let each: Vec<String> = set
                        .iter()
                        .map(|shard| owners.iter().filter(|owner| **owner == shard).count().to_string())
                        .collect();
                    told += &format!(": {} to {}", each.join(", "), numbers(set.iter()));
                }
                Err(error) => return format!("refused: {error}"),
            }
        }
        if insert.returning {
            told += if insert.may_skip {
                "; RETURNING in no certain order"
            } else {
                "; RETURNING in their order"
            };
        }
        told
    }
}

fn copy_told(copy: &CopyFrom) -> String {
    let places: Vec<String> = copy.columns.iter().map(|at| (at + 1).to_string()).collect();
    let (word, width) = (if places.len() == 1 { "column" } else { "columns" }, copy.width);
    format!("rows dealt out as they come, by {word} {} of {width}, by two-phase commit", places.join(", "))
}
