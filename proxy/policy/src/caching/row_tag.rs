//! Tags of the form `table.column=value`: rows of a table that have a value, which writes mark by themselves.

use std::fmt;

/// Rows of a table that are told apart by a column's value, as a tag names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowTag<'a> {
    /// `None`: the table of this name in whatever schema.
    pub schema: Option<&'a str>,
    /// The table, as the catalog spells it.
    pub table: &'a str,
    /// The column, as the catalog spells it.
    pub column: &'a str,
}

impl<'a> RowTag<'a> {
    /// What a tag's name says of rows, and the value, which may be empty. `None`: the name is a free one.
    #[must_use]
    pub fn split(name: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let at = name.iter().position(|byte| *byte == b'=')?;
        let words = std::str::from_utf8(&name[..at]).ok()?;
        let parts: Vec<&str> = words.split('.').collect();
        if !parts.iter().all(|part| is_name(part)) {
            return None;
        }
        let (schema, table, column) = match parts[..] {
            [table, column] => (None, table, column),
            [schema, table, column] => (Some(schema), table, column),
            _ => return None,
        };
        Some((Self { schema, table, column }, &name[at + 1..]))
    }
}

/// Whether a word could be a name without quotes.
fn is_name(word: &str) -> bool {
    let begins = |letter: char| letter.is_alphabetic() || letter == '_';
    word.starts_with(begins) && word.chars().all(|letter| letter.is_alphanumeric() || "_$".contains(letter))
}

/// `friendships.agent_id`
impl fmt::Display for RowTag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = self.schema {
            write!(f, "{schema}.")?;
        }
        write!(f, "{}.{}", self.table, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_from_free_names() {
        let split = |name: &'static str| {
            RowTag::split(name.as_bytes()).map(|(rows, value)| (rows.to_string(), rows.schema, value))
        };
        assert_eq!(split("t.c=1"), Some(("t.c".to_owned(), None, &b"1"[..])));
        assert_eq!(split("s.t.c=a=b"), Some(("s.t.c".to_owned(), Some("s"), &b"a=b"[..])));
        assert_eq!(split("é_1.c$="), Some(("é_1.c$".to_owned(), None, &b""[..])));
        for free in ["feed:42", "t.c", "t=1", "a.b.c.d=1", "t. c=1", "v.2=1", ".c=1", "t.=1", "=", "f:t.c=1"]
        {
            assert_eq!(split(free), None, "{free}");
        }
        assert_eq!(RowTag::split(b"\xff.c=1"), None);
        assert_eq!(RowTag::split(b"t.c=\xff").map(|(_, value)| value), Some(&b"\xff"[..]));
    }
}
