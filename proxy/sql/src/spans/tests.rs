//! Spans and identifiers.

use super::*;

fn parts(sql: &str) -> Option<(&str, Option<&str>, &str)> {
    let parts = prepare_parts(sql.as_bytes(), LexRules::default())?;
    Some((&sql[parts.name], parts.types.map(|types| &sql[types]), &sql[parts.body]))
}

#[test]
fn the_parts_of_prepare() {
    assert_eq!(parts("PREPARE p AS SELECT 1"), Some(("p", None, "SELECT 1")));
    assert_eq!(
        parts("prepare \"P q\" (int, numeric(10,2)) as\n SELECT $1 ; -- x"),
        Some(("\"P q\"", Some("int, numeric(10,2)"), "SELECT $1"))
    );
    for other in [
        "PREPARE TRANSACTION 'x'",
        "SELECT 1",
        "PREPARE p AS SELECT 1; SELECT 2",
        "PREPARE p (int",
        "PREPARE p AS",
    ] {
        assert_eq!(parts(other), None, "{other}");
    }
}

fn names(sql: &str) -> Vec<&str> {
    executes(sql.as_bytes(), LexRules::default()).into_iter().map(|range| &sql[range]).collect()
}

#[test]
fn the_names_of_prepared_statements() {
    assert_eq!(names("EXECUTE p"), ["p"]);
    assert_eq!(names("/* x */ execute \"P\"(1, 'a'); EXECUTE q;"), ["\"P\"", "q"]);
    assert_eq!(
        names("DEALLOCATE p; DEALLOCATE PREPARE q; DEALLOCATE prepare; DEALLOCATE ALL"),
        ["p", "q", "prepare"]
    );
    assert_eq!(
        names(
            "EXPLAIN EXECUTE p; EXPLAIN (ANALYZE, COSTS off) EXECUTE q(1); EXPLAIN ANALYZE VERBOSE EXECUTE r"
        ),
        ["p", "q", "r"]
    );
    assert_eq!(names("CREATE TEMP TABLE t AS EXECUTE p; EXPLAIN CREATE TABLE t AS EXECUTE q"), ["p", "q"]);
    assert!(names("SELECT execute FROM p; EXPLAIN SELECT 1; CREATE TABLE t (a int); 'open").is_empty());
    assert!(names("CREATE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f()").is_empty());
}

#[test]
fn identifiers_as_postgresql_reads_them() {
    assert_eq!(identifier(b"FooBar"), "foobar");
    assert_eq!(identifier("É".as_bytes()), "É");
    assert_eq!(identifier(b"\"Foo\"\"Bar\""), "Foo\"Bar");
    assert_eq!(identifier(br#"U&"d\0061t""#), "dat");
    assert_eq!(identifier(&[b'x'; 70]).len(), 63);
    let accented = "é".repeat(40);
    assert_eq!(identifier(accented.as_bytes()).len(), 62);
}
