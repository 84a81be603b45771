//! The comments of a text, for those who talk to the proxy in them.

use crate::lexer::{LexRules, Lexer, TokenKind};

/// The comments of `sql` in order, each without what opens and closes it. Ends at a lexical error.
#[must_use]
pub fn comments(sql: &[u8], rules: LexRules) -> Comments<'_> {
    Comments { sql, lexer: Lexer::new(sql, rules), space: &[] }
}

/// Iterates over comments.
pub struct Comments<'a> {
    sql: &'a [u8],
    lexer: Lexer<'a>,
    /// What is left of a run of white space and comments.
    space: &'a [u8],
}

impl<'a> Iterator for Comments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            match self.space {
                [b'-', b'-', rest @ ..] => {
                    let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                    self.space = &rest[end..];
                    return Some(&rest[..end]);
                }
                [b'/', b'*', ..] => {
                    let end = block_end(self.space);
                    let (comment, rest) = self.space.split_at(end);
                    self.space = rest;
                    return Some(comment.get(2..end - 2).unwrap_or_default());
                }
                [_, rest @ ..] => self.space = rest,
                [] => {
                    let token = self.lexer.next_token().ok()??;
                    if token.kind == TokenKind::Space {
                        self.space = &self.sql[token.start..token.end];
                    }
                }
            }
        }
    }
}

/// Where the block comment that `text` begins with ends; comments nest, and the lexer has seen this one's end.
fn block_end(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0u32, 0);
    loop {
        match text.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            Some(_) => at += 1,
            None => return text.len(),
        }
        if depth == 0 {
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Vec<String> {
        let found = comments(sql.as_bytes(), LexRules::default());
        found.map(|comment| String::from_utf8_lossy(comment).into_owned()).collect()
    }

    #[test]
    fn comments_are_found_where_the_lexer_finds_them() {
        assert_eq!(of("SELECT 1"), Vec::<String>::new());
        assert_eq!(
            of("/*a*/SELECT/* b /* c */ d */ 1 -- e\n/**/--\n;--f"),
            ["a", " b /* c */ d ", " e", "", "", "f"]
        );
        assert_eq!(of("SELECT '/*a*/', \"--b\", $$/*c*/$$ /*d*/"), ["d"]);
        assert_eq!(of("SELECT 1 /*a*/ 'open /*b*/"), ["a"]);
        assert!(of("SELECT 1 /*a*/ /* open").is_empty());
    }
}
