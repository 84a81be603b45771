//! Literal values.

use super::*;
use crate::lexer::{LexRules, Lexer, TokenKind};

fn value(sql: &str) -> Option<String> {
    let mut lexer = Lexer::new(sql.as_bytes(), LexRules::default());
    let token = lexer.next_token().unwrap().unwrap();
    let TokenKind::Literal(kind) = token.kind else { panic!("{sql} is no literal") };
    let span = |at: usize| u32::try_from(at).unwrap();
    literal_value(sql.as_bytes(), &Literal { start: span(token.start), end: span(token.end), kind })
}

#[test]
fn values() {
    for (sql, expected) in [
        ("42", "42"),
        ("1.50", "1.50"),
        ("''", ""),
        ("'it''s'", "it's"),
        ("'a\\n'", "a\\n"),
        ("'a' -- it's\n 'b'\n'c'", "abc"),
        ("E'a\\n\\t\\'\\\\''x'", "a\n\t'\\'x"),
        ("E'\\101\\x42\\u0043\\U00000044'", "ABCD"),
        ("E'a\\''\n'\\'b'", "a''b"),
        ("$$a'b$$", "a'b"),
        ("$t$a$$b$t$", "a$$b"),
        ("U&'d\\0061t\\+000061\\\\'", "data\\"),
    ] {
        assert_eq!(value(sql).as_deref(), Some(expected), "{sql}");
    }
}

#[test]
fn no_value() {
    for sql in ["b'1'", "E'\\u12'", "E'\\xff'", "U&'\\12'", "U&'!0061' UESCAPE '!'"] {
        assert_eq!(value(sql), None, "{sql}");
    }
}
