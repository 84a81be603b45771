//! Which server a read goes to: the better of two by requests outstanding, among those that hold what it must see.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pointsman_policy::{Consistency, Touched};

use super::cluster::{Cluster, SERVERS_MAX};
use super::database::Database;
use super::server::{Server, State};

/// How reads are served, by configuration or by rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadTerms {
    /// How fresh they are.
    pub consistency: Consistency,
    /// A replica that is further behind gets none.
    pub max_lag: Option<Duration>,
    /// How long a read waits for a replica before the primary serves it.
    pub catch_up_wait: Duration,
    /// The primary serves its part of them, as if it were one of the replicas.
    pub any: bool,
}

/// What one read needs of the server that serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Number of the last write that it must see.
    pub number: u64,
    /// Longest lag.
    pub max_lag: Option<Duration>,
    /// Whether the primary is one of the choices.
    pub any: bool,
    /// A server that failed it before.
    pub avoid: Option<usize>,
}

impl Need {
    /// What a read that begins now needs; `token` is the number of its session's own last write.
    pub fn new(terms: &ReadTerms, database: &Database, reads: &Touched, token: u64) -> Self {
        let unsure = Touched::Unknown;
        // While families change, what was noted under the old ones is not found under the new.
        let reads = if database.is_catalog_current() { reads } else { &unsure };
        let number = database.freshness.must_see(terms.consistency, reads, token);
        Self { number, max_lag: terms.max_lag, any: terms.any, avoid: None }
    }

    /// The same, but from another server than this.
    #[must_use]
    pub fn avoid(self, avoid: Option<usize>) -> Self {
        Self { avoid, ..self }
    }

    /// Whether a replica may serve the read once it has replayed enough.
    fn allows(&self, server: &Server) -> bool {
        server.is_readable_replica()
            && Some(server.index) != self.avoid
            && self.max_lag.is_none_or(|limit| server.lag() <= limit)
    }
}

/// Servers that are equally good, by index.
struct Few {
    indexes: [u8; SERVERS_MAX],
    count: usize,
}

impl Few {
    const NONE: Self = Self { indexes: [0; SERVERS_MAX], count: 0 };

    fn add(&mut self, index: usize) {
        if let (Some(place), Ok(index)) = (self.indexes.get_mut(self.count), u8::try_from(index)) {
            *place = index;
            self.count += 1;
        }
    }

    /// The better of two at random.
    fn pick(&self, outstanding: impl Fn(usize) -> usize) -> Option<usize> {
        let at = |place: usize| usize::from(self.indexes[place]);
        match self.count {
            0 => None,
            1 => Some(at(0)),
            count => {
                let one = rand::random_range(0..count);
                let other = (one + rand::random_range(1..count)) % count;
                [at(one), at(other)].into_iter().min_by_key(|index| outstanding(*index))
            }
        }
    }
}

impl Cluster {
    /// The server for a read: one of the replicas that hold what it must see and are not too far behind, or the primary
    /// where it is a choice. Slow ones, and those that come back in steps, only where there is no other.
    pub fn pick_reader(&self, database: &Database, need: &Need) -> Option<usize> {
        let slow_start = self.slow_start();
        let servers = self.server_list();
        let (mut good, mut starting, mut slow) = (Few::NONE, Few::NONE, Few::NONE);
        for server in servers.iter() {
            let fits = need.allows(server) && database.freshness.is_covered_by(server.index, need.number);
            let may = fits || (need.any && Some(server.index) == self.primary());
            if !may {
                continue;
            }
            let share = server.share(slow_start);
            let tier = match server.state() {
                State::Slow => &mut slow,
                _ if share < 1.0 && rand::random::<f64>() >= share => &mut starting,
                _ => &mut good,
            };
            tier.add(server.index);
        }
        let outstanding = |index: usize| {
            servers.get(index).map_or(usize::MAX, |server| server.outstanding.load(Ordering::Relaxed))
        };
        [good, starting, slow].iter().find_map(|tier| tier.pick(outstanding))
    }

    /// Waits, for `limit` at the most, until a server may serve the read. `None` at once if none would by waiting.
    pub async fn await_reader(&self, database: &Database, need: &Need, limit: Duration) -> Option<usize> {
        let found = async {
            loop {
                let followed = database.freshness.followed();
                if let Some(index) = self.pick_reader(database, need) {
                    return Some(index);
                }
                if !self.server_list().iter().any(|server| need.allows(server)) {
                    return None;
                }
                followed.await;
            }
        };
        tokio::time::timeout(limit, found).await.ok().flatten()
    }

    /// Waits, for `limit` at the most, until server `index` holds what a read must see; false if it still does not.
    pub async fn await_covered(
        &self,
        database: &Database,
        need: &Need,
        index: usize,
        limit: Duration,
    ) -> bool {
        let covered = async {
            loop {
                let followed = database.freshness.followed();
                if database.freshness.is_covered_by(index, need.number) {
                    return;
                }
                followed.await;
            }
        };
        tokio::time::timeout(limit, covered).await.is_ok()
    }
}

#[cfg(test)]
mod tests;
