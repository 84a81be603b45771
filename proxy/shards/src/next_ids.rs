//! `pointsman.next_id()` and `pointsman.shard_of(key)` in a text, and ids for rows of an `INSERT` that leave out a declared `id` column.
//!
//! No server has these functions: before a text is planned and sent, each call of the first is replaced by an id, or by a parameter for
//! one where the text is prepared and runs often. That is right only where a call runs once: in a row of `VALUES`, or in a `SELECT`
//! without a `FROM`. Anywhere else it is refused, since many rows would get one id.

use std::ops::Range;

use pointsman_sql::{LexRules, Relation, Token, TokenKind, ValueRef, identifier, quote_identifier, tokens};

use crate::plan::write::rows::{Rows, after_target, closing, is_punct, is_word};
use crate::plan::{Refusal, Why};

/// A call of one of the functions that the proxy answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its bytes, from the schema's name to the closing parenthesis.
    pub span: Range<usize>,
    /// What is called.
    pub of: Called,
}

/// What is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Called {
    /// `pointsman.next_id()`.
    NextId,
    /// `pointsman.shard_of(key)`: its argument's bytes, and its value where it is a literal or a parameter, else [`ValueRef::Other`].
    ShardOf(Range<usize>, ValueRef),
}

/// A declared column for ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdColumn<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it is among the table's columns, from 0; `None` if they are not known.
    pub place: Option<usize>,
}

/// What stands in a text for an id.
pub enum Fill<'f> {
    /// The id itself: for a text that runs once.
    Ids(&'f mut dyn FnMut() -> i64),
    /// A parameter, of type `bigint`: for a text that is prepared. The next one's number, from 1.
    Parameters(u32),
}

/// A text with places for ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// The text.
    pub text: String,
    /// Parameters added, whose numbers follow the client's own: each takes an id of its own at every execution.
    pub added: u32,
}

/// The calls in a text, in order. Literals, comments and quoted names of other things are left out; a text with a lexical error has none.
#[must_use]
pub fn calls(text: &str) -> Vec<Call> {
    let tokens = tokens(text.as_bytes(), LexRules::default()).unwrap_or_default();
    (0..tokens.len()).filter_map(|at| call(text, &tokens, at)).collect()
}

fn call(text: &str, tokens: &[Token], at: usize) -> Option<Call> {
    let named = |at: usize, name: &str| {
        tokens.get(at).is_some_and(|token| {
            matches!(token.kind, TokenKind::Word | TokenKind::Quoted)
                && identifier(&text.as_bytes()[token.start..token.end]) == name
        })
    };
    let begins = named(at, "pointsman")
        && is_punct(text, tokens.get(at + 1), b'.')
        && is_punct(text, tokens.get(at + 3), b'(');
    let qualified = at > 0 && is_punct(text, tokens.get(at - 1), b'.');
    if !begins || qualified {
        return None;
    }
    let close = closing(text, tokens, at + 3)?;
    let span = tokens[at].start..tokens[close].end;
    let argument = &tokens[at + 4..close];
    match (argument, argument.first(), argument.last()) {
        ([], ..) if named(at + 2, "next_id") => Some(Call { span, of: Called::NextId }),
        (_, Some(first), Some(last)) if named(at + 2, "shard_of") => {
            let before = &tokens[..at + 4];
            let literals = before.iter().filter(|token| matches!(token.kind, TokenKind::Literal(_))).count();
            let of = Called::ShardOf(first.start..last.end, value(text, argument, literals));
            Some(Call { span, of })
        }
        _ => None,
    }
}

fn value(text: &str, argument: &[Token], literals: usize) -> ValueRef {
    let number =
        |token: &Token| text[token.start + 1..token.end].parse().map_or(ValueRef::Other, ValueRef::Param);
    match argument {
        [one] => match one.kind {
            TokenKind::Literal(_) => ValueRef::Literal(literals),
            TokenKind::Param => number(one),
            TokenKind::Word if is_word(text, Some(one), "null") => ValueRef::Null,
            _ => ValueRef::Other,
        },
        [minus, digits] if &text[minus.start..minus.end] == "-" => match digits.kind {
            TokenKind::Literal(_) => ValueRef::Negative(literals),
            _ => ValueRef::Other,
        },
        _ => ValueRef::Other,
    }
}

/// The text of one statement with ids in place of the calls of `pointsman.next_id()`, and in every row of an `INSERT` that leaves out the
/// table's declared `id` column or says `DEFAULT` there. `None`: there is nothing to fill.
///
/// # Errors
/// A refusal, where ids cannot be told apart row by row.
pub fn fill(text: &str, id: Option<IdColumn<'_>>, fill: Fill<'_>) -> Result<Option<Filled>, Refusal> {
    let rows = Rows::find(text);
    let mut edits = match id {
        Some(id) => column_edits(text, rows.as_ref(), id)?,
        None => Vec::new(),
    };
    edits.extend(call_edits(text, rows.as_ref())?);
    if edits.is_empty() {
        return Ok(None);
    }
    edits.sort_by_key(|edit| edit.at.start);
    Ok(Some(apply(text, &edits, fill)))
}

/// A place in a text, and what comes there: with an id between two texts, or just the first.
struct Edit {
    at: Range<usize>,
    before: String,
    id: Option<&'static str>,
}

fn apply(text: &str, edits: &[Edit], mut fill: Fill<'_>) -> Filled {
    let mut filled = Filled { text: String::with_capacity(text.len() + edits.len() * 32), added: 0 };
    let mut done = 0;
    for edit in edits {
        filled.text.push_str(&text[done..edit.at.start]);
        filled.text.push_str(&edit.before);
        if let Some(after) = edit.id {
            match &mut fill {
                Fill::Ids(next) => filled.text.push_str(&next().to_string()),
                Fill::Parameters(number) => {
                    filled.text.push_str(&format!("${number}"));
                    (*number, filled.added) = (*number + 1, filled.added + 1);
                }
            }
            filled.text.push_str("::bigint");
            filled.text.push_str(after);
        }
        done = edit.at.end;
    }
    filled.text.push_str(&text[done..]);
    filled
}

/// The text with each call of `pointsman.shard_of(key)` replaced by what `number` gives for its argument's text and value. `None`:
/// there is none.
///
/// # Errors
/// What `number` refuses.
pub fn with_shards<E>(
    text: &str,
    mut number: impl FnMut(&str, ValueRef) -> Result<String, E>,
) -> Result<Option<String>, E> {
    let (mut filled, mut done) = (String::new(), 0);
    for call in calls(text) {
        let Called::ShardOf(argument, value) = call.of else { continue };
        filled.push_str(&text[done..call.span.start]);
        filled.push_str(&number(&text[argument], value)?);
        if is_whole_item(text, &call.span) {
            filled.push_str(" AS shard_of");
        }
        done = call.span.end;
    }
    filled.push_str(&text[done..]);
    Ok((done > 0).then_some(filled))
}

/// The table that an `INSERT` writes to, unless it is one inside of another statement.
#[must_use]
pub fn target(text: &str) -> Option<Relation> {
    let tokens = tokens(text.as_bytes(), LexRules::default()).ok()?;
    let end = after_target(text, &tokens)?;
    let name = |at: usize| {
        let token = tokens.get(at)?;
        Some(identifier(&text.as_bytes()[token.start..token.end]).into())
    };
    let last = end.checked_sub(1)?;
    let schema =
        if is_punct(text, tokens.get(end.checked_sub(2)?), b'.') { name(end.checked_sub(3)?) } else { None };
    Some(Relation { schema, name: name(last)? })
}

/// Whether there is an `INSERT` inside of another statement.
#[must_use]
pub fn inserts_within(text: &str) -> bool {
    let tokens = tokens(text.as_bytes(), LexRules::default()).unwrap_or_default();
    let inserts = (1..tokens.len())
        .filter(|at| is_word(text, tokens.get(at - 1), "insert") && is_word(text, tokens.get(*at), "into"));
    inserts.count() > usize::from(after_target(text, &tokens).is_some())
}

/// The highest number of a parameter in a text; 0 if it has none.
#[must_use]
pub fn parameters(text: &str) -> u32 {
    let tokens = tokens(text.as_bytes(), LexRules::default()).unwrap_or_default();
    let number = |token: &Token| text[token.start + 1..token.end].parse().ok();
    tokens.iter().filter(|token| token.kind == TokenKind::Param).filter_map(number).max().unwrap_or(0)
}

fn call_edits(text: &str, rows: Option<&Rows<'_>>) -> Result<Vec<Edit>, Refusal> {
    let next_ids: Vec<Call> = calls(text).into_iter().filter(|call| call.of == Called::NextId).collect();
    let Some(first) = next_ids.first() else { return Ok(Vec::new()) };
    let refused = || Refusal {
        why: Why::Function,
        part: format!("{}, which would be the same id for every row", &text[first.span.clone()]).into(),
        hint: "ask for ids first, with SELECT pointsman.next_id(), and pass them as values".into(),
    };
    let rows = rows.filter(|rows| !rows.has_queries()).map(|rows| rows.rows.as_slice()).unwrap_or_default();
    let in_rows = |call: &Call| {
        let after = rows.partition_point(|row| row.span.start < call.span.start);
        rows[..after].last().is_some_and(|row| call.span.end < row.span.end)
    };
    let values = next_ids.iter().all(in_rows);
    if !values && !is_one_row(text) {
        return Err(refused());
    }
    let alias = |call: &Call| if !values && is_whole_item(text, &call.span) { " AS next_id" } else { "" };
    let edit = |call: Call| Edit { before: String::new(), id: Some(alias(&call)), at: call.span };
    Ok(next_ids.into_iter().map(edit).collect())
}

/// Whether a text is a `SELECT` that gives one row at the most: it has no `FROM`, no other query, and no set-returning function.
fn is_one_row(text: &str) -> bool {
    let tokens = tokens(text.as_bytes(), LexRules::default()).unwrap_or_default();
    let inner = ["from", "select", "union", "intersect", "except", "values", "with", "table"];
    // Of other calls it is not known whether they return rows.
    let calls_others = (1..tokens.len()).any(|at| {
        let name = matches!(tokens[at - 1].kind, TokenKind::Word | TokenKind::Quoted);
        let ours = at >= 3 && call(text, &tokens, at - 3).is_some();
        name && is_punct(text, tokens.get(at), b'(') && !ours
    });
    is_word(text, tokens.first(), "select")
        && !calls_others
        && !tokens.iter().skip(1).any(|token| inner.iter().any(|word| is_word(text, Some(token), word)))
}

/// Whether a call is an item of a select list by itself, whose column is named by the function.
fn is_whole_item(text: &str, span: &Range<usize>) -> bool {
    let tokens = tokens(text.as_bytes(), LexRules::default()).unwrap_or_default();
    let before = tokens.iter().rfind(|token| token.end <= span.start);
    let after = tokens.iter().find(|token| token.start >= span.end);
    let begins = is_word(text, before, "select") || is_punct(text, before, b',');
    let ends = after.is_none() || is_punct(text, after, b',') || is_punct(text, after, b';');
    let depth = tokens.iter().take_while(|token| token.start < span.start).fold(0i32, |depth, token| {
        let token = Some(token);
        depth + i32::from(is_punct(text, token, b'(') || is_punct(text, token, b'['))
            - i32::from(is_punct(text, token, b')') || is_punct(text, token, b']'))
    });
    begins && ends && depth == 0
}

fn column_edits(text: &str, rows: Option<&Rows<'_>>, id: IdColumn<'_>) -> Result<Vec<Edit>, Refusal> {
    let refused = |part: String| Refusal {
        why: Why::Unknown,
        part: part.into(),
        hint: "name the columns, and give the id or leave it out in rows of VALUES".into(),
    };
    let all = match rows {
        Some(rows) => rows.tokens().to_vec(),
        None => tokens(text.as_bytes(), LexRules::default()).unwrap_or_default(),
    };
    let Some(named) = columns(text, &all) else { return Ok(Vec::new()) };
    let place = match &named {
        Some((_, names)) => names.iter().position(|name| name == id.name),
        None => match id.place {
            Some(place) => Some(place),
            None => return Err(refused(format!("the place of the column {}", id.name))),
        },
    };
    let Some(rows) = rows else {
        // A query that is not followed column by column gives the id if its column is among those named, or if none is.
        return match (place, named) {
            (Some(_), _) if !is_default_values(text, &all) => Ok(Vec::new()),
            _ => {
                Err(refused(format!("the column {}, left out of an INSERT without rows of VALUES", id.name)))
            }
        };
    };
    let mut edits = Vec::new();
    if place.is_none()
        && let Some((open, _)) = named
    {
        edits.push(Edit { at: open..open, before: format!("{}, ", quote_identifier(id.name)), id: None });
    }
    for row in &rows.rows {
        let Some(place) = place else {
            let at = row.span.start + 1;
            edits.push(Edit { at: at..at, before: String::new(), id: Some(", ") });
            continue;
        };
        let cells = rows.cells(row);
        let Some(cell) = cells.get(place) else {
            return Err(refused(format!("a row that ends before the column {}", id.name)));
        };
        if let (ValueRef::Default, Some(at)) = (rows.value(cell, 0), Rows::span(cell)) {
            edits.push(Edit { at, before: String::new(), id: Some("") });
        }
    }
    Ok(edits)
}

/// A list of columns: the byte after its parenthesis, and its names.
type Columns = Option<(usize, Vec<String>)>;

/// The columns that an `INSERT` names; the outer `None`: it is no `INSERT`.
fn columns(text: &str, tokens: &[Token]) -> Option<Columns> {
    let mut at = after_target(text, tokens)?;
    if is_word(text, tokens.get(at), "as") {
        at += 2;
    }
    let query =
        ["select", "values", "with", "table"].iter().any(|word| is_word(text, tokens.get(at + 1), word));
    if !is_punct(text, tokens.get(at), b'(') || query || is_punct(text, tokens.get(at + 1), b'(') {
        return Some(None);
    }
    let close = closing(text, tokens, at)?;
    let inside = &tokens[at + 1..close];
    let name =
        |part: &[Token]| part.first().map(|token| identifier(&text.as_bytes()[token.start..token.end]));
    let names = inside.split(|token| is_punct(text, Some(token), b',')).filter_map(name).collect();
    Some(Some((tokens[at].end, names)))
}

fn is_default_values(text: &str, tokens: &[Token]) -> bool {
    let Some(at) = after_target(text, tokens) else { return false };
    (at..tokens.len())
        .any(|at| is_word(text, tokens.get(at), "default") && is_word(text, tokens.get(at + 1), "values"))
}

#[cfg(test)]
mod tests;
