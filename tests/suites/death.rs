//! Servers die in the middle of anything: their clients hear it, no others do, and service goes on.
use std::time::Duration;

use pointsman_tests::{Frame, Stage, Wire, eventually, msg, pretty};

use crate::common::{SOON, reads_reach_replica, shared, unique};

/// What tells a client that its server has gone.
const GONE: [&str; 5] = ["57P01", "57P02", "57P03", "08006", "08001"];

fn told(frames: &[Frame]) -> bool {
    frames.iter().any(|frame| frame.tag == b'E' && GONE.contains(&frame.sqlstate().as_str()))
}

/// A terminated backend: its client hears `57P01`, another is unharmed.
#[tokio::test]
async fn a_terminated_backend_is_heard() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 3}\n").await;
    let (mut victim, mut other) = (proxy.wire().await, proxy.wire().await);
    let marker = unique("terminated");
    victim.send(&msg::query(&format!("SELECT pg_sleep(60) /* {marker} */"))).await;
    eventually("it runs", SOON, || async { stage.primary.logged(&marker) }).await;
    let pid =
        format!("SELECT pid FROM pg_stat_activity WHERE query LIKE '%{marker}%' AND pid <> pg_backend_pid()");
    stage.primary.sql(&format!("SELECT pg_terminate_backend(pid) FROM ({pid}) x")).await;
    let frames = victim.until(b'Z').await;
    assert!(told(&frames), "{}", pretty(&frames));
    for _ in 0..5 {
        assert_eq!(other.value("SELECT 1 FROM (SELECT random()) r").await, "1");
    }
    assert_eq!(proxy.wire().await.value("SELECT 1").await, "1");
}

/// A backend terminated while its client holds a transaction: the client hears it with its next statement.
#[tokio::test]
async fn a_lost_transaction_is_heard() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    wire.run("BEGIN").await;
    let pid = wire.value("SELECT pg_backend_pid()").await;
    stage.primary.sql(&format!("SELECT pg_terminate_backend({pid}, 5000)")).await;
    let sent = wire.try_send(&msg::query("SELECT 1")).await;
    let frames = wire.until(b'Z').await;
    assert!(told(&frames) || (sent.is_err() && frames.is_empty()), "{}", pretty(&frames));
    assert!(!frames.iter().any(|frame| frame.tag == b'D'), "the transaction is gone");
}

/// Idle clients do not notice that idle connections behind them died.
#[tokio::test]
async fn idle_clients_do_not_notice() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 2}\n").await;
    let mut wire = proxy.wire().await;
    for _ in 0..5 {
        let pid = wire.value("SELECT pg_backend_pid()").await;
        stage.primary.sql(&format!("SELECT pg_terminate_backend({pid}, 5000)")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_ne!(wire.value("SELECT pg_backend_pid()").await, pid);
    }
}

/// A crash of one backend restarts the server; clients wait or hear it, and go on.
#[tokio::test]
async fn a_crash_is_survived() {
    let stage = Stage::new().start().await;
    let proxy = stage.proxy("").await;
    let (mut victim, mut idle) = (proxy.wire().await, proxy.wire().await);
    idle.run("SELECT 1").await;
    let marker = unique("crashed");
    victim.send(&msg::query(&format!("SELECT pg_sleep(60) /* {marker} */"))).await;
    eventually("it runs", SOON, || async { stage.primary.logged(&marker) }).await;
    let query =
        format!("SELECT pid FROM pg_stat_activity WHERE query LIKE '%{marker}%' AND pid <> pg_backend_pid()");
    let pid = stage.primary.value(&query).await;
    stage.primary.kill_backend(pid.parse().expect("a pid"));
    let frames = victim.until(b'Z').await;
    assert!(told(&frames), "{}", pretty(&frames));
    let mut served = false;
    for _ in 0..100 {
        let frames = idle.query("SELECT 1 FROM (SELECT random()) r").await;
        if frames.iter().any(|frame| frame.tag == b'D') {
            served = true;
            break;
        }
        if frames.last().is_none_or(|frame| frame.tag != b'Z') {
            idle = proxy.wire().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(served, "the server is back but nobody is served");
}

/// A server that dies in the middle of a result: the client gets an error after the rows, or a closed
/// connection where a row was cut; never a false end.
#[tokio::test]
async fn a_result_cut_short_is_an_error() {
    let stage = Stage::new().start().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    wire.send(&msg::query("SELECT i, repeat('x', 1000) FROM generate_series(1, 1000000) i")).await;
    for _ in 0..1000 {
        wire.frame().await.expect("rows");
    }
    // The postmaster's death is not its backends': each is killed in the middle of whatever it sends.
    let query = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%generate_series(1, 1000000)%' \
                 AND pid <> pg_backend_pid()";
    let pid = stage.primary.value(query).await;
    stage.primary.kill_backend(pid.parse().expect("a pid"));
    let rest = wire.until(b'Z').await;
    assert!(!rest.iter().any(|frame| frame.tag == b'C'), "a false end");
    for row in rest.iter().filter(|frame| frame.tag == b'D') {
        let values = row.values();
        assert_eq!(values[1].as_deref().map(str::len), Some(1000), "a row with something else in it");
        assert!(values[1].as_deref().is_some_and(|text| text.bytes().all(|byte| byte == b'x')));
    }
    let closed = rest.last().is_none_or(|frame| frame.tag == b'D');
    assert!(closed || told(&rest), "{}", pretty(&rest[rest.len().saturating_sub(3)..]));
}

/// With the primary down clients hear it within their bounds; with it back they are served again.
#[tokio::test]
async fn a_stopped_primary_comes_back() {
    let stage = Stage::new().start().await;
    let pool = "pool: {size: 3, checkout_timeout: 1s, connect_timeout: 1s, login_retry_max: 300ms}\nfailover_wait: 2s\n";
    let proxy = stage.proxy(pool).await;
    let mut wire = proxy.wire().await;
    wire.run("SELECT 1").await;
    stage.primary.stop("KILL").await;
    let start = std::time::Instant::now();
    let frames = wire.query("SELECT 1 FROM (SELECT random()) r").await;
    assert!(frames.iter().any(|frame| frame.tag == b'E'), "{}", pretty(&frames));
    assert!(start.elapsed() < Duration::from_secs(8));
    stage.primary.start().await;
    let mut served = false;
    for _ in 0..100 {
        let mut fresh = proxy.wire().await;
        let frames = fresh.query("SELECT 1 FROM (SELECT random()) r").await;
        served = frames.iter().any(|frame| frame.tag == b'D');
        if served {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(served, "the primary is back but nobody is served");
}

/// A dead replica is left at once: no read fails, and when it is back it serves again.
#[tokio::test]
async fn a_dead_replica_is_left_at_once() {
    for name in ["KILL", "QUIT", "INT"] {
        let stage = Stage::new().replicas(1).start().await;
        let proxy = stage.proxy("").await;
        let mut wires: Vec<Wire> = Vec::new();
        for _ in 0..4 {
            wires.push(proxy.wire().await);
        }
        for wire in &mut wires {
            reads_reach_replica(&stage, wire).await;
        }
        stage.replica().stop(name).await;
        for number in 0..40 {
            for wire in &mut wires {
                assert_eq!(wire.value(&format!("SELECT {number}")).await, number.to_string(), "after {name}");
                assert_eq!(wire.extended_value("SELECT $1::int", &[Some("5")]).await, "5", "after {name}");
            }
        }
        stage.replica().start().await;
        reads_reach_replica(&stage, &mut wires[0]).await;
    }
}

/// A read that was not answered yet when its replica died is served elsewhere.
#[tokio::test]
async fn an_unanswered_read_is_served_elsewhere() {
    let stage = Stage::new().replicas(1).start().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    reads_reach_replica(&stage, &mut wire).await;
    // By itself, and with a parameter that is longer than most.
    for parameter in ["", &"x".repeat(200_000)] {
        reads_reach_replica(&stage, &mut wire).await;
        let marker = unique("in_flight");
        let slow =
            format!("SELECT length($1::text) + count(*) FROM generate_series(1, 4000000) a /* {marker} */");
        wire.send(&[msg::statement(&slow, &[Some(parameter)]), msg::sync()].concat()).await;
        eventually("the replica runs it", SOON, || async { stage.served_by(&marker) == "replica0" }).await;
        let query = format!(
            "SELECT pid FROM pg_stat_activity WHERE query LIKE '%{marker}%' AND pid <> pg_backend_pid()"
        );
        let pid = stage.replica().value(&query).await;
        stage.replica().kill_backend(pid.parse().expect("a pid"));
        let frames = wire.until(b'Z').await;
        let row = frames.iter().find(|frame| frame.tag == b'D');
        let row = row.unwrap_or_else(|| panic!("{}", pretty(&frames)));
        assert_eq!(row.values()[0], Some((4_000_000 + parameter.len()).to_string()));
    }
}

/// Kills the backend that runs a statement with this marker on the replica, as soon as it runs there.
async fn kill_on_replica(stage: &Stage, marker: &str) {
    eventually("the replica runs it", SOON, || async { stage.served_by(marker) == "replica0" }).await;
    let query =
        format!("SELECT pid FROM pg_stat_activity WHERE query LIKE '%{marker}%' AND pid <> pg_backend_pid()");
    let pid = stage.replica().value(&query).await;
    stage.replica().kill_backend(pid.parse().expect("a pid"));
}

/// The first values of all rows, and how many ends there were.
fn answers(frames: &[Frame]) -> (Vec<String>, usize) {
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    let values = rows.map(|row| row.values()[0].clone().unwrap_or_default()).collect();
    (values, frames.iter().filter(|frame| frame.tag == b'Z').count())
}

/// Of pipelined reads, what was not answered yet when their replica died is served elsewhere, in order; what was answered
/// is not answered twice.
#[tokio::test]
async fn unanswered_reads_of_a_pipeline_are_served_elsewhere() {
    let stage = Stage::new().replicas(1).start().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    for slow in 0..3 {
        reads_reach_replica(&stage, &mut wire).await;
        let marker = unique("piped");
        let mut asked = Vec::new();
        for number in 0..3 {
            let rows = if number == slow { 4_000_000 } else { 1 };
            let sql = format!("SELECT {number} + 0 * count(*) FROM generate_series(1, {rows}) a");
            let sql = if number == slow { format!("{sql} /* {marker} */") } else { sql };
            match number {
                1 => asked.extend(msg::query(&sql)),
                _ => asked.extend([msg::statement(&sql, &[]), msg::sync()].concat()),
            }
        }
        wire.send(&asked).await;
        kill_on_replica(&stage, &marker).await;
        let mut frames = Vec::new();
        for _ in 0..3 {
            frames.extend(wire.until(b'Z').await);
        }
        let want = ["0", "1", "2"].map(str::to_owned).to_vec();
        assert_eq!(answers(&frames), (want, 3), "{}", pretty(&frames));
        assert_eq!(stage.served_by(&marker), "primary+replica0");
    }
}

/// The first statement of a read-only transaction that was held back is asked again elsewhere, with its beginning; a later
/// one is not.
#[tokio::test]
async fn a_transaction_whose_first_read_is_unanswered_is_served_elsewhere() {
    let stage = Stage::new().replicas(1).start().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    for extended in [false, true] {
        reads_reach_replica(&stage, &mut wire).await;
        let marker = unique("first_in_flight");
        wire.run("BEGIN READ ONLY").await;
        let slow = format!("SELECT count(*) FROM generate_series(1, 4000000) a /* {marker} */");
        let ask = match extended {
            true => [msg::statement(&slow, &[]), msg::sync()].concat(),
            false => msg::query(&slow),
        };
        wire.send(&ask).await;
        kill_on_replica(&stage, &marker).await;
        let frames = wire.until(b'Z').await;
        assert_eq!(answers(&frames), (vec!["4000000".to_owned()], 1), "{}", pretty(&frames));
        assert_eq!(frames.last().expect("an end").body[..], b"T"[..]);
        assert_eq!(wire.value("SHOW transaction_read_only").await, "on");
        wire.run("COMMIT").await;
    }
    reads_reach_replica(&stage, &mut wire).await;
    let marker = unique("second_in_flight");
    wire.run("BEGIN READ ONLY").await;
    wire.run("SELECT 1").await;
    wire.send(&msg::query(&format!("SELECT count(*) FROM generate_series(1, 4000000) a /* {marker} */")))
        .await;
    kill_on_replica(&stage, &marker).await;
    let frames = wire.until(b'Z').await;
    assert!(told(&frames), "{}", pretty(&frames));
}

/// A replica that is down when the proxy starts is used once it is up.
#[tokio::test]
async fn a_late_replica_is_found() {
    let stage = Stage::new().replicas(1).start().await;
    stage.replica().stop("INT").await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    assert_eq!(wire.value("SELECT 1").await, "1");
    stage.replica().start().await;
    reads_reach_replica(&stage, &mut wire).await;
}
