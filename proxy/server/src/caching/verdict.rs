//! What caching makes of a text: whether its result may be kept at all, what it depends on, what it changes. Worked out
//! once for each template under one catalog and one set of policies.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use pointsman_cache::stats::Bypass;
use pointsman_policy::caching::{AsksWho, Dependence, Reads, Writes, identity_sensitive, reads, writes};
use pointsman_policy::catalog::Catalog;
use pointsman_policy::{Access, Class, Footprint, PolicySet, Reason, Scope};
use pointsman_sql::{Facts, NotReadOnly, Relation};

/// What caching makes of a text.
#[derive(Debug)]
pub struct Plans {
    /// [`PolicySet::version`] of the set that was asked.
    version: u64,
    /// What its result depends on, or why it is not kept.
    pub reads: Result<Box<[Dependence]>, Bypass>,
    /// What it changes.
    pub writes: Writes,
    /// Whether the result may depend on who asks.
    asks: AsksWho,
    /// Whether row security decides what is seen.
    row_security: bool,
}

impl Plans {
    /// Whether they are made by these policies.
    pub fn is_of(&self, set: &PolicySet) -> bool {
        self.version == set.version()
    }

    /// Whether the result may be shared so.
    ///
    /// # Errors
    /// Why not.
    pub fn may_be_shared(&self, scope: Scope) -> Result<(), Bypass> {
        self.reads.as_ref().map_err(|why| *why)?;
        match (self.asks, scope) {
            (AsksWho::User, Scope::Role | Scope::Shared) | (AsksWho::Role, Scope::Shared) => {
                Err(Bypass::AsksWho)
            }
            _ if self.row_security && scope == Scope::Shared => Err(Bypass::RowSecurity),
            _ => Ok(()),
        }
    }
}

/// Remembered beside a verdict.
#[derive(Debug, Default)]
pub struct PlansMemo(ArcSwapOption<Plans>);

impl PlansMemo {
    /// The plans under this set.
    pub fn of(
        &self,
        facts: &Facts,
        (class, footprint): (&Class, &Footprint),
        catalog: &Catalog,
        set: &PolicySet,
    ) -> Arc<Plans> {
        if let Some(plans) = &*self.0.load()
            && plans.is_of(set)
        {
            return Arc::clone(plans);
        }
        let columns = set.key_columns();
        let plans = Arc::new(Plans {
            version: set.version(),
            reads: dependences(facts, class, footprint, catalog, columns),
            writes: writes(facts, catalog, footprint, columns),
            asks: identity_sensitive(facts, catalog),
            row_security: reads_secured(facts, catalog),
        });
        self.0.store(Some(Arc::clone(&plans)));
        plans
    }
}

fn reads_secured(facts: &Facts, catalog: &Catalog) -> bool {
    let mut reads = facts.statements.iter().flat_map(|statement| &statement.reads);
    reads.any(|relation| catalog.row_security(relation))
}

fn dependences(
    facts: &Facts,
    class: &Class,
    footprint: &Footprint,
    catalog: &Catalog,
    columns: &[Box<str>],
) -> Result<Box<[Dependence]>, Bypass> {
    let statement = facts.single().ok_or(Bypass::Several)?;
    if class.access != Access::Read {
        return Err(why_not_a_read(class));
    }
    // What the key does not hold may not be read.
    if statement.settings.iter().any(Option::is_none) {
        return Err(Bypass::Volatile);
    }
    if !statement.state.is_empty() {
        return Err(Bypass::Temporary);
    }
    // No stream tells of changes of the server's own tables.
    if statement.reads.iter().any(is_servers_own) {
        return Err(Bypass::UnknownRelations);
    }
    match reads(facts, catalog, footprint, columns) {
        Reads::Unknown => Err(Bypass::UnknownRelations),
        Reads::These(dependences) => Ok(dependences),
    }
}

fn is_servers_own(relation: &Relation) -> bool {
    match relation.schema.as_deref() {
        Some(schema) => matches!(schema, "pg_catalog" | "information_schema"),
        None => relation.name.starts_with("pg_"),
    }
}

fn why_not_a_read(class: &Class) -> Bypass {
    use pointsman_policy::catalog::Obstacle;
    let found = class.reasons.iter().find_map(|reason| match reason {
        Reason::Shape(NotReadOnly::Locks(_)) => Some(Bypass::Locks),
        Reason::Uses(Obstacle::Volatile(_)) => Some(Bypass::Volatile),
        Reason::Uses(Obstacle::UnknownRelation(_) | Obstacle::Unread(_)) => Some(Bypass::UnknownRelations),
        _ => None,
    });
    found.unwrap_or(Bypass::NotReadOnly)
}
