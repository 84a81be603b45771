//! Ids in texts.

use pointsman_sql::ValueRef;

use super::{Called, Fill, Filled, IdColumn, calls, fill, inserts_within, parameters, target, with_shards};

const ID: Option<IdColumn<'static>> = Some(IdColumn { name: "id", place: Some(1) });

/// The text with 101, 102, ... in it; `refused`; or empty if there is nothing to fill.
fn literals(text: &str, id: Option<IdColumn<'_>>) -> String {
    let mut next = 100;
    let mut ids = || {
        next += 1;
        next
    };
    let filled = fill(text, id, Fill::Ids(&mut ids));
    if let Ok(Some(Filled { text, added })) = &filled {
        assert_eq!(*added, 0);
        assert!(pg_query::parse(text, 0).is_ok(), "{text}");
    }
    match filled {
        Ok(filled) => filled.map(|filled| filled.text).unwrap_or_default(),
        Err(_) => "refused".to_owned(),
    }
}

#[test]
fn calls_are_found_in_code_only() {
    let text = "SELECT 'pointsman.next_id()', pointsman . NEXT_ID ( ), /* pointsman.next_id() */ \"pointsman\".next_id(), \
                pointsman.shard_of(-5), pointsman.shard_of($2), pointsman.shard_of(a + 1), x.pointsman.next_id(), \
                \"Pointsman\".next_id(), pointsman.next_id, pointsman.next_id(1), pointsman.shard_of('x')";
    let found: Vec<(&str, Called)> =
        calls(text).into_iter().map(|call| (&text[call.span], call.of)).collect();
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "pointsman . NEXT_ID ( )",
            "\"pointsman\".next_id()",
            "pointsman.shard_of(-5)",
            "pointsman.shard_of($2)",
            "pointsman.shard_of(a + 1)",
            "pointsman.shard_of('x')",
        ]
    );
    let values: Vec<(&str, ValueRef)> = found
        .iter()
        .filter_map(|(_, called)| match called {
            Called::NextId => None,
            Called::ShardOf(span, value) => Some((&text[span.clone()], *value)),
        })
        .collect();
    let (negative, text_value) = (ValueRef::Negative(1), ValueRef::Literal(4));
    assert_eq!(
        values,
        [("-5", negative), ("$2", ValueRef::Param(2)), ("a + 1", ValueRef::Other), ("'x'", text_value)]
    );
}

#[test]
fn calls_become_ids() {
    assert_eq!(
        literals(
            "INSERT INTO t (id, n) VALUES (pointsman.next_id(), 'pointsman.next_id()'), (pointsman.next_id() + 1, 2)",
            None
        ),
        "INSERT INTO t (id, n) VALUES (101::bigint, 'pointsman.next_id()'), (102::bigint + 1, 2)"
    );
    assert_eq!(
        literals("SELECT pointsman.next_id(), pointsman.next_id() AS b, (pointsman.next_id());", None),
        "SELECT 101::bigint AS next_id, 102::bigint AS b, (103::bigint);"
    );
    assert_eq!(literals("SELECT 1", None), "");
}

#[test]
fn calls_for_many_rows_are_refused() {
    for text in [
        "INSERT INTO t SELECT pointsman.next_id() FROM u",
        "SELECT pointsman.next_id() FROM generate_series(1, 3)",
        "SELECT pointsman.next_id(), generate_series(1, 3)",
        "SELECT pointsman.next_id() UNION ALL SELECT 1",
        "UPDATE t SET a = pointsman.next_id()",
        "INSERT INTO t VALUES (1), (2) RETURNING pointsman.next_id()",
        "INSERT INTO t VALUES (1), ((SELECT pointsman.next_id() FROM u LIMIT 1))",
        "CREATE TABLE t (id bigint DEFAULT pointsman.next_id())",
    ] {
        assert_eq!(literals(text, None), "refused", "{text}");
    }
}

#[test]
fn ids_that_are_left_out() {
    assert_eq!(
        literals("INSERT INTO t (a, b) VALUES (1, 2), (3, 4) RETURNING id", ID),
        "INSERT INTO t (\"id\", a, b) VALUES (101::bigint, 1, 2), (102::bigint, 3, 4) RETURNING id"
    );
    assert_eq!(
        literals("INSERT INTO s.t AS x (a) VALUES (pointsman.next_id())", ID),
        "INSERT INTO s.t AS x (\"id\", a) VALUES (101::bigint, 102::bigint)"
    );
    assert_eq!(
        literals("INSERT INTO t (a, \"id\") VALUES (1, DEFAULT), (2, 7)", ID),
        "INSERT INTO t (a, \"id\") VALUES (1, 101::bigint), (2, 7)"
    );
    assert_eq!(
        literals("INSERT INTO t VALUES (1, DEFAULT, 3)", ID),
        "INSERT INTO t VALUES (1, 101::bigint, 3)"
    );
    for given in [
        "INSERT INTO t (id, a) VALUES (1, DEFAULT)",
        "INSERT INTO t VALUES (1, 2)",
        "INSERT INTO t (id) SELECT 1",
        "UPDATE t SET a = 1",
        "SELECT 1",
    ] {
        assert_eq!(literals(given, ID), "", "{given}");
    }
    for refused in ["INSERT INTO t (a) SELECT 1", "INSERT INTO t DEFAULT VALUES", "INSERT INTO t VALUES (1)"]
    {
        assert_eq!(literals(refused, ID), "refused", "{refused}");
    }
    let unknown = Some(IdColumn { name: "id", place: None });
    assert_eq!(literals("INSERT INTO t VALUES (1, 2)", unknown), "refused");
}

#[test]
fn prepared_texts_take_parameters() {
    let text = "INSERT INTO t (a) VALUES ($1), (pointsman.next_id())";
    let filled = fill(text, ID, Fill::Parameters(2)).unwrap().unwrap();
    assert_eq!(filled.text, "INSERT INTO t (\"id\", a) VALUES ($2::bigint, $1), ($3::bigint, $4::bigint)");
    assert_eq!(filled.added, 3);
}

#[test]
fn shards_take_the_place_of_their_calls() {
    let number = |argument: &str, value: ValueRef| match value {
        ValueRef::Other => Err(argument.to_owned()),
        _ => Ok(format!("<{argument}>")),
    };
    let with = |text| with_shards(text, number);
    assert_eq!(
        with("SELECT pointsman.shard_of(7), 1 + pointsman.shard_of($1)"),
        Ok(Some("SELECT <7> AS shard_of, 1 + <$1>".to_owned()))
    );
    assert_eq!(with("SELECT 'pointsman.shard_of(7)', pointsman.next_id()"), Ok(None));
    assert_eq!(with("SELECT pointsman.shard_of(a + 1)"), Err("a + 1".to_owned()));
}

#[test]
fn the_target_of_an_insert() {
    let named = |text| target(text).map(|found| (found.schema.map(String::from), String::from(found.name)));
    assert_eq!(named("INSERT INTO agents VALUES (1)"), Some((None, "agents".to_owned())));
    assert_eq!(
        named("WITH a AS (INSERT INTO x VALUES (1)) insert into App.\"Agents\" (id) VALUES (1)"),
        Some((Some("app".to_owned()), "Agents".to_owned()))
    );
    assert_eq!(named("WITH a AS (INSERT INTO x VALUES (1)) SELECT 1"), None);
    assert!(inserts_within("WITH a AS (INSERT INTO x VALUES (1)) SELECT 1"));
    assert!(!inserts_within("INSERT INTO x VALUES ('insert into y')"));
    assert_eq!((parameters("SELECT $2, $11, '$40'"), parameters("SELECT 1")), (11, 0));
}
