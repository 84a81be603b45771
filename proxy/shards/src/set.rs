//! A set of shards.

/// Shards are numbered from 0; there are at most so many.
pub const SHARDS_MAX: usize = 256;

/// A set of shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ShardSet([u64; SHARDS_MAX / 64]);

impl ShardSet {
    /// None of them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One shard.
    #[must_use]
    pub fn one(shard: usize) -> Self {
        let mut set = Self::new();
        set.insert(shard);
        set
    }

    /// The first so many.
    #[must_use]
    pub fn all(shards: usize) -> Self {
        let mut set = Self::new();
        for (at, word) in set.0.iter_mut().enumerate() {
            let left = shards.saturating_sub(at * 64);
            *word = if left >= 64 { u64::MAX } else { (1 << left) - 1 };
        }
        set
    }

    /// Adds a shard; one beyond [`SHARDS_MAX`] cannot be and is left out.
    pub fn insert(&mut self, shard: usize) {
        if let Some(word) = self.0.get_mut(shard / 64) {
            *word |= 1 << (shard % 64);
        }
    }

    /// Adds another set's.
    pub fn add(&mut self, other: Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
    }

    /// Whether it has a shard.
    #[must_use]
    pub fn contains(self, shard: usize) -> bool {
        self.0.get(shard / 64).is_some_and(|word| word >> (shard % 64) & 1 == 1)
    }

    /// How many.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == [0; SHARDS_MAX / 64]
    }

    /// The shard, if it is one.
    #[must_use]
    pub fn only(self) -> Option<usize> {
        if self.len() == 1 { self.first() } else { None }
    }

    /// The lowest one.
    #[must_use]
    pub fn first(self) -> Option<usize> {
        let at = self.0.iter().position(|word| *word != 0)?;
        Some(at * 64 + self.0[at].trailing_zeros() as usize)
    }

    /// The shards, from the lowest.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let shard = rest.first()?;
            rest.0[shard / 64] &= rest.0[shard / 64] - 1;
            Some(shard)
        })
    }
}

impl FromIterator<usize> for ShardSet {
    fn from_iter<I: IntoIterator<Item = usize>>(shards: I) -> Self {
        let mut set = Self::new();
        shards.into_iter().for_each(|shard| set.insert(shard));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_every_size() {
        for shards in [0, 1, 4, 63, 64, 65, 128, 255, 256] {
            let all = ShardSet::all(shards);
            assert_eq!(all.len(), shards);
            assert_eq!(all.iter().collect::<Vec<_>>(), (0..shards).collect::<Vec<_>>());
            assert_eq!((0..shards).collect::<ShardSet>(), all);
            assert!(!all.contains(shards) && all.is_empty() == (shards == 0));
        }
        let mut set = ShardSet::one(200);
        assert_eq!(set.only(), Some(200));
        set.add(ShardSet::one(3));
        set.insert(SHARDS_MAX);
        assert_eq!((set.only(), set.first(), set.len()), (None, Some(3), 2));
        assert_eq!(set.iter().collect::<Vec<_>>(), [3, 200]);
    }
}
