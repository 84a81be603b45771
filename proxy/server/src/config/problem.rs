//! What is wrong with a configuration: collected, put in order, and shown with its file, line, column and line of text.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use super::tree::Place;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as the user named it, or `command line`.
    pub file: String,
    /// Line and column, from 1; absent when the whole file is meant, or a flag.
    pub place: Option<(u64, u64)>,
    /// What is wrong, and what would be right.
    pub message: String,
    /// The line of text it is in, secrets masked.
    pub line: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((line, column)) = self.place else { return write!(f, "{}: {}", self.file, self.message) };
        write!(f, "{}:{line}:{column}: {}", self.file, self.message)?;
        let Some(text) = &self.line else { return Ok(()) };
        let indent = usize::try_from(column).unwrap_or(1).saturating_sub(1);
        write!(f, "\n{line:>5} | {text}\n      | {:indent$}^", "")
    }
}

/// Everything wrong with one configuration, in the order of its places.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            write!(f, "{gap}{problem}")?;
        }
        Ok(())
    }
}

/// Collects problems while a document is read.
pub(crate) struct Problems<'a> {
    file: String,
    text: &'a str,
    base: PathBuf,
    found: Vec<Problem>,
    known: BTreeSet<String>,
}

impl<'a> Problems<'a> {
    /// `text` is the file's; relative paths in it start at `base`.
    pub(crate) fn new(file: &str, text: &'a str, base: &Path) -> Self {
        Self { file: file.to_owned(), text, base: base.to_owned(), found: Vec::new(), known: BTreeSet::new() }
    }

    /// Adds one.
    pub(crate) fn add(&mut self, place: Place, message: impl Into<String>) {
        let line =
            usize::try_from(place.line).ok().and_then(|line| self.text.lines().nth(line.checked_sub(1)?));
        self.found.push(Problem {
            file: self.file.clone(),
            place: Some((place.line, place.column)),
            message: message.into(),
            line: line.map(mask_secrets),
        });
    }

    /// Adds one that concerns no single place.
    pub(crate) fn add_unplaced(&mut self, message: impl Into<String>) {
        self.found.push(Problem {
            file: self.file.clone(),
            place: None,
            message: message.into(),
            line: None,
        });
    }

    /// Adds those of another file.
    pub(crate) fn append(&mut self, others: Vec<Problem>) {
        self.found.extend(others);
    }

    /// A path as the file means it.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        self.base.join(path)
    }

    /// Notes that the reader asked for this key, `clusters[].pool.size` say.
    pub(crate) fn know(&mut self, key: String) {
        self.known.insert(key);
    }

    /// Every key asked for so far.
    #[cfg(test)]
    pub(crate) fn known(&self) -> &BTreeSet<String> {
        &self.known
    }

    /// The problems, if there are any.
    pub(crate) fn finish(mut self) -> Result<(), ConfigError> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort_by_key(|problem| (problem.place.is_none(), problem.place));
        Err(ConfigError { problems: self.found })
    }
}

/// Hides what may be a secret in a line that is about to be shown: the value of a key that holds one or is a slip of the
/// pen away from it, and a URL's password.
pub(crate) fn mask_secrets(line: &str) -> String {
    let mut start = 0;
    while let Some(colon) = line[start..].find(':').map(|at| start + at) {
        let word = line[..colon].trim_end_matches(['"', '\'']);
        let begin =
            word.rfind(|letter: char| !letter.is_alphanumeric() && letter != '_').map_or(0, |at| at + 1);
        let word = word[begin..].to_lowercase();
        if ["pas", "psw", "pw", "secret", "md5", "scram"].iter().any(|part| word.starts_with(part)) {
            return mask_url_passwords(&line[..=colon]) + " ***";
        }
        start = colon + 1;
    }
    mask_url_passwords(line)
}

fn mask_url_passwords(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(scheme) = rest.find("://") {
        let (before, after) = rest.split_at(scheme + 3);
        shown.push_str(before);
        let authority = &after[..after.find([' ', '"', '\'', ',']).unwrap_or(after.len())];
        rest = after;
        let Some(at) = authority.rfind('@') else { continue };
        let Some(colon) = authority[..at].find(':') else { continue };
        shown.push_str(&authority[..=colon]);
        shown.push_str("***");
        rest = &after[at..];
    }
    shown.push_str(rest);
    match shown.find("password=") {
        Some(at) => shown[..at].to_owned() + "password=***",
        None => shown,
    }
}
