//! Templates and their cache.

use super::*;

fn analyzer() -> Analyzer<u32> {
    Analyzer::new(100)
}

fn template(analyzer: &mut Analyzer<u32>, sql: &str) -> u64 {
    analyzer.analyze(sql.as_bytes(), LexRules::default()).facts.template
}

#[test]
fn texts_that_differ_in_literals_space_and_case_share_facts() {
    let mut analyzer = analyzer();
    let first = template(&mut analyzer, "SELECT * FROM a WHERE id = 1 AND name = 'x'");
    for same in [
        "select * from A where ID = 22 and name = 'it''s'",
        "  SELECT *\n\tFROM a -- why\n WHERE id = 3 /* x */ AND name = '' -- end",
    ] {
        assert_eq!(template(&mut analyzer, same), first, "{same}");
    }
    for other in [
        "SELECT * FROM \"A\" WHERE id = 1 AND name = 'x'",
        "SELECT * FROM a WHERE id = -1 AND name = 'x'",
        "SELECT * FROM a WHERE id = $1 AND name = 'x'",
        "SELECT * FROM a WHERE id = 1.0 AND name = 'x'",
    ] {
        assert_ne!(template(&mut analyzer, other), first, "{other}");
    }
    assert_eq!(analyzer.stats().hits, 2);
}

#[test]
fn literals_that_carry_meaning_stay() {
    let mut analyzer = analyzer();
    for (one, other) in [
        ("SET a.b = 'x'", "SET a.b = 'y'"),
        ("SELECT 1::float(24)", "SELECT 1::float(53)"),
        ("SELECT current_time(1)", "SELECT current_time(2)"),
        ("SELECT x::int[1]", "SELECT x::int[2]"),
        ("SELECT U&\"d!0061\" UESCAPE '!'", "SELECT U&\"d!0061\" UESCAPE '#'"),
        ("SELECT current_setting('a.b')", "SELECT current_setting('port')"),
        ("BEGIN; SET x.y = 1", "BEGIN; SET x.y = 2"),
        ("EXPLAIN (ANALYZE 0) SELECT 1", "EXPLAIN (ANALYZE 1) SELECT 1"),
    ] {
        assert_ne!(template(&mut analyzer, one), template(&mut analyzer, other), "{one}");
    }
    assert_eq!(template(&mut analyzer, "SELECT set_config('a', 'b', true)"), {
        template(&mut analyzer, "SELECT set_config('c', 'd', true)")
    });
}

#[test]
fn the_memo_lives_beside_the_facts() {
    let mut analyzer = analyzer();
    *analyzer.analyze(b"SELECT 1", LexRules::default()).memo = 7;
    assert_eq!(*analyzer.analyze(b"SELECT 2", LexRules::default()).memo, 7);
    assert_eq!(*analyzer.analyze(b"SELECT 'x'", LexRules::default()).memo, 0);
}

#[test]
fn literals_are_this_texts_own() {
    let mut analyzer = analyzer();
    let sql = b"SELECT 'x', 5";
    analyzer.analyze(b"SELECT 'yyy', 66", LexRules::default());
    let analysis = analyzer.analyze(sql, LexRules::default());
    assert!(analysis.hit);
    let raw: Vec<&[u8]> = analysis.literals.iter().map(|literal| literal.raw(sql)).collect();
    assert_eq!(raw, [&b"'x'"[..], b"5"]);
}

#[test]
fn the_same_text_again_has_the_same_facts_and_literals() {
    let mut analyzer = analyzer();
    let sql = b"SELECT 'x', 5 -- why";
    let escapes = LexRules { standard_conforming_strings: false, ..LexRules::default() };
    let first = analyzer.analyze(sql, LexRules::default()).facts.template;
    for round in 0..3 {
        let analysis = analyzer.analyze(sql, LexRules::default());
        let raw: Vec<&[u8]> = analysis.literals.iter().map(|literal| literal.raw(sql)).collect();
        assert_eq!((analysis.facts.template, analysis.hit, analysis.commented), (first, true, true));
        assert_eq!(raw, [&b"'x'"[..], b"5"], "round {round}");
    }
    // Under other rules it is another text.
    assert_ne!(analyzer.analyze(sql, escapes).literals[0].kind, LiteralKind::String);
    assert!(analyzer.analyze(b"SELECT 'unterminated", LexRules::default()).literals.is_empty());
    assert_eq!(analyzer.analyze(sql, LexRules::default()).literals.len(), 2);
    assert_eq!(analyzer.stats().hits, 4);
}

#[test]
fn the_oldest_template_leaves_first() {
    let mut analyzer = Analyzer::<u32>::new(2);
    let a = template(&mut analyzer, "SELECT a");
    let b = template(&mut analyzer, "SELECT b");
    assert_eq!(template(&mut analyzer, "SELECT a"), a);
    template(&mut analyzer, "SELECT c");
    assert_eq!(template(&mut analyzer, "SELECT a"), a);
    assert_ne!(template(&mut analyzer, "SELECT b"), b);
    let stats = analyzer.stats();
    assert_eq!((stats.entries, stats.evictions, stats.hits, stats.misses), (2, 2, 2, 4));
}

#[test]
fn bytes_are_bounded_too() {
    let mut analyzer = Analyzer::<u32>::new(20);
    for i in 0..200 {
        template(
            &mut analyzer,
            &format!("SELECT {}b FROM t{i} WHERE id IN (1{})", "a, ".repeat(1000), ", 1".repeat(9000)),
        );
        assert!(analyzer.stats().bytes <= 1024 * 1024, "{:?}", analyzer.stats());
    }
    assert!(analyzer.stats().entries >= 2, "{:?}", analyzer.stats());
}

#[test]
fn no_nesting_overflows_a_small_stack() {
    let shapes: [fn(usize) -> String; 9] = [
        |n| format!("SELECT 1{}", "+1".repeat(n)),
        |n| format!("SELECT {}true", "NOT ".repeat(n)),
        |n| format!("SELECT {}a", "- ".repeat(n)),
        |n| format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n)),
        |n| format!("SELECT 1{}", " UNION SELECT 1".repeat(n)),
        |n| format!("SELECT {}1{}", "CASE WHEN ".repeat(n), " THEN 1 END".repeat(n)),
        |n| format!("SELECT 1{}", "::a".repeat(n)),
        |n| format!("SELECT 1 FROM a{}", " JOIN b ON true".repeat(n)),
        |n| format!("SELECT {}1{}", "ARRAY[".repeat(n), "]".repeat(n)),
    ];
    let run = move || {
        let mut analyzer = Analyzer::<u32>::new(20);
        for shape in shapes {
            for n in [10, 30, 50, 100, 190, 1000, 3000, 10_000, 30_000] {
                let sql = shape(n);
                let _facts = analyzer.analyze(sql.as_bytes(), LexRules::default()).facts;
            }
        }
    };
    std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(run).unwrap().join().unwrap();
}

#[test]
fn what_is_not_understood_is_not_an_error() {
    let mut analyzer = analyzer();
    let deep = format!("SELECT {}1{}", "(".repeat(300), ")".repeat(300));
    let nested = format!("SELECT 1{}", "+1".repeat(200));
    let long = format!("SELECT '{}'", "x".repeat(TEMPLATE_BYTES_MAX));
    for (sql, doubt) in [
        ("SELECT 'open", Doubt::Lexical),
        ("SELEC 1", Doubt::Syntax),
        (&deep, Doubt::Deep),
        (&nested, Doubt::Syntax),
        (&long, Doubt::Long),
    ] {
        let analysis = analyzer.analyze(sql.as_bytes(), LexRules::default());
        assert_eq!(analysis.facts.doubt, Some(doubt), "{}", &sql[..sql.len().min(40)]);
    }
    let analysis = analyzer.analyze(b"SELECT '\xff'", LexRules::default());
    assert_eq!(analysis.facts.doubt, Some(Doubt::Encoding));
}

#[test]
fn a_bad_escape_does_not_spoil_its_template() {
    let mut analyzer = analyzer();
    let bad = analyzer.analyze(br"SELECT E'\u12'", LexRules::default()).facts.clone();
    let good = analyzer.analyze(br"SELECT E'\u0041'", LexRules::default()).facts.clone();
    assert!(!bad.understood() && good.understood());
}

#[test]
fn other_encodings() {
    let mut analyzer = analyzer();
    let latin = LexRules { encoding: ClientEncoding::AsciiSuperset, ..LexRules::default() };
    assert!(analyzer.analyze(b"SELECT 'caf\xe9' FROM a", latin).facts.understood());
    for doubtful in [&b"SELECT caf\xe9 FROM a"[..], b"SET a.b = 'caf\xe9'", b"SELECT \"\xc3\xa9\" FROM a"] {
        assert_eq!(analyzer.analyze(doubtful, latin).facts.doubt, Some(Doubt::Encoding));
    }
    let sjis = LexRules { encoding: ClientEncoding::EmbeddedAscii, ..LexRules::default() };
    assert!(analyzer.analyze(b"SELECT 1 FROM a", sjis).facts.understood());
    assert!(!analyzer.analyze(b"SELECT '\x83\x5c' FROM a", sjis).facts.understood());
}

#[test]
fn escapes_in_plain_strings() {
    let mut analyzer = analyzer();
    let rules = LexRules { standard_conforming_strings: false, ..LexRules::default() };
    let analysis = analyzer.analyze(br"SELECT 'a\'; DROP TABLE b; --', 5 FROM a", rules);
    assert!(analysis.facts.understood());
    assert_eq!((analysis.facts.statements.len(), analysis.literals.len()), (1, 2));
    assert!(!analyzer.analyze(br"SET a.b = 'x\n'", rules).facts.understood());
}

#[test]
fn comments_are_noticed_and_shapes_are_shared_by_templates_of_other_literals() {
    let mut analyzer = analyzer();
    let mut of = |sql: &str| {
        let analysis = analyzer.analyze(sql.as_bytes(), LexRules::default());
        (analysis.facts.shape, analysis.facts.template, analysis.commented, analysis.hit)
    };
    let first = of("SELECT a FROM t WHERE id = 1");
    let commented = of("SELECT a FROM t WHERE id = 2 /* x */");
    let same = of("SELECT a FROM t WHERE id = 2");
    assert_eq!((first.2, commented.2, same.2, same.3), (false, true, false, true));
    let bound = of("SELECT a FROM t WHERE id = $1 -- x");
    assert_eq!((bound.0 == first.0, bound.1 == first.1, bound.2), (true, false, true));
    assert!(!of("SELECT '--', \"/*\"").2);
    let long = format!("SELECT '{}'", "x".repeat(TEMPLATE_BYTES_MAX));
    assert_eq!((of(&long).0, of(&long).2), (0, true));
}

#[test]
fn long_texts_that_come_again_are_known_with_their_own_literals() {
    let mut analyzer = Analyzer::<u32>::new(2);
    let text = |number: u32| {
        format!("SELECT {number}, '{}' /* c */ FROM agents WHERE id = {number}", "x".repeat(200))
    };
    for round in 0..3 {
        for number in [1, 22, 333] {
            let sql = text(number);
            let analysis = analyzer.analyze(sql.as_bytes(), LexRules::default());
            assert_eq!(analysis.hit, round + number > 1);
            assert!(analysis.commented);
            assert_eq!(analysis.literals[0].raw(sql.as_bytes()), number.to_string().as_bytes());
            assert_eq!(analysis.literals.len(), 3);
            *analysis.memo += 1;
        }
    }
    // Its template is pushed out: the text is read anew, though it came lately.
    for other in ["SELECT a", "SELECT a, b", "SELECT a, b, c"] {
        analyzer.analyze(other.as_bytes(), LexRules::default());
    }
    let again = text(1);
    let analysis = analyzer.analyze(again.as_bytes(), LexRules::default());
    assert!(!analysis.hit && *analysis.memo == 0);
    let rules = LexRules { standard_conforming_strings: false, ..LexRules::default() };
    let escaped = format!("SELECT '{}\\'' FROM agents", "x".repeat(200));
    assert!(!analyzer.analyze(escaped.as_bytes(), rules).hit);
    assert!(!analyzer.analyze(escaped.as_bytes(), LexRules::default()).hit, "other rules, another text");
}
