//! A bounded map from template to facts, least recently used out first. A hit hashes once and allocates nothing.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::facts::Facts;

const NONE: u32 = u32::MAX;

pub(crate) struct Entry<M> {
    key: Box<[u8]>,
    /// What the entry takes, its facts included.
    bytes: usize,
    hash: u64,
    newer: u32,
    older: u32,
    pub(crate) facts: Arc<Facts>,
    pub(crate) memo: M,
}

/// The entries stand in a slab, linked from newest to oldest.
pub(crate) struct Cache<M> {
    table: HashTable<u32>,
    slab: Vec<Entry<M>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    hasher: DefaultHashBuilder,
    /// What free slots hold.
    nothing: Arc<Facts>,
    entries_max: usize,
    bytes_max: usize,
    bytes: usize,
    pub(crate) evictions: u64,
}

impl<M: Default> Cache<M> {
    /// Holds at most `entries_max` templates, which take at most `bytes_max` bytes with their facts.
    pub(crate) fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self {
            table: HashTable::new(),
            slab: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            hasher: DefaultHashBuilder::default(),
            nothing: Arc::new(Facts { template: 0, shape: 0, statements: Vec::new(), doubt: None }),
            entries_max: entries_max.clamp(1, NONE as usize - 1),
            bytes_max,
            bytes: 0,
            evictions: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The slot of `key`, now the newest.
    #[inline]
    pub(crate) fn find(&mut self, hash: u64, key: &[u8]) -> Option<u32> {
        let slab = &self.slab;
        let slot = *self.table.find(hash, |&slot| {
            let entry = &slab[slot as usize];
            entry.hash == hash && *entry.key == *key
        })?;
        if slot != self.newest {
            self.unlink(slot);
            self.link_newest(slot);
        }
        Some(slot)
    }

    /// A slot, now the newest, if the facts in it still have this number.
    pub(crate) fn renew(&mut self, slot: u32, template: u64) -> Option<u32> {
        self.slab.get(slot as usize).filter(|entry| entry.facts.template == template)?;
        if slot != self.newest {
            self.unlink(slot);
            self.link_newest(slot);
        }
        Some(slot)
    }

    #[inline]
    pub(crate) fn entry(&mut self, slot: u32) -> &mut Entry<M> {
        &mut self.slab[slot as usize]
    }

    /// Whether facts are small enough to be worth the entries they would push out.
    pub(crate) fn fits(&self, facts: &Facts) -> bool {
        facts.bytes() <= self.bytes_max / 4
    }

    /// Adds a key that is not there.
    pub(crate) fn insert(&mut self, hash: u64, key: &[u8], facts: Arc<Facts>) -> u32 {
        let bytes = size_of::<Entry<M>>() + key.len() + facts.bytes();
        while self.oldest != NONE && (self.len() >= self.entries_max || self.bytes + bytes > self.bytes_max) {
            self.evict();
        }
        let entry =
            Entry { key: key.into(), bytes, hash, newer: NONE, older: NONE, facts, memo: M::default() };
        self.bytes += bytes;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the slab never holds more than entries_max, a u32"
        )]
        let slot = self.free.pop().unwrap_or(self.slab.len() as u32);
        match self.slab.get_mut(slot as usize) {
            Some(place) => *place = entry,
            None => self.slab.push(entry),
        }
        self.link_newest(slot);
        let slab = &self.slab;
        self.table.insert_unique(hash, slot, |&slot| slab[slot as usize].hash);
        slot
    }

    fn evict(&mut self) {
        let slot = self.oldest;
        self.unlink(slot);
        let hash = self.slab[slot as usize].hash;
        if let Ok(found) = self.table.find_entry(hash, |&other| other == slot) {
            found.remove();
        }
        let entry = &mut self.slab[slot as usize];
        self.bytes -= entry.bytes;
        (entry.key, entry.facts, entry.memo) = (Box::default(), Arc::clone(&self.nothing), M::default());
        self.free.push(slot);
        self.evictions += 1;
    }

    #[inline]
    fn unlink(&mut self, slot: u32) {
        let Entry { newer, older, .. } = self.slab[slot as usize];
        match newer {
            NONE => self.newest = older,
            _ => self.slab[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            _ => self.slab[older as usize].newer = newer,
        }
    }

    #[inline]
    fn link_newest(&mut self, slot: u32) {
        let before = self.newest;
        let entry = &mut self.slab[slot as usize];
        (entry.newer, entry.older) = (NONE, before);
        match before {
            NONE => self.oldest = slot,
            _ => self.slab[before as usize].newer = slot,
        }
        self.newest = slot;
    }
}
