//! The policy files that a configuration names.

use std::path::{Path, PathBuf};

use pointsman_policy::{Checked, PolicyError, PolicySet};

use super::problem::{ConfigError, Problem};
use super::{Config, told};

impl Config {
    /// The policies of all its files, in order.
    ///
    /// # Errors
    /// What is wrong with each of them, or a table on a shard that a sharded database lacks.
    pub fn policy_set(&self) -> Result<PolicySet, ConfigError> {
        let set = read_policies(&self.policies)?;
        if self.lacking(&set).next().is_none() && self.unknown_plugins(&set).next().is_none() {
            return Ok(set);
        }
        let mut problems = Vec::new();
        for path in &self.policies {
            let own = read_policies(std::slice::from_ref(path))?;
            let file = path.display().to_string();
            let problem = |message| Problem { file: file.clone(), place: None, message, line: None };
            problems.extend(self.lacking(&own).map(problem));
            problems.extend(
                self.unknown_plugins(&own)
                    .map(|(place, message)| Problem { place: Some(place), ..problem(message) }),
            );
        }
        Err(ConfigError { problems })
    }

    /// The plugins that rules name and the configuration lacks: where the rule stands, and what is wrong.
    fn unknown_plugins<'a>(&'a self, set: &'a PolicySet) -> impl Iterator<Item = ((u64, u64), String)> + 'a {
        set.rules().iter().flat_map(move |rule| {
            let unknown = rule.actions.plugins.iter().filter(|name| self.plugins.get(name).is_none());
            unknown.map(move |name| {
                let message =
                    format!("rule `{}` names plugin `{name}`, and `plugins` has none so called", rule.name);
                ((rule.place.line, rule.place.column), message)
            })
        })
    }

    /// The shards that policies name and databases lack, in plain words.
    fn lacking(&self, set: &PolicySet) -> impl Iterator<Item = String> {
        let named = set.tables().shards_named().map(|(table, shard)| (table.to_string(), shard));
        let named: Vec<(String, usize)> = named.collect();
        self.sharded.iter().flat_map(move |database| {
            let (name, count) = (database.name.clone(), database.shards.len());
            let lacking: Vec<_> = named.iter().filter(|(_, shard)| *shard >= count).cloned().collect();
            lacking.into_iter().map(move |(table, shard)| {
                let of = if name.is_empty() { String::new() } else { format!(" of database `{name}`") };
                format!(
                    "table `{table}` has rows on shard {shard}, but the shards{of} are 0 to {}",
                    count.saturating_sub(1)
                )
            })
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "apiVersion: pointsman/v1\nkind: Policy\nmetadata: {name: a}\nspec:\n  tables:\n    \
        t: {shard_key: id}\n    users:\n      {shard_key: country, function: list, key_type: text, \
        values: [{shard: 2, values: de}], default_shard: 0}\n";

    fn told(shards: &str) -> Result<(), String> {
        let directory =
            std::env::temp_dir().join(format!("pointsman-lacking-{}-{}", std::process::id(), shards.len()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("policy.yaml"), POLICY).unwrap();
        let clusters = ["a", "b", "c"].map(|name| {
            format!("{{name: {name}, primary: 'postgres://u@{name}/x', databases: [{{name: {name}}}]}}")
        });
        let text = format!("clusters: [{}]\n{shards}policies: policy.yaml\n", clusters.join(", "));
        let config = Config::from_yaml("p.yaml", &text, &directory).unwrap();
        let told = config.policy_set().map(drop).map_err(|error| error.to_string());
        std::fs::remove_dir_all(&directory).unwrap();
        told.map_err(|told| told.replace(&format!("{}/", directory.display()), ""))
    }

    #[test]
    fn a_shard_that_a_policy_names_must_be_there() {
        let wrong =
            "policy.yaml: table `users` has rows on shard 2, but the shards of database `s` are 0 to 1";
        assert_eq!(told("sharded: [{name: s, shards: [a, b]}]\n"), Err(wrong.to_owned()));
        assert_eq!(told("sharded: [{name: s, shards: [a, b, c]}]\n"), Ok(()));
        assert_eq!(told("\n"), Ok(()));
    }
}
