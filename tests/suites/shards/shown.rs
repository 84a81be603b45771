//! What `EXPLAIN ROUTE`, `pointsman explain`, the console and metrics say of shards is what is done.
use std::process::Command;

use pointsman_tests::proxy::program;
use pointsman_tests::{Proxy, SOCIAL, Stage, Wire};

use super::world;
use crate::common::{ADMIN, show};

async fn setting() -> Option<(Stage, Proxy, Wire)> {
    if Proxy::is_direct() {
        return None;
    }
    let stage = world::empty(Stage::new().shards(4)).await;
    let proxy = world::proxy(&stage, ADMIN).await;
    let wire = world::social(&proxy).await;
    Some((stage, proxy, wire))
}

/// `item: value`, line by line.
async fn explained(wire: &mut Wire, sql: &str) -> String {
    let frames = wire.run(&format!("EXPLAIN ROUTE {sql}")).await;
    let rows = frames.iter().filter(|frame| frame.tag == b'D').map(|frame| frame.values());
    let line = |row: Vec<Option<String>>| row.into_iter().flatten().collect::<Vec<_>>().join(": ");
    rows.map(line).collect::<Vec<_>>().join("\n")
}

const ONE: &str = "SELECT name FROM agents WHERE id = 6";
const SEVERAL: &str = "SELECT name FROM agents WHERE id IN (6, 7) ORDER BY id LIMIT 10";
const NOT_ONE_BY_ONE: &str = "SELECT id, random() FROM agents";

#[tokio::test]
async fn an_explanation_names_shards_and_texts() {
    let Some((_stage, proxy, mut wire)) = setting().await else { return };
    let told = explained(&mut wire, ONE).await;
    for part in ["agents: shard key id, by modulo", "1 of 4 (shard 2), by agents.id = 6", "to that shard"] {
        assert!(told.contains(part), "{part}:\n{told}");
    }
    let told = explained(&mut wire, SEVERAL).await;
    for part in ["2 of 4 (shards 2, 3), by agents.id IN (6, 7)", "LIMIT 10", "sent to each: SELECT name"] {
        assert!(told.contains(part), "{part}:\n{told}");
    }
    assert!(explained(&mut wire, NOT_ONE_BY_ONE).await.contains("over several: refused (function): "));
    wire.run("BEGIN; SELECT 1 FROM agents WHERE id = 6").await;
    assert!(explained(&mut wire, ONE).await.contains("1 of 4 (shard 2)"));
    wire.run("COMMIT").await;
    let config = proxy.config_path().to_str().expect("a path");
    let output = Command::new(program())
        .args(["explain", "--config", config, "--database", SOCIAL, SEVERAL])
        .output()
        .expect("the program runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("2 of 4 (shards 2, 3), by agents.id IN (6, 7)"), "{told}{output:?}");
}

#[tokio::test]
async fn counts_are_of_what_was_done() {
    let Some((_stage, proxy, mut wire)) = setting().await else { return };
    let console = proxy.console().await;
    let shards = show(&console, "SHOW SHARDS").await;
    let clusters: Vec<&str> = shards.iter().map(|row| row["cluster"].as_str()).collect();
    assert_eq!(clusters, ["s0", "s1", "s2", "s3"], "{shards:?}");
    assert!(shards.iter().all(|row| row["state"] == "up" && row["database"] == SOCIAL), "{shards:?}");
    wire.run(SEVERAL).await;
    wire.run("INSERT INTO agents (id, name) VALUES (6, 'a'), (7, 'b')").await;
    assert_eq!(wire.error(NOT_ONE_BY_ONE).await, "0A000");
    let stats = show(&console, "SHOW SHARD_STATS").await;
    let count = |what: &str| {
        let rows = stats.iter().filter(|row| row["what"] == what);
        rows.map(|row| row["count"].parse::<u32>().expect("a number")).sum::<u32>()
    };
    assert_eq!(["gathered", "written", "committed", "refused"].map(count), [1, 1, 1, 1], "{stats:?}");
    let labels = [format!("database=\"{SOCIAL}\""), "outcome=\"gathered\"".to_owned()];
    let labels = labels.each_ref().map(String::as_str);
    assert!((proxy.metric("pointsman_shards_statements_total", &labels).await - 1.0).abs() < 0.1);
    assert_eq!(show(&console, "SHOW TWO_PHASE").await.len(), 0);
}
