//! Where the statements of a text stand.

use std::ops::Range;

use crate::lexer::{LexError, LexRules, Lexer, TokenKind};
use crate::template::Shape;

/// The statements of `sql` as byte ranges: white space, comments and semicolons around them left out, empty
/// statements too.
///
/// # Errors
/// The lexical error that PostgreSQL would find.
pub fn split(sql: &[u8], rules: LexRules) -> Result<Vec<Range<usize>>, LexError> {
    let mut lexer = Lexer::new(sql, rules);
    let mut shape = Shape::default();
    let mut statements = Vec::new();
    let mut current: Option<Range<usize>> = None;
    while let Some(token) = lexer.next_solid()? {
        let ended = match token.kind {
            TokenKind::Word => {
                shape.word(&sql[token.start..token.end].to_ascii_lowercase());
                false
            }
            TokenKind::Punct => shape.punct(sql[token.start]),
            _ => {
                shape.other();
                false
            }
        };
        if ended {
            statements.extend(current.take());
        } else {
            let start = current.map_or(token.start, |range| range.start);
            current = Some(start..token.end);
        }
    }
    statements.extend(current);
    Ok(statements)
}
