use pointsman_plugin::bench::{Bench, Statement};

use super::*;

fn bench() -> Bench<TenantGuard> {
    let config = r#"{"setting": "app.tenant", "tables": {"orders": "tenant_id", "items": "tenant_id"}, "common": ["currencies"]}"#;
    let mut bench = Bench::new(config).expect("init");
    bench.setting("app.tenant", "7");
    bench
}

/// What becomes of a statement: another text, or why not.
fn judged(bench: &mut Bench<TenantGuard>, statement: &Statement) -> Result<String, String> {
    let outcome = bench.query(statement);
    let rewrite = outcome.changes().and_then(|changes| changes.rewrite.clone());
    rewrite.map(|rewrite| rewrite.sql).ok_or_else(|| outcome.refusal().expect("refused").message.clone())
}

fn rewritten(sql: &str) -> String {
    judged(&mut bench(), &Statement::new(sql)).expect("understood")
}

const ORDERS: &str = "(SELECT * FROM orders WHERE \"tenant_id\" = '7')";
const ITEMS: &str = "(SELECT * FROM items WHERE \"tenant_id\" = '7')";

#[test]
fn reads_are_cut_down_wherever_a_table_stands() {
    assert_eq!(rewritten("SELECT * FROM orders"), format!("SELECT * FROM {ORDERS} AS orders"));
    assert_eq!(
        rewritten("SELECT o.id FROM Orders o LEFT JOIN items i ON i.order_id = o.id WHERE o.id = $1 OR true"),
        format!(
            "SELECT o.id FROM {} o LEFT JOIN {ITEMS} i ON i.order_id = o.id WHERE o.id = $1 OR true",
            ORDERS.replace("orders", "Orders")
        )
    );
    assert_eq!(
        rewritten("WITH a AS (SELECT * FROM orders) SELECT (SELECT count(*) FROM items) FROM a, currencies"),
        format!(
            "WITH a AS (SELECT * FROM {ORDERS} AS orders) SELECT (SELECT count(*) FROM {ITEMS} AS items) FROM a, currencies"
        )
    );
}

#[test]
fn a_recursive_expression_may_name_itself() {
    let tree = |first: &str, second: &str| {
        format!(
            "WITH RECURSIVE t AS (SELECT id FROM {first} UNION ALL SELECT o.id FROM {second} AS o JOIN t ON true) SELECT id FROM t"
        )
    };
    assert_eq!(rewritten(&tree("orders", "orders")), tree(&format!("{ORDERS} AS orders"), ORDERS));
}

#[test]
fn writes_stay_within_the_tenant() {
    assert_eq!(
        rewritten("DELETE FROM orders WHERE id = 1 OR true"),
        "DELETE FROM orders WHERE (id = 1 OR true) AND orders.\"tenant_id\" = '7'"
    );
    assert_eq!(
        rewritten("UPDATE orders AS o SET note = 'it''s' RETURNING id"),
        "UPDATE orders AS o SET note = 'it''s' WHERE o.\"tenant_id\" = '7' RETURNING id"
    );
    let insert = Statement::new("INSERT INTO orders (id, tenant_id) VALUES (1, $1)");
    assert!(judged(&mut bench(), &insert.clone().pins("orders", "tenant_id", ["7"])).is_ok());
    assert!(judged(&mut bench(), &insert.clone().pins("orders", "tenant_id", ["7", "8"])).is_err());
    assert!(judged(&mut bench(), &insert).is_err(), "not known");
}

#[test]
fn what_is_not_proven_is_refused() {
    for sql in [
        "SELECT * FROM secrets",
        "SELECT * FROM other.orders",
        "SELECT * FROM \"ORDERS\"",
        "SELECT * FROM ONLY orders",
        "SELECT * FROM orders TABLESAMPLE system (1)",
        "TABLE orders",
        "SELECT * INTO copy FROM orders",
        "SELECT query_to_xml('SELECT * FROM orders', true, true, '')",
        "SELECT * FROM read_orders()",
        "SELECT * FROM (WITH secrets AS (SELECT 1) SELECT * FROM secrets) x, secrets",
        "WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a",
        "WITH a AS (SELECT * FROM a) SELECT * FROM a",
        "WITH orders AS (SELECT 1) SELECT * FROM orders",
        "WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone",
        "UPDATE orders SET tenant_id = 8",
        "UPDATE orders SET (note, \"tenant_id\") = (1, 8)",
        "UPDATE currencies SET rate = 1",
        "INSERT INTO orders (id, tenant_id) VALUES (1, 7) ON CONFLICT (id) DO UPDATE SET note = 'x'",
        "SELECT 'a\\' FROM orders",
        "SELECT 1; SELECT * FROM orders",
        "SELECT * FROM orders WHERE a OPERATOR(public.=) b",
        "SELECT id::public.evil FROM orders",
    ] {
        let statement = Statement::new(sql).pins("orders", "tenant_id", ["7"]);
        assert!(
            judged(&mut bench(), &statement).is_err(),
            "{sql} became {:?}",
            judged(&mut bench(), &statement)
        );
    }
}

#[test]
fn a_session_has_one_tenant_and_a_plain_one() {
    let mut bench = bench();
    bench.setting("app.tenant", "7' OR '1'='1");
    assert!(judged(&mut bench, &Statement::new("SELECT * FROM orders")).is_err());
    bench.setting("app.tenant", "");
    assert!(judged(&mut bench, &Statement::new("SELECT * FROM orders")).is_err());
    assert!(
        judged(&mut bench, &Statement::new("SET app.tenant = '8'").kind(StatementKind::Setting)).is_err()
    );
    assert!(bench.query(&Statement::new("COMMIT").kind(StatementKind::Transaction)).is_pass());
}
