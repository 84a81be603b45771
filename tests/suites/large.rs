//! Values of any size pass through in bounded memory.
use pointsman_tests::{Proxy, msg};

use crate::common::{shared, unique};

const MIB: usize = 1 << 20;

/// How far the proxy's memory may rise above where it stood, in KiB.
const RISE_KIB_MAX: u64 = 16 * 1024;

fn has_not_grown(proxy: &Proxy, before: u64) {
    let after = proxy.rss_kib();
    assert!(after < before + RISE_KIB_MAX, "memory rose from {before} to {after} KiB");
}

/// A 200 MB row does not grow the proxy by more than a few buffers, even when its client reads slowly.
#[tokio::test]
async fn a_huge_row_is_streamed() {
    let proxy = shared().await.proxy("pool: {size: 2}\n").await;
    let mut client = proxy.wire().await;
    client.run("SELECT 1").await;
    let before = proxy.rss_kib();
    client.send(&msg::query("SELECT repeat('x', 200000000), 1")).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    has_not_grown(&proxy, before);
    let mut other = proxy.wire().await;
    assert_eq!(other.value("SELECT 2").await, "2");
    let frames = client.until(b'Z').await;
    has_not_grown(&proxy, before);
    let row = frames.iter().find(|frame| frame.tag == b'D').expect("a row");
    assert_eq!(row.body.len(), 2 + 4 + 200_000_000 + 4 + 1);
    assert!(row.body[6..200_000_006].iter().all(|byte| *byte == b'x'));
}

/// A large parameter goes in without the proxy holding more than a few copies' worth of it.
#[tokio::test]
async fn a_large_parameter_goes_in() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let table = unique("large");
    wire.run(&format!("CREATE TABLE {table} (body bytea)")).await;
    wire.run(&format!("ALTER TABLE {table} ALTER body SET STORAGE EXTERNAL")).await;
    let value = vec![b'y'; 20 * MIB];
    let bytes = [
        msg::parse("", &format!("INSERT INTO {table} VALUES ($1)")),
        msg::bind_with("", "", &[Some(&value)], [&[1], &[]]),
        msg::execute("", 0),
        msg::sync(),
    ];
    for _ in 0..3 {
        let frames = wire.ask(&bytes.concat()).await;
        assert!(frames.iter().any(|frame| frame.tag == b'C' && frame.text() == "INSERT 0 1"));
    }
    let total = wire.value(&format!("SELECT sum(length(body)) FROM {table}")).await;
    assert_eq!(total, (60 * MIB).to_string());
}

/// A large text of a simple query goes in.
#[tokio::test]
async fn a_large_query_goes_in() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let sql = format!("SELECT length('{}') /* large */", "z".repeat(5 * MIB));
    assert_eq!(wire.value(&sql).await, (5 * MIB).to_string());
}

/// Many rows to a client that does not read stop at the server, not in the proxy's memory.
#[tokio::test]
async fn a_client_that_does_not_read_is_not_buffered() {
    let proxy = shared().await.proxy("pool: {size: 2}\n").await;
    let mut lazy = proxy.wire().await;
    lazy.run("SELECT 1").await;
    let before = proxy.rss_kib();
    lazy.send(&msg::query("SELECT repeat('x', 10000) FROM generate_series(1, 50000)")).await;
    tokio::time::sleep(std::time::Duration::from_millis(1000)).await;
    has_not_grown(&proxy, before);
    let mut rows = 0;
    while let Some(frame) = lazy.frame().await {
        rows += usize::from(frame.tag == b'D');
        if frame.tag == b'Z' {
            break;
        }
    }
    assert_eq!(rows, 50000);
}

/// A large COPY in is streamed.
#[tokio::test]
async fn a_large_copy_in_is_streamed() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    let table = unique("large");
    wire.run(&format!("CREATE UNLOGGED TABLE {table} (body text)")).await;
    let before = proxy.rss_kib();
    wire.send(&msg::query(&format!("COPY {table} FROM STDIN"))).await;
    wire.frame().await;
    let line = [vec![b'w'; MIB], b"\n".to_vec()].concat();
    let message = msg::copy_data(&line);
    for _ in 0..64 {
        wire.send(&message).await;
    }
    has_not_grown(&proxy, before);
    let frames = wire.ask(&msg::copy_done()).await;
    assert_eq!(frames[0].text(), "COPY 64");
}
