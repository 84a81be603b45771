//! The one way in which a configuration is read again, whoever asks: a signal, a file that changed, the admin console.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use crate::config::{Config, ConfigError, ConfigSource};
use crate::lifecycle::Running;
use crate::metrics::Reloads;

/// Who asked for a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGHUP.
    Signal,
    /// A file changed.
    File,
    /// The admin console.
    Console,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal => "signal",
            Self::File => "file",
            Self::Console => "console",
        })
    }
}

/// How the last reload went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who asked.
    pub cause: Cause,
    /// When it ended.
    pub at: SystemTime,
    /// Why the new set was refused; None if it is in use.
    pub error: Option<String>,
}

/// What is known between two reloads.
#[derive(Debug)]
struct Known {
    /// Files that the set in use was read from, and those that the last error was in.
    files: Vec<PathBuf>,
    /// What was in them at the last reload.
    contents: u64,
    shutdown_timeout: Duration,
    watch: bool,
    last: Option<Report>,
}

/// Reads the configuration again.
pub struct Reloader {
    source: ConfigSource,
    running: Weak<dyn Running>,
    reloads: Arc<Reloads>,
    /// One reload at a time.
    turn: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader")
            .field("source", &self.source)
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

impl Reloader {
    /// For a proxy that runs with `config`, read from `source`.
    pub fn new(
        source: ConfigSource,
        config: &Config,
        running: &Arc<dyn Running>,
        reloads: Arc<Reloads>,
    ) -> Arc<Self> {
        let files = source.files(config);
        let known = Known {
            contents: contents(&files),
            files,
            shutdown_timeout: config.shutdown_timeout,
            watch: config.watch,
            last: None,
        };
        let running = Arc::downgrade(running);
        Arc::new(Self {
            source,
            running,
            reloads,
            turn: tokio::sync::Mutex::default(),
            known: Mutex::new(known),
        })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Files whose change calls for a reload; empty if nobody wants to know.
    pub fn watched(&self) -> Vec<PathBuf> {
        let known = self.known();
        if known.watch { known.files.clone() } else { Vec::new() }
    }

    /// How long a drain may take.
    pub fn shutdown_timeout(&self) -> Duration {
        self.known().shutdown_timeout
    }

    /// How the last reload went; None if there was none.
    pub fn last(&self) -> Option<Report> {
        self.known().last.clone()
    }

    /// Reloads counted.
    pub fn counted(&self) -> &Reloads {
        &self.reloads
    }

    /// Reads the configuration again and puts it to use as a whole; what is wrong with it changes nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn reload(&self, cause: Cause) -> Result<(), String> {
        let _turn = self.turn.lock().await;
        let outcome = self.attempt().await;
        match &outcome {
            Ok(()) => {
                self.reloads.taken();
                tracing::info!(%cause, "reloaded");
            }
            Err(error) => {
                self.reloads.refused();
                tracing::error!(%cause, "not reloaded, what runs stays as it is: {error}");
            }
        }
        let report = Report { cause, at: SystemTime::now(), error: outcome.clone().err() };
        self.known().last = Some(report);
        outcome
    }

    /// A reload, if the files are not what they were at the last one.
    pub async fn reload_if_changed(&self) {
        let changed = {
            let known = self.known();
            known.watch && contents(&known.files) != known.contents
        };
        if changed {
            // Logged and counted where it happens.
            let _told = self.reload(Cause::File).await;
        }
    }

    async fn attempt(&self) -> Result<(), String> {
        // Before they are read: a change while they are read calls for another reload.
        let (before, files) = {
            let known = self.known();
            (contents(&known.files), known.files.clone())
        };
        let loaded = self.source.load().and_then(|config| {
            config.policy_set()?;
            Ok(config)
        });
        let config = match loaded {
            Ok(config) => config,
            Err(error) => {
                self.note_error(&error, before, files);
                return Err(format!("the configuration has errors:\n{error}"));
            }
        };
        let files = self.source.files(&config);
        let (shutdown_timeout, watch) = (config.shutdown_timeout, config.watch);
        self.note_files(before, files);
        let running = self.running.upgrade().ok_or("the proxy has ended")?;
        running.reload(config).await?;
        let mut known = self.known();
        known.shutdown_timeout = shutdown_timeout;
        known.watch = watch;
        Ok(())
    }

    /// The files in error are watched too: that they are put right must be seen.
    fn note_error(&self, error: &ConfigError, before: u64, mut files: Vec<PathBuf>) {
        for problem in &error.problems {
            let path = PathBuf::from(&problem.file);
            if !files.contains(&path) {
                files.push(path);
            }
        }
        self.note_files(before, files);
    }

    /// Files that were watched and still are count as they were `before` they were read.
    fn note_files(&self, before: u64, files: Vec<PathBuf>) {
        let mut known = self.known();
        known.contents = if files == known.files { before } else { contents(&files) };
        known.files = files;
    }
}

/// A number that changes with what is in the files. One that cannot be read counts as such.
fn contents(files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.hash(&mut hasher);
        std::fs::read(file).ok().hash(&mut hasher);
    }
    hasher.finish()
}
