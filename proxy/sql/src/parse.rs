//! A text to facts by PostgreSQL's own parser (`pg_query`), on a template's first sight only.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use pg_query::protobuf;

use crate::facts::{Doubt, Facts, Statement};
use crate::lexer::{LexRules, Literal, LiteralKind};
use crate::template::Template;
use crate::{light, utility};

/// A number for the next facts.
pub(crate) fn next_template() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The facts of `sql`, whose template is filled in. The caller has checked its length and nesting.
pub(crate) fn facts(sql: &[u8], rules: LexRules, template: &Template) -> Facts {
    let Some(text) = parser_text(sql, rules, &template.literals) else {
        return light::with_doubt(sql, rules, Doubt::Encoding);
    };
    // The parser's tables of names can panic on trees it did not foresee: that is "not understood" too.
    let parsed = catch_unwind(AssertUnwindSafe(|| pg_query::parse(&text, 0)));
    let Ok(Ok(parsed)) = parsed else {
        return light::with_doubt(sql, rules, Doubt::Syntax);
    };
    let source = Source { text: &text, literals: &template.literals, rules };
    let mut doubt = None;
    let statements = parsed
        .protobuf
        .stmts
        .iter()
        .map(|raw| {
            let (statement, known) = utility::statement(raw, &source);
            if !known {
                doubt = Some(Doubt::Node);
            }
            statement
        })
        .collect();
    Facts { template: next_template(), shape: 0, statements, doubt }
}

/// The facts of one statement of a text that was parsed already; `None` if its tree holds a node that is not known.
/// `literals` are the text's, in order.
#[must_use]
pub fn statement_facts(statement: &protobuf::RawStmt, text: &str, literals: &[Literal]) -> Option<Statement> {
    let source = Source { text, literals, rules: LexRules::default() };
    let (statement, known) = utility::statement(statement, &source);
    known.then_some(statement)
}

/// The text that was parsed, and where its literals stand.
pub(crate) struct Source<'a> {
    pub(crate) text: &'a str,
    pub(crate) literals: &'a [Literal],
    pub(crate) rules: LexRules,
}

impl Source<'_> {
    /// The index of the literal that starts at this byte.
    pub(crate) fn literal_at(&self, location: i32) -> Option<usize> {
        let start = u32::try_from(location).ok()?;
        self.literals.binary_search_by_key(&start, |l| l.start).ok()
    }

    /// One statement's text, without the white space around it.
    pub(crate) fn statement_text(&self, raw: &protobuf::RawStmt) -> &str {
        let start = usize::try_from(raw.stmt_location).unwrap_or(0);
        let length = usize::try_from(raw.stmt_len).unwrap_or(0);
        let end = if length == 0 { self.text.len() } else { start + length };
        self.text.get(start..end).unwrap_or_default().trim()
    }
}

/// The text as the parser must see it: what it cannot know (escapes in plain strings, bytes of other encodings) is
/// filled with `x`, byte for byte, so that places stay what they are. Only literals and comments may be filled;
/// `None` means that the text is not valid in UTF-8 outside of them.
fn parser_text<'a>(sql: &'a [u8], rules: LexRules, literals: &[Literal]) -> Option<Cow<'a, str>> {
    let fill_escapes = !rules.standard_conforming_strings && sql.contains(&b'\\');
    if !fill_escapes && let Ok(text) = std::str::from_utf8(sql) {
        return Some(Cow::Borrowed(text));
    }
    if rules.encoding == crate::lexer::ClientEncoding::Utf8 && std::str::from_utf8(sql).is_err() {
        return None;
    }
    let mut bytes = sql.to_vec();
    if fill_escapes {
        for literal in literals.iter().filter(|l| l.kind == LiteralKind::EscapeString) {
            let span = literal.start as usize..literal.end as usize;
            if sql[span.start] == b'\'' {
                bytes[span.start + 1..span.end - 1].fill(b'x');
            }
        }
    }
    for byte in &mut bytes {
        if !byte.is_ascii() {
            *byte = b'x';
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}
