//! The session settings that a client wants and that a server connection has, and the SQL between the two.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

/// How a setting's value was given, so that it can be given again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// The setting's text, as a startup parameter or `set_config` gives it.
    Text(String),
    /// A whole statement, as in `SET search_path TO a, b`.
    Statement(String),
}

/// Settings by lower-case name, sorted. Equal sets are usually the same `Arc`, so that they compare by address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Settings(Vec<(String, Value)>);

/// Names whose values say who acts: sent last, undone first.
const IDENTITY: [&str; 2] = ["session_authorization", "role"];
/// Interned sets that trigger a sweep of the unused ones.
const SWEEP_AT: usize = 4096;

static INTERNED: Mutex<Option<HashMap<Arc<Settings>, ()>>> = Mutex::new(None);

impl Settings {
    /// The one `Arc` for this set.
    pub fn intern(self) -> Arc<Self> {
        let mut guard = INTERNED.lock().unwrap_or_else(PoisonError::into_inner);
        let sets = guard.get_or_insert_default();
        if sets.len() >= SWEEP_AT {
            sets.retain(|set, ()| Arc::strong_count(set) > 1);
        }
        if let Some((found, ())) = sets.get_key_value(&self) {
            return Arc::clone(found);
        }
        let set = Arc::new(self);
        sets.insert(Arc::clone(&set), ());
        set
    }

    /// The value of a setting.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let at = self.0.binary_search_by(|(key, _)| key.as_str().cmp(name)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// Whether a setting is this word, however it was given.
    pub fn says(&self, name: &str, word: &str) -> bool {
        match self.get(name) {
            Some(Value::Text(text)) => text.eq_ignore_ascii_case(word),
            Some(Value::Statement(statement)) => {
                let last = statement.rsplit([' ', '=']).next().unwrap_or_default();
                last.trim_matches(['\'', '"', ';']).eq_ignore_ascii_case(word)
            }
            None => false,
        }
    }

    /// Adds or replaces a setting.
    pub fn insert(&mut self, name: &str, value: Value) {
        match self.0.binary_search_by(|(key, _)| key.as_str().cmp(name)) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (name.to_owned(), value)),
        }
    }

    /// Removes a setting: the server's own default applies.
    pub fn remove(&mut self, name: &str) {
        if let Ok(at) = self.0.binary_search_by(|(key, _)| key.as_str().cmp(name)) {
            self.0.remove(at);
        }
    }

    /// All settings, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// What every other setting keeps after `RESET ALL`, which leaves the two that say who acts.
    #[must_use]
    pub fn identity_only(&self) -> Self {
        Self(self.0.iter().filter(|(name, _)| IDENTITY.contains(&name.as_str())).cloned().collect())
    }

    /// Whether two sets differ in settings with a dot in their names: placeholders, until an extension defines them.
    pub fn differ_in_placeholders(&self, other: &Self) -> bool {
        let differs = |one: &Self, other: &Self| {
            one.iter().any(|(name, value)| name.contains('.') && other.get(name) != Some(value))
        };
        differs(self, other) || differs(other, self)
    }

    /// Whether two sets name different roles.
    pub fn differ_in_identity(&self, other: &Self) -> bool {
        IDENTITY.iter().any(|name| self.get(name) != other.get(name))
    }
}

/// The statements that take a connection from the settings it has to those it should have; empty if they agree.
/// In one simple query they are one transaction: all of them happen or none.
pub fn difference(has: &Settings, wants: &Settings) -> String {
    let mut sql = String::new();
    let identity_changes = has.differ_in_identity(wants);
    if identity_changes {
        if has.get("role").is_some() {
            sql.push_str("RESET ROLE;");
        }
        if has.get("session_authorization").is_some() {
            sql.push_str("RESET SESSION AUTHORIZATION;");
        }
    }
    let ordinary = |name: &str| !IDENTITY.contains(&name);
    for (name, _) in has.iter().filter(|(name, _)| ordinary(name) && wants.get(name).is_none()) {
        let _infallible = write!(sql, "RESET {};", quote_name(name));
    }
    for (name, value) in wants.iter().filter(|(name, value)| ordinary(name) && has.get(name) != Some(value)) {
        set(&mut sql, name, value);
    }
    if identity_changes {
        for name in IDENTITY {
            if let Some(value) = wants.get(name) {
                set(&mut sql, name, value);
            }
        }
    }
    sql
}

fn set(sql: &mut String, name: &str, value: &Value) {
    let _infallible = match value {
        Value::Statement(statement) => write!(sql, "{statement};"),
        Value::Text(text) => {
            write!(sql, "SELECT pg_catalog.set_config({}, {}, false);", quote_text(name), quote_text(text))
        }
    };
}

/// A string constant that means the same whatever `standard_conforming_strings` says.
pub fn quote_text(text: &str) -> String {
    let escaped = text.replace('\'', "''");
    if escaped.contains('\\') {
        format!("E'{}'", escaped.replace('\\', "\\\\"))
    } else {
        format!("'{escaped}'")
    }
}

/// A setting's name as an identifier: quoted, each part by itself (`myapp.user`).
fn quote_name(name: &str) -> String {
    let parts: Vec<String> =
        name.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::default();
        for (name, text) in pairs {
            settings.insert(name, Value::Text((*text).to_owned()));
        }
        settings
    }

    #[test]
    fn equal_sets_are_one() {
        let one = settings(&[("a", "1"), ("b", "2")]).intern();
        let other = settings(&[("b", "2"), ("a", "1")]).intern();
        assert!(Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn the_difference_resets_and_sets() {
        let has = settings(&[("a", "1"), ("b", "2")]);
        let wants = settings(&[("b", "it's \\"), ("c.d", "4")]);
        assert_eq!(
            difference(&has, &wants),
            "RESET \"a\";SELECT pg_catalog.set_config('b', E'it''s \\\\', false);\
             SELECT pg_catalog.set_config('c.d', '4', false);"
        );
        assert_eq!(difference(&wants, &wants), "");
    }

    #[test]
    fn roles_are_left_first_and_taken_last() {
        let mut wants = settings(&[("a", "1")]);
        wants.insert("role", Value::Statement("SET ROLE bob".to_owned()));
        let mut has = Settings::default();
        has.insert("role", Value::Statement("SET ROLE alice".to_owned()));
        assert_eq!(
            difference(&has, &wants),
            "RESET ROLE;SELECT pg_catalog.set_config('a', '1', false);SET ROLE bob;"
        );
    }
}
