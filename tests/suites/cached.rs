//! Cached reads: served from memory, and never what is no longer true.
use std::time::Duration;

use pointsman_tests::{Frame, Proxy, Stage, Wire, eventually, msg};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::common::{ADMIN, SOON, policy, reads_reach_replica, unique};

/// A primary whose changes can be heard of, and a replica. Definitions that one test changes drop what another has cached: a
/// test holds the lock for as long as it lasts.
pub(crate) async fn logical() -> (&'static Stage, MutexGuard<'static, ()>) {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    static TURN: Mutex<()> = Mutex::const_new(());
    let turn = TURN.lock().await;
    let stage = STAGE
        .get_or_init(|| async {
            let stage = Stage::new().replicas(1).setting("wal_level = logical").start().await;
            stage.primary.sql("CREATE PUBLICATION pointsman FOR ALL TABLES").await;
            stage
        })
        .await;
    (stage, turn)
}

/// A rule that caches the reads of these tables, with what else it says of caching.
pub(crate) fn rule(tables: &str, more: &str) -> String {
    format!("  rules:\n    - {{name: kept, match: {{tables: [{tables}]}}, cache: {{ttl: 60s{more}}}}}\n")
}

/// A proxy that caches so.
pub(crate) async fn caching(stage: &Stage, spec: &str, config: &str) -> Proxy {
    stage.proxy(&format!("{}{config}", policy(stage, spec))).await
}

/// A table of agents, by name.
pub(crate) async fn agents(stage: &Stage, name: &str) -> String {
    let table = unique(name);
    stage
        .primary
        .sql(&format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, agent_id int NOT NULL, said text);
             ALTER TABLE {table} REPLICA IDENTITY FULL;
             INSERT INTO {table} SELECT i, i % 10, 'first' FROM generate_series(1, 100) i;
             GRANT ALL ON {table} TO PUBLIC"
        ))
        .await;
    table
}

/// Reads served from memory, of all rules.
pub(crate) async fn hits(proxy: &Proxy) -> f64 {
    proxy.metric("pointsman_cache_reads_total", &["outcome=\"hit\""]).await
}

/// What the cache has counted, for whoever must find out why.
pub(crate) async fn counted(proxy: &Proxy) -> String {
    let all = proxy.get("/metrics").await.expect("the metrics");
    let counted = all.lines().filter(|line| line.starts_with("pointsman_cache") && !line.ends_with(" 0"));
    counted.collect::<Vec<_>>().join("\n")
}

/// Asks until a read is served from memory.
pub(crate) async fn warm(proxy: &Proxy, wire: &mut Wire, sql: &str) {
    let before = hits(proxy).await;
    let deadline = std::time::Instant::now() + SOON;
    while hits(proxy).await == before {
        if std::time::Instant::now() > deadline {
            panic!("nothing is served from memory: {}\n{}", counted(proxy).await, proxy.log());
        }
        wire.run(sql).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A read is asked of a server once; then it comes from memory, by either protocol, byte for byte.
#[tokio::test]
async fn hits_are_what_the_server_said() {
    let (stage, _turn) = logical().await;
    let table = agents(stage, "kept").await;
    let proxy = caching(stage, &rule(&table, ""), "").await;
    let (mut wire, mut direct) = (proxy.wire().await, stage.primary.wire().await);
    let sql = format!("SELECT * FROM {table} WHERE agent_id = 3 ORDER BY id");
    warm(&proxy, &mut wire, &sql).await;
    let before = hits(&proxy).await;
    assert_eq!(wire.query(&sql).await, direct.query(&sql).await);
    assert_eq!(hits(&proxy).await, before + 1.0);
    let sql = format!("SELECT id, said FROM {table} WHERE agent_id = $1 ORDER BY id");
    for formats in [[&[][..], &[][..]], [&[1][..], &[1][..]], [&[1][..], &[0, 1][..]]] {
        let value: &[u8] = if formats[0].is_empty() { b"4" } else { &[0, 0, 0, 4] };
        for described in [Vec::new(), msg::describe_portal(""), msg::describe_statement("")] {
            let asked = [
                msg::parse_typed("", &sql, &[23]),
                msg::bind_with("", "", &[Some(value)], formats),
                described,
                msg::execute("", 0),
                msg::sync(),
            ]
            .concat();
            let expected = direct.ask(&asked).await;
            wire.ask(&asked).await;
            let before = hits(&proxy).await;
            assert_eq!(wire.ask(&asked).await, expected);
            assert_eq!(hits(&proxy).await, before + 1.0, "{asked:?}");
        }
    }
    // The unnamed statement of a hit can be bound again, though no server has prepared it.
    let again = [msg::bind("", "", &[Some("4")]), msg::execute("", 2), msg::sync()].concat();
    assert_eq!(pointsman_tests::tags(&wire.ask(&again).await), "2DDsZ");
    // A prepared statement: its types are known once it was described.
    let prepare = [msg::parse("mine", &sql), msg::describe_statement("mine"), msg::sync()].concat();
    wire.ask(&prepare).await;
    direct.ask(&prepare).await;
    let run =
        [msg::bind("", "mine", &[Some("5")]), msg::describe_portal(""), msg::execute("", 0), msg::sync()]
            .concat();
    let expected = direct.ask(&run).await;
    wire.ask(&run).await;
    let before = hits(&proxy).await;
    assert_eq!(wire.ask(&run).await, expected);
    assert_eq!(hits(&proxy).await, before + 1.0);
}

/// Asks until the answer is this: the first column of the first row, or an error's SQLSTATE.
pub(crate) async fn comes_to(wire: &mut Wire, sql: &str, expected: &str) {
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let frames = wire.query(sql).await;
        let answer = frames.iter().find_map(|frame: &Frame| match frame.tag {
            b'D' => frame.values().into_iter().next().flatten(),
            b'E' => Some(frame.sqlstate()),
            _ => None,
        });
        if answer.as_deref() == Some(expected) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{sql}: {answer:?}, not {expected}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn said(wire: &mut Wire, table: &str, agent: u32) -> String {
    wire.value(&format!("SELECT min(said) FROM {table} WHERE agent_id = {agent}")).await
}

/// Whoever hears that a write is committed reads it, and so does everybody else from then on: by either protocol, in
/// and out of transactions, by functions, by writing CTEs.
#[tokio::test]
async fn own_writes_are_seen_at_once() {
    let (stage, _turn) = logical().await;
    let table = agents(stage, "own").await;
    stage
        .primary
        .sql(&format!(
            "CREATE FUNCTION {table}_says(text) RETURNS void LANGUAGE sql AS 'UPDATE {table} SET said = $1'"
        ))
        .await;
    for changes in ["", "cache: {changes: {mode: off}}\n"] {
        let proxy = caching(stage, &rule(&table, ", invalidate_by: [agent_id]"), changes).await;
        let (mut writer, mut reader) = (proxy.wire().await, proxy.wire().await);
        let read = format!("SELECT min(said) FROM {table} WHERE agent_id = 3");
        warm(&proxy, &mut reader, &read).await;
        let texts = [
            "UPDATE {t} SET said = '{v}' WHERE agent_id = 3",
            "UPDATE {t} SET said = '{v}'",
            "BEGIN; UPDATE {t} SET said = '{v}' WHERE agent_id = 3; COMMIT",
            "WITH w AS (UPDATE {t} SET said = '{v}' RETURNING 1) SELECT count(*) FROM w",
            "SELECT {t}_says('{v}')",
            "DO $$ BEGIN UPDATE {t} SET said = '{v}'; END $$",
            "DELETE FROM {t} WHERE agent_id = 3; INSERT INTO {t} VALUES (1000, 3, '{v}')",
        ];
        for (number, text) in texts.iter().enumerate() {
            for round in 0..3 {
                let value = format!("{number}-{round}");
                let sql = text.replace("{t}", &table).replace("{v}", &value);
                let sql = if round == 0 { sql } else { sql.replace("1000", &format!("100{round}")) };
                writer.run(&sql).await;
                assert_eq!(said(&mut reader, &table, 3).await, value, "{sql}");
                assert_eq!(said(&mut writer, &table, 3).await, value, "{sql}");
            }
        }
        // A transaction that is open is seen by nobody else, and by itself.
        writer.run("BEGIN").await;
        writer.run(&format!("UPDATE {table} SET said = 'open'")).await;
        assert_ne!(said(&mut reader, &table, 3).await, "open");
        assert_eq!(said(&mut writer, &table, 3).await, "open");
        let ended = [msg::statement("COMMIT", &[]), msg::sync()].concat();
        writer.ask(&ended).await;
        assert_eq!(said(&mut reader, &table, 3).await, "open");
        // Bound values tell the rows, too.
        let update = format!("UPDATE {table} SET said = $1 WHERE agent_id = $2");
        let bound = [msg::statement(&update, &[Some("bound"), Some("3")]), msg::sync()].concat();
        writer.ask(&bound).await;
        assert_eq!(said(&mut reader, &table, 3).await, "bound");
        stage.primary.sql(&format!("UPDATE {table} SET said = 'first'")).await;
    }
}

/// Writes that do not pass through here are heard of: rows, TRUNCATE, definitions, grants.
#[tokio::test]
async fn writes_made_elsewhere_are_seen() {
    let (stage, _turn) = logical().await;
    let table = agents(stage, "elsewhere").await;
    let proxy = caching(stage, &rule(&table, ", invalidate_by: [agent_id]"), "").await;
    let mut wire = proxy.wire().await;
    let read = format!("SELECT min(said) FROM {table} WHERE agent_id = 3");
    for (number, text) in [
        "UPDATE {t} SET said = '{v}' WHERE agent_id = 3",
        "UPDATE {t} SET agent_id = 3, said = '{v}' WHERE agent_id IN (3, 4)",
        "TRUNCATE {t}; INSERT INTO {t} VALUES (1, 3, '{v}')",
    ]
    .iter()
    .enumerate()
    {
        warm(&proxy, &mut wire, &read).await;
        let value = format!("elsewhere {number}");
        let sql = text.replace("{t}", &table).replace("{v}", &value);
        stage.primary.sql(&sql).await;
        comes_to(&mut wire, &read, &value).await;
    }
    warm(&proxy, &mut wire, &read).await;
    stage.primary.sql(&format!("REVOKE ALL ON {table} FROM PUBLIC")).await;
    comes_to(&mut wire, &read, "42501").await;
}

/// What one key's rows are does not depend on the others': their writes drop nothing of it.
#[tokio::test]
async fn keys_are_told_apart() {
    let (stage, _turn) = logical().await;
    let table = agents(stage, "keys").await;
    let proxy = caching(stage, &rule(&table, ", invalidate_by: [agent_id]"), "").await;
    let mut wire = proxy.wire().await;
    reads_reach_replica(stage, &mut wire).await;
    let read = format!("SELECT min(said) FROM {table} WHERE agent_id = 3");
    warm(&proxy, &mut wire, &read).await;
    wire.run(&format!("UPDATE {table} SET said = 'other' WHERE agent_id = 4")).await;
    wire.run(&format!("INSERT INTO {table} (id, agent_id, said) VALUES (201, 5, 'other'), (202, 6, 'x')"))
        .await;
    let before = hits(&proxy).await;
    assert_eq!(wire.value(&read).await, "first");
    assert_eq!(hits(&proxy).await, before + 1.0, "a write to another agent's rows drops nothing");
    // By the stream, too.
    stage.primary.sql(&format!("UPDATE {table} SET said = 'other' WHERE agent_id = 4")).await;
    let seen = proxy.metric("pointsman_cache_commits_total", &[]).await;
    stage.primary.sql(&format!("UPDATE {table} SET said = 'mine' WHERE agent_id = 4")).await;
    let brought = || async { proxy.metric("pointsman_cache_commits_total", &[]).await > seen };
    eventually("the stream brings it", SOON, brought).await;
    let before = hits(&proxy).await;
    assert_eq!(wire.value(&read).await, "first");
    assert_eq!(hits(&proxy).await, before + 1.0, "nor does one made elsewhere");
}

/// Neither roles nor row security share rows, and settings that change results are told apart.
#[tokio::test]
async fn roles_and_settings_share_nothing() {
    let (stage, _turn) = logical().await;
    let table = agents(stage, "shared").await;
    stage
        .primary
        .sql(&format!(
            "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
             CREATE POLICY own ON {table} USING (said = current_user);
             INSERT INTO {table} VALUES (301, 1, 'app'), (302, 1, 'alice'), (303, 1, 'bob')"
        ))
        .await;
    stage.primary.sql("GRANT bob TO alice").await;
    let proxy = caching(stage, &rule(&table, ""), "").await;
    let read = format!("SELECT string_agg(said, ',') FROM {table}");
    let (mut app, mut alice) = (proxy.wire().await, proxy.wire_as("alice").await);
    for _ in 0..20 {
        assert_eq!(app.value(&read).await, "app");
        assert_eq!(alice.value(&read).await, "alice");
        alice.run("SET ROLE bob").await;
        assert_eq!(alice.value(&read).await, "bob");
        alice.run("RESET ROLE").await;
    }
    let plain = agents(stage, "styled").await;
    let proxy = caching(stage, &rule(&plain, ""), "").await;
    let read = format!("SELECT DISTINCT timestamptz '2020-01-01 00:00:00+00' FROM {plain}");
    let mut wire = proxy.wire().await;
    warm(&proxy, &mut wire, &read).await;
    let before = hits(&proxy).await;
    for _ in 0..5 {
        for (zone, told) in [("UTC", "2020-01-01 00:00:00+00"), ("Asia/Tokyo", "2020-01-01 09:00:00+09")] {
            wire.run(&format!("SET TimeZone TO '{zone}'")).await;
            assert_eq!(wire.value(&read).await, told);
        }
    }
    assert!(hits(&proxy).await >= before + 8.0, "{}", counted(&proxy).await);
}

/// What may not be kept is not, and why is counted.
#[tokio::test]
async fn what_may_not_be_kept_is_counted() {
    let (stage, _turn) = logical().await;
    let table = agents(stage, "bypassed").await;
    let proxy = caching(stage, &rule(&table, ""), "").await;
    let mut wire = proxy.wire().await;
    warm(&proxy, &mut wire, &format!("SELECT count(*) FROM {table}")).await;
    for (text, why) in [
        (format!("SELECT random() FROM {table} LIMIT 1"), "volatile"),
        (format!("SELECT 1 FROM {table} LIMIT 1 FOR UPDATE"), "locks"),
        (format!("SELECT 1 FROM {table} LIMIT 1; SELECT 2"), "several_statements"),
        (format!("BEGIN; SELECT 1; SELECT count(*) FROM {table}; COMMIT"), "several_statements"),
    ] {
        let count =
            || async { proxy.metric("pointsman_cache_bypasses_total", &[&format!("\"{why}\"")]).await };
        let before = count().await;
        wire.run(&text).await;
        assert!(count().await > before, "{text}: {why}");
    }
    wire.run("BEGIN").await;
    let before = hits(&proxy).await;
    wire.run(&format!("SELECT count(*) FROM {table}")).await;
    assert_eq!(hits(&proxy).await, before, "nothing is served inside a transaction");
    wire.run("ROLLBACK").await;
    let limited = [
        msg::parse("", &format!("SELECT id FROM {table}")),
        msg::bind("", "", &[]),
        msg::execute("", 5),
        msg::sync(),
    ]
    .concat();
    for _ in 0..3 {
        assert_eq!(pointsman_tests::tags(&wire.ask(&limited).await), "12DDDDDsZ");
    }
    assert!(proxy.metric("pointsman_cache_bypasses_total", &["\"row_limit\""]).await >= 3.0);
}

/// Many who ask at once are served by one query.
#[tokio::test]
async fn one_asks_for_all() {
    let (stage, _turn) = logical().await;
    let table = agents(stage, "stampede").await;
    let proxy = caching(stage, &rule(&table, ""), "").await;
    let mut wire = proxy.wire().await;
    warm(&proxy, &mut wire, &format!("SELECT count(*) FROM {table}")).await;
    let followed = async || proxy.metric("pointsman_cache_reads_total", &["outcome=\"followed\""]).await;
    let mut best = 0.0_f64;
    // While another test changes definitions, nobody follows anybody.
    for _ in 0..20 {
        let marker = unique("stampede");
        // Slow enough that all have come before it is answered.
        let sql = format!(
            "SELECT count(*) FROM {table} a, {table} b, {table} c \
             WHERE c.id < 20 AND a.said <> b.said || c.said AND '{marker}' <> ''"
        );
        let mut wires = Vec::new();
        for _ in 0..20 {
            wires.push(proxy.wire().await);
        }
        let before = followed().await;
        let mut asked = tokio::task::JoinSet::new();
        for mut wire in wires {
            let sql = sql.clone();
            asked.spawn(async move { wire.value(&sql).await });
        }
        let answers = asked.join_all().await;
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        best = best.max(followed().await - before);
        if best >= 15.0 {
            return;
        }
    }
    panic!("of 20 who ask at once, {best} follow at the most");
}

/// Posts and friends, and a proxy under a rule whose feeds depend on the friends' posts alone.
async fn feeds(stage: &Stage) -> (Proxy, String, String) {
    let (posts, friends) = (agents(stage, "posts").await, unique("friends"));
    stage
        .primary
        .sql(&format!(
            "CREATE TABLE {friends} (agent_id int, friend_id int, PRIMARY KEY (agent_id, friend_id));
             ALTER TABLE {friends} REPLICA IDENTITY FULL;
             INSERT INTO {friends} VALUES (1, 2), (1, 3), (4, 5);
             GRANT ALL ON {friends} TO PUBLIC"
        ))
        .await;
    let spec = format!(
        "  rules:\n    - name: feed\n      match: {{reads: {{all: [{posts}, {friends}]}}}}\n      cache:\n        ttl: 60s\n        \
         invalidate_by: [agent_id]\n        tags: ['{friends}.agent_id={{agent_id}}', 'feed:{{agent_id}}']\n        \
         tags_from: SELECT '{posts}.agent_id=' || friend_id FROM {friends} WHERE agent_id = {{agent_id}}\n"
    );
    (caching(stage, &spec, ADMIN).await, posts, friends)
}

/// The query for an agent's feed.
fn feed(posts: &str, friends: &str, agent: &str) -> String {
    format!(
        "SELECT count(*) FROM {friends} f JOIN {posts} p ON p.agent_id = f.friend_id WHERE f.agent_id = {agent}"
    )
}

/// A rule's own tags: the feed of an agent depends on its friends' posts alone, whose list is read when it is filled.
#[tokio::test]
async fn a_feed_depends_on_its_friends() {
    let (stage, _turn) = logical().await;
    let (proxy, posts, friends) = feeds(stage).await;
    let (mut wire, mut writer) = (proxy.wire().await, proxy.wire().await);
    let (first, other) = (feed(&posts, &friends, "1"), feed(&posts, &friends, "4"));
    warm(&proxy, &mut wire, &first).await;
    warm(&proxy, &mut wire, &other).await;
    assert_eq!(wire.value(&first).await, "20");
    // A friend's post drops it, a stranger's does not; by either protocol.
    writer.run(&format!("INSERT INTO {posts} (id, agent_id, said) VALUES (500, 3, 'new')")).await;
    let before = hits(&proxy).await;
    assert_eq!(wire.value(&other).await, "10");
    assert_eq!(hits(&proxy).await, before + 1.0, "a stranger's post drops nothing");
    assert_eq!(wire.value(&first).await, "21");
    let bound = feed(&posts, &friends, "$1");
    assert_eq!(wire.extended_value(&bound, &[Some("1")]).await, "21");
    // A new friend changes whom it depends on.
    writer.run(&format!("INSERT INTO {friends} (agent_id, friend_id) VALUES (1, 5)")).await;
    assert_eq!(wire.value(&first).await, "31");
    assert_eq!(wire.extended_value(&bound, &[Some("1")]).await, "31");
    writer.run(&format!("INSERT INTO {posts} (id, agent_id, said) VALUES (501, 5, 'new')")).await;
    assert_eq!(wire.value(&first).await, "32");
    assert_eq!(wire.value(&other).await, "11");
    assert_eq!(wire.extended_value(&bound, &[Some("1")]).await, "32");
}

/// Long results are written as they are stored, in order with what is asked next, however slowly the client reads.
#[tokio::test]
async fn long_results_keep_their_order() {
    let (stage, _turn) = logical().await;
    let table = agents(stage, "long").await;
    let proxy = caching(stage, &rule(&table, ""), "").await;
    let mut wire = proxy.wire().await;
    let long = format!("SELECT repeat('x', 700000) || count(*) FROM {table}");
    let short = format!("SELECT count(*) FROM {table}");
    warm(&proxy, &mut wire, &long).await;
    warm(&proxy, &mut wire, &short).await;
    let bound = |sql: &str| [msg::statement(sql, &[]), msg::sync()].concat();
    wire.ask(&bound(&long)).await;
    wire.ask(&bound(&short)).await;
    let all: Vec<u8> = (0..5)
        .flat_map(|_| {
            [msg::query(&long), bound(&short), bound(&long), msg::query(&short), msg::query("SELECT 7")]
        })
        .flatten()
        .collect();
    wire.send(&all).await;
    for _ in 0..5 {
        for (length, end) in [(700_003, "100"), (3, "100"), (700_003, "100"), (3, "100"), (1, "7")] {
            let frames = wire.until(b'Z').await;
            let row = frames.iter().find(|frame| frame.tag == b'D').expect("a row");
            let value = row.values().into_iter().next().flatten().expect("a value");
            assert!(value.len() == length && value.ends_with(end), "{} bytes", value.len());
        }
    }
}

/// The console drops what is named, and it and EXPLAIN ROUTE say what is kept.
#[tokio::test]
async fn the_cache_is_told_of_and_obeys() {
    let (stage, _turn) = logical().await;
    let (proxy, posts, friends) = feeds(stage).await;
    let (mut wire, first) = (proxy.wire().await, feed(&posts, &friends, "1"));
    // A name of the rule's own is dropped by request.
    warm(&proxy, &mut wire, &first).await;
    let console = proxy.console().await;
    let gone = || async { proxy.metric("pointsman_cache_reads_total", &["\"invalidated\""]).await };
    for command in ["INVALIDATE TAG 'feed:1'", "INVALIDATE ALL", &format!("INVALIDATE TABLE {posts}")] {
        console.simple_query(command).await.expect("it is done");
        let before = gone().await + proxy.metric("pointsman_cache_reads_total", &["\"absent\""]).await;
        wire.run(&first).await;
        let after = gone().await + proxy.metric("pointsman_cache_reads_total", &["\"absent\""]).await;
        assert_eq!(after, before + 1.0, "{command}");
        warm(&proxy, &mut wire, &first).await;
    }
    let error = console.simple_query("INVALIDATE TABLE nobody").await.expect_err("no such table");
    assert_eq!(error.code().map(|code| code.code()), Some("42P01"));
    // It is said, too.
    let told = wire.query(&format!("EXPLAIN ROUTE {first}")).await;
    let told: Vec<String> = told
        .iter()
        .filter(|f| f.tag == b'D')
        .map(|f| f.values().into_iter().flatten().collect::<Vec<_>>().join(" "))
        .collect();
    for wanted in ["cached by p/feed", "cache hit", "depends on tag feed:", " k:"] {
        assert!(told.iter().any(|line| line.contains(wanted)), "{wanted}: {told:#?}");
    }
    let rules = crate::common::show(&console, "SHOW CACHE RULES").await;
    assert_eq!(rules[0]["rule"], "feed");
    assert!(rules[0]["hits"].parse::<u64>().expect("a number") > 0);
    let cache = crate::common::show(&console, "SHOW CACHE").await;
    assert!(
        cache
            .iter()
            .any(|row| row["database"] == "app" && row["hears"] == "stream" && row["state"] == "open")
    );
}
