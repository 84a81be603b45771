//! What a statement's analysis costs: a hit on a short and on a long text, and a miss beside the parser's own time.

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, Throughput};
use pointsman_sql::{Analyzer, LexRules};

/// 60 bytes.
const POINT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 123456789;";

const FEED: &str = r#"WITH friends AS (
  SELECT recipient_id AS id FROM friendships WHERE initiator_id = 4711 AND friendship_status = 'accepted'
  UNION
  SELECT initiator_id FROM friendships WHERE recipient_id = 4711 AND friendship_status = 'accepted')
SELECT i.id, i.content, i.interaction_type, i."timestamp", a.id AS agent_id, a.name, a.personality_type
FROM friends f JOIN interactions i ON i.initiator_id = f.id JOIN agents a ON a.id = i.initiator_id
ORDER BY i."timestamp" DESC LIMIT 20;"#;

fn hits(c: &mut Criterion) {
    let mut group = c.benchmark_group("hit");
    for (name, sql) in [("point", POINT), ("feed", FEED)] {
        let mut analyzer = Analyzer::<u64>::new(1000);
        for filler in 0..900 {
            analyzer.analyze(format!("SELECT a FROM t{filler}").as_bytes(), LexRules::default());
        }
        analyzer.analyze(sql.as_bytes(), LexRules::default());
        group.throughput(Throughput::Bytes(sql.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let analysis = analyzer.analyze(black_box(sql.as_bytes()), LexRules::default());
                (analysis.facts.template, analysis.literals.len())
            });
        });
    }
    group.finish();
}

/// Every round has a template of its own, so every round is a miss.
fn misses(c: &mut Criterion) {
    let mut group = c.benchmark_group("miss");
    for (name, sql) in [("point", POINT), ("feed", FEED)] {
        let text = |round: u64| {
            ["pgbench_accounts", "personality_type"]
                .iter()
                .fold(sql.to_owned(), |text, name| text.replace(name, &format!("name{round}")))
        };
        let mut analyzer = Analyzer::<u64>::new(1000);
        let mut round = 0;
        group.bench_function(format!("{name}/analyze"), |b| {
            b.iter_custom(|rounds| {
                let texts: Vec<String> = (0..rounds).map(|at| text(round + at)).collect();
                round += rounds;
                let start = Instant::now();
                for text in &texts {
                    black_box(analyzer.analyze(text.as_bytes(), LexRules::default()).hit);
                }
                start.elapsed()
            });
        });
        group.bench_function(format!("{name}/pg_query"), |b| {
            let text = text(0);
            b.iter(|| black_box(pg_query::parse(&text, 0)).is_ok());
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    hits(&mut criterion);
    misses(&mut criterion);
    criterion.final_summary();
}
