//! How a random statement is sent: as a simple query, or by Parse, Bind and Execute in many ways.
use pointsman_tests::msg;

use super::generate::Generator;
use super::sql::{Rendered, Statement, Style};
use super::values::Value;

/// A way to send a statement.
#[derive(Debug, Clone)]
pub(crate) enum Protocol {
    Simple,
    Extended(Extended),
}

/// By Parse, Bind and Execute.
#[derive(Debug, Clone)]
pub(crate) struct Extended {
    style: Style,
    binary_parameters: bool,
    binary_results: bool,
    /// The statement is described before it is bound.
    described: bool,
    /// It is executed for so many rows first.
    first_rows: Option<i32>,
    /// It is bound and executed once more with these values, before `Sync`.
    second: Option<Statement>,
}

impl Protocol {
    pub(crate) fn random(generator: &mut Generator, statement: &Statement) -> Self {
        if generator.chance(0.4) {
            return Self::Simple;
        }
        let style = match generator.below(10) {
            0..4 => Style::Typed,
            4 => Style::Bare,
            _ => Style::Cast,
        };
        let (mut first_rows, mut second) = (None, None);
        if let Statement::Query(query) = statement {
            first_rows = generator.chance(0.15).then_some(3);
            if generator.chance(0.25) {
                let mut query = query.clone();
                generator.other_values(&mut query);
                second = Some(Statement::Query(query));
            }
        }
        Self::Extended(Extended {
            style,
            // What nothing is said of may be of another type than the test thinks.
            binary_parameters: style != Style::Bare && generator.chance(0.5),
            binary_results: generator.chance(0.5),
            described: generator.chance(0.3),
            first_rows,
            second,
        })
    }

    /// Without the second execution.
    pub(crate) fn once(&mut self) {
        if let Self::Extended(extended) = self {
            extended.second = None;
        }
    }

    /// The messages, up to `Sync`.
    pub(crate) fn messages(&self, statement: &Statement) -> Vec<u8> {
        match self {
            Self::Simple => msg::query(&Rendered::new(statement, Style::Inline).text),
            Self::Extended(extended) => extended.messages(statement),
        }
    }

    /// The statement as it is sent, for people.
    pub(crate) fn shown(&self, statement: &Statement) -> String {
        let values = |rendered: &Rendered| {
            let values: Vec<&str> =
                rendered.parameters.iter().map(|value| value.text.as_deref().unwrap_or("NULL")).collect();
            values.join(" | ")
        };
        let Self::Extended(extended) = self else {
            return format!("simple query\n  {};", Rendered::new(statement, Style::Inline).text);
        };
        let rendered = Rendered::new(statement, extended.style);
        let second = extended.second.as_ref().map(|second| values(&Rendered::new(second, extended.style)));
        let Extended { style, binary_parameters, binary_results, described, first_rows, .. } = extended;
        format!(
            "extended: {style:?}, binary parameters {binary_parameters}, binary results {binary_results}, described \
             {described}, first rows {first_rows:?}\n  {};\n  values {}\n  then {second:?}",
            rendered.text,
            values(&rendered)
        )
    }
}

impl Extended {
    fn messages(&self, statement: &Statement) -> Vec<u8> {
        let rendered = Rendered::new(statement, self.style);
        let mut out = msg::parse_typed("", &rendered.text, &rendered.types());
        if self.described {
            out.extend(msg::describe_statement(""));
        }
        out.extend(self.bind(&rendered.parameters));
        out.extend(msg::describe_portal(""));
        if let Some(rows) = self.first_rows {
            out.extend(msg::execute("", rows));
        }
        out.extend(msg::execute("", 0));
        // Smaller statements have fewer values than the second set has.
        let second = self.second.as_ref().map(|second| Rendered::new(second, self.style));
        if let Some(second) = second.filter(|second| second.text == rendered.text) {
            out.extend(self.bind(&second.parameters));
            out.extend(msg::execute("", 0));
        }
        out.extend(msg::sync());
        out
    }

    fn bind(&self, parameters: &[Value]) -> Vec<u8> {
        let binary = |value: &Value| if self.binary_parameters { value.binary() } else { None };
        let formats: Vec<u16> = parameters.iter().map(|value| u16::from(binary(value).is_some())).collect();
        let bytes = |value: &Value| {
            binary(value).or_else(|| value.text.as_ref().map(|text| text.as_bytes().to_vec()))
        };
        let values: Vec<Option<Vec<u8>>> = parameters.iter().map(bytes).collect();
        let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
        let results = [u16::from(self.binary_results)];
        msg::bind_with("", "", &values, [&formats, &results])
    }
}
