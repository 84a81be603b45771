//! The plan of a text over shards, remembered beside its template.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use pointsman_policy::catalog::Catalog;
use pointsman_policy::tables::Tables;
use pointsman_shards::{Column, FunctionKind, Placement, Schema};
use pointsman_shards::plan::{Plan, plan};
use pointsman_sql::{FunctionName, Literal, Relation};

/// A text's plan.
#[derive(Debug)]
pub(in crate::session) struct Planned {
    pub plan: Plan,
    /// The text that it was made from; empty if it holds for every text of the template.
    text: Box<str>,
    /// The policies that declare where tables live.
    version: u64,
    shards: usize,
}

impl Planned {
    /// Whether what is done on several shards holds for this text, too. Which shards it is for does in any case.
    pub fn is_of(&self, sql: &[u8]) -> bool {
        self.text.is_empty() || self.text.as_bytes() == sql
    }
}

/// The plan that was made last.
#[derive(Debug, Default)]
pub(in crate::session) struct PlannedMemo(ArcSwapOption<Planned>);

/// What a plan is made from beside the text.
pub(super) struct Declared<'a> {
    pub tables: &'a Tables,
    pub version: u64,
    pub catalog: &'a Catalog,
    pub shards: usize,
}

impl PlannedMemo {
    /// The plan of a text of this template: of its literals only the places count. `whole` says that what is done on several
    /// shards is asked for, too.
    pub fn of(&self, sql: &[u8], literals: &[Literal], declared: &Declared<'_>, whole: bool) -> Arc<Planned> {
        if let Some(known) = &*self.0.load()
            && known.version == declared.version
            && known.shards == declared.shards
            && (!whole || known.is_of(sql))
        {
            return Arc::clone(known);
        }
        let text = String::from_utf8_lossy(sql);
        let planned = Arc::new(Planned {
            plan: plan(&text, literals, declared),
            text: if literals.is_empty() { "".into() } else { text.as_ref().into() },
            version: declared.version,
            shards: declared.shards,
        });
        self.0.store(Some(Arc::clone(&planned)));
        planned
    }
}

impl Schema for Declared<'_> {
    fn shards(&self) -> usize {
        self.shards
    }

    fn placement(&self, relation: &Relation) -> Placement {
        self.tables.placement(relation)
    }

    fn columns(&self, relation: &Relation) -> Option<Arc<[Column]>> {
        self.catalog.columns(relation)
    }

    fn function(&self, name: &FunctionName) -> FunctionKind {
        self.catalog.function_kind(name)
    }

    fn default_bytewise(&self) -> bool {
        self.catalog.is_bytewise()
    }
}
