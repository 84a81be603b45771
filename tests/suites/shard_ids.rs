//! Ids that the proxy makes for a sharded database: `pointsman.next_id()`, declared `id` columns, `pointsman.shard_of(key)`.
use std::collections::HashSet;
use std::time::Duration;

use pointsman_tests::{Frame, Proxy, Redis, SOCIAL, Shard, Stage, Wire, eventually, msg, pretty};

use crate::common::policy;

/// Where tables live.
const SPEC: &str = "\x20 tables:
    agents: {shard_key: id, id: id}
    notes: {shard_key: agent_id, id: id}
    communities: {reference: true}
";

const SCHEMA: &str = "CREATE TABLE agents (id int8 PRIMARY KEY, name text); \
    CREATE TABLE notes (agent_id int8, body text, id int8 NOT NULL, PRIMARY KEY (agent_id, id)); \
    CREATE TABLE communities (id int8 PRIMARY KEY, name text)";

async fn stage() -> Stage {
    let stage = Stage::new().shards(4).start().await;
    for shard in &stage.shards {
        shard.wire().await.run(SCHEMA).await;
    }
    stage
}

async fn proxy(stage: &Stage, more: &str) -> Proxy {
    stage.proxy(&format!("{}{more}", policy(stage, SPEC))).await
}

async fn setting() -> (Stage, Proxy, Wire) {
    let stage = stage().await;
    let proxy = proxy(&stage, "").await;
    let wire = client(&proxy).await;
    (stage, proxy, wire)
}

async fn client(proxy: &Proxy) -> Wire {
    Wire::login(proxy.port, "app", SOCIAL).await
}

/// A statement by the extended protocol, prepared for this once.
async fn once(wire: &mut Wire, sql: &str, values: &[Option<&str>]) -> Vec<Frame> {
    wire.ask(&[msg::statement(sql, values), msg::sync()].concat()).await
}

fn texts(frames: &[Frame]) -> Vec<String> {
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    rows.flat_map(|frame| frame.values()).map(Option::unwrap_or_default).collect()
}

fn ids(frames: &[Frame]) -> Vec<i64> {
    let texts = texts(frames);
    texts.iter().map(|id| id.parse().unwrap_or_else(|_| panic!("{id}: {}", pretty(frames)))).collect()
}

fn node(id: i64) -> i64 {
    id >> 12 & 1023
}

fn refused(frames: &[Frame]) -> String {
    let error = frames.iter().find(|frame| frame.tag == b'E').unwrap_or_else(|| panic!("{}", pretty(frames)));
    error.sqlstate()
}

/// Every session's ids ascend, and no two sessions have the same.
#[tokio::test]
async fn unique_and_ascending() {
    let (_stage, proxy, _wire) = setting().await;
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let mut wire = client(&proxy).await;
        tasks.push(tokio::spawn(async move {
            let mut made = Vec::new();
            for _ in 0..50 {
                made.extend(ids(&wire.run("SELECT pointsman.next_id(), pointsman.next_id()").await));
                made.extend(ids(&once(&mut wire, "SELECT pointsman.next_id()", &[]).await));
            }
            made
        }));
    }
    let mut all = HashSet::new();
    for task in tasks {
        let made = task.await.expect("the session ends");
        assert_eq!(made.len(), 150);
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(made.into_iter().all(|id| all.insert(id)), "an id came twice");
    }
    let nodes: HashSet<i64> = all.iter().map(|id| node(*id)).collect();
    assert_eq!(nodes.len(), 1);
}

/// An id that is left out, or `DEFAULT`, is made, and decides where the row goes if it is the key.
#[tokio::test]
async fn declared_columns_are_filled() {
    let (stage, _proxy, mut wire) = setting().await;
    let one = ids(&wire.run("INSERT INTO agents (name) VALUES ('ann') RETURNING id").await);
    let frames = wire
        .run("INSERT INTO agents (name, id) VALUES ('b', DEFAULT), ('c', 7), ('d', DEFAULT), ('e', DEFAULT) RETURNING id, name")
        .await;
    let rows = texts(&frames);
    let names: Vec<&str> = rows.iter().skip(1).step_by(2).map(String::as_str).collect();
    assert_eq!(names, ["b", "c", "d", "e"], "{}", pretty(&frames));
    let made: Vec<i64> = rows.iter().step_by(2).map(|id| id.parse().expect("an id")).collect();
    assert_eq!(made[1], 7);
    assert!(one[0] < made[0] && made[0] < made[2] && made[2] < made[3], "{made:?}");
    for id in one.iter().chain(&made) {
        let shard = usize::try_from(id.rem_euclid(4)).expect("a shard");
        let mut part = Shard::wire(&stage.shards[shard]).await;
        assert_eq!(part.value(&format!("SELECT count(*) FROM agents WHERE id = {id}")).await, "1");
    }
    // Without names of columns.
    wire.run("INSERT INTO notes VALUES (5, 'x', DEFAULT), (5, 'y', DEFAULT)").await;
    wire.run("INSERT INTO notes (agent_id, body) VALUES (5, 'z')").await;
    wire.run("INSERT INTO notes (agent_id) VALUES (5)").await;
    assert_eq!(wire.value("SELECT count(DISTINCT id) FROM notes WHERE agent_id = 5").await, "4");
    // What gives the id stays as it is.
    assert_eq!(ids(&wire.run("INSERT INTO agents VALUES (41, 'f') RETURNING id").await), [41]);
}

/// A statement that is prepared once makes an id with every execution, whatever the formats, and its client sees its own
/// parameters alone.
#[tokio::test]
async fn prepared_statements_make_new_ids() {
    let (_stage, _proxy, mut wire) = setting().await;
    let sql = "INSERT INTO notes (agent_id, body) VALUES ($1, $2), ($1, 'second') RETURNING id";
    let frames = wire.ask(&[msg::parse("s", sql), msg::describe_statement("s"), msg::sync()].concat()).await;
    let described = frames.iter().find(|frame| frame.tag == b't').expect("parameters");
    assert_eq!(described.body[..2], [0, 2], "{}", pretty(&frames));
    assert_eq!(described.body.len(), 2 + 8);
    let mut made = Vec::new();
    for formats in [&[][..], &[0], &[1], &[1, 0]] {
        for result in [&[0][..], &[1]] {
            let key = if formats.first() == Some(&1) { 6_i64.to_be_bytes().to_vec() } else { b"6".to_vec() };
            let bind = msg::bind_with("", "s", &[Some(&key), Some(b"first")], [formats, result]);
            let frames = wire.ask(&[bind, msg::execute("", 0), msg::sync()].concat()).await;
            let rows: Vec<&Frame> = frames.iter().filter(|frame| frame.tag == b'D').collect();
            assert_eq!(rows.len(), 2, "{}", pretty(&frames));
            if result == [1] {
                made.extend(
                    rows.iter().map(|row| i64::from_be_bytes(row.body[6..14].try_into().expect("int8"))),
                );
            } else {
                made.extend(ids(&frames));
            }
        }
    }
    assert_eq!(made.len(), 16);
    assert!(made.windows(2).all(|pair| pair[0] < pair[1]), "{made:?}");
    // In a pipeline, in a transaction, by the unnamed statement.
    wire.run("BEGIN").await;
    let sql = "INSERT INTO notes (agent_id, id) VALUES ($1, DEFAULT) RETURNING id";
    let one = [msg::bind("", "", &[Some("6")]), msg::execute("", 0)].concat();
    let frames = wire.ask(&[msg::parse("", sql), one.clone(), one, msg::sync()].concat()).await;
    let more = ids(&frames);
    assert!(more.len() == 2 && more[0] < more[1] && *made.last().expect("ids") < more[0], "{more:?}");
    wire.run("COMMIT").await;
    assert_eq!(wire.value("SELECT count(DISTINCT id) FROM notes WHERE agent_id = 6").await, "18");
    // Rows of several shards, and of the key itself.
    let sql = "INSERT INTO agents (name) VALUES ($1), ($1), ($1), ($1), ($1) RETURNING id";
    let frames = once(&mut wire, sql, &[Some("many")]).await;
    let many = ids(&frames);
    assert!(many.len() == 5 && many.windows(2).all(|pair| pair[0] < pair[1]), "{}", pretty(&frames));
    assert_eq!(wire.value("SELECT count(*) FROM agents WHERE name = 'many'").await, "5");
}

/// The name of a statement may come to stand for another.
#[tokio::test]
async fn names_are_used_again() {
    let (_stage, _proxy, mut wire) = setting().await;
    let ask = [msg::bind("", "s", &[]), msg::execute("", 0), msg::sync()].concat();
    wire.ask(&[msg::parse("s", "SELECT pointsman.next_id()"), msg::sync()].concat()).await;
    assert!(node(ids(&wire.ask(&ask).await)[0]) < 1024);
    let again = [msg::parse("s", "SELECT 1"), msg::sync()].concat();
    assert_eq!(refused(&wire.ask(&again).await), "42P05");
    assert_eq!(ids(&wire.ask(&ask).await).len(), 1);
    wire.ask(&[msg::close_statement("s"), again].concat()).await;
    assert_eq!(ids(&wire.ask(&ask).await), [1]);
    let frames = wire.ask(&[msg::bind("", "s", &[Some("1")]), msg::sync()].concat()).await;
    assert_eq!(refused(&frames), "08P01");
}

/// What would give many rows one id is refused, in either protocol, and the session goes on.
#[tokio::test]
async fn refusals() {
    let (_stage, _proxy, mut wire) = setting().await;
    for sql in [
        "UPDATE notes SET id = pointsman.next_id() WHERE agent_id = 1",
        "SELECT pointsman.next_id() FROM notes",
        "INSERT INTO notes (agent_id) SELECT 1",
        "INSERT INTO agents DEFAULT VALUES",
        "WITH n AS (INSERT INTO notes (agent_id) VALUES (1) RETURNING id) SELECT id FROM n",
        "PREPARE p AS INSERT INTO notes (agent_id) VALUES (1)",
        "PREPARE p AS SELECT pointsman.next_id()",
        "SELECT pointsman.shard_of(1 + 1)",
    ] {
        assert_eq!(refused(&wire.query(sql).await), "0A000", "{sql}");
        assert_eq!(refused(&once(&mut wire, sql, &[]).await), "0A000", "{sql}");
    }
    // A refusal behind other queries is that one's alone.
    let queries = ["SELECT 1", "SELECT pointsman.next_id() FROM notes", "SELECT 2"].map(msg::query).concat();
    let mut frames = wire.ask(&queries).await;
    for _ in 0..2 {
        frames.extend(wire.until(b'Z').await);
    }
    assert_eq!(texts(&frames), ["1", "2"], "{}", pretty(&frames));
    assert_eq!(refused(&frames), "0A000");
    wire.run("BEGIN").await;
    assert_eq!(refused(&wire.query("SELECT pointsman.next_id() FROM notes").await), "0A000");
    assert_eq!(refused(&wire.query("SELECT 1").await), "25P02");
    wire.run("ROLLBACK").await;
    assert_eq!(wire.value("SELECT 'pointsman.next_id()'").await, "pointsman.next_id()");
}

#[tokio::test]
async fn shards_of_keys() {
    let (_stage, _proxy, mut wire) = setting().await;
    assert_eq!(
        texts(
            &wire.run("SELECT pointsman.shard_of(7), pointsman.shard_of(-1), pointsman.shard_of(NULL)").await
        ),
        ["3", "3", ""]
    );
    assert_eq!(wire.extended_value("SELECT pointsman.shard_of($1)", &[Some("6")]).await, "2");
    wire.ask(&[msg::parse("s", "SELECT pointsman.shard_of($1) + 0"), msg::sync()].concat()).await;
    for (key, shard) in [(5_i64, "1"), (8, "0")] {
        let bind = msg::bind_with("", "s", &[Some(&key.to_be_bytes())], [&[1], &[0]]);
        let frames = wire.ask(&[bind, msg::execute("", 0), msg::sync()].concat()).await;
        assert_eq!(texts(&frames), [shard], "{}", pretty(&frames));
    }
}

const SET: &str =
    "sharded:\n  - {name: social, shards: [s0, s1, s2, s3], cross_shard_writes: two_phase, node: 77}\n";

/// A node that is set is used, is leased by nobody, and a proxy that begins again makes later ids.
#[tokio::test]
async fn a_node_that_is_set() {
    let stage = stage().await;
    let mut last = 0;
    for _ in 0..2 {
        let proxy = proxy(&stage, SET).await;
        let mut wire = client(&proxy).await;
        for id in ids(&wire.run("SELECT pointsman.next_id(), pointsman.next_id()").await) {
            assert!(node(id) == 77 && id > last);
            last = id;
        }
    }
    let mut first = stage.shards[0].wire().await;
    assert_eq!(first.value("SELECT to_regclass('pointsman.nodes') IS NULL").await, "t");
}

/// Proxies lease different nodes; one whose lease is taken away leases another, and who gets a node makes later ids.
#[tokio::test]
async fn leases() {
    let stage = stage().await;
    let (one, other) = (proxy(&stage, "").await, proxy(&stage, "").await);
    let (mut a, mut b) = (client(&one).await, client(&other).await);
    let first = ids(&a.run("SELECT pointsman.next_id()").await)[0];
    let second = ids(&b.run("SELECT pointsman.next_id()").await)[0];
    assert_ne!(node(first), node(second));
    let admin = stage.primary.admin_of("shard0").await;
    let owned = "SELECT count(*)::int FROM pointsman.nodes WHERE until > now() + interval '30 s'";
    assert_eq!(admin.query_one(owned, &[]).await.expect("the leases").get::<_, i32>(0), 2);
    // A third proxy gets the node of one whose lease has run out, and begins after all that that one may have made.
    let expire =
        format!("UPDATE pointsman.nodes SET until = now() - interval '1 s' WHERE node = {}", node(first));
    let all = "INSERT INTO pointsman.nodes SELECT n, 'others', now() + interval '1 h', 0, 0 FROM generate_series(0, 1023) n ON CONFLICT DO NOTHING";
    admin.batch_execute(&format!("{all}; {expire}")).await.expect("the nodes are taken");
    let third = proxy(&stage, "").await;
    let mut c = client(&third).await;
    let taken = ids(&c.run("SELECT pointsman.next_id()").await)[0];
    assert_eq!(node(taken), node(first));
    let late = ids(&a.run("SELECT pointsman.next_id()").await)[0];
    assert!(taken > late, "the next holder's ids are later than all that the last one may make");
    // The first proxy hears of it, and has nothing to make ids with.
    eventually("ids are refused", Duration::from_secs(40), || async {
        let frames = client(&one).await.query("SELECT pointsman.next_id()").await;
        frames.iter().any(|frame| frame.tag == b'E' && frame.sqlstate() == "55000")
    })
    .await;
    assert_eq!(node(ids(&b.run("SELECT pointsman.next_id()").await)[0]), node(second));
}

/// Nodes are leased in Redis.
fn in_redis(redis: &Redis) -> String {
    format!(
        "cache: {{memory: 0, {}}}\nsharded:\n  - {{name: social, shards: [s0, s1, s2, s3], node_lease: redis}}\n",
        redis.config()
    )
}

/// Keys of leases that are there now.
fn held(redis: &Redis) -> usize {
    redis.ask(&["KEYS", "pointsman:{nodes.social}:*"]).matches("pointsman:").count()
}

async fn id(wire: &mut Wire) -> i64 {
    ids(&wire.run("SELECT pointsman.next_id()").await)[0]
}

/// Proxies lease different nodes in Redis; the node of one that is killed is taken when its lease has ended, and its ids are not
/// made again.
#[tokio::test]
async fn leases_in_redis() {
    let stage = stage().await;
    let redis = Redis::start(&stage);
    let (one, other) = (proxy(&stage, &in_redis(&redis)).await, proxy(&stage, &in_redis(&redis)).await);
    let (mut a, mut b) = (client(&one).await, client(&other).await);
    let (first, second) = (id(&mut a).await, id(&mut b).await);
    assert_ne!(node(first), node(second));
    assert_eq!(held(&redis), 2);
    let mut table = stage.shards[0].wire().await;
    assert_eq!(table.value("SELECT to_regclass('pointsman.nodes') IS NULL").await, "t");
    // The node of one that is killed is nobody's until its lease has ended.
    one.signal("KILL");
    let third = proxy(&stage, &in_redis(&redis)).await;
    let mut c = client(&third).await;
    let last = id(&mut b).await;
    assert!(last > second && node(last) == node(second));
    assert!(![node(first), node(second)].contains(&node(id(&mut c).await)));
    eventually("the lease ends", Duration::from_secs(40), || async { held(&redis) == 2 }).await;
    let fourth = proxy(&stage, &in_redis(&redis)).await;
    let next = id(&mut client(&fourth).await).await;
    assert_eq!(node(next), node(first));
    assert!(next > first);
    // The others have gone on beyond the end of their first leases.
    for (wire, before) in [(&mut b, last), (&mut c, 0)] {
        let after = id(wire).await;
        assert!(after > before && node(after) != node(first));
    }
}

/// A Redis that comes back with nothing: proxies lease anew, no two make the same ids, and none are made that were made before.
#[tokio::test]
async fn a_redis_that_forgets() {
    let stage = stage().await;
    let redis = Redis::start(&stage);
    let (one, other) = (proxy(&stage, &in_redis(&redis)).await, proxy(&stage, &in_redis(&redis)).await);
    let mut wires = [client(&one).await, client(&other).await];
    let mut all = HashSet::new();
    for round in 0..3 {
        for wire in &mut wires {
            for _ in 0..20 {
                assert!(all.insert(id(wire).await), "an id came twice");
            }
        }
        if round < 2 {
            redis.kill();
            redis.launch();
            // A third proxy gets a node of theirs before they hear that they have lost it.
            let third = proxy(&stage, &in_redis(&redis)).await;
            let mut wire = client(&third).await;
            for _ in 0..20 {
                assert!(all.insert(id(&mut wire).await), "an id came twice");
            }
        }
    }
}

/// Without Redis ids end with the lease, and begin again with it.
#[tokio::test]
async fn a_redis_that_is_away() {
    let stage = stage().await;
    let redis = Redis::start(&stage);
    let proxy = proxy(&stage, &in_redis(&redis)).await;
    let mut wire = client(&proxy).await;
    let before = id(&mut wire).await;
    redis.kill();
    eventually("ids end", Duration::from_secs(60), || async {
        let frames = client(&proxy).await.query("SELECT pointsman.next_id()").await;
        let error = frames.iter().find(|frame| frame.tag == b'E');
        error.is_some_and(|frame| frame.sqlstate() == "55000" && pretty(&frames).contains("cache.redis"))
    })
    .await;
    redis.launch();
    eventually("ids are made again", Duration::from_secs(20), || async {
        let frames = client(&proxy).await.query("SELECT pointsman.next_id()").await;
        frames.iter().all(|frame| frame.tag != b'E') && ids(&frames)[0] > before
    })
    .await;
}
