//! From a text to what the session must know of it, remembered beside the template.

use std::cell::RefCell;
use std::sync::Arc;

use pointsman_policy::catalog::{Catalog, Obstacle};
use pointsman_policy::{Access, Class, Footprint, PolicySet, Reason, RuleBits, classify, footprint};
use pointsman_sql::{
    Analyzer, Facts, Isolation, Kind, LexRules, Literal, NotReadOnly, SessionState, Statement,
    TransactionModes,
};

use super::Session;
use super::configs::ConfigCalls;
use super::shards::PlannedMemo;
use super::steer::RulesMemo;
use crate::caching::verdict::{Plans, PlansMemo};
use crate::metrics::StatementKind;

/// Properties of a text, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks(u16);

impl Marks {
    /// Provably read-only.
    pub const READ: Self = Self(1);
    /// Touches the session's settings or transaction: settled statement by statement.
    pub const STATE: Self = Self(1 << 1);
    /// `PREPARE`, `EXECUTE` or `DEALLOCATE` is in it: names must be translated.
    pub const NAMES: Self = Self(1 << 2);
    /// Takes something that outlives the transaction: ask afterwards.
    pub const TAKES: Self = Self(1 << 3);
    /// Gives something up that outlives the transaction: ask afterwards if anything was held.
    pub const GIVES: Self = Self(1 << 4);
    /// Changes definitions.
    pub const DDL: Self = Self(1 << 5);
    /// May change the session in a way that nobody can ask for.
    pub const DOUBTFUL: Self = Self(1 << 6);
    /// May change data.
    pub const WRITE: Self = Self(1 << 7);
    /// Does something on a replica other than on the primary, though both may take it.
    pub const PRIMARY: Self = Self(1 << 8);

    /// Whether all of `marks` are there.
    pub fn has(self, marks: Self) -> bool {
        self.0 & marks.0 == marks.0
    }

    fn set(&mut self, marks: Self, when: bool) {
        if when {
            self.0 |= marks.0;
        }
    }
}

/// What a text's facts mean under one catalog.
#[derive(Debug)]
pub struct Verdict {
    /// Where it may go.
    pub class: Class,
    /// What it reads and writes.
    pub footprint: Footprint,
    /// Its properties.
    pub marks: Marks,
    /// For the metrics.
    pub kind: StatementKind,
    /// The database whose catalog it was judged by.
    origin: u32,
    rules: RulesMemo,
    plans: PlansMemo,
    planned: PlannedMemo,
}

impl Verdict {
    /// Judges facts.
    pub fn new(facts: &Facts, catalog: &Catalog) -> Self {
        let class = classify(facts, catalog);
        let mut marks = Marks::default();
        marks.set(Marks::READ, class.access == Access::Read);
        marks.set(Marks::WRITE, class.access == Access::Write);
        let doubtful = if facts.understood() { class.suspect } else { is_opaque(facts) };
        marks.set(Marks::DOUBTFUL, doubtful);
        marks.set(Marks::STATE, doubtful);
        for statement in &facts.statements {
            mark_kind(&mut marks, statement);
            marks.set(Marks::PRIMARY, is_for_primary(statement));
            for state in &statement.state {
                mark_state(&mut marks, state);
            }
        }
        let footprint = footprint(facts, catalog);
        Self {
            class,
            footprint,
            marks,
            kind: kind(facts),
            origin: catalog.origin(),
            rules: RulesMemo::default(),
            plans: PlansMemo::default(),
            planned: PlannedMemo::default(),
        }
    }

    /// The rules of `set` that can match the text.
    pub fn rules(&self, facts: &Facts, set: &PolicySet) -> Arc<RuleBits> {
        self.rules.of(facts, set)
    }

    /// What caching makes of the text, under the catalog that it was judged by and the policies in `set`.
    pub fn plans(&self, facts: &Facts, catalog: &Catalog, set: &PolicySet) -> Arc<Plans> {
        self.plans.of(facts, (&self.class, &self.footprint), catalog, set)
    }

    /// What is remembered of its plan over shards.
    pub(super) fn planned(&self) -> &PlannedMemo {
        &self.planned
    }

    /// What the facts mean under this catalog: this, if it was judged under it.
    pub fn under(self: &Arc<Self>, facts: &Facts, catalog: &Catalog) -> Arc<Self> {
        if self.is_of(catalog) { Arc::clone(self) } else { Arc::new(Self::new(facts, catalog)) }
    }

    /// Whether the text calls a function that the catalog does not know.
    pub fn is_uncertain(&self) -> bool {
        let unknown = |reason: &Reason| matches!(reason, Reason::Uses(Obstacle::UnknownFunction(_)));
        self.class.reasons.iter().any(unknown)
    }

    /// Whether it was judged under this catalog.
    pub fn is_of(&self, catalog: &Catalog) -> bool {
        self.class.catalog_version == catalog.version()
    }
}

/// What is known of a text.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Its facts.
    pub facts: Arc<Facts>,
    /// What they mean.
    pub verdict: Arc<Verdict>,
    /// Its `set_config` calls.
    pub configs: ConfigCalls,
    /// How many literals the text has.
    pub literals: u32,
    /// Whether the template was known.
    pub hit: bool,
}

impl Judged {
    /// Whether it calls a function that the catalog does not know: it may have been made a moment ago.
    pub fn is_uncertain(&self) -> bool {
        self.verdict.is_uncertain()
    }

    /// Whether the text has all of these properties.
    pub fn has(&self, marks: Marks) -> bool {
        self.verdict.marks.has(marks)
    }
}

/// Databases whose verdicts are remembered beside one template; of more, the one that was remembered first is forgotten.
const ORIGINS_MAX: usize = 16;

/// What one template means under the catalogs of several databases: one version of each.
#[derive(Debug, Clone, Default)]
pub struct Verdicts(Vec<Arc<Verdict>>);

impl Verdicts {
    /// What it means under this catalog, if that is remembered.
    pub fn of(&self, catalog: &Catalog) -> Option<&Arc<Verdict>> {
        self.0.iter().find(|verdict| verdict.is_of(catalog))
    }

    /// Puts a verdict in the place of the one of the same database.
    pub fn remember(&mut self, verdict: Arc<Verdict>) {
        match self.0.iter_mut().find(|known| known.origin == verdict.origin) {
            Some(known) => *known = verdict,
            None => {
                if self.0.len() >= ORIGINS_MAX {
                    self.0.remove(0);
                }
                self.0.push(verdict);
            }
        }
    }
}

thread_local! {
    static ANALYZER: RefCell<Option<Analyzer<Verdicts>>> = const { RefCell::new(None) };
}

/// Makes this thread's template cache. Called once by each worker, before its first session.
pub fn prepare_thread(templates_max: usize) {
    ANALYZER.with_borrow_mut(|analyzer| *analyzer = Some(Analyzer::new(templates_max)));
}

/// Templates that threads without a cache of their own (tests, tools) remember.
const TEMPLATES_DEFAULT: usize = 1000;

/// Templates that this thread remembers.
pub fn templates_held() -> usize {
    ANALYZER.with_borrow(|analyzer| analyzer.as_ref().map_or(0, |analyzer| analyzer.stats().entries))
}

/// Judges a text.
pub fn judge(sql: &[u8], rules: LexRules, catalog: &Catalog) -> Judged {
    ANALYZER.with_borrow_mut(|analyzer| {
        let analyzer = analyzer.get_or_insert_with(|| Analyzer::new(TEMPLATES_DEFAULT));
        let analysis = analyzer.analyze(sql, rules);
        let facts = Arc::clone(analysis.facts);
        let verdict = match analysis.memo.of(catalog) {
            Some(verdict) => Arc::clone(verdict),
            None => {
                let verdict = Arc::new(Verdict::new(&facts, catalog));
                analysis.memo.remember(Arc::clone(&verdict));
                verdict
            }
        };
        let configs = if verdict.marks.has(Marks::STATE) {
            ConfigCalls::read(sql, &facts, analysis.literals)
        } else {
            ConfigCalls::default()
        };
        let literals = u32::try_from(analysis.literals.len()).unwrap_or(u32::MAX);
        Judged { facts, verdict, configs, literals, hit: analysis.hit }
    })
}

impl Session {
    /// Judges a text of this session's, by the catalog of the database that it is in now.
    pub(super) fn judged(&self, sql: &[u8]) -> Judged {
        judge(sql, self.wants.rules(), &self.shared.account.database.catalog())
    }
}

/// Looks at a text's literals, and whether it may have a comment.
pub(crate) fn with_text<T>(sql: &[u8], rules: LexRules, look: impl FnOnce(&[Literal], bool) -> T) -> T {
    ANALYZER.with_borrow_mut(|analyzer| {
        let analyzer = analyzer.get_or_insert_with(|| Analyzer::new(TEMPLATES_DEFAULT));
        let analysis = analyzer.analyze(sql, rules);
        look(analysis.literals, analysis.commented)
    })
}

/// A text without a parse tree: only plain statements that name nothing which touches a session are harmless.
fn is_opaque(facts: &Facts) -> bool {
    let harmless = |statement: &Statement| {
        matches!(
            statement.kind,
            Kind::Select | Kind::Insert | Kind::Update | Kind::Delete | Kind::CopyFrom(_)
        ) && statement.state.is_empty()
    };
    let plain = facts.statements.len() == 1 && facts.statements.iter().all(harmless);
    !(facts.understood() || plain)
}

/// Whether a replica would refuse in a read-only transaction what the primary would do there, or would do it for itself
/// alone.
fn is_for_primary(statement: &Statement) -> bool {
    const FUNCTIONS: [&str; 4] = ["pg_notify", "txid_current", "pg_current_xact_id", "pg_export_snapshot"];
    const SETTINGS: [&str; 2] = ["transaction_read_only", "transaction_isolation"];
    let writes_or_serializes = |modes: &TransactionModes| {
        modes.read_only == Some(false) || modes.isolation == Some(Isolation::Serializable) || modes.snapshot
    };
    let named = |name: &str| {
        FUNCTIONS.contains(&name) || name.starts_with("pg_advisory_") || name.starts_with("pg_try_advisory_")
    };
    match &statement.kind {
        Kind::Notify | Kind::Listen(_) => true,
        Kind::SetTransaction(modes) => writes_or_serializes(modes),
        Kind::Set(setting) => SETTINGS.contains(&&*setting.name),
        _ => statement.functions.iter().any(|function| named(&function.name)),
    }
}

fn mark_kind(marks: &mut Marks, statement: &Statement) {
    let state = matches!(
        statement.kind,
        Kind::Commit { .. }
            | Kind::Rollback { .. }
            | Kind::Savepoint(_)
            | Kind::Release(_)
            | Kind::RollbackTo(_)
            | Kind::Set(_)
            | Kind::SetSessionCharacteristics(_)
            | Kind::Reset(_)
            | Kind::ResetAll
            | Kind::Discard(_)
            | Kind::Deallocate(_)
            | Kind::Ddl
    );
    marks.set(Marks::STATE, state);
    let names = matches!(statement.kind, Kind::Prepare(_) | Kind::Execute(_) | Kind::Deallocate(_))
        || statement.read_only == Err(NotReadOnly::Execute);
    marks.set(Marks::NAMES, names);
    let defines = matches!(statement.kind, Kind::Ddl | Kind::Do | Kind::Call | Kind::Discard(_));
    marks.set(Marks::DDL, defines || statement.read_only == Err(NotReadOnly::SelectInto));
    marks.set(Marks::GIVES, matches!(statement.kind, Kind::CloseCursor(_) | Kind::Discard(_)));
}

fn mark_state(marks: &mut Marks, state: &SessionState) {
    match state {
        SessionState::SetConfig { .. } => marks.set(Marks::STATE, true),
        SessionState::TempTable
        | SessionState::TempReference
        | SessionState::SessionAdvisoryLock
        | SessionState::HoldCursor
        | SessionState::Listen
        | SessionState::Opaque => marks.set(Marks::TAKES, true),
        SessionState::AdvisoryUnlock { .. } | SessionState::Unlisten { .. } | SessionState::DropObject => {
            marks.set(Marks::GIVES, true);
        }
        SessionState::Load => marks.set(Marks::DOUBTFUL, true),
        // Names are translated; sequence values are the server's own memory of a connection.
        SessionState::PreparedStatement | SessionState::Sequence => {}
    }
}

/// The kind that a text counts as: its first statement's.
fn kind(facts: &Facts) -> StatementKind {
    let Some(first) = facts.statements.first() else { return StatementKind::Other };
    match &first.kind {
        Kind::Select | Kind::Values | Kind::Show(_) | Kind::Explain { .. } => StatementKind::Select,
        Kind::Insert | Kind::Merge => StatementKind::Insert,
        Kind::Update => StatementKind::Update,
        Kind::Delete => StatementKind::Delete,
        Kind::CopyFrom(_) | Kind::CopyTo(_) => StatementKind::Copy,
        Kind::PrepareTransaction | Kind::CommitPrepared | Kind::RollbackPrepared => {
            StatementKind::Transaction
        }
        kind if kind.steers_transaction() => StatementKind::Transaction,
        kind if kind.sets() || matches!(kind, Kind::Discard(_)) => StatementKind::Set,
        Kind::Ddl => StatementKind::Ddl,
        _ => StatementKind::Other,
    }
}
