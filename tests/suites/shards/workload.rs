//! The example platform's queries over shards say what they say over one database.
use std::process::Command;

use pointsman_tests::{Frame, Proxy, SOCIAL, Stage, Wire, msg, pretty, tools};

use super::world;
use crate::common::policy;

const SPEC: &str = "\x20 tables:
    agents: {shard_key: id}
    interactions: {shard_key: initiator_id}
    friendships: {shard_key: initiator_id}
    communities: {reference: true}
";

fn example(path: &str) -> String {
    let path = format!("{}/../examples/workload/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A hundred agents' rows, or those of one shard.
fn rows(table: &str, shard: Option<(usize, usize)>) -> String {
    let generate = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/workload/generate.py");
    let mut command = Command::new("python3");
    command.args([generate, "rows", table, "--scale", "0.001"]);
    if let Some((shard, shards)) = shard {
        command.args(["--shard", &shard.to_string(), "--shards", &shards.to_string()]);
    }
    tools::run(&mut command)
}

async fn load(wire: &mut Wire, shard: Option<(usize, usize)>) {
    wire.run(&example("schema.sql")).await;
    for table in ["communities", "agents", "friendships", "interactions"] {
        wire.send(&msg::query(&format!("COPY {table} FROM STDIN"))).await;
        wire.send(&msg::copy_data(rows(table, shard).as_bytes())).await;
        let frames = wire.ask(&msg::copy_done()).await;
        assert!(frames.iter().all(|frame| frame.tag != b'E'), "{table}: {}", pretty(&frames));
    }
    // What remains is for speed, and cannot be run in one text.
    let keys = example("indexes.sql");
    let keys: Vec<&str> = keys.lines().filter(|line| line.starts_with("ALTER TABLE")).collect();
    wire.run(&keys.join("\n")).await;
}

/// A query of the workload without what is for pgbench.
fn query(name: &str) -> String {
    let text = example(&format!("queries/{name}.sql"));
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(['\\', '-'])).collect();
    lines.join(" ").trim_end_matches(';').to_owned()
}

async fn setting() -> (Stage, Proxy) {
    let stage = Stage::new().shards(4).start().await;
    load(&mut world::whole(&stage).await, None).await;
    if Proxy::is_direct() {
        load(&mut Wire::login(stage.primary.port, "app", SOCIAL).await, None).await;
    } else {
        for (number, shard) in stage.shards.iter().enumerate() {
            load(&mut shard.wire().await, Some((number, stage.shards.len()))).await;
        }
    }
    let proxy = stage.proxy(&policy(&stage, SPEC)).await;
    (stage, proxy)
}

fn rows_of(frames: &[Frame]) -> Vec<Vec<Option<String>>> {
    frames.iter().filter(|frame| frame.tag == b'D').map(Frame::values).collect()
}

/// The reads, for agents with many friends and with few, as simple and as prepared statements.
#[tokio::test]
async fn reads_say_the_same() {
    let (stage, proxy) = setting().await;
    let (mut whole, mut sharded) = (world::whole(&stage).await, world::social(&proxy).await);
    for name in ["agent", "friends", "feed", "compatible"] {
        let sql = query(name);
        for aid in [1, 2, 3, 4, 5, 17, 42, 99, 100, 101] {
            let plain = sql.replace(":aid", &aid.to_string());
            let prepared = msg::statement(&sql.replace(":aid", "$1::bigint"), &[Some(&aid.to_string())]);
            for bytes in [msg::query(&plain), [prepared, msg::sync()].concat()] {
                let (want, got) = (whole.ask(&bytes).await, sharded.ask(&bytes).await);
                let (mut want, mut found) = (rows_of(&want), rows_of(&got));
                if name == "friends" {
                    // Friends of equal strength come in any order.
                    want.sort();
                    found.sort();
                }
                assert_eq!(
                    found,
                    want,
                    "{name} of {aid}: {plain}\n{}",
                    pretty(&got[got.len().saturating_sub(3)..])
                );
            }
        }
    }
}

/// The write, as one transaction.
#[tokio::test]
async fn writes_go_to_the_initiator() {
    let (stage, proxy) = setting().await;
    let mut wire = world::social(&proxy).await;
    let sql = query("record");
    for aid in 1..=8 {
        for part in sql.replace(":aid", &aid.to_string()).replace(":rid", "9").split(';') {
            // Identities of the shards overlap with what was loaded: ids are given out by the platform.
            let id = 100_000 + aid;
            let part = part
                .replace("interactions (", "interactions (id, ")
                .replace("VALUES (", &format!("VALUES ({id}, "));
            wire.run(&part).await;
        }
    }
    let mut parts = world::parts(&stage).await;
    let sql = "SELECT initiator_id FROM interactions WHERE id > 100000";
    assert_eq!(super::seen::everywhere(&mut parts, sql).await, ["1", "2", "3", "4", "5", "6", "7", "8"]);
}
