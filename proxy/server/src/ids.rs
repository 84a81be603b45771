//! The ids that this proxy makes for one sharded database. Their node is set in the configuration, or leased (`lease`): from a
//! table on the database's first shard, or from Redis, so that no two proxies have the same.
//!
//! That no id is made twice does not depend on the proxies' clocks agreeing. A lease says up to which millisecond its holder may
//! make ids; that is moved on before the holder goes beyond, and who leases the node next begins after it. Of a node that is set,
//! a proxy makes ids no further ahead of its clock than [`AHEAD_MAX_MS`] allows, and begins as much after its start.

mod lease;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use pointsman_shards::ids::{AHEAD_MAX_MS, Ids, NoId, Parts};
use tokio::sync::Notify;

use crate::fault::Fault;
use crate::upstream::cluster::Cluster;
use crate::upstream::config::{NodeLease, ShardedConfig};

/// How long a statement waits for its ids: for a lease, or for the clock.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How often it looks for a lease meanwhile.
const LOOK: Duration = Duration::from_millis(10);

/// Makes the ids of one sharded database.
#[derive(Debug)]
pub struct Maker {
    /// What clients call it.
    database: String,
    /// The database's first shard: its cluster, and what its servers call the database.
    shard: Option<(Arc<Cluster>, String)>,
    /// The node, if it is set.
    node: Option<u16>,
    /// Where it is leased, if not.
    lease: NodeLease,
    grant: ArcSwap<Grant>,
    /// Ids are asked for.
    wanted: Notify,
    retired: AtomicBool,
    retiring: Notify,
}

/// What ids may be made.
#[derive(Debug)]
enum Grant {
    /// None, and why.
    None(Cow<'static, str>),
    /// Those of a node that is set.
    Set(Arc<Set>),
    /// Those of a leased one.
    Leased(Leased),
}

/// A node that is set. All databases of the same name in this process share it.
#[derive(Debug)]
struct Set {
    ids: Ids,
    /// The latest that the clock has been.
    seen: AtomicU64,
}

/// A leased node.
#[derive(Debug)]
struct Leased {
    node: u16,
    ids: Ids,
    /// All ids are of later milliseconds.
    from_ms: u64,
    /// No id may be of a later millisecond.
    until_ms: AtomicU64,
    /// By how much the clock that the lease goes by is ahead of this machine's, in milliseconds.
    ahead_ms: AtomicI64,
}

/// Why there is no id now.
enum Missing {
    /// There may be one in so many milliseconds.
    For(u64),
    /// No node.
    Node(Cow<'static, str>),
    /// There are none any more.
    Ever(NoId),
}

impl Maker {
    /// What makes the ids of this database.
    pub fn new(config: &ShardedConfig, shard: Option<(Arc<Cluster>, String)>) -> Self {
        let grant = match config.node.and_then(|node| set(&config.name, node, unix_ms())) {
            Some(set) => Grant::Set(set),
            None => Grant::None("nothing was asked for one yet".into()),
        };
        Self {
            database: config.name.clone(),
            shard,
            node: config.node,
            lease: config.node_lease.clone(),
            grant: ArcSwap::from_pointee(grant),
            wanted: Notify::new(),
            retired: AtomicBool::new(false),
            retiring: Notify::new(),
        }
    }

    /// Whether it would be the same for this configuration.
    pub fn is_of(&self, config: &ShardedConfig, shard: &(Arc<Cluster>, String)) -> bool {
        let same = |own: &(Arc<Cluster>, String)| Arc::ptr_eq(&own.0, &shard.0) && own.1 == shard.1;
        self.node == config.node && self.lease == config.node_lease && self.shard.as_ref().is_some_and(same)
    }

    /// It is no longer configured: its lease is not renewed any more.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.retiring.notify_one();
        self.wanted.notify_one();
    }

    /// So many ids, each greater than the one before. Waits for a lease and for the clock, if it must.
    ///
    /// # Errors
    /// 55000: no node is leased, or the clock has stepped back too far.
    pub async fn draw(&self, count: usize) -> Result<Vec<i64>, Fault> {
        let mut ids = Vec::new();
        let until = tokio::time::Instant::now() + WAIT_MAX;
        while ids.len() < count {
            let (wait, fault) = match self.next(unix_ms()) {
                Ok(id) => {
                    ids.push(id);
                    continue;
                }
                Err(Missing::For(ms)) => (Duration::from_millis(ms), ahead(ms)),
                Err(Missing::Ever(why)) => return Err(Fault::pointsman("55000", why.to_string())),
                Err(Missing::Node(why)) => {
                    self.wanted.notify_one();
                    (LOOK, unleased(&self.lease, &why))
                }
            };
            if tokio::time::Instant::now() + wait > until {
                return Err(fault);
            }
            tokio::time::sleep(wait).await;
        }
        Ok(ids)
    }

    fn next(&self, now: u64) -> Result<i64, Missing> {
        let missing = |why| match why {
            NoId::Wait { ms } => Missing::For(ms),
            NoId::Exhausted => Missing::Ever(why),
        };
        match &**self.grant.load() {
            Grant::None(why) => Err(Missing::Node(why.clone())),
            Grant::Set(set) => {
                let seen = set.seen.fetch_max(now, Ordering::Relaxed).max(now);
                let id = set.ids.next(now).map_err(missing)?;
                match Parts::of(id).unix_ms.saturating_sub(seen + AHEAD_MAX_MS) {
                    0 => Ok(id),
                    ms => Err(Missing::For(ms)),
                }
            }
            Grant::Leased(leased) => {
                let ahead = leased.ahead_ms.load(Ordering::Acquire);
                let id = leased.ids.next(now.saturating_add_signed(ahead)).map_err(missing)?;
                let until = leased.until_ms.load(Ordering::Acquire);
                match Parts::of(id).unix_ms <= until {
                    true => Ok(id),
                    false if until <= leased.from_ms => Err(Missing::Node("its lease has just begun".into())),
                    false => Err(Missing::Node("the lease has run out and could not be renewed".into())),
                }
            }
        }
    }
}

/// The ids of a node that is set: one for all of this process, whatever is configured anew.
fn set(database: &str, node: u16, now: u64) -> Option<Arc<Set>> {
    type Sets = HashMap<(String, u16), Arc<Set>>;
    static ALL: Mutex<Option<Sets>> = Mutex::new(None);
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let known = all.get_or_insert_default();
    if let Some(set) = known.get(&(database.to_owned(), node)) {
        return Some(Arc::clone(set));
    }
    let set = Arc::new(Set::new(node, now)?);
    known.insert((database.to_owned(), node), Arc::clone(&set));
    Some(set)
}

impl Set {
    /// A process before this one may have made ids up to `AHEAD_MAX_MS` ahead of its clock.
    fn new(node: u16, now: u64) -> Option<Self> {
        Some(Self { ids: Ids::resume(node, now + AHEAD_MAX_MS)?, seen: AtomicU64::new(now) })
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn ahead(ms: u64) -> Fault {
    Fault::pointsman("55000", format!("the clock has stepped back: there are new ids in {ms} ms"))
        .hint("Have the clock corrected in small steps, or wait.")
}

fn unleased(lease: &NodeLease, why: &str) -> Fault {
    let hint = match lease {
        NodeLease::Table => {
            "The number is leased from the table pointsman.nodes on the first shard, which Pointsman's own user has to be able to \
             make and to write to; or set `sharded[].node`."
        }
        NodeLease::Redis(_) => {
            "The number is leased from the Redis of `cache.redis`, which has to answer and to take writes; or set `sharded[].node`."
        }
    };
    Fault::pointsman("55000", format!("this proxy has no node number to make ids with: {why}")).hint(hint)
}

impl Leased {
    /// A node whose ids are of milliseconds after `from_ms`; `None` if there is none of this number.
    fn new(node: u16, from_ms: u64, until_ms: u64) -> Option<Self> {
        Some(Self {
            node,
            ids: Ids::resume(node, from_ms)?,
            from_ms,
            until_ms: until_ms.into(),
            ahead_ms: AtomicI64::new(0),
        })
    }
}

#[cfg(test)]
mod tests;
