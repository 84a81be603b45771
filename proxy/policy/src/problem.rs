//! What is wrong with policy files: collected, each with its place, and what was probably meant.

use std::fmt;

use crate::yaml::Place;

/// One thing that is wrong with a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The file, as given.
    pub path: String,
    /// Counted from 1.
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
        write!(f, "{}:{}:{}: {}", self.path, self.line, self.column, self.message)?;
        match &self.suggestion {
            Some(word) => write!(f, "; did you mean `{word}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PolicyError {}

/// Collects what is wrong with one file.
pub(crate) struct Problems<'a> {
    path: &'a str,
    found: Vec<PolicyError>,
}

impl<'a> Problems<'a> {
    pub(crate) fn new(path: &'a str) -> Self {
        Self { path, found: Vec::new() }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    pub(crate) fn add(&mut self, place: Place, message: impl Into<String>) {
        self.suggest(place, message, None);
    }

    pub(crate) fn suggest(&mut self, place: Place, message: impl Into<String>, word: Option<&str>) {
        self.found.push(PolicyError {
            path: self.path.to_owned(),
            line: place.line,
            column: place.column,
            message: message.into(),
            suggestion: word.map(str::to_owned),
        });
    }

    /// Everything found, in the order of the file.
    pub(crate) fn finish(mut self) -> Vec<PolicyError> {
        self.found.sort_by_key(|problem| (problem.line, problem.column));
        self.found
    }
}
