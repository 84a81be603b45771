//! What deciding and planning a known template costs with 200 rules: where few of them survive the template and the
//! session, where all do, and where the survivors look at each text, its comments, or the session's transaction.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use pointsman_policy::catalog::Catalog;
use pointsman_policy::{Held, Identity, PolicySet, Replicas, SessionView, StatementView, classify, plan};
use pointsman_sql::{Analyzer, LexRules};

const SQL: &str = "SELECT id, name FROM agents WHERE id = 4711 LIMIT 10";
const COMMENTED: &str = "SELECT id, name FROM agents WHERE id = 4711 LIMIT 10 /*app='feed',route='%2Ffeed'*/";
const SESSION: SessionView = SessionView {
    held: Held::Nothing,
    serializable: false,
    read_only: false,
    replicas: Replicas::Fresh,
    wanted: None,
};

fn set(rule: impl Fn(usize) -> String) -> PolicySet {
    let mut text =
        "apiVersion: pointsman/v1\nkind: Policy\nmetadata: {name: p}\nspec:\n  rules:\n".to_owned();
    for index in 0..200 {
        text.push_str(&format!("    - {{name: r{index}, {}}}\n", rule(index)));
    }
    match PolicySet::load(&[("bench.yaml".to_owned(), text)]) {
        Ok(set) => set,
        Err(errors) => panic!("{}", errors[0]),
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("200 rules");
    let sets = [
        ("few survive", set(|at| format!("match: {{tables: t{at}, user: u{at}}}, route: any"))),
        (
            "all survive",
            set(|at| format!("match: {{user: [app, u{at}]}}, continue: true, timeout: {}s", at + 1)),
        ),
        (
            "all survive and look at the limit",
            set(|at| {
                format!(
                    "match: {{limit: {{over: {}}}, user: [app, u{at}]}}, continue: true, timeout: 1s",
                    at + 100
                )
            }),
        ),
        (
            "all survive and look at a transaction",
            set(|at| format!("match: {{in_transaction: true, user: [app, u{at}]}}, timeout: 1s")),
        ),
        (
            "all survive and look for a comment",
            set(|at| format!("match: {{comment: {{route: /r{at}}}, user: [app, u{at}]}}, timeout: 1s")),
        ),
    ];
    for (name, set) in &sets {
        measure(&mut group, name, SQL, set);
    }
    measure(&mut group, "all survive and look into a comment", COMMENTED, &sets[4].1);
    group.finish();
    criterion.final_summary();
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, sql: &str, set: &PolicySet) {
    let mut analyzer = Analyzer::<()>::new(10);
    let analysis = analyzer.analyze(sql.as_bytes(), LexRules::default());
    let class = classify(analysis.facts, &Catalog::assumed(set.overrides()));
    let template = set.of_template(analysis.facts);
    let session = set.of_session(&Identity { user: "app", ..Identity::default() });
    let view = StatementView {
        facts: analysis.facts,
        sql: sql.as_bytes(),
        rules: LexRules::default(),
        literals: analysis.literals,
        commented: analysis.commented,
        in_transaction: false,
        parameter: &|_| None,
    };
    group.bench_function(name, |b| {
        b.iter(|| {
            let decision = set.decide(black_box(&template), black_box(&session), &view);
            plan(view.facts, &class, &decision, &SESSION)
        });
    });
    group.bench_function(format!("{name}: a template's first sight"), |b| {
        b.iter(|| set.of_template(black_box(view.facts)));
    });
}
