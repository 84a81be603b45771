//! The lexer, token by token.

use super::*;

fn tokens(text: &str) -> Vec<(TokenKind, &str)> {
    let mut lexer = Lexer::new(text.as_bytes(), LexRules::default());
    let mut all = Vec::new();
    while let Some(token) = lexer.next_token().unwrap() {
        if token.kind != TokenKind::Space {
            all.push((token.kind, &text[token.start..token.end]));
        }
    }
    all
}

fn literals(text: &str) -> Vec<(LiteralKind, &str)> {
    tokens(text)
        .into_iter()
        .filter_map(|(kind, text)| match kind {
            TokenKind::Literal(kind) => Some((kind, text)),
            _ => None,
        })
        .collect()
}

fn error(text: &str) -> LexError {
    let mut lexer = Lexer::new(text.as_bytes(), LexRules::default());
    loop {
        match lexer.next_token() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("no error in {text}"),
            Err(error) => return error,
        }
    }
}

#[test]
fn strings_of_every_kind() {
    use LiteralKind::{BitString, DollarString, EscapeString, String, UnicodeString};
    assert_eq!(literals("'a''b' 'c\\'"), [(String, "'a''b'"), (String, "'c\\'")]);
    assert_eq!(literals(r"E'a\'b' e'\\'"), [(EscapeString, r"E'a\'b'"), (EscapeString, r"e'\\'")]);
    assert_eq!(
        literals("U&'x' b'1' X'f'"),
        [(UnicodeString, "U&'x'"), (BitString, "b'1'"), (BitString, "X'f'")]
    );
    assert_eq!(
        literals("$$a'$b$$ $t$ $$ $T$ $t$"),
        [(DollarString, "$$a'$b$$"), (DollarString, "$t$ $$ $T$ $t$")]
    );
    assert_eq!(literals("N'x' foo'y'"), [(String, "'x'"), (String, "'y'")]);
}

#[test]
fn strings_continue_on_the_next_line_only() {
    assert_eq!(literals("'a'\n 'b'").len(), 1);
    assert_eq!(literals("'a' -- c\n -- d\n 'b'").len(), 1);
    assert_eq!(literals("'a' 'b'").len(), 2);
    assert_eq!(literals("'a' /* \n */ 'b'").len(), 2);
    assert_eq!(literals("E'a\\''\n'b\\''").len(), 1);
    assert_eq!(literals("'a' - 'b'\n").len(), 2);
}

#[test]
fn a_setting_decides_about_backslashes() {
    let rules = LexRules { standard_conforming_strings: false, ..LexRules::default() };
    let mut lexer = Lexer::new(br"'a\'b'", rules);
    let token = lexer.next_token().unwrap().unwrap();
    assert_eq!((token.kind, token.end), (TokenKind::Literal(LiteralKind::EscapeString), 6));
}

#[test]
fn numbers() {
    use LiteralKind::{Integer, Number};
    for text in ["0", "42", "007"] {
        assert_eq!(literals(text), [(Integer, text)]);
    }
    for text in ["1.5", ".5", "5.", "1e10", "1.5E-3", "1_000", "0x1F", "0o17", "0b1_0", "1_0.2_5e1_0"] {
        assert_eq!(literals(text), [(Number, text)], "{text}");
    }
    assert_eq!(tokens("1..x")[0], (TokenKind::Literal(Number), "1"));
    assert_eq!(tokens("a.5").len(), 2);
    for text in ["1a", "1e", "1e+", "0xg", "1_", "$1a", "1.5x"] {
        assert_eq!(error(text), LexError::Junk, "{text}");
    }
}

#[test]
fn words_names_and_parameters() {
    use TokenKind::{Operator, Param, Punct, Quoted, Word};
    assert_eq!(
        tokens("a$b é \"x\"\"y\" U&\"z\"").iter().map(|t| t.0).collect::<Vec<_>>(),
        [Word, Word, Quoted, Quoted]
    );
    assert_eq!(tokens("$12::int"), [(Param, "$12"), (Punct, ":"), (Punct, ":"), (Word, "int")]);
    assert_eq!(tokens("u&x").iter().map(|t| t.0).collect::<Vec<_>>(), [Word, Operator, Word]);
    assert_eq!(tokens("foo$$bar"), [(Word, "foo$$bar")]);
}

#[test]
fn comments_are_space() {
    assert_eq!(tokens("a /* b /* c */ ' */ -- \" $$\n d").len(), 2);
    assert_eq!(tokens("1--2").len(), 1);
    assert_eq!(tokens("1/*2*/").len(), 1);
    assert_eq!(tokens("1 +/**/- 2").len(), 4);
    assert_eq!(tokens("--").len(), 0);
}

#[test]
fn what_does_not_end_is_an_error() {
    for text in ["'a", "E'a\\'", "\"a", "/* /* */", "$$a", "$a$ $b$", "U&'x"] {
        assert_eq!(error(text), LexError::Unterminated, "{text}");
    }
    for text in ["\\d", "{", "\x01", "$", "$é", "\"\"", "a $x"] {
        assert_eq!(error(text), LexError::Byte, "{text}");
    }
}

#[test]
fn encodings_by_name() {
    assert_eq!(ClientEncoding::from_name("UTF8"), ClientEncoding::Utf8);
    assert_eq!(ClientEncoding::from_name("utf-8"), ClientEncoding::Utf8);
    assert_eq!(ClientEncoding::from_name("Shift_JIS"), ClientEncoding::EmbeddedAscii);
    assert_eq!(ClientEncoding::from_name("LATIN1"), ClientEncoding::AsciiSuperset);
}
