//! Asks the primary for its WAL position and the replicas for theirs, while any acknowledged write is pending. Each
//! replica is asked by itself, so that one that is late holds up no other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};
use pointsman_cache::Ledger;
use pointsman_cache::ledger::{Era, Lsn, Seq};
use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::config::ClusterConfig;
use super::freshness::Freshness;
use super::health::parse_lsn;
use super::own::{self, Own};
use super::server::Server;
use super::targets::Targets;
use crate::fault::Fault;

const PRIMARY: &str =
    "SELECT pg_current_wal_insert_lsn()::text, current_setting('wal_block_size')::bigint::text";
/// A replica that replays an older timeline than the primary's may be past a position without having what lies before
/// it: its timeline is asked for too.
const REPLICA: &str = "SELECT pg_last_wal_replay_lsn()::text, \
     coalesce((SELECT received_tli FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint()))::text \
     WHERE pg_is_in_recovery()";

/// Longest pause between two questions while replicas do not get on.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Asks until the cluster is retired.
pub async fn watch(cluster: Arc<Cluster>) {
    let mut asker = Asker {
        cluster,
        own: None,
        owns: HashMap::new(),
        asking: HashSet::new(),
        answers: JoinSet::new(),
        targets: Targets::default(),
        primary: None,
        pause: Duration::ZERO,
    };
    while !asker.cluster.is_retired() {
        if let Err(fault) = asker.round().await {
            // Health tells of servers that do not answer; here it only means: the primary serves the reads.
            tracing::debug!(%fault, "no WAL position");
            let interval = asker.cluster.config().health_interval;
            tokio::time::sleep(interval.min(PAUSE_MAX)).await;
        }
    }
}

/// A replica's answer, and the connection to ask it again on.
type Answer = (usize, Result<(Own, u64, u32), Fault>);

struct Asker {
    cluster: Arc<Cluster>,
    /// To the primary.
    own: Option<Own>,
    /// To the replicas, by server index.
    owns: HashMap<usize, Own>,
    /// Replicas whose answer is awaited.
    asking: HashSet<usize>,
    answers: JoinSet<Answer>,
    targets: Targets,
    /// The server that the targets are positions of.
    primary: Option<usize>,
    /// Between two questions; grows while nothing new is written or replayed.
    pause: Duration,
}

impl Asker {
    /// One question to the primary if a write is pending, one to each replica that has not followed, then a pause.
    async fn round(&mut self) -> Result<(), Fault> {
        self.follow_primary();
        let databases: Vec<Arc<Freshness>> =
            self.cluster.databases().iter().map(|database| Arc::clone(&database.freshness)).collect();
        let pending = Targets::pending(&databases);
        let ledgers = self.ledgers();
        let wanted = ledgers.iter().any(|(ledger, _)| ledger.wants_position());
        if self.primary.is_some() && (wanted || !pending.is_empty()) {
            let era = Era(self.cluster.era());
            let lsn = self.ask_primary().await?;
            // The answer counts only if this server was the primary all along.
            if self.cluster.primary() != self.primary {
                return Ok(());
            }
            for (ledger, asked) in ledgers {
                ledger.positioned(era, asked, Lsn(lsn));
            }
            if wanted {
                self.cluster.hear(lsn);
            }
            if !pending.is_empty() {
                self.targets.add(lsn, pending);
            }
            self.pause = Duration::ZERO;
        }
        let replicas = self.cluster.replicas();
        self.ask_replicas(&replicas);
        self.targets.settle(&replicas);
        self.rest().await;
        Ok(())
    }

    /// Positions of a server that is no longer the primary prove nothing, nor do answers that are under way.
    fn follow_primary(&mut self) {
        let primary = self.cluster.primary();
        if primary != self.primary {
            self.targets.clear();
            self.answers = JoinSet::new();
            self.asking.clear();
            self.own = None;
            self.primary = primary;
        }
    }

    /// The ledgers, each with its last number: the position that is asked for now bounds every mark up to it.
    fn ledgers(&self) -> Vec<(Arc<Ledger>, Seq)> {
        let databases = self.cluster.databases();
        let kept = databases.iter().filter_map(|database| database.ledger());
        kept.map(|ledger| (Arc::clone(ledger), ledger.last())).collect()
    }

    async fn ask_primary(&mut self) -> Result<u64, Fault> {
        let config = self.cluster.config();
        let servers = self.cluster.servers();
        let primary = self.primary.and_then(|index| servers.get(index)).ok_or_else(unreadable)?;
        let asked = Instant::now();
        let (own, first, second) = ask(self.own.take(), &config, primary, PRIMARY).await?;
        self.own = Some(own);
        let lsn = first.as_deref().and_then(parse_lsn).ok_or_else(unreadable)?;
        let block = second.and_then(|text| text.parse().ok()).ok_or_else(unreadable)?;
        let lsn = end_of_record(lsn, block);
        self.cluster.primary_at(asked, lsn);
        Ok(lsn)
    }

    fn ask_replicas(&mut self, replicas: &[usize]) {
        let servers = self.cluster.servers();
        for replica in replicas.iter().filter_map(|index| servers.get(*index)) {
            if self.has_followed(replica) || !self.asking.insert(replica.index) {
                continue;
            }
            let own = self.owns.remove(&replica.index);
            let (config, replica) = (self.cluster.config(), Arc::clone(replica));
            self.answers.spawn(async move { (replica.index, ask_replica(own, &config, &replica).await) });
        }
    }

    /// Whether a replica need not be asked.
    fn has_followed(&self, replica: &Server) -> bool {
        self.targets.is_reached_by(replica.index) && self.cluster.has_followed_stream(replica)
    }

    /// Takes the answers that come until the next questions are due.
    async fn rest(&mut self) {
        let config = self.cluster.config();
        let wanted = self.ledgers().iter().any(|(ledger, _)| ledger.wants_position());
        let waiting = wanted || !self.asking.is_empty() || {
            let (replicas, servers) = (self.cluster.replicas(), self.cluster.servers());
            replicas.iter().filter_map(|index| servers.get(*index)).any(|replica| !self.has_followed(replica))
        };
        self.pause = if self.pause.is_zero() { config.lsn_interval } else { self.pause * 2 };
        self.pause = self.pause.min(PAUSE_MAX.max(config.lsn_interval));
        let until = tokio::time::Instant::now() + self.pause;
        let cluster = Arc::clone(&self.cluster);
        loop {
            tokio::select! {
                answer = self.answers.join_next(), if !self.answers.is_empty() => {
                    if let Some(Ok(answer)) = answer {
                        self.take(answer);
                    }
                }
                () = tokio::time::sleep_until(until), if waiting => return,
                () = cluster.positions_asked() => {
                    // Writes in quick succession share one question.
                    tokio::time::sleep(config.lsn_interval).await;
                    self.pause = Duration::ZERO;
                    return;
                }
            }
        }
    }

    fn take(&mut self, (index, answer): Answer) {
        self.asking.remove(&index);
        let servers = self.cluster.servers();
        let Some(server) = servers.get(index) else { return };
        match answer {
            Ok((own, lsn, timeline)) => {
                self.owns.insert(index, own);
                self.cluster.replica_at(server, lsn);
                if timeline >= self.cluster.newest_timeline() {
                    if lsn > server.replayed() {
                        self.pause = Duration::ZERO;
                    }
                    server.set_replayed(lsn);
                    if self.targets.reached(index, lsn) {
                        self.pause = Duration::ZERO;
                    }
                }
            }
            Err(fault) => tracing::debug!(server = %server.config.address, %fault, "no replay position"),
        }
    }
}

async fn ask_replica(
    own: Option<Own>,
    config: &ClusterConfig,
    server: &Arc<Server>,
) -> Result<(Own, u64, u32), Fault> {
    let (own, position, timeline) = ask(own, config, server, REPLICA).await?;
    let position = position.as_deref().and_then(parse_lsn).ok_or_else(unreadable)?;
    Ok((own, position, timeline.and_then(|text| text.parse().ok()).unwrap_or(0)))
}

/// Asks for two columns, on a connection of our own or a new one.
async fn ask(
    own: Option<Own>,
    config: &ClusterConfig,
    server: &Arc<Server>,
    question: &str,
) -> Result<(Own, Option<String>, Option<String>), Fault> {
    let own = match own {
        Some(own) if !own.is_closed() => own,
        _ => own::connect(config, server, &config.maintenance_database, config.health_timeout).await?,
    };
    let row = own::ask(config.health_timeout, own.query_one(question, &[])).await?;
    let read = |column: usize| row.try_get(column).map_err(|error| unreadable().because(own::why(&error)));
    let (first, second) = (read(0)?, read(1)?);
    Ok((own, first, second))
}

fn unreadable() -> Fault {
    Fault::upstream("08006", "unreadable WAL position")
}

/// Lengths of the headers of a WAL page and of a segment's first page, `access/xlog_internal.h`.
const PAGE_HEADERS: [u64; 2] = [24, 40];

/// Right after a page header stands no record yet: the last record ends where the page begins, and that is what a
/// replica that has replayed it reports.
pub fn end_of_record(lsn: u64, block: u64) -> u64 {
    let into_page = lsn.checked_rem(block).unwrap_or(0);
    if PAGE_HEADERS.contains(&into_page) { lsn - into_page } else { lsn }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_after_a_page_header_is_the_page_itself() {
        assert_eq!(end_of_record(0x300_2000 + 24, 8192), 0x300_2000);
        assert_eq!(end_of_record(0x400_0000 + 40, 8192), 0x400_0000);
        assert_eq!(end_of_record(0x300_2000 + 48, 8192), 0x300_2000 + 48);
        assert_eq!(end_of_record(0x300_2018, 0x1_0000), 0x300_2018);
    }
}
