//! Portals: row limits, names, suspension, and what ends them.
use pointsman_tests::{msg, pretty, tags};

use crate::common::{reads_reach_replica, shared, unique};

/// A row limit suspends a portal, which goes on where it stopped, inside a transaction across `Sync`s.
#[tokio::test]
async fn a_suspended_portal_goes_on() {
    let proxy = shared().await.proxy("pool: {size: 2}\n").await;
    let mut wire = proxy.wire().await;
    wire.run("BEGIN").await;
    let open =
        [msg::parse("", "SELECT generate_series(1, 10)"), msg::bind("p", "", &[]), msg::execute("p", 3)];
    let frames = wire.ask(&[open.concat(), msg::sync()].concat()).await;
    assert_eq!(tags(&frames), "12DDDsZ", "{}", pretty(&frames));
    wire.run("SELECT 1").await;
    let frames = wire.ask(&[msg::execute("p", 3), msg::sync()].concat()).await;
    assert_eq!(tags(&frames), "DDDsZ");
    assert_eq!(frames[0].values()[0].as_deref(), Some("4"));
    let frames = wire.ask(&[msg::execute("p", 0), msg::sync()].concat()).await;
    assert_eq!(tags(&frames), "DDDDCZ");
    wire.run("COMMIT").await;
    let frames = wire.ask(&[msg::execute("p", 0), msg::sync()].concat()).await;
    assert_eq!(frames[0].sqlstate(), "34000");
}

/// Outside a transaction a portal ends with `Sync`.
#[tokio::test]
async fn a_portal_ends_with_sync() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 1}\n").await;
    let mut wire = proxy.wire().await;
    reads_reach_replica(stage, &mut wire).await;
    let open = [msg::parse("", "SELECT generate_series(1, 10)"), msg::bind("", "", &[]), msg::execute("", 3)];
    let frames = wire.ask(&[open.concat(), msg::sync()].concat()).await;
    assert_eq!(tags(&frames), "12DDDsZ");
    let frames = wire.ask(&[msg::execute("", 3), msg::sync()].concat()).await;
    assert_eq!(frames[0].sqlstate(), "34000", "{}", pretty(&frames));
    let mut other = proxy.wire().await;
    assert_eq!(other.value("SELECT 1").await, "1");
}

/// Many portals are open at once and read in turns.
#[tokio::test]
async fn portals_are_read_in_turns() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let mut bytes = msg::statement("BEGIN", &[]);
    bytes.extend(msg::parse("s", "SELECT generate_series($1::int, 100)"));
    for (name, start) in [("a", "1"), ("b", "50")] {
        bytes.extend(msg::bind(name, "s", &[Some(start)]));
    }
    for _ in 0..2 {
        bytes.extend([msg::execute("a", 1), msg::execute("b", 1)].concat());
    }
    bytes.extend([msg::close_portal("a"), msg::describe_portal("b"), msg::sync()].concat());
    let frames = wire.ask(&bytes).await;
    assert_eq!(tags(&frames), "12nC122DsDsDsDs3TZ", "{}", pretty(&frames));
    let rows: Vec<_> =
        frames.iter().filter(|frame| frame.tag == b'D').map(|row| row.values()[0].clone()).collect();
    let want: Vec<_> = ["1", "50", "2", "51"].map(|text| Some(text.to_owned())).into();
    assert_eq!(rows, want);
    let frames = wire.ask(&[msg::execute("a", 1), msg::sync()].concat()).await;
    assert_eq!(frames[0].sqlstate(), "34000");
    wire.run("ROLLBACK").await;
}

/// A cursor of SQL and a portal of the protocol are one thing.
#[tokio::test]
async fn cursors_are_portals() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    wire.run("BEGIN").await;
    wire.run("DECLARE c CURSOR FOR SELECT generate_series(1, 5)").await;
    assert_eq!(wire.value("FETCH c").await, "1");
    let frames = wire.ask(&[msg::execute("c", 1), msg::sync()].concat()).await;
    assert_eq!(tags(&frames), "DsZ", "{}", pretty(&frames));
    assert_eq!(frames[0].values()[0].as_deref(), Some("2"));
    let frames = wire.run("MOVE 2 IN c").await;
    assert_eq!(frames[0].text(), "MOVE 2");
    assert_eq!(wire.value("FETCH c").await, "5");
    wire.run("ROLLBACK").await;
}

/// Writes with a row limit are whole, as PostgreSQL makes them.
#[tokio::test]
async fn a_write_with_a_row_limit_is_whole() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let table = unique("returned");
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    let sql = format!("INSERT INTO {table} SELECT generate_series(1, 5) RETURNING id");
    let open =
        [msg::parse("", &sql), msg::bind("", "", &[]), msg::execute("", 2), msg::execute("", 0), msg::sync()];
    let frames = wire.ask(&open.concat()).await;
    assert_eq!(tags(&frames), "12DDsDDDCZ", "{}", pretty(&frames));
    assert_eq!(wire.value(&format!("SELECT count(*) FROM {table}")).await, "5");
}
