//! What the rules say of one text. No lock and no allocation where no rule asks for comments, and no set has more than
//! 256 rules.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use pointsman_sql::{Facts, LexRules, Literal, ValueRef};

use crate::bits::Bits;
use crate::caching::Caching;
use crate::identity::Identity;
use crate::reading::Reading;
use crate::rule::{Per, RateLimit, Refusal, Route};
use crate::set::{PolicySet, RuleBits, Step};
use crate::touched::Consistency;

/// One text as it came.
#[derive(Clone, Copy)]
pub struct StatementView<'a> {
    /// Its facts.
    pub facts: &'a Facts,
    /// The text.
    pub sql: &'a [u8],
    /// The rules that it was read by.
    pub rules: LexRules,
    /// Its literals.
    pub literals: &'a [Literal],
    /// Whether it may have a comment.
    pub commented: bool,
    /// Whether a transaction is open.
    pub in_transaction: bool,
    /// The whole number that was bound to `$n`, counted from 1; `None` if it cannot be known.
    pub parameter: &'a dyn Fn(u32) -> Option<i64>,
}

impl StatementView<'_> {
    /// The whole number that a value stands for.
    #[must_use]
    pub fn integer(&self, value: ValueRef) -> Option<i64> {
        let literal = |index: usize| -> Option<i64> {
            let raw = self.literals.get(index)?.raw(self.sql);
            std::str::from_utf8(raw).ok()?.parse().ok()
        };
        match value {
            ValueRef::Literal(index) => literal(index),
            ValueRef::Negative(index) => literal(index)?.checked_neg(),
            ValueRef::Param(number) => (self.parameter)(number),
            ValueRef::Null | ValueRef::Bool(_) | ValueRef::Default | ValueRef::Other => None,
        }
    }
}

/// What the rules say. The default says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// Where reads go.
    pub route: Option<Route>,
    /// How far behind a replica may be.
    pub max_lag: Option<Duration>,
    /// What a read must see.
    pub consistency: Option<Consistency>,
    /// How long the statement may run.
    pub timeout: Option<Duration>,
    /// The statement is not run.
    pub refuse: Option<Arc<Refusal>>,
    /// Whether the developer may choose the route.
    pub overrides_allowed: bool,
    /// Reads are cached, and by which rule.
    pub cache: Option<(usize, Arc<Caching>)>,
    /// A table that is read from the primary only is read.
    pub keep_on_primary: bool,
    /// The rule that ended the search; else the first that matched and went on. By its place in
    /// [`PolicySet::rules`].
    pub decided_by: Option<usize>,
    /// The rule that set the route.
    pub routed_by: Option<usize>,
    pub(crate) matched: Bits,
    pub(crate) audited: Bits,
    pub(crate) limits: Bits,
    pub(crate) logs: Bits,
    pub(crate) plugged: Bits,
}

impl Decision {
    /// What holds for each of the parts in which servers perform a statement. What is counted, refused, limited or cached is
    /// the whole.
    #[must_use]
    pub fn of_parts(&self) -> Self {
        Self {
            route: self.route,
            max_lag: self.max_lag,
            consistency: self.consistency,
            timeout: self.timeout,
            keep_on_primary: self.keep_on_primary,
            ..Self::default()
        }
    }

    /// The enforced rules that matched, in order.
    pub fn matched(&self) -> impl Iterator<Item = usize> + '_ {
        self.matched.iter()
    }

    /// The audited rules that matched, in order.
    pub fn audited(&self) -> impl Iterator<Item = usize> + '_ {
        self.audited.iter()
    }

    /// The matched rules, audited ones too, that log.
    pub fn logs(&self) -> impl Iterator<Item = usize> + '_ {
        self.logs.iter()
    }

    /// The matched rules that name plugins, in order.
    pub fn plugged(&self) -> impl Iterator<Item = usize> + '_ {
        self.plugged.iter()
    }

    /// Whether a rate limit applies.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        !self.limits.is_empty()
    }

    /// The rate limits that apply, each with its rule. All of them must be kept.
    pub fn rate_limits<'a>(&'a self, set: &'a PolicySet) -> impl Iterator<Item = (usize, &'a RateLimit)> {
        self.limits.iter().filter_map(|index| {
            let rule = set.rules().get(index)?;
            Some((index, rule.actions.rate_limit.as_ref()?))
        })
    }
}

impl RateLimit {
    /// A number for what this limit counts together: the same for equal values of all that it is `per`.
    #[must_use]
    pub fn key(&self, identity: &Identity<'_>, facts: &Facts) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        for per in &self.per {
            match per {
                Per::User => identity.user.hash(&mut hasher),
                Per::Application => identity.application.hash(&mut hasher),
                Per::Client => identity.client.hash(&mut hasher),
                Per::Template => facts.shape.hash(&mut hasher),
            }
        }
        hasher.finish()
    }
}

impl PolicySet {
    /// What the rules say of a text, given those that its template and its session can match.
    #[must_use]
    #[inline]
    pub fn decide(&self, template: &RuleBits, session: &RuleBits, view: &StatementView<'_>) -> Decision {
        debug_assert!(template.is_of(self) && session.is_of(self), "bits of another set");
        let mut decision = Decision { keep_on_primary: template.keep_on_primary, ..Decision::default() };
        let reading = Reading::of(view);
        let mut settled = 0;
        for at in 0..template.bits.words() {
            let word = template.bits.word(at) & session.bits.word(at) & self.word_for(at, view);
            if word != 0 && self.decide_word((at, word), &reading, &mut settled, &mut decision) {
                break;
            }
        }
        decision
    }

    /// Goes through the rules of one word; true if one of them ends the search. `settled` is what rules have set.
    #[inline]
    fn decide_word(
        &self,
        (at, mut word): (usize, u64),
        reading: &Reading<'_>,
        settled: &mut u16,
        decision: &mut Decision,
    ) -> bool {
        let (mut matched, mut audited, mut ended) = (0, 0, None);
        while word != 0 {
            let index = at * 64 + word.trailing_zeros() as usize;
            let bit = word & word.wrapping_neg();
            word &= word - 1;
            let Some(step) = self.steps.get(index) else { continue };
            if step.dynamic && !self.text_matches(index, *step, reading) {
                continue;
            }
            if step.audit {
                audited |= bit;
                if step.sets & Step::LOG != 0 {
                    decision.logs.insert(index);
                }
                continue;
            }
            matched |= bit;
            // Limits, logs and plugins add up; of everything else the first counts.
            let sets = step.sets & !*settled;
            *settled |= sets & !(Step::RATE_LIMIT | Step::LOG | Step::PLUGINS);
            if sets != 0 {
                self.act(index, sets, decision);
            }
            if !step.continues {
                ended = Some(index);
                break;
            }
        }
        decision.matched.add_word(at, matched);
        decision.audited.add_word(at, audited);
        let first = (matched != 0).then(|| at * 64 + matched.trailing_zeros() as usize);
        decision.decided_by = ended.or(decision.decided_by).or(first);
        ended.is_some()
    }

    /// The number of rows is told apart here: rules that ask for nothing else need not be fetched.
    #[inline]
    fn text_matches(&self, index: usize, step: Step, reading: &Reading<'_>) -> bool {
        if let (Some(most), Some(rows)) = (step.limit_over, reading.rows_most())
            && (rows <= i64::from(most) || step.only_limit)
        {
            return rows > i64::from(most);
        }
        self.ordered.get(index).is_some_and(|ordered| ordered.text_does(reading, self.tables()))
    }

    fn act(&self, index: usize, sets: u16, decision: &mut Decision) {
        let Some(rule) = self.rules().get(index) else { return };
        let actions = &rule.actions;
        let has = |bit: u16| sets & bit != 0;
        if has(Step::ROUTE) {
            (decision.route, decision.routed_by) = (actions.route, Some(index));
        }
        if has(Step::MAX_LAG) {
            decision.max_lag = actions.max_lag;
        }
        if has(Step::CONSISTENCY) {
            decision.consistency = actions.consistency;
        }
        if has(Step::TIMEOUT) {
            decision.timeout = actions.timeout;
        }
        if has(Step::REFUSE) {
            decision.refuse.clone_from(&actions.refuse);
        }
        if has(Step::OVERRIDES) {
            decision.overrides_allowed = actions.overrides == Some(true);
        }
        if has(Step::CACHE) {
            decision.cache = actions.cache.as_ref().map(|caching| (index, Arc::clone(caching)));
        }
        if has(Step::RATE_LIMIT) {
            decision.limits.insert(index);
        }
        if has(Step::LOG) {
            decision.logs.insert(index);
        }
        if has(Step::PLUGINS) {
            decision.plugged.insert(index);
        }
    }
}

#[cfg(test)]
mod tests;
