//! What is sent where for statements over several shards.

use super::{Fake, literals, shown};
use crate::pick::Pick;
use crate::plan::{Gather, Many, Merge, Slice, SortKey, plan};

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
        Many::Broadcast(found, refusal) => {
            let mut lines = vec![format!("rather {:?}: {}", refusal.why, refusal.part)];
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

fn are(bytewise: bool, cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(text, expected)| (text, expected, told(text, bytewise)))
        .filter(|(_, expected, found)| found != *expected)
        .map(|(text, expected, found)| format!("{text}\n expected:\n{expected}\n found:\n{found}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn merged_by_order() {
    are(
        true,
        &[
            ("SELECT id, name FROM agents", "all, append: SELECT id, name FROM agents"),
            (
                "SELECT id FROM agents ORDER BY name DESC, id LIMIT $1 OFFSET $2",
                "all, order desc, asc limit $1 offset $2: SELECT id, name AS pointsman_key_1, id AS pointsman_key_2 FROM agents ORDER BY name DESC, id LIMIT $1::bigint + $2::bigint",
            ),
            (
                "SELECT * FROM agents ORDER BY 2 NULLS FIRST",
                "all, order asc nulls: SELECT *, agents.name AS pointsman_key_1 FROM agents ORDER BY 2 NULLS FIRST",
            ),
            (
                "SELECT DISTINCT name FROM agents LIMIT 3",
                "all, order asc unique 1 limit 3: SELECT DISTINCT name, name AS pointsman_key_1 FROM agents ORDER BY 1 LIMIT 3",
            ),
            (
                "SELECT id FROM agents ORDER BY name OFFSET 2 FETCH FIRST 3 ROWS WITH TIES",
                "all, order asc limit 3 offset 2 ties: SELECT id, name AS pointsman_key_1 FROM agents ORDER BY name FETCH FIRST (3::bigint + 2::bigint) ROWS WITH TIES",
            ),
            (
                "SELECT id FROM agents UNION ALL SELECT initiator_id FROM interactions ORDER BY 1 LIMIT 3",
                "all, order asc limit 3: SELECT id, id AS pointsman_key_1 FROM agents UNION ALL SELECT initiator_id, initiator_id AS pointsman_key_1 FROM interactions ORDER BY 1 LIMIT 3",
            ),
        ],
    );
}

#[test]
fn names_of_output_columns() {
    are(
        true,
        &[
            (
                "SELECT a.* FROM communities c JOIN agents a ON c.id = a.community_id ORDER BY name DESC",
                "all, order desc: SELECT a.*, a.name AS pointsman_key_1 FROM communities c JOIN agents a ON c.id = a.community_id ORDER BY name DESC",
            ),
            (
                "SELECT a.name FROM communities c JOIN agents a ON c.id = a.community_id ORDER BY name",
                "all, order asc: SELECT a.name, a.name AS pointsman_key_1 FROM communities c JOIN agents a ON c.id = a.community_id ORDER BY name",
            ),
            (
                "SELECT DISTINCT ON (name) a.* FROM communities c JOIN agents a ON c.id = a.community_id",
                "all, order asc unique 1: SELECT DISTINCT ON (name) a.*, a.name AS pointsman_key_1 FROM communities c JOIN agents a ON c.id = a.community_id ORDER BY name",
            ),
            // An output column first in `ORDER BY`, an input column first in `GROUP BY`.
            (
                "SELECT bio AS name, name AS bio FROM agents ORDER BY name",
                "all, order asc: SELECT bio AS name, name AS bio, bio AS pointsman_key_1 FROM agents ORDER BY name",
            ),
            (
                "SELECT max(bio) AS id FROM agents GROUP BY id",
                "all, append: SELECT max(bio) AS id FROM agents GROUP BY id",
            ),
            (
                "SELECT DISTINCT ON (id) c.id FROM agents a JOIN communities c ON c.id = a.community_id",
                "all, order asc unique 1: SELECT DISTINCT ON (id) c.id, c.id AS pointsman_key_1 FROM agents a JOIN communities c ON c.id = a.community_id ORDER BY id",
            ),
        ],
    );
}

#[test]
fn text_that_does_not_sort_by_bytes() {
    are(
        false,
        &[
            ("SELECT id FROM agents ORDER BY name LIMIT 3", "refused Order: name"),
            (
                "SELECT id FROM agents ORDER BY name COLLATE \"C\"",
                "all, order asc: SELECT id, name COLLATE \"C\" AS pointsman_key_1 FROM agents ORDER BY name COLLATE \"C\"",
            ),
            ("SELECT min(name) FROM agents", "refused Order: name"),
            (
                "SELECT id FROM agents ORDER BY date_trunc('day', created_at)",
                "all, order asc?: SELECT id, date_trunc('day', created_at) AS pointsman_key_1 FROM agents ORDER BY date_trunc('day', created_at)",
            ),
        ],
    );
}

#[test]
fn folded() {
    are(
        true,
        &[
            (
                "SELECT community_id, count(*) AS n FROM agents GROUP BY 1 HAVING count(*) > 1 ORDER BY n LIMIT 5",
                "1: all, append: SELECT community_id AS c1, count(*) AS c2 FROM agents GROUP BY 1\n\
             any, append: SELECT p.c1 AS community_id, COALESCE(sum(p.c2), 0)::bigint AS n FROM pointsman.lookup_1 p(c1, c2) GROUP BY p.c1 HAVING COALESCE(sum(p.c2), 0)::bigint > 1 ORDER BY n LIMIT 5",
            ),
            (
                "SELECT count(DISTINCT name) FROM agents",
                "1: all, append: SELECT DISTINCT name AS c1 FROM agents\n\
             any, append: SELECT count(DISTINCT p.c1) AS count FROM pointsman.lookup_1 p(c1)",
            ),
            (
                "SELECT id, count(*) FROM agents GROUP BY id",
                "all, append: SELECT id, count(*) FROM agents GROUP BY id",
            ),
        ],
    );
}

#[test]
fn of_the_workload() {
    are(
        true,
        &[
            (
                "SELECT b.id, a.compatibility[1] * b.compatibility[1] AS compatibility FROM agents a, agents b WHERE a.id = 7 AND b.id <> a.id AND b.active ORDER BY compatibility DESC, b.id LIMIT 10",
                "1: keys, one: SELECT a.id, a.compatibility FROM agents a WHERE a.id = 7\n\
             all, order desc, asc limit 10: SELECT b.id, a.compatibility[1] * b.compatibility[1] AS compatibility, a.compatibility[1] * b.compatibility[1] AS pointsman_key_1, b.id AS pointsman_key_2 FROM pointsman.lookup_1 a(id, compatibility), agents b WHERE b.id <> a.id AND b.active ORDER BY compatibility DESC, b.id LIMIT 10",
            ),
            (
                "WITH friends AS (SELECT recipient_id AS id FROM friendships WHERE initiator_id = 7 UNION SELECT initiator_id FROM friendships WHERE recipient_id = 7) SELECT i.id, a.name FROM friends f JOIN interactions i ON i.initiator_id = f.id JOIN agents a ON a.id = i.initiator_id ORDER BY i.id DESC LIMIT 20",
                "2: keys, one: SELECT recipient_id AS id FROM friendships WHERE initiator_id = 7\n\
             3: all, append: SELECT initiator_id FROM friendships WHERE recipient_id = 7\n\
             1 owned [0]: any, append: SELECT p.c1 AS id FROM pointsman.lookup_2 p(c1) UNION SELECT p.c1 AS initiator_id FROM pointsman.lookup_3 p(c1)\n\
             all, order desc limit 20: SELECT i.id, a.name, i.id AS pointsman_key_1 FROM pointsman.lookup_1 f(id) JOIN interactions i ON i.initiator_id = f.id JOIN agents a ON a.id = i.initiator_id ORDER BY i.id DESC LIMIT 20",
            ),
            (
                "SELECT a.id, f.strength_level FROM friendships f JOIN agents a ON a.id = f.recipient_id WHERE f.initiator_id = 7 ORDER BY f.strength_level DESC LIMIT 100",
                "1 owned [0]: keys, one: SELECT f.recipient_id, f.strength_level FROM friendships f WHERE f.initiator_id = 7\n\
             all, order desc limit 100: SELECT a.id, f.strength_level, f.strength_level AS pointsman_key_1 FROM pointsman.lookup_1 f(recipient_id, strength_level) JOIN agents a ON a.id = f.recipient_id ORDER BY f.strength_level DESC LIMIT 100",
            ),
        ],
    );
}

#[test]
fn refusals() {
    are(
        true,
        &[
            (
                "SELECT a, i FROM agents a JOIN interactions i ON i.recipient_id = a.id",
                "refused Join: the join of a and i",
            ),
            // One may group by a primary key, which rows that are given do not have.
            (
                "SELECT a.name, b.name FROM agents a JOIN agents b ON b.community_id = a.community_id GROUP BY a.id, b.id",
                "refused Join: the join of a and b",
            ),
            ("SELECT id, random() FROM agents", "refused Function: random()"),
            ("SELECT id, frob(id) FROM agents", "refused Function: frob(id)"),
            ("SELECT * FROM agents FOR UPDATE", "refused Locking: FOR UPDATE"),
            (
                "SELECT id FROM agents a WHERE EXISTS (SELECT i FROM interactions i WHERE i.recipient_id = a.id)",
                "refused Subquery: EXISTS (SELECT i FROM interactions i WHERE i.recipient_id = a.id)",
            ),
            ("SELECT a FROM agents a ORDER BY max(a.id)", "refused Aggregate: a"),
            ("SELECT id FROM agents LIMIT 1 + 1", "refused Order: LIMIT 1 + 1"),
            ("SELECT * FROM agents TABLESAMPLE system (10)", "refused Function: TABLESAMPLE"),
            ("SELECT * FROM pointsman.lookup_1, agents", "refused Unknown: lookup_1"),
            (
                "WITH RECURSIVE t AS (SELECT id FROM agents) SELECT * FROM t",
                "refused Subquery: WITH RECURSIVE",
            ),
        ],
    );
}

#[test]
fn limits_under_a_cast() {
    are(
        true,
        &[
            (
                "SELECT id FROM agents LIMIT $1::bigint OFFSET $2::int",
                "all, append limit $1 offset $2: SELECT id FROM agents LIMIT $1::bigint::bigint + $2::int::bigint",
            ),
            (
                "SELECT id FROM agents LIMIT 5::int8",
                "all, append limit 5: SELECT id FROM agents LIMIT 5::int8",
            ),
            (
                "SELECT id FROM agents LIMIT NULL::bigint OFFSET 3",
                "all, append offset 3: SELECT id FROM agents LIMIT NULL::bigint",
            ),
            ("SELECT id FROM agents LIMIT 5.5::int", "refused Order: LIMIT (5.5)::int"),
            ("SELECT id FROM agents LIMIT 40000::smallint", "refused Order: LIMIT 40000::smallint"),
            ("SELECT id FROM agents LIMIT $1::numeric", "refused Order: LIMIT $1::numeric"),
        ],
    );
}

#[test]
fn what_is_correlated_is_looked_up() {
    are(
        true,
        &[
            (
                "SELECT a.id FROM agents a WHERE NOT EXISTS (SELECT 1 FROM interactions i WHERE i.recipient_id = a.id AND i.initiator_id = 5)",
                "1: keys, one: SELECT i.recipient_id FROM interactions i WHERE i.initiator_id = 5\n\
             all, append: SELECT a.id FROM agents a WHERE NOT EXISTS (SELECT 1 FROM pointsman.lookup_1 i(recipient_id) WHERE i.recipient_id = a.id)",
            ),
            (
                "SELECT i.id FROM agents a JOIN interactions i ON i.recipient_id = a.id WHERE a.id > 3",
                "1: keys, append: SELECT a.id FROM agents a WHERE a.id > 3\n\
             all, append: SELECT i.id FROM pointsman.lookup_1 a(id) JOIN interactions i ON i.recipient_id = a.id",
            ),
        ],
    );
}

#[test]
fn what_is_not_joined_by_key_is_given_to_each() {
    are(
        true,
        &[
            (
                "SELECT a.id FROM agents a JOIN interactions i ON i.recipient_id = a.id",
                "rather Join: the join of a and i\n\
             1 owned [0]: all, append: SELECT i.recipient_id FROM interactions i\n\
             all, append: SELECT a.id FROM agents a JOIN pointsman.lookup_1 i(recipient_id) ON i.recipient_id = a.id",
            ),
            // The one that is limited is given; what limits it stands in `WHERE`, or in `ON` where its rows do not come without a match.
            (
                "SELECT b.id FROM agents a, agents b WHERE a.community_id = b.community_id AND a.active",
                "1: all, append: SELECT a.community_id FROM agents a WHERE a.active\n\
             all, append: SELECT b.id FROM pointsman.lookup_1 a(community_id), agents b WHERE a.community_id = b.community_id",
            ),
            (
                "SELECT b.id, a.id FROM agents b LEFT JOIN agents a ON a.community_id = b.community_id AND a.active AND b.active",
                "1: all, append: SELECT a.id, a.community_id FROM agents a WHERE a.active\n\
             all, append: SELECT b.id, a.id FROM agents b LEFT JOIN pointsman.lookup_1 a(id, community_id) ON a.community_id = b.community_id AND true AND b.active",
            ),
            (
                "SELECT b.id, a.id FROM agents b LEFT JOIN agents a ON a.community_id = b.community_id WHERE a.active IS NULL",
                "rather Join: the join of b and a\n\
             1: all, append: SELECT a.id, a.community_id, a.active FROM agents a\n\
             all, append: SELECT b.id, a.id FROM agents b LEFT JOIN pointsman.lookup_1 a(id, community_id, active) ON a.community_id = b.community_id WHERE a.active IS NULL",
            ),
            // What is joined by key stays together.
            (
                "SELECT a.id FROM agents a, interactions i, friendships f WHERE i.content = a.name AND f.initiator_id = a.id",
                "rather Join: the join of a and i\n\
             1: all, append: SELECT i.content FROM interactions i\n\
             all, append: SELECT a.id FROM agents a, pointsman.lookup_1 i(content), friendships f WHERE i.content = a.name AND f.initiator_id = a.id",
            ),
            // A derived table that groups is run before its rows are given.
            (
                "SELECT a.id FROM agents a JOIN (SELECT initiator_id, count(*) AS n FROM interactions WHERE id > 3 GROUP BY 1) s ON s.n = a.community_id",
                "1: all, append: SELECT initiator_id, count(*) AS n FROM interactions WHERE id > 3 GROUP BY 1\n\
             all, append: SELECT a.id FROM agents a JOIN pointsman.lookup_1 s(initiator_id, n) ON s.n = a.community_id",
            ),
            (
                "SELECT a.id, (SELECT min(i.content) FROM interactions i WHERE i.content > a.name AND i.id < 9) FROM agents a",
                "1: all, append: SELECT i.content FROM interactions i WHERE i.id < 9\n\
             all, append: SELECT a.id, (SELECT min(i.content) FROM pointsman.lookup_1 i(content) WHERE i.content > a.name) FROM agents a",
            ),
        ],
    );
}
