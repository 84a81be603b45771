//! Pipelines whose statements go to different shards keep their order, and what an error does to them.
use pointsman_tests::{Frame, msg, pretty, tags};

use super::direct::read_only;
use super::seen::everywhere;
use super::world::{self, World};
use pointsman_tests::Stage;

fn select(id: i64) -> Vec<u8> {
    let id = id.to_string();
    [
        msg::parse("", "SELECT id FROM agents WHERE id = $1"),
        msg::bind("", "", &[Some(&id)]),
        msg::execute("", 0),
    ]
    .concat()
}

fn ids(frames: &[Frame]) -> Vec<String> {
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    rows.map(|row| row.values().swap_remove(0).unwrap_or_default()).collect()
}

/// Many statements before one `Sync`, and each with its own, sent at once.
#[tokio::test]
async fn answers_come_in_order() {
    let proxy = world::proxy(read_only().await, "").await;
    let mut wire = world::social(&proxy).await;
    let order = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8];
    let want: Vec<String> = order.iter().map(i64::to_string).collect();
    for _ in 0..3 {
        let together: Vec<u8> = order.iter().flat_map(|id| select(*id)).chain(msg::sync()).collect();
        let frames = wire.ask(&together).await;
        assert_eq!(ids(&frames), want, "{}", pretty(&frames));
        assert_eq!(tags(&frames), format!("{}Z", "12DC".repeat(order.len())));
        let apart: Vec<u8> = order.iter().flat_map(|id| [select(*id), msg::sync()].concat()).collect();
        wire.send(&apart).await;
        for id in &want {
            let frames = wire.until(b'Z').await;
            assert_eq!(
                (ids(&frames), tags(&frames).as_str()),
                (vec![id.clone()], "12DCZ"),
                "{}",
                pretty(&frames)
            );
        }
    }
}

/// Scattered statements between direct ones.
#[tokio::test]
async fn scattered_and_direct_ones_mix() {
    let proxy = world::proxy(read_only().await, "").await;
    let mut wire = world::social(&proxy).await;
    let all = msg::statement("SELECT id FROM agents WHERE id BETWEEN 1 AND 6 ORDER BY id DESC LIMIT 3", &[]);
    let frames = wire.ask(&[select(2), all.clone(), select(3), all, select(1), msg::sync()].concat()).await;
    assert_eq!(ids(&frames), ["2", "6", "5", "4", "3", "6", "5", "4", "1"], "{}", pretty(&frames));
}

/// After an error nothing is run up to `Sync`; what comes after it is.
#[tokio::test]
async fn an_error_skips_to_sync() {
    let proxy = world::proxy(read_only().await, "").await;
    let mut wire = world::social(&proxy).await;
    let wrong = msg::statement("SELECT 1 / (id - 2) FROM agents WHERE id = 2", &[]);
    wire.send(&[select(1), wrong, select(3), select(4), msg::sync(), select(5), msg::sync()].concat()).await;
    let frames = wire.until(b'Z').await;
    assert_eq!(ids(&frames), ["1"], "{}", pretty(&frames));
    let errors: Vec<String> = frames.iter().filter(|frame| frame.tag == b'E').map(Frame::sqlstate).collect();
    assert_eq!(errors, ["22012"], "{}", pretty(&frames));
    let frames = wire.until(b'Z').await;
    assert_eq!(ids(&frames), ["5"], "{}", pretty(&frames));
}

/// The writes of a pipeline are one transaction: an error in a later one undoes the earlier, wherever they went.
#[tokio::test]
async fn an_error_undoes_the_pipeline() {
    let stage = world::empty(Stage::new().shards(4)).await;
    World::new(&stage).await.reset().await;
    let proxy = world::proxy(&stage, "").await;
    let mut wire = world::social(&proxy).await;
    let insert = |id: &str| msg::statement("INSERT INTO agents (id) VALUES ($1::bigint)", &[Some(id)]);
    // 2 is there already.
    let frames = wire.ask(&[insert("1001"), insert("1003"), insert("2"), msg::sync()].concat()).await;
    let errors: Vec<String> = frames.iter().filter(|frame| frame.tag == b'E').map(Frame::sqlstate).collect();
    assert!(errors == ["23505"] || errors == ["0A000"], "{}", pretty(&frames));
    let mut parts = world::parts(&stage).await;
    let left = everywhere(&mut parts, "SELECT id FROM agents WHERE id IN (1001, 1003)").await;
    assert_eq!(left, Vec::<String>::new());
    let frames = wire.ask(&[insert("1001"), msg::sync(), insert("1002"), msg::sync()].concat()).await;
    assert!(frames.iter().all(|frame| frame.tag != b'E'), "{}", pretty(&frames));
    let frames = wire.until(b'Z').await;
    assert!(frames.iter().all(|frame| frame.tag != b'E'), "{}", pretty(&frames));
    let left = everywhere(&mut parts, "SELECT id FROM agents WHERE id IN (1001, 1002)").await;
    assert_eq!(left, ["1001", "1002"]);
}
