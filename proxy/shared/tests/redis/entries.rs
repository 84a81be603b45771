//! Entries: round trips, what makes them invalid, and whatever else may be found where they should be.

use std::time::Duration;

use pointsman_cache::codec::{self, Unreadable};
use pointsman_cache::{Key, Tags};
use pointsman_shared::{Miss, SharedConfig};
use redis::Value;

use super::common::*;
use super::server::Redis;

/// Bytes that do not get smaller.
fn noise(length: u64) -> Vec<u8> {
    (0..length).map(|_| rand::random()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_is_got_small_and_large() {
    let redis = Redis::start(&[]);
    let (one, other) =
        (Proxy::open(config(vec![redis.url()])).await, Proxy::begin(config(vec![redis.url()])));
    other.opens().await;
    let large = b"row of the feed, ".repeat(20_000);
    let noise = noise(40_000);
    for (key, rows) in [(&b"small"[..], &b"r"[..]), (b"none", b""), (b"large", &large), (b"noise", &noise)] {
        let entry = one.fill(key, &tags(["a", "b"]), rows).await;
        assert_eq!(other.get(key).await, Ok(Some(entry.clone())));
        assert_eq!(one.get(key).await, Ok(Some(entry)));
    }
    let Value::Int(stored) = redis.ask(&["STRLEN", &entry_name(b"large")]) else { panic!("no length") };
    assert!(usize::try_from(stored).unwrap() < large.len() / 10, "compressed: {stored}");
    assert_eq!(other.rows(b"never put").await, None);
    let counts = other.counts();
    assert_eq!((counts.hits, counts.absent, counts.invalid, counts.stored), (4, 1, 0, 0));
    assert!(counts.bytes_read > 40_000 && one.counts().bytes_written == counts.bytes_read);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_lives_as_long_as_it_is_told_and_no_longer_than_generations() {
    let redis = Redis::start(&[]);
    let short = SharedConfig { generation_ttl: Duration::from_secs(30), ..config(vec![redis.url()]) };
    let proxy = Proxy::open(short).await;
    let left = |name: &str| match redis.ask(&["PTTL", name]) {
        Value::Int(left) => left,
        other => panic!("{other:?}"),
    };
    let entry = proxy.fill(b"key", &tags(["a"]), b"rows").await;
    assert!((25_000..=30_000).contains(&left(&entry_name(b"key"))));
    proxy.database.put(Key::new(b"key"), &entry, Duration::from_secs(10)).await.unwrap();
    assert!((5_000..=10_000).contains(&left(&entry_name(b"key"))));
    // Whoever asks for a generation keeps it.
    redis.ask(&["PEXPIRE", &tag_name(tag("a")), "5000"]);
    let again = proxy.database.generations(&tags(["a"])).await.unwrap();
    assert_eq!(again, entry.tags);
    assert!(left(&tag_name(tag("a"))) > 25_000);
    proxy.database.put(Key::new(b"key"), &entry, Duration::from_millis(1)).await.unwrap();
    redis.wait("without the entry", |redis| redis.ask(&["EXISTS", &entry_name(b"key")]) == Value::Int(0));
    assert_eq!(proxy.rows(b"key").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tag_invalidates_its_own_and_everything_all() {
    let redis = Redis::start(&[]);
    let proxy = Proxy::open(config(vec![redis.url()])).await;
    let fill = async || {
        proxy.fill(b"ab", &tags(["a", "b"]), b"1").await;
        proxy.fill(b"bc", &tags(["b", "c"]), b"2").await;
        proxy.fill(b"none", &Tags::new(), b"3").await;
    };
    let served = async || {
        let mut served = [false; 3];
        for (key, served) in [&b"ab"[..], b"bc", b"none"].into_iter().zip(&mut served) {
            *served = proxy.rows(key).await.is_some();
        }
        served
    };
    let mut everything = Tags::everything();
    for (invalid, left) in [
        (tags(["a"]), [false, true, true]),
        (tags(["b"]), [false, false, true]),
        (tags(["c", "unknown"]), [true, false, true]),
        (tags(["unknown"]), [true; 3]),
        (std::mem::take(&mut everything), [false; 3]),
    ] {
        fill().await;
        assert_eq!(served().await, [true; 3]);
        proxy.publish(&invalid).await;
        assert_eq!(served().await, left, "{invalid:?}");
    }
    // What nobody caches leaves nothing behind.
    assert!(redis.keys(&tag_name(tag("unknown"))).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_invalidated_while_it_was_filled_is_never_served() {
    let redis = Redis::start(&[]);
    let filler = Proxy::open(config(vec![redis.url()])).await;
    let writer = Proxy::begin(config(vec![redis.url()]));
    writer.opens().await;
    for invalid in [tags(["b"]), Tags::everything()] {
        let before = filler.database.generations(&tags(["a", "b"])).await.unwrap();
        writer.publish(&invalid).await;
        // Another fill gives the tags new generations.
        writer.fill(b"else", &tags(["a", "b"]), b"new").await;
        filler.database.put(Key::new(b"key"), &portable(before, b"old"), LIFE).await.unwrap();
        assert_eq!((filler.rows(b"key").await, writer.rows(b"key").await), (None, None));
        assert!(writer.rows(b"else").await.is_some());
    }
    assert_eq!(filler.counts().invalid, 2);
}

/// An emptied or evicting store may lose any key. That an old entry comes back is the worst that can follow.
#[tokio::test(flavor = "multi_thread")]
async fn lost_generations_make_nothing_valid() {
    let redis = Redis::start(&[]);
    let proxy = Proxy::open(config(vec![redis.url()])).await;
    for empty in [true, false] {
        let entry = proxy.fill(b"key", &tags(["a", "b"]), b"old").await;
        let Value::BulkString(stored) = redis.ask(&["GET", &entry_name(b"key")]) else { panic!("nothing") };
        if empty {
            redis.ask(&["FLUSHALL"]);
        } else {
            redis.ask(&["DEL", &tag_name(tag("b"))]);
        }
        let restore = || redis.ask_bytes(&[b"SET", entry_name(b"key").as_bytes(), &stored]);
        restore();
        assert_eq!(proxy.rows(b"key").await, None, "without generations");
        let again = proxy.database.generations(&tags(["a", "b"])).await.unwrap();
        assert_ne!(again, entry.tags);
        restore();
        assert_eq!(proxy.rows(b"key").await, None, "with new generations");
        proxy.publish(&tags(["a", "b"])).await;
        restore();
        assert_eq!(proxy.rows(b"key").await, None, "after an invalidation");
    }
    assert_eq!(proxy.counts().invalid, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_evicts_serves_nothing_old() {
    let redis = Redis::start(&["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-random"]);
    let proxy = Proxy::open(config(vec![redis.url()])).await;
    let row = noise(6000);
    let (mut hits, mut lost) = (0, 0);
    for round in 0..600_u32 {
        let (key, name) = (format!("key {}", round % 300), format!("tag {}", round % 300));
        if round >= 300 {
            proxy.publish(&tags([name.as_str()])).await;
            assert_eq!(proxy.rows(key.as_bytes()).await, None);
        }
        let rows = [round.to_string().as_bytes(), b" ", &row].concat();
        proxy.fill(key.as_bytes(), &tags([name.as_str()]), &rows).await;
        match proxy.rows(key.as_bytes()).await {
            Some(found) if found == rows => hits += 1,
            Some(_) => panic!("an older entry in round {round}"),
            None => lost += 1,
        }
    }
    let info: String = redis::from_redis_value(redis.ask(&["INFO", "stats"])).unwrap();
    assert!(!info.contains("evicted_keys:0\r"), "the store never evicted: {hits} hits, {lost} lost");
    assert!(hits > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_a_counted_miss() {
    let redis = Redis::start(&[]);
    let proxy = Proxy::open(config(vec![redis.url()])).await;
    let entry = proxy.fill(b"key", &tags(["a"]), &b"rows ".repeat(2000)).await;
    let whole = codec::encode(&entry, b"key", usize::MAX).unwrap();
    let changed = |at: usize, to: u8| {
        let mut bytes = whole.clone();
        bytes[at] = to;
        bytes
    };
    let unlisted = portable(vec![entry.tags[0]], b"of no database");
    let cases = [
        (vec![], Miss::Unreadable(Unreadable::Length)),
        (b"garbage".to_vec(), Miss::Unreadable(Unreadable::Length)),
        (b"longer garbage ".repeat(50), Miss::Unreadable(Unreadable::Magic)),
        (changed(4, codec::VERSION + 1), Miss::Unreadable(Unreadable::Version)),
        (whole[..60].to_vec(), Miss::Unreadable(Unreadable::Length)),
        (whole[..100].to_vec(), Miss::Unreadable(Unreadable::Checksum)),
        (whole[..whole.len() - 1].to_vec(), Miss::Unreadable(Unreadable::Checksum)),
        (changed(whole.len() - 1, b'x'), Miss::Unreadable(Unreadable::Checksum)),
        // More tags than any may have.
        (changed(codec::TAGS_COUNT_AT + 3, 255), Miss::Unreadable(Unreadable::Checksum)),
        (codec::encode(&entry, b"other", 0).unwrap(), Miss::Unreadable(Unreadable::Key)),
        (codec::encode(&unlisted, b"key", 0).unwrap(), Miss::Unlisted),
        (codec::encode(&portable(vec![], b"no tags"), b"key", 0).unwrap(), Miss::Unlisted),
    ];
    let cases_count = cases.len() as u64;
    for (place, (bytes, miss)) in cases.into_iter().enumerate() {
        redis.ask_bytes(&[b"SET", entry_name(b"key").as_bytes(), &bytes]);
        assert_eq!(proxy.get(b"key").await, Err(miss), "case {place}");
    }
    // More tags than it has: what is compared are no generations.
    redis.ask_bytes(&[b"SET", entry_name(b"key").as_bytes(), &changed(codec::TAGS_COUNT_AT, 200)]);
    assert_eq!(proxy.get(b"key").await, Ok(None));
    redis.ask(&["DEL", &entry_name(b"key")]);
    redis.ask(&["HSET", &entry_name(b"key"), "field", "of a hash"]);
    assert!(matches!(proxy.get(b"key").await, Err(Miss::Unreadable(_))));
    let too_large = proxy.database.get(Key::new(b"key"), 4999);
    assert!(matches!(too_large.await, Err(Miss::Unreadable(_))));
    // None of it counts as a failure of the server, and what is put replaces it.
    assert!(proxy.database.is_open());
    proxy.database.put(Key::new(b"key"), &entry, LIFE).await.unwrap();
    assert_eq!(proxy.get(b"key").await, Ok(Some(entry.clone())));
    let bounded = proxy.database.get(Key::new(b"key"), 4999).await;
    assert_eq!(bounded, Err(Miss::Unreadable(Unreadable::TooLarge)));
    let counts = proxy.counts();
    assert_eq!(counts.unreadable.iter().sum::<u64>() + 2, cases_count + 3);
    assert_eq!(counts.misses[Miss::Unlisted.index()], 2);
    assert_eq!(counts.hits, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_is_none_is_replaced() {
    let redis = Redis::start(&[]);
    let proxy = Proxy::open(config(vec![redis.url()])).await;
    for (name, broken) in [(tag_name(tag("a")), "short"), (tag_name(tag("b")), "far longer than 8 bytes")] {
        let _ = proxy.database.generations(&tags(["a", "b"])).await;
        redis.ask(&["SET", &name, broken]);
        assert_eq!(proxy.database.generations(&tags(["a", "b"])).await, Err(Miss::Other));
        redis.wait("repaired", |redis| redis.ask(&["EXISTS", &name]) == Value::Int(0));
        proxy.fill(b"key", &tags(["a", "b"]), b"rows").await;
        assert!(proxy.rows(b"key").await.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_stored_is_not() {
    let redis = Redis::start(&[]);
    let small = SharedConfig { value_bytes_max: 5000, ..config(vec![redis.url()]) };
    let proxy = Proxy::open(small).await;
    let listed = proxy.database.generations(&tags(["a"])).await.unwrap();
    let noise = noise(6000);
    let put = async |entry| proxy.database.put(Key::new(b"key"), &entry, LIFE).await;
    assert_eq!(put(portable(listed.clone(), &noise)).await, Err(Miss::TooLarge));
    assert_eq!(put(portable(vec![listed[0]], b"")).await, Err(Miss::Unlisted));
    assert_eq!(proxy.database.generations(&Tags::everything()).await, Err(Miss::Unlisted));
    assert!(redis.keys("pointsman:e:*").is_empty());
    assert_eq!(put(portable(listed, b"")).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_is_loaded_again_when_the_server_forgets_it() {
    let redis = Redis::start(&[]);
    let proxy = Proxy::open(config(vec![redis.url()])).await;
    proxy.fill(b"key", &tags(["a"]), b"rows").await;
    for _ in 0..2 {
        redis.ask(&["SCRIPT", "FLUSH"]);
        assert!(proxy.rows(b"key").await.is_some());
    }
}
