//! Keys of statements.

use super::*;
use crate::{Analyzer, LexRules};

fn keys(sql: &str) -> Keys {
    let mut analyzer = Analyzer::<()>::new(1);
    let analysis = analyzer.analyze(sql.as_bytes(), LexRules::default());
    analysis.facts.single().unwrap().keys.clone()
}

fn predicates(sql: &str) -> Vec<(String, String, KeyValue)> {
    keys(sql)
        .predicates
        .into_iter()
        .map(|p| (p.relation.map(|r| r.to_string()).unwrap_or_default(), p.column.to_string(), p.value))
        .collect()
}

fn eq(relation: &str, column: &str, value: ValueRef) -> (String, String, KeyValue) {
    (relation.to_owned(), column.to_owned(), KeyValue::Eq(value))
}

#[test]
fn equalities() {
    use ValueRef::{Bool, Literal, Negative, Param};
    assert_eq!(
        predicates("SELECT 7 FROM a WHERE id = 1 AND 'x' = name"),
        [eq("a", "id", Literal(1)), eq("a", "name", Literal(2))]
    );
    assert_eq!(
        predicates("SELECT 1 FROM s.a x WHERE x.id = $2 AND done = true"),
        [eq("s.a", "id", Param(2)), eq("s.a", "done", Bool(true))]
    );
    assert_eq!(
        predicates("DELETE FROM a WHERE id = -5 AND x = - 6"),
        [eq("a", "id", Negative(0)), eq("a", "x", Negative(1))]
    );
    assert_eq!(
        predicates("SELECT 1 FROM a JOIN b ON b.a_id = a.id AND b.k = 3 WHERE a.id = 4 AND z = 5"),
        [eq("b", "k", Literal(1)), eq("a", "id", Literal(2)), eq("", "z", Literal(3)),]
    );
    assert_eq!(predicates("UPDATE a SET x = 1 FROM b WHERE a.id = 2"), [eq("a", "id", Literal(1))]);
}

#[test]
fn what_some_rows_may_not_meet_is_no_predicate() {
    for sql in [
        "SELECT 1 FROM a WHERE id = 1 OR x = 2",
        "SELECT 1 FROM a WHERE NOT id = 1",
        "SELECT 1 FROM a WHERE id > 1",
        "SELECT 1 FROM a WHERE id = x",
        "SELECT 1 FROM a WHERE id + 1 = 2",
        "SELECT 1 FROM a WHERE id = 1 + 1",
        "SELECT 1 FROM a WHERE id = '1'::int",
        "SELECT 1 FROM a LEFT JOIN b ON b.id = 1",
        "SELECT 1 FROM a WHERE id OPERATOR(s.=) 1",
        "SELECT 1 FROM a WHERE id NOT IN (1)",
    ] {
        assert_eq!(predicates(sql), [], "{sql}");
    }
}

#[test]
fn relations_that_are_none() {
    assert_eq!(predicates("WITH w AS (SELECT 1 AS id) SELECT 1 FROM w WHERE w.id = 2")[0].0, "");
    assert_eq!(predicates("SELECT 1 FROM (SELECT 1 AS id) q WHERE q.id = 2")[0].0, "");
}

#[test]
fn names_that_may_mean_another_relation_are_not_told_apart() {
    let relations =
        |sql: &str| predicates(sql).into_iter().map(|(relation, ..)| relation).collect::<Vec<_>>();
    for sql in [
        "SELECT 1 FROM (a t JOIN b ON true) j, c t WHERE t.id = 1",
        "SELECT 1 FROM s1.a, s2.a WHERE s2.a.id = 1",
        "SELECT 1 FROM a AS t (x, id) WHERE t.id = 1",
        "SELECT 1 FROM a AS t (x, id) WHERE id = 1",
        "SELECT 1 FROM (a JOIN b ON true) AS a WHERE a.id = 1",
    ] {
        assert_eq!(relations(sql), [""], "{sql}");
    }
    assert_eq!(relations("SELECT 1 FROM a t, a u WHERE u.id = 1"), ["a"]);
    assert_eq!(relations("UPDATE a AS t SET x = 1 WHERE t.id = 1"), ["a"]);
}

#[test]
fn identity_columns_may_not_get_what_is_written() {
    let overriding = |sql: &str| keys(sql).insert.unwrap().overriding_user_value;
    assert!(overriding("INSERT INTO a (id) OVERRIDING USER VALUE VALUES (1)"));
    assert!(!overriding("INSERT INTO a (id) OVERRIDING SYSTEM VALUE VALUES (1)"));
    assert!(!overriding("INSERT INTO a (id) VALUES (1)"));
}

#[test]
fn lists() {
    use ValueRef::{Literal, Param};
    assert_eq!(
        predicates("SELECT 1 FROM a WHERE id IN (1, $1)")[0].2,
        KeyValue::In(vec![Literal(1), Param(1)])
    );
    assert_eq!(
        predicates("SELECT 1 FROM a WHERE id = ANY (ARRAY[1, 2])")[0].2,
        KeyValue::In(vec![Literal(1), Literal(2)])
    );
    assert_eq!(predicates("SELECT 1 FROM a WHERE id = ANY ($1::int[])")[0].2, KeyValue::AnyArray(Param(1)));
    assert!(predicates("SELECT 1 FROM a WHERE id IN (SELECT 1)").is_empty());
    assert!(predicates("SELECT 1 FROM a WHERE id IN (1, x)").is_empty());
}

#[test]
fn rows_and_targets() {
    use ValueRef::{Default, Literal, Null, Other, Param};
    let keys = keys(
        "INSERT INTO a (x, y) VALUES (1, DEFAULT), ($1, NULL), (f(), 'z') ON CONFLICT (x) DO UPDATE SET y = 2 RETURNING x",
    );
    let insert = keys.insert.unwrap();
    assert_eq!(insert.columns, ["x".into(), "y".into()]);
    assert_eq!(insert.rows, [[Literal(0), Default], [Param(1), Null], [Other, Literal(1)]]);
    assert!(insert.on_conflict && keys.returning);
    assert_eq!(keys.set_targets, ["y".into()]);
}

#[test]
fn long_lists_of_rows_are_counted_only() {
    let sql = format!("INSERT INTO a VALUES (1){}", ", (1)".repeat(ROWS_MAX));
    let insert = keys(&sql).insert.unwrap();
    assert_eq!((insert.row_count, insert.rows.len()), (ROWS_MAX + 1, 0));
}

#[test]
fn limits() {
    let keys = keys("SELECT 'a' FROM a WHERE x > 1 LIMIT $1 OFFSET 10");
    assert_eq!((keys.limit, keys.offset), (Some(ValueRef::Param(1)), Some(ValueRef::Literal(2))));
    assert!(keys.has_where && keys.predicates.is_empty());
    assert_eq!(self::keys("SELECT 1 LIMIT ALL").limit, Some(ValueRef::Null));
}

#[test]
fn keys_are_known_of_parsed_queries_and_writes_only() {
    for sql in
        ["SELECT 1", "VALUES (1)", "INSERT INTO t VALUES (1)", "UPDATE t SET a = 1", "EXPLAIN DELETE FROM t"]
    {
        assert!(keys(sql).known, "{sql}");
    }
    let long = format!("UPDATE t SET a = '{}' WHERE id = 1", "x".repeat(crate::TEMPLATE_BYTES_MAX));
    for sql in ["BEGIN", "TRUNCATE t", "COPY t TO STDOUT", long.as_str()] {
        assert!(!keys(sql).known, "{}", &sql[..5]);
    }
}
