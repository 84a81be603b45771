//! A statement and a session, as plugins see them: what a plugin does not ask for is not made.

use std::sync::Arc;

use bytes::Bytes;
use pointsman_plugin_host::{
    Constant, ConstantKind, Identity, Parameter, Refusal, Relation, Session, Statement, StatementKind, Value,
};
use pointsman_policy::{Access, tags};
use pointsman_shards::Values;
use pointsman_sql::{
    ClientEncoding, Facts, KeyValue, Kind, LexRules, Literal, LiteralKind, ValueRef, literal_value,
};
use pointsman_wire::frontend::BindParameters;

use crate::fault::Fault;
use crate::session::judge::{Judged, with_text};
use crate::upstream::settings::{Interned, Value as Setting};

/// A statement that is about to be performed, or was.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The text.
    pub sql: Bytes,
    /// The rules that it is read by.
    pub rules: LexRules,
    /// What is known of it.
    pub facts: Arc<Facts>,
    /// Of `EXECUTE`: what is known of the statement that it executes, if that is known.
    pub body: Option<Arc<Facts>>,
    /// The values of its parameters as `Bind` has them after its names; empty if there are none.
    pub bound: Bytes,
    /// The types of its parameters, as far as they are known; 0 where they are not.
    pub types: Vec<u32>,
    /// How many literals it has.
    pub literals: u32,
}

impl Asked {
    /// A text without parameters.
    pub fn of_text(sql: &[u8], rules: LexRules, judged: &Judged) -> Self {
        Self {
            sql: Bytes::copy_from_slice(sql),
            rules,
            facts: Arc::clone(&judged.facts),
            body: None,
            bound: Bytes::new(),
            types: Vec::new(),
            literals: judged.literals,
        }
    }

    /// How many parameters it has.
    pub fn params(&self) -> u32 {
        BindParameters::count(&self.bound).map_or(0, u32::from)
    }

    /// The same for all texts that differ in literals, white space and comments only.
    pub fn template(&self) -> u64 {
        let high = self.facts.shape >> 64;
        u64::try_from(high).unwrap_or(u64::MAX)
    }

    /// Whether texts can be told to the client in its encoding.
    pub fn fits<'t>(&self, mut texts: impl Iterator<Item = &'t str>) -> bool {
        self.rules.encoding == ClientEncoding::Utf8 || texts.all(str::is_ascii)
    }

    /// The whole number that was bound to `$number`.
    pub fn integer(&self, number: u32) -> Option<i64> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.parameters()?.integer(index)
    }

    fn parameters(&self) -> Option<BindParameters<'_>> {
        if self.bound.is_empty() { None } else { BindParameters::decode(&self.bound).ok() }
    }

    /// What a value of the text stands for; `None` if that cannot be told.
    fn value(&self, value: ValueRef, literals: &[Literal]) -> Option<Value> {
        match value {
            ValueRef::Param(number) => {
                let index = usize::try_from(number).ok()?.checked_sub(1)?;
                self.parameter(index).map(|parameter| parameter.value)
            }
            ValueRef::Null => Some(Value::Null),
            ValueRef::Default | ValueRef::Other => None,
            _ => {
                let utf8 = self.rules.encoding == ClientEncoding::Utf8;
                let values = Values { sql: &self.sql, literals, parameters: None, types: &[], utf8 };
                let text = values.literal(value)?.into_owned();
                String::from_utf8(text).ok().map(Value::Text)
            }
        }
    }

    fn parameter(&self, index: usize) -> Option<Parameter> {
        let bound = self.parameters()?;
        let value = match *bound.values.get(index)? {
            None => Value::Null,
            Some(bytes) if bound.format(index) != 0 => Value::Binary(bytes.to_vec()),
            Some(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Value::Text(text.to_owned()),
                Err(_) => Value::Binary(bytes.to_vec()),
            },
        };
        Some(Parameter { type_oid: self.types.get(index).copied().unwrap_or(0), value })
    }

    /// The values that the statement gives or compares a column with; `None`: they are not all in its text. Only of a relation that
    /// it names once; of a write, of the one that it writes.
    fn pinned_values(&self, table: &str, column: &str) -> Option<Vec<ValueRef>> {
        let statement = self.facts.single().filter(|statement| statement.keys.known)?;
        let named = |list: &[pointsman_sql::Relation]| list.iter().filter(|one| names(table, one)).count();
        let (keys, reads, writes) = (&statement.keys, named(&statement.reads), named(&statement.writes));
        let once = match statement.writes.len() {
            0 => reads == 1,
            // What `RETURNING` or the condition names of it is the row itself.
            1 => writes == 1 && statement.reads.len() == reads,
            _ => false,
        };
        let changed = keys.set_targets.iter().any(|target| &**target == column);
        if !once || changed || named(&statement.repeated) > 0 {
            return None;
        }
        if let Some(insert) = &keys.insert {
            let at = insert.columns.iter().position(|named| &**named == column)?;
            let whole = insert.row_count > 0 && insert.rows.len() == insert.row_count && !insert.on_conflict;
            return whole.then(|| insert.rows.iter().map(|row| row.get(at).copied()).collect())?;
        }
        let alone = statement.reads.len() + statement.writes.len() == 1;
        let mut found = keys.predicates.iter().filter(|predicate| {
            let of_it = predicate.relation.as_ref().map_or(alone, |relation| names(table, relation));
            of_it && &*predicate.column == column
        });
        // Any one of them bounds the rows; the first does as well as another.
        match &found.next()?.value {
            KeyValue::Eq(value) => Some(vec![*value]),
            KeyValue::In(values) => Some(values.clone()),
            KeyValue::AnyArray(_) => None,
        }
    }
}

/// Whether `table`, with or without a schema, is what this relation is called.
fn names(table: &str, relation: &pointsman_sql::Relation) -> bool {
    match (table.rsplit_once('.'), &relation.schema) {
        (Some((schema, name)), Some(own)) => schema == &**own && name == &*relation.name,
        (Some((_, name)), None) => name == &*relation.name,
        (None, _) => table == &*relation.name,
    }
}

impl Statement for Asked {
    fn sql(&self) -> String {
        String::from_utf8_lossy(&self.sql).into_owned()
    }

    fn relations(&self) -> Vec<Relation> {
        let mut relations: Vec<Relation> = Vec::new();
        let executed = self.body.iter().flat_map(|body| &body.statements);
        for statement in self.facts.statements.iter().chain(executed) {
            let written = statement.writes.iter().map(|relation| (relation, true));
            for (relation, written) in written.chain(statement.reads.iter().map(|one| (one, false))) {
                let schema = relation.schema.as_deref().map(str::to_owned);
                let known = relations.iter().any(|one| one.name == *relation.name && one.schema == schema);
                if !known {
                    relations.push(Relation { schema, name: relation.name.to_string(), written });
                }
            }
        }
        relations
    }

    fn literal(&self, index: usize) -> Option<Constant> {
        with_text(&self.sql, self.rules, |literals, _| {
            let literal = literals.get(index)?;
            let kind = match literal.kind {
                LiteralKind::Integer => ConstantKind::Integer,
                LiteralKind::Number => ConstantKind::Number,
                LiteralKind::BitString => ConstantKind::Bits,
                _ => ConstantKind::Text,
            };
            let raw = || std::str::from_utf8(literal.raw(&self.sql)).ok().map(str::to_owned);
            let text = literal_value(&self.sql, literal);
            Some(Constant { kind, text: if kind == ConstantKind::Bits { raw()? } else { text? } })
        })
    }

    fn param(&self, index: usize) -> Option<Parameter> {
        self.parameter(index)
    }

    fn pinned(&self, table: &str, column: &str) -> Option<Vec<Value>> {
        let values = self.pinned_values(table, column)?;
        with_text(&self.sql, self.rules, |literals, _| {
            values.iter().map(|value| self.value(*value, literals)).collect()
        })
    }

    fn comment(&self, key: &str) -> Option<String> {
        tags(&self.sql, self.rules).find(|(known, _)| known == key).map(|(_, value)| value)
    }
}

/// Whether a rewritten text may stand in the place of a statement that may do so much; else why not.
pub fn stands(rewritten: &Judged, statement: Access) -> Result<(), String> {
    if let Some(doubt) = rewritten.facts.doubt {
        return Err(format!("its rewrite is not understood: {doubt}"));
    }
    if rewritten.facts.single().is_none() {
        return Err("its rewrite is not one statement".to_owned());
    }
    let now = rewritten.verdict.class.access;
    let same = match statement {
        Access::Session => now == Access::Session,
        Access::Read | Access::PrimaryRead => matches!(now, Access::Read | Access::PrimaryRead),
        Access::Write => now != Access::Session,
    };
    if same {
        return Ok(());
    }
    Err(format!("its rewrite is {}, and the client's statement is {}", told(now), told(statement)))
}

fn told(access: Access) -> &'static str {
    match access {
        Access::Session => "one about the session",
        Access::Read | Access::PrimaryRead => "a read",
        Access::Write => "a write",
    }
}

/// What kind a text is, for plugins.
pub fn kind(facts: &Facts) -> StatementKind {
    let first = match facts.statements.as_slice() {
        [] => return StatementKind::Other,
        [one] => one,
        _ => return StatementKind::Several,
    };
    match &first.kind {
        Kind::Select | Kind::Values => StatementKind::Select,
        Kind::Insert => StatementKind::Insert,
        Kind::Update => StatementKind::Update,
        Kind::Delete => StatementKind::Delete,
        Kind::Merge => StatementKind::Merge,
        Kind::CopyFrom(_) => StatementKind::CopyFrom,
        Kind::CopyTo(_) => StatementKind::CopyTo,
        Kind::Call | Kind::Do => StatementKind::Call,
        Kind::PrepareTransaction | Kind::CommitPrepared | Kind::RollbackPrepared => {
            StatementKind::Transaction
        }
        kind if kind.steers_transaction() => StatementKind::Transaction,
        kind if kind.sets() => StatementKind::Setting,
        Kind::Discard(_) | Kind::Show(_) => StatementKind::Setting,
        Kind::Prepare(_) | Kind::Execute(_) | Kind::Deallocate(_) => StatementKind::Prepared,
        Kind::DeclareCursor { .. } | Kind::Fetch | Kind::Move | Kind::CloseCursor(_) => StatementKind::Cursor,
        Kind::Listen(_) | Kind::Unlisten(_) | Kind::Notify => StatementKind::Notification,
        Kind::Explain { .. } => StatementKind::Explain,
        Kind::Ddl => StatementKind::Definition,
        // `TRUNCATE`.
        Kind::Other if !first.writes.is_empty() => StatementKind::Definition,
        _ => StatementKind::Other,
    }
}

/// What the client is told of a plugin's refusal.
pub fn refused(refusal: &Refusal) -> Fault {
    Fault::ruled(&pointsman_policy::Refusal {
        sqlstate: refusal.sqlstate.as_str().into(),
        message: refusal.message.as_str().into(),
        hint: refusal.hint.as_deref().map(Into::into),
    })
}

/// A session that asks.
#[derive(Debug)]
pub struct Asking {
    /// Who it is.
    pub identity: Identity,
    /// Its settings.
    pub settings: Interned,
}

impl Session for Asking {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.settings.0.get(&name.to_ascii_lowercase()).and_then(Setting::told)
    }
}

#[cfg(test)]
mod tests;
