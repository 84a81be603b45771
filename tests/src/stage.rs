//! A stage: a primary, its streaming replicas, and the proxies that stand before them.
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::keeper::Keeper;
use crate::server::{Plan, Server};
use crate::shards::{self, Shard, ShardPlan};
use crate::{Proxy, eventually};

/// Real servers in a directory of their own; all of it is gone after the drop.
#[derive(Debug)]
pub struct Stage {
    /// Takes writes.
    pub primary: Server,
    /// Stream from the primary.
    pub replicas: Vec<Server>,
    /// Each holds a part of the rows.
    pub shards: Vec<Shard>,
    dir: PathBuf,
    _keeper: Keeper,
}

/// What a stage is made with.
#[derive(Debug, Default)]
pub struct StageBuilder {
    replicas: usize,
    shards: ShardPlan,
    plan: Plan,
}

impl StageBuilder {
    /// How many streaming replicas.
    #[must_use]
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// How many shards, each a database of the primary, beside the database `whole`.
    #[must_use]
    pub fn shards(mut self, count: usize) -> Self {
        self.shards.count = count;
        self
    }

    /// Each shard is a server of its own, with so many replicas.
    #[must_use]
    pub fn shard_servers(mut self, replicas: usize) -> Self {
        self.shards.own_servers = Some(replicas);
        self
    }

    /// What follows `CREATE DATABASE` for the shards and `whole`, such as another collation.
    #[must_use]
    pub fn shard_databases(mut self, how: &str) -> Self {
        how.clone_into(&mut self.shards.create);
        self
    }

    /// A line of `postgresql.conf` for every server.
    #[must_use]
    pub fn setting(mut self, line: &str) -> Self {
        self.plan.settings.push(line.to_owned());
        self
    }

    /// A line at the head of every server's `pg_hba.conf`.
    #[must_use]
    pub fn hba(mut self, line: &str) -> Self {
        self.plan.hba.push(line.to_owned());
        self
    }

    /// Starts the servers and waits until the replicas stream.
    pub async fn start(self) -> Stage {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("pointsman-{}-{number}", std::process::id()));
        std::fs::create_dir(&dir).expect("a stage's directory");
        let keeper = Keeper::new(&dir);
        crate::tools::give_to_servers(&dir);
        let primary = Server::new(&dir, "primary", &self.plan).await;
        let mut replicas = Vec::new();
        for number in 0..self.replicas {
            let plan = Plan { follows: Some(primary.port), ..self.plan.clone() };
            replicas.push(Server::new(&dir, &format!("replica{number}"), &plan).await);
        }
        let shards = shards::make(&dir, &primary, &self.shards, &self.plan).await;
        let stage = Stage { primary, replicas, shards, dir, _keeper: keeper };
        stage.wait_streaming().await;
        stage
    }
}

impl Stage {
    /// Describes a stage.
    #[expect(clippy::new_ret_no_self, reason = "reads as a sentence: Stage::new().replicas(1).start()")]
    pub fn new() -> StageBuilder {
        StageBuilder::default()
    }

    /// The directory of servers' sockets and proxies' files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What makes the shards' clusters in a proxy's configuration, with one more key of their pools.
    pub fn shard_pools(&self, key: &str) -> String {
        shards::yaml(&self.shards, &format!(", {key}"))
    }

    /// The first replica.
    pub fn replica(&self) -> &Server {
        self.replicas.first().expect("the stage has a replica")
    }

    /// A proxy before these servers; `config` is YAML whose top-level keys replace the usual ones.
    pub async fn proxy(&self, config: &str) -> Proxy {
        Proxy::start(self, config).await
    }

    /// Waits until every replica streams from the primary.
    pub async fn wait_streaming(&self) {
        let want = self.replicas.len().to_string();
        let admin = self.primary.admin().await;
        eventually("replicas stream", Duration::from_secs(20), || async {
            let query = "SELECT count(*)::text FROM pg_stat_replication WHERE state = 'streaming'";
            admin.query_one(query, &[]).await.is_ok_and(|row| row.get::<_, String>(0) == want)
        })
        .await;
    }

    /// Waits until every replica has replayed what the primary has written so far.
    pub async fn wait_replayed(&self) {
        let lsn = self.primary.value("SELECT pg_current_wal_insert_lsn()").await;
        for replica in &self.replicas {
            let admin = replica.admin().await;
            let query = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn");
            eventually("the replica replays", Duration::from_secs(20), || async {
                admin.query_one(&query, &[]).await.is_ok_and(|row| row.get(0))
            })
            .await;
        }
    }

    /// Which server's log holds `marker`: `primary`, `replica0`, both joined by `+`, or nothing.
    pub fn served_by(&self, marker: &str) -> String {
        let mut names = Vec::new();
        if self.primary.logged(marker) {
            names.push("primary".to_owned());
        }
        for (number, replica) in self.replicas.iter().enumerate() {
            if replica.logged(marker) {
                names.push(format!("replica{number}"));
            }
        }
        names.join("+")
    }
}
