//! Plans.

use pointsman_sql::{Analyzer, LexRules};

use super::*;
use crate::catalog::Catalog;
use crate::class::classify;

const FREE: SessionView = SessionView {
    held: Held::Nothing,
    serializable: false,
    read_only: false,
    replicas: Replicas::Fresh,
    wanted: None,
};

fn planned(sql: &str, view: SessionView) -> (&'static str, Role) {
    let plan = decided(sql, &Decision::default(), view);
    (plan.rule(), plan.role().unwrap())
}

fn decided(sql: &str, decision: &Decision, view: SessionView) -> Plan {
    let mut analyzer = Analyzer::<()>::new(16);
    let analysis = analyzer.analyze(sql.as_bytes(), LexRules::default());
    let class = classify(analysis.facts, &Catalog::unknown());
    plan(analysis.facts, &class, decision, &view)
}

fn routed(route: Route) -> Decision {
    Decision { route: Some(route), routed_by: Some(7), ..Decision::default() }
}

#[test]
fn a_policy_routes_reads() {
    let single = |rule, role, any| Plan::Single { rule, by: Some(7), role, any, impossible: false };
    let planned = |route, view| decided("SELECT 1", &routed(route), view);
    assert_eq!(planned(Route::Primary, FREE), single("policy", Role::Primary, false));
    assert_eq!(planned(Route::Replica, FREE), single("policy", Role::Replica, false));
    assert_eq!(planned(Route::Any, FREE), single("policy", Role::Replica, true));
    let behind = SessionView { replicas: Replicas::Behind, ..FREE };
    assert_eq!(planned(Route::Any, behind), single("replicas-behind", Role::Primary, false));
    let begin = decided("BEGIN READ ONLY", &routed(Route::Primary), FREE);
    assert_eq!(begin, single("policy", Role::Primary, false));
}

#[test]
fn a_write_never_goes_to_a_replica_and_asking_for_it_is_told() {
    for (sql, rule) in [("SELECT f()", "write"), ("SHOW port", "primary-read")] {
        let plan = decided(sql, &routed(Route::Replica), FREE);
        assert_eq!((plan.rule(), plan.role(), plan.is_impossible()), (rule, Some(Role::Primary), true));
        let plan = decided(sql, &routed(Route::Any), FREE);
        assert_eq!((plan.rule(), plan.role(), plan.is_impossible()), (rule, Some(Role::Primary), false));
        let allowed = Decision { overrides_allowed: true, ..Decision::default() };
        let wants = SessionView { wanted: Some(Route::Replica), ..FREE };
        let plan = decided(sql, &allowed, wants);
        assert_eq!((plan.rule(), plan.role(), plan.is_impossible()), (rule, Some(Role::Primary), true));
    }
    let kept = Decision { keep_on_primary: true, ..routed(Route::Replica) };
    let plan = decided("SELECT 1", &kept, FREE);
    assert_eq!((plan.rule(), plan.role(), plan.is_impossible()), ("table", Some(Role::Primary), true));
    let serializable = SessionView { serializable: true, ..FREE };
    assert!(decided("SELECT 1", &routed(Route::Replica), serializable).is_impossible());
}

#[test]
fn developers_choose_where_they_may() {
    let wants = SessionView { wanted: Some(Route::Primary), ..FREE };
    let plan = decided("SELECT 1", &Decision::default(), wants);
    assert_eq!((plan.rule(), plan.role()), ("read", Some(Role::Replica)));
    let allowed = Decision { overrides_allowed: true, ..routed(Route::Replica) };
    let plan = decided("SELECT 1", &allowed, wants);
    assert_eq!((plan.rule(), plan.role(), plan.by()), ("override", Some(Role::Primary), None));
}

#[test]
fn a_refusal_comes_before_an_open_transaction_and_a_route_does_not() {
    let refusal = crate::rule::Refusal { sqlstate: "42501".into(), message: "no".into(), hint: None };
    let refuse =
        Decision { refuse: Some(std::sync::Arc::new(refusal)), decided_by: Some(3), ..Decision::default() };
    let open = SessionView { held: Held::Transaction(Role::Primary), ..FREE };
    assert_eq!(decided("SELECT 1", &refuse, open), Plan::Refuse { by: Some(3) });
    assert_eq!(decided("SELECT 1", &routed(Route::Replica), open).role(), Some(Role::Primary));
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
