//! Some 300 statements and what each may do: `EXPLAIN ROUTE` says so, and traffic goes there.
use pointsman_tests::{Proxy, Stage, Wire, eventually, msg};
use tokio_postgres::SimpleQueryMessage;

use crate::common::{SOON, reads_reach_replica};

const STATEMENTS: &str = include_str!("classified.tsv");

/// What the statements are about.
const SCHEMA: &str = "
CREATE TABLE k_agents (id bigint PRIMARY KEY, name text, score real, tags text[], doc jsonb, community_id int,
  created_at timestamptz DEFAULT now());
CREATE TABLE k_posts (id bigserial PRIMARY KEY, agent_id bigint, body text, likes int);
CREATE VIEW k_names AS SELECT id, name FROM k_agents;
CREATE FUNCTION k_stable(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1';
CREATE FUNCTION k_immutable(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION k_volatile(int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT $1';
CREATE FUNCTION k_dynamic() RETURNS int LANGUAGE plpgsql STABLE AS
  $$ DECLARE x int; BEGIN EXECUTE 'SELECT 1' INTO x; RETURN x; END $$;
CREATE PROCEDURE k_procedure() LANGUAGE sql AS 'SELECT 1';
CREATE VIEW k_noisy AS SELECT k_volatile(1) AS x;
CREATE VIEW k_noisier AS SELECT * FROM k_noisy;
CREATE SEQUENCE k_seq;
CREATE UNLOGGED TABLE k_unlogged (id int);
CREATE MATERIALIZED VIEW k_summary AS SELECT count(*) FROM k_agents;
CREATE TABLE k_parted (id int) PARTITION BY RANGE (id);
CREATE TABLE k_parted_1 PARTITION OF k_parted FOR VALUES FROM (0) TO (100);
GRANT ALL ON ALL TABLES IN SCHEMA public TO app;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app;";

/// Each statement with its class.
fn statements() -> Vec<(&'static str, &'static str)> {
    let lines = STATEMENTS.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once('\t').expect("a class, a tab and a statement")).collect()
}

/// The class, the target and the whole answer of `EXPLAIN ROUTE`.
async fn explained(client: &tokio_postgres::Client, sql: &str) -> (String, String, String) {
    let rows = client.simple_query(&format!("EXPLAIN ROUTE {sql}")).await.expect("it is explained");
    let told: Vec<(String, String)> = rows
        .iter()
        .filter_map(|row| match row {
            SimpleQueryMessage::Row(row) => Some((row.get(0)?.to_owned(), row.get(1)?.to_owned())),
            _ => None,
        })
        .collect();
    let of = |item: &str| told.iter().find(|(name, _)| name == item).map(|(_, value)| value.clone());
    (of("class").unwrap_or_default(), of("target").unwrap_or_default(), format!("{told:?}"))
}

/// Statements served so far by the primary and by replicas.
async fn served(proxy: &Proxy) -> [f64; 2] {
    let by = |target| async move { proxy.metric("pointsman_statements_total", &[target]).await };
    [by("target=\"primary\"").await, by("target=\"replica\"").await]
}

/// Runs a statement, whatever comes of it.
async fn run(wire: &mut Wire, sql: &str) {
    wire.send(&msg::query(sql)).await;
    loop {
        let frame = wire.frame().await.expect("the session goes on");
        match frame.tag {
            b'G' => wire.send(&msg::copy_fail("no data")).await,
            b'Z' => return,
            _ => {}
        }
    }
}

#[tokio::test]
async fn statements_are_what_explain_route_says_and_go_there() {
    let stage = Stage::new().replicas(1).start().await;
    stage.primary.sql(SCHEMA).await;
    stage.wait_replayed().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    reads_reach_replica(&stage, &mut wire).await;
    let client = proxy.client().await;
    eventually("the catalog is known", SOON, || async {
        explained(&client, "TABLE k_parted").await.1 == "replica"
    })
    .await;
    let all = statements();
    assert!(all.len() >= 300, "{}", all.len());
    for (class, sql) in &all {
        let (told, target, whole) = explained(&client, sql).await;
        assert_eq!(told, *class, "{sql}\n{whole}");
        assert_eq!(target, if *class == "read" { "replica" } else { "primary" }, "{sql}\n{whole}");
    }
    // Reads first: what the others change would send them to the primary.
    for (class, sql) in &all {
        let before = served(&proxy).await;
        run(&mut wire, sql).await;
        let after = served(&proxy).await;
        let went = [after[0] - before[0], after[1] - before[1]];
        assert_eq!(went, if *class == "read" { [0.0, 1.0] } else { [1.0, 0.0] }, "{class}: {sql}");
    }
}
