//! A hundred plugins that nobody calls cost no CPU time: a process of its own, as its CPU time is what is measured.

#[path = "plugins/guest.rs"]
#[expect(dead_code, reason = "what other tests need")]
mod guest;

use std::time::{Duration, Instant};

use pointsman_plugin_host::{CallError, Host, HostOptions, PluginSpec};
use rustix::time::{ClockId, clock_gettime};

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.try_into().expect("seconds"), now.tv_nsec.try_into().expect("nanoseconds"))
}

/// CPU time of the process in so long.
fn spent(time: Duration) -> Duration {
    let before = cpu();
    std::thread::sleep(time);
    cpu() - before
}

#[tokio::test]
async fn a_hundred_plugins_that_nobody_calls_cost_nothing() {
    let dir = guest::Dir::new();
    // It loops if the template's number is odd.
    let odd = "(if (i32.wrap_i64 (i64.and (local.get $template) (i64.const 1))) (then (loop (br 0))))";
    let bytes = guest::on_query(&[], &format!("{odd} (i32.const 1024)"));
    let host = Host::new(HostOptions { instances_max: 128, ..HostOptions::default() }).expect("a host");
    let spec = |at| PluginSpec::new(format!("p{at}"), dir.spec("p", &bytes).file);
    let plugins = host.load((0..100).map(spec).collect(), None).await.expect("they load");
    for plugin in plugins.iter() {
        assert_eq!(plugin.on_query(&guest::call(2, "ann")).await.failure, None);
    }
    // The clock of deadlines ticks on for a while.
    let began = Instant::now();
    let window = Duration::from_secs(1);
    while spent(window) > window / 2000 {
        assert!(began.elapsed() < Duration::from_secs(60), "the clock ticks on: {:?}", spent(window));
    }
    // It wakes up with the next call.
    let plugin = plugins.iter().next().expect("a plugin");
    let failure = plugin.on_query(&guest::call(1, "ann")).await.failure;
    assert_eq!(failure, Some(CallError::Deadline(plugin.spec().limits.deadline)));
}
