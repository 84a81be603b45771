//! The shards that statements are for.

use super::{Fake, literals, shown};
use crate::pick::{Bound, KeyValues, Pick};
use crate::plan::scope::{Lookups, Scopes};
use crate::plan::tree::Source;

/// `any`, `first`, `all`, or the keys' values.
fn pick(text: &str) -> String {
    let parsed = pg_query::parse(text, 0).unwrap_or_else(|error| panic!("{text}: {error}")).protobuf;
    let statement = parsed.stmts[0].stmt.as_ref().unwrap().node.as_ref().unwrap();
    let literals = literals(text);
    let lookups = Lookups::new();
    let schema = Fake { bytewise: true };
    let scopes = Scopes::of(statement, Source { text, literals: &literals }, &schema, &lookups);
    let keys = match scopes.pick() {
        Pick::Any => return "any".to_owned(),
        Pick::First => return "first".to_owned(),
        Pick::All => return "all".to_owned(),
        Pick::Keys(keys) => keys,
    };
    let show = |value| shown(text, &literals, value);
    let bound = |bound: Option<Bound>| bound.map_or(String::new(), |bound| show(bound.value));
    let key = |values: &KeyValues| match values {
        KeyValues::Tuples(rows) | KeyValues::Rows(rows) => {
            let row = |row: &[_]| row.iter().map(|value| show(*value)).collect::<Vec<_>>().join("/");
            rows.iter().map(|values| row(values)).collect::<Vec<_>>().join(" ")
        }
        KeyValues::Array(value) => format!("any {}", show(*value)),
        KeyValues::Between { low, high } => format!("{}..{}", bound(*low), bound(*high)),
    };
    keys.iter().map(|used| key(&used.values)).collect::<Vec<_>>().join(", ")
}

fn all_are(cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(text, expected)| (text, expected, pick(text)))
        .filter(|(_, expected, found)| found != *expected)
        .map(|(text, expected, found)| format!("{text}\n  expected {expected}, found {found}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn keys_of_one_table() {
    all_are(&[
        ("SELECT 1", "any"),
        ("SELECT * FROM communities", "any"),
        ("SELECT * FROM settings", "first"),
        ("SELECT * FROM pg_class", "first"),
        ("SELECT * FROM settings s JOIN communities c ON c.name = s.name", "first"),
        ("SELECT * FROM settings s JOIN agents a ON a.id = s.agent_id WHERE a.id = 1", "all"),
        ("SELECT * FROM agents", "all"),
        ("SELECT * FROM agents WHERE id = 5", "5"),
        ("SELECT * FROM agents WHERE id = -5", "-5"),
        ("SELECT * FROM agents WHERE 5 = id AND active", "5"),
        ("SELECT * FROM agents WHERE id = $1", "$1"),
        ("SELECT * FROM agents WHERE id = $1::bigint", "$1"),
        ("SELECT * FROM agents WHERE id = $1::text", "all"),
        ("SELECT * FROM agents WHERE id = '5'::int", "'5'"),
        ("SELECT * FROM agents WHERE id + 0 = 5", "all"),
        ("SELECT * FROM agents WHERE id IN (1, 2, $3)", "1 2 $3"),
        ("SELECT * FROM agents WHERE id IN (1, 2 + 1)", "all"),
        ("SELECT * FROM agents WHERE id NOT IN (1, 2)", "all"),
        ("SELECT * FROM agents WHERE id = ANY($1)", "any $1"),
        ("SELECT * FROM agents WHERE id = ANY($1::bigint[])", "any $1"),
        ("SELECT * FROM agents WHERE id = ANY(ARRAY[1, 2])", "1 2"),
        ("SELECT * FROM agents WHERE id = 1 OR id = 2", "1 2"),
        ("SELECT * FROM agents WHERE (id = 1 AND active) OR (id IN (2, 3) AND NOT active)", "1 2 3"),
        ("SELECT * FROM agents WHERE id = 1 OR active", "all"),
        ("SELECT * FROM agents WHERE NOT id = 1", "all"),
        ("SELECT * FROM agents WHERE id <> 1", "all"),
        ("SELECT * FROM agents WHERE id BETWEEN 1 AND 5", "1..5"),
        ("SELECT * FROM agents WHERE id > 1 AND 5 >= id", "1..5"),
        ("SELECT * FROM agents WHERE id IN (1, 2) AND id = 1", "1"),
        ("SELECT * FROM agents WHERE name = 'x'", "all"),
        ("SELECT * FROM orders WHERE region = 'eu' AND number = 7", "'eu'/7"),
        ("SELECT * FROM orders WHERE (number, region) = (7, 'eu')", "'eu'/7"),
        ("SELECT * FROM orders WHERE (region, number) IN (('eu', 7), ('us', 8))", "'eu'/7 'us'/8"),
        ("SELECT * FROM orders WHERE region = 'eu'", "all"),
        ("SELECT * FROM orders WHERE region IN ('eu', 'us') AND number = 7", "'eu'/7 'us'/7"),
        ("SELECT * FROM profiles WHERE handle = 'joe'", "'joe'"),
        ("SELECT * FROM agents a(x) WHERE a.x = 5", "5"),
        ("SELECT * FROM agents a(x, id) WHERE a.id = '5'", "all"),
        ("SELECT * FROM agents WHERE id = (SELECT 5)", "all"),
        ("(SELECT * FROM agents WHERE id = 5) UNION ALL SELECT * FROM agents WHERE id = 6", "5, 6"),
        ("SELECT * FROM agents WHERE id = 5 FOR UPDATE", "5"),
    ]);
}

#[test]
fn keys_through_joins() {
    all_are(&[
        ("SELECT * FROM agents a, interactions i WHERE i.initiator_id = a.id AND a.id = 5", "5"),
        (
            "SELECT * FROM agents a JOIN interactions i ON i.initiator_id = a.id WHERE i.initiator_id = $1",
            "$1",
        ),
        (
            "SELECT * FROM agents a JOIN community_members m ON m.agent_id = a.id JOIN interactions i ON i.initiator_id = m.agent_id WHERE a.id = 5",
            "5",
        ),
        ("SELECT * FROM interactions i JOIN friendships f USING (initiator_id) WHERE initiator_id = 5", "5"),
        (
            "SELECT * FROM interactions i JOIN friendships f USING (initiator_id) WHERE f.initiator_id = 5",
            "5",
        ),
        ("SELECT * FROM agents a LEFT JOIN interactions i ON i.initiator_id = a.id WHERE a.id = 5", "5"),
        ("SELECT * FROM agents a LEFT JOIN interactions i ON i.initiator_id = a.id AND a.id = 5", "all"),
        (
            "SELECT * FROM agents a LEFT JOIN interactions i ON i.initiator_id = a.id WHERE i.initiator_id = 5",
            "5",
        ),
        ("SELECT * FROM agents a RIGHT JOIN interactions i ON i.initiator_id = a.id WHERE a.id = 5", "5"),
        ("SELECT * FROM agents a FULL JOIN interactions i ON i.initiator_id = a.id WHERE a.id = 5", "5"),
        ("SELECT * FROM agents a LEFT JOIN interactions i ON i.recipient_id = a.id WHERE a.id = 5", "all"),
        (
            "SELECT * FROM agents a LEFT JOIN (interactions i JOIN friendships f ON f.initiator_id = i.initiator_id) ON i.initiator_id = a.id WHERE a.id = 5",
            "5",
        ),
        (
            "SELECT * FROM agents a LEFT JOIN interactions i ON i.initiator_id = a.id LEFT JOIN friendships f ON f.initiator_id = i.initiator_id WHERE a.id = 5",
            "5",
        ),
        ("SELECT * FROM agents a, agents b WHERE a.id = 5 AND b.id <> a.id", "all"),
        ("SELECT * FROM agents a JOIN agents b ON b.id = 6 WHERE a.id = 5", "5, 6"),
        ("SELECT * FROM agents a, settings s WHERE a.id = 5", "all"),
        ("SELECT * FROM agents a JOIN communities c ON c.id = a.community_id WHERE a.id = 5", "5"),
        (
            "SELECT * FROM orders o JOIN lines l USING (region, number) WHERE region = 'eu' AND l.number = 7",
            "'eu'/7",
        ),
        ("SELECT * FROM agents WHERE agents.id = 5 AND EXISTS (SELECT 1 FROM pg_class)", "all"),
        (
            "SELECT * FROM orders o JOIN agents a ON o.total = a.id WHERE o.total = 5 AND o.region = 'x' AND o.number = 1",
            "all",
        ),
        ("SELECT * FROM (VALUES (1), (2)) v(id) JOIN agents a ON a.id = v.id", "1 2"),
        ("SELECT * FROM (VALUES (1, 'x'), (2, 'y')) v(id, n) LEFT JOIN agents a ON a.id = v.id", "1 2"),
    ]);
}

#[test]
fn keys_through_queries() {
    all_are(&[
        ("SELECT * FROM (SELECT id, name FROM agents) s WHERE id = 5", "5"),
        ("SELECT * FROM (SELECT id AS x, name FROM agents WHERE active) s WHERE s.x = 5", "5"),
        ("SELECT * FROM (SELECT * FROM agents) s WHERE id = 5", "5"),
        ("SELECT * FROM (SELECT id, name FROM agents LIMIT 3) s WHERE id = 5", "all"),
        ("SELECT * FROM (SELECT id FROM agents WHERE id = 6 LIMIT 3) s WHERE id = 5", "6"),
        ("SELECT * FROM (SELECT id, count(*) n FROM agents GROUP BY id) s WHERE id = 5", "5"),
        ("SELECT * FROM (SELECT id, count(*) n FROM agents GROUP BY 1) s WHERE id = 5", "5"),
        ("SELECT * FROM (SELECT max(id) id FROM agents) s WHERE id = 5", "all"),
        ("SELECT * FROM (SELECT id, random() FROM agents) s WHERE id = 5", "all"),
        ("SELECT * FROM (SELECT id, row_number() OVER () FROM agents) s WHERE id = 5", "all"),
        (
            "SELECT * FROM (SELECT id, row_number() OVER (PARTITION BY id ORDER BY name) FROM agents) s WHERE id = 5",
            "5",
        ),
        (
            "SELECT * FROM (SELECT id, row_number() OVER w FROM agents WINDOW w AS (PARTITION BY id)) s WHERE id = 5",
            "5",
        ),
        ("SELECT * FROM (SELECT DISTINCT ON (name) id, name FROM agents) s WHERE id = 5", "all"),
        ("SELECT * FROM (SELECT DISTINCT id, name FROM agents) s WHERE id = 5", "5"),
        (
            "SELECT * FROM (SELECT id FROM agents UNION SELECT initiator_id FROM interactions) s WHERE id = 5",
            "5",
        ),
        (
            "SELECT * FROM (SELECT id FROM agents UNION SELECT recipient_id FROM interactions) s WHERE id = 5",
            "all",
        ),
    ]);
}

#[test]
fn keys_through_ctes_and_conditions() {
    all_are(&[
        ("WITH a AS (SELECT id FROM agents) SELECT * FROM a WHERE id = 5", "5"),
        ("WITH a AS (SELECT id FROM agents) SELECT * FROM a x, a y WHERE x.id = 5 AND y.id = 6", "5, 6"),
        ("WITH a(k) AS (SELECT id FROM agents) SELECT * FROM a x, a y WHERE x.k = 5", "all"),
        (
            "WITH a AS (SELECT id FROM agents WHERE id = 5), b AS (SELECT * FROM a) SELECT * FROM interactions i JOIN b ON i.initiator_id = b.id",
            "5",
        ),
        ("WITH agents AS (SELECT 1 AS id) SELECT * FROM agents", "any"),
        (
            "WITH RECURSIVE t AS (SELECT id FROM agents WHERE id = 5 UNION ALL SELECT f.recipient_id FROM t JOIN friendships f ON f.initiator_id = t.id) SELECT * FROM t",
            "all",
        ),
        (
            "WITH RECURSIVE t AS (SELECT id FROM agents WHERE id = 5 UNION ALL SELECT t.id + 1 FROM t WHERE t.id < 10) SELECT * FROM t",
            "5",
        ),
        ("SELECT * FROM interactions WHERE initiator_id IN (SELECT id FROM agents WHERE id = 5)", "5"),
        ("SELECT * FROM agents WHERE id IN (SELECT initiator_id FROM interactions) AND id = 5", "5"),
        (
            "SELECT * FROM agents WHERE id IN (SELECT initiator_id FROM interactions LIMIT 1) AND id = 5",
            "all",
        ),
        ("SELECT * FROM agents WHERE id NOT IN (SELECT initiator_id FROM interactions) AND id = 5", "all"),
        (
            "SELECT * FROM agents a WHERE EXISTS (SELECT 1 FROM interactions i WHERE i.initiator_id = a.id) AND id = 5",
            "5",
        ),
        (
            "SELECT * FROM agents a WHERE EXISTS (SELECT 1 FROM interactions i WHERE i.initiator_id = a.id AND i.initiator_id = 5)",
            "5",
        ),
        (
            "SELECT * FROM agents a WHERE EXISTS (SELECT count(*) FROM interactions i WHERE i.initiator_id = a.id AND i.initiator_id = 5)",
            "all",
        ),
        (
            "SELECT * FROM agents a WHERE NOT EXISTS (SELECT 1 FROM interactions i WHERE i.initiator_id = a.id) AND id = 5",
            "5",
        ),
        (
            "SELECT a.*, (SELECT count(*) FROM interactions i WHERE i.initiator_id = a.id) FROM agents a WHERE id = 5",
            "5",
        ),
        (
            "SELECT a.*, (SELECT count(*) FROM interactions i WHERE i.recipient_id = a.id) FROM agents a WHERE id = 5",
            "all",
        ),
        (
            "SELECT * FROM agents a, LATERAL (SELECT * FROM interactions i WHERE i.initiator_id = a.id LIMIT 3) s WHERE a.id = 5",
            "5",
        ),
        (
            "SELECT * FROM agents a LEFT JOIN LATERAL (SELECT * FROM interactions i WHERE i.initiator_id = a.id LIMIT 3) s ON true WHERE a.id = 5",
            "5",
        ),
        ("SELECT * FROM agents WHERE id IN (VALUES (1), (2))", "1 2"),
    ]);
}

#[test]
fn keys_of_writes() {
    all_are(&[
        ("UPDATE agents SET bio = 'x' WHERE id = 5", "5"),
        (
            "UPDATE agents a SET bio = i.content FROM interactions i WHERE i.initiator_id = a.id AND i.initiator_id = 5",
            "5",
        ),
        ("DELETE FROM agents", "all"),
        ("DELETE FROM agents a USING friendships f WHERE a.id = f.initiator_id AND f.initiator_id = 5", "5"),
        ("INSERT INTO agents (name, id) VALUES ('x', 5)", "5"),
        ("INSERT INTO agents VALUES (5, 'x'), (6, 'y')", "5 6"),
        ("INSERT INTO agents (name) VALUES ('x')", "all"),
        (
            "INSERT INTO community_members SELECT 1, initiator_id FROM interactions WHERE initiator_id = 5",
            "5",
        ),
        ("INSERT INTO agents (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET name = 'x'", "$1"),
        ("WITH d AS (DELETE FROM friendships WHERE initiator_id = 5 RETURNING *) SELECT * FROM d", "5"),
        ("WITH d AS (DELETE FROM friendships RETURNING *) SELECT * FROM agents WHERE id = 5", "all"),
    ]);
}
