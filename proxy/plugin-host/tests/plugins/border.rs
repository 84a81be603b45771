//! The host's border under random bytes: no module and no answer does more than fail.

use pointsman_plugin_host::{Plugin, QueryCall};
use proptest::prelude::*;

use crate::guest::{self, Dir, call, host, load};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A guest whose outcome is the random bytes of a text: it lies where `sql` of the statement put it.
fn answers_bytes() -> Vec<u8> {
    guest::on_query(
        &["statement"],
        "(call $sql (i32.const 2048))
         (memory.copy (i32.const 1024) (i32.load (i32.const 2048)) (i32.const 88))
         (i32.const 1024)",
    )
}

/// A call of a template of its own, whose text is 88 characters, each of which is a byte below 128.
fn with_text(template: u64, bytes: &[u8]) -> QueryCall {
    let sql = bytes.iter().map(|byte| char::from(byte & 0x7f)).collect();
    let mut call = call(template, "ann");
    call.statement = std::sync::Arc::new(guest::Text { sql, ..guest::Text::default() });
    call
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_no_plugin(head in 0..3usize, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let heads: [&[u8]; 3] = [b"", b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"];
        let (dir, host) = (Dir::new(), host());
        let spec = dir.spec("p", &[heads[head], &bytes].concat());
        let loaded = runtime().block_on(load(&host, spec));
        prop_assert!(loaded.is_err());
    }

    #[test]
    fn a_plugin_with_a_changed_byte_loads_or_is_told(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (dir, host) = (Dir::new(), host());
        let mut bytes = guest::passing();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut spec = dir.spec("p", &bytes);
        spec.limits.init_deadline = std::time::Duration::from_millis(500);
        spec.limits.deadline = std::time::Duration::from_millis(500);
        runtime().block_on(async {
            if let Ok(plugin) = load(&host, spec).await {
                plugin.on_query(&call(1, "ann")).await;
            }
        });
    }
}

#[test]
fn random_answers_are_checked() {
    let (dir, host) = (Dir::new(), host());
    let runtime = runtime();
    let mut spec = dir.spec("p", &answers_bytes());
    spec.limits.failures_max = u32::MAX;
    let plugin: std::sync::Arc<Plugin> = runtime.block_on(load(&host, spec)).expect("it loads");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    // A verdict that there may be, then small numbers, so that lengths and discriminants are often right.
    let byte = prop_oneof![20 => Just(0u8), 3 => 0..4u8, 1 => any::<u8>()];
    let answers = (0..5u8, proptest::collection::vec(byte, 87));
    let template = std::cell::Cell::new(0);
    let result = runner.run(&answers, |(verdict, rest)| {
        let bytes = [&[verdict], &rest[..]].concat();
        template.set(template.get() + 1);
        let said = runtime.block_on(plugin.on_query(&with_text(template.get(), &bytes)));
        prop_assert!(said.failure.is_none() || plugin.status().instances == 0);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    // Each kind of verdict was among them, and failures.
    let counts = plugin.status().counts;
    let failed: u64 = counts.failures.iter().sum();
    assert!(counts.verdicts.iter().all(|count| *count > 0) && counts.calls > 0 && failed > 0, "{counts:?}");
}
