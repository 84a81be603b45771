//! COPY deals rows out as they stream in, and gathers them as they stream out.
use pointsman_tests::{Frame, Proxy, Stage, Wire, msg, pretty};

use super::seen::{column, everywhere};
use super::world::{self, shard_of};

async fn setting() -> (Stage, Proxy, Wire) {
    let stage = world::empty(Stage::new().shards(4)).await;
    let proxy = world::proxy(&stage, "").await;
    let wire = world::social(&proxy).await;
    (stage, proxy, wire)
}

/// Sends data in pieces of so many bytes, which end in the middle of rows; the answer.
pub(super) async fn copy_in(wire: &mut Wire, sql: &str, data: &[u8], piece: usize) -> Vec<Frame> {
    wire.send(&msg::query(sql)).await;
    let frame = wire.frame().await.expect("an answer");
    assert_eq!(frame.tag, b'G', "{sql}: {frame}");
    for piece in data.chunks(piece) {
        wire.send(&msg::copy_data(piece)).await;
    }
    wire.ask(&msg::copy_done()).await
}

/// All the data that a `COPY ... TO` gives.
pub(super) async fn copy_out(wire: &mut Wire, sql: &str) -> Vec<u8> {
    let frames = wire.run(sql).await;
    frames.iter().filter(|frame| frame.tag == b'd').flat_map(|frame| frame.body.to_vec()).collect()
}

pub(super) fn lines(data: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = String::from_utf8_lossy(data).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// What the shards hold is what the whole holds, each row where it belongs.
async fn same_as_whole(stage: &Stage, sql: &str) {
    let mut parts = world::parts(stage).await;
    for (number, part) in parts.iter_mut().enumerate() {
        for id in column(part, "SELECT id FROM agents").await {
            let shard = shard_of(id.parse().expect("an id"), 4);
            assert!(Proxy::is_direct() || shard == number, "{id} is on {number}");
        }
    }
    let mut want = column(&mut world::whole(stage).await, sql).await;
    want.sort();
    assert_eq!(everywhere(&mut parts, sql).await, want);
}

const ROW: &str = "SELECT agents::text FROM agents";

/// All rows of a reference table are on every shard, and are counted once.
#[tokio::test]
async fn a_reference_table_is_copied_to_every_shard() {
    let (stage, _proxy, mut wire) = setting().await;
    for (sql, data, piece) in [
        ("COPY communities (id, name) FROM STDIN", &b"1\tone\n2\ttwo\n3\tthree\n"[..], 4),
        ("COPY communities (id, name) FROM STDIN (FORMAT csv, HEADER)", b"id,name\n4,four\n5,five\n", 7),
    ] {
        let frames = copy_in(&mut wire, sql, data, piece).await;
        assert!(frames.iter().all(|frame| frame.tag != b'E'), "{}", pretty(&frames));
        let rows = if data.starts_with(b"id") { 2 } else { 3 };
        let done = frames.iter().find(|frame| frame.tag == b'C').expect("an end");
        assert_eq!(done.body, format!("COPY {rows}\0").as_bytes(), "{sql}");
    }
    let sql = "SELECT id || name FROM communities ORDER BY id";
    for part in &mut world::parts(&stage).await {
        assert_eq!(column(part, sql).await, ["1one", "2two", "3three", "4four", "5five"]);
    }
    // One shard refuses a row, and nothing is anywhere.
    world::parts(&stage).await[2].run("INSERT INTO communities (id, name) VALUES (6, 'six')").await;
    let frames =
        copy_in(&mut wire, "COPY communities (id, name) FROM STDIN", b"7\tseven\n6\tsix\n", 64).await;
    assert!(frames.iter().any(|frame| frame.tag == b'E'), "{}", pretty(&frames));
    assert_eq!(column(&mut world::parts(&stage).await[0], sql).await.len(), 5);
}

/// Text: escapes, NULLs, other delimiters, other orders of columns.
#[tokio::test]
async fn text_is_dealt_out() {
    let (stage, _proxy, mut wire) = setting().await;
    let mut whole = world::whole(&stage).await;
    let mut plain = String::new();
    for id in -5..200 {
        plain.push_str(&format!("{id}\ta\\tb\\nc\\\\{id}\t\\N\n"));
    }
    let other: String = (300..340).map(|id| format!("x|nil|{id}\n")).collect();
    let escaped = "\\x61\t4\\x30\\0601\nb\t402\n\\.\n".to_owned();
    let cases = [
        ("COPY agents (id, name, active) FROM STDIN", plain, 205),
        ("COPY agents (name, active, id) FROM STDIN (DELIMITER '|', NULL 'nil')", other, 40),
        ("COPY agents (name, id) FROM STDIN", escaped, 2),
    ];
    for (sql, data, count) in cases {
        for (wire, piece) in [(&mut whole, 8000), (&mut wire, 7)] {
            let frames = copy_in(wire, sql, data.as_bytes(), piece).await;
            assert_eq!(frames[0].tag, b'C', "{sql}: {}", pretty(&frames));
            assert_eq!(frames[0].text(), format!("COPY {count}"), "{sql}");
        }
        same_as_whole(&stage, ROW).await;
    }
}

/// CSV: quotes, line ends within them, a header.
#[tokio::test]
async fn csv_is_dealt_out() {
    let (stage, _proxy, mut wire) = setting().await;
    let mut whole = world::whole(&stage).await;
    let mut data = "name,id\n".to_owned();
    for id in 0..100 {
        data.push_str(&format!("\"a, \"\"b\"\"\nc {id}\",{id}\n"));
    }
    data.push_str(",200\n\"\",\"201\"\r\n".trim_end_matches('\n').trim_end_matches('\r'));
    data.push('\n');
    for (wire, piece) in [(&mut whole, 8000), (&mut wire, 5)] {
        let sql = "COPY agents (name, id) FROM STDIN (FORMAT csv, HEADER)";
        let frames = copy_in(wire, sql, data.as_bytes(), piece).await;
        assert_eq!(frames[0].tag, b'C', "{}", pretty(&frames));
        assert_eq!(frames[0].text(), "COPY 102");
    }
    same_as_whole(&stage, ROW).await;
}

/// Binary, and out again in each format: headers and trailers once.
#[tokio::test]
async fn binary_and_back() {
    let (stage, _proxy, mut wire) = setting().await;
    let mut whole = world::whole(&stage).await;
    let sql = "INSERT INTO agents (id, name, marks) SELECT i, 'n' || i, ARRAY[i, NULL] FROM generate_series(-9, 300) i";
    whole.run(sql).await;
    let data = copy_out(&mut whole, "COPY agents TO STDOUT (FORMAT binary)").await;
    let frames = copy_in(&mut wire, "COPY agents FROM STDIN (FORMAT binary)", &data, 11).await;
    assert_eq!(frames[0].tag, b'C', "{}", pretty(&frames));
    assert_eq!(frames[0].text(), "COPY 310");
    same_as_whole(&stage, ROW).await;
    for format in ["", " (FORMAT csv, HEADER)"] {
        let sql = format!("COPY agents TO STDOUT{format}");
        assert_eq!(
            lines(&copy_out(&mut wire, &sql).await),
            lines(&copy_out(&mut whole, &sql).await),
            "{sql}"
        );
    }
    let again = copy_out(&mut wire, "COPY agents TO STDOUT (FORMAT binary)").await;
    assert_eq!(again.len(), data.len(), "one header and one trailer");
    wire.run("DELETE FROM agents").await;
    let frames = copy_in(&mut wire, "COPY agents FROM STDIN (FORMAT binary)", &again, 8000).await;
    assert_eq!(frames[0].text(), "COPY 310", "{}", pretty(&frames));
    same_as_whole(&stage, ROW).await;
}

/// A query's rows are gathered in its order, or it is refused.
#[tokio::test]
async fn a_query_is_gathered() {
    let (stage, _proxy, mut wire) = setting().await;
    let mut whole = world::whole(&stage).await;
    let rows: String = (0..50).map(|id| format!("{id}\tn{}\n", id % 7)).collect();
    for wire in [&mut whole, &mut wire] {
        copy_in(wire, "COPY agents (id, name) FROM STDIN", rows.as_bytes(), 100).await;
    }
    let sql = "COPY (SELECT name, id FROM agents WHERE id > 5 ORDER BY name DESC, id LIMIT 20) TO STDOUT";
    let frames = wire.query(sql).await;
    if frames.iter().any(|frame| frame.tag == b'E') {
        assert_eq!(frames[0].sqlstate(), "0A000", "{}", pretty(&frames));
        return;
    }
    assert_eq!(copy_out(&mut wire, sql).await, copy_out(&mut whole, sql).await);
}

/// Wrong data and a client's change of mind undo the copy on every shard.
#[tokio::test]
async fn failures_undo_it_everywhere() {
    let (stage, _proxy, mut wire) = setting().await;
    let mut parts = world::parts(&stage).await;
    let rows: String = (0..100).map(|id| format!("{id}\tname\n")).collect();
    let cases = [(format!("{rows}7\ttwice\n"), "23505"), (format!("{rows}word\tx\n"), "22P02")];
    let short = format!("{rows}101\n");
    for (data, state) in cases.into_iter().chain([(short, "22P04")]) {
        let frames = copy_in(&mut wire, "COPY agents (id, name) FROM STDIN", data.as_bytes(), 50).await;
        let error = frames.iter().find(|frame| frame.tag == b'E');
        assert_eq!(error.map(Frame::sqlstate).as_deref(), Some(state), "{}", pretty(&frames));
        assert_eq!(everywhere(&mut parts, "SELECT id FROM agents").await, Vec::<String>::new());
    }
    wire.send(&msg::query("COPY agents (id, name) FROM STDIN")).await;
    wire.send(&msg::copy_data(rows.as_bytes())).await;
    wire.frame().await;
    let frames = wire.ask(&msg::copy_fail("changed my mind")).await;
    assert_eq!(frames[0].sqlstate(), "57014", "{}", pretty(&frames));
    assert_eq!(everywhere(&mut parts, "SELECT id FROM agents").await, Vec::<String>::new());
    let frames = copy_in(&mut wire, "COPY agents (id, name) FROM STDIN", rows.as_bytes(), 50).await;
    assert_eq!(frames[0].text(), "COPY 100");
}
