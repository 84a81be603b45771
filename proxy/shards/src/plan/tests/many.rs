//! What is sent where for statements over several shards.

use super::{Fake, literals, shown};
use crate::pick::Pick;
use crate::plan::{Gather, Many, Merge, Slice, SortKey, Why, plan};

/// A plan in a few lines: lookups, the text for the shards, how rows are merged.
pub(super) fn told(text: &str, bytewise: bool) -> String {
    let literals = literals(text);
    match plan(text, &literals, &Fake { bytewise }).many {
        Many::Refused(refusal) => format!("refused {:?}: {}", refusal.why, refusal.part),
        Many::Gather(found) => {
            let mut lines = Vec::new();
            gather(&found, &|value| shown(text, &literals, value), "", &mut lines);
            lines.join("\n")
        }
        other => format!("{other:?}"),
    }
}

fn gather(
    found: &Gather,
    show: &dyn Fn(pointsman_sql::ValueRef) -> String,
    name: &str,
    lines: &mut Vec<String>,
) {
    for lookup in &found.lookups {
        let owned =
            lookup.owned.as_ref().map_or(String::new(), |owned| format!(" owned {:?}", owned.columns));
        gather(&lookup.gather, show, &format!("{}{owned}: ", lookup.number), lines);
    }
    let on = match &found.on {
        Pick::Any => "any",
        Pick::First => "first",
        Pick::All => "all",
        Pick::Keys(_) => "keys",
    };
    let slice = |slice: &Slice| {
        let part = |name: &str, value| {
            Option::map_or(value, String::new(), |value| format!(" {name} {}", show(value)))
        };
        let ties = if slice.with_ties { " ties" } else { "" };
        format!("{}{}{ties}", part("limit", slice.limit), part("offset", slice.offset))
    };
    let merge = match &found.merge {
        Merge::Append(part) => format!("append{}", slice(part)),
        Merge::One => "one".to_owned(),
        Merge::Ordered(ordered) => {
            let key = |key: &SortKey| {
                let direction = if key.descending { "desc" } else { "asc" };
                let nulls = if key.nulls_first == key.descending { "" } else { " nulls" };
                format!("{direction}{nulls}{}", if key.bytewise { "" } else { "?" })
            };
            let keys: Vec<String> = ordered.keys.iter().map(key).collect();
            let unique = ordered.unique.map_or(String::new(), |unique| format!(" unique {unique}"));
            assert_eq!(found.hidden, ordered.keys.len());
            format!("order {}{unique}{}", keys.join(", "), slice(&ordered.slice))
        }
    };
    lines.push(format!("{name}{on}, {merge}: {}", found.sql));
}

#[test]
#[ignore = "prints plans"]
fn look() {
    for text in std::fs::read_to_string("/tmp/planner.sql").unwrap_or_default().split(";\n") {
        let text = text.trim();
        if !text.is_empty() {
            println!("-- {text}\n{}\n", told(text, !text.starts_with("/**/")));
        }
    }
}

#[test]
fn refusals() {
    let _ = Why::Join;
}
