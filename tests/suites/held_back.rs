//! `BEGIN READ ONLY` reaches a replica by either protocol, and goes wrong before any server knows of it as it would on one.
use std::time::{Duration, Instant};

use pointsman_tests::{Frame, Proxy, Stage, Wire, msg, pretty, tags};

use crate::common::{policy, reads_reach_replica, server_of, shared, unique};

/// The transaction's state as the last message tells it.
fn state(frames: &[Frame]) -> char {
    frames.last().filter(|frame| frame.tag == b'Z').map_or('?', |frame| char::from(frame.body[0]))
}

/// `Bind` and `Execute` of a statement without parameters.
fn run_named(name: &str) -> Vec<u8> {
    [msg::bind("", name, &[]), msg::execute("", 0)].concat()
}

/// A client whose reads reach the replica.
async fn reader(stage: &Stage, proxy: &Proxy) -> Wire {
    let mut wire = proxy.wire().await;
    reads_reach_replica(stage, &mut wire).await;
    wire
}

/// Which server runs a read in the transaction that is open.
async fn served(stage: &Stage, wire: &mut Wire) -> String {
    let marker = unique("held_back");
    wire.extended_value(&format!("SELECT count(*) FROM pg_am WHERE $1 <> 0 /* {marker} */"), &[Some("1")])
        .await;
    server_of(stage, &marker).await
}

/// Every form in which drivers begin by the extended protocol, with the replies that PostgreSQL gives.
#[tokio::test]
async fn a_beginning_by_the_extended_protocol_reaches_a_replica() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = reader(stage, &proxy).await;
    let text = "BEGIN READ ONLY";
    let named = [msg::parse("b", text), msg::describe_statement("b"), run_named("b"), msg::sync()].concat();
    let forms = [
        ([msg::statement(text, &[]), msg::sync()].concat(), "12nCZ"),
        ([msg::statement("START TRANSACTION READ ONLY", &[]), msg::sync()].concat(), "12nCZ"),
        ([msg::parse("", text), run_named(""), msg::sync()].concat(), "12CZ"),
        (named, "1tn2CZ"),
        ([run_named("b"), msg::sync()].concat(), "2CZ"),
    ];
    for (begin, replies) in forms {
        let frames = wire.ask(&begin).await;
        assert_eq!((tags(&frames).as_str(), state(&frames)), (replies, 'T'), "{}", pretty(&frames));
        assert_eq!(served(stage, &mut wire).await, "replica0", "{replies}");
        assert_eq!(served(stage, &mut wire).await, "replica0", "{replies}");
        let frames = wire.ask(&[msg::statement("COMMIT", &[]), msg::sync()].concat()).await;
        assert_eq!((tags(&frames).as_str(), state(&frames)), ("12nCZ", 'I'), "{}", pretty(&frames));
    }
    // What was prepared here only is there for a server, too.
    wire.run("BEGIN; SELECT pg_current_xact_id()").await;
    let frames = wire.ask(&[run_named("b"), msg::sync()].concat()).await;
    assert!(tags(&frames).starts_with('2') && tags(&frames).contains('N'), "{}", pretty(&frames));
    wire.run("ROLLBACK").await;
}

/// A beginning with its first read in one batch, as JDBC sends them, goes to a replica as a whole; with anything else,
/// to the primary.
#[tokio::test]
async fn a_beginning_with_its_first_read_reaches_a_replica() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = reader(stage, &proxy).await;
    let prepared = [msg::parse("S_1", "BEGIN READ ONLY"), run_named("S_1")].concat();
    let again = run_named("S_1");
    for begin in [prepared, again] {
        let marker = unique("first_read");
        let read = msg::statement(&format!("SELECT 1 /* {marker} */"), &[]);
        let frames = wire.ask(&[begin, read, msg::sync()].concat()).await;
        assert!(tags(&frames).ends_with("2C12TDCZ"), "{}", pretty(&frames));
        assert_eq!(state(&frames), 'T');
        assert_eq!(server_of(stage, &marker).await, "replica0");
        assert_eq!(served(stage, &mut wire).await, "replica0");
        assert_eq!(wire.error("CREATE TABLE never (id int)").await, "25006");
        wire.run("ROLLBACK").await;
        reads_reach_replica(stage, &mut wire).await;
    }
    for (begin, first) in [
        ("BEGIN READ ONLY", "SELECT pg_is_in_recovery()"),
        ("BEGIN READ ONLY", "SELECT txid_current()"),
        ("BEGIN READ ONLY", "SAVEPOINT a"),
        ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SELECT 1"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY", "SELECT 1"),
        ("BEGIN", "SELECT 1"),
        ("SELECT 1", "BEGIN READ ONLY"),
    ] {
        let marker = unique("for_primary");
        let first = msg::statement(&format!("{first} /* {marker} */"), &[]);
        let frames = wire.ask(&[msg::statement(begin, &[]), first, msg::sync()].concat()).await;
        assert_eq!(state(&frames), 'T', "{begin}: {}", pretty(&frames));
        assert_eq!(server_of(stage, &marker).await, "primary", "{begin}");
        wire.run("ROLLBACK").await;
    }
}

/// The ways in which a client asks for the end of a transaction that has failed.
async fn leaves(wire: &mut Wire, end: &str) {
    let frames = match end.strip_prefix("extended ") {
        Some(end) => wire.ask(&[msg::statement(end, &[]), msg::sync()].concat()).await,
        None => wire.query(end).await,
    };
    let complete = frames.iter().find(|frame| frame.tag == b'C').map(Frame::text);
    assert_eq!((complete.as_deref(), state(&frames)), (Some("ROLLBACK"), 'I'), "{end}: {}", pretty(&frames));
}

/// No server for the first statement: an error as of any statement, a failed transaction, and a session that goes on.
#[tokio::test]
async fn no_server_for_the_first_statement_is_an_error() {
    let stage = Stage::new().replicas(1).start().await;
    let settings = "pool: {size: 2, connect_timeout: 1s, checkout_timeout: 1s, login_retry_max: 200ms}\n\
        failover_wait: 300ms\nhealth: {interval: 10s, timeout: 1s}\n";
    let proxy = stage.proxy(settings).await;
    let mut wires = Vec::new();
    for _ in 0..2 {
        let mut wire = reader(&stage, &proxy).await;
        wire.run("BEGIN READ ONLY").await;
        wires.push(wire);
    }
    // Fast, so that no connection is left at rest that ends only when something is sent on it.
    stage.replica().stop("INT").await;
    stage.primary.stop("INT").await;
    let batch = [msg::statement("SELECT 1", &[]), msg::sync()].concat();
    for (extended, wire) in wires.iter_mut().enumerate() {
        let ask = if extended == 1 { batch.clone() } else { msg::query("SELECT 1") };
        let frames = wire.ask(&ask).await;
        assert_eq!(tags(&frames), "EZ", "{}", pretty(&frames));
        assert!(matches!(frames[0].sqlstate().as_str(), "08001" | "08006" | "57P03"), "{}", frames[0]);
        assert_eq!((frames[0].field('S').as_str(), state(&frames)), ("ERROR", 'E'));
        for ask in [&batch, &msg::query("SELECT 2"), &msg::query("ROLLBACK TO a"), &ask] {
            let frames = wire.ask(ask).await;
            assert_eq!(
                (frames[0].sqlstate().as_str(), state(&frames)),
                ("25P02", 'E'),
                "{}",
                pretty(&frames)
            );
        }
    }
    leaves(&mut wires[0], "COMMIT").await;
    leaves(&mut wires[1], "extended ROLLBACK").await;
    stage.primary.start().await;
    stage.replica().start().await;
    for wire in &mut wires {
        reads_reach_replica(&stage, wire).await;
    }
}

const REFUSING: &str =
    "  rules:\n    - {name: no, match: {text: forbidden}, refuse: {sqlstate: '0A000', message: no}}\n";

/// A rule refuses the first statement: the transaction fails as any other, whatever asks for its end.
#[tokio::test]
async fn a_refused_first_statement_fails_the_transaction() {
    let stage = shared().await;
    let proxy = stage.proxy(&policy(stage, REFUSING)).await;
    let mut wire = reader(stage, &proxy).await;
    for extended in [false, true] {
        for end in ["ROLLBACK", "COMMIT", "extended COMMIT", "extended ROLLBACK", "PREPARE TRANSACTION 'x'"] {
            wire.run("BEGIN READ ONLY").await;
            let refused = "SELECT 'forbidden'";
            let frames = match extended {
                true => wire.ask(&[msg::statement(refused, &[]), msg::sync()].concat()).await,
                false => wire.query(refused).await,
            };
            assert_eq!((tags(&frames).as_str(), state(&frames)), ("EZ", 'E'), "{}", pretty(&frames));
            assert_eq!(frames[0].sqlstate(), "0A000");
            assert_eq!(wire.error("SELECT 1").await, "25P02");
            assert_eq!(tags(&wire.query("").await), "IZ", "nothing is always possible");
            leaves(&mut wire, end).await;
        }
    }
    // Ended among other statements, and followed by another like it.
    wire.run("BEGIN READ ONLY").await;
    assert_eq!(wire.error("SELECT 'forbidden'").await, "0A000");
    assert_eq!(wire.value("ROLLBACK; SELECT 3").await, "3");
    wire.run("BEGIN READ ONLY").await;
    assert_eq!(wire.error("SELECT 'forbidden'").await, "0A000");
    let frames = wire.query("ROLLBACK AND CHAIN").await;
    assert_eq!((tags(&frames).as_str(), state(&frames)), ("CZ", 'T'), "{}", pretty(&frames));
    assert_eq!(wire.value("SHOW transaction_read_only").await, "on");
    wire.run("COMMIT").await;
}

/// A transaction that no server knows of ends by the same timeout as any other.
#[tokio::test]
async fn an_idle_client_is_closed() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 2, idle_transaction_timeout: 700ms}\n").await;
    let mut wire = reader(stage, &proxy).await;
    wire.run("BEGIN READ ONLY").await;
    assert_eq!(wire.value("SELECT 1").await, "1");
    wire.run("COMMIT").await;
    wire.run("BEGIN READ ONLY").await;
    let since = Instant::now();
    let frames = wire.until_closed().await;
    assert_eq!(tags(&frames), "E", "{}", pretty(&frames));
    assert_eq!((frames[0].sqlstate().as_str(), frames[0].field('S').as_str()), ("25P03", "FATAL"));
    assert!(since.elapsed() >= Duration::from_millis(650) && since.elapsed() < Duration::from_secs(10));
    // A client's own timeout is for a server to keep, from the beginning.
    let mut own = reader(stage, &proxy).await;
    own.run("SET idle_in_transaction_session_timeout = '300ms'").await;
    own.run("BEGIN READ ONLY").await;
    let frames = own.until_closed().await;
    assert_eq!(
        (tags(&frames).as_str(), frames[0].sqlstate().as_str()),
        ("E", "25P03"),
        "{}",
        pretty(&frames)
    );
}
