//! Plans of statements over the tables of a small schema.

mod many;
mod meaning;
mod pick;

use std::sync::Arc;

use pointsman_sql::{FunctionName, LexRules, Literal, Relation, ValueRef};

use crate::function::Function;
use crate::layout::{Column, FunctionKind, Placement, Schema, Sharded};

/// Tables of the tests: the workload's, and some for keys of other types.
pub(crate) struct Fake {
    pub(crate) bytewise: bool,
}

/// A table's name, its key or other placement, and its columns with their types.
type Table = (&'static str, &'static str, &'static [(&'static str, u32)]);

pub(crate) const TABLES: &[Table] = &[
    (
        "agents",
        "id",
        &[
            ("id", 20),
            ("name", 25),
            ("personality_type", 25),
            ("compatibility", 1021),
            ("community_id", 23),
            ("active", 16),
            ("bio", 25),
            ("created_at", 1184),
        ],
    ),
    (
        "interactions",
        "initiator_id",
        &[
            ("id", 20),
            ("initiator_id", 20),
            ("recipient_id", 20),
            ("content", 25),
            ("interaction_type", 25),
            ("timestamp", 1184),
        ],
    ),
    (
        "friendships",
        "initiator_id",
        &[
            ("initiator_id", 20),
            ("recipient_id", 20),
            ("friendship_status", 25),
            ("strength_level", 700),
            ("last_interaction", 1184),
        ],
    ),
    ("communities", "reference", &[("id", 23), ("name", 25), ("topic", 25), ("created_at", 1184)]),
    ("community_members", "agent_id", &[("community_id", 23), ("agent_id", 20)]),
    ("settings", "unsharded", &[("name", 25), ("value", 25), ("agent_id", 20)]),
    ("orders", "region,number", &[("region", 25), ("number", 23), ("agent_id", 20), ("total", 1700)]),
    ("lines", "region,number", &[("region", 25), ("number", 23), ("line", 23), ("price", 701)]),
    ("profiles", "agent_id|handle", &[("agent_id", 20), ("handle", 25), ("age", 23)]),
];

impl Schema for Fake {
    fn shards(&self) -> usize {
        4
    }

    fn placement(&self, relation: &Relation) -> Placement {
        let Some((_, key, _)) = table(relation) else { return Placement::Unsharded };
        match *key {
            "reference" => Placement::Reference,
            "unsharded" => Placement::Unsharded,
            keys => {
                let key = |key: &str| key.split(',').map(Into::into).collect();
                Placement::Sharded(Arc::new(Sharded {
                    keys: keys.split('|').map(key).collect(),
                    function: Arc::new(Function::Modulo),
                    id: None,
                }))
            }
        }
    }

    fn columns(&self, relation: &Relation) -> Option<Arc<[Column]>> {
        let (_, _, columns) = table(relation)?;
        let column = |(name, type_oid): &(&str, u32)| Column {
            name: (*name).into(),
            type_oid: *type_oid,
            bytewise: self.bytewise || *type_oid != 25,
            deterministic: true,
            not_null: false,
        };
        Some(columns.iter().map(column).collect())
    }

    fn function(&self, name: &FunctionName) -> FunctionKind {
        match &*name.name {
            "count" | "sum" | "min" | "max" | "avg" | "array_agg" | "string_agg" | "bool_and" | "bool_or"
            | "stddev" | "json_agg" | "percentile_cont" | "every" | "bit_or" => FunctionKind::Aggregate,
            "row_number" | "lag" => FunctionKind::Window,
            "rank" | "dense_rank" | "percent_rank" | "cume_dist" => {
                FunctionKind::Window.worse(FunctionKind::Aggregate)
            }
            "lower" | "upper" | "abs" | "now" | "length" | "date_trunc" | "timezone" => FunctionKind::Plain,
            "generate_series" | "unnest" => FunctionKind::Rows,
            "random" | "nextval" => FunctionKind::Volatile,
            _ => FunctionKind::Unknown,
        }
    }

    fn default_bytewise(&self) -> bool {
        self.bytewise
    }
}

fn table(relation: &Relation) -> Option<&'static Table> {
    TABLES.iter().find(|(name, _, _)| *name == &*relation.name)
}

/// The literals of a text.
pub(crate) fn literals(text: &str) -> Vec<Literal> {
    let mut analyzer_literals = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let kind = match bytes[at] {
            b'\'' => {
                at += 1;
                while bytes[at] != b'\'' {
                    at += 1;
                }
                at += 1;
                pointsman_sql::LiteralKind::String
            }
            b'0'..=b'9' => {
                while at < bytes.len() && bytes[at].is_ascii_digit() {
                    at += 1;
                }
                pointsman_sql::LiteralKind::Integer
            }
            b'$' | b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                at += 1;
                while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_') {
                    at += 1;
                }
                continue;
            }
            _ => {
                at += 1;
                continue;
            }
        };
        analyzer_literals.push(Literal { start: start as u32, end: at as u32, kind });
    }
    let _ = LexRules::default();
    analyzer_literals
}

/// A value as its text has it.
pub(crate) fn shown(text: &str, literals: &[Literal], value: ValueRef) -> String {
    match value {
        ValueRef::Literal(at) => String::from_utf8_lossy(literals[at].raw(text.as_bytes())).into_owned(),
        ValueRef::Negative(at) => format!("-{}", String::from_utf8_lossy(literals[at].raw(text.as_bytes()))),
        ValueRef::Param(number) => format!("${number}"),
        ValueRef::Null => "NULL".to_owned(),
        other => format!("{other:?}"),
    }
}
