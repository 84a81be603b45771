//! `INSERT`.

use pointsman_sql::ValueRef;
use proptest::prelude::*;

use super::{Fake, all_are, key, plan, show};
use crate::layout::Schema;
use crate::pick::KeyValues;
use crate::plan::write::plan_long_insert;
use crate::plan::{Insert, Many};

#[test]
fn rows_go_by_their_keys() {
    all_are(&[
        ("INSERT INTO agents VALUES (5, 'x')", "5: Statement"),
        ("INSERT INTO agents (name, id) VALUES ('x', -5)", "-5: Statement"),
        ("INSERT INTO agents (name, id) VALUES ($2, $1), ($4, $3)", "$1 $3: 2 rows"),
        ("INSERT INTO agents (id, name) VALUES ($1::bigint, 'a'), (2::int8, 'b')", "$1 2: 2 rows"),
        ("INSERT INTO orders (number, region) VALUES (1, 'eu'), (2, 'us')", "'eu'/1 'us'/2: 2 rows"),
        ("INSERT INTO profiles (handle, agent_id) VALUES ('a', 1), ('b', 2)", "1 2: 2 rows"),
        ("INSERT INTO agents (id) VALUES (1), (NULL)", "1 NULL: 2 rows"),
        (
            "INSERT INTO agents AS a (id) VALUES (1), (2) ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name",
            "1 2: 2 rows",
        ),
        (
            "INSERT INTO agents (id) VALUES (1), (2) ON CONFLICT (id) DO UPDATE SET id = EXCLUDED.id",
            "1 2: 2 rows",
        ),
        (
            "WITH c AS (SELECT id FROM communities) INSERT INTO agents (id, community_id) VALUES (1, (SELECT max(id) FROM c)), (2, 3)",
            "1 2: 2 rows",
        ),
        (
            "INSERT INTO agents (id, name) VALUES (1, random()::text), (2, f('),(')) RETURNING *",
            "1 2: 2 rows",
        ),
    ]);
}

#[test]
fn rows_without_a_plain_key_are_refused() {
    all_are(&[
        ("INSERT INTO agents (name) VALUES ('x')", "all: Unknown"),
        ("INSERT INTO agents DEFAULT VALUES", "all: Unknown"),
        ("INSERT INTO agents (id) VALUES (DEFAULT)", "all: Unknown"),
        ("INSERT INTO agents (id) VALUES (1 + 1)", "all: Unknown"),
        ("INSERT INTO agents (id) VALUES (1), (nextval('s'))", "all: Unknown"),
        ("INSERT INTO agents (id) VALUES ($1::text)", "all: Unknown"),
        ("INSERT INTO agents (id[1]) VALUES (1)", "all: Unknown"),
        ("INSERT INTO interactions VALUES (1)", "all: Unknown"),
        ("INSERT INTO agents (id) OVERRIDING USER VALUE VALUES (1)", "all: Statement"),
        ("INSERT INTO agents (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 7", "all: KeyUpdate"),
        ("INSERT INTO orders (region, number) VALUES ('a', 1) ON CONFLICT DO NOTHING", "'a'/1: Statement"),
        (
            "INSERT INTO profiles (agent_id, handle) VALUES (1, 'a') ON CONFLICT (agent_id) DO UPDATE SET handle = EXCLUDED.handle",
            "all: KeyUpdate",
        ),
        ("INSERT INTO agents (id) VALUES (1), (2) ORDER BY 1 LIMIT 1", "1 2: Statement"),
        ("WITH d AS (DELETE FROM friendships RETURNING *) INSERT INTO agents (id) VALUES (1)", "all: Write"),
        ("INSERT INTO agents (id, name) VALUES (1, (SELECT value FROM settings LIMIT 1))", "all: Join"),
        (
            "INSERT INTO agents (id, name) VALUES (1, (SELECT content FROM interactions LIMIT 1))",
            "all: Subquery",
        ),
        (
            "INSERT INTO agents (id, name) VALUES (1, (SELECT min(content) FROM interactions WHERE initiator_id = 2))",
            "1, 2: Subquery",
        ),
    ]);
}

#[test]
fn queries_that_stay_on_their_shards() {
    all_are(&[
        ("INSERT INTO agents (id, name) SELECT initiator_id, content FROM interactions", "all: each Rows"),
        (
            "INSERT INTO agents (id) SELECT initiator_id FROM interactions WHERE initiator_id = 3",
            "3: each Rows",
        ),
        (
            "INSERT INTO agents (id) SELECT initiator_id FROM interactions WHERE initiator_id = 3 LIMIT 9",
            "all: Write",
        ),
        (
            "INSERT INTO friendships SELECT initiator_id, count(*) FROM interactions GROUP BY initiator_id",
            "all: each Rows",
        ),
        (
            "INSERT INTO agents (id) SELECT r.id FROM communities r JOIN interactions i ON i.initiator_id = r.id",
            "all: each Rows",
        ),
    ]);
}

#[test]
fn queries_whose_rows_would_move_or_double_are_refused() {
    for text in [
        "INSERT INTO agents (id) SELECT recipient_id FROM interactions",
        "INSERT INTO agents (id) SELECT initiator_id FROM interactions LIMIT 10",
        "INSERT INTO agents (id) SELECT s.k FROM (SELECT initiator_id AS k FROM interactions LIMIT 10) s",
        "INSERT INTO agents (id) SELECT max(initiator_id) FROM interactions",
        "INSERT INTO agents (id, name) SELECT 5, content FROM interactions",
        "INSERT INTO agents (id) SELECT id FROM communities",
        "INSERT INTO agents (id) SELECT c.agent_id FROM community_members c LEFT JOIN interactions i ON i.recipient_id = c.agent_id",
        "INSERT INTO agents (id) SELECT r.id::bigint FROM communities r LEFT JOIN interactions i ON i.initiator_id = r.id",
        "INSERT INTO agents (id) SELECT g FROM generate_series(1, 3) g",
        "INSERT INTO agents (id) SELECT initiator_id FROM interactions UNION ALL SELECT 1",
        "INSERT INTO orders (region, number) SELECT region, line FROM lines",
        "INSERT INTO profiles (agent_id, handle) SELECT agent_id + 1, handle FROM profiles",
        "INSERT INTO profiles (agent_id, handle) SELECT agent_id + 1, handle FROM profiles WHERE handle = 'x'",
        "INSERT INTO profiles (agent_id, handle) SELECT a.id, p.handle FROM agents a JOIN profiles p ON p.age = a.community_id",
        "INSERT INTO friendships SELECT max(initiator_id) FROM interactions GROUP BY initiator_id",
        "INSERT INTO agents (id) SELECT initiator_id FROM interactions WHERE initiator_id = 5 UNION ALL SELECT 6",
        "INSERT INTO agents (id) SELECT 6 UNION ALL SELECT initiator_id FROM interactions WHERE initiator_id = 5",
        "INSERT INTO agents (id) SELECT max(initiator_id) + 1 FROM interactions WHERE initiator_id = 5",
        "INSERT INTO friendships SELECT min(initiator_id) FROM interactions GROUP BY recipient_id",
    ] {
        let found = show(text);
        assert!(found.starts_with("all: ") && !found.contains("each"), "{text}: {found}");
    }
}

#[test]
fn other_tables() {
    all_are(&[
        ("INSERT INTO settings VALUES ('a', random())", "first: Statement"),
        ("INSERT INTO settings SELECT name FROM communities", "first: Statement"),
        ("INSERT INTO settings SELECT name FROM agents", "all: Write"),
        ("INSERT INTO communities VALUES (1, 'a', 'b', '2026-01-01')", "all: each Copies"),
        ("INSERT INTO communities (id) VALUES (pointsman.next_id())", "all: each Copies"),
        ("INSERT INTO communities VALUES (1, 'a', 'b', now())", "all: Function"),
        ("INSERT INTO communities VALUES (1, 'a', 'b', CURRENT_TIMESTAMP)", "all: Function"),
        ("INSERT INTO communities (id) VALUES (nextval('s'))", "all: Function"),
        ("INSERT INTO communities (id) VALUES (mine())", "all: Function"),
        ("INSERT INTO communities (id) SELECT id + 1 FROM communities", "all: each Copies"),
        ("INSERT INTO communities (id) SELECT id FROM communities LIMIT 1", "all: Order"),
        ("INSERT INTO communities (id, name) SELECT id, name FROM agents", "all: Write"),
    ]);
}

fn dealt(text: &str) -> Insert {
    match plan(text).many {
        Many::Insert(insert) => *insert,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn the_texts_of_rows() {
    let text = "INSERT INTO agents (id, name) VALUES (1, 'a),('), /* (9) */ ( 2 , \"f\"(ARRAY[1,2], $$),($$) ) \
                ON CONFLICT DO NOTHING RETURNING id; ";
    let insert = dealt(text);
    let rows: Vec<&str> = insert.rows.iter().map(|row| row.text.as_str()).collect();
    assert_eq!(rows, ["(1, 'a),(')", "( 2 , \"f\"(ARRAY[1,2], $$),($$) )"]);
    assert_eq!(insert.around[0], "INSERT INTO agents (id, name) VALUES ");
    assert_eq!(insert.around[1], " ON CONFLICT DO NOTHING RETURNING id; ");
    assert!(insert.returning && insert.may_skip);
    let odd = "INSERT INTO agents AS values (id) VALUES (1), (2)";
    assert_eq!(dealt(odd).around[0], "INSERT INTO agents AS values (id) VALUES ");
    assert!(!dealt(odd).returning && !dealt(odd).may_skip);
}

#[test]
fn ten_thousand_rows() {
    let row = |n: usize| format!("({n}, 'name ''{n}''', -1, $1)");
    let list: Vec<String> = (0..10_000).map(row).collect();
    let text =
        format!("INSERT INTO agents (id, name, community_id, bio) VALUES {} RETURNING id", list.join(",\n"));
    let schema = Fake { bytewise: true };
    let start = std::time::Instant::now();
    let long = plan_long_insert(&text, &schema).unwrap();
    println!("{} bytes, {} shards: {:?}", text.len(), schema.shards(), start.elapsed());
    let Many::Insert(insert) = &long.many else { panic!("{:?}", long.many) };
    assert!(insert.rows.iter().map(|row| &row.text).eq(&list));
    // Three literals in each row, of which the key is the first.
    let literal = |n: usize| KeyValues::Rows([[ValueRef::Literal(3 * n)].into()].into());
    assert!(insert.rows.iter().enumerate().all(|(n, row)| row.key.values == literal(n)));
    assert_eq!(long, plan(&text));
}

#[test]
fn long_texts_that_have_to_be_read_whole() {
    let schema = Fake { bytewise: true };
    for text in [
        "INSERT INTO agents (id, name) VALUES (1, 'a'), (2, (SELECT content FROM interactions LIMIT 1))",
        "INSERT INTO communities VALUES (1), (random())",
        "INSERT INTO agents (id) SELECT 1",
        "INSERT INTO agents (id) VALUES (1), (2) RETURNING (SELECT content FROM interactions WHERE initiator_id = 1)",
        "UPDATE agents SET name = 'x'",
        "INSERT INTO agents (id) VALUES (1), (2",
    ] {
        assert_eq!(plan_long_insert(text, &schema), None, "{text}");
    }
    let text = "INSERT INTO agents (id) VALUES (1), (2) LIMIT 1";
    assert_eq!(plan_long_insert(text, &schema).unwrap(), plan(text));
}

/// Cells that a row may hold, beside its key.
fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z(),'$\\-]{0,8}".prop_map(|inner| format!("'{}'", inner.replace('\'', "''"))),
        "[a-z(),']{0,6}".prop_map(|inner| format!("$t${inner}$t$")),
        "[a-z(),]{0,6}".prop_map(|inner| format!("lower(/* {inner} */ 'x')")),
        (1u32..9).prop_map(|n| format!("${n}")),
        any::<i32>().prop_map(|n| format!("({n})")),
        Just("ARRAY[1, (2), 3]".to_owned()),
        Just("DEFAULT".to_owned()),
        Just("CASE WHEN true THEN ROW(1, 2)::text END".to_owned()),
    ]
}

proptest! {
    #[test]
    fn split_rows_are_the_statements_rows(
        rows in prop::collection::vec((0u32..1000, cell(), cell()), 2..12),
        gap in prop_oneof![Just(", "), Just(" -- ),(\n , "), Just(" /* , */,")],
    ) {
        let texts: Vec<String> = rows.iter().map(|(id, a, b)| format!("({a}, {id}, {b})")).collect();
        let text = format!("INSERT INTO agents (name, id, bio) VALUES {} RETURNING id", texts.join(gap));
        let insert = dealt(&text);
        prop_assert!(insert.rows.iter().map(|row| &row.text).eq(&texts));
        for (row, (id, ..)) in insert.rows.iter().zip(&rows) {
            prop_assert_eq!(key(&text, &row.key), id.to_string());
            let alone = [&insert.around[0], row.text.as_str(), &insert.around[1]].concat();
            prop_assert!(pg_query::parse(&alone, 0).is_ok(), "{}", alone);
        }
    }
}
