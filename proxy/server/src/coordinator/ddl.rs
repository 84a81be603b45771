//! The definitions as text: servers, and a partitioned table over foreign ones for each sharded table.

use std::fmt::Write as _;

use super::spread::{Range, Spread};
use super::{Design, Place, Remote, Table, modulo};
use crate::upstream::settings::quote_text;

/// What tables that are made here carry as their comment: what has it may be dropped and made anew, what has not is somebody's.
const MARK: &str = "made by pointsman shard init";
/// Bytes of a name in PostgreSQL.
const NAME_BYTES_MAX: usize = 63;
/// Rows that a foreign table fetches at once.
const FETCH_SIZE: usize = 1000;

/// The whole script, for the coordinator's database. It may be run again: what it made before, it makes anew.
///
/// # Errors
/// Why a table cannot be spread so, in plain words.
pub fn script(design: &Design) -> Result<String, String> {
    let mut sql = String::new();
    opening(&mut sql, design);
    for (number, shard) in design.shards.iter().enumerate() {
        server(&mut sql, number, shard, &design.roles);
    }
    if design.tables.iter().any(|(_, place)| matches!(place, Place::Spread(_, Spread::Modulo))) {
        sql.push_str("\n-- Integers by their remainder, as hash partitions.\n");
        sql.push_str(&modulo::definitions(design.shards.len()));
    }
    schemas(&mut sql, design);
    for (number, (table, place)) in design.tables.iter().enumerate() {
        match place {
            Place::First => first(&mut sql, table),
            Place::Spread(key, spread) => {
                spread_out(&mut sql, (number, table), (key, spread), design.shards.len())?
            }
        }
        finish(&mut sql, table, place, &design.roles);
    }
    closing(&mut sql);
    Ok(sql)
}

/// An identifier, quoted.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn full(table: &Table) -> String {
    format!("{}.{}", quote(&table.schema), quote(&table.name))
}

fn line(sql: &mut String, text: std::fmt::Arguments<'_>) {
    let _infallible = writeln!(sql, "{text}");
}

/// Nothing is dropped that was not made here.
fn opening(sql: &mut String, design: &Design) {
    let names: Vec<String> = design.tables.iter().map(|(table, _)| quote_text(&full(table))).collect();
    let names = if names.is_empty() { "NULL".to_owned() } else { names.join(", ") };
    let (collate, ctype) = (quote_text(&design.locale.collate), quote_text(&design.locale.ctype));
    line(
        sql,
        format_args!(
            "-- Makes this database the coordinator of {} shards: a table here is all shards' tables of that name together.\n\
         -- Needs PostgreSQL 14 or newer, and a superuser. Types and extensions that tables use must be there already.\n\
         -- Roles may read what the shards' user may: row-level security of the shards does not tell them apart.\n\
         BEGIN;\n\
         DO $$ BEGIN\n  \
           IF NOT EXISTS (SELECT FROM pg_database WHERE datname = current_database() AND datcollate = {collate} AND datctype = {ctype}) THEN\n    \
             RAISE EXCEPTION 'this database sorts texts in another way than the shards do'\n      \
             USING HINT = 'Create it with LC_COLLATE ' || {collate} || ' and LC_CTYPE ' || {ctype} || ', TEMPLATE template0.';\n  \
           END IF;\n\
         END $$;",
            design.shards.len()
        ),
    );
    line(
        sql,
        format_args!(
            "\n-- What was made here before goes; what was not stays, and is in the way.\n\
         DO $$ DECLARE kind \"char\"; name text; BEGIN\n  \
           FOR kind, name IN SELECT c.relkind, c.oid::regclass::text FROM pg_class c\n      \
               WHERE obj_description(c.oid, 'pg_class') = '{MARK}' ORDER BY c.relkind <> 'f' LOOP\n    \
             EXECUTE format('DROP %s IF EXISTS %s', CASE kind WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, name);\n  \
           END LOOP;\n  \
           SELECT r INTO name FROM unnest(ARRAY[{names}]) AS r WHERE to_regclass(r) IS NOT NULL LIMIT 1;\n  \
           IF FOUND THEN\n    \
             RAISE EXCEPTION 'table % is here already, and was not made by pointsman shard init', name\n      \
             USING HINT = 'The coordinator is a database of its own, not one of the shards.';\n  \
           END IF;\n\
         END $$;\n\
         CREATE SCHEMA IF NOT EXISTS pointsman;\n\
         CREATE EXTENSION IF NOT EXISTS postgres_fdw SCHEMA pointsman;"
        ),
    );
}

fn options(list: &[(String, String)]) -> String {
    let each = list.iter().map(|(name, value)| format!("{name} {}", quote_text(value)));
    each.collect::<Vec<_>>().join(", ")
}

fn server(sql: &mut String, number: usize, shard: &Remote, roles: &[String]) {
    let mut all = shard.options.clone();
    for (name, value) in [("use_remote_estimate", "true"), ("async_capable", "true")] {
        all.push((name.to_owned(), value.to_owned()));
    }
    all.push(("fetch_size".to_owned(), FETCH_SIZE.to_string()));
    line(
        sql,
        format_args!(
            "\n-- Shard {number}.\nDROP SERVER IF EXISTS pointsman_shard_{number} CASCADE;\n\
         CREATE SERVER pointsman_shard_{number} FOREIGN DATA WRAPPER postgres_fdw\n  OPTIONS ({});",
            options(&all)
        ),
    );
    let mut login = vec![("user".to_owned(), shard.user.clone())];
    login.extend(shard.password.clone().map(|password| ("password".to_owned(), password)));
    for role in roles {
        line(
            sql,
            format_args!(
                "CREATE USER MAPPING FOR {role} SERVER pointsman_shard_{number} OPTIONS ({});",
                options(&login)
            ),
        );
    }
}

fn schemas(sql: &mut String, design: &Design) {
    let mut names: Vec<&str> = design.tables.iter().map(|(table, _)| table.schema.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    sql.push('\n');
    for name in names {
        line(sql, format_args!("CREATE SCHEMA IF NOT EXISTS {};", quote(name)));
        for role in design.roles.iter().skip(1) {
            line(sql, format_args!("GRANT USAGE ON SCHEMA {} TO {role};", quote(name)));
        }
    }
}

fn columns(table: &Table) -> String {
    let one = |column: &super::Column| {
        let collation = column.collation.as_ref().map(|name| format!(" COLLATE {name}")).unwrap_or_default();
        let not_null = if column.not_null { " NOT NULL" } else { "" };
        format!("  {} {}{collation}{not_null}", quote(&column.name), column.type_name)
    };
    table.columns.iter().map(one).collect::<Vec<_>>().join(",\n")
}

fn remote(table: &Table, shard: usize) -> String {
    format!(
        "SERVER pointsman_shard_{shard} OPTIONS (schema_name {}, table_name {})",
        quote_text(&table.schema),
        quote_text(&table.name)
    )
}

/// The same on every shard, or on the first alone.
fn first(sql: &mut String, table: &Table) {
    line(
        sql,
        format_args!("\nCREATE FOREIGN TABLE {} (\n{}\n) {};", full(table), columns(table), remote(table, 0)),
    );
}

/// A shard's part of a table; parts have a schema of their own.
fn part(number: usize, table: &Table, shard: usize) -> String {
    let whole = format!("{}.{}", table.schema, table.name);
    let mut name = format!("{whole}.{shard}");
    if name.len() > NAME_BYTES_MAX {
        let tail = format!("~{number}.{shard}");
        let mut cut = NAME_BYTES_MAX - tail.len();
        while !whole.is_char_boundary(cut) {
            cut -= 1;
        }
        name = format!("{}{tail}", &whole[..cut]);
    }
    format!("pointsman.{}", quote(&name))
}

fn spread_out(
    sql: &mut String,
    (number, table): (usize, &Table),
    (key, spread): (&[String], &Spread),
    shards: usize,
) -> Result<(), String> {
    let by = partition_by(table, key, spread, shards)?;
    line(sql, format_args!("\nCREATE TABLE {} (\n{}\n){by};", full(table), columns(table)));
    for shard in 0..shards {
        let name = part(number, table, shard);
        let remote = remote(table, shard);
        if by.is_empty() {
            let check =
                check(table, key, spread, shard).map(|check| format!("CHECK ({check})")).unwrap_or_default();
            line(
                sql,
                format_args!("CREATE FOREIGN TABLE {name} ({check}) INHERITS ({}) {remote};", full(table)),
            );
        } else if let Some(bound) = bound(spread, shard, shards) {
            line(
                sql,
                format_args!("CREATE FOREIGN TABLE {name} PARTITION OF {} {bound} {remote};", full(table)),
            );
        } else {
            continue;
        }
        line(sql, format_args!("COMMENT ON FOREIGN TABLE {name} IS '{MARK}';"));
    }
    Ok(())
}

/// `PARTITION BY`, or nothing for parts that inherit.
fn partition_by(table: &Table, key: &[String], spread: &Spread, shards: usize) -> Result<String, String> {
    let whole = format!("{}.{}", table.schema, table.name);
    let mut columns = Vec::new();
    for name in key {
        let column = table.columns.iter().find(|column| column.name == *name);
        columns.push(
            column.ok_or_else(|| format!("table {whole} has no column {name}, which is its shard key"))?,
        );
    }
    if !spread.is_partitions(shards) {
        return Ok(String::new());
    }
    let quoted: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
    let one = |what: &str| match columns.as_slice() {
        [column] => Ok(*column),
        _ => Err(format!("table {whole}: a shard key of several columns cannot be spread by {what}")),
    };
    Ok(match spread {
        Spread::Hash => format!(" PARTITION BY HASH ({})", quoted.join(", ")),
        Spread::Modulo => {
            let column = one("modulo")?;
            let class = modulo::class(&column.type_name, shards).ok_or_else(|| {
                format!("table {whole}: column {} of type {} has no remainder", column.name, column.type_name)
            })?;
            format!(" PARTITION BY HASH ({} {class})", quoted.join(", "))
        }
        Spread::Range(_) => {
            // Texts are in the order of their bytes.
            let collate = if one("range")?.is_text { " COLLATE \"C\"" } else { "" };
            format!(" PARTITION BY RANGE ({}{collate})", quoted.join(", "))
        }
        Spread::List { .. } => {
            one("list")?;
            format!(" PARTITION BY LIST ({})", quoted.join(", "))
        }
        Spread::Untold => String::new(),
    })
}

/// Which rows a partition has; `None` for a shard that has none.
fn bound(spread: &Spread, shard: usize, shards: usize) -> Option<String> {
    match spread {
        Spread::Hash | Spread::Modulo => {
            Some(format!("FOR VALUES WITH (MODULUS {shards}, REMAINDER {shard})"))
        }
        Spread::Range(ranges) => {
            let range = ranges.iter().find(|range| range.shard == shard)?;
            let end = |value: &Option<String>, none: &str| {
                value.as_ref().map_or(none.to_owned(), |value| quote_text(value))
            };
            Some(format!(
                "FOR VALUES FROM ({}) TO ({})",
                end(&range.from, "MINVALUE"),
                end(&range.to, "MAXVALUE")
            ))
        }
        Spread::List { default: Some(default), .. } if *default == shard => Some("DEFAULT".to_owned()),
        Spread::List { values, .. } => {
            let mine = values.iter().filter(|(_, home)| *home == shard);
            let mine: Vec<String> = mine
                .map(|(value, _)| value.as_ref().map_or("NULL".to_owned(), |value| quote_text(value)))
                .collect();
            (!mine.is_empty()).then(|| format!("FOR VALUES IN ({})", mine.join(", ")))
        }
        Spread::Untold => None,
    }
}

/// What is known of the rows of a part that inherits.
fn check(table: &Table, key: &[String], spread: &Spread, shard: usize) -> Option<String> {
    let (Spread::Range(ranges), [name]) = (spread, key) else { return None };
    let is_text = table.columns.iter().any(|column| column.name == *name && column.is_text);
    let column = format!("{}{}", quote(name), if is_text { " COLLATE \"C\"" } else { "" });
    let one = |range: &Range| {
        let low = range.from.as_ref().map(|from| format!("{column} >= {}", quote_text(from)));
        let high = range.to.as_ref().map(|to| format!("{column} < {}", quote_text(to)));
        let both: Vec<String> = low.into_iter().chain(high).collect();
        if both.is_empty() { "true".to_owned() } else { format!("({})", both.join(" AND ")) }
    };
    let mine: Vec<String> = ranges.iter().filter(|range| range.shard == shard).map(one).collect();
    Some(if mine.is_empty() { "false".to_owned() } else { mine.join(" OR ") })
}

/// The mark, and who may read it.
fn finish(sql: &mut String, table: &Table, place: &Place, roles: &[String]) {
    let name = full(table);
    let kind = if *place == Place::First { "FOREIGN TABLE" } else { "TABLE" };
    line(sql, format_args!("COMMENT ON {kind} {name} IS '{MARK}';"));
    for role in roles.iter().skip(1) {
        line(sql, format_args!("GRANT SELECT ON {name} TO {role};"));
    }
}

/// Joins and aggregates of co-located tables are done on the shards.
fn closing(sql: &mut String) {
    sql.push_str(
        "\nDO $$ BEGIN\n  \
         EXECUTE format('ALTER DATABASE %I SET enable_partitionwise_join = on', current_database());\n  \
         EXECUTE format('ALTER DATABASE %I SET enable_partitionwise_aggregate = on', current_database());\n\
         END $$;\nCOMMIT;\n",
    );
}

#[cfg(test)]
mod tests;
