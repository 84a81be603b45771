//! Which of the merged rows are given out: duplicates, `OFFSET`, `LIMIT` and ties.

use super::Rows;
use super::compare::{Key, compare_from};

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is given out.
    Row,
    /// It is left out.
    Skip,
}

/// Counts rows.
#[derive(Debug)]
pub(super) struct Output {
    offset: u64,
    /// Rows still to be given out; `None`: all.
    limit: Option<u64>,
    /// Whether rows that are equal to the last one within the limit follow.
    with_ties: bool,
    unique: Option<usize>,
    /// Hidden columns of the row before, where they are needed; `None`: there was none.
    last: Option<Vec<u8>>,
    done: bool,
}

impl Output {
    pub(super) fn new(rows: &Rows<'_>, keys: usize) -> Self {
        let unique = rows.order.and_then(|order| order.unique).map(|first| first.min(keys));
        let with_ties = rows.with_ties && rows.order.is_some();
        let done = rows.limit == Some(0);
        Self { offset: rows.offset, limit: rows.limit, with_ties, unique, last: None, done }
    }

    /// Whether no row will be given out any more.
    pub(super) fn done(&self) -> bool {
        self.done
    }

    /// What becomes of the next row of the merge.
    pub(super) fn admit(&mut self, hidden: Option<&[u8]>, keys: &[Key]) -> Verdict {
        let equal = |last: &Option<Vec<u8>>, first: usize| match (last, hidden) {
            (Some(last), Some(hidden)) => compare_from(last, hidden, keys, first).is_eq(),
            _ => false,
        };
        if self.unique.is_some_and(|first| equal(&self.last, first)) {
            return Verdict::Skip;
        }
        if self.limit == Some(0) {
            if equal(&self.last, keys.len()) {
                return Verdict::Row;
            }
            self.done = true;
            return Verdict::Skip;
        }
        if let Some(hidden) = hidden.filter(|_| self.unique.is_some() || self.with_ties) {
            let last = self.last.get_or_insert_default();
            last.clear();
            last.extend_from_slice(hidden);
        }
        if self.offset > 0 {
            self.offset -= 1;
            return Verdict::Skip;
        }
        if let Some(limit) = &mut self.limit {
            *limit -= 1;
            self.done = *limit == 0 && !self.with_ties;
        }
        Verdict::Row
    }
}
