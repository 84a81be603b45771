//! Checks a document against the table of keys: every unknown, doubled and missing key, every wrong value.

use super::leaf::Leaf;
use super::{Key, Shape};
use crate::problem::Problems;
use crate::suggest::suggestion;
use crate::yaml::{Node, Place, Value};

/// Checks `node` against `shape`; `path` names it in messages, `spec.rules[0].match` say.
pub(crate) fn check(node: &Node, shape: &Shape, path: &str, problems: &mut Problems<'_>) {
    match (shape, &node.value) {
        (Shape::Map(keys), Value::Map(_)) => check_keys(node, keys, path, problems),
        (Shape::Names(leaf, inner), Value::Map(entries)) => {
            doubled(node, path, problems);
            if entries.is_empty() {
                problems.add(node.place, format!("`{path}` is empty"));
            }
            for (name, value) in entries {
                if let Some(leaf) = leaf {
                    check_leaf(leaf, &name.name, path, name.place, problems);
                }
                check(value, inner, &joined(path, &name.name), problems);
            }
        }
        (Shape::List(inner) | Shape::Sequence(inner), Value::List(items)) => {
            if items.is_empty() {
                problems.add(node.place, format!("`{path}` is an empty list: leave the key out"));
            }
            for (index, item) in items.iter().enumerate() {
                check(item, inner, &format!("{path}[{index}]"), problems);
            }
        }
        (Shape::List(inner), _) if fits(inner, &node.value) => check(node, inner, path, problems),
        (Shape::Or(shapes), value) => match shapes.iter().find(|shape| fits(shape, value)) {
            Some(shape) => check(node, shape, path, problems),
            None => wrong(node, shape, path, problems),
        },
        (Shape::Text, Value::Text(text)) if text.is_empty() => {
            problems.add(node.place, format!("`{path}` is empty"));
        }
        (Shape::Words(words), Value::Text(text)) if !words.contains(&text.as_str()) => {
            let word = suggestion(text, words.iter().copied());
            let known = match word {
                Some(_) => String::new(),
                None => format!("; there is `{}`", words.join("`, `")),
            };
            problems.suggest(node.place, format!("`{path}`: `{text}` is unknown{known}"), word);
        }
        (Shape::Leaf(leaf), Value::Text(text)) => {
            check_leaf(leaf, text, path, node.place, problems);
        }
        (Shape::Count, Value::Integer(number)) if u32::try_from(*number).is_err() => {
            problems.add(node.place, format!("`{path}`: {number} is not from 0 to {}", u32::MAX));
        }
        (Shape::Integer, Value::Integer(number)) if i64::try_from(*number).is_err() => {
            problems.add(node.place, format!("`{path}`: {number} does not fit in 64 bits"));
        }
        (shape, value) if fits(shape, value) => {}
        (shape, _) => wrong(node, shape, path, problems),
    }
}

fn check_leaf(leaf: &Leaf, text: &str, path: &str, place: Place, problems: &mut Problems<'_>) {
    if let Some(why) = (leaf.wrong)(text) {
        let why = if why.is_empty() { why } else { format!(": {why}") };
        problems.add(place, format!("`{path}`: expected {}, found `{text}`{why}", leaf.expected));
    }
}

fn check_keys(node: &Node, keys: &[Key], path: &str, problems: &mut Problems<'_>) {
    doubled(node, path, problems);
    for (name, value) in node.entries() {
        match keys.iter().find(|key| key.name == name.name) {
            Some(key) => check(value, &key.shape, &joined(path, key.name), problems),
            None => {
                let names = keys.iter().map(|key| key.name);
                let word = suggestion(&name.name, names.clone());
                let known = match word {
                    Some(_) => String::new(),
                    None => format!("; there is `{}`", names.collect::<Vec<_>>().join("`, `")),
                };
                let place = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
                problems.suggest(name.place, format!("unknown key `{}`{place}{known}", name.name), word);
            }
        }
    }
    for key in keys.iter().filter(|key| key.required && node.get(key.name).is_none()) {
        problems.add(node.place, format!("`{}` is missing", joined(path, key.name)));
    }
}

fn doubled(node: &Node, path: &str, problems: &mut Problems<'_>) {
    let entries = node.entries();
    for (index, (key, _)) in entries.iter().enumerate() {
        if let Some((first, _)) = entries[..index].iter().find(|(other, _)| other.name == key.name) {
            let place = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
            let message =
                format!("`{}` is written twice{place}, first in line {}", key.name, first.place.line);
            problems.add(key.place, message);
        }
    }
}

fn wrong(node: &Node, shape: &Shape, path: &str, problems: &mut Problems<'_>) {
    let quotes = match (shape, &node.value) {
        (Shape::Text | Shape::Leaf(_), Value::Integer(_) | Value::Bool(_) | Value::Float) => {
            "; put it in quotes"
        }
        _ => "",
    };
    let path = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
    problems
        .add(node.place, format!("{path}expected {}, found {}{quotes}", expected(shape), node.value.shown()));
}

/// Whether a value has the YAML type of a shape.
fn fits(shape: &Shape, value: &Value) -> bool {
    match shape {
        Shape::Text | Shape::Leaf(_) | Shape::Words(_) => matches!(value, Value::Text(_)),
        Shape::Bool => matches!(value, Value::Bool(_)),
        Shape::Count | Shape::Integer => matches!(value, Value::Integer(_)),
        Shape::List(inner) => matches!(value, Value::List(_)) || fits(inner, value),
        Shape::Sequence(_) => matches!(value, Value::List(_)),
        Shape::Map(_) | Shape::Names(..) => matches!(value, Value::Map(_)),
        Shape::Or(shapes) => shapes.iter().any(|shape| fits(shape, value)),
    }
}

fn expected(shape: &Shape) -> String {
    match shape {
        Shape::Text => "text".to_owned(),
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::Count | Shape::Integer => "a whole number".to_owned(),
        Shape::Leaf(leaf) => leaf.expected.to_owned(),
        Shape::Words(words) if words.len() <= 6 => format!("`{}`", words.join("` or `")),
        Shape::Words(_) => "a word".to_owned(),
        Shape::List(inner) => format!("{} or a list of such", expected(inner)),
        Shape::Sequence(_) => "a list".to_owned(),
        Shape::Map(_) => "keys with values".to_owned(),
        Shape::Names(..) => "names with values".to_owned(),
        Shape::Or(shapes) => shapes.iter().map(expected).collect::<Vec<_>>().join(", or "),
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
