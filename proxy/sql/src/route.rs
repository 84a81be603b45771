//! `EXPLAIN ROUTE`, which PostgreSQL does not know.

/// The statement that a text asks to be explained: what follows the two words that it begins with.
#[must_use]
pub fn explain_route(sql: &[u8]) -> Option<&[u8]> {
    let sql = sql.trim_ascii_start();
    // Nearly every text is told apart by its first letter.
    if !matches!(sql.first(), Some(b'e' | b'E')) {
        return None;
    }
    let rest = after_word(sql, b"explain")?;
    after_word(rest, b"route")
}

/// What follows `word` and at least one white space.
fn after_word<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (first, rest) = text.split_at_checked(word.len())?;
    let apart = rest.first().is_some_and(u8::is_ascii_whitespace);
    (first.eq_ignore_ascii_case(word) && apart).then(|| rest.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_words_ask_for_a_route() {
        assert_eq!(explain_route(b" explain  ROUTE\nSELECT 1"), Some(b"SELECT 1".as_slice()));
        assert_eq!(explain_route(b"EXPLAIN ROUTE "), Some(b"".as_slice()));
        for other in
            ["EXPLAIN SELECT 1", "EXPLAIN ROUTES x", "EXPLAINROUTE x", "SELECT 1", "", "EXPLAIN ROUTE"]
        {
            assert_eq!(explain_route(other.as_bytes()), None, "{other}");
        }
    }
}
