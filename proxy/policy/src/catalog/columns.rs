//! Tables' columns, and which of them can tell rows apart: those whose values are equal only if their texts are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pointsman_sql::Relation;

use super::rows::{ColumnRow, Rows};
use super::{Catalog, Known};
use crate::caching::KeyColumn;

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Column {
    pub(crate) name: Arc<str>,
    /// Its type; zero if its values cannot tell rows apart.
    pub(crate) type_oid: u32,
    /// Its type, whatever it is.
    declared_type: u32,
    /// Whether its values sort by their bytes; `None`: as the database's texts do.
    bytewise: Option<bool>,
    deterministic: bool,
    not_null: bool,
}

/// The columns of all tables in their order. Tables with the same columns share one list, and lists share names.
pub(super) struct Columns<'a>(HashMap<(&'a str, &'a str), Arc<[Column]>>);

impl<'a> Columns<'a> {
    pub(super) fn new(rows: &'a Rows) -> Self {
        let mut tables: HashMap<(&str, &str), Vec<&ColumnRow>> = HashMap::new();
        for row in &rows.columns {
            tables.entry((&row.schema, &row.relation)).or_default().push(row);
        }
        let mut names: HashSet<Arc<str>> = HashSet::new();
        let mut lists: HashSet<Arc<[Column]>> = HashSet::new();
        let shared = tables.into_iter().map(|(table, mut rows)| {
            rows.sort_unstable_by_key(|row| row.place);
            let list: Vec<Column> = rows
                .into_iter()
                .map(|row| {
                    let name = names.get(&*row.name).cloned().unwrap_or_else(|| (&*row.name).into());
                    names.insert(Arc::clone(&name));
                    Column {
                        name,
                        type_oid: row.type_oid,
                        declared_type: row.declared_type,
                        bytewise: row.bytewise,
                        deterministic: row.deterministic,
                        not_null: row.not_null,
                    }
                })
                .collect();
            let list = lists.get(&*list).cloned().unwrap_or_else(|| list.into());
            lists.insert(Arc::clone(&list));
            (table, list)
        });
        Self(shared.collect())
    }

    pub(super) fn of(&self, schema: &str, name: &str) -> Arc<[Column]> {
        self.0.get(&(schema, name)).cloned().unwrap_or_default()
    }
}

impl Catalog {
    /// Notes for each slot the columns by which rows of all its tables can be told apart.
    pub(super) fn add_keys(&mut self) {
        let mut slots: HashMap<u16, HashMap<&str, u32>> = HashMap::new();
        for known in self.relations.values().flatten() {
            let Some(slot) = known.slot else { continue };
            for column in known.columns.iter() {
                let columns = slots.entry(slot).or_default();
                let kind = columns.entry(&column.name).or_insert(column.type_oid);
                if *kind != column.type_oid {
                    *kind = 0;
                }
            }
        }
        let keys = slots.into_iter().map(|(slot, columns)| {
            let keys = columns.into_iter().filter(|(_, type_oid)| *type_oid != 0);
            let mut keys: Vec<KeyColumn> =
                keys.map(|(name, type_oid)| KeyColumn { name: name.into(), type_oid }).collect();
            keys.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            (slot, keys.into_boxed_slice())
        });
        self.keys = keys.filter(|(_, keys)| !keys.is_empty()).collect();
    }

    /// The columns by which the rows of all tables of a family's slot can be told apart, by name. Of relations that share
    /// the slot all columns count: one that another table has with another type is left out.
    #[must_use]
    pub fn key_columns(&self, slot: u16) -> &[KeyColumn] {
        self.keys.get(&slot).map(|keys| &**keys).unwrap_or_default()
    }

    /// The slot of a table's family, whatever code its reads and writes run. `None` for what is no table or not known.
    #[must_use]
    pub fn relation_slot(&self, schema: &str, name: &str) -> Option<u16> {
        let mut all = self.relations.get(name).into_iter().flatten();
        all.find(|known| &*known.schema == schema)?.slot
    }

    /// The same for a name as texts and tags write it. `None` also if tables of several schemas differ in it.
    #[must_use]
    pub fn table_slot(&self, name: &Relation) -> Option<u16> {
        let mut all = self.named(name).map(|known| known.slot);
        let first = all.next()??;
        all.all(|other| other == Some(first)).then_some(first)
    }

    /// Whether what a role sees of this relation depends on row security: of any table of that name, or through a view.
    /// True also for what is not known.
    #[must_use]
    pub fn row_security(&self, name: &Relation) -> bool {
        let mut found = self.named(name).peekable();
        (found.peek().is_none() && !self.assumed) || found.any(|known| known.row_security)
    }

    /// The only relation that a name can mean, if it is a table whose reads and writes touch nothing but its own family.
    pub(crate) fn plain_table<'a>(&'a self, name: &'a Relation) -> Option<&'a Known> {
        let mut found = self.named(name);
        let only = found.next().filter(|_| found.next().is_none())?;
        Some(only).filter(|known| known.plain)
    }

    /// Whether `=` with a value of PostgreSQL's own types is always PostgreSQL's own.
    pub(crate) fn equality_is_plain(&self) -> bool {
        !self.odd_equality
    }

    /// How many relations of a name read a slot's families.
    pub(crate) fn readers(&self, name: &Relation, slot: u16) -> usize {
        self.named(name).filter(|known| known.reads.has(slot)).count()
    }

    /// The settings that a role's sessions begin with, as text; empty if there are none. `ALTER ROLE ... SET` changes it.
    #[must_use]
    pub fn role_settings(&self, user: &str) -> &str {
        self.role_settings.get(user).map(|settings| &**settings).unwrap_or_default()
    }

    /// The columns of the only relation that a name can mean, in their order, if that is a user's table.
    #[must_use]
    pub fn columns(&self, name: &Relation) -> Option<Arc<[pointsman_shards::Column]>> {
        let mut found = self.named(name);
        let only = found.next().filter(|known| found.next().is_none() && !known.columns.is_empty())?;
        let column = |column: &Column| pointsman_shards::Column {
            name: (&*column.name).into(),
            type_oid: column.declared_type,
            bytewise: column.bytewise.unwrap_or(self.bytewise),
            deterministic: column.deterministic,
            not_null: column.not_null,
        };
        Some(only.columns.iter().map(column).collect())
    }

    /// Whether a name can mean a view, or what is like one, that shows rows of one of these tables. A `None` among them is a table
    /// that may be any.
    #[must_use]
    pub fn is_view_of(&self, name: &Relation, tables: impl Iterator<Item = Option<Relation>>) -> bool {
        let servers_own = |known: &Known| matches!(&*known.schema, "pg_catalog" | "information_schema");
        let views: Vec<&Known> =
            self.named(name).filter(|known| known.columns.is_empty() && !servers_own(known)).collect();
        if views.is_empty() {
            return false;
        }
        let mut slots = tables.map(|table| table.and_then(|table| self.table_slot(&table)));
        slots.any(|slot| slot.is_none_or(|slot| views.iter().any(|view| view.reads.has(slot))))
    }

    /// Whether a function is a user's, and may read tables that its call does not name.
    #[must_use]
    pub fn may_read_tables(&self, name: &pointsman_sql::FunctionName) -> bool {
        let mut all = self.overloads(name);
        all.any(|function| {
            !matches!(&*function.schema, "pg_catalog" | "information_schema") && !function.is_quiet()
        })
    }

    /// Whether a column of the only relation that a name can mean has the database's own collation.
    #[must_use]
    pub fn has_default_collation(&self, name: &Relation, column: &str) -> bool {
        let mut found = self.named(name);
        let only = found.next().filter(|_| found.next().is_none());
        let columns = only.map(|known| &*known.columns).unwrap_or_default();
        columns.iter().any(|known| &*known.name == column && known.bytewise.is_none())
    }

    /// Whether the database's own collation sorts by bytes.
    #[must_use]
    pub fn is_bytewise(&self) -> bool {
        self.bytewise
    }

    pub(super) fn add_role_settings(&mut self, rows: &Rows) {
        let mut sorted: Vec<_> = rows.role_settings.iter().collect();
        sorted.sort_unstable_by_key(|row| (&row.role, row.of_database));
        let mut settings: HashMap<Box<str>, String> = HashMap::new();
        for row in sorted {
            // What holds in this database only comes last: it counts.
            settings.entry(row.role.clone()).or_default().push_str(&row.settings);
        }
        self.role_settings = settings.into_iter().map(|(role, all)| (role, all.into())).collect();
    }
}

#[cfg(test)]
pub(crate) mod tests;
