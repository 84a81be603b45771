//! Plans of writes, `COPY` and utility statements: each text with its shards, and with what is done if they are several.

mod changes;
mod copies;
mod inserts;
mod others;

use pg_query::protobuf as pb;
use pointsman_sql::LexRules;

use super::plan_write;
use crate::layout::Schema;
use crate::pick::{KeyUse, KeyValues, Pick};
use crate::plan::scope::{Lookups, Scopes};
use crate::plan::tests::{Fake, shown};
use crate::plan::tree::Source;
use crate::plan::{Gather, Many, Merge, Plan, Slice};

fn plan(text: &str) -> Plan {
    plan_with(text, &Fake { bytewise: true })
}

fn plan_with(text: &str, schema: &dyn Schema) -> Plan {
    let parsed = pg_query::parse(text, 0).unwrap_or_else(|error| panic!("{text}: {error}")).protobuf;
    let literals = pointsman_sql::literals(text.as_bytes(), LexRules::default()).unwrap();
    let source = Source { text, literals: &literals };
    // A stand-in for the planner of queries: rows are appended, whatever the query.
    let query = |raw: &pb::RawStmt| {
        let lookups = Lookups::new();
        let node = raw.stmt.as_ref().unwrap().node.as_ref().unwrap();
        let pick = Scopes::of(node, source, schema, &lookups).pick();
        let gather = Gather {
            lookups: Vec::new(),
            sql: String::new(),
            on: pick.clone(),
            hidden: 0,
            merge: Merge::Append(Slice::default()),
        };
        Plan { pick, many: Many::Gather(Box::new(gather)) }
    };
    plan_write(&parsed.stmts[0], source, schema, &query)
}

fn key(text: &str, used: &KeyUse) -> String {
    let literals = pointsman_sql::literals(text.as_bytes(), LexRules::default()).unwrap();
    match &used.values {
        KeyValues::Tuples(rows) | KeyValues::Rows(rows) => {
            let row =
                |row: &[_]| row.iter().map(|v| shown(text, &literals, *v)).collect::<Vec<_>>().join("/");
            rows.iter().map(|values| row(values)).collect::<Vec<_>>().join(" ")
        }
        KeyValues::Array(value) => format!("any {}", shown(text, &literals, *value)),
        KeyValues::Between { .. } => "between".to_owned(),
    }
}

/// `shards: what is done if they are several`.
fn show(text: &str) -> String {
    let Plan { pick, many } = plan(text);
    let pick = match &pick {
        Pick::Any => "any".to_owned(),
        Pick::First => "first".to_owned(),
        Pick::All => "all".to_owned(),
        Pick::Keys(keys) => keys.iter().map(|used| key(text, used)).collect::<Vec<_>>().join(", "),
    };
    let many = match &many {
        Many::Refused(refusal) => format!("{:?}", refusal.why),
        Many::Gather(_) | Many::Broadcast(..) => "gather".to_owned(),
        Many::Each(each) => format!("each {each:?}"),
        Many::Insert(insert) => format!("{} rows", insert.rows.len()),
        Many::CopyAll => "copy to all".to_owned(),
        Many::CopyFrom(from) => format!("deal by {:?} of {}", from.columns, from.width),
        Many::CopyTo(to) => format!("copy{}", if to.header { " header" } else { "" }),
    };
    format!("{pick}: {many}")
}

fn all_are(cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(text, expected)| (text, expected, show(text)))
        .filter(|(_, expected, found)| found != *expected)
        .map(|(text, expected, found)| format!("{text}\n  expected {expected}, found {found}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
