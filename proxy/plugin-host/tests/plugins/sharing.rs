//! Many plugins on one host, and many workers in one plugin.

use std::sync::Arc;

use pointsman_plugin_host::{Host, HostOptions, Plugin, Verdict};

use crate::guest::{self, Dir, call, host, load};

#[tokio::test]
async fn a_hundred_plugins() {
    let (dir, bytes) = (Dir::new(), guest::passing());
    let host = Host::new(HostOptions { instances_max: 128, ..HostOptions::default() }).expect("a host");
    let specs = (0..100).map(|at| dir.spec(&format!("p{at}"), &bytes)).collect();
    let plugins = host.load(specs, None).await.expect("they load");
    for plugin in plugins.iter() {
        assert_eq!(*plugin.on_query(&call(1, "ann")).await.verdict, Verdict::Pass, "{}", plugin.name());
        let status = plugin.status();
        // The instance that was tried out when it was loaded serves.
        assert_eq!((status.instances, status.counts.instances_made, status.counts.calls), (1, 0, 1));
    }
}

#[tokio::test]
async fn more_plugins_than_there_is_room_for_take_turns() {
    let (dir, bytes) = (Dir::new(), guest::passing());
    let host = Host::new(HostOptions { instances_max: 2, ..HostOptions::default() }).expect("a host");
    let specs = (0..5).map(|at| dir.spec(&format!("p{at}"), &bytes)).collect();
    let plugins = host.load(specs, None).await.expect("they load");
    for _ in 0..3 {
        for plugin in plugins.iter() {
            let said = plugin.on_query(&call(1, "ann")).await;
            assert_eq!(said.failure, None, "{}", plugin.name());
        }
    }
    assert_eq!(plugins.iter().map(|plugin| plugin.status().instances).sum::<usize>(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_call_at_the_same_time() {
    const TASKS: u64 = 16;
    const CALLS: u64 = 500;
    let (dir, host) = (Dir::new(), host());
    // Each instance traps if two calls are in it at a time, or if one was left in the middle.
    let text = format!(
        "(global $in (mut i32) (i32.const 0))
         (func {}
           (if (global.get $in) (then unreachable))
           (global.set $in (i32.const 1))
           (call $sql (i32.const 2048))
           (global.set $in (i32.const 0))
           (i32.const 1024)) {}",
        guest::ON_QUERY,
        guest::AFTER_QUERY
    );
    let bytes = guest::module(&["statement"], &["on-query"], &text);
    let plugin: Arc<Plugin> = load(&host, dir.spec("p", &bytes)).await.expect("it loads");
    let tasks: Vec<_> = (0..TASKS)
        .map(|template| {
            let plugin = Arc::clone(&plugin);
            tokio::spawn(async move {
                for _ in 0..CALLS {
                    assert_eq!(plugin.on_query(&call(template, "ann")).await.failure, None);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no call failed");
    }
    let status = plugin.status();
    assert_eq!(status.counts.calls, TASKS * CALLS);
    assert!((1..=4).contains(&status.instances), "{} instances for 4 workers", status.instances);
    assert_eq!(status.memory_bytes, status.instances * (2 << 16));
}
