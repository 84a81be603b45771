//! The function of a sharded table.

use pointsman_shards::SHARDS_MAX;
use pointsman_shards::function::{
    Function, List, ListError, POINTS_DEFAULT, POINTS_MAX, Range, RangeError, Ranges, Ring,
};
use pointsman_shards::key::{Key, KeyType};

use super::Reader;
use crate::yaml::{Node, Place, Value};

/// Keys that belong to one function each.
const OF_FUNCTIONS: [(&str, &[&str]); 5] = [
    ("ranges", &["range"]),
    ("values", &["list"]),
    ("default_shard", &["list"]),
    ("key_type", &["range", "list"]),
    ("points", &["ring"]),
];

/// The function of a key of so many columns; `None` after a complaint.
pub(super) fn read(reader: &mut Reader<'_, '_, '_>, columns: usize) -> Option<Function> {
    let node = reader.node;
    let said = node.get("function").and_then(Node::text);
    let name = said.unwrap_or(if columns == 1 { "modulo" } else { "hash" });
    for (key, functions) in OF_FUNCTIONS {
        if node.get(key).is_some() && !functions.contains(&name) {
            let functions = functions.join("` or `function: ");
            reader.add(key, format!("`{key}` needs `function: {functions}`, it is `{name}`"));
        }
    }
    if columns > 1 && !matches!(name, "hash" | "ring") {
        let place = if said.is_some() { "function" } else { "shard_key" };
        reader.add(place, format!("`{name}` takes a key of one column; `hash` and `ring` take several"));
        return None;
    }
    match name {
        "modulo" => Some(Function::Modulo),
        "hash" => Some(Function::Hash),
        "range" => ranges(reader).map(Function::Range),
        "list" => list(reader).map(Function::List),
        _ => ring(reader).map(Function::Ring),
    }
}

fn ring(reader: &mut Reader<'_, '_, '_>) -> Option<Ring> {
    let Some(node) = reader.node.get("points") else { return Some(Ring::new(POINTS_DEFAULT)) };
    match number(node).and_then(|points| u32::try_from(points).ok()) {
        Some(points) if (1..=POINTS_MAX).contains(&points) => Some(Ring::new(points)),
        _ => {
            reader.add("points", format!("`points` is not from 1 to {POINTS_MAX}"));
            None
        }
    }
}

fn ranges(reader: &mut Reader<'_, '_, '_>) -> Option<Ranges> {
    let Some(node) = reader.node.get("ranges") else {
        reader.add("function", "`function: range` needs `ranges`");
        return None;
    };
    let (items, before) = (node.items(), reader.problems.count());
    let mut list = Vec::new();
    for item in items {
        let from = item.get("from").map(|node| key(reader, node));
        let to = item.get("to").map(|node| key(reader, node));
        let shard = shard(reader, item.get("shard"));
        list.push(Range { from: from.flatten(), to: to.flatten(), shard: shard.unwrap_or(0) });
    }
    if reader.problems.count() > before {
        return None;
    }
    let place = |at: usize| items.get(at).map_or(node.place, |item| item.place);
    let wrong = match Ranges::new(list) {
        Ok(ranges) => return Some(ranges),
        Err(wrong) => wrong,
    };
    for error in wrong {
        match error {
            RangeError::Empty(at) | RangeError::Type(at) => reader.add_at(place(at), error.to_string()),
            RangeError::Overlap(first, second) => {
                let line = place(first).line;
                reader.add_at(place(second), format!("the range overlaps the one in line {line}"));
            }
        }
    }
    None
}

fn list(reader: &mut Reader<'_, '_, '_>) -> Option<List> {
    let Some(node) = reader.node.get("values") else {
        reader.add("function", "`function: list` needs `values`");
        return None;
    };
    let before = reader.problems.count();
    let mut places: Vec<Place> = Vec::new();
    let mut listed = Vec::new();
    for item in node.items() {
        let shard = shard(reader, item.get("shard"));
        for value in item.get("values").map(Node::items).unwrap_or_default() {
            let key = key(reader, value);
            places.push(value.place);
            listed.extend(key.zip(shard));
        }
    }
    let default = reader.node.get("default_shard");
    let default = default.and_then(|node| shard(reader, Some(node)));
    if reader.problems.count() > before {
        return None;
    }
    let wrong = match List::new(&listed, default) {
        Ok(list) => return Some(list),
        Err(wrong) => wrong,
    };
    let place = |at: usize| places.get(at).copied().unwrap_or(node.place);
    for error in wrong {
        match error {
            ListError::Type(at) => reader.add_at(place(at), error.to_string()),
            ListError::Twice(first, second) => {
                let line = place(first).line;
                reader.add_at(place(second), format!("the value is listed already, in line {line}"));
            }
        }
    }
    None
}

/// A key of the type that is declared.
fn key(reader: &mut Reader<'_, '_, '_>, node: &Node) -> Option<Key<'static>> {
    let named = reader.node.get("key_type").and_then(Node::text);
    let (kind, example) = kind(named);
    let key = match &node.value {
        Value::Integer(number) => i64::try_from(*number).ok().and_then(|number| kind.of_integer(number)),
        Value::Text(text) if !kind.is_integer() => kind.of_text(text.as_bytes()).map(Key::into_owned),
        _ => None,
    };
    if key.is_none() {
        let shown = node.value.shown();
        let other = if named.is_none() { "; keys of another type need a `key_type`" } else { "" };
        reader.add_at(node.place, format!("expected {example}, found {shown}{other}"));
    }
    key
}

fn kind(name: Option<&str>) -> (KeyType, &'static str) {
    match name {
        Some("text") => (KeyType::Text, "text"),
        Some("uuid") => (KeyType::Uuid, "a uuid"),
        Some("bytea") => (KeyType::Bytea, "bytes such as `\\x1f00`"),
        Some("date") => (KeyType::Date, "a date such as `2024-12-31`"),
        Some("timestamp") => (KeyType::Timestamp, "a timestamp such as `2024-12-31 12:00:00`"),
        Some("timestamptz") => {
            (KeyType::TimestampTz, "a timestamp with its zone such as `2024-12-31 12:00:00+00`")
        }
        _ => (KeyType::Int8, "a whole number"),
    }
}

fn shard(reader: &mut Reader<'_, '_, '_>, node: Option<&Node>) -> Option<usize> {
    let node = node?;
    let shard = number(node).filter(|shard| *shard < SHARDS_MAX);
    if shard.is_none() {
        reader.add_at(node.place, format!("shards are numbered from 0 to {}", SHARDS_MAX - 1));
    }
    shard
}

fn number(node: &Node) -> Option<usize> {
    match node.value {
        Value::Integer(number) => usize::try_from(number).ok(),
        _ => None,
    }
}
