//! One task for each cluster, and one for each of its databases: opens the databases' ledgers, by the change stream where
//! the primary offers one, else for the writes that pass through here alone; and tells which of the two it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use pointsman_cache::Tags;
use pointsman_cache::ledger::{Backend, Era, Watch};
use tokio::task::JoinHandle;

use super::changes::{Listened, RETAINED_TOO_MUCH, listen, snapshot};
use super::config::{ChangesConfig, ChangesMode};
use super::definitions::{self, Digest};
use super::fleet::Fleet;
use crate::fault::Fault;
use crate::policies::Policies;
use crate::upstream::cluster::Cluster;
use crate::upstream::own::{self, Own};
use crate::upstream::server::Server;
use crate::upstream::watched::Hearing;

/// Between two looks for databases and policies.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// Between two looks at what one database's ledger waits for, without a stream.
const TEND_PAUSE: Duration = Duration::from_millis(20);
/// Between two looks whether lost writes' backends have ended.
const DOUBTS_PAUSE: Duration = Duration::from_millis(500);
/// First pause after a stream that failed; doubles up to the last.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Looks whether a slot is free to be dropped.
const DROP_TRIES: usize = 25;
/// How often a primary without a change stream is asked whether it has one now.
const OFFER_PAUSE: Duration = Duration::from_secs(10);

/// Keeps the ledgers of a cluster's databases until it is retired.
pub async fn keep(
    cluster: Arc<Cluster>,
    policies: Arc<ArcSwap<Policies>>,
    config: Arc<ChangesConfig>,
    fleet: Option<Arc<Fleet>>,
) {
    let mut kept: HashMap<String, JoinHandle<()>> = HashMap::new();
    while !cluster.is_retired() {
        if policies.load().set.caches() {
            for database in cluster.databases() {
                if kept.contains_key(&database.name) {
                    continue;
                }
                let ledger = Arc::clone(database.keep_ledger());
                if let Some(fleet) = &fleet {
                    fleet.join(&database, &ledger);
                }
                let to = Listened {
                    fleet: fleet.clone(),
                    cluster: Arc::clone(&cluster),
                    ledger,
                    policies: Arc::clone(&policies),
                    config: Arc::clone(&config),
                    database,
                };
                kept.insert(to.database.name.clone(), tokio::spawn(tend(to)));
            }
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// Why there is no stream to be had, as far as the server says so.
enum Offer {
    Stream,
    None(String),
}

/// Keeps one database's ledger.
async fn tend(to: Listened) {
    let mut pause = RETRY_PAUSE;
    while !to.cluster.is_retired() {
        let servers = to.cluster.servers();
        let Some(primary) = to.cluster.primary().and_then(|index| servers.get(index)).cloned() else {
            tokio::time::sleep(TEND_PAUSE).await;
            continue;
        };
        let begun = Instant::now();
        let fault = match offer(&to, &primary).await {
            Ok(Offer::Stream) => {
                to.database.watched.set_hearing(Hearing::Opening);
                let fault = listen(&to, &primary).await;
                to.ledger.close();
                to.database.watched.count_break();
                if fault.sqlstate == RETAINED_TOO_MUCH {
                    give_slot_up(&to, &primary).await;
                }
                fault
            }
            Ok(Offer::None(why)) => own_writes(&to, &primary, why).await,
            Err(fault) => fault,
        };
        if to.ledger.is_closed() && to.database.watched.set_hearing(Hearing::Broken(fault.to_string())) {
            tracing::warn!(database = to.database.name, %fault,
                "changes are not heard of: nothing is served from the cache until they are");
        }
        pause =
            if begun.elapsed() > RETRY_PAUSE_MAX { RETRY_PAUSE } else { (pause * 2).min(RETRY_PAUSE_MAX) };
        tokio::time::sleep(pause).await;
    }
}

/// Whether the primary has what a stream takes.
async fn offer(to: &Listened, primary: &Arc<Server>) -> Result<Offer, Fault> {
    if to.config.mode == ChangesMode::Off {
        return Ok(Offer::None("cache.changes is off".to_owned()));
    }
    let limit = to.cluster.config().connect_timeout();
    let own = own::connect(&to.cluster.config(), primary, &to.database.name, limit).await?;
    let level = definitions::text(&own, "SELECT current_setting('wal_level')", limit).await?;
    if level != "logical" {
        return Ok(Offer::None(format!("wal_level is {level}, not logical")));
    }
    let name = crate::upstream::settings::quote_text(&to.config.publication);
    let whole = format!(
        "SELECT coalesce((SELECT CASE WHEN NOT puballtables THEN 'tables' \
         WHEN pubinsert AND pubupdate AND pubdelete AND pubtruncate THEN 'whole' ELSE 'operations' END \
         FROM pg_publication WHERE pubname = {name}), 'none')"
    );
    let publication = &to.config.publication;
    let told = match definitions::text(&own, &whole, limit).await?.as_str() {
        "whole" => None,
        "none" => Some(format!("there is no publication {publication}: see pointsman changes init")),
        "tables" => Some(format!("publication {publication} is not FOR ALL TABLES")),
        _ => Some(format!("publication {publication} leaves out some operations")),
    };
    if let Some(told) = told {
        return Ok(Offer::None(told));
    }
    if let Some(slot) = &to.config.slot {
        let sql = format!(
            "SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = {} AND wal_status <> 'lost'",
            crate::upstream::settings::quote_text(slot)
        );
        if definitions::text(&own, &sql, limit).await? == "0" {
            return Ok(Offer::None(format!(
                "replication slot {slot} is not there: see pointsman changes init"
            )));
        }
    }
    let may = "SELECT CASE WHEN rolsuper OR rolreplication THEN 't' ELSE 'f' END FROM pg_roles \
               WHERE rolname = current_user";
    if definitions::text(&own, may, limit).await? != "t" {
        return Ok(Offer::None(format!("role {} may not replicate", to.cluster.config().user)));
    }
    Ok(Offer::Stream)
}

/// A permanent slot that the primary keeps too much for is dropped: a full disk would stop it. A temporary one is gone with
/// its connection.
async fn give_slot_up(to: &Listened, primary: &Arc<Server>) {
    let Some(slot) = &to.config.slot else { return };
    let named = crate::upstream::settings::quote_text(slot);
    let sql = format!(
        "SELECT count(pg_drop_replication_slot(slot_name))::text FROM pg_replication_slots \
         WHERE slot_name = {named} AND NOT active"
    );
    let limit = to.cluster.config().connect_timeout();
    for _ in 0..DROP_TRIES {
        let dropped = async {
            let own = own::connect(&to.cluster.config(), primary, &to.database.name, limit).await?;
            own::ask(limit, own.batch_execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"))
                .await?;
            definitions::text(&own, &sql, limit).await
        };
        match dropped.await.as_deref() {
            Ok("0") => tokio::time::sleep(LOOK_PAUSE).await,
            Ok(_) => {
                tracing::error!(slot, "the slot was dropped: the primary kept too much WAL for it");
                return;
            }
            Err(fault) => {
                tracing::error!(slot, %fault, "the slot cannot be dropped, and the primary keeps WAL for it");
                return;
            }
        }
    }
    tracing::error!(slot, "the slot is in use and cannot be dropped, and the primary keeps WAL for it");
}

/// Keeps the ledger for writes that pass through here, until something is wrong or it is time to ask for a stream again.
async fn own_writes(to: &Listened, primary: &Arc<Server>, why: String) -> Fault {
    match OwnWrites::begin(to, primary, why).await {
        Ok(mut own) => own.run().await,
        Err(fault) => fault,
    }
}

struct OwnWrites<'a> {
    to: &'a Listened,
    primary: &'a Arc<Server>,
    own: Own,
    era: Era,
    limit: Duration,
    digest: Digest,
    compared: Instant,
    doubted: Instant,
}

impl<'a> OwnWrites<'a> {
    async fn begin(to: &'a Listened, primary: &'a Arc<Server>, why: String) -> Result<Self, Fault> {
        let limit = to.cluster.config().connect_timeout();
        let era = Era(to.cluster.era());
        let own = own::connect(&to.cluster.config(), primary, &to.database.name, limit).await?;
        if let Some(why) = to.fleet.as_ref().and_then(|fleet| fleet.gap()) {
            to.ledger.close();
            return Err(Fault::pointsman("57P05", format!("other proxies are not heard: {why}")));
        }
        let mut digest = Digest::default();
        digest.renew(&own, false, limit).await?;
        let opened = to.ledger.state();
        if opened.closed || opened.era != era {
            let snapshot = snapshot(&own, limit).await?;
            to.ledger.open(era, Watch::OwnWritesOnly, &snapshot);
            to.database.freshness.note_all();
        } else {
            // Definitions may have changed while nobody looked.
            to.database.forget_results();
        }
        if to.database.watched.set_hearing(Hearing::OwnWritesOnly(why.clone())) {
            tracing::warn!(
                database = to.database.name,
                why,
                "the cache sees only writes that pass through here: others show when entries expire"
            );
        }
        let now = Instant::now();
        Ok(Self { to, primary, own, era, limit, digest, compared: now, doubted: now })
    }

    async fn run(&mut self) -> Fault {
        let mut asked = Instant::now();
        loop {
            if let Err(fault) = self.round().await {
                return fault;
            }
            if self.to.config.mode == ChangesMode::Auto && asked.elapsed() > OFFER_PAUSE {
                asked = Instant::now();
                match offer(self.to, self.primary).await {
                    Ok(Offer::Stream) => {
                        return Fault::pointsman("00000", "there is a stream of changes now");
                    }
                    Ok(Offer::None(why)) => {
                        self.to.database.watched.set_hearing(Hearing::OwnWritesOnly(why));
                    }
                    Err(fault) => return fault,
                }
            }
            tokio::time::sleep(TEND_PAUSE).await;
        }
    }

    async fn round(&mut self) -> Result<(), Fault> {
        if self.to.cluster.era() != self.era.0 {
            self.to.ledger.close();
            return Err(Fault::upstream("57P01", "the primary has changed"));
        }
        if let Some(why) = self.to.fleet.as_ref().and_then(|fleet| fleet.gap()) {
            self.to.ledger.close();
            return Err(Fault::pointsman("57P05", format!("other proxies are not heard: {why}")));
        }
        if self.to.ledger.is_unsettled() {
            let snapshot = snapshot(&self.own, self.limit).await?;
            self.to.ledger.settle(self.era, &snapshot);
        }
        if self.doubted.elapsed() >= DOUBTS_PAUSE {
            self.doubted = Instant::now();
            self.resolve_doubts().await?;
        }
        if self.compared.elapsed() >= self.to.config.definitions_interval {
            self.compared = Instant::now();
            if self.digest.renew(&self.own, false, self.limit).await? {
                self.to.database.forget_results();
                self.to.database.catalog_changed();
            }
        }
        Ok(())
    }

    /// Writes whose connection was lost are over when their backends are.
    async fn resolve_doubts(&self) -> Result<(), Fault> {
        for (doubt, Backend(pid)) in self.to.ledger.doubts() {
            let living = format!("SELECT count(*)::text FROM pg_stat_activity WHERE pid = {pid}");
            if definitions::text(&self.own, &living, self.limit).await? == "0" {
                // Which tags, the ledger knows.
                self.to.database.publish(&Tags::everything());
                self.to.ledger.resolve(doubt);
            }
        }
        Ok(())
    }
}
