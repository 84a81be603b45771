//! Views and policies of row security, followed to what they call and read.

use std::collections::HashMap;

use pointsman_sql::{Relation, Statement};

use super::{Catalog, Obstacle};
use crate::caching::AsksWho;
use crate::touched::Touched;

/// A relation whose reading runs statements: a view, or a table with policies.
pub(super) struct Definition {
    pub(super) relation: Relation,
    pub(super) statements: Vec<Option<Statement>>,
    pub(super) view: bool,
    /// Writes to it go to what it reads, by PostgreSQL's own rules.
    pub(super) writable: bool,
    /// What reading the table shows beside what its policies read.
    pub(super) own_reads: Touched,
    pub(super) followed: bool,
}

/// What a definition makes of a relation.
struct Shown {
    reads: Touched,
    /// `None`: what is known already stays.
    writes: Option<Touched>,
    /// It is a table, and shows nothing but its own family.
    plain: bool,
}

/// Follows all definitions.
pub(super) fn follow_all(catalog: &mut Catalog, definitions: Vec<Definition>) {
    Followed { catalog, definitions }.all();
}

struct Followed<'a> {
    catalog: &'a mut Catalog,
    definitions: Vec<Definition>,
}

impl Followed<'_> {
    fn all(mut self) {
        let mut by_name: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (at, definition) in self.definitions.iter().enumerate() {
            by_name.entry(definition.relation.name.clone()).or_default().push(at);
        }
        for at in 0..self.definitions.len() {
            self.follow(at, &by_name);
        }
    }

    /// What a definition reads is followed before it. In a circle, the one that is met again counts as unread.
    fn follow(&mut self, first: usize, by_name: &HashMap<Box<str>, Vec<usize>>) {
        let mut stack = vec![(first, false)];
        while let Some((at, ready)) = stack.pop() {
            if ready {
                self.settle(at);
                continue;
            }
            if std::mem::replace(&mut self.definitions[at].followed, true) {
                continue;
            }
            stack.push((at, true));
            for statement in self.definitions[at].statements.iter().flatten() {
                for read in &statement.reads {
                    let next = by_name.get(&read.name).into_iter().flatten().copied();
                    stack.extend(
                        next.filter(|&next| !self.definitions[next].followed).map(|next| (next, false)),
                    );
                }
            }
        }
    }

    fn settle(&mut self, at: usize) {
        let definition = &self.definitions[at];
        let Definition { relation, statements, .. } = definition;
        let mut obstacle = None;
        let mut suspect = false;
        for statement in statements {
            let Some(statement) = statement else {
                obstacle = Some(Obstacle::Unread(relation.to_string().into()));
                suspect = true;
                break;
            };
            suspect |= self.catalog.suspect(statement);
            if let Some(found) = self.catalog.obstacles(statement).into_iter().next() {
                obstacle = Some(Obstacle::Through(relation.to_string().into(), Box::new(found)));
            }
        }
        let touched = self.touched(definition);
        let row_security = self.row_security(definition);
        let asks = self.asks(definition);
        let schema = relation.schema.as_deref().unwrap_or_default();
        for known in self.catalog.relations.get_mut(&relation.name).into_iter().flatten() {
            if &*known.schema == schema {
                (known.obstacle, known.suspect) = (obstacle.clone(), suspect);
                (known.row_security, known.asks) = (row_security, asks);
                if let Some(Shown { reads, writes, plain }) = &touched {
                    (known.reads, known.plain) = (reads.clone(), *plain);
                    if let Some(writes) = writes {
                        known.writes = writes.clone();
                    }
                }
            }
        }
    }

    /// What reading and writing the relation touches. `None`: that is not known.
    fn touched(&self, definition: &Definition) -> Option<Shown> {
        let mut all = Touched::nothing();
        let mut writes = None;
        for statement in &definition.statements {
            let query = statement.as_ref().filter(|statement| self.catalog.is_plain(statement))?;
            all = all.and(&self.catalog.reads(&query.reads)).and(&self.catalog.called_reads(query));
            if definition.writable {
                writes = Some(self.catalog.writes(&query.reads));
            }
        }
        // Policies that read nothing add nothing to what the table itself shows.
        let plain = !definition.view && all == Touched::nothing();
        // A view is nothing but its query.
        let reads = if definition.view { all } else { definition.own_reads.and(&all) };
        Some(Shown { reads, writes, plain })
    }

    /// Whether a table's own policies, or those of what a view reads, decide what a role sees.
    fn row_security(&self, definition: &Definition) -> bool {
        !definition.view
            || definition.statements.iter().any(|statement| {
                statement
                    .as_ref()
                    .is_none_or(|query| query.reads.iter().any(|name| self.catalog.row_security(name)))
            })
    }

    fn asks(&self, definition: &Definition) -> AsksWho {
        let least = if definition.view { AsksWho::Nothing } else { AsksWho::Role };
        let asks = definition.statements.iter().map(|statement| match statement {
            Some(query) => self.catalog.asks_who(query),
            None => AsksWho::User,
        });
        asks.fold(least, AsksWho::max)
    }
}
