//! Facts without a parse tree.

use super::*;

fn names(functions: &[FunctionName]) -> Vec<String> {
    functions.iter().map(ToString::to_string).collect()
}

#[test]
fn one_plain_write_is_understood() {
    for (sql, kind, target) in [
        ("INSERT INTO a (x) VALUES (1), (2)", Kind::Insert, "a"),
        ("insert into S.\"B\" values (1);", Kind::Insert, "s.B"),
        ("UPDATE ONLY a SET x = 1", Kind::Update, "a"),
        ("DELETE FROM s.a WHERE id IN (1)", Kind::Delete, "s.a"),
    ] {
        let facts = facts(sql.as_bytes(), LexRules::default());
        let statement = facts.single().unwrap();
        assert!(facts.understood(), "{sql}");
        assert_eq!((&statement.kind, statement.writes[0].to_string().as_str()), (&kind, target));
        assert!(statement.read_only.is_err());
    }
}

#[test]
fn everything_else_is_doubtful() {
    for sql in [
        "SELECT 1",
        "INSERT INTO a SELECT 1; SELECT 2",
        "INSERT INTO a WITH b AS (DELETE FROM c) SELECT 1",
        "COPY a FROM STDIN",
        "INSERT INTO",
        "'open",
    ] {
        assert_eq!(facts(sql.as_bytes(), LexRules::default()).doubt, Some(Doubt::Long), "{sql}");
    }
}

#[test]
fn calls_are_names_before_parentheses() {
    let sql = b"SELECT f(1), S.g (2), a.b.h(3), \"I\"(4) FROM t WHERE x IN (1) AND (2) = k('m(')";
    let functions = calls(sql, LexRules::default()).unwrap();
    assert_eq!(names(&functions), ["f", "s.g", "b.h", "I", "k"]);
}

#[test]
fn doubtful_texts_keep_their_statements() {
    let facts = with_doubt(b"SELEC f(1); SELECT 2", LexRules::default(), Doubt::Syntax);
    assert_eq!(facts.statements.len(), 2);
    assert_eq!(names(&facts.statements[0].functions), ["f"]);
}

#[test]
fn plain_statements_are_known_by_their_first_word() {
    for (sql, kind) in [
        ("SELECT f(1) NONSENSE (", Kind::Select),
        ("(SELECT 1", Kind::Select),
        ("WITH x", Kind::Select),
        ("DELETE FRO a", Kind::Delete),
        ("SELECT set_config('a', 'b', false) (", Kind::Other),
        ("SELECT 1 INTO TEMP t (", Kind::Other),
        ("SELECT \"pg_advisory_lock\"(1) (", Kind::Other),
        ("SET a = ", Kind::Other),
        ("SELEC 1", Kind::Other),
    ] {
        let facts = with_doubt(sql.as_bytes(), LexRules::default(), Doubt::Syntax);
        let opaque = facts.statements[0].state == [SessionState::Opaque];
        assert_eq!((&facts.statements[0].kind, opaque), (&kind, kind == Kind::Other), "{sql}");
    }
}
