//! A number for what a text is without its literals: what a sample statement in a policy is compared by.

use std::hash::Hasher;

use crate::lexer::{LexRules, Lexer, TokenKind};

/// The shape of a text; zero if PostgreSQL's lexer would refuse it. Two shapes are equal by accident no more often
/// than two 128-bit hashes.
pub(crate) fn shape(sql: &[u8], rules: LexRules) -> u128 {
    let mut lexer = Lexer::new(sql, rules);
    let mut halves = [std::hash::DefaultHasher::new(), std::hash::DefaultHasher::new()];
    halves[1].write_u8(1);
    let mut word = Vec::new();
    let mut ends = 0u32;
    loop {
        let token = match lexer.next_solid() {
            Err(_) => return 0,
            Ok(None) => break,
            Ok(Some(token)) => token,
        };
        word.clear();
        match token.kind {
            TokenKind::Literal(_) | TokenKind::Param => word.push(b'?'),
            TokenKind::Word => word.extend(sql[token.start..token.end].to_ascii_lowercase()),
            TokenKind::Quoted => word.extend(&sql[token.start..token.end]),
            // Semicolons at the end say nothing.
            TokenKind::Punct if sql[token.start] == b';' => {
                ends += 1;
                continue;
            }
            TokenKind::Punct | TokenKind::Operator | TokenKind::Space => word.push(sql[token.start]),
        }
        for half in &mut halves {
            for _ in 0..ends {
                half.write(b";\0");
            }
            half.write(&word);
            half.write_u8(0);
        }
        ends = 0;
    }
    u128::from(halves[0].finish()) << 64 | u128::from(halves[1].finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> u128 {
        shape(sql.as_bytes(), LexRules::default())
    }

    #[test]
    fn literals_parameters_space_and_comments_do_not_matter() {
        let sample = of("SELECT a FROM t WHERE id = 1 AND b = 'x'");
        for same in [
            "select a from T where id = $1 and b = $2;",
            "SELECT a -- why\n FROM t /* here */ WHERE id = 2.5 AND b = $$y$$ ; ",
        ] {
            assert_eq!(of(same), sample, "{same}");
        }
    }

    #[test]
    fn everything_else_does() {
        let sample = of("SELECT a FROM t WHERE id = 1");
        for other in [
            "SELECT a FROM t WHERE id = -1",
            "SELECT a FROM t WHERE id > 1",
            "SELECT b FROM t WHERE id = 1",
            "SELECT a FROM \"T\" WHERE id = 1",
            "SELECT a FROM t WHERE id = 1; SELECT a FROM t WHERE id = 1",
            "SELECT a FROM t",
        ] {
            assert_ne!(of(other), sample, "{other}");
        }
        assert_ne!(of("SELECT ab"), of("SELECT a b"));
        assert_eq!(of("SELECT 'open"), 0);
    }
}
