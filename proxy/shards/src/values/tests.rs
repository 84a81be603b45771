//! Literals and parameters of a statement, and the keys that they are.

use pointsman_sql::{Analyzer, LexRules, ValueRef};
use pointsman_wire::frontend::BindParameters;

use super::*;

fn literals(sql: &str) -> Vec<Literal> {
    let mut analyzer = Analyzer::<()>::new(1);
    analyzer.analyze(sql.as_bytes(), LexRules::default()).literals.to_vec()
}

fn literal(sql: &str, value: ValueRef, kind: KeyType) -> Option<String> {
    let literals = literals(sql);
    let values =
        Values { sql: sql.as_bytes(), literals: &literals, parameters: None, types: &[], utf8: true };
    values.key(value, kind).map(|key| key.to_string())
}

#[test]
fn literals_are_of_the_columns_type_or_numbers() {
    let (first, negative) = (ValueRef::Literal(0), ValueRef::Negative(0));
    let some = |text: &str| Some(text.to_owned());
    for (sql, value, kind, key) in [
        ("SELECT 42", first, KeyType::Int8, some("42")),
        ("SELECT -42", negative, KeyType::Int8, some("-42")),
        ("SELECT ' 42 '", first, KeyType::Int8, some("42")),
        ("SELECT 42.0", first, KeyType::Int8, None),
        ("SELECT 0x2A", first, KeyType::Int8, None),
        ("SELECT 3000000000", first, KeyType::Int4, None),
        ("SELECT 9223372036854775808", first, KeyType::Int8, None),
        ("SELECT 42", first, KeyType::Text, None),
        ("SELECT 42", first, KeyType::Date, None),
        ("SELECT -'42'", negative, KeyType::Int8, None),
        ("SELECT 'it''s'", first, KeyType::Text, some("'it's'")),
        ("SELECT E'a\\nb'", first, KeyType::Text, some("'a\nb'")),
        ("SELECT $x$a$x$", first, KeyType::Text, some("'a'")),
        ("SELECT B'1'", first, KeyType::Text, None),
        ("SELECT '2024-01-01'", first, KeyType::Date, some("2024-01-01")),
        ("SELECT 42", ValueRef::Null, KeyType::Int8, some("NULL")),
        ("SELECT 42", ValueRef::Bool(true), KeyType::Text, None),
        ("SELECT 42", ValueRef::Default, KeyType::Int8, None),
        ("SELECT 42", ValueRef::Other, KeyType::Int8, None),
        ("SELECT 42", ValueRef::Literal(7), KeyType::Int8, None),
        ("SELECT 42", ValueRef::Param(1), KeyType::Int8, None),
    ] {
        assert_eq!(literal(sql, value, kind), key, "{sql} {kind:?}");
    }
}

#[test]
fn parameters_are_read_by_format_and_type() {
    let eight = 42_i64.to_be_bytes();
    let bound = |sql: &str, format: i16, bytes: Option<&[u8]>, oid: u32, utf8: bool, kind: KeyType| {
        let parameters =
            BindParameters { formats: vec![format], values: vec![bytes], result_formats: vec![] };
        let types = [oid];
        let values =
            Values { sql: sql.as_bytes(), literals: &[], parameters: Some(&parameters), types: &types, utf8 };
        values.key(ValueRef::Param(1), kind).map(|key| key.to_string())
    };
    let (once, twice) = ("SELECT $1, $10, $11", "SELECT $1, $1");
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(bound(once, 0, Some(b"42"), 0, true, KeyType::Int8), some("42"));
    assert_eq!(bound(twice, 0, Some(b"42"), 0, true, KeyType::Int8), None);
    assert_eq!(bound(twice, 0, Some(b"42"), 20, true, KeyType::Int8), some("42"));
    assert_eq!(bound(twice, 0, None, 0, true, KeyType::Int8), some("NULL"));
    assert_eq!(bound(once, 0, Some(b"42"), 1700, true, KeyType::Int8), some("42"));
    assert_eq!(bound(once, 0, Some(b"42"), 25, true, KeyType::Int8), None);
    assert_eq!(bound(once, 1, Some(&eight), 0, true, KeyType::Int8), some("42"));
    assert_eq!(bound(once, 1, Some(&eight), 20, true, KeyType::Int8), some("42"));
    assert_eq!(bound(once, 1, Some(&eight), 23, true, KeyType::Int8), None);
    assert_eq!(bound(once, 1, Some(&eight), 1700, true, KeyType::Int8), None);
    let umlaut = "ü".as_bytes();
    assert_eq!(bound(once, 0, Some(umlaut), 25, true, KeyType::Text), some("'ü'"));
    for format in [0, 1] {
        assert_eq!(bound(once, format, Some(umlaut), 25, false, KeyType::Text), None);
        assert_eq!(bound(once, format, Some(b"u"), 25, false, KeyType::Text), some("'u'"));
    }
    assert_eq!(bound(once, 1, Some(umlaut), 17, false, KeyType::Bytea), some("'\\xc3bc'"));
}

#[test]
fn arrays_are_read_by_format_and_type() {
    let all = |sql: &str, array: ValueRef, bound: (i16, Option<&[u8]>, u32), kind: KeyType| {
        let literals = literals(sql);
        let (format, bytes, oid) = bound;
        let parameters =
            BindParameters { formats: vec![format], values: vec![bytes], result_formats: vec![] };
        let (parameters, types) = (Some(&parameters), [oid]);
        let values =
            Values { sql: sql.as_bytes(), literals: &literals, parameters, types: &types, utf8: true };
        let mut found = Vec::new();
        let known = values.elements(array, kind, |key| {
            found.push(key.to_string());
            true
        });
        known.then(|| found.join(" "))
    };
    let some = |text: &str| Some(text.to_owned());
    let none = (0, None, 0);
    assert_eq!(all("SELECT '{1,NULL, 3}'", ValueRef::Literal(0), none, KeyType::Int8), some("1 NULL 3"));
    assert_eq!(all("SELECT '{1,x}'", ValueRef::Literal(0), none, KeyType::Int8), None);
    assert_eq!(all("SELECT 1", ValueRef::Literal(0), none, KeyType::Int8), None);
    assert_eq!(all("SELECT 1", ValueRef::Null, none, KeyType::Int8), some("NULL"));
    let (sql, first) = ("SELECT $1", ValueRef::Param(1));
    assert_eq!(all(sql, first, (0, None, 1016), KeyType::Int8), some("NULL"));
    assert_eq!(all(sql, first, (0, Some(b"{1,2}"), 1007), KeyType::Int8), some("1 2"));
    assert_eq!(all(sql, first, (0, Some(b"{1,2}"), 0), KeyType::Int8), some("1 2"));
    assert_eq!(all("SELECT $1, $1", first, (0, Some(b"{1,2}"), 0), KeyType::Int8), None);
    assert_eq!(all(sql, first, (0, Some(b"{1,2}"), 1231), KeyType::Int8), None);
    let binary = [
        &1_u32.to_be_bytes()[..],
        &[0; 4],
        &23_u32.to_be_bytes(),
        &1_u32.to_be_bytes(),
        &1_u32.to_be_bytes(),
        &4_u32.to_be_bytes(),
        &7_i32.to_be_bytes(),
    ]
    .concat();
    assert_eq!(all(sql, first, (1, Some(&binary), 1007), KeyType::Int8), some("7"));
    assert_eq!(all(sql, first, (1, Some(&binary), 1007), KeyType::Text), None);
}
