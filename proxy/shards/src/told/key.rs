//! Shard keys and their values, in words.

use pointsman_sql::ValueRef;

use super::Question;
use crate::layout::Placement;
use crate::pick::{Bound, KeyUse, KeyValues};

/// Values that are shown one by one.
const VALUES_SHOWN_MAX: usize = 4;
/// Letters of a value that are shown.
const LETTERS_SHOWN_MAX: usize = 40;

/// Tells of a question's keys.
pub(super) struct KeyTold<'a>(&'a Question<'a>);

impl<'a> KeyTold<'a> {
    pub fn of(question: &'a Question<'a>) -> Self {
        Self(question)
    }

    /// Whether a value is not bound yet.
    pub fn is_open(&self, uses: &[KeyUse]) -> bool {
        let open = |value: &ValueRef| matches!(value, ValueRef::Param(_));
        self.0.values.parameters.is_none()
            && uses.iter().any(|one| match &one.values {
                KeyValues::Tuples(tuples) | KeyValues::Rows(tuples) => {
                    tuples.iter().any(|tuple| tuple.iter().any(open))
                }
                KeyValues::Array(array) => open(array),
                KeyValues::Between { low, high } => {
                    [low, high].into_iter().flatten().any(|bound| open(&bound.value))
                }
            })
    }

    /// `agents.id = 6, interactions.initiator_id = 6`
    pub fn uses(&self, uses: &[KeyUse]) -> String {
        let mut told: Vec<String> = Vec::new();
        for one in uses {
            let one = self.one(one);
            if !told.contains(&one) {
                told.push(one);
            }
        }
        told.join(", ")
    }

    fn one(&self, one: &KeyUse) -> String {
        let name = self.name(one);
        match &one.values {
            KeyValues::Tuples(tuples) | KeyValues::Rows(tuples) => match &**tuples {
                [tuple] => format!("{name} = {}", self.tuple(tuple)),
                tuples => {
                    let shown = tuples.iter().take(VALUES_SHOWN_MAX).map(|tuple| self.tuple(tuple));
                    let shown = shown.collect::<Vec<_>>().join(", ");
                    match tuples.len().checked_sub(VALUES_SHOWN_MAX) {
                        None | Some(0) => format!("{name} IN ({shown})"),
                        Some(more) => format!("{name} IN ({shown} and {more} more)"),
                    }
                }
            },
            KeyValues::Array(array) => format!("{name} = ANY ({})", self.value(*array)),
            KeyValues::Between { low, high } => {
                let end = |bound: &Bound, sign: &str| {
                    let equal = if bound.included { "=" } else { "" };
                    format!("{name} {sign}{equal} {}", self.value(bound.value))
                };
                let low = low.as_ref().map(|bound| end(bound, ">"));
                let high = high.as_ref().map(|bound| end(bound, "<"));
                low.into_iter().chain(high).collect::<Vec<_>>().join(" AND ")
            }
        }
    }

    /// The key, with its table if that is clear.
    fn name(&self, one: &KeyUse) -> String {
        let fits = one.sharded.keys.iter().filter(|key| key.len() == one.types.len());
        let names: Vec<String> = fits.map(|key| columns(key)).collect();
        let is_its = |placement: &Placement| match placement {
            Placement::Sharded(sharded) => *sharded == one.sharded,
            Placement::Unsharded | Placement::Reference => false,
        };
        let mut tables = self.0.tables.iter().filter(|(_, placement)| is_its(placement));
        match (&*names, tables.next(), tables.next()) {
            ([name], Some((table, _)), None) => format!("{table}.{name}"),
            _ => names.join(" or "),
        }
    }

    fn tuple(&self, tuple: &[ValueRef]) -> String {
        match tuple {
            [value] => self.value(*value),
            values => {
                let values: Vec<String> = values.iter().map(|value| self.value(*value)).collect();
                format!("({})", values.join(", "))
            }
        }
    }

    /// A value as the text has it.
    pub fn value(&self, value: ValueRef) -> String {
        let raw = |at: usize| {
            let raw = self.0.values.literals.get(at).map(|literal| literal.raw(self.0.values.sql));
            let raw = String::from_utf8_lossy(raw.unwrap_or_default());
            match raw.char_indices().nth(LETTERS_SHOWN_MAX) {
                Some((end, _)) => format!("{}...", &raw[..end]),
                None => raw.into_owned(),
            }
        };
        match value {
            ValueRef::Literal(at) => raw(at),
            ValueRef::Negative(at) => format!("-{}", raw(at)),
            ValueRef::Param(number) => format!("${number}"),
            ValueRef::Null => "NULL".to_owned(),
            ValueRef::Bool(value) => value.to_string(),
            ValueRef::Default => "DEFAULT".to_owned(),
            ValueRef::Other => "an expression".to_owned(),
        }
    }
}

/// `id`, `(region, number)`
pub(super) fn columns(key: &[Box<str>]) -> String {
    match key {
        [column] => column.to_string(),
        columns => format!("({})", columns.join(", ")),
    }
}
