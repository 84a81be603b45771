//! The policies in force: one set, swapped whole, with what its rules have counted and the rates that they limit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pingora_limits::rate::Rate;
use pointsman_cache::stats::Counters;
use pointsman_plugin_host::{Plugin, Plugins};
use pointsman_policy::{Decision, Identity, PolicySet, RateLimit, Refusal, Rule};
use pointsman_sql::Facts;

/// Rows and columns of the sketch that a limit counts in: keys that share all four cells are counted together, so that
/// a limit may strike early among tens of thousands of keys at once, and never late. About 1 MiB for each limit.
const SKETCH: (usize, usize) = (4, 16 * 1024);
/// The library counts in windows of no less.
const WINDOW_MIN: Duration = Duration::from_secs(1);

/// What one rule has done since start; kept over reloads under the rule's name.
#[derive(Debug, Default)]
pub struct RuleCounts {
    /// Statements that it matched.
    pub matched: AtomicU64,
    /// Statements that it refused, by `refuse` or by its rate limit.
    pub refused: AtomicU64,
    /// Statements that its timeout ended.
    pub timed_out: AtomicU64,
    /// Statements that it wanted on a replica and that no replica may serve.
    pub impossible: AtomicU64,
    /// What became of its reads in the cache, if it caches.
    pub cache: Counters,
}

/// One limit's window.
struct Limit {
    rate: Rate,
    /// Statements in a window.
    most: f64,
}

/// The policies in force.
pub struct Policies {
    /// The rules.
    pub set: PolicySet,
    /// Beside each rule.
    counts: Vec<Arc<RuleCounts>>,
    /// Beside each rule that limits a rate.
    limits: Vec<Option<Arc<Limit>>>,
    /// All plugins, as they were when the rules came into force.
    plugins: Arc<Plugins>,
    /// Beside each rule: the plugins that it names.
    chains: Vec<Arc<[Arc<Plugin>]>>,
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policies")
            .field("set", &self.set)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl Policies {
    /// A set that comes into force after `before`: rules of the same name go on counting where those were, and limits that
    /// are the same too.
    pub fn after(before: Option<&Self>, set: PolicySet, plugins: Arc<Plugins>) -> Self {
        let names = before.into_iter().flat_map(|before| before.set.rules().iter().enumerate());
        let known: HashMap<String, usize> = names.map(|(index, rule)| (rule.to_string(), index)).collect();
        let (mut counts, mut limits) = (Vec::new(), Vec::new());
        for rule in set.rules() {
            let same = before.zip(known.get(&rule.to_string()).copied());
            counts.push(same.and_then(|(before, at)| before.counts.get(at)).cloned().unwrap_or_default());
            limits.push(rule.actions.rate_limit.as_ref().map(|limit| {
                let kept = same.and_then(|(before, at)| before.limit_like(at, limit));
                kept.unwrap_or_else(|| Arc::new(Limit::new(limit)))
            }));
        }
        let chains = set.rules().iter().map(|rule| {
            let named = rule.actions.plugins.iter().filter_map(|name| plugins.get(name));
            each_once(named).into()
        });
        let chains = chains.collect();
        Self { set, counts, limits, plugins, chains }
    }

    /// All plugins, as they were when the rules came into force.
    pub fn plugins(&self) -> &Arc<Plugins> {
        &self.plugins
    }

    /// The plugins that a decision's rules name, each once, in order.
    pub fn chain(&self, decision: &Decision) -> Arc<[Arc<Plugin>]> {
        let mut chains = decision.plugged().filter_map(|index| self.chains.get(index));
        let Some(first) = chains.next() else { return Arc::default() };
        let Some(second) = chains.next() else { return Arc::clone(first) };
        each_once([first, second].into_iter().chain(chains).flat_map(|chain| chain.iter())).into()
    }

    /// What rule `index` has counted, if it has this very limit.
    fn limit_like(&self, index: usize, limit: &RateLimit) -> Option<Arc<Limit>> {
        let own = self.set.rules().get(index)?.actions.rate_limit.as_ref()?;
        if own == limit { self.limits.get(index)?.clone() } else { None }
    }

    /// The rules in order, each with its counts.
    pub fn rules(&self) -> impl Iterator<Item = (&Rule, &RuleCounts)> {
        self.set.rules().iter().zip(self.counts.iter().map(|counts| &**counts))
    }

    /// The counts of rule `index`.
    pub fn counts(&self, index: usize) -> Option<&RuleCounts> {
        self.counts.get(index).map(|counts| &**counts)
    }

    /// The same, to be kept.
    pub fn shared_counts(&self, index: usize) -> Option<Arc<RuleCounts>> {
        self.counts.get(index).cloned()
    }

    /// Rule `index` has refused a statement.
    pub fn count_refused(&self, index: usize) {
        if let Some(counts) = self.counts(index) {
            counts.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A statement was wanted on a replica that no replica may serve.
    pub fn count_impossible(&self, rule: Option<usize>) {
        if let Some(counts) = rule.and_then(|index| self.counts(index)) {
            counts.impossible.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a decision that is about to be acted on, and logs what its rules log.
    pub fn note(&self, decision: &Decision, identity: &Identity<'_>, facts: &Facts) {
        for index in decision.matched().chain(decision.audited()) {
            if let Some(counts) = self.counts(index) {
                counts.matched.fetch_add(1, Ordering::Relaxed);
            }
        }
        for index in decision.logs() {
            self.log(index, identity, facts);
        }
    }

    #[cold]
    fn log(&self, index: usize, identity: &Identity<'_>, facts: &Facts) {
        use pointsman_policy::{LogLevel, Mode};
        let Some(rule) = self.set.rules().get(index) else { return };
        let Identity { user, database, application, client } = identity;
        let audit = rule.mode == Mode::Audit;
        let template = format_args!("{:016x}", facts.shape >> 64);
        match self.set.log_level(index) {
            Some(LogLevel::Warn) => {
                tracing::warn!(%rule, audit, user, database, application, ?client, %template, "rule matched");
            }
            _ => {
                tracing::info!(%rule, audit, user, database, application, ?client, %template, "rule matched")
            }
        }
    }

    /// The refusal of a rate limit that the statement would break; counted by each limit otherwise.
    pub fn over_limit(
        &self,
        decision: &Decision,
        identity: &Identity<'_>,
        facts: &Facts,
    ) -> Option<(usize, Refusal)> {
        if !decision.is_limited() {
            return None;
        }
        let keys = || {
            decision.rate_limits(&self.set).filter_map(|(index, limit)| {
                let state = self.limits.get(index)?.as_ref()?;
                Some((index, limit, state, limit.key(identity, facts)))
            })
        };
        if let Some((index, limit, ..)) = keys().find(|(_, _, state, key)| state.is_spent(*key)) {
            return self.set.rules().get(index).map(|rule| (index, refusal(rule, limit)));
        }
        for (_, _, state, key) in keys() {
            state.rate.observe(&key, 1);
        }
        None
    }
}

fn each_once<'a>(plugins: impl Iterator<Item = &'a Arc<Plugin>>) -> Vec<Arc<Plugin>> {
    let mut each: Vec<Arc<Plugin>> = Vec::new();
    for plugin in plugins {
        if !each.iter().any(|known| Arc::ptr_eq(known, plugin)) {
            each.push(Arc::clone(plugin));
        }
    }
    each
}

fn refusal(rule: &Rule, limit: &RateLimit) -> Refusal {
    let per: Vec<String> = limit.per.iter().map(ToString::to_string).collect();
    let told = format!(
        "rule {rule} allows {} such statements in {:?} for each {}",
        limit.count,
        limit.every,
        per.join(" and ")
    );
    Refusal {
        sqlstate: "53400".into(),
        message: told.into(),
        hint: Some("Try again later, or less often.".into()),
    }
}

impl Limit {
    /// A window in which the burst fits and which keeps the rate.
    fn new(limit: &RateLimit) -> Self {
        let each = limit.every.as_secs_f64() / f64::from(limit.count.max(1));
        let window = Duration::from_secs_f64(each * f64::from(limit.burst)).max(WINDOW_MIN);
        let (hashes, slots) = SKETCH;
        Self {
            rate: Rate::new_with_estimator_config(window, hashes, slots),
            most: (window.as_secs_f64() / each).max(1.0),
        }
    }

    /// Whether another statement would be one too many in the last window.
    fn is_spent(&self, key: u64) -> bool {
        let seen = self.rate.rate_with(&key, |seen| {
            let before = seen.prev_samples as f64 * (1.0 - seen.current_interval_fraction);
            before + seen.curr_samples as f64
        });
        seen + 1.0 > self.most + 1e-6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(rules: &str, before: Option<&Policies>) -> Policies {
        let text = format!(
            "apiVersion: pointsman/v1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  rules:\n{rules}"
        );
        let set = PolicySet::load(&[("p.yaml".to_owned(), text)]).expect("a sound policy");
        Policies::after(before, set, Arc::default())
    }

    fn decision(policies: &Policies, identity: &Identity<'_>, facts: &Facts) -> Decision {
        use pointsman_policy::StatementView;
        let view = StatementView {
            facts,
            sql: b"SELECT 1",
            rules: pointsman_sql::LexRules::default(),
            literals: &[],
            commented: false,
            in_transaction: false,
            parameter: &|_| None,
        };
        policies.set.decide(&policies.set.of_template(facts), &policies.set.of_session(identity), &view)
    }

    fn facts() -> Arc<Facts> {
        let mut analyzer = pointsman_sql::Analyzer::<()>::new(8);
        Arc::clone(analyzer.analyze(b"SELECT 1", pointsman_sql::LexRules::default()).facts)
    }

    const LIMIT: &str = "    - {name: few, match: {verb: select}, rate_limit: {per: user, rate: 3/m}}\n";

    #[test]
    fn a_rate_limit_counts_each_user_apart() {
        let (policies, facts) = (policies(LIMIT, None), facts());
        let ann = Identity { user: "ann", ..Identity::default() };
        let bob = Identity { user: "bob", ..Identity::default() };
        let decision = decision(&policies, &ann, &facts);
        for _ in 0..3 {
            assert_eq!(policies.over_limit(&decision, &ann, &facts), None);
        }
        let (_, refusal) = policies.over_limit(&decision, &ann, &facts).expect("the fourth is refused");
        assert_eq!(&*refusal.sqlstate, "53400");
        assert!(refusal.message.contains("rule p/few allows 3 such statements"), "{}", refusal.message);
        assert_eq!(policies.over_limit(&decision, &bob, &facts), None, "another user has a limit of its own");
    }

    #[test]
    fn counts_outlive_a_reload_under_the_rule_s_name() {
        let (first, facts) = (policies(LIMIT, None), facts());
        let ann = Identity { user: "ann", ..Identity::default() };
        first.note(&decision(&first, &ann, &facts), &ann, &facts);
        let other = "    - {name: other, match: {verb: insert}, log: info}\n";
        let second = policies(&format!("{other}{LIMIT}"), Some(&first));
        let matched: Vec<u64> =
            second.rules().map(|(_, counts)| counts.matched.load(Ordering::Relaxed)).collect();
        assert_eq!(matched, [0, 1]);
    }

    #[test]
    fn a_limit_that_is_used_up_stays_so_over_a_reload() {
        let (first, facts) = (policies(LIMIT, None), facts());
        let ann = Identity { user: "ann", ..Identity::default() };
        let over = |policies: &Policies| {
            policies.over_limit(&decision(policies, &ann, &facts), &ann, &facts).is_some()
        };
        assert_eq!([over(&first), over(&first), over(&first), over(&first)], [false, false, false, true]);
        let other = "    - {name: other, match: {verb: insert}, log: info}\n";
        let second = policies(&format!("{other}{LIMIT}"), Some(&first));
        assert!(over(&second), "the rule is the same, at another place");
        let third = policies(&LIMIT.replace("3/m", "4/m"), Some(&second));
        assert!(!over(&third), "another limit counts anew");
    }
}
