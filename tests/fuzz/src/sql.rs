//! Feeds any bytes to the SQL lexer and the template cache.

use std::cell::RefCell;

use pointsman_sql::{
    Analyzer, ClientEncoding, LexRules, executes, identifier, literal_value, prepare_parts, split,
};

thread_local! {
    /// Small, so that templates also leave it.
    static ANALYZER: RefCell<Analyzer<()>> = RefCell::new(Analyzer::new(16));
}

/// Every reader of a statement's text, under each set of lexical rules. Ranges must lie in the text, and the
/// same text must have the same template again.
pub fn template(data: &[u8]) {
    for encoding in [ClientEncoding::Utf8, ClientEncoding::AsciiSuperset, ClientEncoding::EmbeddedAscii] {
        for standard_conforming_strings in [true, false] {
            let rules = LexRules { standard_conforming_strings, encoding };
            texts(data, rules);
        }
    }
}

fn texts(data: &[u8], rules: LexRules) {
    let mut end = 0;
    for statement in split(data, rules).unwrap_or_default() {
        assert!(end <= statement.start && statement.start < statement.end && statement.end <= data.len());
        end = statement.end;
    }
    for name in executes(data, rules) {
        let _ = identifier(&data[name]);
    }
    if let Some(parts) = prepare_parts(data, rules) {
        let _ = (identifier(&data[parts.name]), &data[parts.body]);
    }
    ANALYZER.with_borrow_mut(|analyzer| {
        let first = analyzer.analyze(data, rules).facts.clone();
        let again = analyzer.analyze(data, rules);
        assert_eq!((&first.statements, first.doubt), (&again.facts.statements, again.facts.doubt));
        for literal in again.literals {
            let _ = literal_value(data, literal);
        }
    });
}
