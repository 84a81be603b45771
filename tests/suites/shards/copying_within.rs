//! COPY joins a transaction over several shards: it is undone with it, sees its rows, and fails it.
use pointsman_tests::{Frame, Proxy, Stage, Wire, msg, pretty};

use super::copying::{copy_in, copy_out, lines};
use super::seen::{column, everywhere};
use super::world::{self, World};

async fn setting() -> (Stage, Proxy, Wire) {
    let stage = world::empty(Stage::new().shards(4)).await;
    let proxy = world::proxy(&stage, "").await;
    let wire = world::social(&proxy).await;
    (stage, proxy, wire)
}

const IN: &str = "COPY agents (id, name) FROM STDIN";
const OUT: &str = "COPY agents (id, name) TO STDOUT";

fn rows(ids: std::ops::Range<i64>) -> String {
    ids.map(|id| format!("{id}\tname\n")).collect()
}

async fn ids(stage: &Stage) -> usize {
    everywhere(&mut world::parts(stage).await, "SELECT id FROM agents").await.len()
}

fn state(frames: &[Frame]) -> &[u8] {
    &frames.last().expect("an answer").body
}

/// ROLLBACK undoes it on every shard, COMMIT keeps it on every shard; until then only the transaction sees it.
#[tokio::test]
async fn it_is_part_of_the_transaction() {
    let (stage, _proxy, mut wire) = setting().await;
    for (end, want) in [("ROLLBACK", 0), ("COMMIT", 101)] {
        wire.run("BEGIN").await;
        wire.run("INSERT INTO agents (id, name) VALUES (1000, 'before')").await;
        let frames = copy_in(&mut wire, IN, rows(0..100).as_bytes(), 50).await;
        assert_eq!(frames[0].text(), "COPY 100", "{}", pretty(&frames));
        assert_eq!(state(&frames), b"T");
        assert_eq!(wire.value("SELECT count(*) FROM agents").await, "101");
        let data = lines(&copy_out(&mut wire, OUT).await);
        assert_eq!((data.len(), data.contains(&"1000\tbefore".to_owned())), (101, true));
        assert_eq!(ids(&stage).await, 0, "nobody else sees it");
        wire.run(end).await;
        assert_eq!(ids(&stage).await, want, "after {end}");
        let prepared = column(&mut world::whole(&stage).await, "SELECT gid FROM pg_prepared_xacts").await;
        assert_eq!(prepared, Vec::<String>::new(), "after {end}");
    }
}

/// What fails it fails the transaction, and a savepoint before it can be returned to.
#[tokio::test]
async fn a_failure_fails_the_transaction() {
    let (stage, _proxy, mut wire) = setting().await;
    wire.run("BEGIN").await;
    wire.run("INSERT INTO agents (id, name) VALUES (7, 'before')").await;
    wire.run("SAVEPOINT a").await;
    let cases = [("7\ttwice\n", "23505"), ("word\tx\n", "22P02"), ("200\n", "22P04")];
    for (last, want) in cases {
        let data = format!("{}{last}", rows(100..150));
        let frames = copy_in(&mut wire, IN, data.as_bytes(), 50).await;
        let error = frames.iter().find(|frame| frame.tag == b'E');
        assert_eq!(error.map(Frame::sqlstate).as_deref(), Some(want), "{}", pretty(&frames));
        assert_eq!(state(&frames), b"E", "{want}");
        assert_eq!(wire.error("SELECT 1").await, "25P02");
        assert_eq!(wire.error(OUT).await, "25P02");
        wire.run("ROLLBACK TO a").await;
        assert_eq!(wire.value("SELECT count(*) FROM agents").await, "1");
    }
    wire.send(&msg::query(IN)).await;
    wire.send(&msg::copy_data(rows(0..5).as_bytes())).await;
    wire.frame().await;
    let frames = wire.ask(&msg::copy_fail("changed my mind")).await;
    assert_eq!((frames[0].sqlstate().as_str(), state(&frames)), ("57014", &b"E"[..]), "{}", pretty(&frames));
    wire.run("ROLLBACK TO a").await;
    assert_eq!(wire.error("COPY agents (id, nothing) FROM STDIN").await, "42703");
    wire.run("ROLLBACK TO a").await;
    let frames = copy_in(&mut wire, IN, rows(20..30).as_bytes(), 50).await;
    assert_eq!(frames[0].text(), "COPY 10", "{}", pretty(&frames));
    wire.run("RELEASE a").await;
    wire.run("COMMIT").await;
    assert_eq!(ids(&stage).await, 11);
}

/// A table that is whole on every shard, and one that is on the first, inside of a transaction and outside.
#[tokio::test]
async fn other_tables_are_copied_where_they_are() {
    let (stage, _proxy, mut wire) = setting().await;
    let mut parts = world::parts(&stage).await;
    for (number, begin, end) in [(0, "", ""), (1, "BEGIN", "COMMIT"), (2, "BEGIN", "ROLLBACK")] {
        if !begin.is_empty() {
            wire.run(begin).await;
            wire.run("INSERT INTO agents (id) VALUES (1), (2) ON CONFLICT DO NOTHING").await;
        }
        for table in ["communities", "notes"] {
            let data = format!("{number}0\n{number}1\n{number}2\n");
            let frames =
                copy_in(&mut wire, &format!("COPY {table} (id) FROM STDIN"), data.as_bytes(), 4).await;
            assert_eq!(frames[0].text(), "COPY 3", "{table}: {}", pretty(&frames));
            let back = lines(&copy_out(&mut wire, &format!("COPY {table} (id) TO STDOUT")).await);
            assert_eq!(back.len(), 3 * (number + 1), "{table}: {back:?}");
        }
        if !end.is_empty() {
            wire.run(end).await;
        }
    }
    let notes = everywhere(&mut parts, "SELECT id FROM notes").await;
    assert_eq!(notes.len(), 6);
    let communities = everywhere(&mut parts, "SELECT id FROM communities").await;
    assert_eq!(communities.len(), 6 * parts.len());
}

/// A client that leaves in the middle takes all of it along.
#[tokio::test]
async fn a_client_that_leaves_undoes_it() {
    let (stage, proxy, mut wire) = setting().await;
    World::new(&stage).await.reset().await;
    let before = ids(&stage).await;
    wire.run("BEGIN").await;
    wire.run("DELETE FROM agents").await;
    wire.send(&msg::query(IN)).await;
    wire.frame().await;
    wire.send(&msg::copy_data(rows(100..200).as_bytes())).await;
    drop(wire);
    assert_eq!(ids(&stage).await, before);
    // Its locks are gone.
    let mut other = world::social(&proxy).await;
    other.run("UPDATE agents SET name = 'after'").await;
}
