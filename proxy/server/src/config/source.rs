//! Where a configuration comes from, so that it can be read again at reload.

use std::path::PathBuf;

use super::{Config, ConfigError, Flags};

/// A file, or flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigSource {
    /// A YAML file.
    File {
        /// Its path.
        path: PathBuf,
        /// Worker threads, if the command line says so; it wins over the file.
        workers: Option<usize>,
    },
    /// Flags alone.
    Flags(Flags),
}

impl ConfigSource {
    /// Every file that a configuration from here was read from.
    pub fn files(&self, config: &Config) -> Vec<PathBuf> {
        let mut files = config.files();
        if let Self::File { path, .. } = self {
            files.insert(0, path.clone());
        }
        files
    }

    /// Reads it, and every file that it names.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Config, ConfigError> {
        match self {
            Self::Flags(flags) => Config::from_flags(flags),
            Self::File { path, workers } => {
                let mut config = Config::from_file(path)?;
                config.workers = workers.unwrap_or(config.workers);
                Ok(config)
            }
        }
    }
}
