//! What policies say of this session's statements: decided for each of them, counted, limited, and turned into terms
//! that a plan and a reader keep to.

use std::sync::Arc;

use pointsman_policy::{
    Decision, Identity, PolicySet, Refusal, Route, RuleBits, StatementView, hinted_route,
};
use pointsman_sql::{Facts, Kind, SetValue, Setting};

use super::Session;
use super::about::About;
use super::admission::Admission;
use super::judge::{Marks, Verdict, with_text};
use super::meter::application_name;
use super::shards::SHARD_KEY;
use crate::fault::Fault;
use crate::policies::Policies;
use crate::upstream::choice::ReadTerms;
use crate::upstream::settings::{Settings, Value};

/// What our own settings' names begin with.
const OWN: &str = "pointsman.";
/// The setting by which a developer chooses a route.
const ROUTE: &str = "pointsman.route";

/// The policies as this session last met them.
#[derive(Debug)]
pub(super) struct Steering {
    policies: Arc<Policies>,
    /// The rules that can match the session.
    bits: RuleBits,
    application: String,
    /// The settings that `application` is from.
    named_by: Option<Arc<Settings>>,
}

/// A statement as it is about to be performed.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub facts: &'a Facts,
    pub verdict: &'a Verdict,
    /// Its text.
    pub sql: &'a [u8],
    /// The whole numbers bound to its parameters, where they are known.
    pub parameter: &'a dyn Fn(u32) -> Option<i64>,
}

impl Steering {
    /// A session that no rule has been matched with yet.
    pub fn new(policies: Arc<Policies>) -> Self {
        Self { policies, bits: RuleBits::default(), application: String::new(), named_by: None }
    }

    /// The policies that the last statement was decided by.
    pub fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// Follows a change of the policies or of the application's name.
    fn follow(&mut self, policies: Arc<Policies>, about: &About, settings: &Arc<Settings>) {
        let named = self.named_by.as_ref().is_some_and(|known| Arc::ptr_eq(known, settings));
        if named && Arc::ptr_eq(&self.policies, &policies) && self.bits.is_of(&policies.set) {
            return;
        }
        if !named {
            self.application = application_name(settings);
            self.named_by = Some(Arc::clone(settings));
        }
        self.bits = policies.set.of_session(&identity(about, &self.application));
        self.policies = policies;
    }
}

fn identity<'a>(about: &'a About, application: &'a str) -> Identity<'a> {
    Identity {
        user: &about.user,
        database: &about.database,
        application,
        client: about.ends.peer.map(|peer| peer.ip()),
    }
}

impl Session {
    /// What the rules say of a statement; `None` if there are none.
    pub(super) fn decide(&mut self, asked: &Asked<'_>) -> Option<Decision> {
        if let Some(ruled) = &self.ruled {
            return ruled.load().as_deref().cloned();
        }
        let policies = self.shared.policies.load();
        if policies.set.is_empty() {
            return None;
        }
        self.follow_policies(&policies);
        let Steering { policies, bits, .. } = &self.steering;
        let set = &policies.set;
        let template = asked.verdict.rules(asked.facts, set);
        Some(self.with_view(asked, set.asks_text(&template, bits), |view| set.decide(&template, bits, view)))
    }

    /// Follows a change of the policies, or of what this session is to them.
    pub(super) fn follow_policies(&mut self, policies: &Arc<Policies>) {
        self.steering.follow(Arc::clone(policies), &self.meter.about, self.wants.client());
    }

    /// Whether a rule that can match a statement names plugins, by the policies that the session follows.
    pub(super) fn may_ask_plugins(&self, facts: &Facts, verdict: &Verdict) -> bool {
        let Steering { policies, bits, .. } = &self.steering;
        policies.set.asks_plugins(&verdict.rules(facts, &policies.set), bits)
    }

    /// Shows a statement to a rule; its literals and comments only where `text` is asked for.
    pub(super) fn with_view<T>(
        &self,
        asked: &Asked<'_>,
        text: bool,
        look: impl FnOnce(&StatementView<'_>) -> T,
    ) -> T {
        let rules = self.wants.rules();
        let in_transaction = self.status != pointsman_wire::backend::TransactionStatus::Idle;
        let Asked { facts, sql, parameter, .. } = *asked;
        let base =
            StatementView { facts, sql, rules, literals: &[], commented: false, in_transaction, parameter };
        if !text {
            return look(&base);
        }
        with_text(sql, rules, |literals, commented| look(&StatementView { literals, commented, ..base }))
    }

    /// Who asks, as rules see it.
    pub(super) fn identity(&self) -> Identity<'_> {
        identity(&self.meter.about, &self.steering.application)
    }

    /// Decides a statement that is about to be performed. The decision counts; a refusal is an error.
    pub(super) fn admit(&mut self, asked: &Asked<'_>) -> Admission {
        if asked.verdict.marks.has(Marks::STATE) {
            check_own_settings(asked.facts)?;
        }
        let decided = self.flow.decided.take().or_else(|| self.decide(asked).map(Box::new));
        let Some(mut decision) = decided else { return Ok(None) };
        self.apply_plugged(&mut decision)?;
        let policies = self.steering.policies();
        let identity = self.identity();
        policies.note(&decision, &identity, asked.facts);
        let refusal = match &decision.refuse {
            Some(refusal) => decision.decided_by.map(|index| (index, Refusal::clone(refusal))),
            None => policies.over_limit(&decision, &identity, asked.facts),
        };
        if let Some((index, refusal)) = refusal {
            policies.count_refused(index);
            self.flow.overrun.forget();
            return Err(Fault::ruled(&refusal));
        }
        if let Some(limit) = decision.timeout {
            self.flow.overrun.allow(limit, timed_by(policies, &decision));
        }
        Ok(Some(decision))
    }

    /// How reads are served under a decision.
    pub(super) fn terms(&self, decision: Option<&Decision>) -> ReadTerms {
        let mut terms = self.shared.cluster.read_terms();
        if let Some(decision) = decision {
            terms.consistency = decision.consistency.unwrap_or(terms.consistency);
            terms.max_lag = decision.max_lag.or(terms.max_lag);
            let staleness = decision.cache.as_ref().and_then(|(_, caching)| caching.max_staleness);
            terms.max_lag = terms.max_lag.into_iter().chain(staleness).min();
        }
        terms
    }

    /// What was decided of a statement holds for the parts of it that inner sessions perform.
    pub(super) fn rule_parts(&mut self, decision: Option<&Decision>, sql: &[u8]) {
        let parts = decision.map(|decision| {
            let mut parts = decision.of_parts();
            parts.route = self.wanted(Some(decision), sql).or(parts.route);
            if decision.cache.is_some() {
                parts.max_lag = self.terms(Some(decision)).max_lag;
            }
            Arc::new(parts)
        });
        self.flow.overrun.forget();
        if let Some(shards) = &self.shards {
            shards.rule(parts);
        }
    }

    /// The route that the developer asks for, where a rule lets them.
    pub(super) fn wanted(&self, decision: Option<&Decision>, sql: &[u8]) -> Option<Route> {
        if !decision.is_some_and(|decision| decision.overrides_allowed) {
            return None;
        }
        hinted_route(sql, self.wants.rules()).or_else(|| self.set_route())
    }

    /// The route that the session's own setting names.
    pub(super) fn set_route(&self) -> Option<Route> {
        Route::named(match self.wants.client().get(ROUTE)? {
            Value::Text(text) => text.trim(),
            Value::Statement(statement) => statement.rsplit(" TO ").next()?.trim_matches('\''),
        })
    }
}

/// The rule that sets a decision's timeout.
fn timed_by(policies: &Policies, decision: &Decision) -> Option<usize> {
    let rules = policies.set.rules();
    decision.matched().find(|index| rules.get(*index).is_some_and(|rule| rule.actions.timeout.is_some()))
}

/// `SET` of a setting of ours: an unknown name or value is refused, as PostgreSQL refuses those of its own.
fn check_own_settings(facts: &Facts) -> Result<(), Fault> {
    for statement in &facts.statements {
        let Kind::Set(Setting { name, value, .. }) = &statement.kind else { continue };
        if !name.starts_with(OWN) {
            continue;
        }
        if &**name == SHARD_KEY {
            continue;
        }
        if &**name != ROUTE {
            let told = format!("unrecognized configuration parameter \"{name}\"");
            return Err(Fault::client("42704", told)
                .hint("Pointsman's own settings are pointsman.route and pointsman.shard_key."));
        }
        if let SetValue::Values { plain, .. } = value
            && !plain.is_empty()
            && Route::named(plain).is_none()
        {
            let told = format!("invalid value for parameter \"{name}\": \"{plain}\"");
            return Err(Fault::client("22023", told).hint("Available values: primary, replica, any."));
        }
    }
    Ok(())
}

/// The rules that can match a template, remembered beside its verdict.
#[derive(Debug, Default)]
pub struct RulesMemo(arc_swap::ArcSwapOption<RuleBits>);

impl RulesMemo {
    /// Those of `set`.
    pub fn of(&self, facts: &Facts, set: &PolicySet) -> Arc<RuleBits> {
        if let Some(bits) = &*self.0.load()
            && bits.is_of(set)
        {
            return Arc::clone(bits);
        }
        let bits = Arc::new(set.of_template(facts));
        self.0.store(Some(Arc::clone(&bits)));
        bits
    }
}
