//! A proxy as the tests see it: a shared level, one database with a ledger that is a mere number, and its
//! bus.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pointsman_cache::codec::Portable;
use pointsman_cache::ledger::{Era, Lsn};
use pointsman_cache::{Key, Lifetime, Parts, Tag, Tags};
use pointsman_policy::Scope;
use pointsman_shared::{Bus, BusEvent, Counts, Database, DatabaseId, Miss, Shared, SharedConfig};

pub const BODY_MAX: usize = 16 << 20;
pub const LIFE: Duration = Duration::from_secs(60);

pub struct Proxy {
    pub shared: Shared,
    pub bus: Bus,
    pub database: Database,
    clock: Arc<AtomicU64>,
}

/// Patient with a loaded machine, but quick to try again.
pub fn config(urls: Vec<String>) -> SharedConfig {
    SharedConfig {
        deadline: Duration::from_secs(1),
        patience: Duration::from_secs(2),
        retry: Duration::from_millis(50),
        retry_max: Duration::from_millis(200),
        heartbeat: Duration::from_millis(50),
        silence: Duration::from_secs(2),
        ..SharedConfig::new(urls)
    }
}

pub fn id() -> DatabaseId {
    DatabaseId::new(b"main", b"app")
}

impl Proxy {
    /// Started, not open yet.
    pub fn begin(config: SharedConfig) -> Self {
        let (shared, bus) = Shared::start(config).expect("a configuration");
        let clock = Arc::new(AtomicU64::new(1));
        let last = Arc::clone(&clock);
        let database = shared.database(id(), move || last.load(Ordering::SeqCst));
        Self { shared, bus, database, clock }
    }

    /// Open, and its bus, too.
    pub async fn open(config: SharedConfig) -> Self {
        let mut proxy = Self::begin(config);
        proxy.opens().await;
        assert_eq!(proxy.event().await, BusEvent::Open);
        proxy
    }

    pub async fn opens(&self) {
        eventually("it opens", || self.database.is_open()).await;
    }

    pub async fn closes(&self) {
        eventually("it closes", || !self.database.is_open()).await;
    }

    pub async fn event(&mut self) -> BusEvent {
        let event = tokio::time::timeout(Duration::from_secs(20), self.bus.next()).await;
        event.expect("an event in time").expect("an open bus")
    }

    /// As the ledger's marks: first the queue, then the number.
    pub fn mark(&self, tags: &Tags) -> u64 {
        self.database.push(tags);
        self.clock.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub async fn publish(&self, tags: &Tags) {
        let number = self.mark(tags);
        let published = tokio::time::timeout(Duration::from_secs(20), self.database.published_to(number));
        published.await.expect("published in time");
        assert!(self.database.published() >= number);
    }

    pub async fn fill(&self, key: &[u8], tags: &Tags, rows: &[u8]) -> Portable {
        let generations = self.database.generations(tags).await.expect("generations");
        let entry = portable(generations, rows);
        self.database.put(Key::new(key), &entry, LIFE).await.expect("stored");
        entry
    }

    pub async fn get(&self, key: &[u8]) -> Result<Option<Portable>, Miss> {
        self.database.get(Key::new(key), BODY_MAX).await
    }

    pub async fn rows(&self, key: &[u8]) -> Option<Bytes> {
        self.get(key).await.expect("an answer").map(|entry| entry.parts.rows)
    }

    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }
}

pub fn portable(tags: Vec<(Tag, u64)>, rows: &[u8]) -> Portable {
    Portable {
        created_unix: 1_700_000_000_000,
        lifetime: Lifetime { ttl: 1000, stale_while_revalidate: 500 },
        scope: Scope::Role,
        position: Lsn(7),
        era: Era(3),
        tags,
        parts: Parts {
            parameters: None,
            description: Some(Bytes::from_static(b"T of columns")),
            rows: Bytes::copy_from_slice(rows),
        },
    }
}

pub fn tag(name: &str) -> Tag {
    Tag::named(b"app", name.as_bytes())
}

pub fn tags<'a>(names: impl IntoIterator<Item = &'a str>) -> Tags {
    let mut tags = Tags::new();
    names.into_iter().for_each(|name| tags.add(tag(name)));
    tags
}

/// Where the store has an entry.
pub fn entry_name(key: &[u8]) -> String {
    let digits: String = Key::new(key).digest().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("pointsman:e:{digits}")
}

/// Where the store has a tag's generation.
pub fn tag_name(tag: Tag) -> String {
    format!("pointsman:t:{:016x}", tag.number())
}

pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
