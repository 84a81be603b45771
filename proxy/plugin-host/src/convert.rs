//! From the contract's types to ours and back. What a plugin answers is checked here, and nowhere else.

use std::time::Duration;

use crate::bindings::exports::pointsman::plugin::{on_change, on_connect, on_query, on_store, on_write};
use crate::bindings::pointsman::plugin::{kv, lookup, statement, types};
use crate::call;
use crate::error::CallError;
use crate::kv::KvError;
use crate::lookup::LookupError;
use crate::verdict::{
    Caching, Changes, ConnectVerdict, Memo, Refusal, Rewrite, Route, Rows, StoreVerdict, Verdict,
};

/// The longest tag, in bytes.
const TAG_BYTES_MAX: usize = 1024;

/// The most columns that PostgreSQL's messages can count.
const COLUMNS_MAX: usize = 1664;

type Checked<T> = Result<T, CallError>;

fn forbidden<T>(what: impl Into<String>) -> Checked<T> {
    Err(CallError::Contract(what.into()))
}

/// Text that can stand in PostgreSQL's messages.
fn text(text: String, what: &str) -> Checked<String> {
    if text.contains('\0') { forbidden(format!("{what} contains a NUL")) } else { Ok(text) }
}

pub(crate) fn tags(tags: Vec<String>) -> Checked<Vec<String>> {
    match tags.iter().find(|tag| tag.is_empty() || tag.len() > TAG_BYTES_MAX) {
        Some(tag) => forbidden(format!("a tag has {} bytes, not 1 to {TAG_BYTES_MAX}", tag.len())),
        None => Ok(tags),
    }
}

fn refusal(told: types::Refusal) -> Checked<Refusal> {
    let sqlstate = told.sqlstate;
    let shaped =
        sqlstate.len() == 5 && sqlstate.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    if !shaped || ["00", "01", "02"].iter().any(|class| sqlstate.starts_with(class)) {
        return forbidden(format!("`{}` is no SQLSTATE of an error", sqlstate.escape_debug()));
    }
    if told.message.is_empty() {
        return forbidden("a refusal has no message");
    }
    Ok(Refusal {
        sqlstate,
        message: text(told.message, "a refusal's message")?,
        hint: told.hint.map(|hint| text(hint, "a refusal's hint")).transpose()?,
    })
}

fn rows(told: types::Rows) -> Checked<Rows> {
    let width = told.columns.len();
    if width > COLUMNS_MAX {
        return forbidden(format!("an answer has {width} columns, at most {COLUMNS_MAX} are possible"));
    }
    if let Some(row) = told.rows.iter().find(|row| row.len() != width) {
        return forbidden(format!("a row has {} values for {width} columns", row.len()));
    }
    let values = told.rows.iter().flatten().flatten();
    if told.columns.iter().chain(values).any(|value| value.contains('\0')) {
        return forbidden("an answer contains a NUL");
    }
    Ok(Rows { columns: told.columns, rows: told.rows })
}

fn parameter(told: types::Parameter) -> Checked<call::Parameter> {
    let value = match told.value {
        types::Value::Null => call::Value::Null,
        types::Value::Text(value) => call::Value::Text(text(value, "a parameter")?),
        types::Value::Binary(bytes) => call::Value::Binary(bytes),
    };
    Ok(call::Parameter { type_oid: told.type_oid, value })
}

fn rewrite(told: on_query::Rewrite) -> Checked<Rewrite> {
    let params = told.params.map(|params| params.into_iter().map(parameter).collect()).transpose()?;
    Ok(Rewrite { sql: text(told.sql, "a rewritten text")?, params })
}

fn changes(told: on_query::Changes) -> Checked<Changes> {
    Ok(Changes {
        rewrite: told.rewrite.map(rewrite).transpose()?,
        route: told.route.map(|route| match route {
            on_query::Route::Primary => Route::Primary,
            on_query::Route::Replica => Route::Replica,
            on_query::Route::Shard(number) => Route::Shard(number),
        }),
        tags: tags(told.tags)?,
        caching: told.caching.map(|caching| match caching {
            on_query::Caching::Bypass => Caching::Bypass,
            on_query::Caching::TtlMs(ms) => Caching::Ttl(Duration::from_millis(ms)),
        }),
    })
}

pub(crate) fn outcome(told: on_query::Outcome) -> Checked<(Verdict, Memo)> {
    let verdict = match told.verdict {
        on_query::Verdict::Pass => Verdict::Pass,
        on_query::Verdict::Change(told) => Verdict::Change(changes(told)?),
        on_query::Verdict::Answer(told) => Verdict::Answer(rows(told)?),
        on_query::Verdict::Refuse(told) => Verdict::Refuse(refusal(told)?),
    };
    let memo = match told.memo {
        on_query::Memo::Call => Memo::Call,
        on_query::Memo::TemplateAndIdentity => Memo::TemplateAndIdentity,
        on_query::Memo::Template => Memo::Template,
    };
    Ok((verdict, memo))
}

pub(crate) fn stored(told: on_store::StoreVerdict) -> Checked<StoreVerdict> {
    Ok(match told {
        on_store::StoreVerdict::Keep => StoreVerdict::Keep { tags: Vec::new(), ttl: None },
        on_store::StoreVerdict::Veto => StoreVerdict::Veto,
        on_store::StoreVerdict::Change(storing) => {
            StoreVerdict::Keep { tags: tags(storing.tags)?, ttl: storing.ttl_ms.map(Duration::from_millis) }
        }
    })
}

pub(crate) fn connected(told: on_connect::ConnectVerdict) -> Checked<ConnectVerdict> {
    match told {
        on_connect::ConnectVerdict::Refuse(told) => Ok(ConnectVerdict::Refuse(refusal(told)?)),
        on_connect::ConnectVerdict::Allow(settings) => {
            let setting = |setting: on_connect::Setting| {
                if setting.name.is_empty() {
                    return forbidden("a setting has no name");
                }
                Ok((text(setting.name, "a setting's name")?, text(setting.value, "a setting")?))
            };
            Ok(ConnectVerdict::Allow(settings.into_iter().map(setting).collect::<Checked<_>>()?))
        }
    }
}

impl From<call::StatementKind> for types::StatementKind {
    fn from(kind: call::StatementKind) -> Self {
        use call::StatementKind as Ours;
        match kind {
            Ours::Select => Self::Select,
            Ours::Insert => Self::Insert,
            Ours::Update => Self::Update,
            Ours::Delete => Self::Delete,
            Ours::Merge => Self::Merge,
            Ours::CopyFrom => Self::CopyFrom,
            Ours::CopyTo => Self::CopyTo,
            Ours::Call => Self::Call,
            Ours::Transaction => Self::Transaction,
            Ours::Setting => Self::Setting,
            Ours::Prepared => Self::Prepared,
            Ours::Cursor => Self::Cursor,
            Ours::Notification => Self::Notification,
            Ours::Explain => Self::Explain,
            Ours::Definition => Self::Definition,
            Ours::Several => Self::Several,
            Ours::Other => Self::Other,
        }
    }
}

impl From<call::Value> for types::Value {
    fn from(value: call::Value) -> Self {
        match value {
            call::Value::Null => Self::Null,
            call::Value::Text(text) => Self::Text(text),
            call::Value::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

impl From<call::Parameter> for types::Parameter {
    fn from(parameter: call::Parameter) -> Self {
        Self { type_oid: parameter.type_oid, value: parameter.value.into() }
    }
}

impl From<call::Relation> for types::Relation {
    fn from(relation: call::Relation) -> Self {
        Self { schema: relation.schema, name: relation.name, written: relation.written }
    }
}

impl From<call::Constant> for statement::Constant {
    fn from(constant: call::Constant) -> Self {
        let kind = match constant.kind {
            call::ConstantKind::Text => statement::ConstantKind::Text,
            call::ConstantKind::Integer => statement::ConstantKind::Integer,
            call::ConstantKind::Number => statement::ConstantKind::Number,
            call::ConstantKind::Bits => statement::ConstantKind::Bits,
        };
        Self { kind, text: constant.text }
    }
}

impl From<Rows> for types::Rows {
    fn from(rows: Rows) -> Self {
        Self { columns: rows.columns, rows: rows.rows }
    }
}

impl From<LookupError> for lookup::LookupError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Refused(why) => Self::Refused(why),
            LookupError::Deadline => Self::Deadline,
            LookupError::TooLarge => Self::TooLarge,
            LookupError::Failed { sqlstate, message } => Self::Failed(lookup::SqlError { sqlstate, message }),
            LookupError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

impl From<KvError> for kv::KvError {
    fn from(error: KvError) -> Self {
        match error {
            KvError::TooLarge => Self::TooLarge,
            KvError::NotANumber => Self::NotANumber,
            KvError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

impl From<&call::QueryCall> for on_query::Query {
    fn from(call: &call::QueryCall) -> Self {
        Self {
            kind: call.kind.into(),
            template: call.template,
            read_only: call.read_only,
            in_transaction: call.in_transaction,
            params: call.params,
            literals: call.literals,
        }
    }
}

impl From<&call::WriteCall> for on_write::Written {
    fn from(call: &call::WriteCall) -> Self {
        Self { kind: call.kind.into(), template: call.template, rows: call.rows, lsn: call.lsn }
    }
}

impl From<&call::StoreCall> for on_store::Entry {
    fn from(call: &call::StoreCall) -> Self {
        Self { key: call.key.clone(), tags: call.tags.clone(), size: call.size, ttl_ms: call.ttl_ms }
    }
}

impl From<call::ChangeCall> for on_change::Batch {
    fn from(call: call::ChangeCall) -> Self {
        let changes = call.changes.into_iter().map(Into::into).collect();
        Self { database: call.database, lsn: call.lsn, changes }
    }
}

impl From<call::RowChange> for on_change::RowChange {
    fn from(change: call::RowChange) -> Self {
        let operation = match change.operation {
            call::Operation::Insert => on_change::Operation::Insert,
            call::Operation::Update => on_change::Operation::Update,
            call::Operation::Delete => on_change::Operation::Delete,
            call::Operation::Truncate => on_change::Operation::Truncate,
        };
        let columns = |columns: Vec<(String, call::Value)>| {
            let column =
                |(name, value): (String, call::Value)| on_change::Column { name, value: value.into() };
            columns.into_iter().map(column).collect()
        };
        Self {
            schema: change.schema,
            table: change.table,
            operation,
            before: columns(change.before),
            after: columns(change.after),
        }
    }
}
