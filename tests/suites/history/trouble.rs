//! What goes wrong meanwhile, and what the proxies have counted.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pointsman_tests::tools::signal;
use pointsman_tests::{PASSWORD, Proxy, Server, Stage, eventually};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::world::World;
use crate::common::SOON;

/// What the standby calls itself that commits wait for.
const STALLS: &str = "stalls";

/// Counters by metric and by the value of one label.
pub(super) type Counts = BTreeMap<(String, String), f64>;

/// Makes commits wait for the second replica.
pub(super) async fn synchronous(stage: &Stage) {
    let (primary, standby) = (&stage.primary, &stage.replicas[1]);
    let conninfo = format!(
        "host=127.0.0.1 port={} user=postgres password={} application_name={STALLS}",
        primary.port, PASSWORD
    );
    standby.sql(&format!("ALTER SYSTEM SET primary_conninfo = '{conninfo}'")).await;
    standby.sql("SELECT pg_reload_conf()").await;
    primary.sql(&format!("ALTER SYSTEM SET synchronous_standby_names = '{STALLS}'")).await;
    primary.sql("SELECT pg_reload_conf()").await;
    let state = format!(
        "SELECT coalesce(max(sync_state), 'none') FROM pg_stat_replication WHERE application_name = '{STALLS}'"
    );
    eventually("commits wait for the standby", SOON, || async { primary.value(&state).await == "sync" })
        .await;
}

fn between(rng: &mut StdRng, least: u64, most: u64) -> Duration {
    Duration::from_millis(rng.random_range(least..most))
}

/// Pauses and resumes the replay of the first replica, in turns.
pub(super) async fn lag(world: Arc<World>) {
    let mut rng = StdRng::seed_from_u64(1);
    let admin = world.stage.replica().admin().await;
    while !world.stopped() {
        for order in ["pause", "resume"] {
            let sql = format!("SELECT pg_wal_replay_{order}()");
            admin.batch_execute(&sql).await.expect("replay is steered");
            tokio::time::sleep(between(&mut rng, 100, 900)).await;
        }
    }
}

/// Stops and continues the standby that commits wait for, in turns.
pub(super) async fn stall(world: Arc<World>) {
    let mut rng = StdRng::seed_from_u64(2);
    while !world.stopped() {
        let pid = world.stage.replicas[1].value("SELECT max(pid) FROM pg_stat_wal_receiver").await;
        if let Ok(pid) = pid.parse() {
            signal(pid, "STOP");
            tokio::time::sleep(between(&mut rng, 100, 500)).await;
            signal(pid, "CONT");
        }
        tokio::time::sleep(between(&mut rng, 200, 900)).await;
    }
}

/// Ends servers' sessions that are about to commit, or wait for it, without a word to whoever sent the commit.
pub(super) async fn kill(world: Arc<World>) {
    const KILL: &str = "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity \
        WHERE usename = 'app' AND (wait_event = 'SyncRep' OR state <> 'idle') ORDER BY random() LIMIT 2) AS found";
    let mut rng = StdRng::seed_from_u64(3);
    let admin = world.stage.primary.admin().await;
    while !world.stopped() {
        admin.query_one(KILL, &[]).await.expect("the superuser ends sessions");
        tokio::time::sleep(between(&mut rng, 50, 250)).await;
    }
}

/// Ends the streams of changes: the proxies must notice and begin anew.
pub(super) async fn break_streams(primary: &Server) -> String {
    primary
        .value(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication \
             WHERE application_name = 'pointsman changes'",
        )
        .await
}

/// Stops the streams of changes at the server for `span`: nothing breaks, and nothing comes.
pub(super) async fn silence_streams(primary: &Server, span: Duration) {
    let pids = primary
        .value(
            "SELECT coalesce(string_agg(pid::text, ' '), '') FROM pg_stat_replication \
             WHERE application_name = 'pointsman changes'",
        )
        .await;
    let pids: Vec<u32> = pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    for pid in &pids {
        signal(*pid, "STOP");
    }
    tokio::time::sleep(span).await;
    for pid in pids {
        signal(pid, "CONT");
    }
}

/// Adds what a proxy has counted of its cache.
pub(super) async fn count(proxy: &Proxy, counts: &mut Counts) {
    let answer = proxy.get("/metrics").await.expect("the metrics are served");
    for line in answer.lines().filter(|line| line.starts_with("pointsman_cache")) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let value: f64 = value.parse().unwrap_or(0.0);
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let label = ["outcome=\"", "reason=\""].iter().find_map(|label| labels.split(label).nth(1));
        let label = label.and_then(|rest| rest.split('"').next()).unwrap_or_default();
        if value != 0.0 && name.ends_with("_total") {
            *counts.entry((name.to_owned(), label.to_owned())).or_default() += value;
        }
    }
}

/// One counter.
pub(super) fn counted(counts: &Counts, name: &str, label: &str) -> f64 {
    counts.get(&(name.to_owned(), label.to_owned())).copied().unwrap_or(0.0)
}

/// The labels that a counter was counted by.
pub(super) fn labels(counts: &Counts, name: &str) -> Vec<String> {
    counts.keys().filter(|(metric, _)| metric == name).map(|(_, label)| label.clone()).collect()
}

/// Prints what happened.
pub(super) fn print(world: &World, counts: &Counts) {
    let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{} reads, {} writes ({} past the proxies, {} without an answer), the slowest commit {} ms, \
         {} steps back within a session, read errors {:?}",
        of(&world.reads),
        of(&world.writes),
        of(&world.direct_writes),
        of(&world.doubts),
        of(&world.slowest) / 1000,
        of(&world.steps_back),
        world.read_errors,
    );
    for ((name, label), value) in counts {
        println!("{name} {label} {value}");
    }
}
