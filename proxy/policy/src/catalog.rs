//! What the primary's catalog says: which functions and relations a read may use, and which functions may leave
//! state in the session.

mod assumed;
mod build;
mod builtin;
pub(crate) mod columns;
mod family;
mod follow;
mod rows;
mod suspect;
#[cfg(test)]
pub(crate) mod tests;
mod who;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pointsman_shards::FunctionKind;
use pointsman_sql::{FunctionName, Relation, TypeName};

use crate::caching::{AsksWho, KeyColumn};
use crate::touched::Touched;

pub use builtin::{is_server_local, is_shared_setting};
pub(crate) use columns::Column;
pub use rows::{
    ColumnRow, FamilyRow, FunctionRow, OperatorRow, PolicyRow, RelationRow, RoleSettingsRow, RowError, Rows,
    TriggerRow, TypeRow,
};
pub use suspect::leaves_state;

/// `pg_proc.provolatile`, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Volatility {
    /// The same arguments give the same result for ever.
    Immutable,
    /// The same arguments give the same result within a statement.
    Stable,
    /// Anything may happen.
    Volatile,
}

impl Volatility {
    /// The volatility of this name.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "immutable" => Some(Self::Immutable),
            "stable" => Some(Self::Stable),
            "volatile" => Some(Self::Volatile),
            _ => None,
        }
    }
}

/// A snapshot of one database's catalog. Names without a schema stand for the worst that any schema holds.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    version: u64,
    functions: HashMap<Box<str>, Vec<Function>>,
    relations: HashMap<Box<str>, Vec<Known>>,
    /// Volatile operators, with the function they call.
    operators: HashMap<Box<str>, FunctionName>,
    /// Users' types whose values or casts do something not read-only.
    types: HashMap<Box<str>, Vec<(Box<str>, Obstacle)>>,
    /// Names of users' volatile functions that `value.name` may call.
    attributes: HashSet<Box<str>>,
    /// Of the relations' families: see [`Catalog::families`].
    families: u64,
    /// Users' operators, types and `value.name` calls, and whether any cast or type, runs code that may read or write
    /// relations.
    busy_operators: HashSet<Box<str>>,
    busy_types: HashSet<Box<str>>,
    busy_attributes: HashSet<Box<str>>,
    busy_casts: bool,
    /// By slot: the columns by which rows of all its tables can be told apart.
    keys: HashMap<u16, Box<[KeyColumn]>>,
    /// A user's operator `=` may compare values of PostgreSQL's own types.
    odd_equality: bool,
    /// By role: the settings that its sessions begin with.
    role_settings: HashMap<Box<str>, Box<str>>,
    /// Relations that are not known are taken for plain tables.
    assumed: bool,
    /// The database's own collation sorts by bytes.
    bytewise: bool,
    /// Whose catalog it is: see [`Catalog::origin`].
    origin: u32,
}

/// All overloads of one name in one schema.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Function {
    schema: Box<str>,
    volatility: Volatility,
    /// May leave state in the session.
    suspect: bool,
    /// Reads and writes no relation that its statement does not name.
    plain: bool,
    /// What it reads, as a policy says.
    reads: Box<[Relation]>,
    /// Whose session its result is for.
    asks: AsksWho,
    /// What it is, as far as spreading its calls over shards depends on it.
    kind: FunctionKind,
}

impl Function {
    /// It reads and writes no relation, unless its statement names it.
    fn is_quiet(&self) -> bool {
        self.plain && self.reads.is_empty()
    }
}

/// A relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    schema: Box<str>,
    /// Why a replica may not be asked for it, if so.
    obstacle: Option<Obstacle>,
    /// Reading or writing it may leave state in the session.
    suspect: bool,
    /// Families whose contents reading it shows.
    reads: Touched,
    /// Families whose contents writing it changes.
    writes: Touched,
    /// Writing it may, through a trigger.
    triggers_suspect: bool,
    /// Its family, if it is a table.
    pub(crate) slot: Option<u16>,
    /// A user's table of which reading and writing, by its text, touches no family but its own.
    plain: bool,
    /// What a role sees depends on row security.
    row_security: bool,
    /// Whose session what it shows is for.
    asks: AsksWho,
    /// A user's table's columns in their order.
    pub(crate) columns: Arc<[Column]>,
}

/// Why something cannot be read on a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// A function that may write or whose result changes from call to call.
    Volatile(Box<str>),
    /// A function that the catalog does not hold.
    UnknownFunction(Box<str>),
    /// A function or view of the server itself: each server answers for itself.
    ServerLocal(Box<str>),
    /// A relation that the catalog does not hold.
    UnknownRelation(Box<str>),
    /// A foreign or unlogged table, or a parent of one.
    NotReplicated(Box<str>),
    /// A sequence, whose position is ahead on a standby.
    Sequence(Box<str>),
    /// A setting whose value each server has for itself.
    Setting(Box<str>),
    /// A view, policy, type or domain whose definition cannot be read.
    Unread(Box<str>),
    /// A view, policy, type or domain that meets an obstacle.
    Through(Box<str>, Box<Obstacle>),
}

impl Obstacle {
    /// Whether the statement certainly changes nothing: it must only be read on the primary.
    #[must_use]
    pub fn harmless(&self) -> bool {
        match self {
            Self::Volatile(name) => builtin::is_harmless(name),
            Self::ServerLocal(_) | Self::NotReplicated(_) | Self::Sequence(_) | Self::Setting(_) => true,
            Self::UnknownFunction(_) | Self::UnknownRelation(_) | Self::Unread(_) => false,
            Self::Through(_, inner) => inner.harmless(),
        }
    }
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Volatile(name) => write!(f, "calls {name}(): volatile"),
            Self::UnknownFunction(name) => write!(f, "calls {name}(): not in the catalog"),
            Self::ServerLocal(name) => write!(f, "uses {name}: each server answers for itself"),
            Self::UnknownRelation(name) => write!(f, "reads {name}: not in the catalog"),
            Self::NotReplicated(name) => write!(f, "reads {name}: not replicated"),
            Self::Sequence(name) => write!(f, "reads sequence {name}"),
            Self::Setting(name) => write!(f, "shows {name}: each server has its own"),
            Self::Unread(name) => write!(f, "uses {name}: its definition is not understood"),
            Self::Through(name, inner) => write!(f, "uses {name}: {inner}"),
        }
    }
}

impl Catalog {
    /// A catalog of which nothing is known: only statements that call no function and read no relation are reads.
    #[must_use]
    pub fn unknown() -> Self {
        Self::default()
    }

    /// Grows with every catalog built in this process; zero for [`Catalog::unknown`].
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A number that the catalogs of one database have in common, and no other's.
    #[must_use]
    pub fn origin(&self) -> u32 {
        self.origin
    }

    /// The catalog of the database with this number.
    #[must_use]
    pub fn of(mut self, origin: u32) -> Self {
        self.origin = origin;
        self
    }

    /// What a function is, as far as spreading its calls over shards depends on it: the worst of all overloads.
    #[must_use]
    pub fn function_kind(&self, name: &FunctionName) -> FunctionKind {
        let kind = |function: &Function| match (function.kind, function.volatility) {
            (FunctionKind::Plain, Volatility::Volatile) => FunctionKind::Volatile,
            (kind, _) => kind,
        };
        self.overloads(name).map(kind).reduce(FunctionKind::worse).unwrap_or(FunctionKind::Unknown)
    }

    /// What stands in the way of calling this function on a replica.
    #[must_use]
    pub fn function(&self, name: &FunctionName) -> Option<Obstacle> {
        let shown = || -> Box<str> { name.to_string().into() };
        let in_catalog = name.schema.as_deref().is_none_or(|schema| schema == "pg_catalog");
        if in_catalog && is_server_local(&name.name) {
            return Some(Obstacle::ServerLocal(format!("{name}()").into()));
        }
        match self.overloads(name).map(|function| function.volatility).max() {
            None => Some(Obstacle::UnknownFunction(shown())),
            Some(Volatility::Volatile) => Some(Obstacle::Volatile(shown())),
            Some(_) => None,
        }
    }

    /// Whether calling this function may leave state in the session.
    #[must_use]
    pub fn function_suspect(&self, name: &FunctionName) -> bool {
        self.overloads(name).any(|function| function.suspect)
    }

    fn overloads<'a>(&'a self, name: &'a FunctionName) -> impl Iterator<Item = &'a Function> {
        let all = self.functions.get(&*name.name).map(Vec::as_slice).unwrap_or_default();
        all.iter().filter(|function| name.schema.as_deref().is_none_or(|schema| schema == &*function.schema))
    }

    /// What stands in the way of reading this relation on a replica.
    #[must_use]
    pub fn relation(&self, name: &Relation) -> Option<Obstacle> {
        let mut found = self.named(name).peekable();
        if found.peek().is_none() {
            if self.assumed {
                return None;
            }
            return Some(Obstacle::UnknownRelation(name.to_string().into()));
        }
        found.find_map(|known| known.obstacle.clone())
    }

    /// Whether reading or writing this relation may leave state in the session, through a view or a trigger.
    #[must_use]
    pub fn relation_suspect(&self, name: &Relation) -> bool {
        self.named(name).any(|known| known.suspect || known.triggers_suspect)
    }

    /// Whether reading this relation may leave state in the session, through a view: triggers run at writes only.
    #[must_use]
    pub fn read_suspect(&self, name: &Relation) -> bool {
        self.named(name).any(|known| known.suspect)
    }

    fn named<'a>(&'a self, name: &'a Relation) -> impl Iterator<Item = &'a Known> {
        let all = self.relations.get(&*name.name).map(Vec::as_slice).unwrap_or_default();
        all.iter().filter(|known| name.schema.as_deref().is_none_or(|schema| schema == &*known.schema))
    }

    /// The volatile function behind an operator.
    #[must_use]
    pub fn operator(&self, name: &str) -> Option<Obstacle> {
        self.operators.get(name).map(|function| Obstacle::Volatile(function.to_string().into()))
    }

    /// What stands in the way of casts to this type.
    #[must_use]
    pub fn type_name(&self, name: &TypeName) -> Option<Obstacle> {
        let all = self.types.get(&*name.name)?;
        all.iter()
            .find(|(schema, _)| name.schema.as_deref().is_none_or(|wanted| wanted == &**schema))
            .map(|(_, obstacle)| obstacle.clone())
    }

    /// A volatile function that `value.name` may call.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<Obstacle> {
        self.attributes.contains(name).then(|| Obstacle::Volatile(name.into()))
    }
}
