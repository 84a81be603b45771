//! Outside bytes: whatever comes in, nothing panics and every place lies within the text.

use pointsman_sql::{
    Analyzer, ClientEncoding, LexRules, executes, identifier, literal_value, prepare_parts, split,
};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

/// Pieces that mean something to the lexer or the grammar.
const PIECES: &[&str] = &[
    "SELECT",
    "select",
    "INSERT INTO",
    "VALUES",
    "PREPARE",
    "EXECUTE",
    "p",
    "AS",
    "DEALLOCATE",
    "EXPLAIN",
    "CREATE",
    "FUNCTION",
    "BEGIN",
    "END",
    "CASE",
    "SET",
    "WITH",
    "FROM",
    "a",
    "\"Q\"",
    "U&\"x\"",
    "UESCAPE",
    "'s'",
    "'",
    "''",
    "E'\\'",
    "$$",
    "$t$",
    "$1",
    "$",
    "1",
    "1.5",
    ".5",
    "0x",
    "1e",
    "b'1'",
    "X'",
    "--",
    "/*",
    "*/",
    "\n",
    " ",
    ";",
    "(",
    ")",
    "[",
    "]",
    ",",
    ".",
    "::",
    "=",
    "-",
    "+",
    "é",
    "\u{7f}",
    "float",
    "conflict",
    "current_setting",
];

/// Pieces that end what they begin, so that texts of them reach the parser.
const WHOLE: &[&str] = &[
    "SELECT 1",
    "SELECT * FROM a WHERE id = 1",
    "INSERT INTO a VALUES (1, 'x')",
    "PREPARE p (int) AS",
    "EXECUTE p",
    "DEALLOCATE p",
    "EXPLAIN",
    "WITH w AS (SELECT 1)",
    "SET a.b = 'x\\'",
    "AND E'\\'' = $$x$$",
    "UNION",
    "ORDER BY 1",
    "LIMIT $1",
    ", f('é')",
    ";",
    ";",
    "-- c\n",
    "(",
    ")",
    "BEGIN",
    "COMMIT",
];

fn texts() -> impl Strategy<Value = Vec<u8>> {
    let soup = vec(select(PIECES), 0..40).prop_map(|pieces| pieces.concat().into_bytes());
    let spaced = vec(select(PIECES), 0..40).prop_map(|pieces| pieces.join(" ").into_bytes());
    let whole = vec(select(WHOLE), 1..20).prop_map(|pieces| pieces.join(" ").into_bytes());
    let noise = vec(any::<u8>().prop_filter("no zero bytes in messages", |byte| *byte != 0), 0..200);
    prop_oneof![2 => soup, 2 => spaced, 4 => whole, 1 => noise]
}

const ENCODINGS: &[ClientEncoding] =
    &[ClientEncoding::Utf8, ClientEncoding::AsciiSuperset, ClientEncoding::EmbeddedAscii];

fn rules() -> impl Strategy<Value = LexRules> {
    (any::<bool>(), select(ENCODINGS)).prop_map(|(standard_conforming_strings, encoding)| LexRules {
        standard_conforming_strings,
        encoding,
    })
}

#[test]
fn nothing_panics_and_places_lie_within() {
    let mut analyzer = Analyzer::<()>::new(50);
    let cases = if cfg!(debug_assertions) { 20_000 } else { 200_000 };
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(cases) });
    let analyzer = std::cell::RefCell::new(&mut analyzer);
    runner
        .run(&(texts(), rules()), |(sql, rules)| {
            let mut analyzer = analyzer.borrow_mut();
            let analysis = analyzer.analyze(&sql, rules);
            let mut end = 0;
            for literal in analysis.literals {
                assert!(
                    literal.start >= end && literal.end > literal.start && literal.end as usize <= sql.len()
                );
                end = literal.end;
                let _value = literal_value(&sql, literal);
            }
            let mut end = 0;
            for range in split(&sql, rules).unwrap_or_default() {
                assert!(range.start >= end && !range.is_empty() && range.end <= sql.len());
                end = range.end;
            }
            for range in executes(&sql, rules) {
                let _name = identifier(&sql[range]);
            }
            if let Some(parts) = prepare_parts(&sql, rules) {
                assert!(parts.name.end <= parts.body.start && parts.body.end <= sql.len());
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_hit_says_what_a_miss_says() {
    let mut warm = Analyzer::<()>::new(50);
    let warm = std::cell::RefCell::new(&mut warm);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(5_000) });
    runner
        .run(&(texts(), rules()), |(sql, rules)| {
            let mut fresh = Analyzer::<()>::new(1);
            let fresh = fresh.analyze(&sql, rules).facts.clone();
            let mut warm = warm.borrow_mut();
            for _ in 0..2 {
                let known = warm.analyze(&sql, rules).facts;
                assert_eq!((known.doubt, &known.statements), (fresh.doubt, &fresh.statements));
            }
            Ok(())
        })
        .unwrap();
}
