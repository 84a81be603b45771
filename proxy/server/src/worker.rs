//! A worker: one thread, one runtime, the sessions it has accepted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::arrival::{self, Counted, Entry};
use crate::client::config::ClientLimits;
use crate::fault::Fault;
use crate::proxy::Proxy;
use crate::session::judge;
use crate::transport::listener::{Bound, Listener};
use crate::transport::stream::{Plain, Stream};

/// PostgreSQL's parser recurses: its threads need room.
pub const STACK_BYTES: usize = 8 * 1024 * 1024;
/// Pause after an accept that failed, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What averages are taken over.
pub const STATISTICS_PERIOD: Duration = Duration::from_secs(60);
/// How often pools are tidied.
const TIDY_INTERVAL: Duration = Duration::from_secs(1);

/// Starts a worker that accepts from these sockets until the proxy closes them.
///
/// # Errors
/// The thread cannot be started.
pub fn start(
    proxy: Arc<Proxy>,
    index: usize,
    listeners: Vec<Bound>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("worker-{index}")).stack_size(STACK_BYTES).spawn(move || {
        judge::prepare_thread(proxy.settings().config.templates_max);
        runtime.block_on(run(proxy, index, listeners));
    })
}

async fn run(proxy: Arc<Proxy>, index: usize, listeners: Vec<Bound>) {
    if index == 0 {
        tokio::spawn(tidy(Arc::clone(&proxy)));
    }
    for bound in listeners {
        match bound.listen() {
            Ok(listener) => drop(tokio::spawn(accept(Arc::clone(&proxy), index, listener))),
            Err(error) => tracing::error!(%error, "a listener cannot be used"),
        }
    }
    // Sessions run on this thread for as long as the process lives.
    std::future::pending::<()>().await;
}

async fn accept(proxy: Arc<Proxy>, worker: usize, listener: Listener) {
    let mut closing = proxy.closing();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Changed to true, or the proxy is gone: either way the listener closes.
            _ = closing.changed() => return,
        };
        match accepted {
            Ok(plain) => admit(&proxy, worker, plain),
            Err(error) => {
                tracing::warn!(%error, "a client could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Starts a client's life, unless there are too many.
fn admit(proxy: &Arc<Proxy>, worker: usize, plain: Plain) {
    let counts = &proxy.counts;
    counts.accepted.fetch_add(1, Ordering::Relaxed);
    let settings = proxy.settings();
    let stream = Stream::Plain(plain);
    // Counted here and not by the client's own task: a burst must not slip in before any of them has run.
    match count(proxy, &settings.config.limits) {
        Err(fault) => {
            counts.refused.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(arrival::turn_away(stream, fault));
        }
        Ok(entry) => {
            tokio::spawn(arrival::arrive(Arc::clone(proxy), worker, stream, entry));
        }
    }
}

fn count(proxy: &Arc<Proxy>, limits: &ClientLimits) -> Result<Entry, Fault> {
    let too_many =
        |told: &'static str, key: &str| Fault::pointsman("53300", told).hint(format!("Raise {key}."));
    let connected = Counted::up_to(limits.clients_max, proxy, |counts| &counts.connected)
        .ok_or_else(|| too_many("sorry, too many clients already", "clients_max"))?;
    let unauthenticated = Counted::up_to(limits.unauthenticated_max, proxy, |counts| &counts.unauthenticated)
        .ok_or_else(|| too_many("sorry, too many clients are logging in", "unauthenticated_max"))?;
    Ok(Entry { connected, unauthenticated })
}

/// Closes what is old or idle in all pools, opens what should be there.
async fn tidy(proxy: Arc<Proxy>) {
    let mut period = Instant::now();
    loop {
        tokio::time::sleep(TIDY_INTERVAL).await;
        let now = Instant::now();
        let turns = now.duration_since(period) >= STATISTICS_PERIOD;
        if turns {
            period = now;
        }
        for cluster in proxy.clusters.all().iter() {
            for account in cluster.accounts() {
                if turns {
                    account.turn_period(now);
                }
                for pool in account.pools() {
                    pool.tidy();
                }
            }
        }
    }
}
