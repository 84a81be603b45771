//! Ids in statements: `pointsman.next_id()`, `pointsman.shard_of(key)` and declared `id` columns become plain values before a statement
//! is judged. In a simple query these are literals. A statement that is prepared gets parameters after the client's own, of which the
//! client hears nothing: every `Bind` brings values for them (`filled`).

use std::borrow::Cow;
use std::sync::Arc;

use pointsman_shards::Placement;
use pointsman_shards::function::{Function, KeyError};
use pointsman_shards::key::{Key, KeyType};
use pointsman_shards::next_ids::{
    Called, Fill, Filled, IdColumn, calls, fill, inserts_within, target, with_shards,
};
use pointsman_shards::plan::{Refusal, Why};
use pointsman_shards::values::Values;
use pointsman_sql::{Kind, Relation, Statement, ValueRef, quote_literal, split};
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::Query;

use super::super::cached::Execution;
use super::super::judge::{Judged, Verdict, with_text};
use super::super::{Session, message};
use crate::fault::Fault;
use crate::transport::buffer::Buffer;

/// A declared column for ids, by its name and its place among the table's.
type Column = (Box<str>, Option<usize>);

/// How the calls of `pointsman.shard_of` are found.
pub(super) struct ShardOf {
    pub(super) function: Arc<Function>,
    pub(super) kind: KeyType,
    pub(super) shards: usize,
}

impl Session {
    /// Replaces the `Query` at the front of the inbox, if it needs ids, by one that has them. Returns the header of what is
    /// there then.
    pub(in crate::session) async fn fill_query(
        &mut self,
        header: Header,
        judged: &Judged,
    ) -> Result<Option<Header>, Fault> {
        let body = self.io.from_client.bytes().get(5..header.frame_len()).unwrap_or_default();
        let Ok(Query { sql }) = Query::decode(body) else { return Ok(None) };
        if !self.may_need_ids(&judged.verdict) {
            return Ok(None);
        }
        let Ok(text) = std::str::from_utf8(sql).map(str::to_owned) else { return Ok(None) };
        if self.shared.account.database.is_catalog_awaited() {
            self.await_catalog().await;
        }
        let Some(filled) = self.with_literals(&text).await? else {
            self.note_no_ids(&judged.verdict);
            return Ok(None);
        };
        let mut replaced = Buffer::default();
        message::query(&mut replaced, filled.as_bytes());
        Ok(self.replace_front(header.frame_len(), replaced))
    }

    /// Puts this in the place of so many bytes at the front of the inbox.
    pub(in crate::session) fn replace_front(&mut self, len: usize, mut by: Buffer) -> Option<Header> {
        let now = Header::peek(by.bytes()).ok().flatten()?;
        self.io.from_client.consume(len);
        by.extend(self.io.from_client.bytes());
        self.io.from_client = by;
        Some(now)
    }

    /// Whether it is not known that texts of this template need no ids.
    pub(in crate::session) fn may_need_ids(&self, verdict: &Verdict) -> bool {
        !verdict.planned().needs_no_ids(self.shared.policies.load().set.version())
    }

    pub(super) fn note_no_ids(&self, verdict: &Verdict) {
        verdict.planned().note_no_ids(self.shared.policies.load().set.version());
    }

    /// The text of a simple query with everything in it; `None`: it needs nothing.
    async fn with_literals(&mut self, text: &str) -> Result<Option<String>, Fault> {
        let shown = self.with_shard_numbers(text)?;
        let whole = shown.as_deref().unwrap_or(text);
        let (mut out, mut done, mut changed) = (String::new(), 0, shown.is_some());
        for range in split(whole.as_bytes(), self.wants.rules()).unwrap_or_default() {
            let one = &whole[range.clone()];
            let Some(column) = self.needs(one)? else { continue };
            // How many ids there are to be, and whether there can be any.
            let Some(counted) = self.fill_with(one, column.as_ref(), Fill::Parameters(1))? else { continue };
            let mut ids = self.draw(counted.added).await?.into_iter();
            let mut next = || ids.next().unwrap_or_default();
            let Some(filled) = self.fill_with(one, column.as_ref(), Fill::Ids(&mut next))? else { continue };
            out.push_str(&whole[done..range.start]);
            out.push_str(&filled.text);
            (done, changed) = (range.end, true);
        }
        out.push_str(&whole[done..]);
        Ok(changed.then_some(out))
    }

    /// Ids, each greater than the one before.
    pub(super) async fn draw(&mut self, count: u32) -> Result<Vec<i64>, Fault> {
        let Some(maker) = self.shards.as_ref().map(|shards| Arc::clone(&shards.group.ids)) else {
            return Ok(Vec::new());
        };
        maker.draw(usize::try_from(count).unwrap_or(usize::MAX)).await
    }

    /// Fills one statement.
    pub(super) fn fill_with(
        &self,
        text: &str,
        column: Option<&Column>,
        with: Fill<'_>,
    ) -> Result<Option<Filled>, Fault> {
        let column = column.map(|(name, place)| IdColumn { name, place: *place });
        fill(text, column, with).map_err(|refusal| refused(&refusal))
    }

    /// What one statement needs: `None` nothing, else ids for its calls and for the declared column of the table that it writes to.
    pub(super) fn needs(&self, text: &str) -> Result<Option<Option<Column>>, Fault> {
        let judged = self.judged(text.as_bytes());
        let Some(statement) = judged.facts.single() else { return Ok(None) };
        let asks = calls(text).iter().any(|call| call.of == Called::NextId);
        if inserts_within(text)
            && let Some(table) = statement.writes.iter().find(|table| self.id_column(table).is_some())
        {
            return Err(not_here(format!(
                "{}, to which an INSERT inside of another statement writes",
                table.name
            )));
        }
        let table = target(text);
        match &statement.kind {
            Kind::Insert => {
                let column = table.as_ref().and_then(|table| self.id_column(table));
                Ok((asks || column.is_some()).then_some(column))
            }
            Kind::Select | Kind::Values => Ok(asks.then_some(None)),
            Kind::Prepare(_) => self.may_be_prepared(text, asks, table.as_ref()),
            _ if asks => {
                Err(not_here(format!("{}, which is no INSERT and no SELECT", verb(statement, text))))
            }
            _ => Ok(None),
        }
    }

    /// A statement of SQL's `PREPARE` would have the same ids in every execution.
    fn may_be_prepared(
        &self,
        text: &str,
        asks: bool,
        table: Option<&Relation>,
    ) -> Result<Option<Option<Column>>, Fault> {
        let column = table.and_then(|table| self.id_column(table));
        let needs = asks
            || matches!(self.fill_with(text, column.as_ref(), Fill::Parameters(1)), Ok(Some(_)) | Err(_));
        match needs {
            true => Err(not_here("PREPARE, whose executions would have the same ids")),
            false => Ok(None),
        }
    }

    /// The declared column for ids of a table.
    fn id_column(&self, table: &Relation) -> Option<Column> {
        let policies = self.shared.policies.load();
        let Placement::Sharded(sharded) = policies.set.tables().placement(table) else { return None };
        let name = sharded.id.clone()?;
        let columns = self.shared.account.database.catalog().columns(table);
        let place = columns.and_then(|columns| columns.iter().position(|column| column.name == name));
        Some((name, place))
    }

    /// The text with the numbers of shards for keys that are literals.
    fn with_shard_numbers(&self, text: &str) -> Result<Option<String>, Fault> {
        with_text(text.as_bytes(), self.wants.rules(), |literals, _| {
            let asked = Execution::of_text(text.as_bytes());
            let values = self.values(&asked, literals);
            with_shards(text, |argument, value| self.shard_of()?.number(argument, value, &values))
        })
    }

    /// How keys are placed, if all sharded tables agree.
    pub(super) fn shard_of(&self) -> Result<ShardOf, Fault> {
        let policies = self.shared.policies.load();
        let tables = policies.set.tables();
        let catalog = self.shared.account.database.catalog();
        let mut function: Option<&Arc<Function>> = None;
        let mut kind: Option<KeyType> = None;
        for (pattern, sharded) in tables.sharded() {
            if function.is_some_and(|function| *function != sharded.function) {
                return Err(no_function("the sharded tables have different functions"));
            }
            function = Some(&sharded.function);
            let Some([column]) = sharded.keys.first().map(|key| &**key) else {
                return Err(no_function("a shard key has several columns"));
            };
            let columns = pattern.relation().and_then(|table| catalog.columns(&table));
            let known = columns.and_then(|columns| {
                let column = columns.iter().find(|known| known.name == *column)?;
                KeyType::of_oid(column.type_oid)
            });
            match (kind, known.map(wide)) {
                (Some(one), Some(other)) if one != other => {
                    return Err(no_function("the shard keys have different types"));
                }
                (None, known) => kind = known,
                _ => {}
            }
        }
        let function = function.ok_or_else(|| no_function("no table is sharded"))?;
        let kind = kind.or((**function == Function::Modulo).then_some(KeyType::Int8));
        Ok(ShardOf {
            kind: kind.ok_or_else(|| no_function("the types of the shard keys are not known"))?,
            function: Arc::clone(function),
            shards: self.shards.as_ref().map_or(1, |shards| shards.len()),
        })
    }
}

impl ShardOf {
    /// The number of a key's shard, as it stands in a text.
    pub(super) fn number(
        &self,
        argument: &str,
        value: ValueRef,
        values: &Values<'_>,
    ) -> Result<String, Fault> {
        let key = values.key(value, self.kind).ok_or_else(|| unclear(argument))?;
        Ok(match self.shard(&key)? {
            Some(shard) => format!("{shard}::int"),
            None => "NULL::int".to_owned(),
        })
    }

    /// A key's shard; of NULL, none.
    pub(super) fn shard(&self, key: &Key<'_>) -> Result<Option<usize>, Fault> {
        if *key == Key::Null {
            return Ok(None);
        }
        let told = |error: KeyError| {
            let mut fault = Fault::client("23514", error.to_string()).hint(error.hint());
            fault.sqlstate = Cow::Borrowed(error.sqlstate());
            fault
        };
        self.function.shard(std::slice::from_ref(key), self.shards).map(Some).map_err(told)
    }

    /// What SQL calls the keys' type.
    pub(super) fn type_name(&self) -> &'static str {
        match self.kind {
            KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => "bigint",
            KeyType::Text | KeyType::Varchar => "text",
            KeyType::Uuid => "uuid",
            KeyType::Bytea => "bytea",
            KeyType::Date => "date",
            KeyType::Timestamp => "timestamp",
            KeyType::TimestampTz => "timestamptz",
        }
    }
}

/// The type of all keys that are placed alike.
fn wide(kind: KeyType) -> KeyType {
    match kind {
        kind if kind.is_integer() => KeyType::Int8,
        kind if kind.is_text() => KeyType::Text,
        kind => kind,
    }
}

/// What a statement begins with.
fn verb(statement: &Statement, text: &str) -> String {
    let word = text.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty());
    word.map_or_else(|| format!("{:?}", statement.kind), str::to_ascii_uppercase)
}

fn refused(refusal: &Refusal) -> Fault {
    let Refusal { part, hint, why } = refusal;
    let told = match why {
        Why::Function => format!("ids cannot be made for {part}"),
        _ => format!("there is no place for an id: {part}"),
    };
    Fault::pointsman("0A000", told).hint(hint.clone())
}

fn not_here(part: impl Into<String>) -> Fault {
    Fault::pointsman("0A000", format!("ids cannot be made for {}", part.into()))
        .hint("Ask for ids first, with SELECT pointsman.next_id(), and pass them as values.")
}

pub(super) fn unclear(argument: &str) -> Fault {
    let told = format!("the shard of {} cannot be told", quote_literal(argument));
    Fault::pointsman("0A000", told)
        .hint("pointsman.shard_of takes a plain value of the shard key's type, or a parameter.")
}

fn no_function(why: &str) -> Fault {
    Fault::pointsman("0A000", format!("pointsman.shard_of has no function: {why}"))
        .hint("It answers where all sharded tables are declared with the same function, and keys of one column and one type.")
}
