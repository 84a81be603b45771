//! The rows of an `INSERT ... VALUES` as they stand in the text, found by its tokens: each row's bytes, and what its cells are.

use std::ops::Range;

use pointsman_sql::{LexRules, LiteralKind, Token, TokenKind, ValueRef, tokens};

use super::names::type_named;

/// The rows of a `VALUES` list.
pub(crate) struct Rows<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    /// The rows in order; at least one.
    pub(crate) rows: Vec<Row>,
}

/// One row.
pub(crate) struct Row {
    /// Its tokens, without the parentheses.
    inside: Range<usize>,
    /// Literals in the text before it.
    literals: usize,
    /// Its bytes, with the parentheses.
    pub(crate) span: Range<usize>,
}

/// One value of a row.
pub(crate) struct Cell<'t> {
    tokens: &'t [Token],
    /// Literals in the text before it.
    literals: usize,
}

impl<'a> Rows<'a> {
    /// The rows of an `INSERT`; `None` if the text is not one with a list of rows.
    pub(crate) fn find(text: &'a str) -> Option<Self> {
        let tokens = tokens(text.as_bytes(), LexRules::default()).ok()?;
        let first = values_list(text, &tokens)?;
        let literal = |token: &&Token| matches!(token.kind, TokenKind::Literal(_));
        let mut literals = tokens[..first].iter().filter(literal).count();
        let mut rows = Vec::new();
        let mut at = first;
        loop {
            let close = closing(text, &tokens, at)?;
            rows.push(Row { inside: at + 1..close, literals, span: tokens[at].start..tokens[close].end });
            literals += tokens[at..close].iter().filter(literal).count();
            if !is_punct(text, tokens.get(close + 1), b',') || !is_punct(text, tokens.get(close + 2), b'(') {
                break;
            }
            at = close + 2;
        }
        Some(Self { text, tokens, rows })
    }

    /// The text before the rows and after them.
    pub(crate) fn around(&self) -> [&'a str; 2] {
        let (first, last) = (self.rows.first(), self.rows.last());
        let start = first.map_or(0, |row| row.span.start);
        let end = last.map_or(self.text.len(), |row| row.span.end);
        [&self.text[..start], &self.text[end..]]
    }

    /// A row's text, with its parentheses.
    pub(crate) fn text(&self, row: &Row) -> &'a str {
        &self.text[row.span.clone()]
    }

    /// A row's cells.
    pub(crate) fn cells(&self, row: &Row) -> Vec<Cell<'_>> {
        let inside = &self.tokens[row.inside.clone()];
        let mut cells = Vec::new();
        let (mut depth, mut start, mut literals, mut seen) = (0usize, 0usize, row.literals, row.literals);
        for (at, token) in inside.iter().enumerate() {
            match token.kind {
                TokenKind::Literal(_) => seen += 1,
                TokenKind::Punct => match self.text.as_bytes()[token.start] {
                    b'(' | b'[' => depth += 1,
                    b')' | b']' => depth = depth.saturating_sub(1),
                    b',' if depth == 0 => {
                        cells.push(Cell { tokens: &inside[start..at], literals });
                        (start, literals) = (at + 1, seen);
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        cells.push(Cell { tokens: &inside[start..], literals });
        cells
    }

    /// A cell's bytes; `None` if it is empty, which no row of PostgreSQL's grammar has.
    pub(crate) fn span(cell: &Cell<'_>) -> Option<Range<usize>> {
        Some(cell.tokens.first()?.start..cell.tokens.last()?.end)
    }

    /// The text's tokens.
    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Where a cell's value comes from. A cast to the column's own type changes nothing that storing it there would not.
    pub(crate) fn value(&self, cell: &Cell<'_>, type_oid: u32) -> ValueRef {
        let cast = match cell.tokens {
            [inner @ .., colon, second, name]
                if is_punct(self.text, Some(colon), b':') && is_punct(self.text, Some(second), b':') =>
            {
                let named = type_named(&self.text[name.start..name.end]);
                Some(inner).filter(|_| name.kind == TokenKind::Word && named == Some(type_oid))
            }
            whole => Some(whole),
        };
        cast.map_or(ValueRef::Other, |tokens| self.plain(tokens, cell.literals))
    }

    fn plain(&self, tokens: &[Token], literals: usize) -> ValueRef {
        match tokens {
            [one] => match one.kind {
                TokenKind::Literal(_) => ValueRef::Literal(literals),
                TokenKind::Param => {
                    self.text[one.start + 1..one.end].parse().map_or(ValueRef::Other, ValueRef::Param)
                }
                TokenKind::Word => word(&self.text[one.start..one.end]),
                _ => ValueRef::Other,
            },
            [minus, number] if self.text.as_bytes()[minus.start] == b'-' => match number.kind {
                TokenKind::Literal(LiteralKind::Integer | LiteralKind::Number) => {
                    ValueRef::Negative(literals)
                }
                _ => ValueRef::Other,
            },
            _ => ValueRef::Other,
        }
    }

    /// Whether a row holds a query, which only the parser can look into.
    pub(crate) fn has_queries(&self) -> bool {
        let inside = self.rows.iter().flat_map(|row| &self.tokens[row.inside.clone()]);
        inside.filter(|token| token.kind == TokenKind::Word).any(|token| {
            let word = &self.text[token.start..token.end];
            ["select", "values", "table", "with"].iter().any(|query| word.eq_ignore_ascii_case(query))
        })
    }
}

fn word(word: &str) -> ValueRef {
    match () {
        () if word.eq_ignore_ascii_case("null") => ValueRef::Null,
        () if word.eq_ignore_ascii_case("true") => ValueRef::Bool(true),
        () if word.eq_ignore_ascii_case("false") => ValueRef::Bool(false),
        () if word.eq_ignore_ascii_case("default") => ValueRef::Default,
        () => ValueRef::Other,
    }
}

/// The token of the first row's parenthesis in `[WITH ...] INSERT INTO name ... VALUES (`.
fn values_list(text: &str, tokens: &[Token]) -> Option<usize> {
    let mut at = after_target(text, tokens)?;
    while at < tokens.len() {
        if is_punct(text, tokens.get(at), b'(') {
            at = closing(text, tokens, at)? + 1;
            continue;
        }
        // An alias may be called anything.
        if is_word(text, tokens.get(at), "as") {
            at += 2;
            continue;
        }
        if is_word(text, tokens.get(at), "values") {
            return is_punct(text, tokens.get(at + 1), b'(').then_some(at + 1);
        }
        if is_word(text, tokens.get(at), "select") || is_word(text, tokens.get(at), "with") {
            return None;
        }
        at += 1;
    }
    None
}

/// The token after the table's name in `[WITH ...] INSERT INTO name`.
pub(crate) fn after_target(text: &str, tokens: &[Token]) -> Option<usize> {
    let mut at = 0;
    loop {
        tokens.get(at)?;
        if is_punct(text, tokens.get(at), b'(') {
            at = closing(text, tokens, at)? + 1;
        } else if is_word(text, tokens.get(at), "insert") && is_word(text, tokens.get(at + 1), "into") {
            break;
        } else {
            at += 1;
        }
    }
    let mut at = at + 3;
    while is_punct(text, tokens.get(at), b'.') {
        at += 2;
    }
    Some(at)
}

/// The token that closes what `open` opens.
pub(crate) fn closing(text: &str, tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if token.kind != TokenKind::Punct {
            continue;
        }
        match text.as_bytes()[token.start] {
            b'(' => depth += 1,
            b')' if depth <= 1 => return (depth == 1).then_some(at),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Whether a token is this word, in any case.
pub(crate) fn is_word(text: &str, token: Option<&Token>, word: &str) -> bool {
    token.is_some_and(|t| t.kind == TokenKind::Word && text[t.start..t.end].eq_ignore_ascii_case(word))
}

/// Whether a token is this punctuation.
pub(crate) fn is_punct(text: &str, token: Option<&Token>, byte: u8) -> bool {
    token.is_some_and(|t| t.kind == TokenKind::Punct && text.as_bytes()[t.start] == byte)
}
