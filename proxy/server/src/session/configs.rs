//! Calls of `set_config` that outlive the transaction: their arguments are constants of the text or came with `Bind`.

use std::sync::Arc;

use pointsman_sql::{Arg, Facts, Literal, SessionState, literal_value};
use pointsman_wire::frontend::BindParameters;

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigCall {
    /// The statement that it is in.
    statement: usize,
    name: Text,
    value: Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Text {
    Known(String),
    /// The parameter of this index, counted from 0.
    Parameter(usize),
}

/// All calls of a text.
#[derive(Debug, Clone, Default)]
pub struct ConfigCalls {
    calls: Arc<[ConfigCall]>,
    /// A call has arguments that are neither.
    unreadable: bool,
}

/// A setting that a statement (by its place in the text) has set: name in lower case, and value.
pub type Configured = (usize, String, String);

impl ConfigCalls {
    /// The calls of a text.
    pub fn read(sql: &[u8], facts: &Facts, literals: &[Literal]) -> Self {
        let text = |arg: &Arg| match arg {
            Arg::Literal(index) => {
                literals.get(*index).and_then(|literal| literal_value(sql, literal)).map(Text::Known)
            }
            Arg::Param(number) => usize::try_from(*number).ok()?.checked_sub(1).map(Text::Parameter),
            Arg::Bool(_) | Arg::Null | Arg::Other => None,
        };
        let mut calls = Vec::new();
        let mut unreadable = false;
        for (statement, found) in facts.statements.iter().enumerate() {
            for state in &found.state {
                let SessionState::SetConfig { name, value, is_local } = state else { continue };
                match (text(name), text(value), is_local) {
                    (_, _, Arg::Bool(true)) => {}
                    (Some(name), Some(value), Arg::Bool(false)) => {
                        calls.push(ConfigCall { statement, name, value })
                    }
                    _ => unreadable = true,
                }
            }
        }
        Self { calls: calls.into(), unreadable }
    }

    /// What the calls set, with these parameters; None if that cannot be told.
    pub fn resolve(&self, parameters: Option<&BindParameters<'_>>) -> Option<Vec<Configured>> {
        let text = |text: &Text| match text {
            Text::Known(text) => Some(text.clone()),
            // Text in binary format is the same bytes.
            Text::Parameter(index) => {
                let value = (*parameters?.values.get(*index)?)?;
                String::from_utf8(value.to_vec()).ok()
            }
        };
        if self.unreadable {
            return None;
        }
        let resolve = |call: &ConfigCall| {
            Some((call.statement, text(&call.name)?.to_ascii_lowercase(), text(&call.value)?))
        };
        self.calls.iter().map(resolve).collect()
    }
}

#[cfg(test)]
mod tests {
    use pointsman_sql::{Analyzer, LexRules};

    use super::*;

    fn calls(sql: &str) -> ConfigCalls {
        let mut analyzer = Analyzer::<()>::new(10);
        let analysis = analyzer.analyze(sql.as_bytes(), LexRules::default());
        ConfigCalls::read(sql.as_bytes(), analysis.facts, analysis.literals)
    }

    #[test]
    fn constants_are_read_from_the_text() {
        let set = calls("SELECT 1; SELECT set_config('My.Own', 'it''s', false), set_config('a', 'b', true)");
        assert_eq!(set.resolve(None), Some(vec![(1, "my.own".to_owned(), "it's".to_owned())]));
    }

    #[test]
    fn parameters_are_read_from_bind() {
        let set = calls("SELECT set_config($1, $2, false)");
        let parameters = BindParameters {
            formats: Vec::new(),
            values: vec![Some(b"A"), Some(b"b")],
            result_formats: Vec::new(),
        };
        assert_eq!(set.resolve(Some(&parameters)), Some(vec![(0, "a".to_owned(), "b".to_owned())]));
        assert_eq!(set.resolve(None), None);
    }

    #[test]
    fn what_is_computed_cannot_be_told() {
        assert_eq!(calls("SELECT set_config('a', 'b' || 'c', false)").resolve(None), None);
    }
}
