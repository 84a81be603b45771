//! Facts and catalog to a class: what a text may do, and why.

use pointsman_sql::{Doubt, Facts, Kind, NotReadOnly, Statement};

use crate::catalog::{Catalog, Obstacle, is_shared_setting};

/// What a text may do to data, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Transaction control, settings, cursors, prepared statements: it follows the session and touches no data.
    Session,
    /// A read that any server with the data may serve.
    Read,
    /// A read that only the primary may serve: it changes nothing that others see.
    PrimaryRead,
    /// It may change data, or it is not known what it does.
    Write,
}

/// A text's class under one catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// What it may do.
    pub access: Access,
    /// Why it is not simply a read. Empty for [`Access::Read`].
    pub reasons: Vec<Reason>,
    /// Whether it may leave state in the session that its facts do not show.
    pub suspect: bool,
    /// [`Catalog::version`] of the catalog that was asked.
    pub catalog_version: u64,
}

/// Why a text is not simply a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The shape of a statement.
    Shape(NotReadOnly),
    /// Something that it uses.
    Uses(Obstacle),
    /// The facts are not whole.
    Doubt(Doubt),
    /// Several statements, of which one belongs to the session.
    Mixed,
    /// A setting that each server has for itself.
    Shows(Box<str>),
    /// It may leave state in the session, which must not be left on a replica.
    Suspect,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shape(shape) => shape.fmt(f),
            Self::Uses(obstacle) => obstacle.fmt(f),
            Self::Doubt(doubt) => write!(f, "not understood: {doubt}"),
            Self::Mixed => f.write_str("changes the session in the middle of other statements"),
            Self::Shows(name) => write!(f, "shows {name}: each server has its own"),
            Self::Suspect => f.write_str("may leave state in the session"),
        }
    }
}

/// Classifies a text.
#[must_use]
pub fn classify(facts: &Facts, catalog: &Catalog) -> Class {
    let mut class = Class {
        access: Access::Session,
        reasons: Vec::new(),
        suspect: false,
        catalog_version: catalog.version(),
    };
    if let Some(doubt) = facts.doubt {
        class.access = Access::Write;
        class.suspect = facts
            .statements
            .iter()
            .any(|statement| statement.kind == Kind::Other || catalog.suspect(statement));
        class.reasons.push(Reason::Doubt(doubt));
        return class;
    }
    let mut session = false;
    for statement in &facts.statements {
        let access = one(statement, catalog, &mut class.reasons);
        session |= access == Access::Session;
        class.access = class.access.max(access);
        class.suspect |= catalog.suspect(statement) || catalog.calls_unknown(statement);
    }
    if facts.statements.is_empty() {
        class.access = Access::Read;
    }
    if session && class.access == Access::Read {
        class.access = Access::PrimaryRead;
        class.reasons.push(Reason::Mixed);
    }
    if class.suspect && class.access == Access::Read {
        class.access = Access::PrimaryRead;
        class.reasons.push(Reason::Suspect);
    }
    class
}

fn one(statement: &Statement, catalog: &Catalog, reasons: &mut Vec<Reason>) -> Access {
    if is_session(&statement.kind) {
        return Access::Session;
    }
    if let Kind::Show(name) = &statement.kind {
        if is_shared_setting(name) {
            return Access::Read;
        }
        reasons.push(Reason::Shows(name.clone()));
        return Access::PrimaryRead;
    }
    let shape = match &statement.read_only {
        Ok(()) => Access::Read,
        Err(reason) => {
            reasons.push(Reason::Shape(reason.clone()));
            match reason {
                NotReadOnly::Locks(_) | NotReadOnly::CurrentOf => Access::PrimaryRead,
                NotReadOnly::Command(_) if matches!(statement.kind, Kind::DeclareCursor { .. }) => {
                    Access::PrimaryRead
                }
                _ => Access::Write,
            }
        }
    };
    let obstacles = catalog.obstacles(statement);
    let used = match obstacles.iter().map(Obstacle::harmless).min() {
        None => Access::Read,
        Some(true) => Access::PrimaryRead,
        Some(false) => Access::Write,
    };
    reasons.extend(obstacles.into_iter().map(Reason::Uses));
    let access = shape.max(used);
    if is_only_planned(statement) { access.min(Access::PrimaryRead) } else { access }
}

/// `EXPLAIN` without `ANALYZE` runs nothing, whatever it explains; but parameters of `EXECUTE` are evaluated.
fn is_only_planned(statement: &Statement) -> bool {
    matches!(statement.kind, Kind::Explain { analyze: false })
        && !matches!(statement.read_only, Err(NotReadOnly::Execute | NotReadOnly::Command("EXPLAIN")))
}

/// Statements that follow the session and touch no data themselves.
fn is_session(kind: &Kind) -> bool {
    kind.steers_transaction()
        || kind.sets()
        || matches!(
            kind,
            Kind::Discard(_)
                | Kind::Prepare(_)
                | Kind::Deallocate(_)
                | Kind::Fetch
                | Kind::Move
                | Kind::CloseCursor(_)
        )
}

#[cfg(test)]
mod tests;
