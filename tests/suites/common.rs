//! The stage that most suites share, and small helpers.
use std::time::Duration;

use pointsman_tests::{Proxy, Stage, Wire, eventually};
use tokio::sync::OnceCell;

/// A primary and a replica for every test that neither stops a server nor pauses replay.
pub(crate) async fn shared() -> &'static Stage {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    STAGE.get_or_init(|| Stage::new().replicas(1).start()).await
}

/// A name that no other test uses.
pub(crate) fn unique(prefix: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Ten seconds: the bound of most waits.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Waits until reads through this client are served by a replica: writes before it have been replayed, and
/// the catalog, which says that `abs` may be called there, has been read.
pub(crate) async fn reads_reach_replica(stage: &Stage, wire: &mut Wire) {
    if Proxy::is_direct() {
        return;
    }
    for _ in 0..500 {
        let marker = unique("warm_up");
        wire.run(&format!("SELECT abs(-1) /* {marker} */")).await;
        if stage.served_by(&marker).starts_with("replica") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("reads do not reach the replica");
}

/// Which server ran a statement; waits for the log to show it.
pub(crate) async fn server_of(stage: &Stage, marker: &str) -> String {
    eventually("a server logs the statement", SOON, || async { !stage.served_by(marker).is_empty() }).await;
    stage.served_by(marker)
}
