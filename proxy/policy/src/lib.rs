//! From facts and rules to a plan, without I/O: what the server's catalog says of functions and relations, what a
//! statement may do, what policies say of it, and where it goes. `POLICY.md` is the reference of policy files.

mod bits;
pub mod caching;
pub mod catalog;
mod check;
mod class;
mod comment;
mod decide;
mod explain;
mod file;
mod format;
mod identity;
mod overrides;
mod pattern;
mod plan;
mod problem;
pub mod queries;
mod reading;
mod rule;
mod set;
mod suggest;
mod tables;
#[cfg(test)]
mod testing;
mod touched;
mod verb;
mod yaml;

pub use caching::{Caching, KeyPart, RowTag, Scope, TagTemplate, TemplateError};
pub use check::{Checked, check};
pub use class::{Access, Class, Reason, classify};
pub use comment::{hinted_route, hints, tags};
pub use decide::{Decision, StatementView};
pub use explain::{Explanation, Question, explain};
pub use format::schema;
pub use identity::Identity;
pub use overrides::Overrides;
pub use pattern::{Glob, NamePattern, Net};
pub use plan::{Held, Pin, Plan, Replicas, Role, SessionView, plan};
pub use problem::PolicyError;
pub use rule::{Actions, LogLevel, Mode, Per, RateLimit, Refusal, Route, Rule};
pub use set::{PolicySet, PolicySummary, RULES_MAX, RuleBits};
pub use suggest::{distance, suggestion};
pub use tables::{TableFacts, Tables};
pub use touched::{Consistency, Footprint, SLOTS, Touched, footprint, slot_of};
pub use verb::Verbs;
pub use yaml::{DOCUMENT_BYTES_MAX, Place};
