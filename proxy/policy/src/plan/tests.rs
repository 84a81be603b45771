//! Plans.

use pointsman_sql::{Analyzer, LexRules};

use super::*;
use crate::catalog::Catalog;
use crate::class::classify;

const FREE: SessionView =
    SessionView { held: Held::Nothing, serializable: false, read_only: false, replicas: Replicas::Fresh };

fn planned(sql: &str, view: SessionView) -> (&'static str, Role) {
    let mut analyzer = Analyzer::<()>::new(16);
    let analysis = analyzer.analyze(sql.as_bytes(), LexRules::default());
    let class = classify(analysis.facts, &Catalog::unknown());
    let plan = plan(analysis.facts, &class, &view);
    (plan.rule(), plan.role())
}

#[test]
fn reads_go_to_fresh_replicas_only() {
    assert_eq!(planned("SELECT 1", FREE), ("read", Role::Replica));
    let behind = SessionView { replicas: Replicas::Behind, ..FREE };
    assert_eq!(planned("SELECT 1", behind), ("replicas-behind", Role::Primary));
    let none = SessionView { replicas: Replicas::None, ..FREE };
    assert_eq!(planned("SELECT 1", none), ("no-replica", Role::Primary));
    let serializable = SessionView { serializable: true, ..FREE };
    assert_eq!(planned("SELECT 1", serializable), ("serializable", Role::Primary));
}

#[test]
fn everything_else_goes_to_the_primary() {
    assert_eq!(planned("SELECT f()", FREE), ("write", Role::Primary));
    assert_eq!(planned("SHOW port", FREE), ("primary-read", Role::Primary));
    assert_eq!(planned("SET a.b = 1", FREE), ("session", Role::Primary));
    assert_eq!(planned("BEGIN", FREE), ("begin", Role::Primary));
}

#[test]
fn read_only_transactions_may_go_to_a_replica() {
    assert_eq!(planned("BEGIN READ ONLY", FREE), ("read-only-transaction", Role::Replica));
    assert_eq!(
        planned("BEGIN READ ONLY, ISOLATION LEVEL SERIALIZABLE", FREE),
        ("serializable", Role::Primary)
    );
    let read_only = SessionView { read_only: true, ..FREE };
    assert_eq!(planned("BEGIN", read_only), ("read-only-transaction", Role::Replica));
    assert_eq!(planned("BEGIN READ WRITE", read_only), ("begin", Role::Primary));
}

#[test]
fn a_pin_wins_over_every_rule() {
    let pinned = SessionView { held: Held::Pinned(Pin::TempTable, Role::Primary), ..FREE };
    assert_eq!(planned("SELECT 1", pinned), ("pin", Role::Primary));
    let transaction = SessionView { held: Held::Transaction(Role::Replica), ..FREE };
    assert_eq!(planned("INSERT INTO t VALUES (1)", transaction), ("transaction", Role::Replica));
}
