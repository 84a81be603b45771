//! COPY streams in both directions and ends as PostgreSQL ends it.
use pointsman_tests::{Wire, msg, pretty, tags};

use crate::common::{reads_reach_replica, shared, unique};

async fn copy_in(wire: &mut Wire, table: &str) {
    wire.send(&msg::query(&format!("COPY {table} FROM STDIN"))).await;
    let frame = wire.frame().await.expect("an answer");
    assert_eq!(frame.tag, b'G', "{frame}");
}

/// Rows go in and come out, in text and in binary.
#[tokio::test]
async fn rows_go_in_and_out() {
    let stage = shared().await;
    let proxy = stage.proxy("pool: {size: 1}\n").await;
    let mut wire = proxy.wire().await;
    let table = unique("copy");
    wire.run(&format!("CREATE TABLE {table} (id int, note text)")).await;
    copy_in(&mut wire, &table).await;
    for number in 0..1000 {
        wire.send(&msg::copy_data(format!("{number}\tnote {number}\n").as_bytes())).await;
    }
    let frames = wire.ask(&msg::copy_done()).await;
    assert_eq!(frames[0].text(), "COPY 1000", "{}", pretty(&frames));
    let frames = wire.query(&format!("COPY (SELECT * FROM {table} ORDER BY id) TO STDOUT")).await;
    assert_eq!(frames[0].tag, b'H');
    assert_eq!(frames.iter().filter(|frame| frame.tag == b'd').count(), 1000);
    assert_eq!(&frames[1].body[..], b"0\tnote 0\n");
    assert_eq!(tags(&frames[1001..]), "cCZ");
    let binary = wire.query(&format!("COPY {table} TO STDOUT (FORMAT binary)")).await;
    let data: Vec<u8> =
        binary.iter().filter(|frame| frame.tag == b'd').flat_map(|frame| frame.body.to_vec()).collect();
    assert!(data.starts_with(b"PGCOPY\n"));
    wire.run(&format!("TRUNCATE {table}")).await;
    wire.send(&msg::query(&format!("COPY {table} FROM STDIN (FORMAT binary)"))).await;
    wire.frame().await;
    wire.send(&msg::copy_data(&data)).await;
    let frames = wire.ask(&msg::copy_done()).await;
    assert_eq!(frames[0].text(), "COPY 1000");
}

/// `CopyFail` and wrong data undo the copy; the connection goes on.
#[tokio::test]
async fn failures_undo_the_copy() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let mut wire = proxy.wire().await;
    let table = unique("copy");
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    copy_in(&mut wire, &table).await;
    wire.send(&msg::copy_data(b"1\n")).await;
    let frames = wire.ask(&msg::copy_fail("changed my mind")).await;
    assert_eq!(frames[0].sqlstate(), "57014");
    assert!(frames[0].field('M').contains("changed my mind"));
    copy_in(&mut wire, &table).await;
    wire.send(&msg::copy_data(b"1\nwrong\n")).await;
    wire.send(&msg::copy_data(b"2\n").repeat(50)).await;
    let frames = wire.ask(&msg::copy_done()).await;
    assert_eq!(frames[0].sqlstate(), "22P02", "{}", pretty(&frames));
    assert_eq!(wire.value(&format!("SELECT count(*) FROM {table}")).await, "0");
}

/// Messages that COPY does not allow end it with PostgreSQL's error; `Sync` and `Flush` are let pass.
#[tokio::test]
async fn other_messages_during_copy() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let mut wire = proxy.wire().await;
    let table = unique("copy");
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    copy_in(&mut wire, &table).await;
    wire.send(&[msg::sync(), msg::flush(), msg::copy_data(b"5\n")].concat()).await;
    let frames = wire.ask(&msg::copy_done()).await;
    assert_eq!(tags(&frames), "CZ", "{}", pretty(&frames));
    copy_in(&mut wire, &table).await;
    wire.send(&[msg::copy_data(b"6\n"), msg::query("SELECT 1")].concat()).await;
    let frames = wire.until_closed().await;
    assert_eq!(frames[0].sqlstate(), "08P01", "{}", pretty(&frames));
    let mut wire = proxy.wire().await;
    assert_eq!(wire.value(&format!("SELECT count(*) FROM {table}")).await, "1");
}

/// Data sent after the server has refused the copy is skipped, not taken for something else.
#[tokio::test]
async fn data_after_an_error_is_skipped() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let data = msg::copy_data(b"1\n").repeat(20);
    let frames =
        wire.ask(&[msg::query("COPY no_such_table FROM STDIN"), data, msg::copy_done()].concat()).await;
    assert_eq!(tags(&frames), "EZ", "{}", pretty(&frames));
    assert_eq!(wire.value("SELECT 1").await, "1");
}

/// COPY by the extended protocol, where `Sync` follows the data.
#[tokio::test]
async fn copy_by_the_extended_protocol() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let table = unique("copy");
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    wire.send(&[msg::statement(&format!("COPY {table} FROM STDIN"), &[]), msg::flush()].concat()).await;
    assert_eq!(tags(&wire.frames(4).await), "12nG");
    let frames = wire.ask(&[msg::copy_data(b"1\n2\n"), msg::copy_done(), msg::sync()].concat()).await;
    assert_eq!(tags(&frames), "CZ", "{}", pretty(&frames));
    let frames =
        wire.ask(&[msg::statement(&format!("COPY {table} TO STDOUT"), &[]), msg::sync()].concat()).await;
    assert_eq!(tags(&frames), "12nHddcCZ", "{}", pretty(&frames));
    // The whole copy in one write, as pipelining drivers send it.
    let whole = [
        msg::statement(&format!("COPY {table} FROM STDIN"), &[]),
        msg::copy_data(b"3\n"),
        msg::copy_done(),
        msg::sync(),
        msg::query(&format!("SELECT count(*) FROM {table}")),
    ];
    let frames = wire.ask(&whole.concat()).await;
    assert_eq!(tags(&frames), "12nGCZ", "{}", pretty(&frames));
    assert_eq!(wire.until(b'Z').await[1].values()[0].as_deref(), Some("3"));
}

/// Several copies in one query, and a copy among other statements.
#[tokio::test]
async fn copies_in_one_query() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let table = unique("copy");
    wire.run(&format!("CREATE TABLE {table} (id int)")).await;
    let sql = format!("COPY {table} FROM STDIN; SELECT count(*) FROM {table}; COPY {table} FROM STDIN");
    wire.send(&msg::query(&sql)).await;
    assert_eq!(tags(&wire.frames(1).await), "G");
    wire.send(&[msg::copy_data(b"1\n"), msg::copy_done()].concat()).await;
    assert_eq!(tags(&wire.frames(5).await), "CTDCG");
    let frames = wire.ask(&[msg::copy_data(b"2\n"), msg::copy_done()].concat()).await;
    assert_eq!(tags(&frames), "CZ");
    assert_eq!(wire.value(&format!("SELECT count(*) FROM {table}")).await, "2");
}

/// A client that leaves in the middle of a copy leaves neither rows nor a stuck connection.
#[tokio::test]
async fn a_client_gone_in_a_copy() {
    let proxy = shared().await.proxy("pool: {size: 1}\n").await;
    let table = unique("copy");
    proxy.wire().await.run(&format!("CREATE TABLE {table} AS SELECT generate_series(1, 200000) AS id")).await;
    for sql in [format!("COPY {table} FROM STDIN"), format!("COPY {table} TO STDOUT")] {
        let mut wire = proxy.wire().await;
        wire.send(&msg::query(&sql)).await;
        wire.frame().await;
        if sql.contains("FROM") {
            wire.send(&msg::copy_data(b"1\n")).await;
        }
        drop(wire);
        let mut next = proxy.wire().await;
        assert_eq!(next.value(&format!("SELECT count(*) FROM {table}")).await, "200000", "{sql}");
    }
}

/// Large copies out are streamed whole, from a replica too.
#[tokio::test]
async fn a_large_copy_out_is_whole() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    reads_reach_replica(stage, &mut wire).await;
    wire.send(&msg::query("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000)) TO STDOUT")).await;
    let mut rows = 0;
    while let Some(frame) = wire.frame().await {
        rows += usize::from(frame.tag == b'd' && frame.body.len() == 1001);
        if frame.tag == b'Z' {
            break;
        }
    }
    assert_eq!(rows, 20000);
}
