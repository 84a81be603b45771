//! Plugins that hear of committed changes: gathered as they come, asked before their transaction marks what it changed.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use hashbrown::HashMap;
use pointsman_cache::Tags;
use pointsman_plugin_host::{ChangeCall, Hook, Invalidation, Operation, Plugin, Plugins, RowChange, Value};
use pointsman_wire::replication::{Change, Old, Relation, Tuple, TupleColumn};

use crate::caching::tags::{self, Naming};

/// Changes that plugins are asked of at once.
const BATCH_MAX: usize = 1_000;

/// A relation as the stream described it.
#[derive(Debug)]
struct Described {
    schema: String,
    name: String,
    columns: Vec<(String, bool)>,
}

/// What plugins have not heard of yet.
#[derive(Debug, Default)]
pub struct Unheard {
    relations: HashMap<u32, Described>,
    changes: Vec<RowChange>,
}

/// Where a commit was.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// The database, by its name on the server.
    pub database: &'a str,
    /// Where the commit ends, as far as it is known.
    pub lsn: u64,
    /// What tags are read by.
    pub by: Naming<'a>,
}

/// The plugins that hear of changes.
fn hearing(plugins: &Plugins) -> impl Iterator<Item = &Arc<Plugin>> {
    plugins.iter().filter(|plugin| plugin.has(Hook::Change))
}

impl Unheard {
    /// Takes a change, if any plugin wants to hear of it. Whether there are so many that they are to be asked now.
    pub fn add(&mut self, change: &Change<'_>, plugins: &Plugins) -> bool {
        match change {
            Change::Relation(relation) => self.describe(relation),
            Change::Begin { .. } => self.changes.clear(),
            _ if hearing(plugins).next().is_none() => {}
            Change::Insert { relation, new } => self.row(*relation, Operation::Insert, (None, Some(*new))),
            Change::Update { relation, old, new } => {
                self.row(*relation, Operation::Update, (*old, Some(*new)));
            }
            Change::Delete { relation, old } => self.row(*relation, Operation::Delete, (Some(*old), None)),
            Change::Truncate { relations } => {
                relations.iter().for_each(|relation| self.row(*relation, Operation::Truncate, (None, None)));
            }
            Change::Commit { .. } | Change::Message { .. } | Change::Other => {}
        }
        self.changes.len() >= BATCH_MAX
    }

    fn describe(&mut self, relation: &Relation<'_>) {
        let columns = relation.columns.iter().map(|column| (column.name.to_owned(), column.key));
        let described = Described {
            schema: relation.schema.to_owned(),
            name: relation.name.to_owned(),
            columns: columns.collect(),
        };
        self.relations.insert(relation.oid, described);
    }

    fn row(&mut self, oid: u32, operation: Operation, (old, new): (Option<Old<'_>>, Option<Tuple<'_>>)) {
        let Some(Described { schema, name, columns }) = self.relations.get(&oid) else { return };
        let values = |tuple: Tuple<'_>, keys: bool| {
            let shown = columns.iter().enumerate().filter(|(_, (_, key))| !keys || *key);
            shown
                .filter_map(|(place, (name, _))| Some((name.clone(), value(tuple.column(place)?))))
                .collect::<Vec<_>>()
        };
        let before = match old {
            None => Vec::new(),
            Some(Old::Key(tuple)) => values(tuple, true),
            Some(Old::Row(tuple)) => values(tuple, false),
        };
        let after = new.map(|tuple| values(tuple, false)).unwrap_or_default();
        let (schema, table) = (schema.clone(), name.clone());
        self.changes.push(RowChange { schema, table, operation, before, after });
    }

    /// Leaves a change the columns of its replica identity.
    fn keep_identity(&self, change: &mut RowChange) {
        let of_it = |one: &&Described| one.schema == change.schema && one.name == change.table;
        let Some(Described { columns, .. }) = self.relations.values().find(of_it) else { return };
        let identifies = |name: &str| columns.iter().any(|(known, key)| known == name && *key);
        change.before.retain(|(name, _)| identifies(name));
        change.after.retain(|(name, _)| identifies(name));
    }

    /// Asks the plugins of what has gathered, and adds what they say has changed besides.
    pub async fn tell(&mut self, plugins: &Plugins, at: At<'_>, marks: &mut Tags) {
        if self.changes.is_empty() {
            return;
        }
        let changes = std::mem::take(&mut self.changes);
        for plugin in hearing(plugins) {
            let wanted = &plugin.wants().changes_of;
            let wants = |change: &&RowChange| {
                wanted.is_empty()
                    || wanted.iter().any(|name| *name == format!("{}.{}", change.schema, change.table))
            };
            let mut changes: Vec<RowChange> = changes.iter().filter(wants).cloned().collect();
            if !plugin.wants().values {
                changes.iter_mut().for_each(|change| self.keep_identity(change));
            }
            if changes.is_empty() {
                continue;
            }
            let call = ChangeCall { database: at.database.to_owned(), lsn: at.lsn, changes };
            let said: BoxFuture<'_, _> = Box::pin(plugin.on_change(&call));
            match said.await.verdict {
                Invalidation::Everything => marks.add_everything(),
                Invalidation::Tags(names) => {
                    names.iter().for_each(|name| tags::changed_named(name, at.by, marks));
                }
            }
        }
    }
}

/// A value as a plugin gets it.
fn value(column: TupleColumn<'_>) -> Value {
    match column {
        TupleColumn::Null | TupleColumn::Unchanged => Value::Null,
        TupleColumn::Value(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Binary(bytes.to_vec()),
        },
    }
}
