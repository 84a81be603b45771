//! What a relation's reads show and its writes change: its family's slot, where nothing but PostgreSQL's own code runs.

use std::collections::HashMap;

use pointsman_sql::{Relation, Statement};

use super::rows::{RelationRow, Rows};
use super::{Catalog, Function};
use crate::touched::{Touched, slot_of};

/// A relation's schema and name.
type Key<'a> = (&'a str, &'a str);

/// Families: relations joined by inheritance or partitioning, which read and write each other's rows.
pub(super) struct Families<'a> {
    /// Each relation that has a relative, with the first in order of all its relatives.
    roots: HashMap<Key<'a>, Key<'a>>,
    /// By root: whether a member's writes run code that is not known.
    busy: HashMap<Key<'a>, bool>,
    /// By root: whether a member's reads do.
    hidden: HashMap<Key<'a>, bool>,
}

impl<'a> Families<'a> {
    pub(super) fn new(rows: &'a Rows) -> Self {
        let mut families = Self { roots: roots(rows), busy: HashMap::new(), hidden: HashMap::new() };
        for row in &rows.relations {
            let root = families.root((&row.schema, &row.name));
            *families.busy.entry(root).or_default() |= writes_run_code(row);
            *families.hidden.entry(root).or_default() |= reads_run_code(row);
        }
        families
    }

    fn root(&self, key: Key<'a>) -> Key<'a> {
        self.roots.get(&key).copied().unwrap_or(key)
    }

    /// The slot of a table's family.
    pub(super) fn slot(&self, row: &'a RelationRow) -> Option<u16> {
        matches!(row.kind, 'r' | 'p').then(|| slot_of(self.root((&row.schema, &row.name)).1))
    }

    /// What reading and writing a relation touches, beside what policies of row security read. A view is unknown until its definition has been followed.
    pub(super) fn touched(&self, row: &'a RelationRow) -> (Touched, Touched) {
        if row.kind == 'v' {
            return (Touched::Unknown, Touched::Unknown);
        }
        let root = self.root((&row.schema, &row.name));
        let known = |unknown: &HashMap<Key<'a>, bool>| match unknown.get(&root) {
            Some(false) => Touched::one(slot_of(root.1)),
            _ => Touched::Unknown,
        };
        (known(&self.hidden), known(&self.busy))
    }
}

fn writes_run_code(row: &RelationRow) -> bool {
    row.builtin || row.busy || row.ruled || row.row_security || !matches!(row.kind, 'r' | 'p')
}

fn reads_run_code(row: &RelationRow) -> bool {
    row.ruled || !matches!(row.kind, 'r' | 'p' | 'm')
}

/// The first relative, in order, of each relation that has one.
fn roots(rows: &Rows) -> HashMap<Key<'_>, Key<'_>> {
    let mut relatives: HashMap<Key<'_>, Vec<Key<'_>>> = HashMap::new();
    for row in &rows.families {
        let (child, parent) = ((&*row.schema, &*row.relation), (&*row.parent_schema, &*row.parent));
        relatives.entry(child).or_default().push(parent);
        relatives.entry(parent).or_default().push(child);
    }
    let mut keys: Vec<Key<'_>> = relatives.keys().copied().collect();
    keys.sort_unstable();
    let mut roots = HashMap::new();
    for first in keys {
        let mut pending = vec![first];
        while let Some(key) = pending.pop() {
            if roots.contains_key(&key) {
                continue;
            }
            roots.insert(key, first);
            pending.extend(relatives.get(&key).into_iter().flatten());
        }
    }
    roots
}

/// PostgreSQL's volatile functions that change no relation whose contents a replica is asked for. Sorted.
const QUIET: &[&str] = &[
    "currval",
    "lastval",
    "nextval",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_all",
    "pg_advisory_unlock_shared",
    "pg_advisory_xact_lock",
    "pg_advisory_xact_lock_shared",
    "pg_notify",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "pg_try_advisory_xact_lock",
    "pg_try_advisory_xact_lock_shared",
    "set_config",
    "setseed",
    "setval",
];

/// Whether one of PostgreSQL's own functions reads and writes no relation but those that its statement names.
pub(super) fn is_plain_builtin(name: &str, volatile: bool) -> bool {
    // `table_to_xml` and its like read the relation that their argument names.
    let reads_by_name =
        name.contains("_to_xml") || name.starts_with("ts_stat") || name.starts_with("ts_rewrite");
    let quiet = !volatile || QUIET.binary_search(&name).is_ok() || super::builtin::is_harmless(name);
    quiet && !reads_by_name
}

/// Whether a user's function, by its definition, is compiled code that says of itself that it looks at no data.
pub(super) fn is_compiled(definition: &str) -> bool {
    let language = definition.split_once("\n LANGUAGE ").map(|(_, rest)| rest);
    language.is_some_and(|rest| rest.starts_with("c\n") || rest.starts_with("internal\n"))
}

/// Types of PostgreSQL that are often named without their schema. Sorted.
const BUILTIN_TYPES: &[&str] = &[
    "bytea",
    "cidr",
    "date",
    "inet",
    "json",
    "jsonb",
    "name",
    "oid",
    "regclass",
    "text",
    "timestamptz",
    "tsquery",
    "tsvector",
    "uuid",
    "xml",
];

impl super::Known {
    /// Whether nothing differs from which it follows what reads and writes touch, and who sees what.
    fn touches_like(&self, other: &Self) -> bool {
        (&self.reads, &self.writes, self.slot, &self.columns)
            == (&other.reads, &other.writes, other.slot, &other.columns)
            && (self.plain, self.row_security, self.asks) == (other.plain, other.row_security, other.asks)
    }
}

impl Catalog {
    /// Whether nothing that the statement calls, beyond the relations it names, can read or write a relation.
    pub(crate) fn is_plain(&self, statement: &Statement) -> bool {
        let functions = statement.functions.iter().all(|name| {
            let mut found = self.overloads(name).peekable();
            found.peek().is_some() && found.all(|function: &Function| function.plain)
        });
        let types = self.busy_types.is_empty()
            || statement.types.iter().all(|name| match name.schema.as_deref() {
                Some(schema) => schema == "pg_catalog",
                None => BUILTIN_TYPES.binary_search(&&*name.name).is_ok(),
            });
        functions
            && types
            && !self.busy_casts
            && statement.operators.iter().all(|name| !self.busy_operators.contains(name))
            && statement.attributes.iter().all(|name| !self.busy_attributes.contains(name))
    }

    /// What the functions called read, as policies say.
    pub(crate) fn called_reads(&self, statement: &Statement) -> Touched {
        let declared = statement.functions.iter().flat_map(|name| self.overloads(name));
        declared
            .filter(|function| !function.reads.is_empty())
            .fold(Touched::nothing(), |all, function| all.and(&self.reads(&function.reads)))
    }

    /// What reading these relations shows.
    pub(crate) fn reads(&self, relations: &[Relation]) -> Touched {
        self.together(relations, |known| &known.reads)
    }

    /// What writing these relations changes.
    pub(crate) fn writes(&self, relations: &[Relation]) -> Touched {
        self.together(relations, |known| &known.writes)
    }

    fn together(&self, relations: &[Relation], touched: impl Fn(&super::Known) -> &Touched) -> Touched {
        let mut all = Touched::nothing();
        for relation in relations {
            let mut found = self.named(relation).peekable();
            if found.peek().is_none() {
                return Touched::Unknown;
            }
            for known in found {
                all = all.and(touched(known));
            }
        }
        all
    }

    /// Keeps the number of `before`'s families if they are the same: writes noted under them still count.
    pub fn follow(&mut self, before: &Self) {
        let same = self.odd_equality == before.odd_equality
            && self.relations.len() == before.relations.len()
            && self.relations.iter().all(|(name, all)| {
                before.relations.get(name).is_some_and(|others| {
                    all.len() == others.len()
                        && all.iter().all(|known| {
                            others
                                .iter()
                                .any(|other| known.schema == other.schema && known.touches_like(other))
                        })
                })
            });
        if same {
            self.families = before.families;
        }
    }

    /// Another number means that relations may be in other families, that their writes run other code, that tables have
    /// other columns, or that what they show depends on somebody else.
    #[must_use]
    pub fn families(&self) -> u64 {
        self.families
    }
}

#[cfg(test)]
mod tests;
