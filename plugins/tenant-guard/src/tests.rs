//! What is rewritten, what is refused, and why nothing in between is.

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

fn refused(sql: &str) {
    let judged = judged(&mut bench(), &Statement::new(sql));
    assert!(judged.is_err(), "{sql} became {judged:?}");
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
            "WITH RECURSIVE a AS (SELECT * FROM {ORDERS} AS orders) SELECT (SELECT count(*) FROM {ITEMS} AS items) FROM a, currencies"
        )
    );
}

#[test]
fn an_expression_is_an_expression_everywhere() {
    let secrets = "WITH {}a AS (SELECT * FROM secrets), secrets AS (SELECT 1) SELECT * FROM a";
    assert_eq!(rewritten(&secrets.replace("{}", "")), secrets.replace("{}", "RECURSIVE "), "not the table");
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
    assert_eq!(
        rewritten("DELETE FROM orders o USING items WHERE items.order_id = o.id"),
        format!(
            "DELETE FROM orders o USING {ITEMS} AS items WHERE (items.order_id = o.id) AND o.\"tenant_id\" = '7'"
        )
    );
}

#[test]
fn new_rows_are_the_tenants() {
    assert_eq!(
        rewritten("INSERT INTO orders (id, note) VALUES (1, 'x'), (2, DEFAULT) RETURNING id"),
        "INSERT INTO orders (id, note, \"tenant_id\") VALUES (1, 'x', '7'), (2, DEFAULT, '7') RETURNING id"
    );
    assert_eq!(
        rewritten("INSERT INTO items (order_id) SELECT id FROM orders"),
        format!("INSERT INTO items (order_id, \"tenant_id\") SELECT id, '7' FROM {ORDERS} AS orders")
    );
    let own = "INSERT INTO orders (id, Tenant_ID) VALUES (1, 7), (2, '7'), (3, $1)";
    let of = |param: &str| judged(&mut bench(), &Statement::new(own).param(param));
    assert_eq!(of("7").expect("its own"), own);
    let why = "not provably within one tenant: every row must have tenant_id = 7";
    assert_eq!(of("8").expect_err("another's"), why);
    assert_eq!(judged(&mut bench(), &Statement::new(own)).expect_err("not bound"), why);
    for sql in [
        "INSERT INTO orders (id, tenant_id) VALUES (1, 7), (2, 8)",
        "INSERT INTO orders (id, tenant_id) VALUES (1, 7 + 0)",
        "INSERT INTO orders (id, tenant_id) SELECT id, 7 FROM orders",
        "INSERT INTO orders (id) SELECT id FROM orders UNION SELECT 1",
        "INSERT INTO orders VALUES (1, 7)",
        "INSERT INTO orders DEFAULT VALUES",
        "INSERT INTO orders (id) TABLE secrets",
        "INSERT INTO orders (id) WITH x AS (SELECT 1) SELECT * FROM x",
        "INSERT INTO currencies (id) VALUES (1)",
    ] {
        refused(sql);
    }
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
        "SELECT id::public.evil[] FROM orders",
        "SELECT CAST(id AS evil) FROM orders",
        "SELECT public.evil '1' FROM orders",
        "SELECT id FROM orders WHERE a OPERATOR(public.=) ANY (ARRAY[1])",
        "SELECT @ id FROM orders",
        "SELECT $q$x$q$ FROM orders",
        "SELECT E'x' FROM orders",
        "SELECT ARRAY(SELECT id FROM secrets) FROM orders",
        "SELECT (TABLE secrets)",
        "SELECT * FROM orders, LATERAL read_orders(orders.id)",
        "SELECT * FROM ROWS FROM (read_orders()) AS x",
        "DELETE FROM secrets",
        "DELETE FROM orders, items",
        "UPDATE orders SET note = (SELECT max(note) FROM secrets)",
        "UPDATE orders SET note = 'x' FROM secrets",
        "UPDATE orders SET note = 'x' RETURNING (SELECT count(*) FROM secrets)",
        "UPDATE ONLY orders SET note = 'x'",
        "MERGE INTO orders USING items ON true WHEN MATCHED THEN DELETE",
        "TRUNCATE orders",
        "COPY orders TO STDOUT",
        "EXPLAIN SELECT * FROM secrets",
    ] {
        refused(sql);
    }
}

#[test]
fn what_is_printed_means_what_was_judged() {
    // Two minus signs without a space would begin a comment, and the literal's second line end it.
    assert_eq!(
        rewritten("DELETE FROM orders WHERE id = - -1 OR note = 'x\n1) OR true --'"),
        "DELETE FROM orders WHERE (id = - -1 OR note = 'x\n1) OR true --') AND orders.\"tenant_id\" = '7'"
    );
    assert_eq!(
        rewritten("SELECT \"a\"\"b\", 'it''s' FROM orders -- WHERE"),
        format!("SELECT \"a\"\"b\", 'it''s' FROM {ORDERS} AS orders")
    );
    // The printer takes two quotes for one that is escaped.
    refused("SELECT 'a'''' OR true --' FROM orders");
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
