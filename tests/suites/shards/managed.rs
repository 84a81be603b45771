//! The console speaks of a sharded database by its name, and acts on all of its shards.
use std::time::Duration;

use pointsman_tests::{Proxy, SOCIAL, Stage, Wire, eventually, msg, tags};

use super::world::{self, World};
use crate::common::{ADMIN, SOON, row_of, show};

/// Long enough for what must not happen to happen.
const A_WHILE: Duration = Duration::from_millis(300);

async fn setting() -> Option<(Stage, Proxy, Wire)> {
    if Proxy::is_direct() {
        return None;
    }
    let stage = world::empty(Stage::new().shards(4)).await;
    World::new(&stage).await.reset().await;
    let proxy = world::proxy(&stage, ADMIN).await;
    let wire = world::social(&proxy).await;
    Some((stage, proxy, wire))
}

#[tokio::test]
async fn a_pause_is_of_every_shard() {
    let Some((_stage, proxy, mut wire)) = setting().await else { return };
    let (mut console, watch) = (Wire::login(proxy.port, "alice", "pointsman").await, proxy.console().await);
    wire.run("BEGIN").await;
    wire.run("UPDATE agents SET name = 'x' WHERE id IN (2, 3)").await;
    console.send(&msg::query(&format!("PAUSE {SOCIAL}"))).await;
    eventually("the pause has begun", SOON, || async {
        show(&watch, "SHOW SHARDS").await.iter().all(|row| row["paused"] == "1")
    })
    .await;
    console.quiet(A_WHILE).await;
    wire.run("UPDATE agents SET name = 'y' WHERE id = 3").await;
    wire.run("COMMIT").await;
    assert_eq!(tags(&console.until(b'Z').await), "CZ");
    for id in 0..4 {
        let mut one = world::social(&proxy).await;
        one.send(&msg::query(&format!("SELECT count(*) FROM agents WHERE id = {id}"))).await;
        one.quiet(A_WHILE / 3).await;
    }
    let databases = show(&watch, "SHOW DATABASES").await;
    let ours: Vec<_> = databases.iter().filter(|row| row["name"] == SOCIAL).collect();
    let told: Vec<[&str; 4]> = ours
        .iter()
        .map(|row| [&*row["cluster"], &*row["database"], &*row["paused"], &*row["configured"]])
        .collect();
    let want = [
        ["s0", "shard0", "1", "1"],
        ["s1", "shard1", "1", "1"],
        ["s2", "shard2", "1", "1"],
        ["s3", "shard3", "1", "1"],
    ];
    assert_eq!(told, want, "{databases:?}");
    wire.send(&msg::query("SELECT count(*) FROM agents")).await;
    wire.quiet(A_WHILE).await;
    assert_eq!(tags(&console.query(&format!("RESUME {SOCIAL}")).await), "CZ");
    assert_eq!(tags(&wire.until(b'Z').await), "TDCZ");
    assert_eq!(console.error(&format!("RESUME {SOCIAL}")).await, "55000");
    let frames = console.query("PAUSE socail").await;
    assert_eq!(frames[0].sqlstate(), "3D000");
    assert!(frames[0].field('H').contains("Did you mean \"social\"?"), "{}", frames[0]);
}

#[tokio::test]
async fn a_pause_that_is_given_up_leaves_nothing_behind() {
    let Some((_stage, proxy, mut wire)) = setting().await else { return };
    let watch = proxy.console().await;
    wire.run("BEGIN").await;
    wire.run("UPDATE agents SET name = 'x' WHERE id = 3").await;
    let mut console = Wire::login(proxy.port, "alice", "pointsman").await;
    console.send(&msg::query(&format!("PAUSE {SOCIAL}"))).await;
    let all = |paused: &'static str| {
        let watch = &watch;
        move || async move { show(watch, "SHOW SHARDS").await.iter().all(|row| row["paused"] == paused) }
    };
    eventually("the pause has begun", SOON, all("1")).await;
    drop(console);
    eventually("it is taken back", SOON, all("0")).await;
    wire.run("COMMIT").await;
    assert_eq!(wire.value("SELECT count(*) FROM agents WHERE name = 'x'").await, "1");
}

#[tokio::test]
async fn tables_name_it_as_clients_do() {
    let Some((_stage, proxy, mut wire)) = setting().await else { return };
    let console = proxy.console().await;
    wire.run("SELECT count(*) FROM agents").await;
    let pools = show(&console, "SHOW POOLS").await;
    let ours: Vec<_> = pools.iter().filter(|row| row["user"] == "app").collect();
    assert!(ours.iter().all(|row| row["database"] == SOCIAL), "{pools:?}");
    let clients: u32 = ours.iter().map(|row| row["cl_active"].parse::<u32>().expect("a number")).sum();
    assert_eq!((ours.len(), clients), (4, 1), "{pools:?}");
    for (key, value) in [
        ("shards", "s0,s1,s2,s3"),
        ("cross_shard_writes", "two_phase"),
        ("coordinator", ""),
        ("gather_bytes_max", "67108864"),
        ("node", "leased"),
    ] {
        let row = row_of(&console, "SHOW CONFIG", "key", &format!("sharded[{SOCIAL}].{key}")).await;
        assert_eq!(row["value"], value, "{row:?}");
    }
}
