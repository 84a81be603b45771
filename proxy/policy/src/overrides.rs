//! What policies say of functions, in place of the server's catalog.

use std::collections::HashMap;

use crate::catalog::Volatility;

/// What policies say of functions, by `name` or `schema.name`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    functions: HashMap<String, Volatility>,
    reads: HashMap<String, Vec<String>>,
}

impl Overrides {
    /// Sets a function's volatility; `name` is `function` (in every schema) or `schema.function`.
    pub fn set(&mut self, name: &str, volatility: Volatility) {
        self.functions.insert(name.to_owned(), volatility);
    }

    /// Sets the relations that a function reads, by `name` or `schema.name`.
    pub fn set_reads(&mut self, name: &str, relations: Vec<String>) {
        self.reads.insert(name.to_owned(), relations);
    }

    /// Adds another policy's overrides; the later one wins.
    pub fn merge(&mut self, other: &Self) {
        self.functions.extend(other.functions.iter().map(|(name, volatility)| (name.clone(), *volatility)));
        self.reads.extend(other.reads.iter().map(|(name, relations)| (name.clone(), relations.clone())));
    }

    /// What is said of a function; the qualified name counts before the plain one.
    #[must_use]
    pub fn get(&self, schema: &str, name: &str) -> Option<Volatility> {
        self.functions.get(&format!("{schema}.{name}")).or_else(|| self.functions.get(name)).copied()
    }

    /// The relations that a function is said to read; the qualified name counts before the plain one.
    #[must_use]
    pub fn reads(&self, schema: &str, name: &str) -> Option<&[String]> {
        let found = self.reads.get(&format!("{schema}.{name}")).or_else(|| self.reads.get(name));
        found.map(Vec::as_slice)
    }

    /// The names, for functions that the catalog does not know.
    pub fn names(&self) -> impl Iterator<Item = (&str, Volatility)> {
        self.functions.iter().map(|(name, volatility)| (name.as_str(), *volatility))
    }
}
