//! Against what a PostgreSQL 15 server says: `vectors.tsv` has a key's types, its values, and the remainder by 9973 for which
//! `satisfies_hash_partition` is true.

use super::partition_hash;
use crate::key::{Key, KeyType};

fn kind(name: &str) -> KeyType {
    match name {
        "int2" => KeyType::Int2,
        "int4" => KeyType::Int4,
        "int8" => KeyType::Int8,
        "text" => KeyType::Text,
        "varchar" => KeyType::Varchar,
        "uuid" => KeyType::Uuid,
        "bytea" => KeyType::Bytea,
        "date" => KeyType::Date,
        "timestamp" => KeyType::Timestamp,
        "timestamptz" => KeyType::TimestampTz,
        other => panic!("{other}"),
    }
}

#[test]
fn hashes_are_the_servers() {
    let mut count = 0;
    for line in include_str!("vectors.tsv").lines() {
        let [types, values, remainder] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let key: Vec<Key<'_>> = types
            .split(',')
            .zip(values.split('|'))
            .map(|(name, value)| match value {
                "NULL" => Key::Null,
                value => kind(name).of_text(value.as_bytes()).expect(line),
            })
            .collect();
        assert_eq!((partition_hash(&key) % 9973).to_string(), remainder, "{line}");
        count += 1;
    }
    assert_eq!(count, 77);
}
