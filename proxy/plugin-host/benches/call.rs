//! CPU time of a hook: called in an instance that is reused, in a new one, remembered, with what it asks for; the memory of an instance; and
//! a hundred plugins: loaded, reloaded, idle. `PLUGIN=FILE`, with `PLUGIN_CONFIG=JSON`, measures a plugin of yours besides.

#[path = "../tests/plugins/guest.rs"]
#[expect(dead_code, reason = "what only tests need")]
mod guest;

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use criterion::measurement::{Measurement, ValueFormatter};
use criterion::{Criterion, Throughput};
use pointsman_plugin_host::{
    Capability, Host, HostOptions, Isolation, Lookup, LookupFuture, LookupRequest, Plugin, PluginSpec,
    QueryCall, Verdict,
};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;

/// CPU time of this thread.
struct CpuTime;

fn cpu(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        cpu(ClockId::ThreadCPUTime)
    }

    fn end(&self, began: Duration) -> Duration {
        cpu(ClockId::ThreadCPUTime).saturating_sub(began)
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_secs_f64() * 1e9
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Microseconds
    }
}

struct Microseconds;

impl ValueFormatter for Microseconds {
    fn scale_values(&self, _: f64, values: &mut [f64]) -> &'static str {
        values.iter_mut().for_each(|value| *value /= 1e3);
        "µs CPU"
    }

    fn scale_throughputs(&self, _: f64, _: &Throughput, _: &mut [f64]) -> &'static str {
        "µs CPU"
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "ns"
    }
}

/// Answers a call that does not wait.
fn now(plugin: &Plugin, call: &QueryCall) -> Arc<Verdict> {
    let future = pin!(plugin.on_query(call));
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(said) => said.verdict,
        Poll::Pending => panic!("it waits"),
    }
}

/// Never answers.
struct Silence;

impl Lookup for Silence {
    fn query(&self, _: LookupRequest) -> LookupFuture {
        Box::pin(std::future::pending())
    }
}

const MEMO: &str = "(i32.store8 (i32.const 1104) (i32.const 2)) (i32.const 1024)";

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut criterion = Criterion::default().with_measurement(CpuTime).configure_from_args();
    let dir = guest::Dir::new();
    if let Ok(file) = std::env::var("PLUGIN") {
        measure_file(&runtime, &mut criterion, &dir, &file);
    }
    let options =
        HostOptions { instances_max: 300, lookup: Some(Arc::new(Silence)), ..HostOptions::default() };
    let host = Host::new(options).expect("a host");
    measure_calls(&runtime, &mut criterion, &host, &dir);
    runtime.block_on(measure_memory(&host, &dir));
    drop(host);
    runtime.block_on(measure_hundred(&dir));
}

fn measure_calls(runtime: &Runtime, criterion: &mut Criterion<CpuTime>, host: &Host, dir: &guest::Dir) {
    let load = |name: &str, bytes: &[u8], change: &dyn Fn(&mut PluginSpec)| {
        let mut spec = dir.spec(name, bytes);
        change(&mut spec);
        runtime.block_on(guest::load(host, spec)).expect("it loads")
    };
    let asks = guest::on_query(&["statement"], "(call $sql (i32.const 2048)) (i32.const 1024)");
    let plugins = [
        ("reused instance", load("reused", &guest::passing(), &|_| ())),
        ("reused instance that asks for a text of 200 bytes", load("asks", &asks, &|_| ())),
        ("new instance", load("fresh", &guest::passing(), &|spec| spec.isolation = Isolation::PerCall)),
        ("remembered", load("memo", &guest::on_query(&[], MEMO), &|_| ())),
    ];
    let mut group = criterion.benchmark_group("on-query");
    let call = guest::call(1, "ann");
    for (name, plugin) in &plugins {
        assert_eq!(*now(plugin, &call), Verdict::Pass);
        group.bench_function(*name, |bencher| bencher.iter(|| black_box(now(plugin, black_box(&call)))));
    }
    group.finish();
}

/// Measures a plugin's file: compiled, loaded with its code kept, called.
fn measure_file(runtime: &Runtime, criterion: &mut Criterion<CpuTime>, dir: &guest::Dir, file: &str) {
    let mut spec = PluginSpec::new("yours", file);
    spec.grants = Capability::WORDS.iter().map(|(_, capability)| *capability).collect();
    let config = std::env::var("PLUGIN_CONFIG").unwrap_or_else(|_| "null".to_owned());
    spec.config = serde_json::from_str(&config).expect("JSON");
    spec.limits.deadline = Duration::from_secs(5);
    spec.limits.init_deadline = Duration::from_secs(60);
    spec.limits.memory_bytes_max = 256 << 20;
    for what in ["compiled", "its code kept"] {
        let options = HostOptions { code_dir: Some(dir.0.join("code")), ..HostOptions::default() };
        let host = Host::new(options).expect("a host");
        let (before, began) = (resident_kib(), Instant::now());
        let plugin = runtime.block_on(guest::load(&host, spec.clone())).unwrap_or_else(|e| panic!("{e}"));
        let (took, resident) = (began.elapsed(), resident_kib().saturating_sub(before));
        println!("{file}, {what}: loaded in {took:?}, {resident} KiB resident");
        let call = guest::call(1, "ann");
        let answer = runtime.block_on(plugin.on_query(&call));
        println!("{:?} {:?}, {:?}", answer.verdict, answer.failure, plugin.status());
        criterion.bench_function(&format!("yours, {what}"), |bencher| {
            bencher.iter(|| black_box(runtime.block_on(plugin.on_query(black_box(&call)))));
        });
    }
}

/// Prints what a hundred plugins take: to load, in memory, to reload with one that changed, and while nobody calls them.
async fn measure_hundred(dir: &guest::Dir) {
    let options = HostOptions { code_dir: Some(dir.0.join("hundred")), ..HostOptions::default() };
    let host = Host::new(options).expect("a host");
    let file = dir.spec("one", &guest::passing()).file;
    let specs = || (0..100).map(|at| PluginSpec::new(format!("p{at}"), file.clone())).collect::<Vec<_>>();
    let (resident, began) = (resident_kib(), Instant::now());
    let before = host.load(specs(), None).await.expect("they load");
    println!("100 plugins: loaded in {:?}", began.elapsed());
    let each = resident_kib().saturating_sub(resident) as f64 / 100.0;
    println!("100 plugins: {each:.1} KiB resident each, with code and an instance");

    let mut changed = specs();
    changed[0] = PluginSpec::new("p0", dir.spec("other", &guest::on_query(&[], MEMO)).file);
    let began = Instant::now();
    let after = host.load(changed, Some(&before)).await.expect("they load");
    before.replaced_by(&after).await;
    println!("100 plugins: reloaded with a file that changed in {:?}", began.elapsed());

    // The clock of deadlines ticks on for a while.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = cpu(ClockId::ProcessCPUTime);
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("100 plugins: {:?} of CPU time in 5 s without calls", cpu(ClockId::ProcessCPUTime) - spent);
}

const INSTANCES: usize = 200;

/// Prints what an instance takes, with the stack of the call that waits in it.
async fn measure_memory(host: &Host, dir: &guest::Dir) {
    let body = "(call $query (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048)) (i32.const 1024)";
    let mut spec = dir.spec("waits", &guest::on_query(&["lookup"], body));
    spec.grants = vec![Capability::Lookup];
    spec.limits.concurrency = INSTANCES;
    spec.limits.lookup_deadline = Duration::from_secs(600);
    let plugin = guest::load(host, spec).await.expect("it loads");
    let before = resident_kib();
    let calls: Vec<_> = (0..INSTANCES)
        .map(|_| {
            let plugin = Arc::clone(&plugin);
            tokio::spawn(async move { plugin.on_query(&guest::call(1, "ann")).await })
        })
        .collect();
    while plugin.status().instances < INSTANCES {
        tokio::task::yield_now().await;
    }
    let instance = resident_kib().saturating_sub(before) as f64 / INSTANCES as f64;
    println!("memory: {instance:.1} KiB resident for an instance and a waiting call's stack");
    for call in calls {
        call.abort();
        drop(call.await);
    }
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("our status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}
