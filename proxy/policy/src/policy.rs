//! Policy files: YAML to typed rules, strictly. An error names file, line and column, and what was probably meant.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Deserialize;

use crate::catalog::Volatility;
use crate::suggest::suggestion;

/// The version that a policy file must name.
const API_VERSION: &str = "pointsman/v1";
const KIND: &str = "Policy";

/// One policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `metadata.name`.
    pub name: String,
    /// Volatilities that override the catalog's.
    pub overrides: Overrides,
}

/// What policies say of functions, by `name` or `schema.name`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    functions: HashMap<String, Volatility>,
}

impl Overrides {
    /// Sets a function's volatility; `name` is `function` (in every schema) or `schema.function`.
    pub fn set(&mut self, name: &str, volatility: Volatility) {
        self.functions.insert(name.to_owned(), volatility);
    }

    /// Adds another policy's overrides; the later one wins.
    pub fn merge(&mut self, other: &Self) {
        self.functions.extend(other.functions.iter().map(|(name, volatility)| (name.clone(), *volatility)));
    }

    /// What is said of a function; the qualified name counts before the plain one.
    #[must_use]
    pub fn get(&self, schema: &str, name: &str) -> Option<Volatility> {
        self.functions.get(&format!("{schema}.{name}")).or_else(|| self.functions.get(name)).copied()
    }

    /// The names, for functions that the catalog does not know.
    pub fn names(&self) -> impl Iterator<Item = (&str, Volatility)> {
        self.functions.iter().map(|(name, volatility)| (name.as_str(), *volatility))
    }
}

/// What is wrong with a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The file, as given.
    pub path: String,
    /// Counted from 1; 0 where the place is not known.
    pub line: u64,
    /// Counted from 1.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.suggestion {
            Some(word) => write!(f, "; did you mean {word}?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PolicyError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    api_version: serde_saphyr::Spanned<String>,
    kind: serde_saphyr::Spanned<String>,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: serde_saphyr::Spanned<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Spec {
    #[serde(default)]
    functions: BTreeMap<String, Volatility>,
}

/// Reads one policy file; `path` is only named in errors.
///
/// # Errors
/// The first thing that is wrong: an unknown key, a duplicate, a wrong type, a value that is not one of those known.
pub fn load_policy(path: &str, text: &str) -> Result<Policy, PolicyError> {
    let options = serde_saphyr::options! { with_snippet: false };
    let file: File =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| yaml_error(path, &error))?;
    expect(path, &file.api_version, "apiVersion", API_VERSION)?;
    expect(path, &file.kind, "kind", KIND)?;
    if file.metadata.name.value.trim().is_empty() {
        return Err(at(path, &file.metadata.name, "metadata.name is empty".to_owned(), None));
    }
    let mut overrides = Overrides::default();
    for (name, volatility) in file.spec.functions {
        overrides.set(&name, volatility);
    }
    Ok(Policy { name: file.metadata.name.value, overrides })
}

fn expect(
    path: &str,
    value: &serde_saphyr::Spanned<String>,
    key: &str,
    right: &str,
) -> Result<(), PolicyError> {
    if value.value == right {
        return Ok(());
    }
    let message = format!("{key} must be {right}, not {:?}", value.value);
    Err(at(path, value, message, None))
}

fn at(
    path: &str,
    value: &serde_saphyr::Spanned<String>,
    message: String,
    suggestion: Option<String>,
) -> PolicyError {
    let place = value.referenced;
    PolicyError { path: path.to_owned(), line: place.line(), column: place.column(), message, suggestion }
}

fn yaml_error(path: &str, error: &serde_saphyr::Error) -> PolicyError {
    use serde_saphyr::Error as E;
    let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
    let (message, suggestion) = match error {
        E::SerdeUnknownField { field, expected, .. } => {
            (format!("unknown key {field}"), suggestion(field, expected.iter().copied()))
        }
        E::SerdeUnknownVariant { variant, expected, .. } => (
            format!("{variant:?} is none of {}", expected.join(", ")),
            suggestion(variant, expected.iter().copied()),
        ),
        other => {
            let text = other.to_string();
            let first = text.lines().next().unwrap_or("not YAML");
            let end = first.find(" at line ").unwrap_or(first.len());
            (first[..end].trim_start_matches("error: ").to_owned(), None)
        }
    };
    PolicyError { path: path.to_owned(), line, column, message, suggestion: suggestion.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: pointsman/v1\nkind: Policy\nmetadata: {name: app}\nspec:\n  functions:\n    \
                        log_visit: volatile\n    app.pure: immutable\n";

    #[test]
    fn a_good_file_is_read() {
        let policy = load_policy("p.yaml", GOOD).unwrap();
        assert_eq!(policy.name, "app");
        assert_eq!(policy.overrides.get("public", "log_visit"), Some(Volatility::Volatile));
        assert_eq!(policy.overrides.get("app", "pure"), Some(Volatility::Immutable));
        assert_eq!(policy.overrides.get("public", "pure"), None);
    }

    fn error(text: &str) -> String {
        load_policy("p.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        assert_eq!(
            error(&GOOD.replace("functions:", "function:")),
            "p.yaml:5:3: unknown key function; did you mean functions?"
        );
        assert_eq!(
            error(&GOOD.replace("volatile", "volatil")),
            "p.yaml:6:16: \"volatil\" is none of immutable, stable, volatile; did you mean volatile?"
        );
        assert_eq!(
            error(&GOOD.replace("v1", "v2")),
            "p.yaml:1:13: apiVersion must be pointsman/v1, not \"pointsman/v2\""
        );
        let twice = GOOD.replace("    app.pure: immutable\n", "    log_visit: stable\n");
        assert!(error(&twice).starts_with("p.yaml:7:5: "), "{}", error(&twice));
        assert!(error(&GOOD.replace("{name: app}", "[]")).starts_with("p.yaml:3:"));
        assert!(error(&GOOD.replace("metadata: {name: app}\n", "")).contains("metadata"));
    }

    #[test]
    fn later_overrides_win() {
        let mut first = load_policy("p.yaml", GOOD).unwrap().overrides;
        let mut second = Overrides::default();
        second.set("log_visit", Volatility::Stable);
        first.merge(&second);
        assert_eq!(first.get("x", "log_visit"), Some(Volatility::Stable));
    }
}
