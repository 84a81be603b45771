//! A coordinator over two real shards: what `pointsman shard init` writes makes all rows one table, asks only the shards that it must,
//! and agrees with where rows are.

use std::path::Path;

use pointsman::config::Config;
use pointsman::coordinator::ddl::script;
use pointsman::coordinator::spread::{Range, Spread};
use pointsman::coordinator::{Design, Place, read};
use pointsman_tests::{DATABASE, PASSWORD, Stage};
use tokio_postgres::{Client, NoTls};

const SHARDS: i64 = 2;

/// Of each table: its key's column, how it is spread, and the shard of a row with the key `id` there, as SQL.
fn tables() -> Vec<(&'static str, Spread, &'static str)> {
    let range = |from: Option<&str>, to: Option<&str>, shard| Range {
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
        shard,
    };
    let listed =
        Spread::List { values: vec![(Some("-3".into()), 1), (Some("4".into()), 1)], default: Some(0) };
    vec![
        ("modulo", Spread::Modulo, "((id % 2) + 2) % 2"),
        (
            "ranges",
            Spread::Range(vec![range(None, Some("0"), 0), range(Some("0"), None, 1)]),
            "(id >= 0)::int",
        ),
        (
            "pieces",
            Spread::Range(vec![
                range(None, Some("-5"), 1),
                range(Some("-5"), Some("5"), 0),
                range(Some("5"), None, 1),
            ]),
            "(id < -5 OR id >= 5)::int",
        ),
        ("listed", listed, "(id IN (-3, 4))::int"),
        ("ring", Spread::Untold, "(id % 3 = 0)::int"),
    ]
}

async fn connect(port: u16, database: &str) -> Client {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user("postgres").password(PASSWORD).dbname(database);
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

async fn value<T: for<'a> tokio_postgres::types::FromSql<'a>>(client: &Client, sql: &str) -> T {
    client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// Which shards a statement asks.
async fn asked(client: &Client, sql: &str) -> Vec<i64> {
    let rows = client.query(&format!("EXPLAIN (VERBOSE, COSTS OFF) {sql}"), &[]).await.expect("a plan");
    let plan: String = rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect();
    // Parts are called by their table and their shard; a join that is pushed down names both.
    (0..SHARDS).filter(|shard| plan.contains(&format!(".{shard}\""))).collect()
}

/// Two shards with the same tables, each with the rows that belong there; one also with tables of its own.
async fn shards() -> [Stage; 2] {
    let stages = [Stage::new().start().await, Stage::new().start().await];
    for (shard, stage) in stages.iter().enumerate() {
        let mut sql = String::from(
            "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TABLE places (id int PRIMARY KEY, name text COLLATE \"C\");\
             INSERT INTO places SELECT g, 'place ' || g FROM generate_series(0, 4) g;\
             CREATE TABLE hashed (id uuid PRIMARY KEY, body varchar(20) NOT NULL, mood mood);\
             CREATE SCHEMA aside; CREATE TABLE aside.hashed_p (id uuid) PARTITION BY HASH (id);",
        );
        for remainder in 0..SHARDS {
            sql += &format!(
                "CREATE TABLE aside.hashed_{remainder} PARTITION OF aside.hashed_p FOR VALUES WITH (MODULUS 2, REMAINDER {remainder});"
            );
        }
        sql += "INSERT INTO aside.hashed_p SELECT md5(g::text)::uuid FROM generate_series(1, 40) g;";
        sql += &format!(
            "INSERT INTO hashed SELECT id, 'of ' || id::text::varchar(10), 'glad' FROM aside.hashed_{shard};"
        );
        sql += "DROP TABLE aside.hashed_p;";
        for (name, _, home) in tables() {
            sql += &format!(
                "CREATE TABLE {name} (id bigint NOT NULL, place int);\
                 INSERT INTO {name} SELECT id, abs(id) % 5 FROM generate_series(-20, 19) id WHERE {home} = {shard};"
            );
        }
        stage.primary.sql(&sql).await;
    }
    stages[0].primary.sql("CREATE TABLE alone (n int); INSERT INTO alone VALUES (1), (2)").await;
    stages
}

async fn design(stages: &[Stage]) -> Design {
    let mut remotes = Vec::new();
    let mut found = Vec::new();
    for stage in stages {
        let url =
            format!("primary: postgres://postgres:{PASSWORD}@127.0.0.1:{}/{DATABASE}\n", stage.primary.port);
        let config = Config::from_yaml("shards.yaml", &url, Path::new("")).expect("a configuration");
        let cluster = &config.clusters[0];
        remotes.push(read::remote(cluster, DATABASE));
        found.push(
            read::tables(cluster, DATABASE, cluster.connect_timeout()).await.expect("the shard's tables"),
        );
    }
    let place = |name: &str| {
        let spread = match name {
            "hashed" => Spread::Hash,
            name => match tables().into_iter().find(|(table, ..)| *table == name) {
                Some((_, spread, _)) => spread,
                None => return Place::First,
            },
        };
        Place::Spread(vec!["id".to_owned()], spread)
    };
    for (table, shard) in found[0].tables.iter().filter(|table| place(&table.name) != Place::First).zip(1..) {
        assert_eq!(read::difference(table, shard, &found[1]), None);
    }
    let tables = found[0].tables.iter().map(|table| (table.clone(), place(&table.name))).collect();
    let roles = vec!["CURRENT_USER".to_owned(), "app".to_owned()];
    Design { shards: remotes, tables, locale: found[0].locale.clone(), roles }
}

#[tokio::test]
async fn a_coordinator_has_all_rows_and_asks_no_shard_in_vain() {
    let stages = shards().await;
    let port = stages[0].primary.port;
    let script = script(&design(&stages).await).expect("definitions");
    connect(port, "postgres")
        .await
        .batch_execute("CREATE DATABASE coordinator TEMPLATE template0")
        .await
        .expect("a database");
    let client = connect(port, "coordinator").await;
    client.batch_execute("CREATE TYPE mood AS ENUM ('sad', 'glad')").await.expect("a type");
    // Twice: what was made is made anew.
    for _ in 0..2 {
        client.batch_execute(&script).await.unwrap_or_else(|error| panic!("{error:?}\n{script}"));
    }
    let client = connect(port, "coordinator").await;
    for (name, spread, home) in tables() {
        assert_eq!(value::<i64>(&client, &format!("SELECT count(*) FROM {name}")).await, 40, "{name}");
        let join =
            format!("SELECT count(*) FROM {name} JOIN places p ON p.id = place WHERE p.name = 'place 2'");
        assert_eq!(value::<i64>(&client, &join).await, 8, "{name}");
        for id in [-20, -7, -3, -1, 0, 4, 5, 19] {
            let found = format!("SELECT count(*) FROM {name} WHERE id = {id}");
            assert_eq!(value::<i64>(&client, &found).await, 1, "{name} {id}");
            let shard: i32 =
                value(&client, &format!("SELECT ({home})::int FROM (SELECT {id}::bigint) AS k (id)")).await;
            let asked = asked(&client, &format!("SELECT * FROM {name} WHERE id = {id}")).await;
            let expected = if spread == Spread::Untold { vec![0, 1] } else { vec![i64::from(shard)] };
            assert_eq!(asked, expected, "{name} {id}");
        }
    }
    assert_eq!(value::<i64>(&client, "SELECT count(DISTINCT id) FROM hashed WHERE mood = 'glad'").await, 40);
    for number in 1..=40 {
        let key: String = value(&client, &format!("SELECT md5('{number}')")).await;
        let by_key = format!("FROM hashed WHERE id = '{key}'");
        assert_eq!(value::<i64>(&client, &format!("SELECT count(*) {by_key}")).await, 1);
        assert_eq!(asked(&client, &format!("SELECT * {by_key}")).await.len(), 1);
    }
    assert_eq!(value::<i64>(&client, "SELECT count(*) FROM alone").await, 2);
    // Two tables that are spread alike are joined part by part, not all of one with all of the other.
    let joined = "EXPLAIN (COSTS OFF) SELECT count(*) FROM modulo a JOIN modulo b USING (id)";
    let plan = client.query(joined, &[]).await.expect("a plan");
    let plan: String = plan.iter().map(|row| row.get::<_, String>(0) + "\n").collect();
    let append = plan.find("Append").unwrap_or_else(|| panic!("{plan}"));
    assert!(plan.find("Join").is_none_or(|join| append < join), "{plan}");
}

#[tokio::test]
async fn a_shard_is_not_made_a_coordinator() {
    let stages = shards().await;
    let script = script(&design(&stages).await).expect("definitions");
    let error = stages[1].primary.admin().await.batch_execute(&script).await.expect_err("a shard has tables");
    let told = error.as_db_error().map(|error| error.message().to_owned()).unwrap_or_default();
    assert!(told.contains("was not made by pointsman shard init"), "{told}");
    assert_eq!(stages[1].primary.value("SELECT count(*) > 0 FROM modulo").await, "t");
    // Nor is a database that sorts otherwise.
    let port = stages[0].primary.port;
    let other = "CREATE DATABASE other TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'POSIX'";
    connect(port, "postgres").await.batch_execute(other).await.expect("a database");
    let error = connect(port, "other").await.batch_execute(&script).await.expect_err("it sorts otherwise");
    let told = error.as_db_error().map(|error| error.message().to_owned()).unwrap_or_default();
    assert!(told.contains("sorts texts in another way"), "{told}");
}
