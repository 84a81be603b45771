//! The cache under load, against a history: every answer is explained by what was written, while servers lag and stall,
//! streams break and proxies are killed. `HISTORY_SECONDS` says for how long; a minute is the whole proof.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pointsman_tests::{Proxy, Redis, Stage};

use crate::common::{policy, unique};

mod checker;
mod load;
mod trouble;
mod world;

use load::Habits;
use trouble::{Counts, counted};
use world::{Line, Table, World};

const WRITERS: usize = world::AGENTS;
const READERS: usize = 64;
/// How far the stream of changes may be behind.
const LAG_MAX: Duration = Duration::from_secs(3);
/// How late writes made elsewhere may show, where the rule does not say.
const BOUND: Duration = Duration::from_secs(4);
/// What `max_staleness` says where a rule has it.
const STALENESS: Duration = Duration::from_secs(2);
/// How long after the last write every proxy must answer with what the primary has.
const QUIET: Duration = Duration::from_secs(5);

/// For how long the load runs.
fn span() -> Duration {
    let told = std::env::var("HISTORY_SECONDS").ok();
    let seconds = told.map(|text| text.parse().expect("HISTORY_SECONDS is a number"));
    Duration::from_secs(seconds.unwrap_or(15))
}

/// A table for each way to cache.
fn tables() -> Vec<Table> {
    let table = |prefix: &str, key, share, cache, bound| Table {
        name: unique(prefix),
        key,
        feed: prefix.contains("feed"),
        foreign: prefix.contains("foreign"),
        share,
        cache,
        bound,
    };
    vec![
        table("keyed_agents", "agent_id", 25, "ttl: 60s, invalidate_by: [agent_id]", BOUND),
        table("bounded_agents", "agent_id", 20, "ttl: 60s, max_staleness: 2s", STALENESS),
        // The proxies have no reason of their own to keep off a replica that lags.
        table("foreign_agents", "agent_id", 15, "ttl: 60s, max_staleness: 2s", STALENESS),
        table("fading_feeds", "agent_id", 25, "ttl: 300ms, stale_while_revalidate: 10s", BOUND),
        // No rule tells apart what is written by this column: any write drops everything read from the table.
        table("whole_agents", "owner", 8, "ttl: 60s", BOUND),
        table("whole_feeds", "owner", 7, "ttl: 60s", BOUND),
    ]
}

/// The rules for these tables.
fn spec(tables: &[Table]) -> String {
    let rules = tables.iter().map(|Table { name, cache, .. }| {
        format!("    - {{name: {name}, match: {{tables: [{name}]}}, cache: {{{cache}}}}}\n")
    });
    format!("  rules:\n{}", rules.collect::<String>())
}

/// Proxies' configuration beside their policies; only the first of the replicas is read from.
const CONFIG: &str = "\
replicas: [\"postgres://postgres:password@127.0.0.1:$REPLICA/app\"]
pool: {size: 24, checkout_timeout: 20s}
health: {interval: 100ms, timeout: 5s}
max_lag: 1s
";

/// Servers with these tables, of which the second replica is the one that commits wait for.
async fn stage(tables: &[Table]) -> Stage {
    let stage = Stage::new().replicas(2).setting("wal_level = logical").start().await;
    let definitions: String = tables.iter().map(Table::define).collect();
    stage.primary.sql(&definitions).await;
    stage.primary.sql("CREATE PUBLICATION pointsman FOR ALL TABLES").await;
    trouble::synchronous(&stage).await;
    stage
}

/// Writers and readers at work, on servers that lag and stall.
struct Load {
    world: Arc<World>,
    begun: Instant,
    tasks: tokio::task::JoinSet<()>,
}

impl Load {
    fn begin(world: &Arc<World>, habits: Habits) -> Self {
        let mut tasks = tokio::task::JoinSet::new();
        for agent in 0..WRITERS {
            tasks.spawn(load::write(Arc::clone(world), agent, habits));
        }
        for number in 0..READERS {
            tasks.spawn(load::read(Arc::clone(world), number, habits));
        }
        tasks.spawn(trouble::lag(Arc::clone(world)));
        tasks.spawn(trouble::stall(Arc::clone(world)));
        Self { world: Arc::clone(world), begun: Instant::now(), tasks }
    }

    /// Sleeps until a part of the load's time is over; false if something was wrong before.
    async fn until(&self, part: f64) -> bool {
        let at = self.begun + span().mul_f64(part);
        while Instant::now() < at && !self.world.stopped() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        !self.world.stopped()
    }

    /// Waits for all to stop, and asserts that every answer is explained, and that the last ones are the truth.
    /// `counts` has what was counted by processes that are gone.
    async fn end(mut self, mut counts: Counts) -> Counts {
        self.until(1.0).await;
        self.world.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        for proxy in &self.world.proxies {
            trouble::count(proxy, &mut counts).await;
        }
        trouble::print(&self.world, &counts);
        self.world.assert_right();
        assert_quiet(&self.world).await;
        counts
    }
}

/// When nobody writes any more every proxy answers what the primary has, however it is asked.
async fn assert_quiet(world: &World) {
    world.stop.store(false, Ordering::Relaxed);
    let mut direct = Line::new(None);
    assert!(direct.ready(world).await, "the primary takes sessions");
    let mut truth = HashMap::new();
    for place in world.places() {
        let newest = load::newest(world, &mut direct, place, 0).await.expect("the primary answers");
        truth.insert((place.table, place.agent), newest);
    }
    let deadline = Instant::now() + QUIET;
    for number in 0..world.proxies.len() {
        let mut line = Line::new(Some(number));
        assert!(line.ready(world).await, "the proxy takes sessions");
        for (place, way) in world.places().flat_map(|place| (0..load::WAYS).map(move |way| (place, way))) {
            let expected = truth.get(&(place.table, place.agent)).copied();
            loop {
                let newest = load::newest(world, &mut line, place, way).await;
                if newest == expected {
                    break;
                }
                assert!(
                    Instant::now() < deadline,
                    "after quiet proxy {number} reads {newest:?} of {}, asked in way {way}; \
                     the primary has {expected:?}",
                    world.item(place).name
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// It was a test of the cache: much was served from memory, and much was not.
fn assert_worth(world: &World, counts: &Counts, reasons_min: usize) {
    let reads = |outcome| counted(counts, "pointsman_cache_reads_total", outcome);
    let hits = reads("hit") + reads("stale_hit") + reads("shared_hit");
    let all = hits + reads("followed") + reads("absent") + reads("invalidated") + reads("expired");
    // More than half on a quiet machine.
    assert!(hits > 0.1 * all, "only {hits} of {all} cached reads were served from memory");
    assert!(reads("invalidated") > 100.0, "{} reads met what was dropped", reads("invalidated"));
    let reasons = trouble::labels(counts, "pointsman_cache_not_stored_total");
    assert!(reasons.len() >= reasons_min, "fills were refused for {reasons:?} alone");
    assert!(world.slowest.load(Ordering::Relaxed) > 100_000, "no commit waited for the standby");
}

/// What happens to two proxies one after the other. The counters of the process that is killed.
async fn disturb(load: &Load, policies: &str) -> Counts {
    let (world, mut counts) = (&load.world, Counts::new());
    if load.until(0.15).await {
        assert_eq!(trouble::break_streams(&world.stage.primary).await, "2", "each proxy has its stream");
    }
    if load.until(0.3).await {
        trouble::count(&world.proxies[0], &mut counts).await;
        world.crash(0).await;
    }
    if load.until(0.4).await {
        let path = policies.trim_start_matches("policies: ").trim_end();
        let text = std::fs::read_to_string(path).expect("the policies are there");
        std::fs::write(path, text.replace("60s", "50s")).expect("the policies are written");
        world.proxies[1].signal("HUP");
    }
    // Too long for `max_staleness`; then too long for anything to be served.
    for (at, silence) in [(0.45, LAG_MAX.mul_f64(0.9)), (0.7, LAG_MAX.mul_f64(1.4))] {
        if load.until(at).await {
            trouble::silence_streams(&world.stage.primary, silence).await;
        }
    }
    counts
}

/// A load on two proxies, with what happens to them; `cache` is of their configuration, `also` goes on beside the load.
async fn explained(
    (stage, tables): (Stage, Vec<Table>),
    cache: &str,
    also: impl Future<Output = ()> + Send + 'static,
) -> Counts {
    let cache = format!("cache: {{changes: {{lag_max: {}s}}{cache}}}\n", LAG_MAX.as_secs());
    let policies = [policy(&stage, &spec(&tables)), policy(&stage, &spec(&tables))];
    let mut proxies = Vec::new();
    for policies in &policies {
        proxies.push(stage.proxy(&format!("{policies}{CONFIG}{cache}")).await);
    }
    let world = Arc::new(World::new(stage, proxies, tables));
    let mut load = Load::begin(&world, Habits { by_proxy: [40, 35], two_phases: Some(1), ..Habits::USUAL });
    load.tasks.spawn(also);
    let counts = disturb(&load, &policies[1]).await;
    let counts = load.end(counts).await;
    assert_worth(&world, &counts, 3);
    assert!(counted(&counts, "pointsman_cache_commits_total", "") > 100.0, "the streams brought commits");
    assert!(counted(&counts, "pointsman_cache_stream_breaks_total", "") >= 4.0, "the streams broke off");
    assert_eq!(world.read_errors[1].load(Ordering::Relaxed), 0, "who is not killed, answers");
    assert_eq!(world.proxies[1].metric("pointsman_reloads_total", &["taken"]).await, 1.0);
    counts
}

/// Two proxies that hear each other's writes by the stream of changes, and others'; one is killed and started again,
/// one is given other policies, the streams break and fall silent.
#[tokio::test]
async fn every_read_is_explained() {
    if Proxy::is_direct() {
        return;
    }
    let tables = tables();
    let stage = stage(&tables).await;
    explained((stage, tables), "", async {}).await;
}

/// The same where the proxies share results in Redis, which is killed and started again, and stalls.
#[tokio::test]
async fn every_shared_read_is_explained() {
    if Proxy::is_direct() {
        return;
    }
    let tables = tables();
    let stage = stage(&tables).await;
    let redis = Redis::start(&stage);
    let cache = format!(", {}", redis.config());
    let also = async move {
        tokio::time::sleep(span().mul_f64(0.2)).await;
        redis.kill();
        tokio::time::sleep(span().mul_f64(0.05)).await;
        redis.launch();
        tokio::time::sleep(span().mul_f64(0.3)).await;
        redis.signal("STOP");
        tokio::time::sleep(Duration::from_millis(500)).await;
        redis.signal("CONT");
        tokio::time::sleep(span().mul_f64(0.4)).await;
    };
    let counts = explained((stage, tables), &cache, also).await;
    let shared = counted(&counts, "pointsman_cache_reads_total", "shared_hit");
    assert!(shared > 20.0, "only {shared} reads were served from Redis");
}

/// Without a stream of changes, a proxy's own writes are always seen, though servers' sessions are ended while they
/// commit; others' are for as long as `max_staleness` allows.
#[tokio::test]
async fn own_writes_are_explained_without_a_stream() {
    if Proxy::is_direct() {
        return;
    }
    let tables = tables();
    let stage = stage(&tables).await;
    let config = format!("{}{CONFIG}cache: {{changes: {{mode: off}}}}\n", policy(&stage, &spec(&tables)));
    let proxy = stage.proxy(&config).await;
    let world = Arc::new(World::new(stage, vec![proxy], tables));
    let mut load = Load::begin(&world, Habits { by_proxy: [100, 0], ..Habits::USUAL });
    load.tasks.spawn(trouble::kill(Arc::clone(&world)));
    let counts = load.end(Counts::new()).await;
    assert_worth(&world, &counts, 2);
    let lost = world.doubts.load(Ordering::Relaxed);
    assert!(lost > 5, "only {lost} writes were lost");
}
