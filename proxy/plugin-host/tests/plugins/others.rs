//! Hooks other than `on-query`: what they see and answer, and what their failures count as.

use std::sync::Arc;

use pointsman_plugin_host::{
    CallError, ChangeCall, ConnectVerdict, Failures, Invalidation, OnFailure, Operation, Plugin, PluginSpec,
    Refusal, RowChange, StoreCall, StoreVerdict, Value, Verdict,
};

use crate::guest::{AFTER_QUERY, Dir, ON_QUERY, call, host, load, module, session, write};

/// The other hooks' functions, each with its parameters.
const ON_WRITE: &str = r#"(export "pointsman:plugin/on-write@1.0.0#handle")
    (param i32 i64 i32 i64 i32 i64) (result i32)"#;
const ON_CHANGE: &str = r#"(export "pointsman:plugin/on-change@1.0.0#handle")
    (param $database i32) (param i32) (param $lsn i64) (param $changes i32) (param $count i32) (result i32)"#;
const ON_STORE: &str = r#"(export "pointsman:plugin/on-store@1.0.0#handle")
    (param $key i32) (param $key_len i32) (param $tags i32) (param i32) (param $size i64) (param $ttl i64) (result i32)"#;
const ON_CONNECT: &str = r#"(export "pointsman:plugin/on-connect@1.0.0#handle") (result i32)"#;

fn batch() -> ChangeCall {
    let change = RowChange {
        schema: "public".to_owned(),
        table: "agents".to_owned(),
        operation: Operation::Update,
        before: vec![],
        after: vec![("id".to_owned(), Value::Text("42".to_owned()))],
    };
    ChangeCall { database: "app".to_owned(), lsn: 7, changes: vec![change] }
}

fn entry(size: u64) -> StoreCall {
    let call = call(1, "ann");
    StoreCall {
        session: call.session,
        statement: call.statement,
        key: "0123456789abcdef0123456789abcdef".to_owned(),
        tags: vec!["agents".to_owned()],
        size,
        ttl_ms: 1000,
    }
}

async fn one(exports: &[&str], text: &str, imports: &[&str]) -> (Dir, Arc<Plugin>) {
    let dir = Dir::new();
    let plugin =
        load(&host(), dir.spec("p", &module(imports, exports, text))).await.unwrap_or_else(|e| panic!("{e}"));
    (dir, plugin)
}

#[tokio::test]
async fn changes_come_with_their_rows_and_go_as_tags() {
    let text = format!(
        r#"(func {ON_CHANGE}
             (if (i32.ne (local.get $count) (i32.const 1)) (then unreachable))
             (if (i64.ne (local.get $lsn) (i64.const 7)) (then unreachable))
             (if (i32.ne (i32.load8_u offset=16 (local.get $changes)) (i32.const 1)) (then unreachable))
             (i64.store (i32.const 1304) (i64.load offset=8 align=4 (local.get $changes)))
             (i64.store (i32.const 1312) (i64.load offset=12 align=4 (i32.load offset=28 (local.get $changes))))
             (i32.store (i32.const 1400) (i32.const 1304)) (i32.store (i32.const 1404) (i32.const 2))
             (i32.const 1400))"#
    );
    let (_dir, plugin) = one(&["on-change"], &text, &[]).await;
    let said = plugin.on_change(&batch()).await;
    assert_eq!(said.failure, None);
    assert_eq!(said.verdict, Invalidation::Tags(vec!["agents".to_owned(), "42".to_owned()]));
}

#[tokio::test]
async fn an_entry_is_kept_with_changes_or_not_at_all() {
    let text = format!(
        r#"(func {ON_STORE}
             (i32.store8 (i32.const 1024) (i32.const 2))
             (if (i64.gt_u (local.get $size) (i64.const 1000)) (then (return (i32.const 1024))))
             (i32.store8 (i32.const 1024) (i32.const 1))
             (i32.store (i32.const 1300) (local.get $key)) (i32.store (i32.const 1304) (local.get $key_len))
             (i32.store (i32.const 1032) (i32.const 1300)) (i32.store (i32.const 1036) (i32.const 1))
             (i32.store8 (i32.const 1040) (i32.const 1))
             (i64.store (i32.const 1048) (i64.div_u (local.get $ttl) (i64.const 4)))
             (i32.const 1024))"#
    );
    let (_dir, plugin) = one(&["on-store"], &text, &[]).await;
    let said = plugin.on_store(&entry(200)).await;
    let kept =
        StoreVerdict::Keep { tags: vec![entry(0).key], ttl: Some(std::time::Duration::from_millis(250)) };
    assert_eq!((said.verdict, said.failure), (kept, None));
    let said = plugin.on_store(&entry(2000)).await;
    assert_eq!((said.verdict, said.failure), (StoreVerdict::Veto, None));
}

#[tokio::test]
async fn a_client_is_let_in_with_settings_or_refused() {
    let text = format!(
        r#"(data (i32.const 1200) "app.user28000")
           (func {ON_CONNECT}
             (call $who (i32.const 2048))
             (if (i32.eq (i32.load (i32.const 2052)) (i32.const 3))
               (then
                 (i32.store8 (i32.const 1024) (i32.const 0))
                 (i32.store (i32.const 1028) (i32.const 1300)) (i32.store (i32.const 1032) (i32.const 1))
                 (i32.store (i32.const 1300) (i32.const 1200)) (i32.store (i32.const 1304) (i32.const 8))
                 (i64.store align=4 (i32.const 1308) (i64.load (i32.const 2048))))
               (else
                 (i32.store8 (i32.const 1024) (i32.const 1))
                 (i32.store (i32.const 1028) (i32.const 1208)) (i32.store (i32.const 1032) (i32.const 5))
                 (i64.store align=4 (i32.const 1036) (i64.load (i32.const 2048)))))
             (i32.const 1024))"#
    );
    let (_dir, plugin) = one(&["on-connect"], &text, &["session"]).await;
    let said = plugin.on_connect(&session("ann")).await;
    let allowed = ConnectVerdict::Allow(vec![("app.user".to_owned(), "ann".to_owned())]);
    assert_eq!((said.verdict, said.failure), (allowed, None));
    let said = plugin.on_connect(&session("mallory")).await;
    let refusal = Refusal { sqlstate: "28000".to_owned(), message: "mallory".to_owned(), hint: None };
    assert_eq!((said.verdict, said.failure), (ConnectVerdict::Refuse(refusal), None));
}

/// Traps in every hook.
fn traps() -> Vec<u8> {
    let hooks = [ON_QUERY, ON_WRITE, ON_CHANGE, ON_STORE, ON_CONNECT];
    let mut text: String = hooks.iter().map(|hook| format!("(func {hook} unreachable)")).collect();
    text.push_str(AFTER_QUERY);
    module(&[], &["on-query", "on-write", "on-change", "on-store", "on-connect"], &text)
}

/// A plugin that traps in every hook, of whose failures this one is judged otherwise than the others.
async fn trapping(dir: &Dir, others: OnFailure, change: impl FnOnce(&mut Failures)) -> Arc<Plugin> {
    let mut spec = PluginSpec { on_failure: Failures::all(others), ..dir.spec("p", &traps()) };
    spec.limits.failures_max = u32::MAX;
    change(&mut spec.on_failure);
    load(&host(), spec).await.expect("it loads")
}

#[tokio::test]
async fn failures_that_are_closed_come_to_the_safe_side() {
    let dir = Dir::new();
    let plugin = trapping(&dir, OnFailure::Closed, |_| ()).await;
    let trapped =
        |failure: Option<CallError>| assert!(matches!(failure, Some(CallError::Trap(_))), "{failure:?}");
    let said = plugin.on_query(&call(1, "ann")).await;
    assert!(matches!(&*said.verdict, Verdict::Refuse(refusal) if refusal.sqlstate == "58000"));
    trapped(said.failure);
    let said = plugin.on_write(&write()).await;
    assert_eq!(said.verdict, Invalidation::Everything);
    trapped(said.failure);
    let said = plugin.on_change(&batch()).await;
    assert_eq!(said.verdict, Invalidation::Everything);
    trapped(said.failure);
    let said = plugin.on_store(&entry(1)).await;
    assert_eq!(said.verdict, StoreVerdict::Veto);
    trapped(said.failure);
    let said = plugin.on_connect(&session("ann")).await;
    assert!(matches!(&said.verdict, ConnectVerdict::Refuse(refusal) if refusal.sqlstate == "58000"));
    trapped(said.failure);
}

#[tokio::test]
async fn failures_that_are_open_change_nothing_and_each_hook_has_its_own() {
    let dir = Dir::new();
    let plugin = trapping(&dir, OnFailure::Open, |failures| failures.change = OnFailure::Closed).await;
    assert_eq!(*plugin.on_query(&call(1, "ann")).await.verdict, Verdict::Pass);
    assert_eq!(plugin.on_write(&write()).await.verdict, Invalidation::Tags(vec![]));
    assert_eq!(plugin.on_change(&batch()).await.verdict, Invalidation::Everything);
    assert_eq!(plugin.on_store(&entry(1)).await.verdict, StoreVerdict::Keep { tags: vec![], ttl: None });
    assert_eq!(plugin.on_connect(&session("ann")).await.verdict, ConnectVerdict::Allow(vec![]));
    assert_eq!(plugin.status().counts.failures.iter().sum::<u64>(), 5);
}
