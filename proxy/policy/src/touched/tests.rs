//! Texts to footprints.

use pointsman_sql::{Analyzer, LexRules};

use super::*;
use crate::catalog::tests::{relation, rows};
use crate::overrides::Overrides;

fn of(text: &str) -> Footprint {
    let mut rows = rows();
    rows.relations.push(relation("public", "posts", 'r', ""));
    rows.relations.push(relation("public", "likes", 'r', ""));
    let catalog = Catalog::build(&rows, &Overrides::default());
    let mut analyzer = Analyzer::<()>::new(1);
    footprint(analyzer.analyze(text.as_bytes(), LexRules::default()).facts, &catalog)
}

fn slots(names: &[&str]) -> Touched {
    names.iter().fold(Touched::nothing(), |all, name| all.and(&Touched::one(slot_of(name))))
}

#[test]
fn reads_and_writes_are_named() {
    for (text, reads, writes) in [
        ("SELECT 1", slots(&[]), slots(&[])),
        ("SELECT * FROM posts, likes", slots(&["posts", "likes"]), slots(&[])),
        ("INSERT INTO likes SELECT id FROM posts", slots(&["posts"]), slots(&["likes"])),
        (
            "WITH w AS (DELETE FROM likes RETURNING id) INSERT INTO posts SELECT * FROM w",
            slots(&[]),
            slots(&["likes", "posts"]),
        ),
        ("UPDATE posts SET id = 1; DELETE FROM likes", slots(&[]), slots(&["likes", "posts"])),
        ("COPY posts FROM STDIN", slots(&[]), slots(&["posts"])),
        ("SELECT nextval('seq')", slots(&[]), slots(&[])),
        ("EXPLAIN SELECT * FROM posts", slots(&["posts"]), slots(&[])),
    ] {
        let found = of(text);
        assert_eq!((found.reads, found.writes), (reads, writes), "{text}");
    }
}

#[test]
fn control_writes_nothing_and_may_read_anything() {
    for text in ["BEGIN READ ONLY", "COMMIT", "SET search_path = a", "SAVEPOINT s"] {
        let found = of(text);
        assert_eq!((found.reads, found.writes), (Touched::Unknown, Touched::nothing()), "{text}");
    }
}

#[test]
fn what_is_not_understood_writes_anything() {
    for text in [
        "SELECT log_visit()",
        "TRUNCATE posts",
        "ALTER TABLE posts ADD b int",
        "CREATE TABLE posts2 AS SELECT 1",
        "SELECT * INTO copied FROM posts",
        "DO $$ BEGIN NULL; END $$",
        "CALL p()",
        "COMMIT PREPARED 'x'",
        "PREPARE TRANSACTION 'x'",
        "EXECUTE p",
        "EXPLAIN ANALYZE INSERT INTO posts VALUES (1)",
        "INSERT INTO unheard_of VALUES (1)",
        "INSERT INTO posts VALUES (become())",
        "UPDATE posts SET id = 1; SELECT log_visit()",
        "VACUUM",
        "REFRESH MATERIALIZED VIEW m",
        "not SQL",
    ] {
        assert_eq!(of(text).writes, Touched::Unknown, "{text}");
    }
}

#[test]
fn slots_are_spread() {
    let names: Vec<String> = (0..500).map(|number| format!("table_{number}")).collect();
    let different: std::collections::HashSet<u16> = names.iter().map(|name| slot_of(name)).collect();
    assert!(different.len() > 440, "{}", different.len());
}
