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

impl Value {
    /// The setting's text, in either form; `None`: the statement does not say it as one written by us does.
    pub fn told(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Statement(statement) => {
                let (_, value) = statement.split_once(" TO ")?;
                let quoted = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\''));
                Some(quoted.map_or_else(|| value.to_owned(), |value| value.replace("''", "'")))
            }
        }
    }

    /// Whether a `search_path` of this value leads to the session's temporary schema by name.
    pub fn mentions_temporary(&self) -> bool {
        let (Self::Text(text) | Self::Statement(text)) = self;
        text.to_ascii_lowercase().contains("pg_temp")
    }
}

/// Settings by lower-case name, sorted. Equal sets are usually the same `Arc`, so that they compare by address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Settings(Vec<(String, Value)>);

/// Names whose values say who acts: sent last, undone first.
const IDENTITY: [&str; 2] = ["session_authorization", "role"];
/// Settings that neither parsing nor planning reads a result out of: all others may change what a text means. So may
/// those with a dot in their names, which users' functions read while a plan is made.
const NO_MEANING: [&str; 12] = [
    "application_name",
    "client_min_messages",
    "commit_delay",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "hash_mem_multiplier",
    "maintenance_work_mem",
    "synchronous_commit",
    "temp_buffers",
    "temp_file_limit",
    "work_mem",
];
/// The same, by how their names begin.
const NO_MEANING_PREFIXES: [&str; 7] =
    ["debug_", "log_", "pointsman.", "tcp_", "trace_", "track_", "vacuum_"];
/// The same, by how their names end.
const NO_MEANING_SUFFIX: &str = "_timeout";
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

    /// The settings out of which parsing may read what a text means.
    #[must_use]
    pub fn meaning(&self) -> Self {
        Self(self.0.iter().filter(|(name, _)| gives_meaning(name)).cloned().collect())
    }

    /// All but those that say who acts.
    #[must_use]
    pub fn without_identity(&self) -> Self {
        Self(self.0.iter().filter(|(name, _)| !IDENTITY.contains(&name.as_str())).cloned().collect())
    }

    /// Whether two sets differ in settings with a dot in their names: placeholders, until an extension defines them. Our
    /// own never are.
    pub fn differ_in_placeholders(&self, other: &Self) -> bool {
        let differs = |one: &Self, other: &Self| {
            one.iter().any(|(name, value)| {
                name.contains('.') && !name.starts_with("pointsman.") && other.get(name) != Some(value)
            })
        };
        differs(self, other) || differs(other, self)
    }

    /// Whether two sets name different roles.
    pub fn differ_in_identity(&self, other: &Self) -> bool {
        IDENTITY.iter().any(|name| self.get(name) != other.get(name))
    }
}

fn gives_meaning(name: &str) -> bool {
    !(NO_MEANING.contains(&name)
        || name.ends_with(NO_MEANING_SUFFIX)
        || NO_MEANING_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

/// An interned set, which compares and hashes by its address.
#[derive(Debug, Clone)]
pub struct Interned(pub Arc<Settings>);

impl PartialEq for Interned {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Interned {}

impl std::hash::Hash for Interned {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        std::ptr::hash(Arc::as_ptr(&self.0), state);
    }
}

/// The statements that take a connection from the settings it has to those it should have; empty if they agree.
/// In one simple query they are one transaction: all of them happen or none.
pub fn difference(has: &Settings, wants: &Settings) -> String {
    let mut sql = String::new();
    write_difference(has, wants, &mut sql, |_| {});
    sql
}

/// The same, one by one.
pub fn steps(has: &Settings, wants: &Settings) -> Vec<String> {
    let mut steps = Vec::new();
    write_difference(has, wants, &mut String::new(), |sql| steps.push(std::mem::take(sql)));
    steps
}

fn write_difference(
    has: &Settings,
    wants: &Settings,
    sql: &mut String,
    mut written: impl FnMut(&mut String),
) {
    let identity_changes = has.differ_in_identity(wants);
    if identity_changes {
        if has.get("role").is_some() {
            sql.push_str("RESET ROLE;");
            written(sql);
        }
        if has.get("session_authorization").is_some() {
            sql.push_str("RESET SESSION AUTHORIZATION;");
            written(sql);
        }
    }
    let ordinary = |name: &str| !IDENTITY.contains(&name);
    for (name, _) in has.iter().filter(|(name, _)| ordinary(name) && wants.get(name).is_none()) {
        let _infallible = write!(sql, "RESET {};", quote_name(name));
        written(sql);
    }
    for (name, value) in wants.iter().filter(|(name, value)| ordinary(name) && has.get(name) != Some(value)) {
        set(sql, name, value);
        written(sql);
    }
    if identity_changes {
        for name in IDENTITY {
            if let Some(value) = wants.get(name) {
                set(sql, name, value);
                written(sql);
            }
        }
    }
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
    fn what_gives_texts_their_meaning() {
        let all = settings(&[
            ("application_name", "a"),
            ("app.tenant", "1"),
            ("datestyle", "German"),
            ("pointsman.route", "x"),
            ("statement_timeout", "1"),
            ("timezone", "UTC"),
        ]);
        let names: Vec<String> = all.meaning().iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["app.tenant", "datestyle", "timezone"]);
        let (one, other) = (Interned(all.meaning().intern()), Interned(all.meaning().intern()));
        assert_eq!(one, other);
        assert_eq!(steps(&Settings::default(), &all.meaning()).len(), 3);
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
