//! The publisher: what reaches the store and when, what a queue becomes that is too long, and who has
//! published what.

use std::time::Duration;

use pointsman_cache::Tags;
use pointsman_shared::{BusEvent, DatabaseId, Miss, SharedConfig};

use super::common::*;
use super::server::Redis;

#[tokio::test(flavor = "multi_thread")]
async fn two_proxies_invalidate_and_hear_each_other() {
    let redis = Redis::start(&[]);
    let mut one = Proxy::open(config(vec![redis.url()])).await;
    let mut two = Proxy::open(config(vec![redis.url()])).await;
    // The newcomer publishes everything.
    let everything =
        BusEvent::Invalidate { database: id(), tags: Tags::everything(), sender: two.shared.sender() };
    assert_eq!(one.event().await, everything);
    one.fill(b"key", &tags(["a"]), b"rows").await;
    assert!(two.rows(b"key").await.is_some());
    two.publish(&tags(["a", "b"])).await;
    assert_eq!(one.rows(b"key").await, None);
    let BusEvent::Invalidate { database, tags: heard, sender } = one.event().await else { panic!("no mark") };
    let mut names = heard.as_slice().to_vec();
    names.sort();
    let mut expected = vec![tag("a"), tag("b")];
    expected.sort();
    assert_eq!((database, names, sender), (id(), expected, two.shared.sender()));
    one.publish(&tags(["c"])).await;
    let told = BusEvent::Invalidate { database: id(), tags: tags(["c"]), sender: one.shared.sender() };
    // Nobody hears what it said itself.
    assert_eq!(two.event().await, told);
    assert_eq!((one.counts().heard, two.counts().heard), (2, 1));
    assert_eq!((one.counts().gaps, two.counts().gaps), ([0; 6], [0; 6]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_believes_nothing_that_was_there_before() {
    let redis = Redis::start(&[]);
    let one = Proxy::open(config(vec![redis.url()])).await;
    one.fill(b"key", &tags(["a"]), b"rows").await;
    let late = one.shared.database(DatabaseId::new(b"main", b"other"), || 5);
    eventually("another database opens by itself", || late.is_open()).await;
    assert!(one.rows(b"key").await.is_some(), "another database's everything is its own");
    let two = Proxy::begin(config(vec![redis.url()]));
    assert_eq!(two.get(b"key").await, Err(Miss::Closed));
    two.opens().await;
    assert_eq!((two.rows(b"key").await, one.rows(b"key").await), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_sets_are_told_in_parts_and_too_large_ones_as_everything() {
    let redis = Redis::start(&[]);
    let mut ear = Proxy::open(config(vec![redis.url()])).await;
    let bounded = SharedConfig { queue_tags_max: 600, ..config(vec![redis.url()]) };
    let mouth = Proxy::open(bounded).await;
    assert!(matches!(ear.event().await, BusEvent::Invalidate { .. }));
    let some = |from: usize, count: usize| {
        let names: Vec<String> = (from..from + count).map(|n| format!("tag {n}")).collect();
        tags(names.iter().map(String::as_str))
    };
    // A frozen server, so that all of it gathers in the queue.
    let mut heard = std::collections::HashSet::new();
    redis.freeze();
    for from in (0..600).step_by(200) {
        mouth.mark(&some(from, 200));
    }
    redis.thaw();
    while heard.len() < 600 {
        let BusEvent::Invalidate { tags, .. } = ear.event().await else { panic!("a gap") };
        assert!(!tags.is_everything() && tags.as_slice().len() <= 256);
        heard.extend(tags.as_slice().to_vec());
    }
    assert_eq!(mouth.counts().overflows, 0);
    redis.freeze();
    let mut last = 0;
    for from in (0..1600).step_by(200) {
        last = mouth.mark(&some(from, 200));
    }
    assert_eq!(mouth.counts().overflows, 1);
    redis.thaw();
    mouth.database.published_to(last).await;
    loop {
        let BusEvent::Invalidate { tags, .. } = ear.event().await else { panic!("a gap") };
        if tags.is_everything() {
            break;
        }
    }
    assert_eq!(mouth.counts().queue, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn published_is_what_the_store_has_and_no_more() {
    let redis = Redis::start(&[]);
    let proxy = Proxy::begin(config(vec![redis.url()]));
    proxy.opens().await;
    let before = proxy.database.published();
    assert_eq!(before, 1);
    redis.freeze();
    let first = proxy.mark(&tags(["a"]));
    // Taken by the publisher or not, the store does not have it.
    for _ in 0..20 {
        assert!(proxy.database.published() < first);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = proxy.mark(&tags(["b"]));
    let waiting = tokio::time::timeout(Duration::from_millis(50), proxy.database.published_to(second));
    assert!(waiting.await.is_err());
    redis.thaw();
    proxy.database.published_to(second).await;
    assert!(proxy.database.published() >= second);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_publishes_what_waits_and_says_so() {
    let redis = Redis::start(&[]);
    let mut ear = Proxy::open(config(vec![redis.url()])).await;
    let leaving = Proxy::open(config(vec![redis.url()])).await;
    assert!(matches!(ear.event().await, BusEvent::Invalidate { .. }));
    ear.fill(b"key", &tags(["a"]), b"rows").await;
    leaving.mark(&tags(["a"]));
    let (handle, sender) = (leaving.database.clone(), leaving.shared.sender());
    leaving.shared.close().await;
    assert_eq!(ear.rows(b"key").await, None);
    assert_eq!(handle.get(pointsman_cache::Key::new(b"key"), 1).await, Err(Miss::Closed));
    let mark = BusEvent::Invalidate { database: id(), tags: tags(["a"]), sender };
    assert_eq!(ear.event().await, mark);
    // It is not missed: for longer than silence may last there is nothing, but perhaps the same mark again,
    // if the end came when it was being published.
    while let Ok(event) = tokio::time::timeout(Duration::from_millis(2500), ear.bus.next()).await {
        assert_eq!(event, Some(mark.clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_published_in_time_is_published_later() {
    let redis = Redis::start(&[]);
    let hasty = SharedConfig {
        patience: Duration::from_millis(300),
        failures_max: u32::MAX,
        heartbeat: Duration::from_secs(30),
        silence: Duration::from_secs(60),
        ..config(vec![redis.url()])
    };
    let proxy = Proxy::begin(hasty);
    proxy.opens().await;
    let other = Proxy::begin(config(vec![redis.url()]));
    other.opens().await;
    other.fill(b"key", &tags(["a"]), b"rows").await;
    other.fill(b"another", &tags(["b"]), b"rows").await;
    redis.freeze();
    let number = proxy.mark(&tags(["a"]));
    eventually("publishing fails", || proxy.counts().background[Miss::Deadline.index()] > 0).await;
    let waits = proxy.counts().queue;
    assert_eq!((waits, proxy.database.published() < number), (1, true));
    redis.thaw();
    proxy.database.published_to(number).await;
    assert_eq!(other.rows(b"key").await, None);
    assert!(other.rows(b"another").await.is_some());
    assert_eq!(proxy.counts().sessions, 1);
}

/// A server that answers questions and reads, but deletes nothing for now.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_before_what_waited_is_published() {
    let redis = Redis::start(&[]);
    let hasty = SharedConfig { patience: Duration::from_millis(100), ..config(vec![redis.url()]) };
    let proxy = Proxy::begin(hasty);
    proxy.opens().await;
    proxy.fill(b"key", &tags(["a"]), b"rows").await;
    redis.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    let number = proxy.mark(&tags(["a"]));
    proxy.closes().await;
    let failed = || proxy.counts().background[Miss::Deadline.index()];
    while failed() < 6 {
        assert_eq!(proxy.get(b"key").await, Err(Miss::Closed));
        tokio::task::yield_now().await;
    }
    redis.ask(&["CLIENT", "UNPAUSE"]);
    proxy.opens().await;
    assert!(proxy.database.published() >= number);
    assert_eq!(proxy.rows(b"key").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_open_when_everything_of_it_was_published() {
    let redis = Redis::start(&[]);
    let patient = SharedConfig { patience: Duration::from_secs(60), ..config(vec![redis.url()]) };
    let proxy = Proxy::begin(patient);
    proxy.opens().await;
    redis.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    let late = proxy.shared.database(DatabaseId::new(b"main", b"late"), || 5);
    let key = pointsman_cache::Key::new(b"key");
    for _ in 0..20 {
        assert_eq!(late.get(key, BODY_MAX).await, Err(Miss::Closed));
        assert_eq!((late.published(), late.is_open(), proxy.database.is_open()), (0, false, true));
    }
    redis.ask(&["CLIENT", "UNPAUSE"]);
    eventually("it opens", || late.is_open()).await;
    assert_eq!((late.get(key, BODY_MAX).await, late.published()), (Ok(None), 5));
}
