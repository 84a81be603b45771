//! A client that is idle in a transaction over several shards for too long is told what one server tells, and all shards roll back.
use std::time::{Duration, Instant};

use pointsman_tests::{Frame, Proxy, Stage, Wire, pretty};

use super::seen::everywhere;
use super::world::{self, World};

const SOON: Duration = Duration::from_secs(10);

async fn stage() -> Stage {
    let stage = world::empty(Stage::new().shards(4)).await;
    World::new(&stage).await.reset().await;
    stage
}

/// Begins a transaction that has written on two shards.
async fn begin(wire: &mut Wire) {
    wire.run("BEGIN").await;
    wire.run("UPDATE agents SET name = 'idle' WHERE id = 1").await;
    wire.run("UPDATE agents SET name = 'idle' WHERE id = 2").await;
}

/// The session ends with this error, and nothing is left of its transaction.
async fn ends(stage: &Stage, wire: &mut Wire, state: &str) {
    let frames = wire.until_closed().await;
    let error = frames.iter().find(|frame| frame.tag == b'E');
    assert_eq!(error.map(Frame::sqlstate).as_deref(), Some(state), "{}", pretty(&frames));
    assert_eq!(error.map(|error| error.field('S')).as_deref(), Some("FATAL"));
    let mut parts = world::parts(stage).await;
    for part in &mut parts {
        part.run("SET lock_timeout = '10s'").await;
    }
    // What it has written waits for it as long as it is there.
    let none =
        everywhere(&mut parts, "UPDATE agents SET score = 1 WHERE name = 'idle' OR id < 3 RETURNING name")
            .await;
    assert!(!none.contains(&"idle".to_owned()), "{none:?}");
}

/// The time that the client sets for itself.
#[tokio::test]
async fn a_client_s_own_limit_holds() {
    let stage = stage().await;
    let proxy = world::proxy(&stage, "").await;
    let mut wire = world::social(&proxy).await;
    wire.run("SET idle_in_transaction_session_timeout = '600ms'").await;
    begin(&mut wire).await;
    let since = Instant::now();
    ends(&stage, &mut wire, "25P03").await;
    assert!(since.elapsed() > Duration::from_millis(500) && since.elapsed() < SOON, "{:?}", since.elapsed());
}

/// The time that the configuration sets is the client's, not each shard's; and a failed transaction has it, too.
#[tokio::test]
async fn a_configured_limit_holds() {
    if Proxy::is_direct() {
        return;
    }
    let stage = stage().await;
    let proxy = world::proxy(&stage, &stage.shard_pools("idle_transaction_timeout: 800ms")).await;
    let mut wire = world::social(&proxy).await;
    begin(&mut wire).await;
    let since = Instant::now();
    // One shard is busy for longer than the other may be idle.
    while since.elapsed() < Duration::from_millis(1600) {
        wire.run("SELECT pg_sleep(0.2) FROM agents WHERE id = 1").await;
    }
    wire.run("UPDATE agents SET name = 'kept' WHERE id = 2").await;
    wire.run("COMMIT").await;
    let kept =
        everywhere(&mut world::parts(&stage).await, "SELECT name FROM agents WHERE id IN (1, 2)").await;
    assert_eq!(kept, ["idle", "kept"]);
    wire.run("UPDATE agents SET name = 'free' WHERE id < 3").await;
    begin(&mut wire).await;
    assert_eq!(wire.error("SELECT 1 / 0").await, "22012");
    let since = Instant::now();
    ends(&stage, &mut wire, "25P03").await;
    assert!(since.elapsed() > Duration::from_millis(700) && since.elapsed() < SOON, "{:?}", since.elapsed());
    // One that has come to no shard yet.
    let mut wire = world::social(&proxy).await;
    wire.run("BEGIN").await;
    ends(&stage, &mut wire, "25P03").await;
}

/// A shard that ends its part while the client is idle ends all of it, at once.
#[tokio::test]
async fn a_shard_s_end_is_told() {
    let stage = stage().await;
    let proxy = world::proxy(&stage, "").await;
    let mut wire = world::social(&proxy).await;
    begin(&mut wire).await;
    let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' \
                 AND query LIKE '%WHERE id = 2%'";
    assert_eq!(stage.primary.value(&format!("SELECT count(*)::text FROM ({ended}) AS ended")).await, "1");
    ends(&stage, &mut wire, "57P01").await;
}
