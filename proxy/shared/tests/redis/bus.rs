//! The bus: whatever may have been missed is a gap, and nothing else is.

use std::time::Duration;

use pointsman_cache::Tags;
use pointsman_shared::{BusEvent, GapReason, SharedConfig};

use super::common::*;
use super::server::Redis;

const CHANNEL: &[u8] = b"pointsman:bus";

/// A message as another proxy would write it.
fn message(kind: u8, sender: u64, sequence: u64, tags: &[u64]) -> Vec<u8> {
    let database = if kind < 2 { 0 } else { id().number() };
    let numbers = [sender, sequence, database].into_iter().chain(tags.iter().copied());
    [b"PMb1".to_vec(), vec![kind], numbers.flat_map(u64::to_le_bytes).collect()].concat()
}

fn say(redis: &Redis, message: &[u8]) {
    redis.ask_bytes(&[b"PUBLISH", CHANNEL, message]);
}

async fn gap(proxy: &mut Proxy, reason: GapReason) {
    assert_eq!(proxy.event().await, BusEvent::Gap(reason));
    assert_eq!(proxy.event().await, BusEvent::Open);
    assert!(proxy.counts().gaps[reason.index()] > 0);
}

async fn marked(proxy: &mut Proxy, name: &str) {
    let BusEvent::Invalidate { tags: heard, .. } = proxy.event().await else { panic!("no mark of {name}") };
    assert_eq!(heard, tags([name]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_a_gap_and_is_mended() {
    let redis = Redis::start(&[]);
    let mut ear = Proxy::open(config(vec![redis.url()])).await;
    let mouth = Proxy::open(config(vec![redis.url()])).await;
    assert!(matches!(ear.event().await, BusEvent::Invalidate { .. }));
    for round in 0..3 {
        redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        gap(&mut ear, GapReason::Lost).await;
        mouth.publish(&tags(["a"])).await;
        marked(&mut ear, "a").await;
        assert_eq!(ear.counts().gaps[GapReason::Lost.index()], round + 1);
    }
    // The store was never in doubt.
    assert_eq!(ear.counts().sessions, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_not_heard_is_a_gap() {
    let redis = Redis::start(&[]);
    let mut ear = Proxy::open(config(vec![redis.url()])).await;
    let a = tag("a").number();
    say(&redis, &message(3, 7, 40, &[a]));
    marked(&mut ear, "a").await;
    say(&redis, &message(3, 7, 41, &[a]));
    marked(&mut ear, "a").await;
    say(&redis, &message(3, 7, 43, &[a]));
    gap(&mut ear, GapReason::Sequence).await;
    marked(&mut ear, "a").await;
    // The last one is found out by the heartbeat.
    say(&redis, &message(0, 7, 43, &[]));
    say(&redis, &message(0, 7, 44, &[]));
    gap(&mut ear, GapReason::Sequence).await;
    say(&redis, &message(2, 7, 45, &[]));
    let all = BusEvent::Invalidate { database: id(), tags: Tags::everything(), sender: 7 };
    assert_eq!(ear.event().await, all);
    say(&redis, &message(1, 7, 45, &[]));
    assert_eq!(ear.counts().gaps[GapReason::Sequence.index()], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_a_gap() {
    let redis = Redis::start(&[]);
    let mut ear = Proxy::open(config(vec![redis.url()])).await;
    let good = message(3, 7, 1, &[5]);
    let later = [b"PMb2", &good[4..]].concat();
    for garbage in [&b""[..], b"hello", &good[..20], &good[..good.len() - 1], &later] {
        say(&redis, garbage);
        gap(&mut ear, GapReason::Garbage).await;
    }
    say(&redis, &message(3, 7, 1, &[tag("a").number()]));
    marked(&mut ear, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_falls_silent_leaves_a_gap() {
    let redis = Redis::start(&[]);
    let brief = SharedConfig { silence: Duration::from_millis(400), ..config(vec![redis.url()]) };
    let mut ear = Proxy::open(brief).await;
    say(&redis, &message(0, 7, 0, &[]));
    gap(&mut ear, GapReason::Departed).await;
    // One that says that it leaves does not.
    say(&redis, &message(0, 8, 0, &[]));
    say(&redis, &message(1, 8, 0, &[]));
    let event = tokio::time::timeout(Duration::from_millis(1200), ear.bus.next()).await;
    assert!(event.is_err(), "{event:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_a_gap() {
    let redis = Redis::start(&[]);
    let brief = SharedConfig {
        silence: Duration::from_millis(300),
        patience: Duration::from_millis(300),
        ..config(vec![redis.url()])
    };
    let mut ear = Proxy::open(brief).await;
    redis.freeze();
    assert_eq!(ear.event().await, BusEvent::Gap(GapReason::Silence));
    redis.thaw();
    assert_eq!(ear.event().await, BusEvent::Open);
    let mouth = Proxy::open(config(vec![redis.url()])).await;
    while ear.event().await == BusEvent::Open {}
    mouth.publish(&tags(["a"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_nobody_takes_are_a_gap() {
    let redis = Redis::start(&[]);
    let narrow = SharedConfig { events_max: 4, ..config(vec![redis.url()]) };
    let mut ear = Proxy::open(narrow).await;
    for sequence in 1..=50 {
        say(&redis, &message(3, 7, sequence, &[tag("a").number()]));
    }
    eventually("all is heard", || ear.counts().heard == 50).await;
    for _ in 0..4 {
        marked(&mut ear, "a").await;
    }
    gap(&mut ear, GapReason::Lagged).await;
    say(&redis, &message(3, 7, 51, &[tag("b").number()]));
    marked(&mut ear, "b").await;
}
