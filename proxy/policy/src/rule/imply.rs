//! When one condition holds wherever others do: by their structure, never by trying statements.

use super::condition::{How, Met, Ordered, Touched};
use super::{Condition, Rule};
use crate::pattern::{Glob, NamePattern};
use crate::tables::Tables;

/// Whether every statement that `later` matches is one that `earlier` matches too.
pub(super) fn covers(earlier: &Rule, later: &Rule, tables: &Tables) -> bool {
    let sample = later.conditions.iter().find_map(|condition| match condition {
        Condition::Template(_, facts) => Some(facts),
        _ => None,
    });
    let statement = Ordered::new(&earlier.conditions).statement;
    let sample_meets = sample.is_some_and(|facts| {
        facts
            .statements
            .iter()
            .any(|found| statement.iter().all(|condition| condition.of_statement(found, tables) == Met::Yes))
    });
    earlier.conditions.iter().all(|wanted| {
        later.conditions.iter().any(|given| implies(given, wanted))
            || (sample_meets && wanted.is_of_statement())
    })
}

/// Whether `wanted` holds wherever `given` does.
fn implies(given: &Condition, wanted: &Condition) -> bool {
    use Condition as C;
    match (given, wanted) {
        (C::Verb(given), C::Verb(wanted)) => wanted.has(*given),
        (C::Names(touched, how, given), C::Names(other, wanted_how, wanted)) => {
            let same = touched == other
                || (*other == Touched::Tables
                    && matches!(touched, Touched::Reads | Touched::Writes)
                    && *wanted_how != How::Only);
            same && names(*how, given, *wanted_how, wanted)
        }
        (C::Large(given), C::Large(wanted)) | (C::InTransaction(given), C::InTransaction(wanted)) => {
            given == wanted
        }
        (C::NoWhere, C::NoWhere) | (C::NoLimit, C::NoLimit | C::LimitOver(_)) => true,
        (C::WhereEq(given), C::WhereEq(wanted)) => wanted.iter().all(|column| given.contains(column)),
        (C::LimitOver(given), C::LimitOver(wanted)) => given >= wanted,
        (C::Template(_, given), C::Template(_, wanted)) => given.shape == wanted.shape,
        (C::User(given), C::User(wanted))
        | (C::Database(given), C::Database(wanted))
        | (C::Application(given), C::Application(wanted)) => {
            given.iter().all(|given| wanted.iter().any(|wanted| wanted.covers(given)))
        }
        (C::Client(given), C::Client(wanted)) => {
            given.iter().all(|given| wanted.iter().any(|wanted| wanted.covers(given)))
        }
        (C::Comment(key, given), C::Comment(other, wanted))
        | (C::Hint(key, given), C::Hint(other, wanted)) => key == other && Glob::covers(wanted, given),
        (C::Text(given), C::Text(wanted)) => given.as_str() == wanted.as_str(),
        _ => false,
    }
}

fn names(how: How, given: &[NamePattern], wanted_how: How, wanted: &[NamePattern]) -> bool {
    let within = |name: &NamePattern| wanted.iter().any(|wanted| wanted.covers(name));
    match (how, wanted_how) {
        (How::Any | How::Only, How::Any) | (How::Only, How::Only) => given.iter().all(within),
        (How::All, How::Any) => given.iter().any(within),
        (How::All, How::All) => wanted.iter().all(|wanted| given.iter().any(|given| wanted.covers(given))),
        (How::Any | How::Only, How::All) => {
            wanted.iter().all(|wanted| given.iter().all(|given| wanted.covers(given)))
        }
        (How::Any | How::All, How::Only) => false,
    }
}
