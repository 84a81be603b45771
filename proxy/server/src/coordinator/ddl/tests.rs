//! The text of the definitions.

use super::super::spread::{Range, Spread};
use super::super::{Column, Design, Locale, Place, Remote, Table};
use super::script;

fn column(name: &str, type_name: &str) -> Column {
    Column {
        name: name.into(),
        type_name: type_name.into(),
        collation: None,
        not_null: name == "id",
        is_text: type_name == "text",
    }
}

fn table(name: &str, key: Column) -> Table {
    Table { schema: "public".into(), name: name.into(), columns: vec![key, column("body", "text")] }
}

fn design(tables: Vec<(Table, Place)>) -> Design {
    let shard = |number: usize| Remote {
        options: vec![("host".into(), format!("db{number}")), ("port".into(), "5432".into())],
        user: "o'brien".into(),
        password: Some("pa\\ss".into()),
    };
    Design {
        shards: (0..3).map(shard).collect(),
        tables,
        locale: Locale { collate: "C.UTF-8".into(), ctype: "C.UTF-8".into() },
        roles: vec!["CURRENT_USER".into(), "\"app\"".into()],
    }
}

fn spread(key: &str, spread: Spread) -> Place {
    Place::Spread(vec![key.into()], spread)
}

fn contains(sql: &str, lines: &[&str]) {
    for line in lines {
        assert!(sql.contains(line), "{line}\n{sql}");
    }
}

#[test]
fn servers_are_made_with_their_logins_quoted() {
    let sql = script(&design(Vec::new())).unwrap();
    contains(
        &sql,
        &[
            "CREATE SERVER pointsman_shard_2 FOREIGN DATA WRAPPER postgres_fdw\n  OPTIONS (host 'db2', port '5432', \
         use_remote_estimate 'true', async_capable 'true', fetch_size '1000');",
            "CREATE USER MAPPING FOR CURRENT_USER SERVER pointsman_shard_0 OPTIONS (user 'o''brien', password E'pa\\\\ss');",
            "CREATE USER MAPPING FOR \"app\" SERVER pointsman_shard_1",
            "datcollate = 'C.UTF-8'",
            "unnest(ARRAY[NULL])",
        ],
    );
    assert!(sql.ends_with("COMMIT;\n"));
}

#[test]
fn partitions_are_where_the_rows_are() {
    let ranges = |list: &[(Option<&str>, Option<&str>, usize)]| {
        let one = |(from, to, shard): &(Option<&str>, Option<&str>, usize)| Range {
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            shard: *shard,
        };
        Spread::Range(list.iter().map(one).collect())
    };
    let sql = script(&design(vec![
        (table("hashed", column("id", "uuid")), spread("id", Spread::Hash)),
        (table("modulo", column("id", "bigint")), spread("id", Spread::Modulo)),
        (
            table("ranges", column("id", "text")),
            spread("id", ranges(&[(None, Some("h"), 0), (Some("h"), None, 2)])),
        ),
        (
            table("pieces", column("id", "int")),
            spread("id", ranges(&[(None, Some("0"), 1), (Some("5"), Some("9"), 1)])),
        ),
        (
            table("listed", column("id", "text")),
            spread(
                "id",
                Spread::List {
                    values: vec![(Some("it's".into()), 0), (None, 0), (Some("b".into()), 1)],
                    default: Some(1),
                },
            ),
        ),
        (table("ring", column("id", "int")), spread("id", Spread::Untold)),
        (table("of \"all\"", column("id", "int")), Place::First),
    ]))
    .unwrap();
    contains(
        &sql,
        &[
            "CREATE TABLE \"public\".\"hashed\" (\n  \"id\" uuid NOT NULL,\n  \"body\" text\n) PARTITION BY HASH (\"id\");",
            "CREATE FOREIGN TABLE pointsman.\"public.hashed.2\" PARTITION OF \"public\".\"hashed\" FOR VALUES WITH (MODULUS 3, \
         REMAINDER 2) SERVER pointsman_shard_2 OPTIONS (schema_name 'public', table_name 'hashed');",
            "PARTITION BY HASH (\"id\" pointsman.modulo_3_int8)",
            "PARTITION BY RANGE (\"id\" COLLATE \"C\")",
            "FOR VALUES FROM (MINVALUE) TO ('h') SERVER pointsman_shard_0",
            "FOR VALUES FROM ('h') TO (MAXVALUE) SERVER pointsman_shard_2",
            // A shard with two ranges is no two partitions, which would have its rows twice.
            "CREATE FOREIGN TABLE pointsman.\"public.pieces.1\" (CHECK ((\"id\" < '0') OR (\"id\" >= '5' AND \"id\" < '9'))) \
         INHERITS (\"public\".\"pieces\")",
            "FOR VALUES IN ('it''s', NULL) SERVER pointsman_shard_0",
            "\"public.listed.1\" PARTITION OF \"public\".\"listed\" DEFAULT SERVER",
            "CREATE FOREIGN TABLE pointsman.\"public.ring.2\" () INHERITS (\"public\".\"ring\") SERVER pointsman_shard_2",
            "CREATE FOREIGN TABLE \"public\".\"of \"\"all\"\"\" (",
            "GRANT SELECT ON \"public\".\"ring\" TO \"app\";",
            "COMMENT ON TABLE \"public\".\"ring\" IS",
            "COMMENT ON FOREIGN TABLE \"public\".\"of \"\"all\"\"\" IS",
        ],
    );
    assert!(!sql.contains("\"public.ranges.1\"") && !sql.contains("\"public.listed.2\""), "{sql}");
}

#[test]
fn what_cannot_be_spread_so_is_said() {
    let refused = |key: &str, by| {
        script(&design(vec![(table("t", column("id", "text")), spread(key, by))])).unwrap_err()
    };
    assert_eq!(refused("id", Spread::Modulo), "table public.t: column id of type text has no remainder");
    assert_eq!(refused("uid", Spread::Hash), "table public.t has no column uid, which is its shard key");
    let two = Place::Spread(vec!["id".into(), "body".into()], Spread::Modulo);
    let told = script(&design(vec![(table("t", column("id", "bigint")), two)])).unwrap_err();
    assert!(told.contains("several columns"), "{told}");
}

#[test]
fn long_names_of_parts_stay_apart() {
    let long = "ö".repeat(31);
    let tables = ["a", "b"]
        .map(|end| (table(&format!("{long}{end}"), column("id", "int")), spread("id", Spread::Hash)));
    let sql = script(&design(tables.to_vec())).unwrap();
    let parts: Vec<&str> = sql
        .split("CREATE FOREIGN TABLE pointsman.")
        .skip(1)
        .map(|rest| rest.split(" PARTITION").next().unwrap())
        .collect();
    let distinct: std::collections::HashSet<&&str> = parts.iter().collect();
    assert_eq!((parts.len(), distinct.len()), (6, 6));
    assert!(parts.iter().all(|part| part.len() <= 65), "{parts:?}");
}
