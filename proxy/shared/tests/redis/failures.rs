//! A server that is slow, full, read-only, locked, not there, or no Redis at all: misses, told apart and
//! counted, and quick ones after the first.

use std::time::{Duration, Instant};

use pointsman_cache::Key;
use pointsman_shared::{BreakerState, Miss, SharedConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::common::*;
use super::server::Redis;

/// The deadline's slack on a loaded machine.
const SLACK: Duration = Duration::from_millis(150);

/// A thousand calls, which nobody answers, take next to nothing.
async fn calls_return_at_once(proxy: &Proxy) {
    let start = Instant::now();
    for _ in 0..1000 {
        assert_eq!(proxy.get(b"key").await, Err(Miss::Closed));
    }
    let each = start.elapsed() / 1000;
    assert!(each < Duration::from_micros(100), "{each:?} each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_costs_one_deadline() {
    let redis = Redis::start(&[]);
    let strict = SharedConfig {
        deadline: Duration::from_millis(20),
        patience: Duration::from_secs(10),
        retry: Duration::from_millis(300),
        heartbeat: Duration::from_secs(30),
        silence: Duration::from_secs(60),
        ..config(vec![redis.url()])
    };
    let proxy = Proxy::begin(strict);
    proxy.opens().await;
    let patient = Proxy::begin(config(vec![redis.url()]));
    patient.opens().await;
    patient.fill(b"key", &tags(["a"]), b"rows").await;
    redis.freeze();
    let start = Instant::now();
    assert_eq!(proxy.get(b"key").await, Err(Miss::Deadline));
    let first = start.elapsed();
    assert!(first >= Duration::from_millis(20) && first < Duration::from_millis(20) + SLACK, "{first:?}");
    calls_return_at_once(&proxy).await;
    eventually("the breaker opens", || proxy.shared.breaker() == BreakerState::Open).await;
    calls_return_at_once(&proxy).await;
    let counts = proxy.counts();
    assert_eq!((counts.misses[Miss::Deadline.index()], counts.misses[Miss::Closed.index()]), (1, 2000));
    // A mark of this time is published before anything is read.
    let number = proxy.mark(&tags(["b"]));
    redis.thaw();
    let thawed = Instant::now();
    // Looked at without a pause, so that no moment is missed.
    while !proxy.database.is_open() {
        assert!(thawed.elapsed() < Duration::from_secs(20));
        tokio::task::yield_now().await;
    }
    assert!(proxy.database.published() >= number);
    // The connection stood: what was there is valid still.
    assert_eq!(proxy.counts().sessions, 1);
    assert!(proxy.rows(b"key").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_slow_once_is_asked_again_soon() {
    let redis = Redis::start(&[]);
    let strict = SharedConfig {
        deadline: Duration::from_millis(50),
        failures_max: 1000,
        retry: Duration::from_secs(600),
        retry_max: Duration::from_secs(600),
        ..config(vec![redis.url()])
    };
    let proxy = Proxy::begin(strict);
    proxy.opens().await;
    redis.freeze();
    assert_eq!(proxy.get(b"key").await, Err(Miss::Deadline));
    eventually("questions are not answered", || proxy.counts().background[Miss::Deadline.index()] > 3).await;
    assert_eq!(proxy.shared.breaker(), BreakerState::Suspect);
    redis.thaw();
    proxy.opens().await;
    assert_eq!(proxy.get(b"key").await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_opens_nothing_until_it_is_right() {
    let redis = Redis::start(&[]);
    redis.ask(&["ACL", "SETUSER", "proxy", "on", ">right", "~*", "&*", "+@all"]);
    let url = format!("redis://proxy:wrong@127.0.0.1:{}/", redis.port);
    let right = SharedConfig { password: Some("right".to_owned()), ..config(vec![url.clone()]) };
    let (wrong, right) = (Proxy::begin(config(vec![url])), Proxy::begin(right));
    right.opens().await;
    eventually("refusals are counted", || wrong.counts().background[Miss::Refused.index()] > 1).await;
    calls_return_at_once(&wrong).await;
    // What may be done is taken away from a connection that stands.
    redis.ask(&["ACL", "SETUSER", "proxy", "-evalsha"]);
    assert_eq!(right.get(b"key").await, Err(Miss::Refused));
    right.closes().await;
    redis.ask(&["ACL", "SETUSER", "proxy", "+evalsha", ">wrong"]);
    right.opens().await;
    wrong.opens().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_still_serves_and_invalidates() {
    let redis = Redis::start(&[]);
    let proxy = Proxy::open(config(vec![redis.url()])).await;
    let entry = proxy.fill(b"key", &tags(["a"]), b"rows").await;
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(proxy.database.put(Key::new(b"more"), &entry, LIFE).await, Err(Miss::Full));
    assert_eq!(proxy.database.generations(&tags(["new"])).await, Err(Miss::Full));
    assert!(proxy.rows(b"key").await.is_some());
    proxy.publish(&tags(["a"])).await;
    assert_eq!(proxy.rows(b"key").await, None);
    assert_eq!(proxy.counts().misses[Miss::Full.index()], 2);
    // Full is not broken.
    assert_eq!((proxy.counts().sessions, proxy.shared.breaker()), (1, BreakerState::Closed));
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    proxy.fill(b"key", &tags(["a"]), b"rows").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_not_opened_and_another_address_is() {
    let (primary, other) = (Redis::start(&[]), Redis::start(&[]));
    let proxy = Proxy::open(config(vec![primary.url(), other.url()])).await;
    let entry = proxy.fill(b"key", &tags(["a"]), b"rows").await;
    primary.ask(&["REPLICAOF", "127.0.0.1", &other.port.to_string()]);
    // Demoted under its feet: found out by the first write, or by what the demotion cuts.
    let put = proxy.database.put(Key::new(b"key"), &entry, LIFE).await;
    assert!(put.is_err(), "{put:?}");
    eventually("the other is used", || proxy.counts().sessions == 2 && proxy.database.is_open()).await;
    proxy.fill(b"key", &tags(["a"]), b"rows").await;
    assert_eq!(other.keys("pointsman:e:*").len(), 1);
    let only = Proxy::begin(config(vec![primary.url()]));
    eventually("it is refused", || only.counts().background[Miss::ReadOnly.index()] > 0).await;
    assert!(!only.database.is_open());
    primary.ask(&["REPLICAOF", "NO", "ONE"]);
    only.opens().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_redis_opens_nothing() {
    for answer in
        [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR unknown\r\n", b"+OK\r\n+OK\r\n$-5\r\n"]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let serve = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut asked = [0; 512];
                    while stream.read(&mut asked).await.is_ok_and(|length| length > 0) {
                        if stream.write_all(answer).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        let brief = SharedConfig { patience: Duration::from_millis(100), ..config(vec![url]) };
        let proxy = Proxy::begin(brief);
        eventually("it is tried again", || proxy.counts().background.iter().sum::<u64>() > 1).await;
        calls_return_at_once(&proxy).await;
        assert_eq!(proxy.counts().sessions, 0, "{answer:?}");
        serve.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_invalidates_all_that_was_before() {
    let redis = Redis::start(&[]);
    let proxy = Proxy::begin(config(vec![redis.url()]));
    proxy.opens().await;
    proxy.fill(b"key", &tags(["a"]), b"rows").await;
    redis.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    eventually("another session is open", || proxy.counts().sessions == 2 && proxy.database.is_open()).await;
    assert_eq!(proxy.rows(b"key").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_invalidations_is_given_up() {
    let redis = Redis::start(&[]);
    let proxy = Proxy::begin(config(vec![redis.url()]));
    proxy.opens().await;
    proxy.fill(b"key", &tags(["a"]), b"rows").await;
    redis.refuse_writes();
    assert!(proxy.rows(b"key").await.is_some());
    let number = proxy.mark(&tags(["a"]));
    proxy.closes().await;
    eventually("it stays closed", || proxy.counts().background[Miss::Full.index()] > 1).await;
    assert!(proxy.database.published() < number && !proxy.database.is_open());
    redis.ask(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    proxy.opens().await;
    assert!(proxy.database.published() >= number);
    assert_eq!(proxy.rows(b"key").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_a_server_that_speaks_none_opens_nothing() {
    let redis = Redis::start(&[]);
    let proxy = Proxy::begin(config(vec![redis.url().replace("redis:", "rediss:")]));
    // More than one: the keeper has survived the first.
    eventually("it is tried again", || proxy.counts().background.iter().sum::<u64>() > 1).await;
    calls_return_at_once(&proxy).await;
    assert_eq!(proxy.counts().sessions, 0);
}
