//! Plugins that change while they are used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pointsman_tests::{Stage, eventually};

use crate::common::{policy, shared};

use super::{PATIENT, notes, plugin};

/// A minute: plugins are compiled, and the machine may be busy.
const LONG: std::time::Duration = std::time::Duration::from_secs(60);

fn config(stage: &Stage, policies: &str, script: &str) -> String {
    format!("{policies}{}", plugin(stage, script, PATIENT))
}

/// A plugin whose configuration changes is replaced between two statements, under load, without one that is lost or sees neither; a bad
/// one changes nothing; what it kept in `kv` is there.
#[tokio::test]
async fn a_reload_under_load() {
    let stage = shared().await;
    let table = notes(stage, "reloaded").await;
    let spec = format!("  rules:\n    - {{name: asked, match: {{tables: [{table}]}}, plugins: [script]}}\n");
    let policies = policy(stage, &spec);
    let answers = |number: u32| {
        format!(
            r#"{{"query": [{{"has": "'kv'", "count": "calls"}}, {{"has": "note", "answer": [["{number}"]], "columns": ["n"]}}]}}"#
        )
    };
    let proxy = stage.proxy(&config(stage, &policies, &answers(0))).await;
    let sql = format!("SELECT note FROM {table}");
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let (mut wire, stop, sql) = (proxy.wire().await, Arc::clone(&stop), sql.clone());
        clients.push(tokio::spawn(async move {
            let (mut last, mut count) = (0, 0_u64);
            while !stop.load(Ordering::Relaxed) {
                let now: u32 = wire.value(&sql).await.parse().expect("a number");
                assert!(now >= last, "{now} after {last}");
                (last, count) = (now, count + 1);
            }
            count
        }));
    }
    let mut wire = proxy.wire().await;
    let counted = format!("SELECT id FROM {table} WHERE note = 'kv'");
    assert_eq!(wire.value(&counted).await, "1");
    for number in 1..=5_u32 {
        proxy.write_config(stage, &config(stage, &policies, &answers(number)));
        proxy.signal("HUP");
        let asking = tokio::sync::Mutex::new(&mut wire);
        eventually("the new one answers", LONG, || async {
            asking.lock().await.value(&sql).await == number.to_string()
        })
        .await;
        assert_eq!(wire.value(&counted).await, (number + 1).to_string(), "what it kept");
    }
    proxy.write_config(stage, &config(stage, &policies, r#"{"refuse_init": "not today"}"#));
    proxy.signal("HUP");
    eventually("the reload is refused", LONG, || async { proxy.log().contains("not today") }).await;
    assert_eq!(wire.value(&sql).await, "5", "the old one stays");
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.expect("no statement was lost") > 0);
    }
}

/// A file that changes is loaded anew; one that is broken is not.
#[tokio::test]
async fn a_file_that_changes() {
    let stage = shared().await;
    let table = notes(stage, "changed_file").await;
    let file = stage.dir().join(format!("{table}.wasm"));
    let whole = std::fs::read(super::script()).expect("the plugin");
    std::fs::write(&file, &whole).expect("a copy");
    let spec = format!("  rules:\n    - {{name: asked, match: {{tables: [{table}]}}, plugins: [script]}}\n");
    let script = r#"{"query": [{"has": "note", "answer": [["7"]], "columns": ["n"]}]}"#;
    let lines = plugin(stage, script, PATIENT).replace(&super::script(), &file.display().to_string());
    let proxy = stage.proxy(&format!("{}{lines}{}", policy(stage, &spec), crate::common::ADMIN)).await;
    let mut wire = proxy.wire().await;
    let sql = format!("SELECT note FROM {table}");
    assert_eq!(wire.value(&sql).await, "7");
    let put = |bytes: &[u8]| {
        let beside = file.with_extension("new");
        std::fs::write(&beside, bytes).expect("written");
        std::fs::rename(&beside, &file).expect("renamed");
    };
    put(&whole[..whole.len() / 2]);
    eventually("the broken one is refused", LONG, || async {
        proxy.log().contains("plugins cannot be loaded")
    })
    .await;
    assert_eq!(wire.value(&sql).await, "7", "the old one stays");
    // The same with an empty section at its end: another file.
    put(&[whole.as_slice(), &[0, 2, 1, b'x']].concat());
    let console = proxy.console().await;
    let before = crate::common::row_of(&console, "SHOW PLUGINS", "name", "script").await["sha256"].clone();
    eventually("the new one is in force", LONG, || async {
        let now = crate::common::row_of(&console, "SHOW PLUGINS", "name", "script").await["sha256"].clone();
        now != before
    })
    .await;
    assert_eq!(wire.value(&sql).await, "7");
}
