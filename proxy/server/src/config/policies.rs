//! The policy files that a configuration names.

use std::path::{Path, PathBuf};

use pointsman_policy::{Overrides, Policy, load_policy};

use super::problem::{ConfigError, Problem};
use super::{Config, told};

/// A policy file in use, in a few words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySummary {
    /// `metadata.name`.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// Functions whose volatility it overrides.
    pub functions: usize,
}

impl Config {
    /// All policy files in a few words, for the admin console.
    ///
    /// # Errors
    /// What is wrong with the first that is wrong.
    pub fn policy_summaries(&self) -> Result<Vec<PolicySummary>, ConfigError> {
        let summary = |file: &PathBuf| {
            let policy = read_policy(file)?;
            let functions = policy.overrides.names().count();
            Ok(PolicySummary { name: policy.name, file: file.clone(), functions })
        };
        self.policies.iter().map(summary).collect()
    }

    /// What all policy files say of functions; a later file wins.
    ///
    /// # Errors
    /// What is wrong with each of them.
    pub fn overrides(&self) -> Result<Overrides, ConfigError> {
        let mut overrides = Overrides::default();
        let mut problems = Vec::new();
        for path in &self.policies {
            match read_policy(path) {
                Ok(policy) => overrides.merge(&policy.overrides),
                Err(error) => problems.extend(error.problems),
            }
        }
        if problems.is_empty() { Ok(overrides) } else { Err(ConfigError { problems }) }
    }
}

/// Reads one policy file.
///
/// # Errors
/// What is wrong with it.
pub fn read_policy(path: &Path) -> Result<Policy, ConfigError> {
    let file = path.display().to_string();
    let wrong = |place, message, line| {
        let problem = Problem { file: file.clone(), place, message, line };
        ConfigError { problems: vec![problem] }
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(None, told(&error), None))?;
    load_policy(&file, &text).map_err(|error| {
        let message = match error.suggestion {
            Some(word) => format!("{}; did you mean `{word}`?", error.message),
            None => error.message,
        };
        if error.line == 0 {
            return wrong(None, message, None);
        }
        let number = usize::try_from(error.line).unwrap_or(usize::MAX);
        let line = text.lines().nth(number.saturating_sub(1)).map(str::to_owned);
        wrong(Some((error.line, error.column)), message, line)
    })
}
