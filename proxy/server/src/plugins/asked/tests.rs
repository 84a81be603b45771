//! What plugins see of statements and sessions.

use super::*;
use crate::session::judge::judge;
use pointsman_policy::catalog::Catalog;

fn asked(sql: &str) -> Asked {
    let rules = LexRules::default();
    Asked::of_text(sql.as_bytes(), rules, &judge(sql.as_bytes(), rules, &Catalog::default()))
}

fn bound(sql: &str, values: &[&str]) -> Asked {
    let mut rest = bytes::BytesMut::new();
    let values = values.iter().map(|value| Some(value.as_bytes())).collect();
    BindParameters { formats: Vec::new(), values, result_formats: Vec::new() }.encode(&mut rest);
    Asked { bound: rest.freeze(), types: vec![23], ..asked(sql) }
}

fn texts(values: Option<Vec<Value>>) -> Option<Vec<String>> {
    values.map(|values| {
        let text = |value: &Value| match value {
            Value::Text(text) => text.clone(),
            other => format!("{other:?}"),
        };
        values.iter().map(text).collect()
    })
}

#[test]
fn what_a_statement_pins() {
    let pinned = |asked: Asked, table: &str, column: &str| texts(asked.pinned(table, column));
    let some = |values: &[&str]| Some(values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
    assert_eq!(
        pinned(asked("INSERT INTO posts (id, author) VALUES (1, 7), (2, 'x''y')"), "posts", "author"),
        some(&["7", "x'y"])
    );
    assert_eq!(
        pinned(asked("INSERT INTO posts VALUES (1, 7)"), "posts", "author"),
        None,
        "in the table's order"
    );
    assert_eq!(pinned(asked("INSERT INTO posts (id) VALUES (1)"), "posts", "author"), None, "a default");
    assert_eq!(pinned(asked("INSERT INTO posts (author) SELECT 7"), "posts", "author"), None);
    assert_eq!(pinned(asked("INSERT INTO posts (author) VALUES (now())"), "posts", "author"), None);
    assert_eq!(
        pinned(bound("INSERT INTO posts (author) VALUES ($1)", &["9"]), "posts", "author"),
        some(&["9"])
    );
    assert_eq!(
        pinned(asked("UPDATE posts SET title = 'a' WHERE author IN (1, 2)"), "public.posts", "author"),
        some(&["1", "2"])
    );
    assert_eq!(
        pinned(asked("UPDATE posts SET author = 8 WHERE author = 7"), "posts", "author"),
        None,
        "it moves"
    );
    assert_eq!(pinned(asked("DELETE FROM posts WHERE author = -7"), "posts", "author"), some(&["-7"]));
    assert_eq!(pinned(asked("DELETE FROM posts WHERE author = 7 OR true"), "posts", "author"), None);
    assert_eq!(pinned(asked("DELETE FROM posts WHERE author = 7"), "likes", "author"), None, "another table");
}

#[test]
fn the_parts_of_a_statement() {
    let one =
        bound("SELECT a FROM s.t, u WHERE b = $1 AND c = 'it''s' AND d = 5 /* agent='7%20a' */", &["42"]);
    let relations: Vec<_> =
        one.relations().into_iter().map(|one| (one.schema, one.name, one.written)).collect();
    assert_eq!(relations, [(Some("s".to_owned()), "t".to_owned(), false), (None, "u".to_owned(), false)]);
    assert_eq!(one.literal(0), Some(Constant { kind: ConstantKind::Text, text: "it's".to_owned() }));
    assert_eq!(one.literal(1), Some(Constant { kind: ConstantKind::Integer, text: "5".to_owned() }));
    assert_eq!(one.literal(2), None);
    assert_eq!(one.param(0), Some(Parameter { type_oid: 23, value: Value::Text("42".to_owned()) }));
    assert_eq!((one.param(1), one.params(), one.literals), (None, 1, 2));
    assert_eq!(one.comment("agent").as_deref(), Some("7 a"));
}

#[test]
fn kinds() {
    let kind_of = |sql: &str| kind(&asked(sql).facts);
    assert_eq!(kind_of("SELECT 1"), StatementKind::Select);
    assert_eq!(kind_of("SELECT 1; SELECT 2"), StatementKind::Several);
    assert_eq!(kind_of("BEGIN"), StatementKind::Transaction);
    assert_eq!(kind_of("SET a.b = 1"), StatementKind::Setting);
    assert_eq!(kind_of("TRUNCATE t"), StatementKind::Definition);
    assert_eq!(kind_of("CREATE TABLE t ()"), StatementKind::Definition);
    assert_eq!(kind_of("EXECUTE a"), StatementKind::Prepared);
    assert_eq!(kind_of("select from where"), StatementKind::Select, "by its first word");
    assert_eq!(kind_of("selec 1"), StatementKind::Other);
}

#[test]
fn a_session_s_own_settings() {
    let mut settings = crate::upstream::settings::Settings::default();
    settings.insert("app.tenant", Setting::Statement("SET \"app\".\"tenant\" TO 'o''neil'".to_owned()));
    settings.insert("app.other", Setting::Text("5".to_owned()));
    let identity = Identity::new("u", "d", "a", None);
    let asking = Asking { identity, settings: Interned(settings.intern()) };
    assert_eq!(asking.setting("App.Tenant").as_deref(), Some("o'neil"));
    assert_eq!(asking.setting("app.other").as_deref(), Some("5"));
    assert_eq!(asking.setting("app.none"), None);
}
