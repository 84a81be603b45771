//! Reads one mapping of the document: asks for the keys it may have, and complains of all others.

use pointsman_policy::distance;

use super::problem::Problems;
use super::tree::{Key, Node, Place, Value};

/// A mapping being read. `close` it to hear of keys that nobody asked for.
pub(crate) struct Section<'a> {
    /// As messages name it, `clusters[0].pool` say; empty at the top.
    pub(crate) path: String,
    /// Where the mapping begins.
    pub(crate) place: Place,
    entries: &'a [(Key, Node)],
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// Nothing at all reads like an empty mapping.
    pub(crate) fn open(node: &'a Node, path: &str, problems: &mut Problems<'_>) -> Option<Self> {
        let entries: &[_] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            other => {
                let subject = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
                problems
                    .add(node.place, format!("{subject}expected keys with values, found {}", other.kind()));
                return None;
            }
        };
        Some(Self { path: path.to_owned(), place: node.place, entries, known: Vec::new() })
    }

    /// The node under `key`, now known; the first, if the key is there twice.
    pub(crate) fn node(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<&'a Node> {
        self.known.push(key);
        problems.know(self.key_path_of_any(key));
        self.entries.iter().find(|(found, _)| found.name == key).map(|(_, node)| node)
    }

    /// The value under `key`, or `None` if it is absent or `read` complains.
    pub(crate) fn take<T>(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.node(key, problems)?;
        match read(&node.value) {
            Ok(value) => Some(value),
            Err(complaint) => {
                problems.add(node.place, format!("`{}`: {complaint}", self.key_path(key)));
                None
            }
        }
    }

    /// Like [`take`](Self::take), into a place that holds the default.
    pub(crate) fn set<T>(
        &mut self,
        key: &'static str,
        target: &mut T,
        problems: &mut Problems<'_>,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) {
        if let Some(value) = self.take(key, problems, read) {
            *target = value;
        }
    }

    /// Complains if `key` is absent.
    pub(crate) fn require(&self, key: &'static str, problems: &mut Problems<'_>) {
        if !self.entries.iter().any(|(found, _)| found.name == key) {
            problems.add(self.place, format!("`{}` is missing", self.key_path(key)));
        }
    }

    /// Whether `key` is written here.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(found, _)| found.name == key)
    }

    /// The section under `key`, opened.
    pub(crate) fn section(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<Section<'a>> {
        let path = self.key_path(key);
        let node = self.node(key, problems)?;
        Section::open(node, &path, problems)
    }

    /// The list under `key` with the path of each item; a single value reads like a list of one.
    pub(crate) fn list(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Vec<(String, &'a Node)> {
        let path = self.key_path(key);
        let Some(node) = self.node(key, problems) else { return Vec::new() };
        match &node.value {
            Value::List(items) => {
                items.iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
            }
            Value::Null => Vec::new(),
            _ => vec![(path, node)],
        }
    }

    /// Complains of keys that nobody asked for, and of keys written twice.
    pub(crate) fn close(self, problems: &mut Problems<'_>) {
        for (index, (key, _)) in self.entries.iter().enumerate() {
            let here = if self.path.is_empty() { String::new() } else { format!(" in `{}`", self.path) };
            if let Some((first, _)) = self.entries[..index].iter().find(|(other, _)| other.name == key.name) {
                let message =
                    format!("`{}` is written twice{here}, first in line {}", key.name, first.place.line);
                problems.add(key.place, message);
            } else if !self.known.contains(&key.name.as_str()) {
                let advice = advice(&key.name, &self.known);
                problems.add(key.place, format!("there is no key `{}`{here}; {advice}", key.name));
            }
        }
    }

    fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The key's path with every index taken out, as the reference names it.
    fn key_path_of_any(&self, key: &str) -> String {
        let path = self.key_path(key);
        let mut general = String::with_capacity(path.len());
        let mut inside = false;
        for letter in path.chars() {
            match letter {
                '[' => (inside, general) = (true, general + "["),
                ']' => (inside, general) = (false, general + "]"),
                _ if inside => {}
                _ => general.push(letter),
            }
        }
        general
    }
}

/// `did you mean ...?`, or what there is to choose from.
pub(crate) fn advice(found: &str, known: &[&'static str]) -> String {
    match nearest(found, known) {
        Some(best) => format!("did you mean `{best}`?"),
        None => {
            let list: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
            format!("there is {}", list.join(", "))
        }
    }
}

/// The known word most like `found`, if any is close.
fn nearest(found: &str, known: &[&'static str]) -> Option<&'static str> {
    let found = found.to_lowercase().replace('-', "_");
    let (distance, best) = known.iter().map(|key| (distance(&found, key), *key)).min()?;
    let parts = best.split('_').any(|part| part == found);
    (distance <= 1.max(found.chars().count() / 3) || parts).then_some(best)
}
