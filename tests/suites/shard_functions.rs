//! What shards make of keys is what the server makes of them: the hash of partitions, and what texts mean.
use std::fmt::Write as _;

use pointsman_shards::function::hash::partition_hash;
use pointsman_shards::key::{Key, KeyType, text_elements};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::common::{shared, unique};

const SEED: u64 = 0x05_1A_4D;

const TYPES: [(&str, KeyType); 10] = [
    ("int2", KeyType::Int2),
    ("int4", KeyType::Int4),
    ("int8", KeyType::Int8),
    ("text", KeyType::Text),
    ("varchar", KeyType::Varchar),
    ("uuid", KeyType::Uuid),
    ("bytea", KeyType::Bytea),
    ("date", KeyType::Date),
    ("timestamp", KeyType::Timestamp),
    ("timestamptz", KeyType::TimestampTz),
];

fn kind(name: &str) -> KeyType {
    TYPES.iter().find(|(other, _)| *other == name).expect("a known type").1
}

/// A value's text, as any client might write it.
fn random(name: &str, random: &mut StdRng) -> String {
    let day = |random: &mut StdRng| {
        let (year, month) = (random.random_range(1..=9999), random.random_range(1..=12));
        format!("{year:04}-{month:02}-{:02}", random.random_range(1..=28))
    };
    let time = |random: &mut StdRng| {
        let (hour, minute) = (random.random_range(0..24), random.random_range(0..60));
        format!("{hour:02}:{minute:02}:59.{}", random.random_range(0..1_000_000))
    };
    match name {
        "int2" => random.random::<i16>().to_string(),
        "int4" => random.random::<i32>().to_string(),
        "int8" if random.random() => random.random_range(-1000..1000_i64).to_string(),
        "int8" => random.random::<i64>().to_string(),
        "text" | "varchar" => {
            let letters: Vec<char> = "abcXYZ 019_-'\"\\{},äß日本𝄞".chars().collect();
            let length = random.random_range(0..60);
            let text: String = (0..length).map(|_| letters[random.random_range(0..letters.len())]).collect();
            if name == "varchar" { text.trim_end().to_owned() } else { text }
        }
        "uuid" => format!("{:032x}", random.random::<u128>()),
        "bytea" => {
            let length = random.random_range(0..40);
            let mut text = "\\x".to_owned();
            for _ in 0..length {
                write!(text, "{:02x}", random.random::<u8>()).expect("a string takes it");
            }
            text
        }
        "date" => day(random),
        "timestamp" => format!("{} {}", day(random), time(random)),
        _ => format!("{}T{}{:+03}:30", day(random), time(random), random.random_range(-12..=14)),
    }
}

fn quoted(text: Option<&str>, name: &str) -> String {
    match text {
        Some(text) => format!("'{}'::{name}", text.replace('\'', "''")),
        None => format!("NULL::{name}"),
    }
}

/// `hash` puts every key where PostgreSQL's hash partitioning puts it.
#[tokio::test]
async fn keys_hash_as_the_servers_partitions_do() {
    let stage = shared().await;
    let admin = stage.primary.admin().await;
    let mut source = StdRng::seed_from_u64(SEED);
    let composites: [&[&str]; 3] = [&["int8", "text"], &["uuid", "date", "int4"], &["timestamptz", "bytea"]];
    let singles = TYPES.iter().map(|(name, _)| vec![*name]);
    for types in singles.chain(composites.iter().map(|types| types.to_vec())) {
        let table = unique("hashed");
        let columns: Vec<String> =
            types.iter().enumerate().map(|(at, name)| format!("c{at} {name}")).collect();
        let names: Vec<String> = (0..types.len()).map(|at| format!("c{at}")).collect();
        let (columns, names) = (columns.join(", "), names.join(", "));
        let create = format!("CREATE TABLE {table} ({columns}) PARTITION BY HASH ({names})");
        admin.batch_execute(&create).await.expect("the table is made");
        let mut checks = Vec::new();
        for _ in 0..2000 {
            let texts: Vec<Option<String>> = types
                .iter()
                .map(|name| (source.random_range(0..20) > 0).then(|| random(name, &mut source)))
                .collect();
            let key = texts.iter().zip(&types).map(|(text, name)| match text {
                Some(text) => {
                    kind(name).of_text(text.as_bytes()).unwrap_or_else(|| panic!("{name} {text:?}"))
                }
                None => Key::Null,
            });
            let hash = partition_hash(&key.collect::<Vec<_>>());
            let modulus = [4, 97, 2_147_483_647][source.random_range(0..3)];
            let values: Vec<String> =
                texts.iter().zip(&types).map(|(text, name)| quoted(text.as_deref(), name)).collect();
            checks.push(format!("({modulus}, {}, {})", hash % modulus, values.join(", ")));
        }
        let query = format!(
            "SELECT count(*) FILTER (WHERE satisfies_hash_partition('{table}'::regclass, m, r::int, {names})),
                count(*), min(({names})::text) FILTER
                    (WHERE NOT satisfies_hash_partition('{table}'::regclass, m, r::int, {names}))
             FROM (VALUES {}) v (m, r, {names})",
            checks.join(", ")
        );
        let row = admin.query_one(&query, &[]).await.unwrap_or_else(|error| panic!("{types:?}: {error:?}"));
        let (right, all): (i64, i64) = (row.get(0), row.get(1));
        let first: Option<String> = row.get(2);
        assert_eq!((right, all), (2000, 2000), "{types:?}, seed {SEED}: {first:?}");
    }
}

/// Texts at the edges of what is read. Many are no values of a type, or depend on settings.
const EDGES: &[&str] = &[
    "",
    " ",
    "0",
    "-0",
    "+7",
    " 42 ",
    "\t42\n",
    "4 2",
    "007",
    "32768",
    "2147483648",
    "9223372036854775808",
    "0x1f",
    "1_000",
    "1e3",
    "4.0",
    "infinity",
    "-Infinity",
    "+infinity",
    "inf",
    "NaN",
    "today",
    "now",
    "epoch",
    "2024-02-29",
    " 2024-02-29 ",
    "2023-02-29",
    "0000-01-01",
    "0001-01-01",
    "9999-12-31",
    "10000-01-01",
    "2024-1-2",
    "1/2/2020",
    "2/1/2020",
    "01-02-2020",
    "20240102",
    "2024-01-02 BC",
    "2024.01.02",
    "2024-01-02 03:04",
    "2024-01-02T03:04:05",
    "2024-01-02t03:04:05z",
    "2024-01-02 03:04:05.1",
    "2024-01-02 03:04:05.1234567",
    "2024-01-02 24:00:00",
    "2024-01-02 23:59:60",
    "2024-01-02 03:04:05Z",
    "2024-01-02 03:04:05+02",
    "2024-01-02 03:04:05 +02:30",
    "2024-01-02 03:04:05-0230",
    "2024-01-02 03:04+15:59",
    "2024-01-02 03:04:05+16",
    "2024-01-02 03:04:05 Europe/Berlin",
    "2024-01-02 03:04:05 PST",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "{A0EEBC999C0B4EF8BB6D6BB9BD380A11}",
    "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
    "\\x",
    "\\x0F f0",
    "\\x0 ff0",
    "\\x0",
    "\\X00",
    "a\\\\b",
    "\\001\\377",
    "\\400",
    "\\",
    "{1,2}",
    "null",
];

/// The function that writes a type's binary form.
fn sender(name: &str) -> String {
    match name {
        "uuid" | "date" | "timestamp" | "timestamptz" => format!("{name}_send"),
        name => format!("{name}send"),
    }
}

/// What is read of a text is what the server reads, whatever `DateStyle` and `TimeZone` say.
#[tokio::test]
async fn texts_mean_what_the_server_says() {
    let stage = shared().await;
    let admin = stage.primary.admin().await;
    let mut compared = 0;
    for (style, zone) in [
        ("ISO, MDY", "UTC"),
        ("SQL, DMY", "Asia/Kolkata"),
        ("German, DMY", "PST8PDT"),
        ("Postgres, YMD", "UTC"),
    ] {
        admin
            .batch_execute(&format!("SET DateStyle = '{style}'; SET TimeZone = '{zone}'"))
            .await
            .expect("settings");
        for (name, kind) in TYPES {
            for text in EDGES {
                let Some(key) = kind.of_text(text.as_bytes()) else { continue };
                let bare = key.to_string();
                let bare = bare.trim_matches('\'').replace('\'', "''");
                let query = format!("SELECT {} = '{bare}'::{name}", quoted(Some(text), name));
                let row = admin.query_one(&query, &[]).await;
                let row = row.unwrap_or_else(|error| panic!("{style}: {query}: {error:?}"));
                assert!(row.get::<_, bool>(0), "{style}, {zone}: {query}");
                let query = format!("SELECT {}({})", sender(name), quoted(Some(text), name));
                let row = admin.query_one(&query, &[]).await.expect("the binary form");
                let binary: Vec<u8> = row.get(0);
                assert_eq!(kind.of_binary(kind.oid(), &binary), Some(key), "{style}, {zone}: {query}");
                compared += 1;
            }
        }
    }
    assert!(compared > 300, "{compared}");
}

/// Elements of arrays in text are the server's.
#[tokio::test]
async fn arrays_mean_what_the_server_says() {
    let stage = shared().await;
    let admin = stage.primary.admin().await;
    let mut source = StdRng::seed_from_u64(SEED);
    let parts = ["{", "}", ",", " ", "\"", "\\", "a", "NULL", "1", "\t", "{", "}", "\u{b}"];
    let mut compared = 0;
    for _ in 0..3000 {
        let length = source.random_range(0..8);
        let inside: String = (0..length).map(|_| parts[source.random_range(0..parts.len())]).collect();
        let text = format!("{{{inside}}}");
        let mut found: Vec<Option<String>> = Vec::new();
        let known = text_elements(text.as_bytes(), |element| {
            found.push(element.map(|element| String::from_utf8_lossy(element).into_owned()));
            true
        });
        if known {
            let row = admin.query_one(&format!("SELECT {}", quoted(Some(&text), "text[]")), &[]).await;
            let row = row.unwrap_or_else(|error| panic!("{text:?} is {found:?}: {error:?}"));
            assert_eq!(row.get::<_, Vec<Option<String>>>(0), found, "{text:?}");
            compared += 1;
        }
    }
    assert!(compared > 300, "{compared}");
}
