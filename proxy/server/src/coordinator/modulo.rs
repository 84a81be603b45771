//! An operator class that makes PostgreSQL's hash partitioning place integers by their remainder, so that it knows the one partition of
//! `key = 5` as it does for its own hash.

use std::fmt::Write as _;

/// What `hash_combine64` of PostgreSQL (`hashfn.h`) adds to the hash of the first column of a key.
const COMBINED: i64 = 0x49a0_f4dd_15e5_a8e3;

const TYPES: [&str; 3] = ["int8", "int4", "int2"];

/// The operator class of one integer type for so many shards.
pub(super) fn class(type_name: &str, shards: usize) -> Option<String> {
    let known = match type_name {
        "bigint" => "int8",
        "integer" => "int4",
        "smallint" => "int2",
        _ => return None,
    };
    Some(format!("pointsman.modulo_{shards}_{known}"))
}

/// The definitions for so many shards.
pub(super) fn definitions(shards: usize) -> String {
    let family = format!("pointsman.modulo_{shards}");
    let mut sql = format!(
        "DROP OPERATOR FAMILY IF EXISTS {family} USING hash CASCADE;\nCREATE OPERATOR FAMILY {family} USING hash;\n"
    );
    for name in TYPES {
        // The remainder is never negative; PostgreSQL adds the constant, and takes the remainder of the sum.
        let _infallible = write!(
            sql,
            "CREATE OR REPLACE FUNCTION {family}({name}, int8) RETURNS int8 LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE\n  \
             RETURN (($1::int8 % {shards} + {shards}) % {shards}) - {COMBINED};\n\
             CREATE OPERATOR CLASS {family}_{name} FOR TYPE {name} USING hash FAMILY {family} AS\n  \
             OPERATOR 1 pg_catalog.= ({name}, {name}), FUNCTION 2 {family}({name}, int8);\n"
        );
    }
    let pairs = TYPES.iter().flat_map(|left| TYPES.iter().map(move |right| (left, right)));
    let added: Vec<String> = pairs
        .filter(|(left, right)| left != right)
        .map(|(left, right)| format!("OPERATOR 1 pg_catalog.= ({left}, {right})"))
        .collect();
    let _infallible = writeln!(sql, "ALTER OPERATOR FAMILY {family} USING hash ADD\n  {};", added.join(", "));
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_a_class_and_others_none() {
        assert_eq!(class("bigint", 4).as_deref(), Some("pointsman.modulo_4_int8"));
        assert_eq!(class("numeric", 4), None);
        let sql = definitions(3);
        assert!(sql.contains("(($1::int8 % 3 + 3) % 3) - 5305509591434766563"), "{sql}");
        assert_eq!(sql.matches("OPERATOR 1 pg_catalog.=").count(), 9);
    }
}
