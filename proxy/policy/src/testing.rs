//! Helpers of this crate's tests: a policy from its `spec`, and a statement put to it.

use pointsman_sql::{Analyzer, LexRules};

use crate::catalog::Catalog;
use crate::class::classify;
use crate::decide::{Decision, StatementView};
use crate::explain::{Explanation, Question, explain};
use crate::identity::Identity;
use crate::plan::{Held, Replicas, SessionView};
use crate::set::PolicySet;

pub(crate) const HEAD: &str = "apiVersion: pointsman/v1\nkind: Policy\nmetadata: {name: p}\nspec:\n";

/// A file whose `spec` is this, each line of which is indented once more.
pub(crate) fn file(spec: &str) -> String {
    let lines: Vec<String> = spec.lines().map(|line| format!("  {line}")).collect();
    format!("{HEAD}{}\n", lines.join("\n"))
}

/// The set of such a file.
pub(crate) fn set(spec: &str) -> PolicySet {
    match PolicySet::load(&[("p.yaml".to_owned(), file(spec))]) {
        Ok(set) => set,
        Err(errors) => panic!("{spec}\n{}", shown(&errors)),
    }
}

/// What is wrong with such a file, a line for each.
pub(crate) fn errors(spec: &str) -> String {
    match PolicySet::load(&[("p.yaml".to_owned(), file(spec))]) {
        Ok(_) => String::new(),
        Err(errors) => shown(&errors),
    }
}

pub(crate) fn shown(errors: &[crate::PolicyError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Who asks, and how.
#[derive(Clone, Copy, Default)]
pub(crate) struct By<'a> {
    pub(crate) identity: Identity<'a>,
    pub(crate) in_transaction: bool,
    pub(crate) parameter: Option<i64>,
}

/// What a set decides of a statement.
pub(crate) fn decide(set: &PolicySet, sql: &str, by: By<'_>) -> Decision {
    let mut analyzer = Analyzer::<()>::new(1);
    let analysis = analyzer.analyze(sql.as_bytes(), LexRules::default());
    let view = StatementView {
        facts: analysis.facts,
        sql: sql.as_bytes(),
        rules: LexRules::default(),
        literals: analysis.literals,
        commented: analysis.commented,
        in_transaction: by.in_transaction,
        parameter: &|_| by.parameter,
    };
    set.decide(&set.of_template(analysis.facts), &set.of_session(&by.identity), &view)
}

/// The explanation of a statement with an assumed catalog.
pub(crate) fn explained(set: &PolicySet, sql: &str, by: By<'_>) -> Explanation {
    let mut analyzer = Analyzer::<()>::new(1);
    let analysis = analyzer.analyze(sql.as_bytes(), LexRules::default());
    let class = classify(analysis.facts, &Catalog::assumed(set.overrides()));
    let view = StatementView {
        facts: analysis.facts,
        sql: sql.as_bytes(),
        rules: LexRules::default(),
        literals: analysis.literals,
        commented: analysis.commented,
        in_transaction: by.in_transaction,
        parameter: &|_| by.parameter,
    };
    let session = SessionView {
        held: Held::Nothing,
        serializable: false,
        read_only: false,
        replicas: Replicas::Fresh,
        wanted: None,
    };
    explain(&Question { set, view, class: &class, identity: by.identity, session })
}
