//! What is written to the log: by plugins, and about those that fail.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pointsman_plugin_host::{Capability, PluginSpec};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::guest::{self, AFTER_QUERY, Dir, ON_QUERY, call, host, load, module};

/// Keeps lines with their level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String)>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).expect("memory");
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().expect("lines").push((*event.metadata().level(), line.0));
    }
}

impl Log {
    /// Keeps what this thread logs from now on.
    fn keep() -> (Self, DefaultGuard) {
        let log = Self::default();
        (log.clone(), tracing::subscriber::set_default(log))
    }

    /// The lines of a level that have these words.
    fn count(&self, level: Level, words: &str) -> usize {
        let lines = self.0.lock().expect("lines");
        lines.iter().filter(|(kept, line)| *kept == level && line.contains(words)).count()
    }
}

#[tokio::test]
async fn one_that_is_disabled_is_told_of_loudly_and_so_is_its_return() {
    let (dir, host) = (Dir::new(), host());
    let odd = "(if (i32.wrap_i64 (i64.and (local.get $template) (i64.const 1))) (then unreachable))";
    let mut spec = dir.spec("p", &guest::on_query(&[], &format!("{odd} (i32.const 1024)")));
    (spec.limits.failures_max, spec.limits.retry) = (2, Duration::ZERO);
    let plugin = load(&host, spec).await.expect("it loads");
    let (log, _guard) = Log::keep();
    plugin.on_query(&call(1, "ann")).await;
    assert_eq!(log.count(Level::WARN, "trapped"), 1);
    assert_eq!(log.count(Level::ERROR, "is disabled"), 0);
    plugin.on_query(&call(1, "ann")).await;
    assert_eq!(log.count(Level::ERROR, "plugin=\"p\""), 1);
    assert_eq!(log.count(Level::ERROR, "is disabled for 0ns, as it keeps failing: it trapped"), 1);
    plugin.on_query(&call(2, "ann")).await;
    assert_eq!(log.count(Level::INFO, "answers again"), 1);
}

#[tokio::test]
async fn lines_of_plugins_have_their_name_and_are_bounded() {
    let (dir, host) = (Dir::new(), host());
    let text = format!(
        r#"(data (i32.const 1200) "a\nline")
           (func {ON_QUERY}
             (call $write (i32.const 1) (i32.const 1200) (i32.const 6))
             (call $write (i32.const 2) (i32.const 4096) (i32.const 60000))
             (i32.const 1024)) {AFTER_QUERY}"#
    );
    let bytes = module(&["log"], &["on-query"], &text);
    let spec = PluginSpec { grants: vec![Capability::Log], ..dir.spec("p", &bytes) };
    let plugin = load(&host, spec).await.expect("it loads");
    let (log, _guard) = Log::keep();
    assert_eq!(plugin.on_query(&call(1, "ann")).await.failure, None);
    assert_eq!(log.count(Level::WARN, "a line"), 1);
    assert_eq!(log.count(Level::WARN, "plugin=\"p\""), 1);
    let longest = log.0.lock().expect("lines").iter().map(|(_, line)| line.len()).max();
    assert!(longest.is_some_and(|longest| longest < 1200), "{longest:?}");
    for _ in 0..1000 {
        plugin.on_query(&call(1, "ann")).await;
    }
    assert!(log.0.lock().expect("lines").len() < 1000);
}
