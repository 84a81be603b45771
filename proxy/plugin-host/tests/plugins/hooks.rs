//! What hooks see and answer, what is remembered, and what capabilities do.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pointsman_plugin_host::{
    CallError, Capability, Changes, Host, HostOptions, Identity, Invalidation, KvError, KvFuture, Lookup,
    LookupError, LookupFuture, LookupRequest, Plugin, PluginSpec, Refusal, Rows, SharedKv, Verdict,
};
use tokio::sync::Notify;

use crate::guest::{self, AFTER_QUERY, Dir, ON_QUERY, call, host, load, module, write};

async fn one(bytes: &[u8], grants: &[Capability]) -> (Host, Dir, Arc<Plugin>) {
    let (host, dir) = (host(), Dir::new());
    let spec = PluginSpec { grants: grants.to_vec(), ..dir.spec("p", bytes) };
    let plugin = load(&host, spec).await.expect("it loads");
    (host, dir, plugin)
}

#[tokio::test]
async fn a_statement_passes() {
    let (_host, _dir, plugin) = one(&guest::passing(), &[]).await;
    for _ in 0..100 {
        let said = plugin.on_query(&call(1, "ann")).await;
        assert_eq!((&*said.verdict, said.failure), (&Verdict::Pass, None));
    }
    let status = plugin.status();
    assert_eq!((status.counts.calls, status.instances, status.memory_bytes), (100, 1, 2 << 16));
    // Hooks that it does not have say what no plugin says.
    assert_eq!(plugin.on_write(&write()).await.verdict, Invalidation::Tags(vec![]));
}

/// Answers with the text that it asked for, as a refusal's message.
const ECHO: &str = r#"(data (i32.const 1200) "P0001")"#;

fn echo(import: &str, ask: &str) -> Vec<u8> {
    let text = format!(
        r#"{ECHO} (func {ON_QUERY}
             {ask}
             (i32.store8 (i32.const 1024) (i32.const 3))
             (i32.store (i32.const 1032) (i32.const 1200)) (i32.store (i32.const 1036) (i32.const 5))
             (i32.const 1024)) {AFTER_QUERY}"#
    );
    module(&[import], &["on-query"], &text)
}

/// Copies the string at 2048 + `from` to the message's place.
fn message_from(from: u32) -> String {
    format!("(i64.store align=4 (i32.const 1040) (i64.load align=4 (i32.const {})))", 2048 + from)
}

fn message(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Refuse(refusal) => &refusal.message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_granted_and_not_imported_changes_nothing() {
    let all: Vec<Capability> = Capability::WORDS.iter().map(|(_, capability)| *capability).collect();
    let (_host, _dir, plugin) = one(&guest::passing(), &all).await;
    let call = call(1, "ann");
    // It does not wait, as it does not look up.
    let mut asked = std::pin::pin!(plugin.on_query(&call));
    let said = asked.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(matches!(said, std::task::Poll::Ready(said) if said.failure.is_none()));
}

#[tokio::test]
async fn a_plugin_asks_for_what_it_wants() {
    let bytes = echo("statement", &format!("(call $sql (i32.const 2048)) {}", message_from(0)));
    let (_host, _dir, plugin) = one(&bytes, &[]).await;
    let call = call(1, "ann");
    assert_eq!(message(&plugin.on_query(&call).await.verdict), call.statement.sql());

    let bytes =
        echo("statement", &format!("(call $literal (i32.const 0) (i32.const 2048)) {}", message_from(8)));
    let (_host, _dir, plugin) = one(&bytes, &[]).await;
    assert_eq!(message(&plugin.on_query(&call).await.verdict), "42");

    let bytes = echo("session", &format!("(call $who (i32.const 2048)) {}", message_from(0)));
    let (_host, _dir, plugin) = one(&bytes, &[]).await;
    assert_eq!(message(&plugin.on_query(&call).await.verdict), "ann");
}

#[tokio::test]
async fn a_statement_goes_on_with_changes() {
    // A tag `feed:42`, and bypass of the cache.
    let text = format!(
        r#"(data (i32.const 1200) "feed:42")
           (func {ON_QUERY}
             (i32.store (i32.const 1300) (i32.const 1200)) (i32.store (i32.const 1304) (i32.const 7))
             (i32.store8 (i32.const 1024) (i32.const 1))
             (i32.store (i32.const 1068) (i32.const 1300)) (i32.store (i32.const 1072) (i32.const 1))
             (i32.store8 (i32.const 1080) (i32.const 1)) (i32.store8 (i32.const 1088) (i32.const 0))
             (i32.const 1024)) {AFTER_QUERY}"#
    );
    let (_host, _dir, plugin) = one(&module(&[], &["on-query"], &text), &[]).await;
    let said = plugin.on_query(&call(1, "ann")).await;
    let caching = Some(pointsman_plugin_host::Caching::Bypass);
    let expected = Changes { tags: vec!["feed:42".to_owned()], caching, ..Changes::default() };
    assert_eq!(*said.verdict, Verdict::Change(expected));
}

/// Passes, and says that its verdict holds so widely; a second call traps.
fn once(memo: u32) -> Vec<u8> {
    let text = format!(
        "(global $n (mut i32) (i32.const 0))
         (func {ON_QUERY}
           (i32.store8 (i32.const 1104) (i32.const {memo}))
           (global.set $n (i32.add (global.get $n) (i32.const 1)))
           (i32.const 1024)) {AFTER_QUERY}"
    );
    module(&[], &["on-query"], &text)
}

#[tokio::test]
async fn verdicts_are_remembered_as_widely_as_the_plugin_says() {
    for (memo, calls_expected) in [(0, 6), (1, 3), (2, 2)] {
        let (_host, _dir, plugin) = one(&once(memo), &[]).await;
        for (template, user) in [(1, "ann"), (1, "ann"), (1, "bob"), (1, "bob"), (2, "ann"), (2, "ann")] {
            assert_eq!(*plugin.on_query(&call(template, user)).await.verdict, Verdict::Pass);
        }
        let counts = plugin.status().counts;
        assert_eq!((counts.calls, counts.remembered), (calls_expected, 6 - calls_expected), "{memo}");
        assert_eq!(counts.verdicts, [6, 0, 0, 0]);
        // What is not proven to be a read is another statement.
        let mut other = call(1, "ann");
        other.read_only = false;
        plugin.on_query(&other).await;
        assert_eq!(plugin.status().counts.calls, calls_expected + 1);
    }
}

#[tokio::test]
async fn as_many_verdicts_are_remembered_as_the_limit_says() {
    let (host, dir) = (host(), Dir::new());
    for (memos_max, remembered) in [(3, 3), (2, 0), (0, 0)] {
        let mut spec = dir.spec("p", &once(2));
        spec.limits.memos_max = memos_max;
        let plugin = load(&host, spec).await.expect("it loads");
        for template in [1, 2, 3, 1, 2, 3] {
            plugin.on_query(&call(template, "ann")).await;
        }
        assert_eq!(plugin.status().counts.remembered, remembered, "{memos_max}");
    }
}

#[tokio::test]
async fn a_rewritten_text_with_values_in_it_is_not_remembered() {
    let text = format!(
        r#"(data (i32.const 1200) "SELECT 1")
           (func {ON_QUERY}
             (i32.store8 (i32.const 1024) (i32.const 1))
             (i32.store8 (i32.const 1032) (i32.const 1))
             (i32.store (i32.const 1036) (i32.const 1200)) (i32.store (i32.const 1040) (i32.const 8))
             (i32.store8 (i32.const 1104) (i32.const 2))
             (i32.const 1024)) {AFTER_QUERY}"#
    );
    let (_host, _dir, plugin) = one(&module(&[], &["on-query"], &text), &[]).await;
    let mut call = call(1, "ann");
    for _ in 0..2 {
        let Verdict::Change(changes) = &*plugin.on_query(&call).await.verdict else { panic!("no change") };
        assert_eq!(changes.rewrite.as_ref().map(|rewrite| &*rewrite.sql), Some("SELECT 1"));
    }
    assert_eq!(plugin.status().counts.remembered, 0);
    call.literals = 0;
    plugin.on_query(&call).await;
    plugin.on_query(&call).await;
    assert_eq!(plugin.status().counts.remembered, 1);
}

/// `on-write` counts in `kv`, and gives the count's text in `log`.
fn counting() -> Vec<u8> {
    let text = r#"
        (data (i32.const 1200) "n")
        (func (export "pointsman:plugin/on-write@1.0.0#handle")
          (param i32 i64 i32 i64 i32 i64) (result i32)
          (call $increment (i32.const 1200) (i32.const 1) (i64.const 3) (i32.const 0) (i64.const 0) (i32.const 2048))
          (if (i32.load8_u (i32.const 2048)) (then unreachable))
          (i32.store (i32.const 1300) (i32.const 2056))
          (i32.store (i32.const 1304) (i32.const 1))
          (i32.store8 (i32.const 2056) (i32.add (i32.load8_u (i32.const 2056)) (i32.const 48)))
          (i32.store (i32.const 1400) (i32.const 1300)) (i32.store (i32.const 1404) (i32.const 1))
          (i32.const 1400))
        (func (export "cabi_post_pointsman:plugin/on-write@1.0.0#handle") (param i32) (call $reset))"#;
    module(&["kv"], &["on-write"], text)
}

fn tags(tags: &[&str]) -> Invalidation {
    Invalidation::Tags(tags.iter().map(|tag| (*tag).to_owned()).collect())
}

#[tokio::test]
async fn keys_outlive_instances() {
    let (_host, _dir, plugin) = one(&counting(), &[Capability::Kv]).await;
    for expected in ["3", "6", "9"] {
        assert_eq!(plugin.on_write(&write()).await.verdict, tags(&[expected]));
    }
    assert_eq!(plugin.status().kv.0, 1);
}

/// A shared store that has one number, slowly if told so.
#[derive(Clone, Default)]
struct Numbers {
    sum: Arc<Mutex<i64>>,
    hangs: bool,
    keys: Arc<Mutex<Vec<String>>>,
}

impl SharedKv for Numbers {
    fn get(&self, _: String) -> KvFuture<Option<Vec<u8>>> {
        Box::pin(async { Ok(None) })
    }

    fn set(&self, _: String, _: Vec<u8>, _: Option<Duration>) -> KvFuture<()> {
        Box::pin(async { Err(KvError::Unavailable("no".to_owned())) })
    }

    fn delete(&self, _: String) -> KvFuture<()> {
        Box::pin(async { Ok(()) })
    }

    fn increment(&self, key: String, by: i64, _: Option<Duration>) -> KvFuture<i64> {
        let numbers = self.clone();
        Box::pin(async move {
            if numbers.hangs {
                std::future::pending::<()>().await;
            }
            numbers.keys.lock().expect("keys").push(key);
            let mut sum = numbers.sum.lock().expect("a sum");
            *sum += by;
            Ok(*sum)
        })
    }
}

#[tokio::test]
async fn keys_can_be_shared_by_a_fleet() {
    let (numbers, dir) = (Numbers::default(), Dir::new());
    let options = HostOptions {
        shared_kv: Some(Arc::new(numbers.clone())),
        instances_max: 4,
        ..HostOptions::default()
    };
    let host = Host::new(options).expect("a host");
    let mut spec = PluginSpec { grants: vec![Capability::Kv], ..dir.spec("p", &counting()) };
    spec.kv.shared = true;
    let plugin = load(&host, spec).await.expect("it loads");
    assert_eq!(plugin.on_write(&write()).await.verdict, tags(&["3"]));
    assert_eq!(*numbers.keys.lock().expect("keys"), ["p:n"]);
}

#[tokio::test]
async fn a_shared_store_that_hangs_costs_the_lookups_time() {
    let (numbers, dir) = (Numbers { hangs: true, ..Numbers::default() }, Dir::new());
    let options =
        HostOptions { shared_kv: Some(Arc::new(numbers)), instances_max: 4, ..HostOptions::default() };
    let host = Host::new(options).expect("a host");
    let mut spec = PluginSpec { grants: vec![Capability::Kv], ..dir.spec("p", &counting()) };
    spec.kv.shared = true;
    spec.limits.lookup_deadline = Duration::from_millis(30);
    let plugin = load(&host, spec).await.expect("it loads");
    // The plugin hears of an error, and traps of its own will; everything it could name is invalidated.
    let said = plugin.on_write(&write()).await;
    assert_eq!(said.verdict, Invalidation::Everything);
    assert!(matches!(said.failure, Some(CallError::Trap(_))), "{:?}", said.failure);
}

#[tokio::test]
async fn a_shared_store_has_to_be_there() {
    let (host, dir) = (host(), Dir::new());
    let mut spec = PluginSpec { grants: vec![Capability::Kv], ..dir.spec("p", &counting()) };
    spec.kv.shared = true;
    let error = load(&host, spec).await.expect_err("there is none");
    assert!(error.to_string().contains("no shared store"), "{error}");
}

/// `on-write` looks `SELECT 1` up, and gives the first value as a tag, or `none`.
fn looking_up() -> Vec<u8> {
    let text = r#"
        (data (i32.const 1200) "SELECT 1none")
        (func (export "pointsman:plugin/on-write@1.0.0#handle")
          (param i32 i64 i32 i64 i32 i64) (result i32)
          (local $value i32)
          (call $query (i32.const 1200) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 2048))
          (local.set $value (i32.const 1500))
          (i32.store (i32.const 1504) (i32.const 1208)) (i32.store (i32.const 1508) (i32.const 4))
          (if (i32.eqz (i32.load8_u (i32.const 2048)))
            (then (local.set $value (i32.load (i32.load (i32.const 2060))))))
          (i64.store align=4 (i32.const 1300) (i64.load align=4 (i32.add (local.get $value) (i32.const 4))))
          (i32.store (i32.const 1400) (i32.const 1300)) (i32.store (i32.const 1404) (i32.const 1))
          (i32.const 1400))
        (func (export "cabi_post_pointsman:plugin/on-write@1.0.0#handle") (param i32) (call $reset))"#;
    module(&["lookup"], &["on-write"], text)
}

/// Answers after it was told to.
#[derive(Clone, Default)]
pub struct Slow {
    pub asked: Arc<AtomicUsize>,
    pub go: Arc<Notify>,
}

impl Lookup for Slow {
    fn query(&self, request: LookupRequest) -> LookupFuture {
        let slow = self.clone();
        Box::pin(async move {
            assert_eq!((&*request.plugin, &*request.database, &*request.sql), ("p", "app", "SELECT 1"));
            slow.asked.fetch_add(1, Ordering::SeqCst);
            slow.go.notified().await;
            let rows = vec![vec![Some("friend".to_owned())]];
            Ok::<_, LookupError>(Rows { columns: vec!["name".to_owned()], rows })
        })
    }
}

/// A plugin that looks up, on a host that answers when told to.
pub async fn slow_lookups(dir: &Dir, change: impl FnOnce(&mut PluginSpec)) -> (Host, Slow, Arc<Plugin>) {
    let slow = Slow::default();
    let options =
        HostOptions { lookup: Some(Arc::new(slow.clone())), instances_max: 8, ..HostOptions::default() };
    let host = Host::new(options).expect("a host");
    let mut spec = PluginSpec { grants: vec![Capability::Lookup], ..dir.spec("p", &looking_up()) };
    spec.limits.lookup_deadline = Duration::from_secs(60);
    change(&mut spec);
    let plugin = load(&host, spec).await.expect("it loads");
    (host, slow, plugin)
}

/// Until so many lookups wait.
pub async fn asked(slow: &Slow, times: usize) {
    while slow.asked.load(Ordering::SeqCst) < times {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn lookups_wait_without_the_worker_and_without_the_deadline() {
    let dir = Dir::new();
    let (_host, slow, plugin) =
        slow_lookups(&dir, |spec| spec.limits.deadline = Duration::from_millis(500)).await;
    let ours = Arc::clone(&plugin);
    let waiting = tokio::spawn(async move { ours.on_write(&write()).await });
    asked(&slow, 1).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    slow.go.notify_one();
    let said = waiting.await.expect("it ends");
    assert_eq!((said.verdict, said.failure), (tags(&["friend"]), None));
}

#[tokio::test]
async fn a_lookup_that_blocks_costs_its_own_deadline() {
    let dir = Dir::new();
    let (_host, _slow, plugin) =
        slow_lookups(&dir, |spec| spec.limits.lookup_deadline = Duration::from_millis(30)).await;
    let said = plugin.on_write(&write()).await;
    assert_eq!((said.verdict, said.failure), (tags(&["none"]), None));
}

#[tokio::test]
async fn calls_at_a_time_are_bounded() {
    let dir = Dir::new();
    let (_host, slow, plugin) = slow_lookups(&dir, |spec| {
        spec.limits.concurrency = 1;
        spec.limits.deadline = Duration::from_millis(500);
    })
    .await;
    let ours = Arc::clone(&plugin);
    let waiting = tokio::spawn(async move { ours.on_write(&write()).await });
    asked(&slow, 1).await;
    let said = plugin.on_write(&write()).await;
    assert_eq!((said.verdict, said.failure), (Invalidation::Everything, Some(CallError::Busy(1))));
    slow.go.notify_one();
    assert_eq!(waiting.await.expect("it ends").verdict, tags(&["friend"]));
}

#[tokio::test]
async fn a_client_that_leaves_in_a_lookup_leaves_nothing_behind() {
    let dir = Dir::new();
    let (_host, slow, plugin) = slow_lookups(&dir, |spec| spec.limits.concurrency = 1).await;
    let ours = Arc::clone(&plugin);
    let waiting = tokio::spawn(async move { ours.on_write(&write()).await });
    asked(&slow, 1).await;
    waiting.abort();
    drop(waiting.await);
    assert_eq!(plugin.status().instances, 0);
    slow.go.notify_one();
    assert_eq!(plugin.on_write(&write()).await.verdict, tags(&["friend"]));
}

#[tokio::test]
async fn metrics_are_registered_once_and_counted() {
    let init = r#"(i32.store (i32.const 2100) (i32.const 0))
        (call $register-counter (i32.const 3000) (i32.const 10) (i32.const 3000) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 2048))
        (if (i32.load8_u (i32.const 2048)) (then unreachable))
        (i32.const 2100)"#;
    let text = format!(
        r#"(data (i32.const 3000) "seen_total")
           (func (export "pointsman:plugin/lifecycle@1.0.0#init") (param i32 i32) (result i32) {init})
           (func (export "pointsman:plugin/lifecycle@1.0.0#shutdown"))
           (func {ON_QUERY} (call $add (i32.load (i32.const 2052)) (i32.const 0) (i32.const 0) (f64.const 2)) (i32.const 1024))
           {AFTER_QUERY}"#
    );
    let (_host, _dir, plugin) =
        one(&module(&["metric"], &["lifecycle", "on-query"], &text), &[Capability::Metric]).await;
    plugin.on_query(&call(1, "ann")).await;
    plugin.on_query(&call(1, "ann")).await;
    let metrics = plugin.metrics();
    assert_eq!((&*metrics[0].0.name, &metrics[0].1[0].values[..]), ("seen_total", &[4.0][..]));
}

#[test]
fn later_changes_count_and_tags_add_up() {
    let rewrite = |sql: &str| Some(pointsman_plugin_host::Rewrite { sql: sql.to_owned(), params: None });
    let mut changes = Changes { rewrite: rewrite("a"), tags: vec!["x".to_owned()], ..Changes::default() };
    changes.merge(Changes { tags: vec!["y".to_owned()], ..Changes::default() });
    assert_eq!((changes.rewrite.clone(), changes.tags.len()), (rewrite("a"), 2));
    changes.merge(Changes { rewrite: rewrite("b"), ..Changes::default() });
    assert_eq!(changes.rewrite, rewrite("b"));
}

#[test]
fn identities_that_read_alike_are_not_alike() {
    assert_ne!(Identity::new("ab", "c", "", None), Identity::new("a", "bc", "", None));
    let refusal = Refusal { sqlstate: "42501".to_owned(), message: "no".to_owned(), hint: None };
    assert_eq!(Verdict::Refuse(refusal).kind(), 3);
}
