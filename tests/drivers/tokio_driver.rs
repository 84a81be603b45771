//! tokio-postgres against the URL in the first argument: prints a transcript that must be the same direct and through Pointsman.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, TryStreamExt, future};
use sha2::{Digest, Sha256};
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, IsolationLevel, NoTls, SimpleQueryMessage};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;
type Heard = Arc<Mutex<Vec<String>>>;

const SCHEMA: &str = "driver_tokio";

/// Connects; the connection's task notes notices and notifications in `heard`.
async fn connect(url: &str) -> Outcome<(Client, Heard)> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await?;
    let heard = Heard::default();
    let noted = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Some(Ok(message)) = future::poll_fn(|context| connection.poll_message(context)).await {
            let line = match message {
                AsyncMessage::Notice(notice) => format!("{} {}", notice.code().code(), notice.message()),
                AsyncMessage::Notification(heard) => format!("{} {}", heard.channel(), heard.payload()),
                _ => continue,
            };
            noted.lock().expect("nobody panics with it").push(line);
        }
    });
    client.batch_execute(&format!("SET search_path = {SCHEMA}")).await?;
    Ok((client, heard))
}

/// Prints an error's fields, or that there was none.
fn failing<T>(label: &str, result: Result<T, tokio_postgres::Error>) {
    let Err(error) = result else { return println!("{label}: no error") };
    let Some(db) = error.as_db_error() else { return println!("{label}: {error}") };
    println!(
        "{label}: {} {} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        db.severity(),
        db.code().code(),
        db.message(),
        db.detail(),
        db.hint(),
        db.position(),
        db.where_(),
        db.table(),
        db.column(),
        db.constraint()
    );
}

async fn transactions(client: &mut Client) -> Outcome {
    client.batch_execute("CREATE TABLE account (id int PRIMARY KEY, amount int CHECK (amount >= 0))").await?;
    println!("insert: {}", client.execute("INSERT INTO account VALUES ($1, 10), ($2, 20)", &[&1, &2]).await?);
    let mut outer = client.transaction().await?;
    outer.execute("UPDATE account SET amount = amount + 1 WHERE id = $1", &[&1]).await?;
    let inner = outer.transaction().await?;
    failing("savepoint", inner.execute("UPDATE account SET amount = -1 WHERE id = $1", &[&2]).await);
    failing("aborted", inner.query("SELECT 1", &[]).await);
    inner.rollback().await?;
    println!("inside: {}", outer.query_one("SELECT sum(amount) FROM account", &[]).await?.get::<_, i64>(0));
    outer.commit().await?;
    drop(client.transaction().await?);
    let reading = client.build_transaction().read_only(true).isolation_level(IsolationLevel::Serializable);
    let reading = reading.start().await?;
    println!("level: {}", reading.query_one("SHOW transaction_isolation", &[]).await?.get::<_, String>(0));
    failing("read only", reading.execute("DELETE FROM account", &[]).await);
    reading.rollback().await?;
    let portals = client.transaction().await?;
    let portal = portals.bind("SELECT g FROM generate_series(1, $1) g", &[&10]).await?;
    for limit in [3, 4, 0] {
        println!("portal: {}", portals.query_portal(&portal, limit).await?.len());
    }
    portals.commit().await?;
    failing("script", client.batch_execute("INSERT INTO account VALUES (4, 4); SELECT 1/0").await);
    for message in client.simple_query("SELECT * FROM account ORDER BY id; SELECT 2").await? {
        match message {
            SimpleQueryMessage::Row(row) => {
                println!("row: {:?} {:?}", row.get(0), row.try_get(1).ok().flatten())
            }
            SimpleQueryMessage::CommandComplete(count) => println!("complete: {count}"),
            _ => {}
        }
    }
    Ok(())
}

/// Many requests sent before any answer is read.
async fn pipelines(client: &mut Client) -> Outcome {
    let statement = client.prepare("SELECT $1::int * 2").await?;
    let asked = (0..200).map(|n: i32| {
        let (client, statement) = (&*client, &statement);
        async move { client.query_one(statement, &[&n]).await.map(|row| row.get::<_, i32>(0)) }
    });
    println!("pipelined: {}", future::try_join_all(asked).await?.iter().sum::<i32>());
    let (one, zero, two) = future::join3(
        client.query_one("SELECT 1", &[]),
        client.query_one("SELECT 1/0", &[]),
        client.query_one("SELECT 2", &[]),
    )
    .await;
    println!("mixed: {} {}", one?.get::<_, i32>(0), two?.get::<_, i32>(0));
    failing("mixed", zero);
    Ok(())
}

async fn prepared(client: &mut Client) -> Outcome {
    client.batch_execute("CREATE TABLE shape (a int, b text); INSERT INTO shape VALUES (1, 'one')").await?;
    let statement = client.prepare_typed("SELECT * FROM shape WHERE a = $1", &[Type::INT4]).await?;
    let columns: Vec<_> = statement.columns().iter().map(|c| (c.name(), c.type_().name())).collect();
    println!(
        "prepared: {columns:?} {:?} {}",
        statement.params(),
        client.query(&statement, &[&1]).await?.len()
    );
    client.batch_execute("ALTER TABLE shape ADD c int DEFAULT 7").await?;
    failing("after ddl", client.query(&statement, &[&1]).await);
    let mut statements = Vec::new();
    for n in 0..300 {
        statements.push(client.prepare(&format!("SELECT $1::int + {n}")).await?);
    }
    let mut total = 0;
    for statement in statements.iter().rev() {
        total += client.query_one(statement, &[&1]).await?.get::<_, i32>(0);
    }
    println!("many: {total}");
    Ok(())
}

async fn copies(client: &mut Client) -> Outcome {
    client.batch_execute("CREATE TABLE copied (id int, word text)").await?;
    let mut sink = Box::pin(client.copy_in("COPY copied FROM STDIN").await?);
    for n in 0..20_000 {
        sink.send(bytes::Bytes::from(format!("{n}\tword {n}\n"))).await?;
    }
    println!("in: {}", sink.as_mut().finish().await?);
    let out = client.copy_out("COPY (SELECT * FROM copied ORDER BY id) TO STDOUT").await?;
    let all = out.try_fold(Vec::new(), async |mut all, part| {
        all.extend_from_slice(&part);
        Ok(all)
    });
    println!("out: {:x?}", &Sha256::digest(all.await?)[..8]);
    let mut bad = Box::pin(client.copy_in("COPY copied FROM STDIN").await?);
    bad.send(bytes::Bytes::from_static(b"x\ty\n")).await?;
    failing("bad row", bad.as_mut().finish().await);
    let mut given_up = Box::pin(client.copy_in::<_, bytes::Bytes>("COPY copied FROM STDIN").await?);
    given_up.send(bytes::Bytes::from_static(b"1\tx\n")).await?;
    drop(given_up);
    println!("left: {}", client.query_one("SELECT count(*) FROM copied", &[]).await?.get::<_, i64>(0));
    Ok(())
}

async fn cancels(client: &mut Client) -> Outcome {
    let token = client.cancel_token();
    let (slept, cancelled) = future::join(client.batch_execute("SELECT pg_sleep(20)"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await
    })
    .await;
    cancelled?;
    failing("cancelled", slept);
    client.batch_execute("SET statement_timeout = '100ms'").await?;
    failing("timeout", client.batch_execute("SELECT pg_sleep(20)").await);
    Ok(())
}

async fn large(client: &mut Client) -> Outcome {
    let big = "x".repeat(10_000_000);
    let row = client.query_one("SELECT $1::text, length($1::text)", &[&big]).await?;
    println!("large: {} {}", row.get::<_, &str>(0) == big, row.get::<_, i32>(1));
    let rows = client.query("SELECT g, repeat('r', 1000) FROM generate_series(1, 20000) g", &[]).await?;
    println!("rows: {}", rows.iter().map(|row| i64::from(row.get::<_, i32>(0))).sum::<i64>());
    Ok(())
}

async fn types(client: &mut Client) -> Outcome {
    let row = client
        .query_one(
            "SELECT $1::bool, $2::int8, $3::float8, $4::text, $5::bytea, $6::int[], $7::text[], $8::text, $2::numeric::text, \
             '2024-02-29 12:30Z'::timestamptz::text",
            &[&true, &(1i64 << 40), &1.5f64, &"Ünïcødé \\ '", &vec![0u8, 255], &vec![Some(1), None], &vec!["a", "b"], &None::<String>],
        )
        .await?;
    println!(
        "scalars: {} {} {} {:?}",
        row.get::<_, bool>(0),
        row.get::<_, i64>(1),
        row.get::<_, f64>(2),
        row.get::<_, String>(3)
    );
    println!(
        "arrays: {:?} {:?} {:?}",
        row.get::<_, Vec<u8>>(4),
        row.get::<_, Vec<Option<i32>>>(5),
        row.get::<_, Vec<String>>(6)
    );
    println!(
        "rest: {:?} {} {}",
        row.get::<_, Option<String>>(7),
        row.get::<_, String>(8),
        row.get::<_, String>(9)
    );
    client.batch_execute("CREATE TYPE mood AS ENUM ('sad', 'happy')").await?;
    let enumerated = client.prepare("SELECT 'sad'::mood").await?;
    println!("enum: {:?}", enumerated.columns()[0].type_().kind());
    let bad = client.query("SELECT $1::int", &[&"many"]).await;
    println!("bad value: {}", bad.is_err());
    Ok(())
}

async fn errors(client: &mut Client) -> Outcome {
    client.batch_execute("CREATE TABLE parent (id int PRIMARY KEY, name text NOT NULL)").await?;
    client.batch_execute("CREATE TABLE child (id int REFERENCES parent)").await?;
    for sql in [
        "SELEC 1",
        "SELECT * FROM nothing_here",
        "SELECT nothing FROM parent",
        "INSERT INTO parent VALUES (1, NULL)",
        "INSERT INTO child VALUES (5)",
        "SELECT 1/0",
        "SET work_mem = 'much'",
    ] {
        failing(sql, client.batch_execute(sql).await);
        failing(sql, client.query(sql, &[]).await);
    }
    Ok(())
}

async fn sessions(client: &mut Client, url: &str, heard: &Heard) -> Outcome {
    let (other, _) = connect(url).await?;
    client
        .batch_execute(
            "SET TimeZone = 'Asia/Kathmandu'; CREATE TEMP TABLE mine (n int); LISTEN driver_channel",
        )
        .await?;
    for side in [&*client, &other] {
        println!("zone: {}", side.query_one("SHOW TimeZone", &[]).await?.get::<_, String>(0));
        failing("temporary", side.query("SELECT * FROM mine", &[]).await);
    }
    other.batch_execute("NOTIFY driver_channel, 'hello'").await?;
    client.batch_execute("DO $$ BEGIN RAISE NOTICE 'one'; END $$; DROP TABLE IF EXISTS never_there").await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut lines = heard.lock().expect("nobody panics with it").clone();
    lines.sort();
    println!("heard: {lines:?}");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let url = std::env::args().nth(1).ok_or("usage: tokio_driver URL")?;
    let (first, _) = connect(&url).await?;
    first.batch_execute(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}")).await?;
    macro_rules! run {
        ($($part:ident)*) => {$(
            println!("== {}", stringify!($part));
            $part(&mut connect(&url).await?.0).await?;
        )*};
    }
    run!(transactions pipelines prepared copies cancels large types errors);
    println!("== sessions");
    let (mut client, heard) = connect(&url).await?;
    sessions(&mut client, &url, &heard).await?;
    first.batch_execute(&format!("DROP SCHEMA {SCHEMA} CASCADE")).await?;
    Ok(())
}
