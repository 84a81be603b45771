//! Numbers that are leased: one holder each, and what two holders may make of one number never overlaps.

use std::time::Duration;

use pointsman_shared::{Leases, Miss, SKEW, SharedConfig, Term};

use super::common::config;
use super::server::{Cluster, Redis};

/// Of two numbers.
const NUMBERS: u16 = 2;

fn leases(redis: &Redis, owner: &str, lease: Duration) -> Leases {
    let config = config(vec![redis.url()]);
    Leases::new(config, "social", owner.to_owned(), lease).expect("a configuration")
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("not long")
}

async fn taken(leases: &mut Leases) -> (u16, Term) {
    leases.take(NUMBERS).await.expect("an answer").expect("a number")
}

#[tokio::test]
async fn each_number_has_one_holder() {
    let redis = Redis::start(&[]);
    let lease = Duration::from_secs(600);
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|owner| leases(&redis, owner, lease));
    let (first, term) = taken(&mut a).await;
    let (second, _) = taken(&mut b).await;
    assert_eq!((first, second), (1, 0));
    assert_eq!(c.take(NUMBERS).await, Ok(None));
    assert_eq!(c.renew(first, term.from_ms).await, Ok(None), "what it does not hold");
    let renewed = a.renew(first, term.from_ms).await.expect("an answer").expect("still held");
    assert!(renewed.until_ms >= term.until_ms && renewed.from_ms == term.from_ms);
    assert_eq!(renewed.until_ms - renewed.now_ms, ms(lease));
    assert!(term.from_ms >= term.until_ms + ms(SKEW), "nothing can be made before the first renewal");
    // Others' numbers are others'.
    let config = SharedConfig { prefix: "others:".to_owned(), ..config(vec![redis.url()]) };
    let mut others = Leases::new(config, "social", "d".to_owned(), lease).expect("a configuration");
    assert_eq!(taken(&mut others).await.0, 1);
}

/// A holder that says nothing more keeps its number until its lease ends.
#[tokio::test]
async fn a_number_is_free_when_its_lease_has_ended() {
    let redis = Redis::start(&[]);
    let lease = Duration::from_millis(1500);
    let (mut a, mut b) = (leases(&redis, "a", lease), leases(&redis, "b", lease));
    let (number, first) = a.take(1).await.expect("an answer").expect("a number");
    let last = a.renew(number, first.from_ms).await.expect("an answer").expect("still held");
    let second = loop {
        if let Some((_, term)) = b.take(1).await.expect("an answer") {
            break term;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(second.now_ms >= last.until_ms, "{second:?} {last:?}");
    assert!(second.from_ms > last.until_ms);
    assert_eq!(a.renew(number, first.from_ms).await, Ok(None));
}

/// A store that comes back empty gives the number to another at once, and what both may make is of other times.
#[tokio::test]
async fn a_store_that_forgets_does_no_harm() {
    let mut redis = Redis::start(&[]);
    let lease = Duration::from_secs(600);
    let (mut a, mut b, mut c) =
        (leases(&redis, "a", lease), leases(&redis, "b", lease), leases(&redis, "c", lease));
    let (number, first) = taken(&mut a).await;
    let last = a.renew(number, first.from_ms).await.expect("an answer").expect("still held");
    redis.kill();
    assert_eq!(a.renew(number, first.from_ms).await, Err(Miss::Down));
    redis.launch();
    let (again, second) = taken(&mut b).await;
    assert_eq!(again, number);
    assert!(second.from_ms > last.until_ms, "{second:?} {last:?}");
    assert_eq!(a.renew(number, first.from_ms).await, Ok(None));
    // Once more, before that one has renewed, and after it has.
    let renewed = b.renew(number, second.from_ms).await.expect("an answer").expect("still held");
    redis.ask(&["FLUSHALL"]);
    let (again, third) = taken(&mut c).await;
    assert_eq!(again, number);
    assert!(third.from_ms > renewed.until_ms.max(last.until_ms), "{third:?} {renewed:?}");
    assert_eq!(b.renew(number, second.from_ms).await, Ok(None));
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_asked_again() {
    let redis = Redis::start(&[]);
    let patient = SharedConfig { patience: Duration::from_millis(300), ..config(vec![redis.url()]) };
    let lease = Duration::from_secs(600);
    let mut a = Leases::new(patient, "social", "a".to_owned(), lease).expect("a configuration");
    let (number, term) = taken(&mut a).await;
    redis.freeze();
    assert_eq!(a.renew(number, term.from_ms).await, Err(Miss::Deadline));
    redis.thaw();
    assert!(a.renew(number, term.from_ms).await.expect("an answer").is_some());
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut b = leases(&redis, "b", lease);
    assert_eq!(b.take(NUMBERS).await, Err(Miss::Full));
    assert!(
        a.renew(number, term.from_ms).await.expect("an answer").is_some(),
        "what is held takes no memory"
    );
}

#[tokio::test]
async fn a_cluster_keeps_all_of_them_together() {
    let cluster = Cluster::start();
    let config = SharedConfig { cluster: true, ..config(cluster.urls()) };
    let of = |owner: &str| {
        Leases::new(config.clone(), "social", owner.to_owned(), Duration::from_secs(600))
            .expect("a configuration")
    };
    let (mut a, mut b) = (of("a"), of("b"));
    let (first, term) = taken(&mut a).await;
    let (second, _) = taken(&mut b).await;
    assert_eq!((first, second), (1, 0));
    assert!(a.renew(first, term.from_ms).await.expect("an answer").is_some());
}
