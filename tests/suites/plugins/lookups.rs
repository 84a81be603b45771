//! What plugins look up.

use pointsman_tests::Frame;

use crate::common::shared;

use super::{error_of, notes, plugin};

fn message(replies: &[Frame]) -> String {
    replies
        .iter()
        .find(|frame| frame.tag == b'E')
        .map(|frame| String::from_utf8_lossy(&frame.body).into_owned())
        .unwrap_or_default()
}

/// A lookup reads the session's database with a parameter; one that may write, that is two, or that is wrong is refused with the reason,
/// and one that takes long or brings too much ends.
#[tokio::test]
async fn lookups_read_and_nothing_else() {
    let stage = shared().await;
    let table = notes(stage, "looked_up").await;
    let slow = "SELECT count(*) FROM generate_series(1, 100000000) a WHERE a::text <> $1";
    let config = format!(
        r#"{{"query": [{{"has": "'1'", "lookup": "SELECT note, owner FROM {table} WHERE id = $1::int"}},
            {{"has": "'write'", "lookup": "DELETE FROM {table} RETURNING $1"}},
            {{"has": "'two'", "lookup": "SELECT $1; SELECT 2"}},
            {{"has": "'wrong'", "lookup": "SELECT nothing FROM {table} WHERE note = $1"}},
            {{"has": "'many'", "lookup": "SELECT repeat('x', 100) FROM generate_series(1, 1000) WHERE $1 <> ''"}},
            {{"has": "'slow'", "lookup": "{slow}"}}]}}"#
    );
    let spec = format!("  rules:\n    - {{name: asked, match: {{tables: [{table}]}}, plugins: [script]}}\n");
    let more = "    limits: {deadline: 10s, lookup_deadline: 2s}\n    lookup: {rows: 100}\n";
    let proxy = stage
        .proxy(&format!("{}{}", crate::common::policy(stage, &spec), plugin(stage, &config, more)))
        .await;
    let mut wire = proxy.wire().await;
    stage.wait_replayed().await;
    let ask = |word: &str| format!("SELECT id FROM {table} WHERE owner = '{word}'");
    for _ in 0..3 {
        let replies = wire.query(&ask("1")).await;
        assert_eq!(pointsman_tests::tags(&replies), "TDCZ", "{}", message(&replies));
    }
    for (word, told) in [
        ("write", "Refused(\"it is not proven to read only"),
        ("two", "Refused("),
        ("wrong", "42703"),
        ("many", "TooLarge"),
        ("slow", "Deadline"),
    ] {
        let replies = wire.query(&ask(word)).await;
        assert_eq!(error_of(&replies), "P0002", "{word}: {}", message(&replies));
        let said = message(&replies);
        let slow = word == "slow" && said.contains("57014");
        assert!(said.contains(told) || slow, "{word}: {said}");
    }
    assert_eq!(stage.primary.value(&format!("SELECT count(*) FROM {table}")).await, "3");
    let replies = wire.query(&ask("1")).await;
    assert_eq!(pointsman_tests::tags(&replies), "TDCZ", "after all of that: {}", message(&replies));
}

/// `kv` is one for all instances.
#[tokio::test]
async fn kv_is_shared_by_all_instances() {
    let stage = shared().await;
    let table = notes(stage, "counted").await;
    let proxy = super::asked_about(stage, &table, r#"{"query": [{"has": "note", "count": "calls"}]}"#).await;
    let sql = format!("SELECT note FROM {table}");
    let mut seen = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(proxy.wire().await);
    }
    for wire in &mut clients {
        seen.push(wire.value(&sql).await.parse::<u32>().expect("a number"));
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=8).collect::<Vec<_>>());
}

/// In a fleet it is one for all proxies; while the store is away a plugin hears so, and statements go on.
#[tokio::test]
async fn kv_is_shared_by_a_fleet() {
    let stage = shared().await;
    let table = notes(stage, "fleet_counted").await;
    let redis = pointsman_tests::Redis::start(stage);
    let spec = format!("  rules:\n    - {{name: asked, match: {{tables: [{table}]}}, plugins: [script]}}\n");
    let script = r#"{"query": [{"has": "note", "count": "calls"}]}"#;
    let more = format!("{}    kv: {{shared: true}}\n", super::PATIENT);
    let config = format!(
        "{}{}cache: {{{}}}\n",
        crate::common::policy(stage, &spec),
        plugin(stage, script, &more),
        redis.config()
    );
    let (one, two) = (stage.proxy(&config).await, stage.proxy(&config).await);
    let (mut first, mut second) = (one.wire().await, two.wire().await);
    let sql = format!("SELECT note FROM {table}");
    assert_eq!(first.value(&sql).await, "1");
    assert_eq!(second.value(&sql).await, "2");
    assert_eq!(first.value(&sql).await, "3");
    let kept = redis.ask(&["KEYS", "pointsman:kv:*"]);
    assert!(kept.starts_with("*1\r\n") && kept.contains("script"), "{kept}");
    redis.kill();
    assert_eq!(first.value(&sql).await, "-1", "the plugin's own word for that it was told");
    redis.launch();
    let asking = tokio::sync::Mutex::new(&mut first);
    pointsman_tests::eventually("the store is used again", crate::common::SOON, || async {
        asking.lock().await.value(&sql).await != "-1"
    })
    .await;
}
