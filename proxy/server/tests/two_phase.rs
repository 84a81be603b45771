//! Transactions on three real servers: a server or the proxy dies at each step of a commit, and after recovery all of it is there
//! or nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use pointsman::config::Config;
use pointsman::fault::Fault;
use pointsman::twophase::config::Terms;
use pointsman::twophase::{Group, Outcome, Participant, Stops, Trouble, commit, sweep};
use pointsman::upstream::cluster::Cluster;
use pointsman_tests::{DATABASE, PASSWORD, Server, Stage, StageBuilder, Wire, eventually, within};

const SOON: Duration = Duration::from_secs(20);
const SHARDS: usize = 3;
/// Where a commit can be stopped.
const PLACES: [&str; 9] = [
    "registered",
    "prepared-0",
    "prepared-1",
    "prepared-2",
    "prepared",
    "decided",
    "committed-0",
    "committed-1",
    "committed-2",
];

/// Recovery at once, and little patience.
const TERMS: Terms = Terms {
    step: Duration::from_secs(5),
    decide: Duration::from_millis(300),
    finish: Duration::from_millis(300),
    grace: Duration::ZERO,
    interval: Duration::from_millis(100),
    retention: Duration::from_secs(600),
};

/// Servers, each with the table `t`.
struct Shards(Vec<Stage>);

impl Shards {
    async fn start(describe: impl Fn(usize) -> StageBuilder) -> Self {
        let mut stages = Vec::new();
        for number in 0..SHARDS {
            let stage = describe(number).start().await;
            stage.primary.sql("CREATE TABLE t (id int PRIMARY KEY); GRANT ALL ON t TO app").await;
            stages.push(stage);
        }
        Self(stages)
    }

    fn server(&self, shard: usize) -> &Server {
        &self.0[shard].primary
    }

    fn group(&self, user: &str) -> Group {
        let clusters = self.0.iter().enumerate().map(|(number, stage)| {
            let port = stage.primary.port;
            let text = format!("primary: postgres://{user}:{PASSWORD}@127.0.0.1:{port}/{DATABASE}\n");
            let config = Config::from_yaml("shards.yaml", &text, Path::new("")).expect("a configuration");
            let mut cluster = config.clusters.into_iter().next().expect("a cluster");
            cluster.name = format!("s{number}");
            Arc::new(Cluster::new(cluster))
        });
        Group::new("social", clusters.map(|cluster| (cluster, DATABASE.to_owned())).collect(), 1)
            .expect("a group")
            .with_terms(TERMS)
    }

    /// A transaction that has inserted `id` on each shard.
    async fn begin(&self, id: u32) -> Vec<Seat> {
        let mut seats = Vec::new();
        for shard in 0..SHARDS {
            let mut wire = self.server(shard).wire().await;
            wire.run(&format!("BEGIN; INSERT INTO t VALUES ({id})")).await;
            seats.push(Seat { shard, wire });
        }
        seats
    }

    /// On how many shards a row is.
    async fn count(&self, id: u32) -> usize {
        let mut count = 0;
        for shard in 0..SHARDS {
            let sql = format!("SELECT count(*) FROM t WHERE id = {id}");
            count += self.server(shard).value(&sql).await.parse::<usize>().expect("a number");
        }
        count
    }

    async fn recovered(&self) {
        let group = self.group("postgres");
        eventually("nothing is in doubt", SOON, || async {
            sweep(&group).await;
            let mut prepared = 0;
            for shard in 0..SHARDS {
                // Its backends may not have noticed yet that their client is gone.
                let sql = "SELECT (SELECT count(*) FROM pg_prepared_xacts) + (SELECT count(*) FROM pg_stat_activity \
                           WHERE usename = 'app')";
                prepared += self.server(shard).value(sql).await.parse::<usize>().expect("a number");
            }
            prepared == 0 && group.doubtful().is_empty()
        })
        .await;
    }
}

/// A session's connection.
struct Seat {
    shard: usize,
    wire: Wire,
}

impl Participant for Seat {
    fn shard(&self) -> usize {
        self.shard
    }

    async fn run(&mut self, sql: &str) -> Result<String, Trouble> {
        let mut message = BytesMut::new();
        message.put_u8(b'Q');
        message.put_i32(i32::try_from(sql.len() + 5).expect("a short text"));
        message.put_slice(sql.as_bytes());
        message.put_u8(0);
        let frames = self.wire.try_ask(&message).await;
        let frames = frames.ok_or_else(|| Trouble::Lost(Fault::upstream("08006", "closed")))?;
        if let Some(error) = frames.iter().find(|frame| frame.tag == b'E') {
            let mut bytes = BytesMut::new();
            bytes.put_u8(b'E');
            bytes.put_i32(i32::try_from(error.body.len() + 4).expect("a short message"));
            bytes.put_slice(&error.body);
            return Err(Trouble::Refused(Fault::from_server(Bytes::from(bytes))));
        }
        let last = frames.iter().rfind(|frame| frame.tag == b'C').expect("a command is complete");
        Ok(last.text())
    }
}

fn id() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A commit on its way, stopped at a place.
struct Stopped {
    task: tokio::task::JoinHandle<Result<Outcome, Fault>>,
    file: PathBuf,
}

impl Stopped {
    async fn begin(shards: &Shards, id: u32, place: &str) -> Self {
        let file = shards.0[0].dir().join(format!("stopped-{id}"));
        let group = shards.group("postgres").with_stops(Stops::at(place, file.clone()));
        let mut seats = shards.begin(id).await;
        let task = tokio::spawn(async move { commit(&group, &mut seats).await });
        eventually(place, SOON, || async { file.exists() }).await;
        Self { task, file }
    }

    async fn go_on(self) -> Result<Outcome, Fault> {
        std::fs::remove_file(&self.file).expect("it is stopped");
        within("a commit ends", SOON, self.task).await.expect("it does not panic")
    }
}

#[tokio::test]
async fn commits_on_all_or_says_why_on_none() {
    let shards = Shards::start(|_| Stage::new()).await;
    let (group, first) = (shards.group("postgres"), id());
    for id in [first, id(), id()] {
        let outcome = commit(&group, &mut shards.begin(id).await).await.expect("a commit");
        assert_eq!((outcome.late.len(), shards.count(id).await), (0, SHARDS));
    }
    assert_eq!(
        shards.server(0).value("SELECT string_agg(DISTINCT verdict, '') FROM pointsman.decisions").await,
        "commit"
    );
    // One shard's transaction has failed, which PREPARE TRANSACTION does not call an error.
    let mut seats = shards.begin(id()).await;
    seats[1].wire.query("SELECT 1/0").await;
    let fault = commit(&group, &mut seats).await.expect_err("a failed transaction");
    assert_eq!(fault.sqlstate, "25P02");
    drop(seats);
    // A constraint that is checked at the end: the server's own word.
    let table = "CREATE TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED); GRANT ALL ON late TO app";
    shards.server(2).sql(table).await;
    let last = id();
    let mut seats = shards.begin(last).await;
    seats[2].wire.run("INSERT INTO late VALUES (1), (1)").await;
    let fault = commit(&group, &mut seats).await.expect_err("a duplicate");
    assert!(fault.sqlstate == "23505" && fault.verbatim.is_some(), "{fault}");
    assert_eq!(shards.count(last).await, 0);
    // The connections are fit for use.
    for seat in &mut seats {
        assert_eq!(seat.wire.value("SELECT 1 + count(*) FROM t WHERE id < 0").await, "1");
    }
    drop(seats);
    shards.recovered().await;
    // What is old and settled is forgotten.
    let group = shards.group("postgres").with_terms(Terms { retention: Duration::ZERO, ..TERMS });
    assert!(sweep(&group).await.forgotten >= 3);
    assert_eq!(shards.server(0).value("SELECT count(*) FROM pointsman.decisions").await, "0");
}

#[tokio::test]
async fn the_proxy_dies_at_each_step() {
    let shards = Shards::start(|_| Stage::new()).await;
    for place in PLACES {
        let id = id();
        let stopped = Stopped::begin(&shards, id, place).await;
        stopped.task.abort();
        let _cancelled = stopped.task.await;
        shards.recovered().await;
        let decided = place == "decided" || place.starts_with("committed");
        assert_eq!(shards.count(id).await, if decided { SHARDS } else { 0 }, "{place}");
    }
}

#[tokio::test]
async fn a_server_dies_at_each_step() {
    let shards = Shards::start(|_| Stage::new()).await;
    let mut outcomes = std::collections::BTreeMap::new();
    for place in PLACES {
        for dying in 0..SHARDS {
            let id = id();
            let stopped = Stopped::begin(&shards, id, place).await;
            shards.server(dying).stop("KILL").await;
            let outcome = stopped.go_on().await;
            shards.server(dying).start().await;
            shards.recovered().await;
            let count = shards.count(id).await;
            let told =
                outcome.as_ref().map_or_else(|fault| fault.sqlstate.to_string(), |_| "committed".to_owned());
            match told.as_str() {
                "committed" => assert_eq!(count, SHARDS, "{place}, shard {dying}"),
                "08007" => assert!(count == 0 || count == SHARDS, "{place}, shard {dying}: {count}"),
                _ => assert_eq!(count, 0, "{place}, shard {dying}: {outcome:?}"),
            }
            *outcomes.entry(told).or_insert(0) += 1;
        }
    }
    println!("{outcomes:?}");
    assert!(outcomes["committed"] >= 9 && outcomes.len() > 1, "{outcomes:?}");
}

#[tokio::test]
async fn a_slow_proxy_cannot_commit_what_another_has_given_up() {
    let shards = Shards::start(|_| Stage::new()).await;
    let id = id();
    let stopped = Stopped::begin(&shards, id, "prepared").await;
    let groups = [shards.group("postgres"), shards.group("postgres")];
    let (one, other) = tokio::join!(sweep(&groups[0]), sweep(&groups[1]));
    assert_eq!(one.rolled_back + other.rolled_back, SHARDS);
    let fault = stopped.go_on().await.expect_err("it was given up");
    assert_eq!((&*fault.sqlstate, shards.count(id).await), ("40000", 0));
}

#[tokio::test]
async fn what_is_being_committed_is_left_alone() {
    let shards = Shards::start(|_| Stage::new()).await;
    let id = id();
    let stopped = Stopped::begin(&shards, id, "prepared").await;
    let group = shards.group("postgres").with_terms(Terms { grace: Duration::from_secs(600), ..TERMS });
    let swept = sweep(&group).await;
    assert_eq!((swept.rolled_back, swept.doubtful), (0, SHARDS));
    assert!(group.doubtful().iter().all(|doubtful| !doubtful.stuck && doubtful.owner == "app"));
    stopped.go_on().await.expect("nobody gave it up");
    assert_eq!(shards.count(id).await, SHARDS);
}

#[tokio::test]
async fn what_cannot_be_finished_is_listed() {
    let shards = Shards::start(|_| Stage::new()).await;
    let group = shards.group("app");
    group.ready().await.expect("the servers are able");
    // Prepared by another user; under a name of no group; of another group; on another shard than its own.
    let unique = "00000000000000ff";
    for (shard, gid) in [(1, format!("pointsman_social_1_{unique}_1")), (0, "pointsman_mine".to_owned())] {
        shards
            .server(shard)
            .admin()
            .await
            .batch_execute(&format!(
                "BEGIN; INSERT INTO t VALUES (-{shard} - 1); PREPARE TRANSACTION '{gid}'"
            ))
            .await
            .expect("a prepared transaction");
    }
    let before = sweep(&group).await;
    let reasons = group.doubtful().iter().map(|doubtful| doubtful.reason.clone()).collect::<Vec<_>>();
    assert_eq!(before.doubtful, 2, "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("no log of decisions")), "{reasons:?}");
    let mut seats = shards.begin(id()).await;
    commit(&group, &mut seats).await.expect("a commit, which makes the log");
    sweep(&group).await;
    let reasons = group.doubtful().iter().map(|doubtful| doubtful.reason.clone()).collect::<Vec<_>>();
    assert!(reasons.iter().any(|reason| reason.contains("neither a superuser")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("does not name transactions so")), "{reasons:?}");
    // A superuser may.
    let group = shards.group("postgres");
    assert_eq!(sweep(&group).await.rolled_back, 1);
    shards.server(2).stop("KILL").await;
    sweep(&group).await;
    assert!(
        group
            .doubtful()
            .iter()
            .any(|doubtful| doubtful.shard == 2 && doubtful.reason.contains("cannot be asked"))
    );
}

#[tokio::test]
async fn a_server_without_prepared_transactions_is_named() {
    let describe = |number| match number {
        2 => Stage::new().setting("max_prepared_transactions = 0"),
        _ => Stage::new(),
    };
    let shards = Shards::start(describe).await;
    let group = shards.group("postgres");
    let id = id();
    let mut seats = shards.begin(id).await;
    let fault = commit(&group, &mut seats).await.expect_err("shard 2 is not able");
    assert!(fault.sqlstate == "55000" && fault.told.contains("shard 2 (s2)"), "{fault}");
    assert!(fault.hint.as_ref().is_some_and(|hint| hint.contains("max_prepared_transactions")));
    assert_eq!(shards.count(id).await, 0);
    for seat in &mut seats {
        assert_eq!(seat.wire.value("SELECT count(*) FROM t WHERE id < 0").await, "0");
    }
}
