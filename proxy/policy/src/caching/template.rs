//! Tags as policies write them: `feed:{agent_id}`, with the statement's own values in place of the names in braces.

use pointsman_sql::{KeyValue, Statement, ValueRef};

use super::RowTag;

/// A tag with places for values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagTemplate {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Value(Box<str>),
}

/// Why a text is not a tag template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Nothing is written.
    #[error("a tag may not be empty")]
    Empty,
    /// A brace without its partner, at this byte.
    #[error("the brace at byte {0} has no partner (a brace itself is written twice)")]
    Brace(usize),
    /// What stands in braces is no name of a column, nor a parameter.
    #[error("the braces at byte {0} hold neither a column's name nor a parameter such as `$1`")]
    Name(usize),
}

impl TagTemplate {
    /// Reads a template. `{{` and `}}` stand for braces.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let place = text.len() - rest.len() + at;
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            let after = &rest[at + 1..];
            if after.starts_with(brace) {
                plain.push_str(brace);
                rest = &after[1..];
                continue;
            }
            if brace == "}" {
                return Err(TemplateError::Brace(place));
            }
            let (name, left) = after.split_once('}').ok_or(TemplateError::Brace(place))?;
            if !is_name(name) {
                return Err(TemplateError::Name(place));
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain).into()));
            }
            parts.push(Part::Value(name.into()));
            rest = left;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        if parts.is_empty() { Err(TemplateError::Empty) } else { Ok(Self { parts }) }
    }

    /// The names in braces, as often as they are written.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(name) => Some(&**name),
            Part::Text(_) => None,
        })
    }

    /// The rows that the tag names, if it is of that form and no brace stands before the `=`.
    #[must_use]
    pub fn rows(&self) -> Option<RowTag<'_>> {
        match self.parts.first()? {
            Part::Text(text) => RowTag::split(text.as_bytes()).map(|(rows, _)| rows),
            Part::Value(_) => None,
        }
    }

    /// The template as a query, each name in braces a parameter: its text, and the names in the order of their numbers,
    /// each once. `None` if the text has parameters besides those in braces.
    #[must_use]
    pub fn query(&self) -> Option<(String, Vec<&str>)> {
        let (mut sql, mut names) = (String::new(), Vec::new());
        for part in &self.parts {
            match part {
                Part::Text(text) => {
                    let mut pairs = text.as_bytes().windows(2);
                    if pairs.any(|pair| pair[0] == b'$' && pair[1].is_ascii_digit()) {
                        return None;
                    }
                    sql.push_str(text);
                }
                Part::Value(name) => {
                    let known = names.iter().position(|other| *other == &**name);
                    let at = known.unwrap_or_else(|| {
                        names.push(&**name);
                        names.len() - 1
                    });
                    sql.push_str(&format!("${}", at + 1));
                }
            }
        }
        Some((sql, names))
    }

    /// Writes the tag's name with its values to `name`, which is cleared first. False, and nothing to rely on, if a
    /// value is missing: then the statement may not be cached.
    #[must_use]
    pub fn resolve<'v>(&self, name: &mut Vec<u8>, mut value: impl FnMut(&str) -> Option<&'v [u8]>) -> bool {
        name.clear();
        self.parts.iter().all(|part| {
            let bytes = match part {
                Part::Text(text) => Some(text.as_bytes()),
                Part::Value(column) => value(column),
            };
            bytes.is_some_and(|bytes| {
                name.extend_from_slice(bytes);
                true
            })
        })
    }
}

/// Whether a word is a column's name, or a parameter: `$1`.
fn is_name(word: &str) -> bool {
    match word.strip_prefix('$') {
        Some(number) => number.parse::<u32>().is_ok_and(|number| number > 0),
        None => {
            let named = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
            word.chars().all(named) && word.starts_with(|letter: char| !letter.is_ascii_digit())
        }
    }
}

/// Where the value of a name in braces comes from: a parameter's number, or the value with which the statement pins the
/// column of that name by `=`. `None` if it pins no such column, or several with different values.
#[must_use]
pub fn value_of(statement: &Statement, name: &str) -> Option<ValueRef> {
    if let Some(number) = name.strip_prefix('$') {
        return number.parse().ok().map(ValueRef::Param);
    }
    let mut values = statement.keys.predicates.iter().filter_map(|predicate| match predicate.value {
        KeyValue::Eq(value) if &*predicate.column == name => Some(value),
        _ => None,
    });
    let first = values.next().filter(|value| !matches!(value, ValueRef::Null))?;
    values.all(|other| other == first).then_some(first)
}

impl std::fmt::Display for TagTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Part::Value(name) => write!(f, "{{{name}}}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> Option<String> {
        let mut name = Vec::new();
        let value = |column: &str| match column {
            "agent_id" => Some(&b"42"[..]),
            "kind" => Some(&b"a"[..]),
            _ => None,
        };
        let whole = TagTemplate::parse(text).expect("a template").resolve(&mut name, value);
        whole.then(|| String::from_utf8(name).expect("text"))
    }

    #[test]
    fn values_take_their_places() {
        assert_eq!(resolved("feed:{agent_id}").as_deref(), Some("feed:42"));
        assert_eq!(resolved("{kind}{agent_id}é").as_deref(), Some("a42é"));
        assert_eq!(resolved("plain").as_deref(), Some("plain"));
        assert_eq!(resolved("{{{agent_id}}}").as_deref(), Some("{42}"));
        assert_eq!(resolved("feed:{missing}"), None);
    }

    #[test]
    fn mistakes_have_their_place() {
        let error = |text: &str| TagTemplate::parse(text).expect_err(text);
        assert_eq!(error(""), TemplateError::Empty);
        assert_eq!(error("feed:{a"), TemplateError::Brace(5));
        assert_eq!(error("feed:a}"), TemplateError::Brace(6));
        assert_eq!(error("feed:{}"), TemplateError::Name(5));
        assert_eq!(error("é{a b}"), TemplateError::Name(2));
        for none in ["{$}", "{$0}", "{$a}", "{1}"] {
            assert_eq!(error(none), TemplateError::Name(0), "{none}");
        }
    }

    #[test]
    fn names_stand_for_what_the_statement_pins() {
        let value = |sql: &str, name: &str| {
            let mut analyzer = pointsman_sql::Analyzer::<()>::new(1);
            let analysis = analyzer.analyze(sql.as_bytes(), pointsman_sql::LexRules::default());
            value_of(analysis.facts.single().expect("one statement"), name)
        };
        let sql = "SELECT 1 FROM a, b WHERE a.x = $2 AND a.y = 7 AND b.y = 8 AND b.z IN (1) AND b.n = NULL AND a.x = $2";
        assert_eq!(value(sql, "x"), Some(ValueRef::Param(2)));
        assert_eq!(value(sql, "$3"), Some(ValueRef::Param(3)));
        for none in ["y", "z", "n", "w"] {
            assert_eq!(value(sql, none), None, "{none}");
        }
        assert_eq!(value("SELECT 1 FROM a WHERE y = 7", "y"), Some(ValueRef::Literal(1)));
        assert_eq!(value("SELECT 1 FROM a WHERE y = 7 OR true", "y"), None);
    }

    #[test]
    fn it_names_rows_if_its_beginning_does() {
        let rows =
            |text: &str| TagTemplate::parse(text).expect("a template").rows().map(|rows| rows.to_string());
        assert_eq!(rows("s.posts.author_id={author_id}").as_deref(), Some("s.posts.author_id"));
        for free in ["feed:{agent_id}", "{a}posts.b=1", "posts.{b}=1"] {
            assert_eq!(rows(free), None, "{free}");
        }
    }

    #[test]
    fn braces_become_parameters_of_a_query() {
        let template = TagTemplate::parse("SELECT '{{x}}' || {b} FROM t WHERE a = {$2} AND b = {b}");
        let template = template.expect("a template");
        let (sql, names) = template.query().expect("a query");
        assert_eq!(sql, "SELECT '{x}' || $1 FROM t WHERE a = $2 AND b = $1");
        assert_eq!(names, ["b", "$2"]);
        assert_eq!(TagTemplate::parse("SELECT $1").expect("a template").query(), None);
    }

    #[test]
    fn it_prints_as_it_was_written() {
        for text in ["feed:{agent_id}", "{{x}}{a}", "plain"] {
            assert_eq!(TagTemplate::parse(text).expect("a template").to_string(), text);
        }
    }
}
