//! The proxy's own questions to the servers: nobody bends their meaning, and names are resolved anew.
use std::process::Command;
use std::time::Duration;

use pointsman_tests::{Proxy, Stage, eventually};

use crate::common::{SOON, reads_reach_replica, shared, unique};

/// Holes before login: a `search_path` set for the proxy's own role does not bend its questions.
#[tokio::test]
async fn a_search_path_does_not_bend_own_questions() {
    let stage = Stage::new().replicas(1).start().await;
    stage
        .primary
        .sql(
            "CREATE SCHEMA evil;
             CREATE FUNCTION evil.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT true';
             CREATE FUNCTION evil.pg_current_wal_insert_lsn() RETURNS pg_lsn LANGUAGE sql AS 'SELECT ''0/1''::pg_lsn';
             CREATE FUNCTION evil.pg_last_wal_replay_lsn() RETURNS pg_lsn LANGUAGE sql
                AS 'SELECT ''FF/0''::pg_lsn';
             CREATE VIEW evil.pg_proc AS SELECT * FROM pg_catalog.pg_proc WHERE false;
             CREATE VIEW evil.pg_authid AS SELECT * FROM pg_catalog.pg_authid WHERE false;
             CREATE FUNCTION evil.eq(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT true';
             CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.eq);
             ALTER ROLE postgres SET search_path = evil, pg_catalog;
             ALTER DATABASE app SET search_path = evil, pg_catalog, public",
        )
        .await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    wire.run("SET search_path = public").await;
    let table = unique("straight");
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    for number in 1..=20 {
        wire.run(&format!("INSERT INTO {table} VALUES ({number})")).await;
        assert_eq!(wire.value(&format!("SELECT count(*) FROM {table}")).await, number.to_string());
    }
    reads_reach_replica(&stage, &mut wire).await;
}

/// A function that shadows a catalog function by the client's `search_path` is judged by what it is.
#[tokio::test]
async fn a_shadowing_function_is_not_taken_for_the_catalogs() {
    let stage = shared().await;
    let schema = unique("shadow");
    stage
        .primary
        .sql(&format!(
            "CREATE SCHEMA {schema} AUTHORIZATION app;
             CREATE TABLE {schema}.called (at text);
             ALTER TABLE {schema}.called OWNER TO app;
             CREATE FUNCTION {schema}.initcap(text) RETURNS text LANGUAGE sql
                AS 'INSERT INTO {schema}.called VALUES ($1) RETURNING at';
             CREATE FUNCTION {schema}.reverse(integer) RETURNS text LANGUAGE sql
                AS 'INSERT INTO {schema}.called VALUES ($1::text) RETURNING at'"
        ))
        .await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    wire.run(&format!("SET search_path = {schema}, pg_catalog, public")).await;
    reads_reach_replica(stage, &mut wire).await;
    wire.run("SELECT initcap('x'::text)").await;
    reads_reach_replica(stage, &mut wire).await;
    wire.run("SELECT reverse(5)").await;
    assert_eq!(wire.value("SELECT count(*) FROM called").await, "2");
}

/// DNS changes ignored: a name that leads elsewhere later is followed without a restart.
#[tokio::test]
async fn names_are_resolved_anew() {
    let namespaces =
        Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success());
    if !namespaces {
        eprintln!("skipped: a private /etc/hosts needs root and mount namespaces");
        return;
    }
    let stage = shared().await;
    let hosts = stage.dir().join(unique("hosts"));
    std::fs::write(&hosts, "127.0.0.9 moving.test\n").expect("the hosts file");
    let url = "postgres://postgres:password@moving.test:$PRIMARY/app";
    let pool = "pool: {size: 2, checkout_timeout: 500ms, connect_timeout: 500ms, login_retry_max: 300ms}";
    let config = format!("primary: \"{url}\"\nreplicas: []\n{pool}\n");
    let proxy = Proxy::start_with_hosts(stage, &config, Some(&hosts)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::write(&hosts, "127.0.0.1 moving.test\n").expect("the hosts file");
    eventually("the name's new address is used", SOON, || async {
        proxy.get("/readyz").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    })
    .await;
    assert_eq!(proxy.wire().await.value("SELECT 1").await, "1");
}
