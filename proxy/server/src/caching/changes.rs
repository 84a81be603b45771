//! The change stream of one database: every commit on the primary, whoever made it, marks what it changed. While the
//! stream cannot be believed to be whole and near, the ledger is closed and nothing is served.

mod plugged;
mod rows;
pub mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use pointsman_cache::Tags;
use pointsman_cache::ledger::{Commit, Era, Ledger, Lsn, Snapshot, Watch};
use pointsman_wire::replication::{Change, FromSender};

use super::config::ChangesConfig;
use super::definitions::{self, Digest};
use super::fleet::Fleet;
use super::tags::Naming;
use crate::fault::Fault;
use crate::policies::Policies;
use crate::upstream::cluster::Cluster;
use crate::upstream::config::ClusterConfig;
use crate::upstream::database::Database;
use crate::upstream::health::parse_lsn;
use crate::upstream::own::{self, Own};
use crate::upstream::positions::end_of_record;
use crate::upstream::server::{Server, State};
use crate::upstream::watched::Hearing;
use plugged::{At, Unheard};
use rows::{By, Relations};
use stream::Stream;

/// Between two questions for a snapshot, while commits are not known to be visible.
const SETTLE_PAUSE: Duration = Duration::from_millis(5);
/// Between two looks at how far the stream is.
const PROBE_PAUSE: Duration = Duration::from_millis(200);
/// Between two looks at what the primary keeps for the slot.
const RETAINED_PAUSE: Duration = Duration::from_secs(5);

/// SQLSTATE of a stream that is given up because the primary keeps too much WAL for it.
pub const RETAINED_TOO_MUCH: &str = "53400";

/// What is listened to, and for whom.
#[derive(Debug)]
pub struct Listened {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// The database.
    pub database: Arc<Database>,
    /// Its ledger.
    pub ledger: Arc<Ledger>,
    /// The policies in force.
    pub policies: Arc<ArcSwap<Policies>>,
    /// How.
    pub config: Arc<ChangesConfig>,
    /// The other proxies; none if results are not shared.
    pub fleet: Option<Arc<Fleet>>,
}

/// One stream while it lasts.
struct Listener<'a> {
    to: &'a Listened,
    own: Own,
    stream: Stream,
    era: Era,
    limit: Duration,
    relations: Relations,
    /// What plugins have not heard of.
    unheard: Unheard,
    /// Of the transaction that is being read: its id, and what it marks.
    xid: u32,
    marks: Tags,
    /// It changes definitions.
    defines: bool,
    /// A position that the stream is to reach, and when it was the primary's.
    probe: Option<(Instant, u64)>,
    probed: Instant,
    /// How long a commit may be visible before it is flushed, and so before it is sent.
    unflushed: Duration,
    digest: Digest,
    compared: Instant,
    measured: Instant,
    triggered: bool,
}

/// Listens until something is wrong, which is the answer. The ledger is closed then.
pub async fn listen(to: &Listened, server: &Arc<Server>) -> Fault {
    let limit = to.cluster.config().connect_timeout();
    let mut listener = match begin(to, server, limit).await {
        Ok(listener) => listener,
        Err(fault) => return fault,
    };
    let fault = listener.run().await;
    to.ledger.close();
    to.database.watched.set_seen(None);
    fault
}

async fn begin<'a>(to: &'a Listened, server: &Arc<Server>, limit: Duration) -> Result<Listener<'a>, Fault> {
    let era = Era(to.cluster.era());
    let config = to.cluster.config();
    let own = own::connect(&config, server, &to.database.name, limit).await?;
    let stream = open(to, &config, server, era).await?;
    let delay =
        definitions::text(&own, "SELECT setting FROM pg_settings WHERE name = 'wal_writer_delay'", limit);
    let delay: u64 = delay.await?.parse().unwrap_or(10_000);
    let trigger = format!(
        "SELECT count(*)::text FROM pg_event_trigger WHERE evtname = '{}' AND evtenabled <> 'D'",
        definitions::TRIGGER
    );
    let triggered = definitions::text(&own, &trigger, limit).await? != "0";
    let now = Instant::now();
    let mut listener = Listener {
        to,
        own,
        stream,
        era,
        limit,
        relations: Relations::default(),
        unheard: Unheard::default(),
        xid: 0,
        marks: Tags::new(),
        defines: false,
        probe: None,
        probed: now,
        // PostgreSQL's own bound for commits that do not wait: three of its writer's rounds.
        unflushed: Duration::from_millis(delay.saturating_mul(3)),
        digest: Digest::default(),
        compared: now,
        measured: now,
        triggered,
    };
    listener.digest.renew(&listener.own, triggered, limit).await?;
    // Whatever the stream leaves out was over before this, and whatever is in progress now is waited for.
    let snapshot = listener.snapshot().await?;
    // Nor may others believe what was shared while nobody listened.
    to.database.publish(&Tags::everything());
    to.ledger.open(era, Watch::Stream, &snapshot);
    to.database.freshness.note_all();
    let hearing = Hearing::Stream { slot: listener.stream.slot.clone(), definitions: triggered };
    if to.database.watched.set_hearing(hearing) {
        tracing::info!(database = to.database.name, slot = listener.stream.slot, "changes are heard of");
    }
    Ok(listener)
}

/// Opens the stream, and says what it waits for if that takes long. Given up, the attempt would go on at the server and keep one of
/// its few senders: it is left only if the server is no longer the primary.
async fn open(to: &Listened, config: &ClusterConfig, server: &Server, era: Era) -> Result<Stream, Fault> {
    let limit = config.connect_timeout();
    let mut opening = std::pin::pin!(Stream::open(config, server, &to.database.name, &to.config, limit));
    loop {
        if let Ok(opened) = tokio::time::timeout(limit, &mut opening).await {
            return opened;
        }
        if to.cluster.era() != era.0 || to.cluster.is_retired() || server.state() == State::Down {
            return Err(Fault::upstream("57P01", "the primary has changed"));
        }
        let why = "the stream begins when the transactions in progress are over".to_owned();
        if to.database.watched.set_hearing(Hearing::Broken(why.clone())) {
            tracing::warn!(database = to.database.name, why, "nothing is served from the cache until then");
        }
    }
}

impl Listener<'_> {
    async fn run(&mut self) -> Fault {
        loop {
            if let Err(fault) = self.round().await {
                return fault;
            }
        }
    }

    /// Takes what the stream brings, until something else is due.
    async fn round(&mut self) -> Result<(), Fault> {
        let pause = if self.to.ledger.is_unsettled() { SETTLE_PAUSE } else { PROBE_PAUSE / 4 };
        if let Ok(payload) = tokio::time::timeout(pause, self.stream.next()).await {
            self.take(&payload?).await?;
            while self.stream.has_more() {
                let next = tokio::time::timeout(Duration::ZERO, self.stream.next()).await;
                let Ok(payload) = next else { break };
                self.take(&payload?).await?;
            }
        }
        if self.to.cluster.era() != self.era.0 || self.to.cluster.is_retired() {
            return Err(Fault::upstream("57P01", "the primary has changed"));
        }
        if self.to.ledger.is_unsettled() {
            let snapshot = self.snapshot().await?;
            self.to.ledger.settle(self.era, &snapshot);
        }
        if self.probed.elapsed() >= PROBE_PAUSE {
            self.look_around().await?;
        }
        Ok(())
    }

    /// Whether the stream keeps up, what the primary keeps for it, and whether definitions have changed.
    async fn look_around(&mut self) -> Result<(), Fault> {
        self.probed = Instant::now();
        match self.probe {
            Some((asked, _)) if asked.elapsed() > self.to.config.lag_max => {
                let told = format!("the stream of changes is more than {:?} behind", self.to.config.lag_max);
                return Err(Fault::upstream("57P05", told));
            }
            Some(_) => {}
            None => {
                let asked = Instant::now();
                self.probe = Some((asked, self.flushed().await?));
            }
        }
        self.stream.report(true).await?;
        if self.compared.elapsed() >= self.to.config.definitions_interval {
            self.compared = Instant::now();
            if self.digest.renew(&self.own, self.triggered, self.limit).await? {
                self.redefined();
            }
        }
        if self.measured.elapsed() >= RETAINED_PAUSE {
            self.measured = Instant::now();
            self.measure().await?;
        }
        Ok(())
    }

    /// Up to where the primary has flushed: what was committed before is sent.
    async fn flushed(&self) -> Result<u64, Fault> {
        const QUESTION: &str =
            "SELECT pg_current_wal_flush_lsn()::text, current_setting('wal_block_size')::bigint::text";
        let row = own::ask(self.limit, self.own.query_one(QUESTION, &[])).await?;
        let text = |column: usize| row.try_get::<_, String>(column).ok();
        let position = text(0).as_deref().and_then(parse_lsn);
        let block = text(1).and_then(|text| text.parse().ok());
        let unreadable = || Fault::upstream("08006", "unreadable WAL position");
        Ok(end_of_record(position.ok_or_else(unreadable)?, block.ok_or_else(unreadable)?))
    }

    /// What the primary keeps for the slot must stay within its bound.
    async fn measure(&mut self) -> Result<(), Fault> {
        let sql = format!(
            "SELECT coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint::text \
             FROM pg_replication_slots WHERE slot_name = {}",
            crate::upstream::settings::quote_text(&self.stream.slot)
        );
        let kept: i64 = definitions::text(&self.own, &sql, self.limit).await?.parse().unwrap_or(0);
        if u64::try_from(kept).unwrap_or(0) <= self.to.config.retained_max {
            return Ok(());
        }
        let told = format!("the primary keeps {kept} bytes of WAL for slot {}", self.stream.slot);
        Err(Fault::upstream(RETAINED_TOO_MUCH, told)
            .hint("Its reader is too slow, or a transaction runs for long."))
    }

    async fn snapshot(&self) -> Result<Snapshot, Fault> {
        snapshot(&self.own, self.limit).await
    }

    async fn take(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let wrong = |error: pointsman_wire::WireError| {
            Fault::upstream("08P01", "the stream of changes cannot be read").because(error)
        };
        match FromSender::decode(payload).map_err(wrong)? {
            FromSender::Keepalive { end, .. } => self.reached(end),
            FromSender::Data { payload, .. } => {
                let change = Change::decode(payload).map_err(wrong)?;
                self.change(&change).await;
            }
        }
        Ok(())
    }

    async fn change(&mut self, change: &Change<'_>) {
        let full = self.unheard.add(change, self.to.policies.load().plugins());
        if full {
            self.tell_plugins(0).await;
        }
        match change {
            Change::Begin { xid, .. } => {
                self.xid = *xid;
                self.marks.clear();
                self.defines = false;
            }
            Change::Message { prefix, .. } if *prefix == definitions::PREFIX => self.defines = true,
            Change::Commit { end, .. } => {
                self.tell_plugins(*end).await;
                self.commit(*end);
            }
            _ => {
                let catalog = self.to.database.catalog();
                let policies = self.to.policies.load();
                let by = By {
                    catalog: &catalog,
                    columns: policies.set.key_columns(),
                    version: policies.set.version(),
                    space: self.to.database.space(),
                };
                self.relations.add(change, &by, &mut self.marks);
            }
        }
    }

    /// Plugins hear of what has gathered, and say what else has changed.
    async fn tell_plugins(&mut self, lsn: u64) {
        let database = &self.to.database;
        let (policies, catalog) = (self.to.policies.load_full(), database.catalog().clone());
        let by = Naming { catalog: &catalog, space: database.space() };
        let at = At { database: &database.name, lsn, by };
        self.unheard.tell(policies.plugins(), at, &mut self.marks).await;
    }

    fn commit(&mut self, end: u64) {
        if self.defines {
            self.marks.add_everything();
        }
        if !self.marks.is_empty() {
            self.to.database.publish(&self.marks);
            self.to.ledger.change(Commit { end: Lsn(end), xid: self.xid }, &self.marks);
            self.to.cluster.hear(end);
            self.to.database.watched.count_commit();
        }
        if self.defines {
            self.to.database.catalog_changed();
        }
        self.reached(end);
    }

    /// Everything before this position has come.
    fn reached(&mut self, end: u64) {
        self.stream.taken = self.stream.taken.max(end);
        if let Some((asked, position)) = self.probe
            && end >= position
        {
            self.to.database.watched.set_seen(asked.checked_sub(self.unflushed));
            self.probe = None;
        }
    }

    fn redefined(&self) {
        tracing::info!(database = self.to.database.name, "definitions, grants or roles have changed");
        self.to.database.forget_results();
        self.to.database.catalog_changed();
    }
}

/// The primary's snapshot now.
///
/// # Errors
/// It does not answer, or not with one.
pub async fn snapshot(own: &Own, limit: Duration) -> Result<Snapshot, Fault> {
    let text = definitions::text(own, "SELECT pg_current_snapshot()::text", limit).await?;
    Snapshot::parse(&text).map_err(|error| Fault::upstream("08006", error.to_string()))
}
