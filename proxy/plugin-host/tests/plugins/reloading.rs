//! Plugins are replaced whole or not at all; calls end on what they began on.

use std::sync::Arc;

use pointsman_plugin_host::{Capability, Host, Invalidation, Plugin, PluginSpec, Verdict};

use crate::guest::{self, Dir, call, host, named, write};
use crate::hooks::{asked, slow_lookups};

/// A guest that refuses everything.
fn refusing() -> Vec<u8> {
    let text = format!(
        r#"(data (i32.const 1200) "42501no")
           (func {}
             (i32.store8 (i32.const 1024) (i32.const 3))
             (i32.store (i32.const 1032) (i32.const 1200)) (i32.store (i32.const 1036) (i32.const 5))
             (i32.store (i32.const 1040) (i32.const 1205)) (i32.store (i32.const 1044) (i32.const 2))
             (i32.const 1024)) {}"#,
        guest::ON_QUERY,
        guest::AFTER_QUERY
    );
    guest::module(&[], &["on-query"], &text)
}

async fn refuses(plugin: &Plugin) -> bool {
    let said = plugin.on_query(&call(1, "ann")).await;
    assert_eq!(said.failure, None);
    matches!(*said.verdict, Verdict::Refuse(_))
}

#[tokio::test]
async fn what_did_not_change_stays_and_what_did_is_replaced() {
    let (host, dir) = (host(), Dir::new());
    let specs = || vec![dir.spec("same", &guest::passing()), dir.spec("other", &guest::passing())];
    let before = host.load(specs(), None).await.expect("they load");
    let changed = vec![dir.spec("same", &guest::passing()), dir.spec("other", &refusing())];
    let after = host.load(changed, Some(&before)).await.expect("they load");
    assert!(Arc::ptr_eq(&named(&before, "same"), &named(&after, "same")));
    assert!(!Arc::ptr_eq(&named(&before, "other"), &named(&after, "other")));
    // Both serve until the old one is told.
    assert!(!refuses(&named(&before, "other")).await);
    assert!(refuses(&named(&after, "other")).await);
    before.replaced_by(&after).await;
    assert_eq!(named(&before, "other").status().instances, 0);
    assert_eq!(named(&after, "same").status().instances, 1);
    // Who still holds the old one is served, too, and leaves no instance.
    assert!(!refuses(&named(&before, "other")).await);
    assert_eq!(named(&before, "other").status().instances, 0);
}

#[tokio::test]
async fn a_changed_configuration_is_a_change() {
    let (host, dir) = (host(), Dir::new());
    let before = host.load(vec![dir.spec("p", &guest::passing())], None).await.expect("it loads");
    let config = serde_json::json!({"tenant": 7});
    let spec = PluginSpec { config, ..dir.spec("p", &guest::passing()) };
    let after = host.load(vec![spec], Some(&before)).await.expect("it loads");
    assert!(!Arc::ptr_eq(&named(&before, "p"), &named(&after, "p")));
}

#[tokio::test]
async fn one_that_is_wrong_leaves_all_as_they_were() {
    let (host, dir) = (host(), Dir::new());
    let specs = vec![dir.spec("a", &guest::passing()), dir.spec("b", &guest::passing())];
    let before = host.load(specs, None).await.expect("they load");
    let specs = vec![dir.spec("a", &refusing()), dir.spec("b", b"half a file")];
    let errors = host.load(specs, Some(&before)).await.expect_err("one is wrong");
    assert_eq!(errors.len(), 1);
    for plugin in before.iter() {
        assert!(!refuses(plugin).await);
    }
}

#[tokio::test]
async fn a_call_ends_on_the_plugin_that_it_began_on() {
    let dir = Dir::new();
    let (host, slow, plugin) = slow_lookups(&dir, |_| ()).await;
    let before = before_of(&host, &plugin).await;
    let ours = named(&before, "p");
    let waiting = tokio::spawn(async move { ours.on_write(&write()).await });
    asked(&slow, 1).await;
    let after = host.load(vec![dir.spec("p", &refusing())], Some(&before)).await.expect("it loads");
    before.replaced_by(&after).await;
    assert!(refuses(&named(&after, "p")).await);
    slow.go.notify_one();
    let said = waiting.await.expect("it ends");
    assert_eq!((said.verdict, said.failure), (Invalidation::Tags(vec!["friend".to_owned()]), None));
    assert_eq!(named(&before, "p").status().instances, 0);
}

async fn before_of(host: &Host, plugin: &Plugin) -> pointsman_plugin_host::Plugins {
    host.load(vec![plugin.spec().clone()], None).await.expect("it loads")
}

/// Counts under a key at each `shutdown` and each statement.
fn counting(by: u32) -> Vec<u8> {
    let count = |by: u32| {
        format!(
            "(call $increment (i32.const 1200) (i32.const 1) (i64.const {by}) (i32.const 0) (i64.const 0) (i32.const 2048))"
        )
    };
    let text = format!(
        r#"(data (i32.const 1200) "n") (data (i32.const 1210) "42501")
           (func (export "pointsman:plugin/lifecycle@1.0.0#init") (param i32 i32) (result i32) (i32.const 1600))
           (func (export "pointsman:plugin/lifecycle@1.0.0#shutdown") {})
           (func {} {}
             (i32.store8 (i32.const 1024) (i32.const 3))
             (i32.store (i32.const 1032) (i32.const 1210)) (i32.store (i32.const 1036) (i32.const 5))
             (i32.store8 (i32.const 2056) (i32.add (i32.load8_u (i32.const 2056)) (i32.const 48)))
             (i32.store (i32.const 1040) (i32.const 2056)) (i32.store (i32.const 1044) (i32.const 1))
             (i32.const 1024)) {}"#,
        count(1),
        guest::ON_QUERY,
        count(by),
        guest::AFTER_QUERY
    );
    guest::module(&["kv"], &["lifecycle", "on-query"], &text)
}

#[tokio::test]
async fn keys_are_kept_over_a_reload_and_shutdown_is_called() {
    let (host, dir) = (host(), Dir::new());
    let spec = |by| PluginSpec { grants: vec![Capability::Kv], ..dir.spec("p", &counting(by)) };
    let before = host.load(vec![spec(2)], None).await.expect("it loads");
    let said = async |plugin: Arc<Plugin>| match &*plugin.on_query(&call(1, "ann")).await.verdict {
        Verdict::Refuse(refusal) => refusal.message.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(said(named(&before, "p")).await, "2");
    let after = host.load(vec![spec(3)], Some(&before)).await.expect("it loads");
    before.replaced_by(&after).await;
    // 2, 1 for the end of the one instance, 3.
    assert_eq!(said(named(&after, "p")).await, "6");
}
