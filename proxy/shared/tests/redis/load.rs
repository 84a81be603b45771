//! A store that is killed under load and comes back with what it had saved long before: no reader is ever
//! given what was invalidated, and none waits for longer than the deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pointsman_cache::Key;
use pointsman_shared::{Database, SharedConfig};

use super::common::*;
use super::server::Redis;

const KEYS: usize = 8;
const DEADLINE: Duration = Duration::from_millis(100);

/// The database: for each row the version that is committed, and the last that a client was told of.
#[derive(Default)]
struct Truth {
    committed: [AtomicU64; KEYS],
    told: [AtomicU64; KEYS],
    end: AtomicBool,
    late: AtomicU64,
    hits: AtomicU64,
    longest_us: AtomicU64,
}

impl Truth {
    async fn timed<T>(&self, call: impl Future<Output = T>) -> T {
        let start = Instant::now();
        let result = call.await;
        let took = start.elapsed();
        self.longest_us.fetch_max(took.as_micros() as u64, Ordering::Relaxed);
        if took > DEADLINE + Duration::from_millis(150) {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Reads through the store, fills on a miss.
    async fn read(&self, database: &Database, row: usize) {
        let (key, tags) = (format!("row {row}"), tags([format!("row {row}").as_str()]));
        let key = Key::new(key.as_bytes());
        let told = self.told[row].load(Ordering::SeqCst);
        if let Ok(Some(entry)) = self.timed(database.get(key, BODY_MAX)).await {
            let version = u64::from_le_bytes((*entry.parts.rows).try_into().expect("8 bytes"));
            assert!(version >= told, "row {row}: version {version} is served, {told} was told of");
            self.hits.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let Ok(generations) = self.timed(database.generations(&tags)).await else { return };
        let version = self.committed[row].load(Ordering::SeqCst);
        tokio::task::yield_now().await;
        let entry = portable(generations, &version.to_le_bytes());
        let _ = self.timed(database.put(key, &entry, LIFE)).await;
    }

    /// Commits, marks, and tells the client when the store knows.
    async fn write(&self, proxy: &Proxy, row: usize) {
        let version = self.committed[row].fetch_add(1, Ordering::SeqCst) + 1;
        let number = proxy.mark(&tags([format!("row {row}").as_str()]));
        let published = proxy.database.published_to(number);
        if tokio::time::timeout(Duration::from_secs(20), published).await.is_ok() {
            self.told[row].fetch_max(version, Ordering::SeqCst);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_goes_back_in_time_under_load_serves_nothing_old() {
    let mut redis = Redis::start(&[]);
    let strict = SharedConfig { deadline: DEADLINE, ..config(vec![redis.url()]) };
    let (one, two) = (Proxy::begin(strict.clone()), Arc::new(Proxy::begin(strict)));
    one.opens().await;
    two.opens().await;
    let truth = Arc::new(Truth::default());
    let mut tasks = Vec::new();
    for reader in 0..6 {
        let (truth, database) =
            (Arc::clone(&truth), if reader % 2 == 0 { one.database.clone() } else { two.database.clone() });
        tasks.push(tokio::spawn(async move {
            for turn in 0.. {
                if truth.end.load(Ordering::SeqCst) {
                    break;
                }
                truth.read(&database, (turn + reader) % KEYS).await;
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        }));
    }
    let (writing, writer) = (Arc::clone(&truth), Arc::clone(&two));
    tasks.push(tokio::spawn(async move {
        for turn in 0.. {
            if writing.end.load(Ordering::SeqCst) {
                break;
            }
            writing.write(&writer, turn * 3 % KEYS).await;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }));
    let hits = || truth.hits.load(Ordering::Relaxed);
    for round in 1..=3 {
        let before = hits();
        eventually("entries are served", || hits() > before + 200).await;
        redis.ask(&["SAVE"]);
        let told = truth.told[0].load(Ordering::SeqCst);
        // What is saved holds entries and generations that are invalid by the time it comes back.
        eventually("rows change", || truth.told[0].load(Ordering::SeqCst) > told + 3).await;
        redis = tokio::task::spawn_blocking(move || {
            redis.kill();
            redis.launch();
            redis
        })
        .await
        .unwrap();
        assert!(!redis.keys("pointsman:e:*").is_empty(), "it came back empty");
        eventually("both are open again", || {
            let opened =
                [&one, &two].map(|proxy| proxy.counts().sessions > round && proxy.database.is_open());
            opened == [true; 2]
        })
        .await;
    }
    let before = hits();
    eventually("entries are served again", || hits() > before + 200).await;
    truth.end.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.expect("nothing old was served");
    }
    let longest = truth.longest_us.load(Ordering::Relaxed);
    assert_eq!(truth.late.load(Ordering::Relaxed), 0, "the longest call took {longest} us");
}
