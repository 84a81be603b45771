//! What a server said to a statement, and whether two servers said the same.
use bytes::{Buf, Bytes};
use pointsman_tests::{Frame, pretty};

use super::sql::Order;

/// SQLSTATE of a refusal.
const REFUSED: &str = "0A000";

/// Rows of a difference that are printed.
const ROWS_SHOWN: usize = 20;

/// The answer to one execution.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// What was described: parameter types; each column's name, type, size, modifier and format.
    described: Vec<Bytes>,
    rows: Vec<Vec<Option<Bytes>>>,
    /// Command tags, `suspended`, `empty`.
    ends: Vec<String>,
    error: Option<Frame>,
}

/// What comes of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Same,
    /// Both failed, with this SQLSTATE.
    Failed(String),
    /// It was refused, for this reason.
    Refused(String),
    Differs(String),
}

/// The answers in a list of messages: each ends with a command's tag or an error.
pub(crate) fn outcomes(frames: &[Frame]) -> Vec<Outcome> {
    let mut all = vec![Outcome::default()];
    for frame in frames {
        let now = all.last_mut().expect("never empty");
        match frame.tag {
            b'T' => now.described.push(columns(&frame.body)),
            b't' => now.described.push(frame.body.clone()),
            b'D' => now.rows.push(row(&frame.body)),
            b's' => now.ends.push("suspended".to_owned()),
            b'C' | b'I' => now.ends.push(if frame.tag == b'C' { frame.text() } else { "empty".to_owned() }),
            b'E' => now.error = Some(frame.clone()),
            _ => {}
        }
        if matches!(frame.tag, b'C' | b'I' | b'E') {
            all.push(Outcome::default());
        }
    }
    all.pop();
    if frames.last().is_none_or(|frame| frame.tag != b'Z') {
        all.push(Outcome { ends: vec!["the connection ended".to_owned()], ..Outcome::default() });
    }
    all
}

/// A row description without the table and the column's number in it, which a gathered result need not have.
fn columns(body: &Bytes) -> Bytes {
    let mut body = body.to_vec();
    let mut at = 2;
    while at < body.len() {
        at += body[at..].iter().position(|byte| *byte == 0).map_or(body.len(), |end| end + 1);
        if at + 18 <= body.len() {
            body[at..at + 6].fill(0);
        }
        at += 18;
    }
    body.into()
}

fn row(body: &Bytes) -> Vec<Option<Bytes>> {
    let mut left = body.clone();
    let count = left.get_u16();
    let mut values = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(left.get_i32()).ok();
        values.push(length.map(|length| left.split_to(length)));
    }
    values
}

/// Compares the sharded side with the whole.
pub(crate) fn verdict(whole: &[Frame], sharded: &[Frame], order: &Order) -> Verdict {
    let (want, got) = (outcomes(whole), outcomes(sharded));
    for at in 0..want.len().max(got.len()) {
        let (Some(want), Some(got)) = (want.get(at), got.get(at)) else {
            return differs("another number of answers", whole, sharded);
        };
        if let Some(found) = failure(want, got) {
            return match found {
                Verdict::Differs(what) => differs(&what, whole, sharded),
                other => other,
            };
        }
        if let Some(what) = difference(want, got, order) {
            return differs(what, whole, sharded);
        }
    }
    Verdict::Same
}

fn differs(what: &str, whole: &[Frame], sharded: &[Frame]) -> Verdict {
    let lacks = |frames: &[Frame], other: &[Frame]| {
        let rows = |frames: &[Frame]| frames.iter().filter(|frame| frame.tag == b'D').cloned().collect();
        without(rows(frames), rows(other))
    };
    let (only_whole, only_sharded) = (lacks(whole, sharded), lacks(sharded, whole));
    // Rows that both have would hide those that one lacks, unless it is their order that differs.
    let order = only_whole.is_empty() && only_sharded.is_empty();
    let shown = |frames: &[Frame], own: &[Frame]| {
        let others = frames.iter().filter(|frame| order || frame.tag != b'D').cloned();
        let all: Vec<Frame> = own.iter().take(ROWS_SHOWN).cloned().chain(others.take(ROWS_SHOWN)).collect();
        pretty(&all)
    };
    let (whole, sharded) = (shown(whole, &only_whole), shown(sharded, &only_sharded));
    Verdict::Differs(format!("{what}\n  whole, its own rows first:\n{whole}  sharded:\n{sharded}"))
}

/// What one list has more of than the other.
pub(crate) fn without<T: PartialEq>(list: Vec<T>, mut other: Vec<T>) -> Vec<T> {
    let mut gone = |item: &T| {
        let at = other.iter().position(|found| found == item);
        at.map(|at| other.swap_remove(at)).is_none()
    };
    list.into_iter().filter(|item| gone(item)).collect()
}

/// How it ends if one of them failed.
fn failure(want: &Outcome, got: &Outcome) -> Option<Verdict> {
    let state = |outcome: &Outcome| outcome.error.as_ref().map(Frame::sqlstate);
    match (state(want), state(got)) {
        (None, None) => None,
        (Some(want), Some(got)) if want == got => Some(Verdict::Failed(want)),
        (_, Some(state)) if state == REFUSED => Some(if got.rows.is_empty() {
            Verdict::Refused(reason(got.error.as_ref()))
        } else {
            Verdict::Differs("refused after it had begun".to_owned())
        }),
        (want, got) => Some(Verdict::Differs(format!("errors {want:?} and {got:?}"))),
    }
}

/// A refusal's message and hint.
fn reason(error: Option<&Frame>) -> String {
    let field = |code| error.map(|frame| frame.field(code)).unwrap_or_default();
    format!("{} ({})", field('M'), field('H'))
}

fn difference(want: &Outcome, got: &Outcome, order: &Order) -> Option<&'static str> {
    if want.described != got.described {
        return Some("described otherwise");
    }
    if want.rows.len() != got.rows.len() {
        return Some("another number of rows");
    }
    if want.ends != got.ends {
        return Some("another end");
    }
    let sorted = |outcome: &Outcome| {
        let mut rows = outcome.rows.clone();
        rows.sort();
        rows
    };
    let only = |outcome: &Outcome, columns: &[usize]| -> Vec<Vec<Option<Bytes>>> {
        outcome.rows.iter().map(|row| columns.iter().map(|at| row[*at].clone()).collect()).collect()
    };
    match order {
        Order::List => (want.rows != got.rows).then_some("other rows, or in another order"),
        _ if sorted(want) != sorted(got) => Some("other rows"),
        Order::Columns(columns) if only(want, columns) != only(got, columns) => Some("another order"),
        _ => None,
    }
}
