//! A statement whose rows are all on one shard goes there, and only there, unchanged.
use pointsman_tests::{Frame, Proxy, Stage, Wire, msg, pretty};
use tokio::sync::OnceCell;

use super::seen::{column, ran_on, spread};
use super::world::{self, AGENTS, ODD_IDS, World, shard_of};
use crate::common::unique;

/// A stage that no test writes to.
pub(crate) async fn read_only() -> &'static Stage {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    STAGE
        .get_or_init(|| async {
            let stage = world::empty(Stage::new().shards(4)).await;
            World::new(&stage).await.reset().await;
            stage
        })
        .await
}

async fn client() -> (&'static Stage, Proxy, Wire) {
    let stage = read_only().await;
    let proxy = world::proxy(stage, "").await;
    let wire = world::social(&proxy).await;
    (stage, proxy, wire)
}

/// Keys written out: negative and wide ones too.
#[tokio::test]
async fn by_a_literal() {
    let (stage, _proxy, mut wire) = client().await;
    for id in (1..=8).chain(ODD_IDS) {
        let marker = unique("literal");
        assert_eq!(
            column(&mut wire, &format!("SELECT id AS {marker} FROM agents WHERE id = {id}")).await,
            [id.to_string()]
        );
        ran_on(stage, &marker, &[shard_of(id, 4)]);
    }
}

/// `IN`, `= ANY`, `OR`, a join by key, a subquery's and a CTE's key: one shard if all keys are of one.
#[tokio::test]
async fn by_lists_and_joins() {
    let (stage, _proxy, mut wire) = client().await;
    let cases = [
        ("FROM agents WHERE id IN (1, 5, 9)", vec![1]),
        ("FROM agents WHERE id = ANY ('{2,6}'::bigint[])", vec![2]),
        ("FROM agents WHERE id = ANY (ARRAY[3, 7]::bigint[])", vec![3]),
        ("FROM agents WHERE id = 4 OR id = 8", vec![0]),
        ("FROM agents WHERE (id, active) = (5, true)", vec![1]),
        ("FROM agents JOIN interactions i ON i.initiator_id = agents.id WHERE agents.id = 6", vec![2]),
        ("FROM agents, interactions i WHERE i.initiator_id = agents.id AND i.initiator_id = 7", vec![3]),
        ("FROM agents JOIN communities c ON c.id = agents.community_id WHERE agents.id = 8", vec![0]),
        ("FROM (SELECT * FROM agents WHERE id = 9) x", vec![1]),
        (
            "FROM agents WHERE id = 10 AND EXISTS (SELECT 1 FROM friendships f WHERE f.initiator_id = 10)",
            vec![2],
        ),
    ];
    for (rest, shards) in cases {
        let marker = unique("lists");
        wire.run(&format!("SELECT count(*) AS {marker} {rest}")).await;
        ran_on(stage, &marker, &shards);
    }
    let marker = unique("lists");
    wire.run(&format!("SELECT id AS {marker} FROM agents WHERE id IN (1, 2)")).await;
    ran_on(stage, &marker, &[1, 2]);
    let marker = unique("lists");
    let with = "WITH x AS (SELECT * FROM agents WHERE id = 11)";
    wire.run(&format!(
        "{with} SELECT count(*) AS {marker} FROM x JOIN interactions i ON i.initiator_id = x.id"
    ))
    .await;
    ran_on(stage, &marker, &[3]);
}

/// Tables that are whole everywhere are read from one shard, and unsharded ones from the first.
#[tokio::test]
async fn reference_and_unsharded_tables() {
    let (stage, _proxy, mut wire) = client().await;
    let marker = unique("reference");
    assert_eq!(wire.value(&format!("SELECT count(*) AS {marker} FROM communities")).await, "6");
    assert_eq!(spread(stage, &marker), 1);
    let marker = unique("unsharded");
    assert_eq!(wire.value(&format!("SELECT count(*) AS {marker} FROM notes")).await, "10");
    ran_on(stage, &marker, &[0]);
}

fn first_value(frames: &[Frame]) -> Vec<String> {
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    rows.map(|row| row.values().swap_remove(0).unwrap_or_default()).collect()
}

/// Parameters in text and in binary, of each type that an id may have.
#[tokio::test]
async fn by_a_parameter() {
    let (stage, _proxy, mut wire) = client().await;
    for id in 1..=8_i64 {
        let small = i16::try_from(id).expect("a small one");
        let forms: [(u32, u16, Vec<u8>); 6] = [
            (0, 0, id.to_string().into_bytes()),
            (20, 0, id.to_string().into_bytes()),
            (20, 1, id.to_be_bytes().to_vec()),
            (0, 1, id.to_be_bytes().to_vec()),
            (23, 1, i32::from(small).to_be_bytes().to_vec()),
            (21, 1, small.to_be_bytes().to_vec()),
        ];
        for (oid, format, bytes) in forms {
            let marker = unique("parameter");
            let sql = format!("SELECT id AS {marker} FROM agents WHERE id = $1");
            let bind = msg::bind_with("", "", &[Some(&bytes)], [&[format], &[0]]);
            let messages =
                [msg::parse_typed("", &sql, &[oid]), bind, msg::execute("", 0), msg::sync()].concat();
            let frames = wire.ask(&messages).await;
            assert_eq!(first_value(&frames), [id.to_string()], "{oid} {format}:\n{}", pretty(&frames));
            ran_on(stage, &marker, &[shard_of(id, 4)]);
        }
    }
}

/// `= ANY ($1)`, in text and in binary.
#[tokio::test]
async fn by_an_array_parameter() {
    let (stage, _proxy, mut wire) = client().await;
    for binary in [false, true] {
        let marker = unique("array");
        let sql = format!("SELECT count(*) AS {marker} FROM agents WHERE id = ANY ($1)");
        let mut bytes = b"{3,7,11}".to_vec();
        if binary {
            bytes.clear();
            [1, 0, 20, 3, 1].iter().for_each(|word: &i32| bytes.extend_from_slice(&word.to_be_bytes()));
            for id in [3_i64, 7, 11] {
                bytes.extend_from_slice(&8_i32.to_be_bytes());
                bytes.extend_from_slice(&id.to_be_bytes());
            }
        }
        let bind = msg::bind_with("", "", &[Some(&bytes)], [&[u16::from(binary)], &[0]]);
        let frames = wire.ask(&[msg::parse("", &sql), bind, msg::execute("", 0), msg::sync()].concat()).await;
        assert_eq!(first_value(&frames), ["3"], "{}", pretty(&frames));
        ran_on(stage, &marker, &[3]);
    }
}

/// One prepared statement, each Bind to the shard of its values.
#[tokio::test]
async fn each_bind_goes_by_its_values() {
    let (stage, _proxy, mut wire) = client().await;
    let marker = unique("prepared");
    let sql = format!("SELECT id, '{marker}' FROM agents WHERE id = $1::bigint");
    wire.ask(&[msg::parse("s", &sql), msg::describe_statement("s"), msg::sync()].concat()).await;
    for round in 0..2 {
        for id in 1..=AGENTS {
            let text = id.to_string();
            let messages = [msg::bind("", "s", &[Some(&text)]), msg::execute("", 0), msg::sync()].concat();
            let frames = wire.ask(&messages).await;
            assert_eq!(first_value(&frames), [text], "round {round}:\n{}", pretty(&frames));
        }
    }
    let frames = wire.ask(&[msg::bind("", "s", &[None]), msg::execute("", 0), msg::sync()].concat()).await;
    assert_eq!(first_value(&frames), Vec::<String>::new(), "{}", pretty(&frames));
    assert!(Proxy::is_direct() || spread(stage, &marker) == 4);
}

/// SQL's own `PREPARE` and `EXECUTE` are answered right or refused.
#[tokio::test]
async fn sql_level_prepared_statements() {
    let (_stage, _proxy, mut wire) = client().await;
    for id in 1..=8 {
        let frames = wire.query("PREPARE by_id (bigint) AS SELECT id FROM agents WHERE id = $1").await;
        if frames.iter().any(|frame| frame.tag == b'E') {
            assert_eq!(frames[0].sqlstate(), "0A000", "{}", pretty(&frames));
            return;
        }
        assert_eq!(column(&mut wire, &format!("EXECUTE by_id ({id})")).await, [id.to_string()]);
        wire.run("DEALLOCATE by_id").await;
    }
}

/// A key that is named beside the statement says where it goes.
#[tokio::test]
async fn by_a_hint() {
    let (stage, _proxy, mut wire) = client().await;
    if Proxy::is_direct() {
        return;
    }
    let here = "SELECT current_database() AS name";
    for id in [4, 5, 6, 7] {
        let database = &stage.shards[id % 4].database;
        assert_eq!(
            column(&mut wire, &format!("/* pointsman: shard_key={id} */ {here}")).await,
            std::slice::from_ref(database)
        );
        wire.run(&format!("SET pointsman.shard_key = '{id}'")).await;
        assert_eq!(column(&mut wire, here).await, std::slice::from_ref(database));
        assert_eq!(column(&mut wire, "SELECT count(*) FROM agents WHERE id % 4 <> 0").await.len(), 1);
        wire.run("RESET pointsman.shard_key").await;
    }
    assert_eq!(wire.error(&format!("/* pointsman: shard_key=word */ {here}")).await, "22023");
    assert_eq!(wire.error("SET pointsman.nothing = 1").await, "42704");
}

/// What hides rows of several shards is refused, not answered by one of them.
#[tokio::test]
async fn views_and_functions_over_sharded_tables() {
    let stage = world::empty(Stage::new().shards(4)).await;
    World::new(&stage).await.reset().await;
    let proxy = world::proxy(&stage, "").await;
    let mut wire = world::social(&proxy).await;
    for sql in [
        "CREATE VIEW all_agents AS SELECT id, name FROM agents",
        "CREATE VIEW all_communities AS SELECT id FROM communities",
        "CREATE FUNCTION how_many() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM agents'",
    ] {
        wire.run(sql).await;
    }
    if Proxy::is_direct() {
        return;
    }
    assert_eq!(wire.error("SELECT count(*) FROM all_agents").await, "0A000");
    assert_eq!(wire.error("SELECT how_many()").await, "0A000");
    assert_eq!(wire.value("SELECT count(*) FROM all_communities").await, "6");
    wire.run("/* pointsman: shard_key=1 */ SELECT how_many()").await;
}
