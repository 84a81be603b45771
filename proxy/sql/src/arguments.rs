//! The arguments of `EXECUTE name (...)`, where each is a plain value, and the types that `PREPARE` names for them.

use crate::lexer::{LexRules, Literal, LiteralKind, Token, TokenKind, tokens};
use crate::literal::literal_value;

/// How a plain value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// `NULL`.
    Null,
    /// `true` or `false`.
    Bool,
    /// Digits, perhaps after a minus.
    Integer,
    /// Any other number.
    Number,
    /// A string: of whatever type it is wanted as.
    String,
}

/// A plain value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its text; `None` is NULL.
    pub text: Option<String>,
    /// How it is written.
    pub written: Written,
}

/// The arguments of a text that is one `EXECUTE`. `None`: one of them is no plain value, or the text is something else.
#[must_use]
pub fn execute_arguments(sql: &[u8], rules: LexRules) -> Option<Vec<Argument>> {
    let tokens = tokens(sql, rules).ok()?;
    let word = |token: &Token, word: &str| sql[token.start..token.end].eq_ignore_ascii_case(word.as_bytes());
    let punct = |token: &Token, byte: u8| token.kind == TokenKind::Punct && sql[token.start] == byte;
    let (execute, rest) = tokens.split_first()?;
    let (_, rest) = rest.split_first().filter(|_| word(execute, "execute"))?;
    let rest = rest.strip_suffix_of(|token| punct(token, b';'));
    let Some((open, rest)) = rest.split_first() else { return Some(Vec::new()) };
    let (close, inside) = rest.split_last().filter(|_| punct(open, b'('))?;
    if !punct(close, b')') {
        return None;
    }
    inside.split(|token| punct(token, b',')).map(|argument| value(sql, argument)).collect()
}

/// What stands between the commas of a list, such as the types of a `PREPARE`; commas in parentheses are no such. `None`: its
/// tokens cannot be told.
#[must_use]
pub fn listed(sql: &[u8], rules: LexRules) -> Option<Vec<&[u8]>> {
    let tokens = tokens(sql, rules).ok()?;
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for token in tokens.iter().filter(|token| token.kind == TokenKind::Punct) {
        match sql[token.start] {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.push(sql.get(start..token.start)?);
                start = token.end;
            }
            _ => {}
        }
    }
    parts.push(sql.get(start..)?);
    Some(parts)
}

/// Slices without an end that they may have.
trait StripSuffixOf<T> {
    fn strip_suffix_of(&self, is: impl Fn(&T) -> bool) -> &[T];
}

impl<T> StripSuffixOf<T> for [T] {
    fn strip_suffix_of(&self, is: impl Fn(&T) -> bool) -> &[T] {
        match self.split_last() {
            Some((last, rest)) if is(last) => rest,
            _ => self,
        }
    }
}

fn value(sql: &[u8], argument: &[Token]) -> Option<Argument> {
    let text = |token: &Token| sql.get(token.start..token.end);
    match argument {
        [one] if one.kind == TokenKind::Word => match text(one)?.to_ascii_lowercase().as_slice() {
            b"null" => Some(Argument { text: None, written: Written::Null }),
            word @ (b"true" | b"false") => {
                let word = String::from_utf8_lossy(word).into_owned();
                Some(Argument { text: Some(word), written: Written::Bool })
            }
            _ => None,
        },
        [one] => literal(sql, one),
        [minus, number] if text(minus)? == b"-" && text(number)?.first()?.is_ascii_digit() => {
            let mut number = literal(sql, number)?;
            number.text = number.text.map(|text| if text == "0" { text } else { format!("-{text}") });
            Some(number)
        }
        _ => None,
    }
}

fn literal(sql: &[u8], token: &Token) -> Option<Argument> {
    let TokenKind::Literal(kind) = token.kind else { return None };
    let (start, end) = (u32::try_from(token.start).ok()?, u32::try_from(token.end).ok()?);
    let mut text = literal_value(sql, &Literal { start, end, kind })?;
    let written = match kind {
        LiteralKind::BitString => return None,
        LiteralKind::Number => Written::Number,
        LiteralKind::Integer => {
            let zeros = text.len() - text.trim_start_matches('0').len();
            text.drain(..zeros.min(text.len() - 1));
            Written::Integer
        }
        _ => Written::String,
    };
    Some(Argument { text: Some(text), written })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(sql: &str) -> Option<Vec<Argument>> {
        execute_arguments(sql.as_bytes(), LexRules::default())
    }

    fn some(written: Written, text: &str) -> Argument {
        Argument { text: Some(text.to_owned()), written }
    }

    #[test]
    fn plain_values_are_read() {
        assert_eq!(
            arguments("EXECUTE p (1, -2, 'it''s', NULL, true, 007, -0, 1.50, E'\\n') ;"),
            Some(vec![
                some(Written::Integer, "1"),
                some(Written::Integer, "-2"),
                some(Written::String, "it's"),
                Argument { text: None, written: Written::Null },
                some(Written::Bool, "true"),
                some(Written::Integer, "7"),
                some(Written::Integer, "0"),
                some(Written::Number, "1.50"),
                some(Written::String, "\n"),
            ])
        );
        assert_eq!(arguments("execute \"P\""), Some(Vec::new()));
    }

    #[test]
    fn others_are_not() {
        let others = [
            "EXECUTE p (1 + 1)",
            "EXECUTE p (now())",
            "EXECUTE p ('1'::text)",
            "EXECUTE p (B'1')",
            "EXECUTE p ()",
            "SELECT 1",
        ];
        for other in others {
            assert_eq!(arguments(other), None, "{other}");
        }
    }

    #[test]
    fn lists_are_taken_apart() {
        let parts = listed(b"bigint, numeric(10, 2) , \"a,b\"[]", LexRules::default()).unwrap_or_default();
        assert_eq!(parts, [&b"bigint"[..], b" numeric(10, 2) ", b" \"a,b\"[]"]);
    }
}
