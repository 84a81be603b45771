//! Sets of rules. Up to 256 rules take no memory of their own.

/// Words kept inside.
const INSIDE: usize = 4;

/// A set of small numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Bits {
    inside: [u64; INSIDE],
    beyond: Vec<u64>,
}

impl Bits {
    /// Empty, with room for the numbers below `count`.
    pub(crate) fn with_room_for(count: usize) -> Self {
        Self { inside: [0; INSIDE], beyond: vec![0; count.div_ceil(64).saturating_sub(INSIDE)] }
    }

    pub(crate) fn insert(&mut self, number: usize) {
        self.add_word(number / 64, 1 << (number % 64));
    }

    /// Adds the numbers of a word.
    #[inline]
    pub(crate) fn add_word(&mut self, at: usize, bits: u64) {
        match self.inside.get_mut(at) {
            Some(place) => *place |= bits,
            None if bits == 0 => {}
            None => {
                let place = at - INSIDE;
                if self.beyond.len() <= place {
                    self.beyond.resize(place + 1, 0);
                }
                self.beyond[place] |= bits;
            }
        }
    }

    /// A word of 64 numbers.
    #[inline]
    pub(crate) fn word(&self, at: usize) -> u64 {
        match self.inside.get(at) {
            Some(word) => *word,
            None => self.beyond.get(at - INSIDE).copied().unwrap_or(0),
        }
    }

    pub(crate) fn words(&self) -> usize {
        INSIDE + self.beyond.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inside == [0; INSIDE] && self.beyond.iter().all(|word| *word == 0)
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, number: usize) -> bool {
        self.word(number / 64) >> (number % 64) & 1 == 1
    }

    /// The numbers, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.words()).flat_map(|at| {
            let mut word = self.word(at);
            std::iter::from_fn(move || {
                if word == 0 {
                    return None;
                }
                let bit = word.trailing_zeros() as usize;
                word &= word - 1;
                Some(at * 64 + bit)
            })
        })
    }
}

impl FromIterator<usize> for Bits {
    fn from_iter<I: IntoIterator<Item = usize>>(numbers: I) -> Self {
        let mut bits = Self::default();
        for number in numbers {
            bits.insert(number);
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_inside_and_beyond() {
        let numbers = [0, 1, 63, 64, 255, 256, 257, 1000];
        let mut bits = Bits::with_room_for(300);
        assert!(bits.is_empty());
        for number in numbers {
            bits.insert(number);
        }
        assert_eq!(bits.iter().collect::<Vec<_>>(), numbers);
        assert!(!bits.is_empty() && bits.contains(257) && !bits.contains(258) && !bits.contains(5000));
    }
}
