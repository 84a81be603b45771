//! The policy files that a configuration names.

use std::path::{Path, PathBuf};

use pointsman_policy::{Checked, PolicyError, PolicySet};

use super::problem::{ConfigError, Problem};
use super::{Config, told};

impl Config {
    /// The policies of all its files, in order.
    ///
    /// # Errors
    /// What is wrong with each of them.
    pub fn policy_set(&self) -> Result<PolicySet, ConfigError> {
        read_policies(&self.policies)
    }
}

/// Reads policy files into one set.
///
/// # Errors
/// What is wrong with each of them.
pub fn read_policies(paths: &[PathBuf]) -> Result<PolicySet, ConfigError> {
    let mut files = Vec::new();
    let mut unread = Vec::new();
    for path in paths {
        match read(path) {
            Ok(file) => files.push(file),
            Err(problem) => unread.push(problem),
        }
    }
    match PolicySet::load(&files) {
        Ok(set) if unread.is_empty() => Ok(set),
        Ok(_) => Err(ConfigError { problems: unread }),
        Err(errors) => {
            unread.extend(errors.into_iter().map(|error| problem(error, &files)));
            Err(ConfigError { problems: unread })
        }
    }
}

/// Reads one policy file and runs its tests.
///
/// # Errors
/// What is wrong with it, and the tests that fail.
pub fn check_policy(path: &Path) -> Result<Checked, ConfigError> {
    let file = read(path).map_err(|problem| ConfigError { problems: vec![problem] })?;
    pointsman_policy::check(&file.0, &file.1).map_err(|errors| {
        let files = [file];
        ConfigError { problems: errors.into_iter().map(|error| problem(error, &files)).collect() }
    })
}

fn read(path: &Path) -> Result<(String, String), Problem> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((file, text)),
        Err(error) => Err(Problem { file, place: None, message: told(&error), line: None }),
    }
}

fn problem(error: PolicyError, files: &[(String, String)]) -> Problem {
    let message = match &error.suggestion {
        Some(word) => format!("{}; did you mean `{word}`?", error.message),
        None => error.message.clone(),
    };
    let number = usize::try_from(error.line).unwrap_or(usize::MAX);
    let text = files.iter().find(|(path, _)| *path == error.path).map(|(_, text)| text);
    let line = text.and_then(|text| text.lines().nth(number.saturating_sub(1))).map(str::to_owned);
    Problem { file: error.path, place: Some((error.line, error.column)), message, line }
}
