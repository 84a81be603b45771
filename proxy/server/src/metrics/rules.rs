//! What the policies' rules have done. Labels are the names in the policy files, a closed set.

use prometheus::proto::MetricFamily;

use super::family::{Family, Shape, counter};

/// One rule's counts.
#[derive(Debug, Clone, Default)]
pub struct RuleSnapshot {
    /// The policy's name.
    pub policy: String,
    /// The rule's name.
    pub rule: String,
    /// Statements that it matched.
    pub matched: u64,
    /// Statements that it refused.
    pub refused: u64,
    /// Statements that its timeout ended.
    pub timed_out: u64,
    /// Statements that it wanted on a replica and that no replica may serve.
    pub impossible: u64,
}

const MATCHED: Shape = counter(
    "pointsman_rule_matches_total",
    "Statements that matched a policy's rule, audited rules included, by policy and rule.",
);
const REFUSED: Shape = counter(
    "pointsman_rule_refusals_total",
    "Statements that a policy's rule refused, by `refuse` or by its rate limit, by policy and rule.",
);
const TIMED_OUT: Shape = counter(
    "pointsman_rule_timeouts_total",
    "Statements cancelled because they took longer than a policy's rule allows, by policy and rule.",
);
const IMPOSSIBLE: Shape = counter(
    "pointsman_rule_impossible_routes_total",
    "Statements that a policy's rule wanted on a replica and that went to the primary, because they may write, by \
     policy and rule.",
);

type RuleFamily = (Shape, fn(&RuleSnapshot) -> u64);

const FAMILIES: [RuleFamily; 4] = [
    (MATCHED, |rule| rule.matched),
    (REFUSED, |rule| rule.refused),
    (TIMED_OUT, |rule| rule.timed_out),
    (IMPOSSIBLE, |rule| rule.impossible),
];

/// The families' shapes.
pub(super) fn shapes() -> impl Iterator<Item = &'static Shape> {
    FAMILIES.iter().map(|(shape, _)| shape)
}

/// The families, filled.
pub(super) fn families(rules: &[RuleSnapshot]) -> Vec<MetricFamily> {
    let fill = |(shape, read): &RuleFamily| {
        let mut family = Family::new(shape);
        for rule in rules {
            family.add(&[("policy", &rule.policy), ("rule", &rule.rule)], read(rule) as f64);
        }
        family.done()
    };
    FAMILIES.iter().map(fill).collect()
}
