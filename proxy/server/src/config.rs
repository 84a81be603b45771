//! The configuration: YAML or flags in, typed values out, read once and passed on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::caching::config::CacheConfig;
use crate::client::config::{AuthConfig, ClientLimits};
use crate::plugins::config::PluginsConfig;
use crate::transport::config::{ClientTls, Listen};
use crate::upstream::config::{ClusterConfig, ShardedConfig};

mod cache;
mod clusters;
mod flags;
mod login;
mod plugins;
mod policies;
mod pool;
mod problem;
mod read;
mod section;
mod sharded;
mod source;
#[cfg(test)]
mod tests;
mod tree;
mod url;
mod value;

pub use flags::Flags;
pub use policies::{check_policy, read_policies};
pub use problem::{ConfigError, Problem};
pub use source::ConfigSource;

use problem::Problems;
use section::Section;

/// Everything that `serve` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where clients connect.
    pub listen: Vec<Listen>,
    /// Where metrics and health are served over HTTP.
    pub admin: Option<SocketAddr>,
    /// Worker threads, one runtime each.
    pub workers: usize,
    /// TLS towards clients; none means it is refused.
    pub tls: Option<ClientTls>,
    /// Limits on clients.
    pub limits: ClientLimits,
    /// Authentication of clients.
    pub auth: AuthConfig,
    /// The clusters, the default one (any database) last.
    pub clusters: Vec<ClusterConfig>,
    /// Databases that are spread over several clusters.
    pub sharded: Vec<ShardedConfig>,
    /// Policy files.
    pub policies: Vec<PathBuf>,
    /// Plugins.
    pub plugins: PluginsConfig,
    /// The cache of results.
    pub cache: CacheConfig,
    /// Templates kept by each worker's statement cache.
    pub templates_max: usize,
    /// How long a drain waits for transactions in progress.
    pub shutdown_timeout: Duration,
    /// Whether a change of a file that is named here reloads everything.
    pub watch: bool,
}

/// The database that the admin console is reached by; no cluster may have one of this name.
pub const CONSOLE_DATABASE: &str = "pointsman";

impl Config {
    /// Reads a YAML file. Relative paths in it start at its directory.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let base = path.parent().unwrap_or(Path::new(""));
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_yaml(&name, &text, base),
            Err(error) => {
                let problem = Problem { file: name, place: None, message: told(&error), line: None };
                Err(ConfigError { problems: vec![problem] })
            }
        }
    }

    /// Every file that it names, by the path that it names it by.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = self.policies.clone();
        files.extend(self.plugins.plugins.iter().map(|plugin| plugin.file.clone()));
        files.extend(self.auth.userlist.clone());
        if let Some(tls) = &self.tls {
            files.extend([tls.certificate.clone(), tls.key.clone()]);
            files.extend(tls.client_ca.clone());
        }
        for server in self.clusters.iter().flat_map(|cluster| &cluster.servers) {
            let tls = &server.tls;
            files.extend([&tls.ca, &tls.certificate, &tls.key].into_iter().filter_map(Option::clone));
        }
        files.sort();
        files.dedup();
        files
    }

    /// Reads YAML text that errors call `name`. Relative paths in it start at `base`.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn from_yaml(name: &str, text: &str, base: &Path) -> Result<Self, ConfigError> {
        let mut problems = Problems::new(name, text, base);
        let config = read::read_document(text, &mut problems);
        problems.finish()?;
        config.ok_or_else(|| ConfigError { problems: Vec::new() })
    }
}

/// Whether a document is a policy (`kind: Policy` at its top) and not a configuration.
pub fn is_policy(text: &str) -> bool {
    let Ok(tree::Node { value: tree::Value::Map(entries), .. }) = tree::parse(text) else { return false };
    entries.iter().any(|(key, node)| {
        key.name == "kind" && matches!(&node.value, tree::Value::Text(kind) if kind == "Policy")
    })
}

/// Why a file could not be read, in the words of a person.
fn told(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".into(),
        std::io::ErrorKind::InvalidData => "the file is not UTF-8 text".into(),
        _ => format!("cannot be read: {error}"),
    }
}

/// The path as the document means it, if a file is there.
fn file(path: &str, problems: &Problems<'_>) -> Result<PathBuf, String> {
    let resolved = problems.resolve(path);
    match std::fs::metadata(&resolved) {
        Ok(found) if found.is_dir() => Err(format!("{} is a directory, not a file", resolved.display())),
        Ok(_) => Ok(resolved),
        Err(error) => Err(format!("{}: {}", resolved.display(), told(&error))),
    }
}

/// The path under `key`, if a file is there.
fn take_file(section: &mut Section<'_>, key: &'static str, problems: &mut Problems<'_>) -> Option<PathBuf> {
    let path = section.take(key, problems, value::name)?;
    let found = file(&path, problems);
    section.take(key, problems, |_| found)
}
