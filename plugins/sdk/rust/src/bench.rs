//! A plugin's hooks under plain `cargo test`: no Wasm, and a world in memory that the test furnishes.
//!
//! The world belongs to the thread, as a test does. A [`Statement`] has the facts that the test gives it; nothing is parsed.
//! What Pointsman itself makes of a text is shown by fixtures and `pointsman plugin test`.

pub(crate) mod host;
mod world;

use std::time::Duration;

use crate::log::Level;
use crate::lookup::LookupError;
use crate::statement::{Constant, ConstantKind};
use crate::{
    Batch, ConnectVerdict, Entry, Exported, Outcome, Parameter, Plugin, Query, Relation, Rows, StatementKind,
    StoreVerdict, Tag, Value, Written,
};
pub use world::LoggedLine;
use world::Stage;

/// A statement with the facts that a test gives it.
#[derive(Debug, Clone)]
pub struct Statement {
    pub(crate) sql: String,
    pub(crate) kind: StatementKind,
    pub(crate) relations: Vec<Relation>,
    pub(crate) literals: Vec<Constant>,
    pub(crate) params: Vec<Parameter>,
    pub(crate) pinned: Vec<(String, String, Vec<Value>)>,
    pub(crate) comments: Vec<(String, String)>,
}

impl Statement {
    /// A text; its kind is what its first word says.
    #[must_use]
    pub fn new(sql: &str) -> Self {
        let word = sql.split_whitespace().next().unwrap_or("").to_ascii_lowercase();
        let kind = match word.as_str() {
            "select" | "values" | "table" | "with" => StatementKind::Select,
            "insert" => StatementKind::Insert,
            "update" => StatementKind::Update,
            "delete" => StatementKind::Delete,
            "merge" => StatementKind::Merge,
            _ => StatementKind::Other,
        };
        let sql = sql.to_owned();
        let (relations, literals, params) = (Vec::new(), Vec::new(), Vec::new());
        Self { sql, kind, relations, literals, params, pinned: Vec::new(), comments: Vec::new() }
    }

    /// Another kind than its first word says.
    #[must_use]
    pub fn kind(mut self, kind: StatementKind) -> Self {
        self.kind = kind;
        self
    }

    /// It reads a relation, `name` or `schema.name`.
    #[must_use]
    pub fn reads(self, name: &str) -> Self {
        self.relation(name, false)
    }

    /// It may change a relation's rows.
    #[must_use]
    pub fn writes(self, name: &str) -> Self {
        self.relation(name, true)
    }

    fn relation(mut self, name: &str, written: bool) -> Self {
        let (schema, name) = name.split_once('.').map_or((None, name), |(schema, name)| (Some(schema), name));
        self.relations.push(Relation { schema: schema.map(str::to_owned), name: name.to_owned(), written });
        self
    }

    /// Its next literal.
    #[must_use]
    pub fn literal(mut self, kind: ConstantKind, text: &str) -> Self {
        self.literals.push(Constant { kind, text: text.to_owned() });
        self
    }

    /// Its next parameter, in text form.
    #[must_use]
    pub fn param(mut self, value: &str) -> Self {
        self.params.push(Parameter::text(value));
        self
    }

    /// It pins a column to these values, in text form.
    #[must_use]
    pub fn pins<const N: usize>(mut self, table: &str, column: &str, values: [&str; N]) -> Self {
        let values = values.map(|value| Value::Text(value.to_owned())).to_vec();
        self.pinned.push((table.to_owned(), column.to_owned(), values));
        self
    }

    /// A `/*key='value'*/` comment.
    #[must_use]
    pub fn comment(mut self, key: &str, value: &str) -> Self {
        self.comments.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The same for texts that differ in their literals only is more than a test needs: the same for equal texts.
    fn template(&self) -> u64 {
        self.sql
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    fn query(&self) -> Query {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let writes = self.relations.iter().any(|relation| relation.written);
        Query {
            kind: self.kind,
            template: self.template(),
            read_only: self.kind == StatementKind::Select && !writes,
            in_transaction: false,
            params: number(self.params.len()),
            literals: number(self.literals.len()),
        }
    }
}

/// An instance of a plugin, and the world around it.
pub struct Bench<P: Plugin + Exported> {
    plugin: P,
}

impl<P: Plugin + Exported> Bench<P> {
    /// A new world with an instance of the plugin in it. `config` is JSON, `null` for none.
    ///
    /// # Errors
    /// What the plugin's `init` says.
    pub fn new(config: &str) -> Result<Self, String> {
        world::with(|world| *world = world::World::default());
        world::enter(Stage::Nobody, None, || P::init(config)).map(|plugin| Self { plugin })
    }

    /// Who asks: the user.
    pub fn user(&mut self, user: &str) {
        world::with(|world| user.clone_into(&mut world.who.user));
    }

    /// Who asks: the application.
    pub fn application(&mut self, application: &str) {
        world::with(|world| application.clone_into(&mut world.who.application));
    }

    /// Gives the session a setting.
    pub fn setting(&mut self, name: &str, value: &str) {
        world::with(|world| world.settings.insert(name.to_ascii_lowercase(), value.to_owned()));
    }

    /// Says what lookups find. Without it none can be asked.
    pub fn lookup(
        &mut self,
        answer: impl FnMut(&str, &[Option<String>]) -> Result<Rows, LookupError> + 'static,
    ) {
        world::with(|world| world.lookup = Some(Box::new(answer)));
    }

    /// Lets time pass: for `clock`, and for what `kv` keeps.
    pub fn advance(&mut self, time: Duration) {
        world::with(|world| world.now += time);
    }

    /// Forgets all that `kv` keeps, as it may do at any time.
    pub fn forget(&mut self) {
        world::with(|world| world.kv.clear());
    }

    /// What was logged so far.
    #[must_use]
    pub fn logged(&self) -> Vec<LoggedLine> {
        world::with(|world| world.logged.clone())
    }

    /// How many lookups there were.
    #[must_use]
    pub fn lookups(&self) -> usize {
        world::with(|world| world.lookups)
    }

    /// A metric's value: of a counter or gauge what it is, of a histogram how many observations it has.
    #[must_use]
    pub fn metric(&self, name: &str, labels: &[u32]) -> Option<f64> {
        world::with(|world| world.metric(name, labels))
    }

    fn call<R>(
        &mut self,
        hook: &str,
        stage: Stage,
        statement: Option<&Statement>,
        call: impl FnOnce(&mut P) -> R,
    ) -> R {
        assert!(P::HOOKS.contains(&hook), "`{hook}` is not exported: add it to `pointsman_plugin::export!`");
        world::enter(stage, statement.cloned(), || call(&mut self.plugin))
    }

    /// What the plugin needs.
    pub fn needs(&mut self) -> crate::Wants {
        self.call("needs", Stage::Nobody, None, P::needs)
    }

    /// What it says of a statement.
    pub fn query(&mut self, statement: &Statement) -> Outcome {
        self.call("on_query", Stage::Statement, Some(statement), |plugin| plugin.on_query(statement.query()))
    }

    /// What it says of a statement in an open transaction.
    pub fn query_in_transaction(&mut self, statement: &Statement) -> Outcome {
        let query = Query { in_transaction: true, ..statement.query() };
        self.call("on_query", Stage::Statement, Some(statement), |plugin| plugin.on_query(query))
    }

    /// What a write that changed some rows invalidates.
    pub fn write(&mut self, statement: &Statement, rows: u64) -> Vec<Tag> {
        let written =
            Written { kind: statement.kind, template: statement.template(), rows: Some(rows), lsn: None };
        self.call("on_write", Stage::Statement, Some(statement), |plugin| plugin.on_write(written))
    }

    /// What changes of the change stream invalidate.
    pub fn change(&mut self, batch: Batch) -> Vec<Tag> {
        self.call("on_change", Stage::Nobody, None, |plugin| plugin.on_change(batch))
    }

    /// What it says of a result that `statement` fetched.
    pub fn store(&mut self, statement: &Statement, entry: Entry) -> StoreVerdict {
        self.call("on_store", Stage::Statement, Some(statement), |plugin| plugin.on_store(entry))
    }

    /// What it says of a client.
    pub fn connect(&mut self) -> ConnectVerdict {
        self.call("on_connect", Stage::Client, None, P::on_connect)
    }

    /// The instance ends.
    pub fn shutdown(mut self) {
        world::enter(Stage::Nobody, None, || self.plugin.shutdown());
    }
}

impl LoggedLine {
    /// Whether it is of this level and has this in it.
    #[must_use]
    pub fn says(&self, level: Level, part: &str) -> bool {
        self.level == level && self.message.contains(part)
    }
}
