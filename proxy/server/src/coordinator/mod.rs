//! The coordinator: a PostgreSQL whose tables are `postgres_fdw` tables of the shards, for statements that cannot be put together here.
//! What its definitions must be, from the shards' own; nothing here runs while clients are served.

pub mod ddl;
mod modulo;
pub mod read;
pub mod spread;

use spread::Spread;

/// A table as the shards have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<Column>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as SQL, with a modifier, and a schema where one is needed.
    pub type_name: String,
    /// Its collation as SQL, if that is not the type's own.
    pub collation: Option<String>,
    /// `NOT NULL`.
    pub not_null: bool,
    /// Whether its type has collations at all.
    pub is_text: bool,
}

/// How a shard is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Options of its server: hosts, ports, TLS.
    pub options: Vec<(String, String)>,
    /// The user there.
    pub user: String,
    /// The user's password; `None`: it needs none, or the shard's is not to be shown.
    pub password: Option<String>,
}

/// What a database of a shard is like: the coordinator's must be like it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locale {
    /// `datcollate`.
    pub collate: String,
    /// `datctype`.
    pub ctype: String,
}

/// Where a table is, as far as the coordinator is concerned.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// On the first shard, or the same on all.
    First,
    /// Spread over the shards by these columns.
    Spread(Vec<String>, Spread),
}

/// All that the definitions are made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Design {
    /// The shards, in order.
    pub shards: Vec<Remote>,
    /// The tables, each with its place.
    pub tables: Vec<(Table, Place)>,
    /// What the shards' databases are like.
    pub locale: Locale,
    /// Roles that may use it, as SQL; the first is who runs the definitions.
    pub roles: Vec<String>,
}
