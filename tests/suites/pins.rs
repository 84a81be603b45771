//! State that lives on a server connection pins the session to it until that state is gone.
use std::time::Duration;

use pointsman_tests::{Proxy, Wire, msg, pretty, tags};

use crate::common::{reads_reach_replica, server_of, shared, unique};

/// With one connection in the pool, whether another client is served shows whether this one is pinned.
const ONE: &str = "pool: {size: 1, checkout_timeout: 300ms}\n";

async fn served(proxy: &Proxy) -> bool {
    let mut wire = proxy.wire().await;
    wire.query("SELECT pg_backend_pid()").await.iter().any(|frame| frame.tag == b'D')
}

async fn pins_until(proxy: &Proxy, wire: &mut Wire, make: &str, release: &str) {
    for statement in make.split("; ") {
        wire.run(statement).await;
    }
    assert!(!served(proxy).await, "{make} does not pin");
    for statement in release.split("; ") {
        wire.run(statement).await;
    }
    assert!(served(proxy).await, "{release} does not release after {make}");
}

/// A pin lasts until the state is gone, and no longer.
#[tokio::test]
async fn pins_end_with_their_state() {
    let proxy = shared().await.proxy(ONE).await;
    let mut wire = proxy.wire().await;
    for (make, release) in [
        ("LISTEN chan", "UNLISTEN chan"),
        ("LISTEN one; LISTEN two", "UNLISTEN *"),
        ("LISTEN chan", "DISCARD ALL"),
        ("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION pg_temp.f()"),
        ("CREATE TYPE pg_temp.y AS ENUM ('a')", "DROP TYPE pg_temp.y"),
        ("SET search_path = pg_temp, public; CREATE TABLE t (id int)", "DROP TABLE t; RESET search_path"),
        ("BEGIN; SET LOCAL search_path = pg_temp; CREATE TABLE t (id int); COMMIT", "DROP TABLE pg_temp.t"),
        ("CREATE TEMP TABLE t (id int)", "DROP TABLE t"),
        ("CREATE TEMPORARY TABLE t AS SELECT 1", "DISCARD TEMP"),
        ("SELECT 1 AS x INTO TEMP t", "DISCARD ALL"),
        ("BEGIN; CREATE TEMP TABLE t (id int); COMMIT AND CHAIN; ROLLBACK", "DROP TABLE t"),
        ("BEGIN; LISTEN chan; COMMIT AND CHAIN; ROLLBACK", "UNLISTEN *"),
        ("SELECT pg_advisory_lock(11)", "SELECT pg_advisory_unlock(11)"),
        ("SELECT pg_try_advisory_lock(11)", "SELECT pg_advisory_unlock_all()"),
        ("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT", "CLOSE c"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "CLOSE ALL"),
        ("BEGIN; SELECT 1", "COMMIT"),
    ] {
        pins_until(&proxy, &mut wire, make, release).await;
    }
}

/// State that lives in a transaction only does not outlast it.
#[tokio::test]
async fn transaction_state_does_not_pin() {
    let proxy = shared().await.proxy(ONE).await;
    let mut wire = proxy.wire().await;
    for statements in [
        "BEGIN; SELECT pg_advisory_xact_lock(12); COMMIT",
        "BEGIN; CREATE TEMP TABLE t (id int) ON COMMIT DROP; COMMIT",
        "BEGIN; DECLARE c CURSOR FOR SELECT 1; FETCH c; COMMIT",
        "BEGIN; LISTEN chan; ROLLBACK",
        "BEGIN; CREATE TEMP TABLE t (id int); ROLLBACK",
        "SELECT 1",
    ] {
        for statement in statements.split("; ") {
            wire.run(statement).await;
        }
        assert!(served(&proxy).await, "{statements} keeps the connection");
    }
}

/// A pinned client that leaves takes its state along: locks, temp tables, LISTEN, by `Terminate` or abruptly.
#[tokio::test]
async fn advisory_locks_do_not_outlive_their_client() {
    let proxy = shared().await.proxy("pool: {size: 2}\n").await;
    for abrupt in [false, true] {
        let mut holder = proxy.wire().await;
        holder.run("SELECT pg_advisory_lock(4711)").await;
        let mut other = proxy.wire().await;
        assert_eq!(other.value("SELECT pg_try_advisory_lock(4711)").await, "f");
        if !abrupt {
            holder.send(&msg::terminate()).await;
        }
        drop(holder);
        let mut free = false;
        for _ in 0..200 {
            if other.value("SELECT pg_try_advisory_lock(4711)").await == "t" {
                free = true;
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(free, "the lock outlived its client (abrupt: {abrupt})");
        other.run("SELECT pg_advisory_unlock(4711)").await;
    }
}

/// A lock taken by the extended protocol pins as well.
#[tokio::test]
async fn a_lock_by_parameters_pins() {
    let proxy = shared().await.proxy(ONE).await;
    let mut wire = proxy.wire().await;
    wire.extended_value("SELECT pg_advisory_lock($1)", &[Some("13")]).await;
    assert!(!served(&proxy).await);
    assert_eq!(wire.extended_value("SELECT pg_advisory_unlock($1)", &[Some("13")]).await, "t");
    assert!(served(&proxy).await);
}

/// A lock taken by a function that is not understood does not end up with another client.
#[tokio::test]
async fn a_hidden_lock_does_not_leak() {
    let proxy = shared().await.proxy("pool: {size: 2}\n").await;
    let mut holder = proxy.wire().await;
    let function = unique("locks");
    let body = "BEGIN PERFORM pg_advisory_lock(815); END";
    holder.run(&format!("CREATE FUNCTION {function}() RETURNS void LANGUAGE plpgsql AS $$ {body} $$")).await;
    holder.run(&format!("SELECT {function}()")).await;
    let mut other = proxy.wire().await;
    for _ in 0..10 {
        assert_eq!(other.value("SELECT pg_try_advisory_lock(815)").await, "f", "the lock is the holder's");
    }
    assert_eq!(holder.value("SELECT pg_advisory_unlock(815)").await, "t", "the holder still has it");
}

/// A function made elsewhere a moment ago, which the proxy has not heard of, leaves nothing to others.
#[tokio::test]
async fn an_unheard_of_function_does_not_leak() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 2}\n").await;
    for extended in [false, true] {
        let mut holder = proxy.wire().await;
        reads_reach_replica(stage, &mut holder).await;
        let function = unique("unheard");
        let body = "BEGIN PERFORM pg_advisory_lock(816); PERFORM set_config('my.unheard', 'x', false); END";
        stage
            .primary
            .sql(&format!("CREATE FUNCTION {function}() RETURNS void LANGUAGE plpgsql AS $$ {body} $$"))
            .await;
        let sql = format!("SELECT {function}()");
        match extended {
            true => drop(holder.extended_value(&sql, &[]).await),
            false => drop(holder.run(&sql).await),
        }
        let mut other = proxy.wire().await;
        for _ in 0..6 {
            assert_eq!(
                other.value("SELECT pg_try_advisory_lock(816)").await,
                "f",
                "the lock is the holder's"
            );
            assert_eq!(other.value("SELECT coalesce(current_setting('my.unheard', true), '')").await, "");
        }
        assert_eq!(holder.value("SELECT pg_advisory_unlock(816)").await, "t", "the holder still has it");
    }
}

/// A function that does not exist keeps nobody on a connection.
#[tokio::test]
async fn a_misspelt_function_does_not_pin() {
    let proxy = shared().await.proxy(ONE).await;
    let mut wire = proxy.wire().await;
    assert_eq!(wire.error("SELECT no_such_function_at_all()").await, "42883");
    wire.ask(&[msg::statement("SELECT no_such_function_at_all()", &[]), msg::sync()].concat()).await;
    assert!(served(&proxy).await);
}

/// Temp tables misrouted: what names one goes to the connection that has it, never to a replica.
#[tokio::test]
async fn temp_tables_are_found() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 2}\n").await;
    let (mut wire, mut busy) = (proxy.wire().await, proxy.wire().await);
    reads_reach_replica(stage, &mut wire).await;
    wire.run("CREATE TEMP TABLE mine (id int)").await;
    wire.run("INSERT INTO mine VALUES (1), (2)").await;
    for _ in 0..10 {
        busy.value("SELECT pg_backend_pid() FOR UPDATE").await;
        assert_eq!(wire.value("SELECT count(*) FROM mine").await, "2");
        assert_eq!(wire.extended_value("SELECT max(id) FROM mine", &[]).await, "2");
        assert_eq!(wire.value("WITH x AS (SELECT id FROM mine) SELECT sum(id) FROM x").await, "3");
    }
    let mut other = proxy.wire().await;
    assert_eq!(other.error("SELECT count(*) FROM mine").await, "42P01");
}

/// A temp table hides a real one of its name, for its owner only.
#[tokio::test]
async fn a_temp_table_shadows_a_real_one() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let (mut alpha, mut beta) = (proxy.wire().await, proxy.wire().await);
    let table = unique("shadowed");
    alpha.run(&format!("CREATE TABLE {table} AS SELECT 'real' AS kind")).await;
    alpha.run(&format!("CREATE TEMP TABLE {table} AS SELECT 'temp' AS kind")).await;
    for _ in 0..10 {
        assert_eq!(alpha.value(&format!("SELECT kind FROM {table}")).await, "temp");
        assert_eq!(beta.value(&format!("SELECT kind FROM {table}")).await, "real");
    }
}

/// A pin fights a routing rule: the pin wins, silently right.
#[tokio::test]
async fn a_pin_wins_over_routing() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 2}\n").await;
    let (mut wire, mut busy) = (proxy.wire().await, proxy.wire().await);
    reads_reach_replica(stage, &mut wire).await;
    wire.run("BEGIN").await;
    wire.run("SELECT 1").await;
    let marker = unique("pinned_read");
    wire.run(&format!("SELECT 1 /* {marker} */")).await;
    assert_eq!(server_of(stage, &marker).await, "primary");
    wire.run("COMMIT").await;
    wire.run("SELECT pg_advisory_lock(99)").await;
    let pid = wire.value("SELECT pg_backend_pid()").await;
    for _ in 0..10 {
        assert_ne!(busy.value("SELECT pg_backend_pid() FOR UPDATE").await, pid);
        assert_eq!(wire.value("SELECT pg_backend_pid()").await, pid);
        let marker = unique("pinned_read");
        wire.run(&format!("SELECT count(*) FROM pg_am /* {marker} */")).await;
        assert_eq!(server_of(stage, &marker).await, "primary", "a read that a replica could serve");
    }
    wire.run("SELECT pg_advisory_unlock(99)").await;
}

/// A listening client hears notifications without asking, by other clients and by itself, in order.
#[tokio::test]
async fn notifications_arrive_unasked() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let channel = unique("channel");
    let (mut listener, mut notifier) = (proxy.wire().await, proxy.wire().await);
    listener.run(&format!("LISTEN {channel}")).await;
    for payload in ["one", "two"] {
        notifier.run(&format!("NOTIFY {channel}, '{payload}'")).await;
        let frame = listener.frame().await.expect("a notification");
        assert_eq!(frame.tag, b'A', "{frame}");
        assert!(frame.body.windows(3).any(|part| part == payload.as_bytes()));
    }
    let frames = listener.run(&format!("NOTIFY {channel}, 'self'")).await;
    assert_eq!(tags(&frames), "CAZ", "{}", pretty(&frames));
    listener.run(&format!("UNLISTEN {channel}")).await;
    notifier.run(&format!("NOTIFY {channel}, 'late'")).await;
    listener.quiet(Duration::from_millis(200)).await;
}

/// A `WITH HOLD` cursor is read across transactions.
#[tokio::test]
async fn a_held_cursor_is_read_later() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    reads_reach_replica(stage, &mut wire).await;
    wire.run("BEGIN").await;
    wire.run("DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 10)").await;
    wire.run("COMMIT").await;
    for number in 1..=10 {
        assert_eq!(wire.value("FETCH held").await, number.to_string());
        wire.run("SELECT 1").await;
    }
    wire.run("CLOSE held").await;
    assert_eq!(wire.error("FETCH held").await, "34000");
}

/// A client with pins that vanishes leaves a clean pool: its listeners and temp tables are gone.
#[tokio::test]
async fn a_vanished_client_leaves_nothing() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 1}\n").await;
    let table = unique("left_behind");
    let mut wire = proxy.wire().await;
    wire.run(&format!("CREATE TEMP TABLE {table} (id int)")).await;
    wire.run("LISTEN left_behind").await;
    drop(wire);
    let mut other = proxy.wire().await;
    assert_eq!(other.error(&format!("SELECT * FROM {table}")).await, "42P01");
    assert_eq!(other.value("SELECT count(*) FROM pg_listening_channels()").await, "0");
}

/// What a client made before its last, failed transaction is gone with it, wherever the transaction began.
#[tokio::test]
async fn a_client_that_leaves_failed_leaves_nothing() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    for (number, begin) in ["BEGIN", "DISCARD PLANS; BEGIN", "SELECT 1; BEGIN"].into_iter().enumerate() {
        for chain in ["COMMIT AND CHAIN", "COMMIT; BEGIN"] {
            for fail in [
                msg::query("SELECT 1/0"),
                [msg::statement("SELECT 1/$1::int", &[Some("0")]), msg::sync()].concat(),
            ] {
                let mut wire = proxy.wire().await;
                wire.run(begin).await;
                wire.run(&format!("CREATE TEMP TABLE failed_{number} (id int)")).await;
                wire.run(chain).await;
                wire.ask(&fail).await;
                wire.send(&msg::terminate()).await;
                drop(wire);
                let mut next = proxy.wire().await;
                let got = next.error(&format!("INSERT INTO failed_{number} VALUES (1)")).await;
                assert_eq!(got, "42P01", "{begin}; {chain}");
            }
        }
    }
}
