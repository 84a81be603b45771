//! The tables of the tests with few rows, many of them alike, some NULL.

use std::fmt::Write as _;

use super::server::Server;
use super::{SHARDS, shard_of};
use crate::plan::tests::TABLES;

pub(super) fn load(server: &Server) {
    let mut sql = vec![String::new(); SHARDS + 1];
    for (name, key, columns) in TABLES {
        let column = |(name, oid): &(&str, u32)| format!("\"{name}\" {}", type_name(*oid));
        let columns_sql: Vec<String> = columns.iter().map(column).collect();
        for sql in &mut sql {
            let _ = writeln!(sql, "CREATE TABLE {name} ({});", columns_sql.join(", "));
        }
        for number in 0..rows(name) {
            let cells: Vec<String> =
                columns.iter().enumerate().map(|(at, column)| cell(name, column, number, at)).collect();
            let insert = format!("INSERT INTO {name} VALUES ({});\n", cells.join(", "));
            sql[SHARDS].push_str(&insert);
            match *key {
                "reference" => sql[..SHARDS].iter_mut().for_each(|sql| sql.push_str(&insert)),
                "unsharded" => sql[0].push_str(&insert),
                keys => {
                    let first = keys.split('|').next().unwrap();
                    let part = |key: &str| columns.iter().position(|(name, _)| *name == key).unwrap();
                    let key: Vec<String> =
                        first.split(',').map(|key| cells[part(key)].trim_matches('\'').to_owned()).collect();
                    let shard = shard_of(&key.iter().map(String::as_str).collect::<Vec<_>>());
                    sql[shard].push_str(&insert);
                }
            }
        }
    }
    for (at, sql) in sql.iter().enumerate() {
        let name = if at == SHARDS { "whole".to_owned() } else { format!("shard{at}") };
        server.query("postgres", &format!("CREATE DATABASE {name}")).unwrap();
        server.query(&name, &format!("BEGIN;\nCREATE SCHEMA pointsman;\n{sql}COMMIT;")).unwrap();
    }
}

fn rows(name: &str) -> usize {
    match name {
        "communities" => 4,
        "settings" => 6,
        "profiles" => 12,
        "interactions" | "friendships" | "lines" => 60,
        _ => 24,
    }
}

fn type_name(oid: u32) -> &'static str {
    match oid {
        16 => "boolean",
        20 => "bigint",
        23 => "integer",
        25 => "text",
        700 => "real",
        701 => "double precision",
        1021 => "real[]",
        1184 => "timestamptz",
        1700 => "numeric",
        _ => panic!("no type {oid}"),
    }
}

/// A table's value: keys by their number, the others from few values and NULL.
fn cell(table: &str, (name, oid): &(&str, u32), number: usize, at: usize) -> String {
    let mixed = (number * 7 + at * 13 + number / 5 * 3) % 11;
    match (table, *name) {
        ("agents", "id") | ("communities", "id") | ("interactions", "id") | ("lines", "line") => {
            number.to_string()
        }
        ("profiles", "agent_id") => (number * 2).to_string(),
        ("profiles", "handle") => format!("'h{}'", number * 2),
        ("orders", "number") => (number / 2).to_string(),
        ("lines", "number") => (number / 5).to_string(),
        ("orders" | "lines", "region") => format!("'{}'", ["eu", "us"][number % 2]),
        (_, "initiator_id" | "agent_id") => ((number * 5 + number / 7) % 24).to_string(),
        (_, "recipient_id") => ((number * 11 + 3) % 24).to_string(),
        _ if mixed == 4 => "NULL".to_owned(),
        _ => match oid {
            16 => (mixed & 1 == 0).to_string(),
            20 | 23 => (mixed % 4).to_string(),
            25 => format!("'{}'", ["ann", "Bob", "", "it''s", "accepted", "zoe"][mixed % 6]),
            700 | 701 => format!("{}.5", mixed % 5),
            1021 => format!("'{{{},{}}}'", mixed, number % 3),
            1184 => format!("'2026-01-0{} 00:00+00'", mixed % 9 + 1),
            _ => format!("{}.{}0", mixed, number % 10),
        },
    }
}
