//! An `INSERT` of many rows is dealt out, and looks as if it were not.
use pointsman_tests::{Proxy, Stage, Wire, msg, pretty};

use super::seen::{column, everywhere};
use super::world::{self, World};

async fn setting() -> (Stage, Proxy, Wire) {
    let stage = world::empty(Stage::new().shards(4)).await;
    let proxy = world::proxy(&stage, "").await;
    let wire = world::social(&proxy).await;
    (stage, proxy, wire)
}

/// `RETURNING` has the rows in the order given, and the count is all of them; each is where it belongs.
#[tokio::test]
async fn rows_come_back_in_order() {
    let (stage, _proxy, mut wire) = setting().await;
    let ids: Vec<i64> = (0..40).map(|number| number * 37 % 101 - 20).collect();
    let rows: Vec<String> = ids.iter().map(|id| format!("({id}, 'agent {id}')")).collect();
    let frames = wire
        .run(&format!("INSERT INTO agents (id, name) VALUES {} RETURNING id, name", rows.join(", ")))
        .await;
    let got: Vec<_> = frames.iter().filter(|frame| frame.tag == b'D').map(|frame| frame.values()).collect();
    let want: Vec<_> = ids.iter().map(|id| vec![Some(id.to_string()), Some(format!("agent {id}"))]).collect();
    assert_eq!(got, want);
    assert!(frames.iter().any(|frame| frame.tag == b'C' && frame.text() == "INSERT 0 40"));
    for (number, part) in world::parts(&stage).await.iter_mut().enumerate() {
        for id in column(part, "SELECT id FROM agents").await {
            let shard = world::shard_of(id.parse().expect("an id"), 4);
            assert!(Proxy::is_direct() || shard == number, "{id} is on {number}");
        }
    }
    let frames = wire.run("INSERT INTO agents (name, id) VALUES ('a', 501), ('b', 502), ('c', 505)").await;
    assert_eq!(frames[0].text(), "INSERT 0 3");
}

/// Rows of parameters, in text and in binary, bound twice.
#[tokio::test]
async fn rows_of_parameters() {
    let (stage, _proxy, mut wire) = setting().await;
    let sql = "INSERT INTO agents (id, name) VALUES ($1, 'x'), ($2, $4), ($3, 'z') RETURNING id, name";
    wire.ask(&[msg::parse("s", sql), msg::sync()].concat()).await;
    for first in [10_i64, 20] {
        let ids: Vec<Vec<u8>> = (first..first + 3).map(|id| id.to_be_bytes().to_vec()).collect();
        let values = [Some(&ids[0][..]), Some(&ids[1]), Some(&ids[2]), Some(b"y")];
        let bind = msg::bind_with("", "s", &values, [&[1, 1, 1, 0], &[0]]);
        let frames = wire.ask(&[bind, msg::execute("", 0), msg::sync()].concat()).await;
        let got: Vec<_> =
            frames.iter().filter(|frame| frame.tag == b'D').map(|frame| frame.values()).collect();
        let row = |id: i64, name: &str| vec![Some(id.to_string()), Some(name.to_owned())];
        assert_eq!(got, [row(first, "x"), row(first + 1, "y"), row(first + 2, "z")], "{}", pretty(&frames));
    }
    let mut parts = world::parts(&stage).await;
    assert_eq!(everywhere(&mut parts, "SELECT id FROM agents").await, ["10", "11", "12", "20", "21", "22"]);
}

/// A row that fails keeps all others out, on every shard.
#[tokio::test]
async fn all_or_nothing() {
    let (stage, _proxy, mut wire) = setting().await;
    wire.run("INSERT INTO agents (id) VALUES (3)").await;
    let mut parts = world::parts(&stage).await;
    assert_eq!(wire.error("INSERT INTO agents (id) VALUES (0), (1), (2), (3)").await, "23505");
    let sql = "INSERT INTO agents (id, score) VALUES (4, 1), (5, 123456789012)";
    assert_eq!(wire.error(sql).await, "22003");
    assert_eq!(everywhere(&mut parts, "SELECT id FROM agents").await, ["3"]);
    assert_eq!(everywhere(&mut parts, "SELECT gid FROM pg_prepared_xacts").await, Vec::<String>::new());
    wire.run("INSERT INTO agents (id) VALUES (0), (1), (2)").await;
    assert_eq!(everywhere(&mut parts, "SELECT id FROM agents").await, ["0", "1", "2", "3"]);
}

/// A row without a key, or with none that can be told, goes nowhere.
#[tokio::test]
async fn a_row_needs_its_key() {
    let (stage, _proxy, mut wire) = setting().await;
    let statements = [
        "INSERT INTO agents (name) VALUES ('nobody')",
        "INSERT INTO agents (id) VALUES (NULL)",
        "INSERT INTO agents (id) VALUES (1), (NULL)",
        "INSERT INTO agents DEFAULT VALUES",
        "INSERT INTO agents (id) VALUES ('word')",
    ];
    for sql in statements {
        let state = wire.error(sql).await;
        assert!(["23502", "22P02", "0A000"].contains(&state.as_str()), "{sql}: {state}");
    }
    let mut parts = world::parts(&stage).await;
    assert_eq!(everywhere(&mut parts, "SELECT name FROM agents").await, Vec::<String>::new());
}

/// An upsert finds the row on its shard.
#[tokio::test]
async fn upserts() {
    let (stage, _proxy, mut wire) = setting().await;
    World::new(&stage).await.reset().await;
    let sql = "INSERT INTO agents (id, name) VALUES (1, 'up'), (2, 'up'), (1003, 'up') \
               ON CONFLICT (id) DO UPDATE SET name = excluded.name || '!'";
    let frames = wire.run(sql).await;
    assert_eq!(frames[0].text(), "INSERT 0 3");
    let found = column(&mut wire, "SELECT name FROM agents WHERE id IN (1, 2, 1003) ORDER BY id").await;
    assert_eq!(found, ["up!", "up!", "up"]);
    let frames = wire.run("INSERT INTO agents (id) VALUES (1), (2), (1004) ON CONFLICT DO NOTHING").await;
    assert_eq!(frames[0].text(), "INSERT 0 1");
}
