//! After a failover writes go to the primary on the newest timeline and to no other.
use std::time::Duration;

use pointsman_tests::{Proxy, Stage, Wire};

use crate::common::unique;

/// Writes until one is taken by `server`'s log.
async fn writes_reach(proxy: &Proxy, stage: &Stage, table: &str, server: &str) {
    for _ in 0..300 {
        let marker = unique("failover");
        let mut wire: Wire = proxy.wire().await;
        wire.query(&format!("INSERT INTO {table} VALUES (1) /* {marker} */")).await;
        if stage.served_by(&marker) == server {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("writes do not reach {server}");
}

/// A stale primary after failover: it is fenced by its timeline though it still takes connections.
#[tokio::test]
async fn a_stale_primary_is_fenced() {
    let stage = Stage::new().replicas(1).start().await;
    let proxy = stage.proxy("health: {interval: 100ms, timeout: 1s}\n").await;
    let table = unique("fenced");
    proxy.wire().await.run(&format!("CREATE TABLE {table} (id int)")).await;
    stage.wait_replayed().await;
    stage.replica().promote().await;
    writes_reach(&proxy, &stage, &table, "replica0").await;
    let mut wire = proxy.wire().await;
    for _ in 0..50 {
        let marker = unique("after");
        wire.run(&format!("INSERT INTO {table} VALUES (2) /* {marker} */")).await;
        assert_eq!(stage.served_by(&marker), "replica0");
        assert_eq!(wire.value(&format!("SELECT id FROM {table} ORDER BY id DESC LIMIT 1")).await, "2");
    }
    let own = proxy.wire().await.value(&format!("SELECT count(*) FROM {table} WHERE id = 2")).await;
    assert_eq!(own, "50", "no read goes to the stale primary");
}

/// The old primary dies, the replica is promoted, the old one comes back as what it was: it stays fenced.
#[tokio::test]
async fn an_old_primary_that_returns_is_fenced() {
    let stage = Stage::new().replicas(1).start().await;
    let proxy = stage.proxy("health: {interval: 100ms, timeout: 1s}\n").await;
    let table = unique("returned");
    proxy.wire().await.run(&format!("CREATE TABLE {table} (id int)")).await;
    stage.wait_replayed().await;
    stage.primary.stop("KILL").await;
    stage.replica().promote().await;
    writes_reach(&proxy, &stage, &table, "replica0").await;
    stage.primary.start().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for _ in 0..50 {
        let marker = unique("returned_write");
        proxy.wire().await.run(&format!("INSERT INTO {table} VALUES (1) /* {marker} */")).await;
        assert_eq!(stage.served_by(&marker), "replica0");
    }
}

/// Idle clients follow the primary without connecting anew.
#[tokio::test]
async fn idle_clients_follow_the_primary() {
    let stage = Stage::new().replicas(1).start().await;
    let proxy = stage.proxy("health: {interval: 100ms, timeout: 1s}\n").await;
    let table = unique("followed");
    let mut idle = proxy.wire().await;
    idle.run(&format!("CREATE TABLE {table} (id int)")).await;
    stage.wait_replayed().await;
    stage.primary.stop("INT").await;
    stage.replica().promote().await;
    writes_reach(&proxy, &stage, &table, "replica0").await;
    idle.run(&format!("INSERT INTO {table} VALUES (3)")).await;
    assert_eq!(idle.value(&format!("SELECT count(*) FROM {table} WHERE id = 3")).await, "1");
}
