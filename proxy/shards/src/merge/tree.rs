//! A loser tree: the least of some sources, found again with one comparison for each level when the least one moves on.

/// Sources are leaves; each inner node keeps the loser of the match played there, the winner of all is apart.
#[derive(Debug)]
pub(super) struct Tree {
    sources: usize,
    /// Inner nodes from 1; `losers[0]` is the winner of all.
    losers: Vec<usize>,
    built: bool,
}

impl Tree {
    pub(super) fn new(sources: usize) -> Self {
        Self { sources, losers: vec![0; sources.max(1)], built: false }
    }

    /// Whether the first match was played. Until then every source must be known; afterwards only the winner changes.
    pub(super) fn built(&self) -> bool {
        self.built
    }

    /// The source that won last.
    pub(super) fn winner(&self) -> usize {
        self.losers[0]
    }

    /// Plays the matches that the last winner's move needs. `less` must be a strict order of all sources.
    pub(super) fn settle(&mut self, mut less: impl FnMut(usize, usize) -> bool) {
        if self.sources < 2 {
            self.built = true;
            return;
        }
        if !self.built {
            self.losers[0] = self.build(1, &mut less);
            self.built = true;
            return;
        }
        let mut winner = self.losers[0];
        let mut node = (winner + self.sources) / 2;
        while node > 0 {
            if less(self.losers[node], winner) {
                std::mem::swap(&mut self.losers[node], &mut winner);
            }
            node /= 2;
        }
        self.losers[0] = winner;
    }

    /// The winner below a node. Leaves are the nodes from `sources` on.
    fn build(&mut self, node: usize, less: &mut impl FnMut(usize, usize) -> bool) -> usize {
        if node >= self.sources {
            return node - self.sources;
        }
        let (left, right) = (self.build(2 * node, less), self.build(2 * node + 1, less));
        let (winner, loser) = if less(right, left) { (right, left) } else { (left, right) };
        self.losers[node] = loser;
        winner
    }
}
