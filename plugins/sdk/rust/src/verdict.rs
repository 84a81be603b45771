//! Verdicts, built and looked at.

use std::time::Duration;

use crate::{
    Caching, Changes, ConnectVerdict, Memo, Outcome, Parameter, Refusal, Relation, Rewrite, Route, RowChange,
    Rows, Setting, StoreVerdict, Storing, Tag, Value, Verdict, Wants,
};

impl Outcome {
    fn of(verdict: Verdict) -> Self {
        Self { verdict, memo: Memo::Call }
    }

    /// The statement goes on as it is.
    #[must_use]
    pub fn pass() -> Self {
        Self::of(Verdict::Pass)
    }

    /// It goes on with changes.
    #[must_use]
    pub fn change(changes: Changes) -> Self {
        Self::of(Verdict::Change(changes))
    }

    /// It is answered with these rows, and sent to no server.
    #[must_use]
    pub fn answer(rows: Rows) -> Self {
        Self::of(Verdict::Answer(rows))
    }

    /// It is refused.
    #[must_use]
    pub fn refuse(refusal: Refusal) -> Self {
        Self::of(Verdict::Refuse(refusal))
    }

    /// The verdict holds for other calls, too; without it, for this one only.
    #[must_use]
    pub fn for_all(mut self, memo: Memo) -> Self {
        self.memo = memo;
        self
    }

    /// Whether the statement goes on as it is.
    #[must_use]
    pub fn is_pass(&self) -> bool {
        matches!(self.verdict, Verdict::Pass)
    }

    /// The changes, if that is the verdict.
    #[must_use]
    pub fn changes(&self) -> Option<&Changes> {
        if let Verdict::Change(changes) = &self.verdict { Some(changes) } else { None }
    }

    /// The refusal, if that is the verdict.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        if let Verdict::Refuse(refusal) = &self.verdict { Some(refusal) } else { None }
    }
}

impl Changes {
    /// No change yet.
    #[must_use]
    pub fn new() -> Self {
        Self { rewrite: None, route: None, tags: Vec::new(), caching: None }
    }

    /// Another text, with the client's parameters.
    #[must_use]
    pub fn rewrite(mut self, sql: impl Into<String>) -> Self {
        self.rewrite = Some(Rewrite { sql: sql.into(), params: None });
        self
    }

    /// Another text with other parameters.
    #[must_use]
    pub fn rewrite_with(mut self, sql: impl Into<String>, params: Vec<Parameter>) -> Self {
        self.rewrite = Some(Rewrite { sql: sql.into(), params: Some(params) });
        self
    }

    /// Where it goes.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.route = Some(route);
        self
    }

    /// One more tag that its result depends on.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<Tag>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Its result is cached for at most so long.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.caching = Some(Caching::TtlMs(milliseconds(ttl)));
        self
    }

    /// Its result is neither read from the cache nor kept there.
    #[must_use]
    pub fn bypass_cache(mut self) -> Self {
        self.caching = Some(Caching::Bypass);
        self
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self::new()
    }
}

impl Refusal {
    /// Five digits or capital letters, and what happened.
    #[must_use]
    pub fn new(sqlstate: impl Into<String>, message: impl Into<String>) -> Self {
        Self { sqlstate: sqlstate.into(), message: message.into(), hint: None }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Rows {
    /// No rows yet of these columns.
    #[must_use]
    pub fn new<const N: usize>(columns: [&str; N]) -> Self {
        Self { columns: columns.map(str::to_owned).to_vec(), rows: Vec::new() }
    }

    /// One more row, with as many values as there are columns; `None` is `NULL`.
    #[must_use]
    pub fn row<const N: usize>(mut self, values: [Option<&str>; N]) -> Self {
        self.rows.push(values.map(|value| value.map(str::to_owned)).to_vec());
        self
    }

    /// The values of a column that are not `NULL`.
    pub fn column(&self, index: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().filter_map(move |row| row.get(index)?.as_deref())
    }
}

impl Value {
    /// Its text form; none for `NULL` and for binary values.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The text form of a value that is known to be an integer or a text: drivers may send integers in binary form, in 2, 4
    /// or 8 bytes. None for `NULL` and for anything else in binary form.
    #[must_use]
    pub fn to_id(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Text(text) => Some(text.clone()),
            Self::Binary(bytes) => match bytes.len() {
                2 => bytes.as_slice().try_into().ok().map(|bytes| i16::from_be_bytes(bytes).to_string()),
                4 => bytes.as_slice().try_into().ok().map(|bytes| i32::from_be_bytes(bytes).to_string()),
                8 => bytes.as_slice().try_into().ok().map(|bytes| i64::from_be_bytes(bytes).to_string()),
                _ => None,
            },
        }
    }
}

impl Parameter {
    /// A value in text form, whose type PostgreSQL finds out.
    #[must_use]
    pub fn text(value: impl Into<String>) -> Self {
        Self { type_oid: 0, value: Value::Text(value.into()) }
    }

    /// The text form of an integer or a text, in whatever form it was sent, if the parameter's type proves that it is one. None
    /// for `NULL` and for anything else in binary form. Stricter than [`Value::to_id`]: the same bytes are a number to one type
    /// and a text to another.
    #[must_use]
    pub fn to_id(&self) -> Option<String> {
        match (self.type_oid, &self.value) {
            // int8, int2, int4.
            (20 | 21 | 23, value) => value.to_id(),
            // text, bpchar, varchar.
            (25 | 1042 | 1043, Value::Binary(bytes)) => String::from_utf8(bytes.clone()).ok(),
            (_, value) => value.as_text().map(str::to_owned),
        }
    }
}

impl Relation {
    /// Whether it is this one: `name`, in any schema, or `schema.name`, which a name without a schema may mean, too.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        match name.rsplit_once('.') {
            None => self.name == name,
            Some((schema, name)) => {
                self.name == name && self.schema.as_deref().is_none_or(|mine| mine == schema)
            }
        }
    }
}

impl StoreVerdict {
    /// The entry is kept with further tags.
    #[must_use]
    pub fn tags(tags: impl IntoIterator<Item = impl Into<Tag>>) -> Self {
        Self::Change(Storing { tags: tags.into_iter().map(Into::into).collect(), ttl_ms: None })
    }

    /// The entry is kept for at most so long.
    #[must_use]
    pub fn ttl(ttl: Duration) -> Self {
        Self::Change(Storing { tags: Vec::new(), ttl_ms: Some(milliseconds(ttl)) })
    }
}

impl RowChange {
    /// Every value that a column has before or after, in the order of before and after.
    pub fn values_of(&self, column: &str) -> impl Iterator<Item = &Value> {
        let columns = self.before.iter().chain(&self.after);
        columns.filter(move |found| found.name == column).map(|found| &found.value)
    }
}

impl ConnectVerdict {
    /// The client may go on, with these settings.
    #[must_use]
    pub fn allow<const N: usize>(settings: [(&str, &str); N]) -> Self {
        let setting =
            |(name, value): (&str, &str)| Setting { name: name.to_owned(), value: value.to_owned() };
        Self::Allow(settings.map(setting).to_vec())
    }
}

impl Wants {
    /// Changes of these tables, each `schema.table`, with the values of their columns.
    #[must_use]
    pub fn values_of<const N: usize>(tables: [&str; N]) -> Self {
        Self { changes_of: tables.map(str::to_owned).to_vec(), values: true }
    }
}

pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
