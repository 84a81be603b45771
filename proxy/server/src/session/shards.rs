//! A session of a sharded database. It is on one shard at a time: with nothing held it turns to the shard that its next
//! statement is for (`way`), and what follows is as without shards. A statement for several shards is performed by inner
//! sessions, one for each (`leg`): its rows are gathered (`gather`), its writes commit together (`across`).

mod across;
mod copying;
mod described;
mod executing;
mod filled;
mod gather;
mod hinted;
mod idling;
mod ids;
mod leg;
mod pieces;
mod planned;
mod portals;
mod query;
mod spanning;
mod told;
mod way;

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::BytesMut;
use pointsman_cache::ledger::Seq;
use pointsman_policy::Decision;

pub(super) use filled::without_added;
pub(super) use hinted::SHARD_KEY;
pub(crate) use planned::Declared;
pub(super) use planned::PlannedMemo;
pub(super) use query::Routed;

use portals::Portal;
use spanning::Spanning;

use super::Session;
use super::cached::Contexts;
use crate::metrics::Usage;
use crate::policies::Policies;
use crate::sharded::Group;
use crate::upstream::account::Account;
use crate::upstream::cluster::Cluster;

/// A whole `Sync`.
const SYNC: &[u8] = b"S\0\0\0\x04";

/// What a session knows of the shards of its database.
#[derive(Debug)]
pub struct Shards {
    group: Arc<Group>,
    /// The shard that it is on.
    at: usize,
    /// Beside each shard, and the coordinator after them. What is here of the one that it is on is not up to date.
    lanes: Box<[Lane]>,
    /// Where the next statement goes that any shard may serve.
    turn: usize,
    /// The transaction under way, if it may be on several shards.
    spanning: Option<Box<Spanning>>,
    /// Its portals.
    portals: Vec<Portal>,
    /// What a portal gives that is fetched in portions.
    captured: Option<BytesMut>,
    /// Prepared statements that ids are made for.
    filled: filled::Statements,
    /// What the rules say of the statement that inner sessions perform.
    ruled: Ruled,
}

/// What the rules say of a statement, for those who perform its parts; nothing if no rule does.
pub(super) type Ruled = Arc<ArcSwapOption<Decision>>;

/// What a session has on one shard.
#[derive(Debug)]
struct Lane {
    cluster: Arc<Cluster>,
    account: Arc<Account>,
    usage: Arc<Usage>,
    /// Number of its own last write there.
    token: u64,
    /// The same as the cache's ledger counts.
    own: Seq,
    contexts: Option<Box<Contexts>>,
}

impl Shards {
    /// A session that begins on the first shard; `user` has an account on each.
    pub fn new(group: Arc<Group>, user: &str, worker: usize) -> Self {
        let lane = |part: &crate::sharded::Part| {
            let account = part.account(user);
            Lane {
                cluster: Arc::clone(&part.cluster),
                usage: account.usage(worker),
                account,
                token: 0,
                own: Seq::default(),
                contexts: None,
            }
        };
        let lanes = group.parts().map(lane).collect();
        Self {
            group,
            at: 0,
            lanes,
            turn: worker,
            spanning: None,
            portals: Vec::new(),
            captured: None,
            filled: filled::Statements::default(),
            ruled: Ruled::default(),
        }
    }

    /// From now on inner sessions keep to this.
    pub(super) fn rule(&self, parts: Option<Arc<Decision>>) {
        self.ruled.store(parts);
    }

    /// Number of shards.
    fn len(&self) -> usize {
        self.group.len()
    }

    /// The lane of the coordinator.
    fn coordinator(&self) -> Option<usize> {
        self.group.coordinator.as_ref().map(|_| self.group.len())
    }

    /// The accounts, by shard.
    pub fn accounts(&self) -> impl Iterator<Item = (&Arc<Cluster>, &Arc<Account>)> {
        self.lanes.iter().map(|lane| (&lane.cluster, &lane.account))
    }
}

impl Session {
    /// Turns to a shard. Only with nothing held.
    fn turn_to(&mut self, shard: usize) {
        let Some(shards) = &mut self.shards else { return };
        if shards.at == shard {
            return;
        }
        if let Some(lane) = shards.lanes.get_mut(shards.at) {
            (lane.token, lane.own, lane.contexts) = (self.token, self.own, self.contexts.take());
        }
        if let Some(lane) = shards.lanes.get_mut(shard) {
            (self.token, self.own, self.contexts) = (lane.token, lane.own, lane.contexts.take());
            self.shared.cluster = Arc::clone(&lane.cluster);
            self.shared.account = Arc::clone(&lane.account);
            shards.at = shard;
        }
    }
}

/// The policies of inner sessions: what the rules say was said of the client's own statement, and is [`Ruled`].
fn no_policies() -> Arc<ArcSwap<Policies>> {
    static NONE: std::sync::OnceLock<Arc<ArcSwap<Policies>>> = std::sync::OnceLock::new();
    let none = || {
        Arc::new(ArcSwap::from_pointee(Policies::after(
            None,
            pointsman_policy::PolicySet::default(),
            Arc::default(),
        )))
    };
    Arc::clone(NONE.get_or_init(none))
}
