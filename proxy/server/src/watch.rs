//! Sees that a file of the configuration changes. Directories are watched, not files: editors rename a new file into
//! place, and Kubernetes swaps a symlink beside it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::reload::Reloader;

/// Nothing happens until the files were left alone for this long: a save is several steps.
const QUIET: Duration = Duration::from_millis(100);
/// Changes that never pause are not waited for any longer.
const QUIET_MAX: Duration = Duration::from_secs(2);
/// How often the files are looked at without having heard of a change: where the system does not tell (network file
/// systems), or a directory was replaced.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Reloads at each change, for as long as the process lives.
pub async fn watch(reloader: Arc<Reloader>) {
    let stirred = Arc::new(Notify::new());
    let mut watched = Watched::new(&stirred);
    loop {
        watched.follow(&reloader.watched());
        tokio::select! {
            () = stirred.notified() => settle(&stirred).await,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
        reloader.reload_if_changed().await;
    }
}

/// Waits until nothing has stirred for a while.
async fn settle(stirred: &Notify) {
    let quiet = async { while tokio::time::timeout(QUIET, stirred.notified()).await.is_ok() {} };
    // Too restless: then the files are read as they are now, and again at the next change.
    let _restless = tokio::time::timeout(QUIET_MAX, quiet).await;
}

/// The directories that are watched.
struct Watched {
    /// None where the system has none to give: then the files are only looked at from time to time.
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
}

impl Watched {
    fn new(stirred: &Arc<Notify>) -> Self {
        let stirred = Arc::clone(stirred);
        let hear = move |event: notify::Result<Event>| {
            // An error, too, may mean that a change was missed.
            if !matches!(event, Ok(Event { kind: EventKind::Access(_), .. })) {
                stirred.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(hear)
            .map_err(|error| {
                tracing::warn!(%error, "files cannot be watched: they are looked at every {LOOK_INTERVAL:?}");
            })
            .ok();
        Self { watcher, directories: BTreeSet::new() }
    }

    /// Watches where these files are, and where the links that they are lead, and nothing else.
    fn follow(&mut self, files: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: BTreeSet<PathBuf> = files.iter().flat_map(|file| directories_of(file)).collect();
        for gone in self.directories.difference(&wanted) {
            // A directory that was removed is not watched any more, which is what is wanted.
            let _removed = watcher.unwatch(gone);
        }
        let mut watched = BTreeSet::new();
        for directory in wanted {
            // Again even if it was watched: another directory may have taken its place.
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => drop(watched.insert(directory)),
                Err(error) if self.directories.contains(&directory) => {
                    tracing::warn!(%error, directory = %directory.display(), "a directory cannot be watched any more");
                }
                Err(error) => {
                    tracing::debug!(%error, directory = %directory.display(), "a directory cannot be watched")
                }
            }
        }
        self.directories = watched;
    }
}

/// The directory that a file is named in, and the one that it lies in.
fn directories_of(file: &Path) -> impl Iterator<Item = PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => PathBuf::from("/"),
    };
    let real = std::fs::canonicalize(file).ok().map(|file| parent(&file));
    [Some(parent(file)), real].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_watched_at_both_ends() {
        let dir = std::env::temp_dir().join(format!("pointsman-watch-{}", std::process::id()));
        let real = dir.join("real");
        std::fs::create_dir_all(&real).unwrap();
        std::fs::write(real.join("p.yaml"), "").unwrap();
        std::os::unix::fs::symlink(real.join("p.yaml"), dir.join("p.yaml")).unwrap();
        let found: BTreeSet<PathBuf> = directories_of(&dir.join("p.yaml")).collect();
        let expected = [dir.clone(), std::fs::canonicalize(&real).unwrap()];
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(found, expected.into_iter().collect());
        assert_eq!(directories_of(Path::new("p.yaml")).next(), Some(PathBuf::from(".")));
    }
}
