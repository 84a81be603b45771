//! Plugins that loop, grow, recurse, trap and lie: each costs its own call, and says why.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pointsman_plugin_host::{
    CallError, Capability, FailureKind, Failures, Hook, Isolation, OnFailure, Plugin, PluginSpec, Verdict,
};

use crate::guest::{self, AFTER_QUERY, Dir, ON_QUERY, call, host, load, module, refused};

const LOOP: &str = "(loop (br 0))";

fn quick(mut spec: PluginSpec) -> PluginSpec {
    spec.limits.init_deadline = Duration::from_millis(200);
    spec
}

/// The failure of a guest's call, which costs its instance.
async fn failure(bytes: &[u8]) -> CallError {
    let dir = Dir::new();
    fails(dir.spec("p", bytes)).await
}

async fn fails(spec: PluginSpec) -> CallError {
    let host = host();
    let plugin = load(&host, spec).await.expect("it loads");
    let said = plugin.on_query(&call(1, "ann")).await;
    let failure = said.failure.expect("it fails");
    let Verdict::Refuse(refusal) = &*said.verdict else { panic!("not refused: {:?}", said.verdict) };
    assert_eq!(refusal.sqlstate, "58000");
    assert_eq!(refusal.message, format!("plugin \"p\" {failure}"));
    let status = plugin.status();
    assert_eq!((status.instances, status.memory_bytes), (0, 0), "the instance is gone");
    assert_eq!(status.counts.failures.iter().sum::<u64>(), 1);
    failure
}

#[tokio::test]
async fn a_loop_in_a_hook_ends_at_the_deadline() {
    let began = Instant::now();
    let (dir, bytes) = (Dir::new(), guest::on_query(&[], &format!("{LOOP} (i32.const 1024)")));
    let mut spec = dir.spec("p", &bytes);
    spec.limits.deadline = Duration::from_millis(20);
    assert_eq!(fails(spec).await, CallError::Deadline(Duration::from_millis(20)));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test]
async fn loops_before_any_hook_keep_it_from_being_loaded() {
    let start = module(
        &[],
        &["on-query"],
        &format!("(func $s {LOOP}) (start $s) (func {ON_QUERY} (i32.const 1024)) {AFTER_QUERY}"),
    );
    let message = refused(|dir| quick(dir.spec("p", &start))).await;
    assert!(message.contains("cannot be started: took longer than its deadline of 200ms"), "{message}");
    let init = guest::with_init(&[], &format!("{LOOP} (i32.const 2048)"));
    let message = refused(|dir| quick(dir.spec("p", &init))).await;
    assert!(message.contains("failed in `init`: took longer than its deadline of 200ms"), "{message}");
    let init = guest::with_init(&[], "unreachable");
    let message = refused(|dir| quick(dir.spec("p", &init))).await;
    assert!(message.contains("failed in `init`: trapped"), "{message}");
}

#[tokio::test]
async fn memory_has_a_limit() {
    let grows = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    assert_eq!(failure(&guest::on_query(&[], grows)).await, CallError::Memory(16 << 20));
    let born_large = wat::parse_str(
        r#"(component
             (core module $m (memory 1024) (func (export "h")))
             (core instance $c (instantiate $m))
             (func $h (canon lift (core func $c "h")))
             (instance $i (export "handle" (func $h)))
             (export "pointsman:plugin/on-query@1.0.0" (instance $i)))"#,
    )
    .expect("a component");
    let message = refused(|dir| dir.spec("p", &born_large)).await;
    assert!(message.contains("cannot be started: reached its memory limit of 16777216 bytes"), "{message}");
}

#[tokio::test]
async fn recursion_exhausts_its_own_stack_only() {
    let text = format!(
        "(func $r (param i32) (result i32) (i32.add (call $r (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
         (func {ON_QUERY} (call $r (i32.const 0))) {AFTER_QUERY}"
    );
    assert_eq!(failure(&module(&[], &["on-query"], &text)).await, CallError::Stack);
}

#[tokio::test]
async fn traps_are_told() {
    let failed = failure(&guest::on_query(&[], "unreachable")).await;
    assert_eq!(failed, CallError::Trap("wasm `unreachable` instruction executed".to_owned()));
    let failed = failure(&guest::on_query(&[], "(i32.load (i32.const -8))")).await;
    assert_eq!(failed, CallError::Trap("out of bounds memory access".to_owned()));
    let failed = failure(&guest::on_query(&[], "(i32.div_u (i32.const 1) (local.get $params))")).await;
    assert_eq!(failed, CallError::Trap("integer divide by zero".to_owned()));
}

/// An outcome that refuses with a message of so many bytes at 4096, where `bytes` was written before.
fn refuses(sqlstate: &str, bytes: i64, length: u32) -> Vec<u8> {
    let text = format!(
        r#"(data (i32.const 1200) "{sqlstate}")
           (func {ON_QUERY}
             (i64.store (i32.const 4096) (i64.const {bytes}))
             (i32.store8 (i32.const 1024) (i32.const 3))
             (i32.store (i32.const 1032) (i32.const 1200)) (i32.store (i32.const 1036) (i32.const {}))
             (i32.store (i32.const 1040) (i32.const 4096)) (i32.store (i32.const 1044) (i32.const {length}))
             (i32.const 1024))
           {AFTER_QUERY}"#,
        sqlstate.len()
    );
    module(&[], &["on-query"], &text)
}

#[tokio::test]
async fn answers_that_are_not_text() {
    let failed = failure(&refuses("42501", 0xfffe, 2)).await;
    assert!(matches!(&failed, CallError::Trap(why) if why.contains("utf-8")), "{failed}");
}

#[tokio::test]
async fn answers_of_a_gigabyte() {
    let failed = failure(&refuses("42501", 0x61, 1 << 30)).await;
    assert!(matches!(&failed, CallError::Trap(why) if why.contains("out of bounds")), "{failed}");
}

#[tokio::test]
async fn answers_that_name_the_same_bytes_again_and_again() {
    // 4,000 tags of 64 KiB each: 256 MB on this side, from 32 KB on theirs.
    let body = "(local $at i32)
        (loop
          (i32.store (i32.add (i32.const 8192) (local.get $at)) (i32.const 65536))
          (i32.store (i32.add (i32.const 8196) (local.get $at)) (i32.const 65536))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (br_if 0 (i32.lt_u (local.get $at) (i32.const 32000))))
        (i32.store8 (i32.const 1024) (i32.const 1))
        (i32.store (i32.const 1068) (i32.const 8192)) (i32.store (i32.const 1072) (i32.const 4000))
        (i32.const 1024)";
    assert_eq!(failure(&guest::on_query(&[], body)).await, CallError::Output(1 << 20));
}

#[tokio::test]
async fn answers_that_the_contract_forbids() {
    for (sqlstate, bytes, length, word) in [
        ("00000", 0x61, 1, "`00000` is no SQLSTATE"),
        ("nope", 0x61, 1, "`nope` is no SQLSTATE"),
        ("42501", 0x61, 0, "no message"),
        ("42501", 0x61_0061, 3, "NUL"),
    ] {
        let failed = failure(&refuses(sqlstate, bytes, length)).await;
        assert_eq!(failed.kind(), FailureKind::Contract);
        assert!(failed.to_string().contains(word), "{failed}");
    }
    // A discriminant that there is not.
    let failed =
        failure(&guest::on_query(&[], "(i32.store8 (i32.const 1024) (i32.const 9)) (i32.const 1024)")).await;
    assert!(matches!(failed, CallError::Trap(_)), "{failed}");
}

#[tokio::test]
async fn a_hook_without_a_statement_cannot_ask_for_one() {
    let init = guest::with_init(&["statement"], "(call $sql (i32.const 2048)) (i32.const 2048)");
    let message = refused(|dir| dir.spec("p", &init)).await;
    assert!(message.contains("`statement` was asked where there is none"), "{message}");
}

#[tokio::test]
async fn too_many_random_bytes() {
    let body = "(call $bytes (i32.const 0x7fffffff) (i32.const 2048)) (i32.const 1024)";
    let dir = Dir::new();
    let bytes = guest::on_query(&["random"], body);
    let spec = PluginSpec { grants: vec![Capability::Random], ..dir.spec("p", &bytes) };
    let host = host();
    let plugin = load(&host, spec).await.expect("it loads");
    let failed = plugin.on_query(&call(1, "ann")).await.failure.expect("it fails");
    assert!(failed.to_string().contains("at most 4096"), "{failed}");
}

/// Traps at every call of a template that is odd.
fn traps_on_odd() -> Vec<u8> {
    guest::on_query(
        &[],
        "(if (i32.wrap_i64 (i64.and (local.get $template) (i64.const 1))) (then unreachable)) (i32.const 1024)",
    )
}

#[tokio::test]
async fn a_failure_costs_one_call_and_the_next_has_a_new_instance() {
    let dir = Dir::new();
    let host = host();
    let plugin = load(&host, dir.spec("p", &traps_on_odd())).await.expect("it loads");
    for round in 0..10 {
        assert!(plugin.on_query(&call(1, "ann")).await.failure.is_some(), "{round}");
        assert_eq!(plugin.on_query(&call(2, "ann")).await.failure, None, "{round}");
    }
    let counts = plugin.status().counts;
    assert_eq!(
        (counts.calls, counts.failures[FailureKind::Trap as usize], counts.instances_made),
        (10, 10, 10)
    );
}

#[tokio::test]
async fn open_and_closed() {
    let dir = Dir::new();
    let host = host();
    for (failure, refused) in [(OnFailure::Open, false), (OnFailure::Closed, true)] {
        let spec = PluginSpec { on_failure: Failures::all(failure), ..dir.spec("p", &traps_on_odd()) };
        let plugin = load(&host, spec).await.expect("it loads");
        let said = plugin.on_query(&call(1, "ann")).await;
        assert_eq!(matches!(*said.verdict, Verdict::Refuse(_)), refused);
        assert!(said.failure.is_some());
    }
}

async fn until_answered(plugin: &Plugin) -> Duration {
    let began = Instant::now();
    while plugin.on_query(&call(2, "ann")).await.failure.is_some() {
        assert!(began.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

#[tokio::test]
async fn one_that_keeps_failing_is_left_alone_for_a_while() {
    let dir = Dir::new();
    let host = host();
    let mut spec = dir.spec("p", &traps_on_odd());
    spec.limits.failures_max = 3;
    spec.limits.retry = Duration::from_secs(2);
    let plugin = load(&host, spec).await.expect("it loads");
    for _ in 0..3 {
        let failure = plugin.on_query(&call(1, "ann")).await.failure;
        assert!(matches!(failure, Some(CallError::Trap(_))), "{failure:?}");
    }
    assert!(plugin.status().disabled);
    let failure = plugin.on_query(&call(2, "ann")).await.failure;
    assert_eq!(failure, Some(CallError::Disabled));
    until_answered(&plugin).await;
    assert!(!plugin.status().disabled);
}

#[tokio::test]
async fn verdicts_that_turn_out_to_be_forbidden_count_as_failures() {
    let (dir, host) = (Dir::new(), host());
    // It holds for all calls of the template.
    let remembered = "(i32.store8 (i32.const 1104) (i32.const 2)) (i32.const 1024)";
    let mut spec = dir.spec("p", &guest::on_query(&[], remembered));
    (spec.limits.failures_max, spec.limits.retry) = (3, Duration::from_secs(60));
    let plugin = load(&host, spec).await.expect("it loads");
    for _ in 0..3 {
        assert_eq!(plugin.on_query(&call(1, "ann")).await.failure, None);
        let refusal = plugin.broke_contract(Hook::Query, "its text does not parse").expect("closed");
        assert_eq!(refusal.message, "plugin \"p\" broke its contract: its text does not parse");
    }
    assert_eq!(plugin.on_query(&call(1, "ann")).await.failure, Some(CallError::Disabled));
    let counts = plugin.status().counts;
    assert_eq!((counts.calls, counts.failures[FailureKind::Contract as usize]), (3, 3));
}

#[tokio::test]
async fn an_instance_per_call_forgets() {
    let counts = "(global.set $n (i32.add (global.get $n) (i32.const 1)))
        (if (i32.gt_u (global.get $n) (i32.const 1)) (then unreachable)) (i32.const 1024)";
    let text = format!("(global $n (mut i32) (i32.const 0)) (func {ON_QUERY} {counts}) {AFTER_QUERY}");
    let (dir, host) = (Dir::new(), host());
    let bytes = module(&[], &["on-query"], &text);
    let spec = PluginSpec { isolation: Isolation::PerCall, ..dir.spec("p", &bytes) };
    let plugin = load(&host, spec).await.expect("it loads");
    for template in 0..5 {
        assert_eq!(plugin.on_query(&call(template, "ann")).await.failure, None);
    }
    assert_eq!(plugin.status().instances, 0);
    let reused: Arc<Plugin> = load(&host, dir.spec("p", &bytes)).await.expect("it loads");
    assert_eq!(reused.on_query(&call(1, "ann")).await.failure, None);
    assert!(reused.on_query(&call(1, "ann")).await.failure.is_some());
}
