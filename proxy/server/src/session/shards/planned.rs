//! The plan of a text over shards, remembered beside its template.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use pointsman_policy::Tables;
use pointsman_policy::catalog::Catalog;
use pointsman_shards::pick::Pick;
use pointsman_shards::plan::{Many, Plan, Refusal, Why, plan};
use pointsman_shards::{Column, FunctionKind, Placement, Schema};
use pointsman_sql::{ClientEncoding, FunctionName, LexRules, Literal, LiteralKind, Relation};

/// Literals that texts may have for a plan to serve others of the template, too.
const ALIKE_MAX: usize = 16;

/// A text's plan.
#[derive(Debug)]
pub(in crate::session) struct Planned {
    pub plan: Plan,
    /// The text that it was made from; empty if it has no literals.
    text: Box<str>,
    /// Of each of its literals the first that is written like it, and its kind; of many, nothing.
    alike: Vec<(usize, LiteralKind)>,
    /// The policies that declare where tables live.
    version: u64,
    /// The catalog that says what columns there are.
    catalog: u64,
    shards: usize,
}

impl Planned {
    /// Whether the text has literals.
    pub fn has_literals(&self) -> bool {
        !self.text.is_empty()
    }

    /// Whether all of it holds for this text.
    pub fn is_of(&self, sql: &[u8]) -> bool {
        self.text.is_empty() || self.text.as_bytes() == sql
    }

    /// Whether it was made from what is declared and known now.
    fn is_under(&self, declared: &Declared<'_>) -> bool {
        self.version == declared.version
            && self.catalog == declared.catalog.version()
            && self.shards == declared.shards
    }

    /// Whether it holds for a text of the same template: with `whole` all of it, else at least the shards that it is for. A plan may
    /// follow from two literals' being the same, and from nothing else that literals say.
    pub fn serves(&self, sql: &[u8], literals: &[Literal], whole: bool) -> bool {
        self.is_of(sql)
            || (!whole && literals.len() <= ALIKE_MAX && alike(sql, literals).eq(self.alike.iter().copied()))
    }
}

/// Of each literal its kind, and the first that is written like it.
fn alike<'a>(sql: &'a [u8], literals: &'a [Literal]) -> impl Iterator<Item = (usize, LiteralKind)> + 'a {
    literals.iter().map(move |literal| {
        let same = |other: &Literal| other.kind == literal.kind && other.raw(sql) == literal.raw(sql);
        (literals.iter().position(same).unwrap_or(usize::MAX), literal.kind)
    })
}

/// The plan of a text that cannot be read here as the server reads it.
fn unreadable() -> Plan {
    Plan {
        pick: Pick::All,
        many: Many::Refused(Refusal {
            why: Why::Statement,
            part:
                "a text in this client_encoding, or with backslashes while standard_conforming_strings is off"
                    .into(),
            hint: "Send it in UTF-8, with standard_conforming_strings on.".into(),
        }),
    }
}

/// The plan that was made last.
#[derive(Debug, Default)]
pub(in crate::session) struct PlannedMemo {
    last: ArcSwapOption<Planned>,
    /// One more than the version of the policies by which the template needs no ids; 0: that is not known.
    without_ids: AtomicU64,
}

/// What a plan is made from beside the text.
pub(crate) struct Declared<'a> {
    pub tables: &'a Tables,
    pub version: u64,
    pub catalog: &'a Catalog,
    pub shards: usize,
    /// How the client's texts are read.
    pub rules: LexRules,
}

impl Declared<'_> {
    /// Whether PostgreSQL's parser reads a text here as the server does: in UTF-8, and without escapes that only a setting makes
    /// such.
    fn reads(&self, sql: &[u8]) -> bool {
        let plain = self.rules.standard_conforming_strings || !sql.contains(&b'\\');
        let encoded = match self.rules.encoding {
            ClientEncoding::Utf8 => std::str::from_utf8(sql).is_ok(),
            _ => sql.is_ascii(),
        };
        plain && encoded
    }
}

impl PlannedMemo {
    /// The plan that was made last, if it holds under what is declared and known now.
    pub fn known(&self, declared: &Declared<'_>) -> Option<Arc<Planned>> {
        let known = self.last.load();
        known.as_ref().filter(|known| known.is_under(declared)).cloned()
    }

    /// Plans a text of this template.
    pub fn renew(&self, sql: &[u8], literals: &[Literal], declared: &Declared<'_>) -> Arc<Planned> {
        let text = String::from_utf8_lossy(sql);
        let planned = Arc::new(Planned {
            plan: if declared.reads(sql) { plan(&text, literals, declared) } else { unreadable() },
            alike: if literals.len() > ALIKE_MAX { Vec::new() } else { alike(sql, literals).collect() },
            text: if literals.is_empty() { "".into() } else { text.as_ref().into() },
            version: declared.version,
            catalog: declared.catalog.version(),
            shards: declared.shards,
        });
        self.last.store(Some(Arc::clone(&planned)));
        planned
    }

    /// Whether it is known that texts of this template need no ids by policies of this version.
    pub fn needs_no_ids(&self, version: u64) -> bool {
        self.without_ids.load(Ordering::Relaxed) == version.wrapping_add(1)
    }

    /// Notes that.
    pub fn note_no_ids(&self, version: u64) {
        self.without_ids.store(version.wrapping_add(1), Ordering::Relaxed);
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

    fn shows_sharded(&self, relation: &Relation) -> bool {
        let tables = self.tables.sharded().map(|(pattern, _)| pattern.relation());
        self.catalog.is_view_of(relation, tables)
    }

    fn may_read_tables(&self, name: &FunctionName) -> bool {
        self.catalog.may_read_tables(name)
    }

    fn default_collation(&self, relation: &Relation, column: &str) -> bool {
        self.catalog.has_default_collation(relation, column)
    }

    fn default_bytewise(&self) -> bool {
        self.catalog.is_bytewise()
    }
}
