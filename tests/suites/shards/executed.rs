//! SQL's `PREPARE` and `EXECUTE` for several shards give what one server gives.
use pointsman_tests::{Frame, Proxy, Stage, Wire, msg, pretty};

use super::outcome::{Verdict, verdict};
use super::seen::{column, everywhere};
use super::sql::Order;
use super::world::{self, World};

/// The two sides, and what they stand on.
struct Both {
    stage: Stage,
    _proxy: Proxy,
    whole: Wire,
    sharded: Wire,
}

impl Both {
    async fn new() -> Self {
        let stage = world::empty(Stage::new().shards(4)).await;
        World::new(&stage).await.reset().await;
        let proxy = world::proxy(&stage, "").await;
        let (whole, sharded) = (world::whole(&stage).await, world::social(&proxy).await);
        Self { stage, _proxy: proxy, whole, sharded }
    }

    /// Both answer alike; rows may come in another order. What the sharded side said.
    async fn alike(&mut self, sql: &str) -> Vec<Frame> {
        let (whole, sharded) = (self.whole.query(sql).await, self.sharded.query(sql).await);
        let found = verdict(&whole, &sharded, &Order::Bag);
        assert!(matches!(found, Verdict::Same | Verdict::Failed(_)), "{sql}: {found:?}");
        assert_eq!(whole.last().map(|frame| &frame.body), sharded.last().map(|frame| &frame.body), "{sql}");
        sharded
    }

    /// Every row of the agents is the same.
    async fn same_agents(&mut self) {
        let sql = "SELECT agents::text FROM agents";
        let mut want = column(&mut self.whole, sql).await;
        want.sort();
        assert_eq!(everywhere(&mut world::parts(&self.stage).await, sql).await, want);
    }
}

const PREPARED: [&str; 7] = [
    "PREPARE few (bigint, bigint) AS SELECT id, name FROM agents WHERE id > $1 ORDER BY id LIMIT $2",
    "PREPARE groups AS SELECT active, count(*) FROM agents WHERE score > $1 OR score IS NULL GROUP BY active",
    "PREPARE named (text) AS SELECT id FROM agents WHERE name = $1 OR name IS NULL",
    "PREPARE picked (bigint[]) AS SELECT id, score FROM agents WHERE id = ANY ($1)",
    "PREPARE mark (text, numeric(10, 2)) AS UPDATE agents SET name = $1, score = $2 WHERE community_id > 2 RETURNING id, name, score",
    "PREPARE added (bigint, bigint) AS INSERT INTO agents (id, active) VALUES ($1, true), ($2, false) RETURNING id",
    "PREPARE gone AS DELETE FROM agents WHERE id > $1",
];

const EXECUTED: [&str; 14] = [
    "EXECUTE few (5, 7)",
    "EXECUTE few (-3, '4')",
    "EXECUTE few (0010, NULL);",
    "EXECUTE groups (1.5)",
    "EXECUTE groups (NULL)",
    "EXECUTE named ('it''s')",
    "EXECUTE named (10)",
    "EXECUTE picked ('{1,2,3,4}')",
    "EXECUTE mark (E'a\\tb', 1.005)",
    "EXECUTE mark (true, 3)",
    "EXECUTE added (2001, 2002)",
    "EXECUTE gone (2001)",
    "EXECUTE few (1)",
    "EXECUTE few ('word', 1)",
];

/// Reads and writes, by values of every kind.
#[tokio::test]
async fn executions_are_put_together() {
    let mut both = Both::new().await;
    for sql in PREPARED.iter().chain(&EXECUTED) {
        both.alike(sql).await;
    }
    assert_eq!(both.alike("EXECUTE few (1, 2, 3)").await[0].sqlstate(), "42601");
    assert_eq!(both.alike("EXECUTE nothing (1)").await[0].sqlstate(), "26000");
    both.same_agents().await;
    both.alike("DEALLOCATE few").await;
    assert_eq!(both.alike("EXECUTE few (1, 2)").await[0].sqlstate(), "26000");
}

/// In a transaction over several shards a name is prepared, used and dropped as on one server.
#[tokio::test]
async fn names_within_a_transaction() {
    let mut both = Both::new().await;
    for sql in ["BEGIN", PREPARED[0], PREPARED[4], "EXECUTE few (5, 7)", "SAVEPOINT a"] {
        both.alike(sql).await;
    }
    for sql in ["EXECUTE mark ('x', 1)", "ROLLBACK TO a", "EXECUTE mark ('y', 2)"] {
        both.alike(sql).await;
    }
    both.alike("SELECT id, name FROM agents WHERE name IN ('x', 'y')").await;
    both.alike("COMMIT").await;
    both.same_agents().await;
    for sql in
        ["BEGIN", "EXECUTE few (5, 7)", "DEALLOCATE few", "EXECUTE few (5, 7)", "EXECUTE mark ('z', 1)"]
    {
        both.alike(sql).await;
    }
    assert_eq!(both.alike("COMMIT").await[0].text(), "ROLLBACK");
    // By the extended protocol, too.
    for sql in ["BEGIN", "PREPARE later AS SELECT count(*) FROM agents"] {
        let frames = both.sharded.ask(&[msg::statement(sql, &[]), msg::sync()].concat()).await;
        assert!(frames.iter().all(|frame| frame.tag != b'E'), "{}", pretty(&frames));
        both.whole.run(sql).await;
    }
    for sql in ["EXECUTE later", "DEALLOCATE later", "COMMIT"] {
        both.alike(sql).await;
    }
    for sql in ["BEGIN; EXECUTE mark ('w', 5); EXECUTE mark ('v', 6); COMMIT", PREPARED[0]] {
        both.alike(sql).await;
    }
    for sql in ["BEGIN", PREPARED[0]] {
        both.alike(sql).await;
    }
    assert_eq!(both.alike("ROLLBACK").await[0].text(), "ROLLBACK");
    both.same_agents().await;
}

/// A value that would have to be computed is refused, and the hint says what to write.
#[tokio::test]
async fn other_values_are_refused() {
    let mut both = Both::new().await;
    if Proxy::is_direct() {
        return;
    }
    let wire = &mut both.sharded;
    wire.run(PREPARED[0]).await;
    for (sql, hint) in [
        ("EXECUTE few (1 + 1, 2)", "plain"),
        ("EXECUTE few (abs(-1), 2)", "plain"),
        ("EXECUTE few (1.5, 2)", "as a string"),
        ("EXECUTE few (true, 2)", "as a string"),
    ] {
        let frames = wire.query(sql).await;
        assert_eq!(frames[0].sqlstate(), "0A000", "{sql}: {}", pretty(&frames));
        assert!(frames[0].field('H').contains(hint), "{sql}: {}", pretty(&frames));
    }
    for sql in ["EXPLAIN ANALYZE EXECUTE few (1, 2)", "EXECUTE few (1 + 1, 2); SELECT 1"] {
        assert_eq!(wire.error(sql).await, "0A000", "{sql}");
    }
    let frames = wire.ask(&[msg::statement("EXECUTE few (1, 2)", &[]), msg::sync()].concat()).await;
    assert!(
        frames.iter().any(|frame| frame.tag == b'E' && frame.sqlstate() == "0A000"),
        "{}",
        pretty(&frames)
    );
}

/// `EXPLAIN ROUTE` tells of the statement with its values.
#[tokio::test]
async fn an_execution_is_explained() {
    let mut both = Both::new().await;
    if Proxy::is_direct() {
        return;
    }
    let wire = &mut both.sharded;
    wire.run(PREPARED[0]).await;
    wire.run("PREPARE one AS SELECT name FROM agents WHERE id = $1").await;
    for (sql, told) in [
        ("EXECUTE few (5, 7)", "sent to each: SELECT id"),
        ("EXECUTE one (6)", "1 of 4 (shard 2)"),
        ("EXECUTE one (2 * 3)", "as soon as it is bound"),
    ] {
        let frames = wire.run(&format!("EXPLAIN ROUTE {sql}")).await;
        let rows = frames.iter().filter(|frame| frame.tag == b'D').map(|frame| frame.values());
        let lines: Vec<String> =
            rows.map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(": ")).collect();
        assert!(lines.iter().any(|line| line.contains(told)), "{sql}: {lines:#?}");
    }
}
