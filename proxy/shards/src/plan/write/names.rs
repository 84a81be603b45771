//! Names of types that keys have.

/// `pg_type.oid` of a type by its name in a cast, of one word.
pub(super) fn type_named(word: &str) -> Option<u32> {
    Some(match word.to_ascii_lowercase().as_str() {
        "int2" | "smallint" => 21,
        "int4" | "int" | "integer" => 23,
        "int8" | "bigint" => 20,
        "text" => 25,
        "varchar" => 1043,
        "uuid" => 2950,
        "bytea" => 17,
        "date" => 1082,
        "timestamp" => 1114,
        "timestamptz" => 1184,
        "bool" | "boolean" => 16,
        _ => return None,
    })
}
