//! A real Cluster of three nodes: entries and tags over all slots, a node that dies, slots that move.

use std::time::{Duration, Instant};

use pointsman_cache::Key;
use pointsman_shared::{BusEvent, Miss, SharedConfig};

use super::common::*;
use super::server::{Cluster, Redis};

fn of(cluster: &Cluster) -> SharedConfig {
    SharedConfig { cluster: true, ..config(cluster.urls()) }
}

fn names(number: usize) -> (String, [String; 3]) {
    (format!("key {number}"), [number, number + 1, number * 7].map(|tag| format!("tag {tag}")))
}

async fn fill(proxy: &Proxy, number: usize) {
    let (key, names) = names(number);
    proxy.fill(key.as_bytes(), &tags(names.iter().map(String::as_str)), key.as_bytes()).await;
}

async fn served(proxy: &Proxy, number: usize) -> bool {
    let (key, _) = names(number);
    proxy.rows(key.as_bytes()).await.is_some_and(|rows| rows == key.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_and_tags_lie_on_all_nodes() {
    let cluster = Cluster::start();
    let mut one = Proxy::open(of(&cluster)).await;
    let two = Proxy::open(of(&cluster)).await;
    assert!(matches!(one.event().await, BusEvent::Invalidate { .. }));
    for number in 0..300 {
        fill(&one, number).await;
    }
    for node in &cluster.nodes {
        assert!(node.keys("pointsman:e:*").len() > 50 && node.keys("pointsman:t:*").len() > 50);
    }
    for number in 0..300 {
        assert!(served(&two, number).await, "{number}");
    }
    for number in (0..300).step_by(10) {
        two.publish(&tags([format!("tag {number}").as_str()])).await;
    }
    for number in 0..300 {
        let invalid = [number, number + 1, number * 7].iter().any(|tag| tag % 10 == 0 && *tag < 300);
        assert_eq!(served(&one, number).await, !invalid, "{number}");
    }
    let BusEvent::Invalidate { tags: heard, .. } = one.event().await else { panic!("no mark") };
    assert_eq!(heard, tags(["tag 0"]));
    two.publish(&pointsman_cache::Tags::everything()).await;
    for number in 0..300 {
        assert!(!served(&one, number).await, "{number}");
    }
    assert_eq!((one.counts().gaps, one.counts().sessions), ([0; 6], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_costs_no_more_than_misses_and_brings_nothing_old_back() {
    let mut cluster = Cluster::start();
    let one = Proxy::open(of(&cluster)).await;
    let two = Proxy::begin(of(&cluster));
    two.opens().await;
    for number in 0..60 {
        fill(&one, number).await;
    }
    for node in &cluster.nodes {
        node.ask(&["SAVE"]);
    }
    // What the node that dies has saved is invalid when it comes back.
    for number in 0..60 {
        two.publish(&tags([format!("tag {number}").as_str()])).await;
    }
    cluster.nodes[1].kill();
    let start = Instant::now();
    for round in 0..300 {
        let (key, _) = names(round % 60);
        let found = one.get(key.as_bytes()).await;
        assert!(matches!(found, Ok(None) | Err(_)), "{found:?}");
    }
    // Nobody waits for a node that is not there.
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    one.closes().await;
    // A call finds out, or whoever watches the connection does first.
    let misses = one.counts().misses;
    assert!(misses[Miss::Down.index()] + misses[Miss::Closed.index()] > 0, "{:?}", one.counts());
    cluster.nodes[1].launch();
    cluster.wait_whole();
    eventually("both are open", || {
        one.database.is_open() && two.counts().sessions > 1 && two.database.is_open()
    })
    .await;
    assert!(!cluster.nodes[1].keys("pointsman:e:*").is_empty(), "it came back empty");
    for number in 0..60 {
        assert!(!served(&one, number).await && !served(&two, number).await, "{number}");
    }
    fill(&one, 5).await;
    assert!(served(&two, 5).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_move_are_found_again() {
    let cluster = Cluster::start();
    let proxy = Proxy::open(of(&cluster)).await;
    let name = entry_name(b"key");
    let slot: i64 = redis::from_redis_value(cluster.nodes[0].ask(&["CLUSTER", "KEYSLOT", &name])).unwrap();
    let entry = proxy.fill(b"key", &tags(["a"]), b"rows").await;
    let id_of = |node: &Redis| -> String { redis::from_redis_value(node.ask(&["CLUSTER", "MYID"])).unwrap() };
    let from = cluster.nodes.iter().position(|node| !node.keys(&name).is_empty()).expect("somewhere");
    let to = (from + 1) % 3;
    // An empty slot may be given away at once.
    cluster.nodes[from].ask(&["DEL", &name]);
    let new = id_of(&cluster.nodes[to]);
    for node in [to, from, (from + 2) % 3] {
        for key in cluster.nodes[node].keys("*") {
            let at: i64 =
                redis::from_redis_value(cluster.nodes[0].ask(&["CLUSTER", "KEYSLOT", &key])).unwrap();
            if at == slot {
                cluster.nodes[node].ask(&["DEL", &key]);
            }
        }
        cluster.nodes[node].ask(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &new]);
    }
    assert_eq!(proxy.database.put(Key::new(b"key"), &entry, LIFE).await, Err(Miss::Moved));
    assert_eq!(proxy.get(b"key").await, Err(Miss::Closed));
    eventually("it is open again", || proxy.counts().sessions > 1 && proxy.database.is_open()).await;
    proxy.fill(b"key", &tags(["a"]), b"rows").await;
    assert!(proxy.rows(b"key").await.is_some());
    assert_eq!(cluster.nodes[to].keys(&name).len(), 1);
}
