//! A plugin's own keys and values: in memory here, or behind a trait that a fleet shares.

use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::spec::KvLimits;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// What an entry takes beside its key and value, about, in bytes.
const ENTRY_BYTES: usize = 96;

/// Why it did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvError {
    /// The key or the value is too large.
    TooLarge,
    /// The value is not a number.
    NotANumber,
    /// The store is not there.
    Unavailable(String),
}

/// What a [`SharedKv`] gives back.
pub type KvFuture<T> = Pin<Box<dyn Future<Output = Result<T, KvError>> + Send>>;

/// A store that a fleet shares. Keys begin with the plugin's name already.
pub trait SharedKv: Send + Sync {
    /// The value of a key.
    fn get(&self, key: String) -> KvFuture<Option<Vec<u8>>>;
    /// Sets a key.
    fn set(&self, key: String, value: Vec<u8>, ttl: Option<Duration>) -> KvFuture<()>;
    /// Removes a key.
    fn delete(&self, key: String) -> KvFuture<()>;
    /// Adds to a decimal number.
    fn increment(&self, key: String, by: i64, ttl: Option<Duration>) -> KvFuture<i64>;
}

#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    until: Option<Instant>,
}

impl Entry {
    fn is_gone(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }
}

#[derive(Debug)]
struct Inner {
    entries: LruCache<String, Entry>,
    bytes: usize,
}

/// Keys and values in memory, bounded in number and bytes.
#[derive(Debug)]
pub(crate) struct MemoryKv {
    inner: Mutex<Inner>,
    limits: KvLimits,
}

impl MemoryKv {
    pub(crate) fn new(limits: KvLimits) -> Self {
        let entries_max = NonZeroUsize::new(limits.entries_max).unwrap_or(NonZeroUsize::MIN);
        Self {
            inner: Mutex::new(Inner { entries: LruCache::unbounded(), bytes: 0 }),
            limits: KvLimits { entries_max: entries_max.get(), ..limits },
        }
    }

    pub(crate) fn limits(&self) -> &KvLimits {
        &self.limits
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.with(|inner| inner.live(key).map(|entry| entry.value.clone()))
    }

    pub(crate) fn set(&self, key: String, value: Vec<u8>, ttl: Option<Duration>) -> Result<(), KvError> {
        fits(&self.limits, &key, value.len())?;
        let until = ttl.and_then(|ttl| Instant::now().checked_add(ttl));
        self.with(|inner| inner.put(key, Entry { value, until }, &self.limits));
        Ok(())
    }

    pub(crate) fn delete(&self, key: &str) {
        self.with(|inner| inner.remove(key));
    }

    pub(crate) fn increment(&self, key: String, by: i64, ttl: Option<Duration>) -> Result<i64, KvError> {
        fits(&self.limits, &key, 20)?;
        self.with(|inner| {
            let (before, until) = match inner.live(&key) {
                Some(entry) => (number(&entry.value)?, entry.until),
                None => (0, ttl.and_then(|ttl| Instant::now().checked_add(ttl))),
            };
            let sum = before.checked_add(by).ok_or(KvError::NotANumber)?;
            inner.put(key, Entry { value: sum.to_string().into_bytes(), until }, &self.limits);
            Ok(sum)
        })
    }

    /// How many keys there are, and the bytes that they take.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.with(|inner| (inner.entries.len(), inner.bytes))
    }
}

/// Whether a key and a value of so many bytes may be kept at all.
pub(crate) fn fits(limits: &KvLimits, key: &str, value_bytes: usize) -> Result<(), KvError> {
    let fits = key.len() <= KEY_BYTES_MAX
        && value_bytes <= limits.value_bytes_max
        && key.len() + value_bytes + ENTRY_BYTES <= limits.bytes_max;
    if fits { Ok(()) } else { Err(KvError::TooLarge) }
}

fn number(value: &[u8]) -> Result<i64, KvError> {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(KvError::NotANumber)
}

impl Inner {
    fn live(&mut self, key: &str) -> Option<&Entry> {
        if self.entries.peek(key)?.is_gone() {
            self.remove(key);
        }
        self.entries.get(key)
    }

    fn put(&mut self, key: String, entry: Entry, limits: &KvLimits) {
        self.remove(&key);
        self.bytes += key.len() + entry.value.len() + ENTRY_BYTES;
        self.entries.put(key, entry);
        while self.bytes > limits.bytes_max || self.entries.len() > limits.entries_max {
            let Some((key, entry)) = self.entries.pop_lru() else { break };
            self.bytes -= key.len() + entry.value.len() + ENTRY_BYTES;
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some((key, entry)) = self.entries.pop_entry(key) {
            self.bytes -= key.len() + entry.value.len() + ENTRY_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(entries_max: usize, bytes_max: usize) -> MemoryKv {
        MemoryKv::new(KvLimits { entries_max, bytes_max, value_bytes_max: 100, shared: false })
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let kv = store(2, 10_000);
        for key in ["a", "b"] {
            kv.set(key.to_owned(), b"1".to_vec(), None).expect("fits");
        }
        assert!(kv.get("a").is_some());
        kv.set("c".to_owned(), b"1".to_vec(), None).expect("fits");
        assert_eq!(
            (kv.get("a").is_some(), kv.get("b").is_some(), kv.get("c").is_some()),
            (true, false, true)
        );
    }

    #[test]
    fn bytes_are_bounded_and_counted_down_again() {
        let kv = store(100, 400);
        for at in 0..50 {
            kv.set(format!("{at}"), vec![0; 50], None).expect("fits");
            assert!(kv.size().1 <= 400);
        }
        assert_eq!(kv.set("k".to_owned(), vec![0; 101], None), Err(KvError::TooLarge));
        assert_eq!(kv.set("k".repeat(1025), Vec::new(), None), Err(KvError::TooLarge));
        for at in 0..50 {
            kv.delete(&at.to_string());
        }
        assert_eq!(kv.size(), (0, 0));
    }

    #[test]
    fn what_is_over_its_time_is_gone() {
        let kv = store(10, 10_000);
        kv.set("a".to_owned(), b"1".to_vec(), Some(Duration::ZERO)).expect("fits");
        assert_eq!(kv.get("a"), None);
        assert_eq!(kv.increment("a".to_owned(), 2, None), Ok(2));
        assert_eq!(kv.size().0, 1);
    }

    #[test]
    fn numbers_add_up_and_other_values_do_not() {
        let kv = store(10, 10_000);
        assert_eq!(kv.increment("n".to_owned(), 5, None), Ok(5));
        assert_eq!(kv.increment("n".to_owned(), -7, None), Ok(-2));
        kv.set("t".to_owned(), b"x".to_vec(), None).expect("fits");
        assert_eq!(kv.increment("t".to_owned(), 1, None), Err(KvError::NotANumber));
        kv.set("m".to_owned(), i64::MAX.to_string().into_bytes(), None).expect("fits");
        assert_eq!(kv.increment("m".to_owned(), 1, None), Err(KvError::NotANumber));
    }
}
