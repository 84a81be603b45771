//! The arguments of `EXECUTE name (...)`, where each is a plain value.

use crate::lexer::{LexRules, Literal, Token, TokenKind, tokens};
use crate::literal::literal_value;

/// The arguments of a text that is one `EXECUTE`, as the text of each; a `None` among them is NULL. `None`: one of them is no
/// plain value, or the text is something else.
#[must_use]
pub fn execute_arguments(sql: &[u8], rules: LexRules) -> Option<Vec<Option<String>>> {
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

fn value(sql: &[u8], argument: &[Token]) -> Option<Option<String>> {
    let text = |token: &Token| sql.get(token.start..token.end);
    let literal = |token: &Token| match token.kind {
        TokenKind::Literal(kind) => {
            let (start, end) = (u32::try_from(token.start).ok()?, u32::try_from(token.end).ok()?);
            literal_value(sql, &Literal { start, end, kind })
        }
        _ => None,
    };
    match argument {
        [one] if one.kind == TokenKind::Word => match text(one)?.to_ascii_lowercase().as_slice() {
            b"null" => Some(None),
            b"true" => Some(Some("t".to_owned())),
            b"false" => Some(Some("f".to_owned())),
            _ => None,
        },
        [one] => literal(one).map(Some),
        [minus, number] if text(minus)? == b"-" && text(number)?.first()?.is_ascii_digit() => {
            literal(number).map(|number| Some(format!("-{number}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(sql: &str) -> Option<Vec<Option<String>>> {
        execute_arguments(sql.as_bytes(), LexRules::default())
    }

    #[test]
    fn plain_values_are_read() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            arguments("EXECUTE p (1, -2, 'it''s', NULL, true) ;"),
            Some(vec![some("1"), some("-2"), some("it's"), None, some("t")])
        );
        assert_eq!(arguments("execute \"P\""), Some(Vec::new()));
    }

    #[test]
    fn others_are_not() {
        for other in
            ["EXECUTE p (1 + 1)", "EXECUTE p (now())", "EXECUTE p ('1'::text)", "EXECUTE p ()", "SELECT 1"]
        {
            assert_eq!(arguments(other), None, "{other}");
        }
    }
}
