//! Proxies that share results in Redis, and hear of each other's writes.
use std::time::Duration;

use pointsman_tests::{Proxy, Redis, Stage, Wire, eventually};

use crate::cached::{agents, caching, comes_to, counted, logical, rule, warm};
use crate::common::SOON;

/// Two proxies of a fleet, which share this Redis.
async fn fleet(stage: &Stage, spec: &str, redis: &Redis, changes: &str) -> (Proxy, Proxy) {
    let config = format!("cache: {{{}{changes}}}\n", redis.config());
    let proxies = (caching(stage, spec, &config).await, caching(stage, spec, &config).await);
    for proxy in [&proxies.0, &proxies.1] {
        // A ledger is kept from the first session on.
        proxy.wire().await;
        let open = || async {
            proxy.metric("pointsman_cache_shared_open", &["\"app\""]).await == 1.0
                && proxy.metric("pointsman_cache_open", &["\"app\""]).await == 1.0
        };
        eventually("the shared store is open", SOON, open).await;
    }
    proxies
}

/// Reads that the other proxy's results served.
async fn shared_hits(proxy: &Proxy) -> f64 {
    proxy.metric("pointsman_cache_reads_total", &["outcome=\"shared_hit\""]).await
}

/// Has one proxy share a read and the other find it; a new text each time, since a mark of anything in between keeps it from being
/// shared. The text that was found.
async fn shared_read(
    table: &str,
    round: u32,
    (one, two): (&Proxy, &Proxy),
    (first, second): (&mut Wire, &mut Wire),
    expected: &str,
) -> String {
    for attempt in 0..20 {
        let read = format!(
            "SELECT min(said) FROM {table} WHERE agent_id = 3 AND {round} = {round} AND {attempt} >= 0"
        );
        let stored = one.metric("pointsman_cache_shared_stored_total", &[]).await;
        warm(one, first, &read).await;
        if one.metric("pointsman_cache_shared_stored_total", &[]).await == stored {
            continue;
        }
        let before = shared_hits(two).await;
        comes_to(second, &read, expected).await;
        if shared_hits(two).await > before {
            return read;
        }
    }
    panic!("nothing is shared: {}", counted(two).await);
}

/// Two proxies share results by Redis, and hear of each other's writes: with a change stream, and without one.
#[tokio::test]
async fn a_fleet_shares_results_and_invalidations() {
    let (stage, _turn) = logical().await;
    for changes in ["", ", changes: {mode: off}"] {
        let (table, redis) = (agents(stage, "fleet").await, Redis::start(stage));
        let spec = rule(&format!("{table}], user: app, reads: [{table}"), ", invalidate_by: [agent_id]");
        let spec = spec.replace("cache:", "route: primary, cache:");
        let (one, two) = fleet(stage, &spec, &redis, changes).await;
        let (mut first, mut second) = (one.wire().await, two.wire().await);
        for round in 0..5 {
            let expected = if round == 0 { "first".to_owned() } else { format!("said {}", round - 1) };
            let read = shared_read(&table, round, (&one, &two), (&mut first, &mut second), &expected).await;
            warm(&two, &mut second, &read).await;
            // What one writes, the other no longer has.
            let said = format!("said {round}");
            first.run(&format!("UPDATE {table} SET said = '{said}' WHERE agent_id = 3")).await;
            assert_eq!(first.value(&read).await, said);
            comes_to(&mut second, &read, &said).await;
        }
    }
}

/// Whatever is wrong with Redis, clients are served as without it, and nothing that is no longer true.
#[tokio::test]
async fn redis_may_fail_in_any_way() {
    let (stage, _turn) = logical().await;
    let (table, redis) = (agents(stage, "failing").await, Redis::start(stage));
    let spec = rule(&table, ", invalidate_by: [agent_id]").replace("cache:", "route: primary, cache:");
    let (one, two) = fleet(stage, &spec, &redis, "").await;
    let (mut first, mut second) = (one.wire().await, two.wire().await);
    let mut number = 0;
    let mut write_and_read = async |what: &str| {
        number += 1;
        let said = format!("{what} {number}");
        let read = format!("SELECT min(said) FROM {table} WHERE agent_id = 3");
        first.run(&format!("UPDATE {table} SET said = '{said}' WHERE agent_id = 3")).await;
        for _ in 0..5 {
            assert_eq!(first.value(&read).await, said, "{what}");
        }
        comes_to(&mut second, &read, &said).await;
    };
    write_and_read("whole").await;
    // Garbage in place of every entry.
    for line in redis.ask(&["KEYS", "*"]).lines().filter(|line| line.starts_with("pointsman:")) {
        redis.ask(&["SET", line.trim(), "garbage"]);
    }
    write_and_read("garbage").await;
    redis.ask(&["FLUSHALL"]);
    write_and_read("emptied").await;
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    write_and_read("full").await;
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    redis.signal("STOP");
    let since = std::time::Instant::now();
    for _ in 0..20 {
        write_and_read("frozen").await;
    }
    let took = since.elapsed();
    assert!(
        took < Duration::from_secs(8),
        "a Redis that does not answer costs its deadline once, not {took:?}"
    );
    redis.signal("CONT");
    write_and_read("thawed").await;
    redis.kill();
    write_and_read("killed").await;
    redis.launch();
    let open = || async { one.metric("pointsman_cache_shared_open", &["\"app\""]).await == 1.0 };
    eventually("it is used again", Duration::from_secs(20), open).await;
    write_and_read("back").await;
}
