//! Session settings follow their client and never another.
use pointsman_tests::{Proxy, Wire, msg, pretty, tags};

use crate::common::{shared, unique};

async fn pair(proxy: &Proxy) -> (Wire, Wire) {
    (proxy.wire().await, proxy.wire().await)
}

/// What a client does, what then shows it, and what it and everybody else must see.
struct Leak {
    act: &'static str,
    probe: &'static str,
    mine: &'static str,
    theirs: &'static str,
}

const fn leak(act: &'static str, probe: &'static str, mine: &'static str, theirs: &'static str) -> Leak {
    Leak { act, probe, mine, theirs }
}

const LEAKS: &[Leak] = &[
    leak("SET statement_timeout = '7s'", "SHOW statement_timeout", "7s", "0"),
    leak("SET SESSION lock_timeout TO '8s'", "SHOW lock_timeout", "8s", "0"),
    leak("SET search_path = pg_catalog, staff", "SHOW search_path", "pg_catalog, staff", "\"$user\", public"),
    leak("SET search_path TO 'a b', \"C\"", "SHOW search_path", "\"a b\", \"C\"", "\"$user\", public"),
    leak("SET TIME ZONE 'Asia/Tokyo'", "SHOW timezone", "Asia/Tokyo", "UTC"),
    leak("SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", "SHOW timezone", "<-08>+08", "UTC"),
    leak("SET DateStyle = 'German'", "SHOW datestyle", "German, DMY", "ISO, MDY"),
    leak("SET NAMES 'LATIN1'", "SHOW client_encoding", "LATIN1", "UTF8"),
    leak("SET client_min_messages TO error", "SHOW client_min_messages", "error", "notice"),
    leak("SET application_name = 'o''brien \"x\"'", "SHOW application_name", "o'brien \"x\"", ""),
    leak("SET ROLE staff", "SELECT current_user", "staff", "app"),
    leak("SET SESSION ROLE staff", "SELECT current_user", "staff", "app"),
    leak("SET my.own = 'x y'", "SELECT coalesce(current_setting('my.own', true), '')", "x y", ""),
    leak(
        "SELECT set_config('my.other', 'z', false)",
        "SELECT coalesce(current_setting('my.other', true), '')",
        "z",
        "",
    ),
    leak("SELECT set_config('work_mem', '3MB', false)", "SHOW work_mem", "3MB", "4MB"),
    leak("SET work_mem = '3MB'; SET lock_timeout = 5", "SHOW work_mem", "3MB", "4MB"),
    leak("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SHOW transaction_read_only", "on", "off"),
    leak(
        "SET default_transaction_isolation = 'serializable'",
        "SHOW transaction_isolation",
        "serializable",
        "read committed",
    ),
    leak("BEGIN; SET work_mem = '3MB'; COMMIT", "SHOW work_mem", "3MB", "4MB"),
    leak("BEGIN; SET LOCAL work_mem = '3MB'; COMMIT", "SHOW work_mem", "4MB", "4MB"),
    leak("BEGIN; SET work_mem = '3MB'; ROLLBACK", "SHOW work_mem", "4MB", "4MB"),
    leak("SET work_mem = '3MB'; BEGIN; RESET work_mem; ROLLBACK", "SHOW work_mem", "3MB", "4MB"),
    leak(
        "BEGIN; SET work_mem = '3MB'; SAVEPOINT s; SET work_mem = '2MB'; ROLLBACK TO s; COMMIT",
        "SHOW work_mem",
        "3MB",
        "4MB",
    ),
    leak("BEGIN; SET work_mem = '3MB'; COMMIT AND CHAIN; ROLLBACK", "SHOW work_mem", "3MB", "4MB"),
    leak("BEGIN; SET work_mem = '3MB'; ROLLBACK AND CHAIN; COMMIT", "SHOW work_mem", "4MB", "4MB"),
    leak("BEGIN; SAVEPOINT s; SET work_mem = '2MB'; RELEASE s; COMMIT", "SHOW work_mem", "2MB", "4MB"),
    leak("SET work_mem = '3MB'; RESET work_mem", "SHOW work_mem", "4MB", "4MB"),
    leak("SET work_mem = '3MB'; SET work_mem TO DEFAULT", "SHOW work_mem", "4MB", "4MB"),
    leak("SET work_mem = '3MB'; RESET ALL", "SHOW work_mem", "4MB", "4MB"),
    leak("SET ROLE staff; RESET ROLE", "SELECT current_user", "app", "app"),
    leak("SET ROLE staff; SET ROLE NONE", "SELECT current_user", "app", "app"),
    leak("BEGIN; SET ROLE staff; ROLLBACK", "SELECT current_user", "app", "app"),
    leak("BEGIN; SET LOCAL ROLE staff; COMMIT", "SELECT current_user", "app", "app"),
];

/// Session state leaks: settings, roles and paths stay with the client that made them.
#[tokio::test]
async fn nothing_leaks_by_simple_queries() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    for Leak { act, probe, mine, theirs } in LEAKS {
        let (mut alpha, mut beta) = pair(&proxy).await;
        for statement in act.split("; ") {
            alpha.run(statement).await;
        }
        assert_eq!(beta.value(probe).await, *theirs, "another client after {act}");
        assert_eq!(alpha.value(probe).await, *mine, "the client after {act}");
        assert_eq!(beta.value(probe).await, *theirs, "another client again after {act}");
    }
}

/// The same by one simple query of several statements, and by the extended protocol.
#[tokio::test]
async fn nothing_leaks_by_extended_queries() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    for Leak { act, probe, mine, theirs } in LEAKS {
        let (mut alpha, mut beta) = pair(&proxy).await;
        for statement in act.split("; ") {
            let frames = alpha.ask(&[msg::statement(statement, &[]), msg::sync()].concat()).await;
            assert!(frames.iter().all(|frame| frame.tag != b'E'), "{act}: {statement}:\n{}", pretty(&frames));
        }
        assert_eq!(beta.extended_value(probe, &[]).await, *theirs, "another client after {act}");
        assert_eq!(alpha.extended_value(probe, &[]).await, *mine, "the client after {act}");
    }
}

/// One simple query of several statements is understood whole.
#[tokio::test]
async fn nothing_leaks_by_compound_queries() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 1}\n").await;
    for Leak { act, probe, theirs, .. } in LEAKS {
        let (mut alpha, mut beta) = pair(&proxy).await;
        // `BEGIN` within a query makes the statements before it part of the transaction: ask PostgreSQL.
        let mut direct = stage.primary.wire().await;
        direct.run(act).await;
        alpha.run(act).await;
        assert_eq!(beta.value(probe).await, *theirs, "another client after {act}");
        assert_eq!(alpha.value(probe).await, direct.value(probe).await, "the client after {act}");
    }
}

/// A setting whose transaction fails is undone, as PostgreSQL undoes it.
#[tokio::test]
async fn a_failed_statement_undoes_its_settings() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let (mut alpha, mut beta) = pair(&proxy).await;
    alpha.query("SET work_mem = '3MB'; SELECT 1/0").await;
    assert_eq!(alpha.value("SHOW work_mem").await, "4MB");
    assert_eq!(alpha.error("SET work_mem = 'plenty'").await, "22023");
    assert_eq!(alpha.value("SHOW work_mem").await, "4MB");
    let pipeline = [
        msg::statement("SET work_mem = '3MB'", &[]),
        msg::statement("SELECT 1/$1::int", &[Some("0")]),
        msg::sync(),
    ];
    alpha.ask(&pipeline.concat()).await;
    assert_eq!(beta.value("SHOW work_mem").await, "4MB");
    assert_eq!(alpha.value("SHOW work_mem").await, "4MB");
}

/// `DISCARD ALL` leaves a session as it began, start-up parameters included.
#[tokio::test]
async fn discard_all_returns_to_the_beginning() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let parameters =
        [("user", "app"), ("database", "app"), ("application_name", "begun"), ("options", "-c work_mem=5MB")];
    let mut alpha = Wire::login_with(proxy.port, &parameters).await;
    let mut beta = proxy.wire().await;
    alpha.run("SET work_mem = '3MB'").await;
    alpha.run("SET application_name = 'changed'").await;
    alpha.run("SET ROLE staff").await;
    assert_eq!(beta.value("SHOW work_mem").await, "4MB");
    alpha.run("DISCARD ALL").await;
    assert_eq!(alpha.value("SHOW work_mem").await, "5MB");
    assert_eq!(alpha.value("SHOW application_name").await, "begun");
    assert_eq!(alpha.value("SELECT current_user").await, "app");
    assert_eq!(beta.value("SHOW work_mem").await, "4MB");
}

/// Start-up parameters are settings of the session: those of one client never serve another.
#[tokio::test]
async fn startup_parameters_follow_their_client() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let base = [("user", "app"), ("database", "app")];
    let own = [
        ("DateStyle", "SQL, DMY"),
        ("TimeZone", "America/Lima"),
        ("application_name", "tester"),
        ("options", "-c geqo=off --statement_timeout=9s -c my.spaced=a\\ b"),
    ];
    let mut alpha = Wire::login_with(proxy.port, &[&base[..], &own[..]].concat()).await;
    assert_eq!(alpha.parameter("DateStyle"), Some("SQL, DMY"));
    assert_eq!(alpha.parameter("TimeZone"), Some("America/Lima"));
    assert_eq!(alpha.parameter("application_name"), Some("tester"));
    let mut beta = proxy.wire().await;
    assert_eq!(beta.parameter("DateStyle"), Some("ISO, MDY"));
    for _ in 0..2 {
        assert_eq!(alpha.value("SHOW geqo").await, "off");
        assert_eq!(beta.value("SHOW geqo").await, "on");
        assert_eq!(alpha.value("SHOW statement_timeout").await, "9s");
        assert_eq!(alpha.value("SHOW timezone").await, "America/Lima");
        assert_eq!(alpha.value("SELECT current_setting('my.spaced', true)").await, "a b");
        assert_eq!(beta.value("SHOW statement_timeout").await, "0");
        assert_eq!(beta.value("SHOW datestyle").await, "ISO, MDY");
    }
    alpha.run("SET statement_timeout = 0").await;
    alpha.run("RESET statement_timeout").await;
    assert_eq!(alpha.value("SHOW statement_timeout").await, "9s");
}

/// A changed reported setting is told to the client that changed it, and to no other.
#[tokio::test]
async fn parameter_status_tells_the_client_that_asked() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let (mut alpha, mut beta) = pair(&proxy).await;
    let frames = alpha.run("SET application_name = 'named'").await;
    assert_eq!(tags(&frames), "CSZ", "{}", pretty(&frames));
    assert_eq!(alpha.parameter("application_name"), Some("named"));
    let frames = beta.run("SELECT 1").await;
    assert_eq!(tags(&frames), "TDCZ", "{}", pretty(&frames));
    let frames = alpha.run("SELECT 1").await;
    assert_eq!(tags(&frames), "TDCZ", "{}", pretty(&frames));
    let frames = alpha.run("RESET application_name").await;
    assert_eq!(tags(&frames), "CSZ", "{}", pretty(&frames));
}

/// `SET SESSION AUTHORIZATION` follows its client.
#[tokio::test]
async fn session_authorization_follows_its_client() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let (mut alpha, mut beta) = (proxy.wire_as("postgres").await, proxy.wire_as("postgres").await);
    alpha.run("SET SESSION AUTHORIZATION alice").await;
    assert_eq!(beta.value("SELECT session_user").await, "postgres");
    assert_eq!(alpha.value("SELECT session_user").await, "alice");
    assert_eq!(alpha.value("SELECT current_user").await, "alice");
    alpha.run("SET ROLE staff").await;
    assert_eq!(beta.value("SELECT current_user").await, "postgres");
    assert_eq!(alpha.value("SELECT current_user").await, "staff");
    assert_eq!(alpha.value("SELECT session_user").await, "alice");
    alpha.run("RESET SESSION AUTHORIZATION").await;
    assert_eq!(alpha.value("SELECT session_user").await, "postgres");
    assert_eq!(beta.value("SELECT session_user").await, "postgres");
}

/// Two users never share a server connection.
#[tokio::test]
async fn users_do_not_share_connections() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let (mut alice, mut bob) = (proxy.wire_as("alice").await, proxy.wire_as("bob").await);
    for _ in 0..3 {
        assert_eq!(alice.value("SELECT session_user").await, "alice");
        assert_eq!(bob.value("SELECT session_user").await, "bob");
    }
}

/// A role or database default set by `ALTER ROLE` is what `RESET` returns to.
#[tokio::test]
async fn role_defaults_hold() {
    let stage = shared().await;
    stage.primary.sql("ALTER ROLE bob SET work_mem = '6MB'").await;
    let proxy = stage.proxy("pool: {size: 1}\n").await;
    let mut bob = proxy.wire_as("bob").await;
    bob.run("SET work_mem = '1MB'").await;
    let mut other = proxy.wire_as("bob").await;
    assert_eq!(other.value("SHOW work_mem").await, "6MB");
    bob.run("RESET work_mem").await;
    assert_eq!(bob.value("SHOW work_mem").await, "6MB");
    stage.primary.sql("ALTER ROLE bob RESET work_mem").await;
}

/// A block or a function that changes a setting is not understood: the client keeps its connection.
#[tokio::test]
async fn a_setting_by_a_function_does_not_leak() {
    let proxy = shared().await.proxy("pool: {size: 3}\n").await;
    let mut third = proxy.wire().await;
    third.run("DO $$ BEGIN PERFORM set_config('work_mem', '2MB', false); END $$").await;
    let (mut alpha, mut beta) = pair(&proxy).await;
    let function = unique("sets");
    let body = "BEGIN PERFORM set_config('search_path', 'hidden', false); RETURN 1; END";
    alpha.run(&format!("CREATE FUNCTION {function}() RETURNS int LANGUAGE plpgsql AS $$ {body} $$")).await;
    alpha.run(&format!("SELECT public.{function}()")).await;
    for _ in 0..5 {
        assert_eq!(beta.value("SHOW search_path").await, "\"$user\", public");
        assert_eq!(beta.value("SHOW work_mem").await, "4MB");
        assert_eq!(third.value("SHOW work_mem").await, "2MB");
        assert_eq!(alpha.value("SHOW search_path").await, "hidden");
    }
}

/// `set_config` by parameters, bare or computed, in one pipeline or after an error in it.
#[tokio::test]
async fn a_setting_by_parameters_does_not_leak() {
    let proxy = shared().await.proxy("pool: {size: 2}\n").await;
    for (sql, value) in [
        ("SELECT set_config('work_mem', $1, false)", "3MB"),
        ("SELECT set_config('work_mem', $1 || 'MB', false)", "3"),
        ("SELECT set_config('work_' || 'mem', $1 || 'MB', false)", "3"),
        ("SELECT set_config(name, $1 || 'MB', false) FROM pg_settings WHERE name = 'work_mem'", "3"),
    ] {
        for error_after in [false, true] {
            let (mut alpha, mut beta) = pair(&proxy).await;
            let fails =
                if error_after { msg::statement("SELECT 1/$1::int", &[Some("0")]) } else { Vec::new() };
            alpha.ask(&[msg::statement(sql, &[Some(value)]), fails, msg::sync()].concat()).await;
            let mine = if error_after { "4MB" } else { "3MB" };
            for _ in 0..4 {
                assert_eq!(
                    beta.value("SHOW work_mem").await,
                    "4MB",
                    "another client after {sql}, {error_after}"
                );
                assert_eq!(alpha.value("SHOW work_mem").await, mine, "the client after {sql}, {error_after}");
            }
            alpha.run("DISCARD ALL").await;
            for wire in [&mut alpha, &mut beta] {
                assert_eq!(wire.value("SHOW work_mem").await, "4MB", "after DISCARD ALL");
            }
        }
    }
}

/// A row limit ends `Execute` with `PortalSuspended`: what the statement did is done all the same.
#[tokio::test]
async fn a_row_limit_does_not_hide_a_setting() {
    let proxy = shared().await.proxy("pool: {size: 2}\n").await;
    let (mut alpha, mut beta) = pair(&proxy).await;
    for (sql, probe, theirs) in [
        ("SELECT set_config('work_mem', '3MB', false)", "SHOW work_mem", "4MB"),
        ("SELECT set_config('lock_timeout', $1 || '', false)", "SHOW lock_timeout", "0"),
        ("SELECT pg_advisory_lock(77)", "SELECT pg_advisory_unlock(77)", "f"),
    ] {
        let values: &[Option<&str>] = if sql.contains('$') { &[Some("3s")] } else { &[] };
        let open = [msg::parse("", sql), msg::bind("", "", values), msg::execute("", 1), msg::sync()];
        let frames = alpha.ask(&open.concat()).await;
        assert_eq!(tags(&frames), "12DsZ", "{}", pretty(&frames));
        for _ in 0..4 {
            assert_eq!(beta.value(probe).await, theirs, "another client after {sql}");
        }
    }
}
