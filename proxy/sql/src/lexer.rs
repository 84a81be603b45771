//! PostgreSQL's lexical rules (`src/backend/parser/scan.l`) over bytes: one token at a time, no allocation.
//! A text that PostgreSQL's lexer would refuse is an error here, never a guess.

mod number;
mod rules;

use memchr::{memchr, memchr2, memmem};

pub use rules::{ClientEncoding, LexRules};

/// The kinds of literal that a template replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LiteralKind {
    /// `'...'`, doubled quotes inside.
    String = 1,
    /// `E'...'`, or `'...'` while `standard_conforming_strings` is off: backslash escapes.
    EscapeString = 2,
    /// `U&'...'`.
    UnicodeString = 3,
    /// `$tag$...$tag$`.
    DollarString = 4,
    /// `B'...'` or `X'...'`.
    BitString = 5,
    /// Decimal digits only.
    Integer = 6,
    /// Any other number: a point, an exponent, underscores, hexadecimal, octal or binary.
    Number = 7,
}

/// One literal of a text: where it stands (bytes, its prefix and quotes included) and what kind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Literal {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// What it is.
    pub kind: LiteralKind,
}

impl Literal {
    /// The literal as written.
    #[must_use]
    pub fn raw<'a>(&self, sql: &'a [u8]) -> &'a [u8] {
        sql.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// Why a text has no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LexError {
    /// A string, a quoted identifier or a comment does not end.
    #[error("unterminated string, identifier or comment")]
    Unterminated,
    /// A number or a parameter runs into a name.
    #[error("trailing junk after a number or parameter")]
    Junk,
    /// A byte that starts no token.
    #[error("unexpected byte")]
    Byte,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// White space and comments.
    Space,
    /// A keyword or an unquoted identifier.
    Word,
    /// `"..."` or `U&"..."`.
    Quoted,
    /// `$n`.
    Param,
    /// A string or a number.
    Literal(LiteralKind),
    /// One byte of an operator.
    Operator,
    /// One of `( ) [ ] , ; : .`
    Punct,
}

/// One token of a text.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its first byte.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
}

/// The literals of a text, in order.
///
/// # Errors
/// The lexical error that PostgreSQL would find.
pub fn literals(sql: &[u8], rules: LexRules) -> Result<Vec<Literal>, LexError> {
    let mut lexer = Lexer::new(sql, rules);
    let mut literals = Vec::new();
    while let Some(token) = lexer.next_solid()? {
        if let TokenKind::Literal(kind) = token.kind {
            let (Ok(start), Ok(end)) = (u32::try_from(token.start), u32::try_from(token.end)) else {
                return Err(LexError::Unterminated);
            };
            literals.push(Literal { start, end, kind });
        }
    }
    Ok(literals)
}

/// The tokens of a text, white space and comments left out. Its literals are all of its literals, in order.
///
/// # Errors
/// The lexical error that PostgreSQL would find.
pub fn tokens(sql: &[u8], rules: LexRules) -> Result<Vec<Token>, LexError> {
    let mut lexer = Lexer::new(sql, rules);
    let mut tokens = Vec::with_capacity(sql.len() / 4);
    while let Some(token) = lexer.next_solid()? {
        tokens.push(token);
    }
    Ok(tokens)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Bad,
    Space,
    Letter,
    Digit,
    Quote,
    DoubleQuote,
    Dollar,
    Dot,
    Operator,
    Punct,
}

const CLASS: [Class; 256] = {
    let mut table = [Class::Bad; 256];
    let mut b = 0;
    while b < 256 {
        table[b] = match b as u8 {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Class::Space,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => Class::Letter,
            b'0'..=b'9' => Class::Digit,
            b'\'' => Class::Quote,
            b'"' => Class::DoubleQuote,
            b'$' => Class::Dollar,
            b'.' => Class::Dot,
            b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'+' | b'-' | b'*' | b'/'
            | b'%' | b'<' | b'>' | b'=' => Class::Operator,
            b'(' | b')' | b'[' | b']' | b',' | b';' | b':' => Class::Punct,
            _ => Class::Bad,
        };
        b += 1;
    }
    table
};

const WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        table[b] = matches!(CLASS[b], Class::Letter | Class::Digit | Class::Dollar);
        b += 1;
    }
    table
};

/// Reads a text token by token.
#[derive(Clone)]
pub(crate) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    plain_escapes: bool,
    /// Whether a comment was seen.
    pub(crate) commented: bool,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a [u8], rules: LexRules) -> Self {
        Self { text, at: 0, plain_escapes: !rules.standard_conforming_strings, commented: false }
    }

    #[inline]
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// The next token, white space included; `None` at the end.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one call a token is a quarter of what templates cost")]
    pub(crate) fn next_token(&mut self) -> Result<Option<Token>, LexError> {
        let start = self.at;
        let Some(&byte) = self.text.get(start) else { return Ok(None) };
        let kind = match CLASS[usize::from(byte)] {
            Class::Space => self.space()?,
            Class::Letter => self.word(byte)?,
            Class::Digit => self.number(byte)?,
            Class::Dot if self.peek(1).is_ascii_digit() => self.number(byte)?,
            Class::Dot | Class::Punct => self.one(TokenKind::Punct),
            Class::Operator => match (byte, self.peek(1)) {
                (b'-', b'-') | (b'/', b'*') => self.space()?,
                _ => self.one(TokenKind::Operator),
            },
            Class::Quote if self.plain_escapes => self.string(0, LiteralKind::EscapeString)?,
            Class::Quote => self.string(0, LiteralKind::String)?,
            Class::DoubleQuote => self.quoted(0)?,
            Class::Dollar => self.dollar()?,
            Class::Bad => return Err(LexError::Byte),
        };
        Ok(Some(Token { kind, start, end: self.at }))
    }

    /// The next token that is not white space.
    pub(crate) fn next_solid(&mut self) -> Result<Option<Token>, LexError> {
        loop {
            match self.next_token()? {
                Some(Token { kind: TokenKind::Space, .. }) => {}
                other => return Ok(other),
            }
        }
    }

    #[inline]
    fn one(&mut self, kind: TokenKind) -> TokenKind {
        self.at += 1;
        kind
    }

    /// A run of white space and comments.
    #[inline]
    fn space(&mut self) -> Result<TokenKind, LexError> {
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.at += 1,
                b'-' if self.peek(1) == b'-' => self.line_comment(),
                b'/' if self.peek(1) == b'*' => self.block_comment()?,
                _ => return Ok(TokenKind::Space),
            }
        }
    }

    fn line_comment(&mut self) {
        self.commented = true;
        let rest = &self.text[self.at..];
        self.at += memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
    }

    /// Comments nest.
    fn block_comment(&mut self) -> Result<(), LexError> {
        self.commented = true;
        let mut depth = 0u32;
        loop {
            let rest = &self.text[self.at..];
            let next = memchr2(b'*', b'/', rest).ok_or(LexError::Unterminated)?;
            self.at += next;
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => (depth, self.at) = (depth + 1, self.at + 2),
                (b'*', b'/') => (depth, self.at) = (depth - 1, self.at + 2),
                _ => self.at += 1,
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    #[inline]
    fn word(&mut self, first: u8) -> Result<TokenKind, LexError> {
        let second = self.peek(1);
        if second == b'\'' {
            match first {
                b'e' | b'E' => return self.string(1, LiteralKind::EscapeString),
                b'b' | b'B' | b'x' | b'X' => return self.string(1, LiteralKind::BitString),
                _ => {} // N'...' is the word N and then a string
            }
        } else if second == b'&' && matches!(first, b'u' | b'U') {
            match self.peek(2) {
                b'\'' => return self.string(2, LiteralKind::UnicodeString),
                b'"' => return self.quoted(2),
                _ => {}
            }
        }
        self.skip_word();
        Ok(TokenKind::Word)
    }

    #[inline]
    fn skip_word(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.iter().position(|&b| !WORD[usize::from(b)]).unwrap_or(rest.len());
    }

    /// A string whose opening quote is `prefix` bytes ahead, with its continuations on later lines.
    fn string(&mut self, prefix: usize, kind: LiteralKind) -> Result<TokenKind, LexError> {
        let escapes = kind == LiteralKind::EscapeString;
        self.at += prefix + 1;
        loop {
            let rest = &self.text[self.at..];
            let stop = if escapes { memchr2(b'\'', b'\\', rest) } else { short_find(b'\'', rest) };
            self.at += stop.ok_or(LexError::Unterminated)?;
            match (self.peek(0), self.peek(1)) {
                (b'\\', _) | (b'\'', b'\'') => self.at += 2,
                _ => {
                    self.at += 1;
                    match self.continuation() {
                        Some(next) => self.at = next,
                        None => return Ok(TokenKind::Literal(kind)),
                    }
                }
            }
            if self.at > self.text.len() {
                return Err(LexError::Unterminated);
            }
        }
    }

    /// `scan.l`, `quotecontinue`: white space with a newline in it, then another quote. Line comments count as
    /// white space, block comments do not. Returns the place after that quote.
    fn continuation(&self) -> Option<usize> {
        let mut at = self.at;
        let mut newline = false;
        loop {
            match self.text.get(at)? {
                b'\n' | b'\r' => (newline, at) = (true, at + 1),
                b' ' | b'\t' | 0x0b | 0x0c => at += 1,
                b'-' if self.text.get(at + 1) == Some(&b'-') => {
                    at += memchr2(b'\n', b'\r', &self.text[at..])?;
                }
                b'\'' if newline => return Some(at + 1),
                _ => return None,
            }
        }
    }

    fn quoted(&mut self, prefix: usize) -> Result<TokenKind, LexError> {
        self.at += prefix + 1;
        let first = self.at;
        loop {
            let rest = &self.text[self.at..];
            self.at += short_find(b'"', rest).ok_or(LexError::Unterminated)? + 1;
            if self.peek(0) != b'"' {
                // PostgreSQL refuses a zero-length identifier.
                return if self.at - 1 == first { Err(LexError::Byte) } else { Ok(TokenKind::Quoted) };
            }
            self.at += 1;
        }
    }

    /// `$1`, or `$tag$...$tag$`.
    fn dollar(&mut self) -> Result<TokenKind, LexError> {
        if self.peek(1).is_ascii_digit() {
            self.at += 1;
            self.digits();
            return self.end_of_number(TokenKind::Param);
        }
        let mut tag_end = self.at + 1;
        if self.peek(1) != b'$' {
            if CLASS[usize::from(self.peek(1))] != Class::Letter {
                return Err(LexError::Byte);
            }
            let rest = &self.text[tag_end..];
            tag_end += rest.iter().position(|&b| !WORD[usize::from(b)] || b == b'$').ok_or(LexError::Byte)?;
        }
        if self.text.get(tag_end) != Some(&b'$') {
            return Err(LexError::Byte);
        }
        let tag = &self.text[self.at..=tag_end];
        let body = &self.text[tag_end + 1..];
        let length = memmem::find(body, tag).ok_or(LexError::Unterminated)?;
        self.at = tag_end + 1 + length + tag.len();
        Ok(TokenKind::Literal(LiteralKind::DollarString))
    }
}

/// A byte that is usually near: a plain loop first, then the library's search.
#[inline]
fn short_find(needle: u8, text: &[u8]) -> Option<usize> {
    let near = &text[..text.len().min(16)];
    match near.iter().position(|&b| b == needle) {
        Some(at) => Some(at),
        None => memchr(needle, &text[near.len()..]).map(|at| at + near.len()),
    }
}

#[cfg(test)]
mod tests;
