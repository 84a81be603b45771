//! Plugins and the cache: tags of results and of writes, what may be kept, and for how long.

use pointsman_tests::{Proxy, Stage, eventually, msg};

use crate::cached::{hits, logical, warm};
use crate::common::{SOON, policy, unique};

use super::{PATIENT, plugin};

/// Posts by authors, and who reads whom: what somebody's feed is made of.
async fn feeds(stage: &Stage) -> (String, String) {
    let (posts, follows) = (unique("posts"), unique("follows"));
    stage
        .primary
        .sql(&format!(
            "CREATE TABLE {posts} (id serial PRIMARY KEY, author int NOT NULL, said text);
             CREATE TABLE {follows} (reader int, author int, PRIMARY KEY (reader, author));
             ALTER TABLE {posts} REPLICA IDENTITY FULL;
             INSERT INTO {follows} VALUES (1, 7), (2, 7), (3, 8);
             INSERT INTO {posts} (author, said) VALUES (7, 'first'), (8, 'first');
             GRANT ALL ON {posts}, {follows} TO PUBLIC; GRANT ALL ON SEQUENCE {posts}_id_seq TO PUBLIC"
        ))
        .await;
    (posts, follows)
}

fn feed(posts: &str, follows: &str, reader: u32) -> String {
    format!(
        "SELECT count(*) FROM {posts} p JOIN {follows} f ON p.author = f.author WHERE f.reader = {reader}"
    )
}

/// Gives the feeds of readers 1 and 3 tags by whom they read, and names the authors of posts in this hook.
fn naming_authors(hook: &str, posts: &str) -> String {
    format!(
        r#"{{"query": [{{"has": "reader = 1", "tags": ["by:7"]}}, {{"has": "reader = 3", "tags": ["by:8"]}}],
            "{hook}": [{{"table": "{posts}", "column": "author", "tag": "by:{{}}"}}]}}"#
    )
}

async fn under(stage: &Stage, (posts, follows): (&str, &str), script: &str, more: &str) -> Proxy {
    let spec = format!(
        "  rules:\n    - {{name: feeds, match: {{verb: select, tables: [{posts}, {follows}]}}, plugins: [script],\n       \
         cache: {{ttl: 60s, plugin_tables: [{posts}]}}}}\n    \
         - {{name: posts, match: {{writes: [{posts}]}}, plugins: [script]}}\n"
    );
    stage
        .proxy(&format!("{}{}", policy(stage, &spec), plugin(stage, script, &format!("{PATIENT}{more}"))))
        .await
}

/// Whether a feed is served from memory, and what it says.
async fn served(proxy: &Proxy, wire: &mut pointsman_tests::Wire, sql: &str) -> (bool, String) {
    let before = hits(proxy).await;
    let value = wire.value(sql).await;
    (hits(proxy).await > before, value)
}

/// A write drops the results that its tags name, before its client hears that it is done, and no others: in autocommit by either
/// protocol, and in a transaction, where a rollback drops none.
#[tokio::test]
async fn a_write_drops_what_its_tags_name() {
    let (stage, _turn) = logical().await;
    let (posts, follows) = feeds(stage).await;
    let script = naming_authors("write", &posts);
    let proxy = under(stage, (&posts, &follows), &script, "").await;
    let mut wire = proxy.wire().await;
    let (first, third) = (feed(&posts, &follows, 1), feed(&posts, &follows, 3));
    let mut expected = 1;
    let (simple, bound) = (
        format!("INSERT INTO {posts} (author) VALUES (7)"),
        format!("INSERT INTO {posts} (author) VALUES ($1)"),
    );
    for way in ["simple", "extended", "transaction", "pipeline", "portion"] {
        warm(&proxy, &mut wire, &first).await;
        warm(&proxy, &mut wire, &third).await;
        match way {
            "simple" => drop(wire.run(&simple).await),
            "extended" => drop(wire.extended_value(&format!("{bound} RETURNING 1"), &[Some("7")]).await),
            "pipeline" => {
                wire.send(&["BEGIN", &simple, "COMMIT"].map(msg::query).concat()).await;
                for _ in 0..3 {
                    wire.until(b'Z').await;
                }
            }
            // Not fetched to its end, so that no CommandComplete tells of it.
            "portion" => {
                let two = format!("INSERT INTO {posts} (author) VALUES (7), (7) RETURNING author");
                let portion =
                    [msg::parse("", &two), msg::bind("", "", &[]), msg::execute("", 1), msg::sync()];
                assert_eq!(pointsman_tests::tags(&wire.ask(&portion.concat()).await), "12DsZ");
                expected += 1;
            }
            _ => {
                wire.run("BEGIN").await;
                wire.run(&simple).await;
                wire.run("COMMIT").await;
            }
        }
        expected += 1;
        assert_eq!(served(&proxy, &mut wire, &first).await, (false, expected.to_string()), "{way}");
        assert_eq!(served(&proxy, &mut wire, &third).await, (true, "1".to_owned()), "{way}: a stranger's");
    }
    warm(&proxy, &mut wire, &first).await;
    wire.run("BEGIN").await;
    wire.run(&simple).await;
    wire.run("ROLLBACK").await;
    let calls = proxy.metric("pointsman_plugins_calls_total", &[]).await;
    assert!(served(&proxy, &mut wire, &first).await.0, "nothing was written");
    assert_eq!(proxy.metric("pointsman_plugins_calls_total", &[]).await, calls + 1.0, "for the read");
}

/// An `on-write` that fails has named everything.
#[tokio::test]
async fn a_failed_write_hook_drops_everything() {
    let (stage, _turn) = logical().await;
    let (posts, follows) = feeds(stage).await;
    let script = r#"{"query": [{"has": "reader", "tags": ["some"]}], "fault": {"on-write": "trap"}}"#;
    let proxy = under(stage, (&posts, &follows), script, "").await;
    let mut wire = proxy.wire().await;
    let third = feed(&posts, &follows, 3);
    warm(&proxy, &mut wire, &third).await;
    wire.run(&format!("INSERT INTO {posts} (author) VALUES (7)")).await;
    assert_eq!(served(&proxy, &mut wire, &third).await, (false, "1".to_owned()));
}

/// Changes that pass Pointsman by drop what `on-change` names.
#[tokio::test]
async fn a_change_from_elsewhere_drops_what_its_tags_name() {
    let (stage, _turn) = logical().await;
    let (posts, follows) = feeds(stage).await;
    let script = naming_authors("change", &posts);
    let proxy = under(stage, (&posts, &follows), &script, "").await;
    let mut wire = proxy.wire().await;
    let (first, third) = (feed(&posts, &follows, 1), feed(&posts, &follows, 3));
    eventually("changes are heard of", SOON, || async {
        proxy
            .get("/metrics")
            .await
            .is_ok_and(|all| all.contains("pointsman_cache_stream") || all.contains("streaming"))
    })
    .await;
    warm(&proxy, &mut wire, &first).await;
    warm(&proxy, &mut wire, &third).await;
    stage.primary.sql(&format!("INSERT INTO {posts} (author) VALUES (7)")).await;
    let wire = tokio::sync::Mutex::new(wire);
    eventually("the feed is fresh", SOON, || async { wire.lock().await.value(&first).await == "2" }).await;
    assert_eq!(served(&proxy, &mut *wire.lock().await, &third).await, (true, "1".to_owned()), "a stranger's");
}

/// `on-store` keeps a result from being kept, or has it kept with further tags and for less long.
#[tokio::test]
async fn a_result_is_judged_before_it_is_kept() {
    let (stage, _turn) = logical().await;
    let (posts, follows) = feeds(stage).await;
    let sql = feed(&posts, &follows, 1);
    let vetoing = under(stage, (&posts, &follows), r#"{"store": {"veto": true}}"#, "").await;
    let mut wire = vetoing.wire().await;
    let vetoed = async || vetoing.metric("pointsman_cache_not_stored_total", &["reason=\"vetoed\""]).await;
    let asking = tokio::sync::Mutex::new(&mut wire);
    eventually("results are vetoed", SOON, || async {
        asking.lock().await.value(&sql).await;
        vetoed().await > 1.0
    })
    .await;
    assert_eq!(hits(&vetoing).await, 0.0);
    let script = format!(
        r#"{{"query": [{{"has": "reader", "tags": ["feed"]}}], "store": {{"tags": ["stored"]}}, "write": [{{"table": "{posts}", "column": "author", "tag": "stored"}}]}}"#
    );
    let tagging = under(stage, (&posts, &follows), &script, "").await;
    let mut wire = tagging.wire().await;
    warm(&tagging, &mut wire, &sql).await;
    wire.run(&format!("INSERT INTO {posts} (author) VALUES (9)")).await;
    assert!(!served(&tagging, &mut wire, &sql).await.0, "dropped by the tag that came last");
}

/// A plugin keeps a read from the cache, or has it kept for less long.
#[tokio::test]
async fn a_read_is_kept_shorter_or_not_at_all() {
    let (stage, _turn) = logical().await;
    let (posts, follows) = feeds(stage).await;
    let script = r#"{"query": [{"has": "reader = 1", "bypass": true}, {"has": "reader = 3", "ttl_ms": 50}]}"#;
    let proxy = under(stage, (&posts, &follows), script, "").await;
    let mut wire = proxy.wire().await;
    warm(&proxy, &mut wire, &feed(&posts, &follows, 2)).await;
    for _ in 0..5 {
        assert!(!served(&proxy, &mut wire, &feed(&posts, &follows, 1)).await.0);
    }
    warm(&proxy, &mut wire, &feed(&posts, &follows, 3)).await;
    let expired = async || proxy.metric("pointsman_cache_reads_total", &["outcome=\"expired\""]).await;
    let asking = tokio::sync::Mutex::new(&mut wire);
    eventually("it expires", SOON, || async {
        asking.lock().await.value(&feed(&posts, &follows, 3)).await;
        expired().await > 0.0
    })
    .await;
}
