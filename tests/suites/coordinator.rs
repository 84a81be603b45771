//! The coordinator: made by `pointsman shard init`, it answers reads that the shards cannot be asked one by one.
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use pointsman_tests::proxy::program;
use pointsman_tests::{PASSWORD, Proxy, SOCIAL, Stage, WHOLE, Wire, msg, normalise, pretty};
use tokio::sync::OnceCell;

use crate::common::policy;

/// The coordinator's database, on the stage's primary.
const CENTRE: &str = "centre";

/// Where tables live, as the policy says it.
const SPEC: &str = "\x20 tables:
    agents: {shard_key: id}
    interactions: {shard_key: initiator_id}
    regions:
      {shard_key: name, function: list, key_type: text, values: [{shard: 1, values: [north, east]}], default_shard: 0}
    visits: {shard_key: agent_id}
    communities: {reference: true}
    notes: {unsharded: true}
";

const SCHEMA: &str = "
CREATE TABLE agents (id bigint PRIMARY KEY, name text NOT NULL, score int, community_id int);
CREATE TABLE interactions (id bigint, initiator_id bigint NOT NULL, recipient_id bigint NOT NULL, size numeric);
CREATE TABLE regions (name text NOT NULL, size int);
CREATE TABLE communities (id int PRIMARY KEY, topic text);
CREATE TABLE visits (agent_id bigint NOT NULL, place int);
CREATE TABLE notes (id int PRIMARY KEY, agent_id bigint, body text);
";

/// Reads for which two shards had better not be asked one by one, or cannot be, each with the reason.
const READS: [(&str, &str); 4] = [
    (
        "SELECT a.name, b.name FROM agents a JOIN agents b ON a.score = b.score AND a.id < b.id ORDER BY a.id, b.id",
        "join",
    ),
    (
        "SELECT r.name, count(*), sum(i.size) FROM regions r JOIN interactions i ON i.size = r.size GROUP BY r.name ORDER BY 1",
        "join",
    ),
    (
        "WITH RECURSIVE met (id) AS (SELECT 3::bigint UNION SELECT i.recipient_id FROM met JOIN interactions i \
         ON i.initiator_id = met.id) SELECT id FROM met ORDER BY id",
        "subquery",
    ),
    (
        "SELECT a.id, (SELECT count(*) FROM interactions i WHERE i.recipient_id > a.id), c.topic \
         FROM agents a JOIN communities c ON c.id = a.community_id ORDER BY a.id",
        "subquery",
    ),
];

/// The rows of a database: of the one that has them all, or of a shard.
fn rows(shard: Option<usize>) -> String {
    let here = |key: &str| shard.map_or("true".to_owned(), |shard| format!("{key} % 2 = {shard}"));
    let region =
        shard.map_or("true".to_owned(), |shard| format!("(name IN ('north', 'east')) = ({shard} = 1)"));
    let mut sql = format!(
        "INSERT INTO agents SELECT i, 'agent ' || i, i % 7, i % 3 FROM generate_series(1, 40) i WHERE {};
         INSERT INTO interactions SELECT i * 10 + j, i, (i * j * 3) % 44 + 1, (i + j) % 5 FROM generate_series(1, 40) i,
           generate_series(1, 3) j WHERE {};
         INSERT INTO regions SELECT * FROM (VALUES ('north', 1), ('south', 2), ('east', 3), ('west', 1)) r (name, size)
           WHERE {region};
         INSERT INTO communities SELECT i, 'topic ' || i FROM generate_series(0, 2) i;",
        here("i"),
        here("i")
    );
    if shard.unwrap_or(0) == 0 {
        sql.push_str("INSERT INTO notes SELECT i, i * 4 + 1, 'note ' || i FROM generate_series(0, 9) i;");
    }
    sql
}

/// Two shards, the whole, and an empty database for the coordinator.
async fn stage() -> &'static Stage {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    STAGE.get_or_init(made).await
}

async fn made() -> Stage {
    let stage = Stage::new().shards(2).start().await;
    let admin = stage.primary.admin().await;
    admin.batch_execute(&format!("CREATE DATABASE {CENTRE}")).await.expect("the database is made");
    let mut whole = Wire::login(stage.primary.port, "app", WHOLE).await;
    whole.run(&format!("{SCHEMA}{}", rows(None))).await;
    for (number, shard) in stage.shards.iter().enumerate() {
        shard.wire().await.run(&format!("{SCHEMA}{}", rows(Some(number)))).await;
    }
    stage
}

/// Clusters of the shards and the coordinator, and the sharded database with or without it.
fn fragment(stage: &Stage, coordinator: &str) -> String {
    placed(stage, coordinator, SPEC)
}

fn placed(stage: &Stage, coordinator: &str, spec: &str) -> String {
    let mut text = policy(stage, spec);
    text.push_str("clusters:\n");
    let shards = stage.shards.iter().map(|shard| (shard.name.as_str(), shard.database.as_str()));
    for (name, database) in shards.chain([("centre", CENTRE)]) {
        let url = format!("postgres://postgres:{PASSWORD}@127.0.0.1:{}/{database}", stage.primary.port);
        writeln!(text, "  - {{name: {name}, primary: '{url}', pool: {{size: 4}}}}")
            .expect("a string takes it");
    }
    writeln!(
        text,
        "sharded:\n  - {{name: {SOCIAL}, shards: [s0, s1], cross_shard_writes: two_phase{coordinator}}}"
    )
    .expect("a string takes it");
    text
}

const WITH: &str = ", coordinator: centre";

const ASKED: &str = "pointsman_shards_coordinated_total";
const REFUSED: &str = "pointsman_shards_refused_total";

fn init(config: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.args(["shard", "init", "--config"]).arg(config).args(arguments);
    command.output().expect("the program runs")
}

/// A proxy with a coordinator that was made, and one without.
async fn proxies(stage: &Stage) -> (Proxy, Proxy) {
    static MADE: OnceCell<()> = OnceCell::const_new();
    let with = stage.proxy(&fragment(stage, WITH)).await;
    MADE.get_or_init(|| async {
        let output = init(with.config_path(), &["--role", "app", "--apply"]);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(told, "database centre of centre: 6 tables of 2 shards\n");
    })
    .await;
    (with, stage.proxy(&fragment(stage, "")).await)
}

async fn social(proxy: &Proxy) -> Wire {
    Wire::login(proxy.port, "app", SOCIAL).await
}

/// What had better not be done by the shards alone is answered by a coordinator, by either protocol, as one database with all rows would.
/// Without one the shards do what they can.
#[tokio::test]
async fn reads_across_shards_are_answered() {
    if Proxy::is_direct() {
        return;
    }
    let stage = stage().await;
    let (with, without) = proxies(stage).await;
    let (mut asked, mut shards) = (social(&with).await, social(&without).await);
    let mut whole = Wire::login(stage.primary.port, "app", WHOLE).await;
    let mut asked_for = Vec::new();
    for (sql, reason) in &READS {
        let refused = sql.starts_with("WITH RECURSIVE");
        if refused {
            assert_eq!(shards.error(sql).await, "0A000", "{sql}");
        }
        for bytes in [msg::query(sql), [msg::statement(sql, &[]), msg::sync()].concat()] {
            let want = normalise(&whole.ask(&bytes).await);
            assert!(want.iter().filter(|frame| frame.tag == b'D').count() > 2, "{sql}: {}", pretty(&want));
            assert_eq!(pretty(&normalise(&asked.ask(&bytes).await)), pretty(&want), "{sql}");
            if !refused {
                assert_eq!(pretty(&normalise(&shards.ask(&bytes).await)), pretty(&want), "{sql}");
            }
        }
        let counted = [format!("database=\"{SOCIAL}\""), format!("reason=\"{reason}\"")];
        let labels = counted.each_ref().map(String::as_str);
        asked_for.push(reason);
        let times = asked_for.iter().filter(|&&other| other == reason).count() as f64;
        assert_eq!(with.metric(ASKED, &labels).await, times * 2.0, "{sql}");
        assert_eq!(with.metric(REFUSED, &labels).await, 0.0, "{sql}");
        if refused {
            assert_eq!(without.metric(REFUSED, &labels).await, 1.0, "{sql}");
        }
    }
    let sql = "SELECT count(*) FROM agents a JOIN agents b ON a.score = b.score AND a.id < b.id WHERE a.id > $1::bigint";
    let values = [Some("7")];
    assert_eq!(asked.extended_value(sql, &values).await, whole.extended_value(sql, &values).await);
}

/// What was written through Pointsman is there for the coordinator.
#[tokio::test]
async fn own_writes_are_seen() {
    if Proxy::is_direct() {
        return;
    }
    let stage = stage().await;
    let (with, _without) = proxies(stage).await;
    let mut wire = social(&with).await;
    let sql = "SELECT count(*) FROM visits a JOIN visits b ON b.place = a.place AND b.agent_id <> a.agent_id";
    for number in 1..=10 {
        wire.run(&format!(
            "INSERT INTO visits VALUES ({}, {number}), ({}, {number})",
            number * 2,
            number * 2 + 1
        ))
        .await;
        assert_eq!(wire.value(sql).await, (number * 2).to_string());
    }
}

/// Only reads go to the coordinator, and none out of a transaction, of which it sees nothing. Nor does COPY, which commits by itself.
#[tokio::test]
async fn writes_locks_and_transactions_stay_away() {
    if Proxy::is_direct() {
        return;
    }
    let stage = stage().await;
    let (with, _without) = proxies(stage).await;
    let mut wire = social(&with).await;
    for sql in [
        "UPDATE agents a SET score = 0 FROM agents b WHERE b.score = a.score AND b.id <> a.id",
        "DELETE FROM agents WHERE score < (SELECT avg(score) FROM agents)",
        "SELECT a.id FROM agents a JOIN agents b ON b.score = a.score FOR UPDATE OF a",
    ] {
        assert_eq!(wire.error(sql).await, "0A000", "{sql}");
    }
    let volatile = "SELECT a.id FROM agents a JOIN agents b ON b.score = a.score WHERE random() < 2";
    for sql in [READS[2].0, volatile] {
        wire.run("BEGIN").await;
        wire.run("INSERT INTO agents VALUES (1001, 'new'), (1002, 'new')").await;
        assert_eq!(wire.error(sql).await, "0A000", "{sql}");
        wire.run("ROLLBACK").await;
    }
    assert_eq!(wire.value("SELECT count(*) FROM agents").await, "40");
}

/// It can be made again when tables have changed, says what shards do not agree on, and shows no password.
#[tokio::test]
async fn it_is_made_again_when_tables_change() {
    let stage = made().await;
    let config = stage.dir().join("init.yaml");
    let told = |output: &Output| {
        let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        (output.status.code(), String::from_utf8_lossy(&both).into_owned())
    };
    std::fs::write(&config, fragment(&stage, WITH)).expect("the file is written");
    for tables in [6, 6] {
        let output = told(&init(&config, &["--apply"]));
        assert_eq!(output, (Some(0), format!("database centre of centre: {tables} tables of 2 shards\n")));
    }
    let (code, sql) = told(&init(&config, &["--database", SOCIAL]));
    assert!(
        code == Some(0) && sql.contains("<password>") && !sql.contains(&format!("'{PASSWORD}'")),
        "{sql}"
    );
    let mut first = stage.shards[0].wire().await;
    first.run("ALTER TABLE agents ADD COLUMN extra text; CREATE TABLE more (id int)").await;
    let (code, text) = told(&init(&config, &["--apply"]));
    assert!(code == Some(2) && text.contains("public.agents: column extra"), "{text}");
    stage.shards[1].wire().await.run("ALTER TABLE agents ADD COLUMN extra text").await;
    let output = told(&init(&config, &["--apply"]));
    assert_eq!(output, (Some(0), "database centre of centre: 7 tables of 2 shards\n".to_owned()));
    std::fs::write(&config, fragment(&stage, "")).expect("the file is written");
    let (code, text) = told(&init(&config, &["--apply"]));
    assert!(code == Some(2) && text.contains("`social` has no `coordinator`"), "{text}");
    let (code, text) = told(&init(&config, &["--database", "other"]));
    assert!(code == Some(2) && text.contains("`other`"), "{text}");
}

/// A policy that puts rows on a shard which is not there is refused by `check` and by `serve`.
#[tokio::test]
async fn shards_that_policies_name_must_be_there() {
    let stage = stage().await;
    let text = placed(stage, "", &SPEC.replace("{shard: 1,", "{shard: 2,"));
    let config = stage.dir().join("lacking.yaml");
    std::fs::write(&config, text).expect("the file is written");
    for arguments in [&["check"][..], &["serve", "--config"]] {
        let output = Command::new(program()).args(arguments).arg(&config).output().expect("the program runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let want = "table `regions` has rows on shard 2, but the shards of database `social` are 0 to 1";
        assert!(output.status.code() == Some(2) && told.contains(want), "{told}");
    }
}
