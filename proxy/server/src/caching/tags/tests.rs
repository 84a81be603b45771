//! What values become: one form for equal ones, or the table at large.

use pointsman_wire::frontend::BindParameters;

use super::*;
use pointsman_policy::caching::KeyColumn;
use pointsman_sql::LexRules;

const SPACE: &[u8] = b"main\0app";

fn pinned(type_oid: u32, value: KeyValue) -> Pinned {
    Pinned { column: KeyColumn { name: "agent_id".into(), type_oid }, value }
}

/// The tags that a read has which is pinned so, of these values.
fn tags(pinned: Pinned, values: &Values<'_>) -> Tags {
    let mut tags = Tags::new();
    read(&[Dependence { slot: 7, pinned: Some(pinned) }], values, SPACE, &mut tags);
    tags
}

fn keys(values: &[&[u8]]) -> Tags {
    let mut tags = Tags::new();
    for value in values {
        tags.reads_key(relation(SPACE, 7), b"agent_id", value);
    }
    tags
}

fn at_large() -> Tags {
    let mut tags = Tags::new();
    tags.reads(relation(SPACE, 7));
    tags
}

fn with_text<T>(sql: &str, look: impl FnOnce(Values<'_>) -> T) -> T {
    let mut analyzer = pointsman_sql::Analyzer::<()>::new(1);
    let analysis = analyzer.analyze(sql.as_bytes(), LexRules::default());
    let literals = analysis.literals;
    look(Values { sql: sql.as_bytes(), literals, parameters: None, types: &[], utf8: true })
}

fn with_bound<T>(
    sql: &str,
    types: &[u32],
    values: Vec<Option<&[u8]>>,
    format: i16,
    look: impl FnOnce(Values<'_>) -> T,
) -> T {
    let bound = BindParameters { formats: vec![format], values, result_formats: Vec::new() };
    look(Values { sql: sql.as_bytes(), literals: &[], parameters: Some(&bound), types, utf8: true })
}

#[test]
fn equal_values_have_equal_tags() {
    let eq = |value| pinned(23, KeyValue::Eq(value));
    let literal = eq(ValueRef::Literal(0));
    for sql in ["SELECT 42", "SELECT '42'", "SELECT ' 042 '", "SELECT E'\\x34\\x32'"] {
        with_text(sql, |values| assert_eq!(tags(literal.clone(), &values), keys(&[b"42"]), "{sql}"));
    }
    with_text("SELECT -42", |values| {
        assert_eq!(tags(eq(ValueRef::Negative(0)), &values), keys(&[b"-42"]));
    });
    let param = eq(ValueRef::Param(1));
    with_bound("x = $1", &[], vec![Some(b"42")], 0, |values| {
        assert_eq!(tags(param.clone(), &values), keys(&[b"42"]));
    });
    with_bound("x = $1", &[20], vec![Some(&42_i64.to_be_bytes())], 1, |values| {
        assert_eq!(tags(param.clone(), &values), keys(&[b"42"]));
    });
}

#[test]
fn what_is_not_certain_means_the_table_at_large() {
    let eq = |value| pinned(23, KeyValue::Eq(value));
    for sql in ["SELECT 42.0", "SELECT 'x'", "SELECT B'101'"] {
        with_text(sql, |values| assert_eq!(tags(eq(ValueRef::Literal(0)), &values), at_large(), "{sql}"));
    }
    let param = eq(ValueRef::Param(1));
    type Case<'a> = (&'a str, &'a [u32], Option<&'a [u8]>, i16, &'a str);
    let cases: [Case<'_>; 5] = [
        ("x = $1", &[], None, 0, "null"),
        ("x = $1", &[1700], Some(b"42"), 0, "another type"),
        ("x = $1", &[], Some(&[0, 0, 0, 42]), 1, "binary of an unknown type"),
        ("x = $1 AND y = $1::numeric", &[], Some(b"42"), 0, "its type may come from elsewhere"),
        ("x = $2", &[], Some(b"42"), 0, "not there"),
    ];
    for (sql, types, value, format, why) in cases {
        let number = if why == "not there" { 2 } else { 1 };
        with_bound(sql, types, vec![value], format, |values| {
            assert_eq!(tags(eq(ValueRef::Param(number)), &values), at_large(), "{why}");
        });
    }
    with_bound("x = $1 OR y = $11", &[], vec![Some(b"42")], 0, |values| {
        assert_eq!(tags(param.clone(), &values), keys(&[b"42"]), "$11 is another");
    });
    let text = pinned(25, KeyValue::Eq(ValueRef::Param(1)));
    with_bound("x = $1", &[25], vec![Some("é".as_bytes())], 0, |values| {
        assert_eq!(tags(text.clone(), &values), keys(&["é".as_bytes()]));
        let latin = Values { utf8: false, ..values };
        assert_eq!(tags(text.clone(), &latin), at_large(), "the database has it in other bytes");
    });
}

#[test]
fn lists_and_arrays_name_each_of_their_values() {
    let listed = pinned(23, KeyValue::In(vec![ValueRef::Literal(0), ValueRef::Literal(1)]));
    with_text("SELECT 1, 2", |values| assert_eq!(tags(listed, &values), keys(&[b"1", b"2"])));
    let array = pinned(23, KeyValue::AnyArray(ValueRef::Param(1)));
    let text = |value: &[u8]| {
        with_bound("x = ANY ($1)", &[], vec![Some(value)], 0, |values| tags(array.clone(), &values))
    };
    assert_eq!(text(b"{1, 2}"), keys(&[b"1", b"2"]));
    assert_eq!(text(b"{}"), Tags::new());
    for doubtful in [&b"{1,NULL}"[..], b"{{1},{2}}", b"{\"1\"}", b"1,2", b"{1,x}"] {
        let found = text(doubtful);
        let large = relation(SPACE, 7).relation();
        assert!(found.as_slice().contains(&large), "{}", String::from_utf8_lossy(doubtful));
    }
    let words = |words: &[i32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let binary = |bytes: &[u8]| {
        with_bound("x = ANY ($1)", &[1007], vec![Some(bytes)], 1, |values| tags(array.clone(), &values))
    };
    assert_eq!(binary(&words(&[1, 0, 23, 2, 1, 4, 1, 4, 2])), keys(&[b"1", b"2"]));
    for short in [&words(&[1, 0, 23, 2, 1, 4, 1, 4])[..], &words(&[1, 0, 23, 1, 1, -1]), &words(&[2, 0, 23])]
    {
        assert!(binary(short).as_slice().contains(&relation(SPACE, 7).relation()));
    }
}

#[test]
fn writes_meet_the_reads_of_the_rows_that_they_change() {
    let meet = |changes: &[Change], values: &Values<'_>, read: &Tags| {
        let mut written_tags = Tags::new();
        written(changes, values, SPACE, &mut written_tags);
        written_tags.as_slice().iter().any(|tag| read.as_slice().contains(tag))
    };
    let keyed = |value| Change { slot: 7, keys: Some(Box::new([pinned(23, KeyValue::Eq(value))])) };
    let unknown = Change { slot: 7, keys: None };
    with_text("UPDATE t SET a = 1 WHERE agent_id = 42", |values| {
        let (mine, other) = (keys(&[b"42"]), keys(&[b"43"]));
        let by_key = [keyed(ValueRef::Literal(1))];
        assert!(meet(&by_key, &values, &mine) && !meet(&by_key, &values, &other));
        assert!(meet(&by_key, &values, &at_large()));
        for large in [unknown, keyed(ValueRef::Other), Change { slot: 7, keys: Some(Box::new([])) }] {
            let large = [large];
            assert!(meet(&large, &values, &mine) && meet(&large, &values, &other));
        }
    });
}
