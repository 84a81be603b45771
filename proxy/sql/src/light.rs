//! Facts from the lexer alone, for texts that are not parsed: conservative, and marked as doubtful unless the text
//! is plainly one write.

use crate::facts::{Doubt, Facts, FunctionName, NotReadOnly, Relation, SessionState, Statement};
use crate::kind::Kind;
use crate::lexer::{LexError, LexRules, Lexer, Token, TokenKind};
use crate::parse::next_template;
use crate::spans::identifier;
use crate::template::Shape;
use crate::walk::push_once;

/// Words that may stand before a parenthesis without being a call.
const NOT_CALLS: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "as",
    "by",
    "case",
    "conflict",
    "distinct",
    "else",
    "except",
    "exists",
    "filter",
    "from",
    "in",
    "intersect",
    "into",
    "join",
    "key",
    "like",
    "limit",
    "not",
    "on",
    "or",
    "over",
    "returning",
    "row",
    "select",
    "set",
    "some",
    "then",
    "union",
    "using",
    "values",
    "when",
    "where",
    "with",
];

/// Whether a word hints at state left in the session.
fn is_hint(word: &str) -> bool {
    matches!(word, "temp" | "temporary" | "set_config")
        || ["pg_temp", "pg_advisory", "pg_try_advisory", "dblink_connect"]
            .iter()
            .any(|start| word.starts_with(start))
}

/// Facts of a text about which nothing is known.
pub(crate) fn doubtful(doubt: Doubt) -> Facts {
    let statement = Statement::new(Kind::Other, Err(NotReadOnly::NotUnderstood(doubt)));
    Facts { template: next_template(), shape: 0, statements: vec![statement], doubt: Some(doubt) }
}

/// Facts of a text that is too long to be parsed. One plain `INSERT`, `UPDATE` or `DELETE` is understood: it has no
/// `WITH`, so its target is all that it writes.
pub(crate) fn facts(sql: &[u8], rules: LexRules) -> Facts {
    let Ok(glances) = glances(sql, rules) else { return doubtful(Doubt::Long) };
    if let [only] = glances.as_slice()
        && let Some(statement) = only.plain_write(sql)
    {
        return Facts { template: next_template(), shape: 0, statements: vec![statement], doubt: None };
    }
    refused(&glances, Doubt::Long)
}

/// Facts of a text that the parser refused: one statement for each that the lexer sees, with the names that look
/// like calls. A query or plain write in which no word hints at session state has its kind and no state.
pub(crate) fn with_doubt(sql: &[u8], rules: LexRules, doubt: Doubt) -> Facts {
    match glances(sql, rules) {
        Ok(glances) => refused(&glances, doubt),
        Err(_) => doubtful(doubt),
    }
}

fn refused(glances: &[Glance], doubt: Doubt) -> Facts {
    let statements = glances.iter().map(|glance| glance.refused(doubt)).collect();
    Facts { template: next_template(), shape: 0, statements, doubt: Some(doubt) }
}

/// Names directly before an opening parenthesis, each once.
pub(crate) fn calls(sql: &[u8], rules: LexRules) -> Result<Vec<FunctionName>, LexError> {
    let mut functions = Vec::new();
    for glance in glances(sql, rules)? {
        for function in glance.functions {
            push_once(&mut functions, function);
        }
    }
    Ok(functions)
}

/// How many tokens of a statement are kept to tell what it writes: `INSERT INTO ONLY a.b.c.d`.
const OPENING: usize = 10;

/// One statement as the lexer sees it, in one pass.
#[derive(Default)]
struct Glance {
    opening: Vec<Token>,
    kind: Option<Kind>,
    functions: Vec<FunctionName>,
    /// A word hints at session state.
    hint: bool,
    with: bool,
    /// The name being read, as tokens, and whether a dot followed it.
    name: Vec<Token>,
    dotted: bool,
}

fn glances(sql: &[u8], rules: LexRules) -> Result<Vec<Glance>, LexError> {
    let mut lexer = Lexer::new(sql, rules);
    let mut shape = Shape::default();
    let mut all = Vec::new();
    let mut glance = Glance::default();
    while let Some(token) = lexer.next_solid()? {
        let ended = match token.kind {
            TokenKind::Word => {
                if shape.wants_words() {
                    shape.word(&sql[token.start..token.end].to_ascii_lowercase());
                }
                false
            }
            TokenKind::Punct => shape.punct(sql[token.start]),
            _ => {
                shape.other();
                false
            }
        };
        if ended {
            all.push(std::mem::take(&mut glance));
        } else {
            glance.take(sql, token);
        }
    }
    all.push(glance);
    all.retain(|glance| !glance.opening.is_empty());
    Ok(all)
}

impl Glance {
    fn take(&mut self, sql: &[u8], token: Token) {
        if self.opening.len() < OPENING {
            self.opening.push(token);
        }
        match (token.kind, sql[token.start]) {
            (TokenKind::Word | TokenKind::Quoted, _) => self.word(sql, token),
            (TokenKind::Punct, b'.') => self.dotted = true,
            (TokenKind::Punct, b'(') => {
                let name: Vec<String> =
                    self.name.drain(..).map(|part| identifier(&sql[part.start..part.end])).collect();
                if let Some(function) = called(&name) {
                    push_once(&mut self.functions, function);
                }
                self.dotted = false;
            }
            _ => {
                self.name.clear();
                self.dotted = false;
            }
        }
    }

    fn word(&mut self, sql: &[u8], token: Token) {
        if !std::mem::take(&mut self.dotted) {
            self.name.clear();
        }
        self.name.push(token);
        let text = &sql[token.start..token.end];
        let first = self.kind.is_none();
        // Most words of a long text are NULL, DEFAULT and the like.
        if first
            || matches!(text[0] | 0x20, b't' | b's' | b'p' | b'd' | b'w' | b'u')
            || token.kind == TokenKind::Quoted
        {
            let word = identifier(text);
            self.hint |= is_hint(&word);
            self.with |= word == "with";
            if first {
                self.kind = Some(match word.as_str() {
                    "select" | "with" | "values" | "table" => Kind::Select,
                    "insert" => Kind::Insert,
                    "update" => Kind::Update,
                    "delete" => Kind::Delete,
                    _ => Kind::Other,
                });
            }
        }
    }

    fn kind(&self) -> Kind {
        if self.hint { Kind::Other } else { self.kind.clone().unwrap_or(Kind::Other) }
    }

    fn refused(&self, doubt: Doubt) -> Statement {
        let mut statement = Statement::new(self.kind(), Err(NotReadOnly::NotUnderstood(doubt)));
        statement.functions.clone_from(&self.functions);
        if statement.kind == Kind::Other {
            statement.state.push(SessionState::Opaque);
        }
        statement
    }

    /// The write that the statement plainly is.
    fn plain_write(&self, sql: &[u8]) -> Option<Statement> {
        let word = |at: usize| self.opening.get(at).map(|t| sql[t.start..t.end].to_ascii_lowercase());
        let (name, target) = match self.kind() {
            Kind::Insert if word(1)? == b"into" => ("INSERT", 2),
            Kind::Update => ("UPDATE", 1),
            Kind::Delete if word(1)? == b"from" => ("DELETE", 2),
            _ => return None,
        };
        if self.with {
            return None;
        }
        let only = usize::from(word(target)? == b"only");
        let mut statement = Statement::new(self.kind(), Err(NotReadOnly::Command(name)));
        statement.writes.push(relation(sql, self.opening.get(target + only..)?)?);
        statement.functions.clone_from(&self.functions);
        Some(statement)
    }
}

fn called(name: &[String]) -> Option<FunctionName> {
    match name {
        [] => None,
        [one] if NOT_CALLS.contains(&one.as_str()) => None,
        [one] => Some(FunctionName { schema: None, name: one.as_str().into() }),
        [.., schema, last] => {
            Some(FunctionName { schema: Some(schema.as_str().into()), name: last.as_str().into() })
        }
    }
}

/// `name` or `schema.name`.
fn relation(sql: &[u8], tokens: &[Token]) -> Option<Relation> {
    let mut parts = Vec::new();
    for pair in tokens.chunks(2) {
        if !matches!(pair[0].kind, TokenKind::Word | TokenKind::Quoted) {
            return None;
        }
        parts.push(identifier(&sql[pair[0].start..pair[0].end]));
        if pair.get(1).is_none_or(|dot| sql[dot.start] != b'.') {
            break;
        }
    }
    let name = parts.pop()?.into();
    Some(Relation { schema: parts.pop().map(Into::into), name })
}

#[cfg(test)]
mod tests;
