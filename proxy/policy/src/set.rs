//! The policies of a configuration as one value: loaded whole, swapped whole.

use std::sync::atomic::{AtomicU64, Ordering};

use pointsman_sql::Facts;

use crate::bits::Bits;
use crate::decide::StatementView;
use crate::file::{self, PolicyFile};
use crate::identity::Identity;
use crate::overrides::Overrides;
use crate::problem::{PolicyError, Problems};
use crate::rule::{self, LogLevel, Mode, Ordered, Rule};
use crate::tables::Tables;

/// Rules that a set may have.
pub const RULES_MAX: usize = 10_000;

/// Rules in order, and what is said of functions and tables.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    version: u64,
    rules: Vec<Rule>,
    pub(crate) steps: Vec<Step>,
    /// Rules of which something must be asked of each text.
    dynamic: Bits,
    /// Rules that can match while a transaction is open.
    inside: Bits,
    /// Rules that can match while none is.
    outside: Bits,
    /// Rules that can match a text without a comment.
    bare: Bits,
    /// Rules that name plugins.
    plugged: Bits,
    pub(crate) ordered: Vec<Ordered>,
    overrides: Overrides,
    tables: Tables,
    key_columns: Vec<Box<str>>,
    policies: Vec<PolicySummary>,
}

/// One policy file in a few words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySummary {
    /// `metadata.name`.
    pub name: String,
    /// The file.
    pub path: String,
    /// How many rules it has.
    pub rules: usize,
    /// Of how many functions it says something.
    pub functions: usize,
}

/// What `decide` must know of a rule, small enough that hundreds of them are near each other in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Something must be asked of each text.
    pub(crate) dynamic: bool,
    /// More rows than these must be asked for.
    pub(crate) limit_over: Option<u32>,
    /// That is all that must be asked of each text.
    pub(crate) only_limit: bool,
    pub(crate) audit: bool,
    pub(crate) continues: bool,
    /// What it sets: a bit for each action.
    pub(crate) sets: u16,
}

impl Step {
    pub(crate) const ROUTE: u16 = 1;
    pub(crate) const MAX_LAG: u16 = 1 << 1;
    pub(crate) const CONSISTENCY: u16 = 1 << 2;
    pub(crate) const TIMEOUT: u16 = 1 << 3;
    pub(crate) const REFUSE: u16 = 1 << 4;
    pub(crate) const OVERRIDES: u16 = 1 << 5;
    /// Limits and logs of several rules add up.
    pub(crate) const RATE_LIMIT: u16 = 1 << 6;
    pub(crate) const LOG: u16 = 1 << 7;
    pub(crate) const CACHE: u16 = 1 << 8;
    /// Plugins of several rules add up.
    pub(crate) const PLUGINS: u16 = 1 << 9;

    fn of(rule: &Rule, ordered: &Ordered) -> Self {
        let actions = &rule.actions;
        let bits = [
            (Self::ROUTE, actions.route.is_some()),
            (Self::MAX_LAG, actions.max_lag.is_some()),
            (Self::CONSISTENCY, actions.consistency.is_some()),
            (Self::TIMEOUT, actions.timeout.is_some()),
            (Self::REFUSE, actions.refuse.is_some()),
            (Self::OVERRIDES, actions.overrides.is_some()),
            (Self::RATE_LIMIT, actions.rate_limit.is_some()),
            (Self::LOG, actions.log.is_some()),
            (Self::CACHE, actions.cache.is_some()),
            (Self::PLUGINS, !actions.plugins.is_empty()),
        ];
        Self {
            dynamic: ordered.limit_over.is_some() || !ordered.text.is_empty(),
            limit_over: ordered.limit_over,
            only_limit: ordered.text.is_empty(),
            audit: rule.mode == Mode::Audit,
            continues: rule.continues,
            sets: bits.iter().filter(|(_, set)| *set).fold(0, |all, (bit, _)| all | bit),
        }
    }
}

/// Which rules can match: those of a template, or those of a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleBits {
    pub(crate) bits: Bits,
    /// [`PolicySet::version`] of the set that they belong to.
    pub(crate) version: u64,
    /// A table of the template is read from the primary only.
    pub(crate) keep_on_primary: bool,
}

impl RuleBits {
    /// Whether they belong to this set.
    #[must_use]
    pub fn is_of(&self, set: &PolicySet) -> bool {
        self.version == set.version
    }
}

impl PolicySet {
    /// Reads policy files, each a path (named in errors) and its text, in order.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(files: &[(String, String)]) -> Result<Self, Vec<PolicyError>> {
        let mut read = Vec::new();
        let mut wrong = Vec::new();
        for (path, text) in files {
            match file::read(path, text) {
                Ok(file) => read.push((path.as_str(), file)),
                Err(errors) => wrong.extend(errors),
            }
        }
        for (index, (path, file)) in read.iter().enumerate() {
            wrong.extend(against_others(path, file, &read[..index]));
        }
        if wrong.is_empty() { Ok(Self::of(read.into_iter())) } else { Err(wrong) }
    }

    /// A set of files that are all well.
    pub(crate) fn of<'a>(files: impl Iterator<Item = (&'a str, PolicyFile)>) -> Self {
        static VERSION: AtomicU64 = AtomicU64::new(1);
        let mut set = Self { version: VERSION.fetch_add(1, Ordering::Relaxed), ..Self::default() };
        for (path, file) in files {
            set.policies.push(PolicySummary {
                name: file.name,
                path: path.to_owned(),
                rules: file.rules.len(),
                functions: file.overrides.names().count(),
            });
            set.overrides.merge(&file.overrides);
            set.tables.merge(&file.tables);
            set.rules.extend(file.rules);
        }
        let caching = set.rules.iter().filter_map(|rule| rule.actions.cache.as_deref());
        set.key_columns = caching.flat_map(|caching| caching.invalidate_by.iter().cloned()).collect();
        set.key_columns.sort_unstable();
        set.key_columns.dedup();
        set.ordered = set.rules.iter().map(|rule| Ordered::new(&rule.conditions)).collect();
        set.steps =
            set.rules.iter().zip(&set.ordered).map(|(rule, ordered)| Step::of(rule, ordered)).collect();
        let chosen = |is: &dyn Fn(usize) -> bool| (0..set.rules.len()).filter(|index| is(*index)).collect();
        let plugged = chosen(&|index| !set.steps[index].audit && set.steps[index].sets & Step::PLUGINS != 0);
        let (dynamic, inside, outside, bare): (Bits, Bits, Bits, Bits) = (
            chosen(&|index| set.steps[index].dynamic),
            chosen(&|index| set.ordered[index].transaction_may(true)),
            chosen(&|index| set.ordered[index].transaction_may(false)),
            chosen(&|index| !set.ordered[index].needs_comment()),
        );
        Self { dynamic, inside, outside, bare, plugged, ..set }
    }

    /// Grows with every set loaded in this process; zero for the empty default.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether there is no rule and no table that is kept on the primary: `decide` has nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && !self.tables.keep_some_on_primary()
    }

    /// The rules in order. Decisions name them by their place here.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The policy files in order.
    #[must_use]
    pub fn policies(&self) -> &[PolicySummary] {
        &self.policies
    }

    /// What is said of functions.
    #[must_use]
    pub fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// What is said of tables.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The columns by whose values some cached result is told apart, sorted.
    #[must_use]
    pub fn key_columns(&self) -> &[Box<str>] {
        &self.key_columns
    }

    /// Whether a rule caches.
    #[must_use]
    pub fn caches(&self) -> bool {
        self.rules.iter().any(|rule| rule.actions.cache.is_some() && rule.mode == Mode::Enforce)
    }

    /// How loud rule `index` logs its matches.
    #[must_use]
    pub fn log_level(&self, index: usize) -> Option<LogLevel> {
        self.rules.get(index).and_then(|rule| rule.actions.log)
    }

    /// The rules that can match texts of a template. Worth remembering beside the template.
    #[must_use]
    pub fn of_template(&self, facts: &Facts) -> RuleBits {
        let mut bits = self.none();
        for (index, ordered) in self.ordered.iter().enumerate() {
            if ordered.template_may(facts, &self.tables) {
                bits.bits.insert(index);
            }
        }
        bits.keep_on_primary = self.tables.keep_on_primary(facts);
        bits
    }

    /// The rules that can match a session's texts. Worth remembering until the session's `application_name` changes.
    #[must_use]
    pub fn of_session(&self, identity: &Identity<'_>) -> RuleBits {
        let mut bits = self.none();
        for (index, ordered) in self.ordered.iter().enumerate() {
            if ordered.session_may(identity) {
                bits.bits.insert(index);
            }
        }
        bits
    }

    /// A word of the rules that can match a text as it comes: in a transaction or outside, with a comment or without.
    #[inline]
    pub(crate) fn word_for(&self, at: usize, view: &StatementView<'_>) -> u64 {
        let transaction = if view.in_transaction { &self.inside } else { &self.outside };
        let comment = if view.commented { u64::MAX } else { self.bare.word(at) };
        transaction.word(at) & comment
    }

    /// Whether deciding a text takes more of it than its facts: its literals or its comments, or all of it.
    #[must_use]
    pub fn asks_text(&self, template: &RuleBits, session: &RuleBits) -> bool {
        (0..self.dynamic.words())
            .any(|at| template.bits.word(at) & session.bits.word(at) & self.dynamic.word(at) != 0)
    }

    /// Whether a rule that can match names plugins.
    #[must_use]
    pub fn asks_plugins(&self, template: &RuleBits, session: &RuleBits) -> bool {
        (0..self.plugged.words())
            .any(|at| template.bits.word(at) & session.bits.word(at) & self.plugged.word(at) != 0)
    }

    /// Whether any rule names plugins.
    #[must_use]
    pub fn names_plugins(&self) -> bool {
        !self.plugged.is_empty()
    }

    fn none(&self) -> RuleBits {
        RuleBits {
            bits: Bits::with_room_for(self.rules.len()),
            version: self.version,
            keep_on_primary: false,
        }
    }
}

/// What is wrong with a file in the company of the files before it.
fn against_others(path: &str, file: &PolicyFile, others: &[(&str, PolicyFile)]) -> Vec<PolicyError> {
    let mut problems = Problems::new(path);
    if let Some((other, _)) = others.iter().find(|(_, other)| other.name == file.name) {
        problems.add(file.place, format!("another policy is called `{}`: {other}", file.name));
    }
    let earlier: Vec<&Rule> = others.iter().flat_map(|(_, file)| &file.rules).collect();
    if earlier.len() + file.rules.len() > RULES_MAX {
        problems.add(file.place, format!("there are more than {RULES_MAX} rules"));
        return problems.finish();
    }
    let mut tables = file.tables.clone();
    for (_, other) in others {
        tables.merge(&other.tables);
    }
    for rule in &file.rules {
        rule::against_earlier(rule, &earlier, &tables, &mut problems);
    }
    problems.finish()
}
