//! What hooks are called with: who asks, and a statement that hands out what a plugin asks for.

use std::sync::Arc;

use sha2::{Digest, Sha256};

/// Who asks. Made once for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user who logged in.
    pub user: String,
    /// The database that the client asked for.
    pub database: String,
    /// `application_name`.
    pub application: String,
    /// The client's IP address.
    pub client: Option<String>,
    /// A digest of user, database and application, by which verdicts are remembered.
    pub(crate) key: u128,
}

impl Identity {
    /// An identity.
    #[must_use]
    pub fn new(user: &str, database: &str, application: &str, client: Option<String>) -> Self {
        let mut digest = Sha256::new();
        for part in [user, database, application] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&digest.finalize()[..16]);
        Self {
            user: user.to_owned(),
            database: database.to_owned(),
            application: application.to_owned(),
            client,
            key: u128::from_le_bytes(key),
        }
    }
}

/// A session, as plugins see it.
pub trait Session: Send + Sync {
    /// Who asks.
    fn identity(&self) -> &Identity;

    /// The session's own value of a setting, as far as it is known.
    fn setting(&self, name: &str) -> Option<String>;
}

/// A value of PostgreSQL's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `NULL`.
    Null,
    /// Text form.
    Text(String),
    /// Binary form, or text that is not UTF-8.
    Binary(Vec<u8>),
}

/// A parameter's value with its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// `pg_type.oid`, or 0.
    pub type_oid: u32,
    /// The value.
    pub value: Value,
}

/// A relation as a text names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// `None`: found along `search_path`.
    pub schema: Option<String>,
    /// Folded and unquoted.
    pub name: String,
    /// Whether its rows may change.
    pub written: bool,
}

/// What kind of constant a literal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstantKind {
    /// A string.
    Text,
    /// Decimal digits only.
    Integer,
    /// Any other number.
    Number,
    /// A bit string.
    Bits,
}

/// A literal, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constant {
    /// Its kind.
    pub kind: ConstantKind,
    /// Without quotes and escapes.
    pub text: String,
}

/// A statement, as plugins see it: asked for its parts one by one, and only for what a plugin wants.
pub trait Statement: Send + Sync {
    /// The text.
    fn sql(&self) -> String;
    /// The relations that it names, each once.
    fn relations(&self) -> Vec<Relation>;
    /// The literal of this index, from 0.
    fn literal(&self, index: usize) -> Option<Constant>;
    /// The parameter of this index, from 0.
    fn param(&self, index: usize) -> Option<Parameter>;
    /// Every value that it pins a column to; `None`: they are not all known.
    fn pinned(&self, table: &str, column: &str) -> Option<Vec<Value>>;
    /// The value of a key in its comments.
    fn comment(&self, key: &str) -> Option<String>;
}

/// What kind a statement is; the contract says what each is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the contract documents each")]
pub enum StatementKind {
    Select,
    Insert,
    Update,
    Delete,
    Merge,
    CopyFrom,
    CopyTo,
    Call,
    Transaction,
    Setting,
    Prepared,
    Cursor,
    Notification,
    Explain,
    Definition,
    Several,
    Other,
}

/// A call of `on-query`.
#[derive(Clone)]
pub struct QueryCall {
    /// Who asks.
    pub session: Arc<dyn Session>,
    /// The statement.
    pub statement: Arc<dyn Statement>,
    /// Its kind.
    pub kind: StatementKind,
    /// Its template's number.
    pub template: u64,
    /// Whether it is proven that it only reads.
    pub read_only: bool,
    /// Whether a transaction is open.
    pub in_transaction: bool,
    /// How many parameters it has.
    pub params: u32,
    /// How many literals it has.
    pub literals: u32,
}

/// A call of `on-write`.
#[derive(Clone)]
pub struct WriteCall {
    /// Who wrote.
    pub session: Arc<dyn Session>,
    /// The statement.
    pub statement: Arc<dyn Statement>,
    /// Its kind.
    pub kind: StatementKind,
    /// Its template's number.
    pub template: u64,
    /// How many rows its command tag tells of.
    pub rows: Option<u64>,
    /// Where its commit is at the latest.
    pub lsn: Option<u64>,
}

/// A call of `on-store`.
#[derive(Clone)]
pub struct StoreCall {
    /// Who fetched it.
    pub session: Arc<dyn Session>,
    /// The statement.
    pub statement: Arc<dyn Statement>,
    /// The entry's name: 32 hexadecimal digits.
    pub key: String,
    /// Its tags that have names.
    pub tags: Vec<String>,
    /// Its size, in bytes.
    pub size: u64,
    /// How long it is kept, in milliseconds.
    pub ttl_ms: u64,
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the contract documents each")]
pub enum Operation {
    Insert,
    Update,
    Delete,
    Truncate,
}

/// A row's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// The relation's schema.
    pub schema: String,
    /// The relation.
    pub table: String,
    /// What happened.
    pub operation: Operation,
    /// Columns and values before.
    pub before: Vec<(String, Value)>,
    /// Columns and values after.
    pub after: Vec<(String, Value)>,
}

/// A call of `on-change`: changes of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeCall {
    /// The database.
    pub database: String,
    /// Where its commit ends.
    pub lsn: u64,
    /// The changes, in order.
    pub changes: Vec<RowChange>,
}
