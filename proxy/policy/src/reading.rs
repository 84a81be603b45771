//! What rules ask of one text, each found once and only when asked, however many rules ask.

use std::cell::OnceCell;

use crate::comment;
use crate::decide::StatementView;
use crate::pattern::Glob;
use crate::rule::rows_most;

/// A text, and what was found in it.
pub(crate) struct Reading<'a> {
    pub(crate) view: &'a StatementView<'a>,
    rows: OnceCell<Option<i64>>,
    tags: OnceCell<Vec<(String, String)>>,
    hints: OnceCell<Vec<(&'a str, &'a str)>>,
}

impl<'a> Reading<'a> {
    pub(crate) fn of(view: &'a StatementView<'a>) -> Self {
        Self { view, rows: OnceCell::new(), tags: OnceCell::new(), hints: OnceCell::new() }
    }

    /// How many rows the text's only statement asks for at most; `None` if there are several.
    #[inline]
    pub(crate) fn rows_most(&self) -> Option<i64> {
        *self.rows.get_or_init(|| match self.view.facts.statements.as_slice() {
            [only] => Some(rows_most(only, self.view)),
            _ => None,
        })
    }

    /// Whether a comment has this tag with such a value.
    pub(crate) fn has_tag(&self, key: &str, glob: &Glob) -> bool {
        let StatementView { sql, rules, commented, .. } = *self.view;
        let tags = self.tags.get_or_init(|| match commented {
            true => comment::tags(sql, rules).collect(),
            false => Vec::new(),
        });
        tags.iter().any(|(found, value)| found == key && glob.matches(value))
    }

    /// Whether a comment has this hint with such a value.
    pub(crate) fn has_hint(&self, key: &str, glob: &Glob) -> bool {
        let StatementView { sql, rules, commented, .. } = *self.view;
        let hints = self.hints.get_or_init(|| match commented {
            true => comment::hints(sql, rules).collect(),
            false => Vec::new(),
        });
        hints.iter().any(|(found, value)| *found == key && glob.matches(value))
    }
}
