//! Node numbers as keys in Redis.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pointsman_shards::ids::NODES_MAX;
use pointsman_shared::{Leases, Miss, SharedConfig, Term};

use super::super::{Leased, unix_ms};
use crate::fault::Fault;

/// How long a lease lasts. The same for all proxies: what one makes of a node ends so long after its last renewal, and who takes
/// the node reckons with that.
const LEASE: Duration = Duration::from_secs(20);
/// How often a lease is renewed that has begun a moment ago: each time, there are as many milliseconds more that ids may be of.
const SOON: Duration = Duration::from_millis(250);
/// How often any other is.
const RENEW: Duration = Duration::from_secs(5);

/// Leases of one owner.
pub(super) struct Redis(Leases);

impl Redis {
    pub(super) fn new(config: &SharedConfig, database: &str, owner: String) -> Result<Self, Fault> {
        let leases = Leases::new(config.clone(), database, owner, LEASE);
        leases.map(Self).map_err(|error| Fault::pointsman("55000", error.to_string()))
    }

    /// Holds a node for longer, and says when to do so again; `None`: it is somebody else's, or nobody's.
    pub(super) async fn renew(&mut self, leased: &Leased) -> Result<Option<Duration>, Fault> {
        let term = self.0.renew(leased.node, leased.from_ms).await.map_err(missed)?;
        Ok(term.map(|term| note(leased, term)))
    }

    /// Leases the highest node that nobody has.
    pub(super) async fn take(&mut self) -> Result<(Leased, Duration), Fault> {
        let taken = self.0.take(NODES_MAX).await.map_err(missed)?;
        let leased =
            taken.and_then(|(node, term)| Some((Leased::new(node, term.from_ms, term.until_ms)?, term)));
        let (leased, term) = leased.ok_or_else(|| Fault::pointsman("55000", "all nodes are leased"))?;
        let pause = note(&leased, term);
        Ok((leased, pause))
    }
}

/// Notes what may be made, and says when to renew that. Ids are made by the store's clock, so that it does not matter what this
/// machine's says.
fn note(leased: &Leased, term: Term) -> Duration {
    let ahead = term.now_ms.cast_signed().saturating_sub(unix_ms().cast_signed());
    leased.ahead_ms.store(ahead, Ordering::Release);
    leased.until_ms.store(term.until_ms, Ordering::Release);
    if term.now_ms < term.from_ms { SOON } else { RENEW }
}

fn missed(miss: Miss) -> Fault {
    Fault::upstream("08006", format!("Redis, where nodes for ids are leased: {miss}"))
}
