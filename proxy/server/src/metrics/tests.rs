//! What a scrape says.

use std::time::Duration;

use pointsman_shards::plan::Why;

use super::*;
use crate::upstream::config::Role;

struct Fixed;

impl PoolSource for Fixed {
    fn pools(&self) -> Vec<PoolSnapshot> {
        vec![PoolSnapshot {
            cluster: "main".into(),
            server: "db:5432".into(),
            role: Some(Role::Primary),
            database: "app \"x\"".into(),
            user: "alice".into(),
            idle: 3,
            in_use: 2,
            waited: Duration::from_millis(1500),
            connections_max: 20,
            ..PoolSnapshot::default()
        }]
    }

    fn cache(&self) -> Option<CacheSnapshot> {
        Some(CacheSnapshot::default())
    }

    fn plugins(&self) -> Vec<PluginSnapshot> {
        let counts = pointsman_plugin_host::Counts { calls: 9, ..Default::default() };
        let status = pointsman_plugin_host::PluginStatus {
            counts,
            instances: 1,
            memory_bytes: 65_536,
            kv: (0, 0),
            disabled: false,
        };
        vec![PluginSnapshot { name: "guard".to_owned(), status, own: Vec::new() }]
    }

    fn rules(&self) -> Vec<RuleSnapshot> {
        let (policy, rule) = ("guard".to_owned(), "no-ddl".to_owned());
        vec![RuleSnapshot { policy, rule, matched: 7, refused: 6, ..RuleSnapshot::default() }]
    }

    fn sharded(&self) -> Vec<ShardedSnapshot> {
        let mut refused = [0; Why::ALL.len()];
        refused[1] = 5;
        let two_phase = TwoPhaseSnapshot { committed: 9, late: 2, stuck: 1, ..TwoPhaseSnapshot::default() };
        let one = ShardedSnapshot {
            database: "social".into(),
            gathered: 3,
            refused,
            two_phase: Some(two_phase),
            ..ShardedSnapshot::default()
        };
        vec![one, ShardedSnapshot { database: "*".into(), ..ShardedSnapshot::default() }]
    }

    fn databases(&self) -> Vec<DatabaseSnapshot> {
        let used = Used { transactions: 4, query_micros: 2_500_000, ..Used::default() };
        let database = DatabaseSnapshot {
            cluster: "main".into(),
            database: "app".into(),
            used,
            paused: true,
            ..DatabaseSnapshot::default()
        };
        vec![
            database.clone(),
            DatabaseSnapshot { database: "asked".into(), used: Used::default(), ..database },
        ]
    }

    fn servers(&self) -> Vec<ServerSnapshot> {
        vec![ServerSnapshot {
            cluster: "main".into(),
            server: "db:5432".into(),
            state: Some(crate::upstream::server::State::Up),
            lag_bytes: Some(7),
            lag: Some(Duration::from_millis(1500)),
            round_trip: Some(Duration::from_micros(250)),
            ..ServerSnapshot::default()
        }]
    }

    fn clients(&self) -> ClientSnapshot {
        ClientSnapshot {
            connected: 10,
            unauthenticated: 1,
            idle: 6,
            clients_max: 100,
            ..ClientSnapshot::default()
        }
    }
}

fn scrape() -> String {
    let metrics = Metrics::new(2, 500).unwrap();
    let source: Arc<dyn PoolSource> = Arc::new(Fixed);
    metrics.watch(&source);
    for index in 0..2 {
        let worker = metrics.worker(index);
        worker.statement(StatementKind::Select, Target::Replica);
        worker.received(Side::Client, 100);
        worker.sent(Side::Server, 50);
        worker.error(b"42P01");
        worker.error(b"?");
        worker.template(true);
        worker.template(false);
        worker.set_templates(4);
        worker.retried();
        worker.transaction();
    }
    metrics.render().unwrap()
}

#[test]
fn sums_the_workers_and_asks_the_source() {
    let text = scrape();
    for line in [
        "pointsman_statements_total{kind=\"select\",target=\"replica\"} 2",
        "pointsman_statements_total{kind=\"ddl\",target=\"local\"} 0",
        "pointsman_received_bytes_total{side=\"client\"} 200",
        "pointsman_sent_bytes_total{side=\"server\"} 100",
        "pointsman_errors_total{class=\"42\"} 2",
        "pointsman_errors_total{class=\"other\"} 2",
        "pointsman_template_lookups_total{result=\"miss\"} 2",
        "pointsman_templates 8",
        "pointsman_limit_templates 1000",
        "pointsman_retried_statements_total 2",
        "pointsman_transactions_total 2",
        "pointsman_pool_connections{cluster=\"main\",server=\"db:5432\",role=\"primary\",database=\"app \\\"x\\\"\",\
         user=\"alice\",state=\"in_use\"} 2",
        "pointsman_server_up{cluster=\"main\",server=\"db:5432\",role=\"unknown\"} 1",
        "pointsman_clients{state=\"active\"} 3",
        "pointsman_limit_clients{state=\"any\"} 100",
        "pointsman_shards_statements_total{database=\"social\",outcome=\"gathered\"} 3",
        "pointsman_shards_refused_total{database=\"social\",reason=\"subquery\"} 5",
        "pointsman_shards_coordinated_total{database=\"*\",reason=\"join\"} 0",
        "pointsman_two_phase_transactions_total{database=\"social\",outcome=\"committed\"} 9",
        "pointsman_two_phase_late_total{database=\"social\"} 2",
        "pointsman_two_phase_doubtful{database=\"social\",state=\"stuck\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
    assert!(!text.contains("pointsman_two_phase_late_total{database=\"*\"}"), "{text}");
}

#[test]
fn every_family_has_help_and_every_counter_ends_in_total() {
    let text = scrape();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        assert!(name.starts_with("pointsman_") || name.starts_with("process_"), "{name}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
}

#[test]
fn without_a_source_only_the_workers_speak() {
    let metrics = Metrics::new(1, 1).unwrap();
    assert!(!metrics.render().unwrap().contains("pointsman_pool"));
    let gone: Arc<dyn PoolSource> = Arc::new(Fixed);
    metrics.watch(&gone);
    drop(gone);
    assert!(!metrics.render().unwrap().contains("pointsman_pool"));
}
