//! Places where a test can stop a commit, to end a server or the proxy there. Builds without debug assertions have none.

#[cfg(debug_assertions)]
use std::path::PathBuf;

/// The environment variable: a place, `=`, and a file. The commit makes the file when it gets to the place, and waits there until
/// the file is gone. Places: `registered`, `prepared-N`, `prepared`, `decided`, `committed-N`, where N is a shard.
#[cfg(debug_assertions)]
const VARIABLE: &str = "POINTSMAN_TEST_STOP";

/// Where to stop.
#[derive(Debug, Default)]
pub struct Stops {
    #[cfg(debug_assertions)]
    at: Option<(String, PathBuf)>,
}

#[cfg(debug_assertions)]
impl Stops {
    /// What the environment says.
    pub fn from_environment() -> Self {
        let said = std::env::var(VARIABLE).ok();
        Self { at: said.and_then(|said| said.split_once('=').map(|(at, file)| (at.to_owned(), file.into()))) }
    }

    /// At one place; `file` is there while it waits.
    pub fn at(place: &str, file: PathBuf) -> Self {
        Self { at: Some((place.to_owned(), file)) }
    }

    /// A commit has got to this place.
    pub(super) async fn pass(&self, place: &str) {
        let Some((at, file)) = &self.at else { return };
        if *at != place || std::fs::write(file, b"").is_err() {
            return;
        }
        while file.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

#[cfg(not(debug_assertions))]
impl Stops {
    /// Nowhere.
    pub fn from_environment() -> Self {
        Self {}
    }

    #[expect(clippy::unused_async, reason = "the other one waits")]
    pub(super) async fn pass(&self, _place: &str) {}
}
