//! Numbers: `scan.l`, from `decdigit` to `real_junk`.

use super::{CLASS, Class, LexError, Lexer, LiteralKind, TokenKind};

impl Lexer<'_> {
    #[inline]
    pub(super) fn digits(&mut self) {
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
    }

    #[inline]
    pub(super) fn number(&mut self, first: u8) -> Result<TokenKind, LexError> {
        let start = self.at;
        self.digits();
        if !matches!(self.peek(0), b'.' | b'e' | b'E' | b'_' | b'x' | b'X' | b'o' | b'O' | b'b' | b'B') {
            return self.end_of_number(TokenKind::Literal(LiteralKind::Integer));
        }
        if first == b'0' && self.at == start + 1 && self.radix() {
            return self.end_of_number(TokenKind::Literal(LiteralKind::Number));
        }
        self.at = start;
        self.decimal()
    }

    /// `0x1F`, `0o17`, `0b1`, with single underscores between or before the digits.
    fn radix(&mut self) -> bool {
        let digit: fn(&u8) -> bool = match self.peek(0) {
            b'x' | b'X' => u8::is_ascii_hexdigit,
            b'o' | b'O' => |b| (b'0'..=b'7').contains(b),
            b'b' | b'B' => |b| matches!(b, b'0' | b'1'),
            _ => return false,
        };
        self.at += 1;
        while digit(&self.peek(0)) || (self.peek(0) == b'_' && digit(&self.peek(1))) {
            self.at += 1;
        }
        true
    }

    fn underscored(&mut self) -> bool {
        let start = self.at;
        loop {
            match self.peek(0) {
                b'0'..=b'9' => self.at += 1,
                b'_' if self.at > start && self.peek(1).is_ascii_digit() => self.at += 2,
                _ => return self.at > start,
            }
        }
    }

    /// A number with underscores, a point or an exponent, from its first byte.
    fn decimal(&mut self) -> Result<TokenKind, LexError> {
        self.underscored();
        // `1..10` is an integer and the operator `..`.
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            self.at += 1;
            self.underscored();
        }
        if matches!(self.peek(0), b'e' | b'E') {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if !self.peek(1 + sign).is_ascii_digit() {
                return Err(LexError::Junk);
            }
            self.at += 1 + sign;
            self.underscored();
        }
        self.end_of_number(TokenKind::Literal(LiteralKind::Number))
    }

    #[inline]
    pub(super) fn end_of_number(&self, kind: TokenKind) -> Result<TokenKind, LexError> {
        if CLASS[usize::from(self.peek(0))] == Class::Letter { Err(LexError::Junk) } else { Ok(kind) }
    }
}
