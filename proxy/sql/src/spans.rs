//! Places in a text that the proxy rewrites: the parts of `PREPARE`, the names in `EXECUTE` and `DEALLOCATE`.

use std::ops::Range;

use crate::lexer::{LexError, LexRules, Token, TokenKind, tokens};

/// PostgreSQL's `NAMEDATALEN` less its terminating zero, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// The parts of `PREPARE name [(types)] AS body`, as byte ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrepareParts {
    /// The name as written.
    pub name: Range<usize>,
    /// The type list between the parentheses.
    pub types: Option<Range<usize>>,
    /// The statement after `AS`, without white space or a semicolon behind it.
    pub body: Range<usize>,
}

/// The parts of a text that is one `PREPARE` statement.
#[must_use]
pub fn prepare_parts(sql: &[u8], rules: LexRules) -> Option<PrepareParts> {
    let tokens = tokens(sql, rules).ok()?;
    let word = |at: usize, text: &str| is_word(sql, tokens.get(at), text);
    if !word(0, "prepare") || word(1, "transaction") {
        return None;
    }
    let name = tokens.get(1).filter(|t| named(t))?;
    let mut at = 2;
    let mut types = None;
    if is_punct(sql, tokens.get(at), b'(') {
        let open = at;
        let mut depth = 0usize;
        loop {
            let token = tokens.get(at)?;
            match sql[token.start] {
                b'(' if token.kind == TokenKind::Punct => depth += 1,
                b')' if token.kind == TokenKind::Punct => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 {
                break;
            }
        }
        types = Some(tokens[open].end..tokens[at - 1].start);
    }
    if !word(at, "as") {
        return None;
    }
    let mut body = &tokens[at + 1..];
    while is_punct(sql, body.last(), b';') {
        body = &body[..body.len() - 1];
    }
    if body.is_empty() || body.iter().any(|t| is_punct(sql, Some(t), b';')) {
        return None;
    }
    Some(PrepareParts { name: name.start..name.end, types, body: body[0].start..body[body.len() - 1].end })
}

/// The names, as written, of the prepared statements that the text's statements run or free: `EXECUTE name`,
/// `EXPLAIN ... EXECUTE name`, `CREATE TABLE ... AS EXECUTE name`, `DEALLOCATE [PREPARE] name` (not `ALL`).
#[must_use]
pub fn executes(sql: &[u8], rules: LexRules) -> Vec<Range<usize>> {
    let Ok(tokens) = tokens(sql, rules) else { return Vec::new() };
    tokens
        .split(|t| is_punct(sql, Some(t), b';'))
        .filter_map(|statement| execute_name(sql, statement))
        .map(|token| token.start..token.end)
        .collect()
}

/// Where the text names `schema.name`, unquoted and without white space, for a `schema` in lower case: the range of both, in the
/// order of the text. Names that are part of longer ones (`a.schema.name`, `schema.name.b`) and functions are left out.
///
/// # Errors
/// The lexical error that PostgreSQL would find.
pub fn qualified(sql: &[u8], rules: LexRules, schema: &str) -> Result<Vec<Range<usize>>, LexError> {
    let tokens = tokens(sql, rules)?;
    let dot = |at: usize| is_punct(sql, tokens.get(at), b'.');
    let mut found = Vec::new();
    for (at, name) in tokens.windows(3).enumerate() {
        let here =
            name[0].kind == TokenKind::Word && sql.get(name[0].start..name[0].end) == Some(schema.as_bytes());
        let adjacent = name[0].end == name[1].start && name[1].end == name[2].start;
        if !here || !adjacent || !dot(at + 1) || name[2].kind != TokenKind::Word {
            continue;
        }
        let inner = at > 0 && dot(at - 1);
        if !inner && !dot(at + 3) && !is_punct(sql, tokens.get(at + 3), b'(') {
            found.push(name[0].start..name[2].end);
        }
    }
    Ok(found)
}

fn execute_name<'t>(sql: &[u8], statement: &'t [Token]) -> Option<&'t Token> {
    let word = |at: usize, text: &str| is_word(sql, statement.get(at), text);
    let name_at = match () {
        () if word(0, "execute") => 1,
        () if word(0, "deallocate") => {
            // PREPARE is itself a possible name: DEALLOCATE prepare;
            let at = if word(1, "prepare") && statement.len() > 2 { 2 } else { 1 };
            if word(at, "all") {
                return None;
            }
            at
        }
        () if word(0, "explain") => explained(sql, statement)?,
        () if word(0, "create") => {
            let as_at = (1..statement.len()).find(|&at| word(at, "as") && word(at + 1, "execute"))?;
            as_at + 2
        }
        () => return None,
    };
    statement.get(name_at).filter(|t| named(t))
}

/// Where the name stands in `EXPLAIN [options] [CREATE TABLE ... AS] EXECUTE name`.
fn explained(sql: &[u8], statement: &[Token]) -> Option<usize> {
    let word = |at: usize, text: &str| is_word(sql, statement.get(at), text);
    let mut at = 1;
    if is_punct(sql, statement.get(at), b'(') {
        while !is_punct(sql, statement.get(at), b')') {
            statement.get(at)?;
            at += 1;
        }
        at += 1;
    }
    while word(at, "analyze") || word(at, "analyse") || word(at, "verbose") {
        at += 1;
    }
    if word(at, "execute") {
        return Some(at + 1);
    }
    if word(at, "create") {
        return (at..statement.len()).find(|&at| word(at, "as") && word(at + 1, "execute")).map(|at| at + 2);
    }
    None
}

fn named(token: &Token) -> bool {
    matches!(token.kind, TokenKind::Word | TokenKind::Quoted)
}

fn is_word(sql: &[u8], token: Option<&Token>, word: &str) -> bool {
    token.is_some_and(|t| {
        t.kind == TokenKind::Word && sql[t.start..t.end].eq_ignore_ascii_case(word.as_bytes())
    })
}

fn is_punct(sql: &[u8], token: Option<&Token>, byte: u8) -> bool {
    token.is_some_and(|t| t.kind == TokenKind::Punct && sql[t.start] == byte)
}

/// The name that an identifier token stands for: unquoted or folded to lower case (ASCII letters, as PostgreSQL
/// does for UTF-8), and cut to 63 bytes at a character's end. `U&"..."` with its default escape is decoded; bytes
/// that are not UTF-8 become U+FFFD.
#[must_use]
pub fn identifier(token: &[u8]) -> String {
    let text = String::from_utf8_lossy(token);
    let inner = |t: &str| t.strip_suffix('"').unwrap_or(t).replace("\"\"", "\"");
    let mut name = match text.as_bytes() {
        [b'"', ..] => inner(&text[1..]),
        [b'u' | b'U', b'&', b'"', ..] => {
            let raw = inner(&text[3..]);
            crate::literal::unicode_escapes(&raw).unwrap_or(raw)
        }
        _ => text.to_ascii_lowercase(),
    };
    if name.len() > NAME_BYTES_MAX {
        let end = (0..=NAME_BYTES_MAX).rev().find(|&at| name.is_char_boundary(at)).unwrap_or(0);
        name.truncate(end);
    }
    name
}

#[cfg(test)]
mod tests;
