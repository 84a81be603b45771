//! A rule: what must hold, and what is done then.

mod cache;
mod condition;
mod imply;
mod lint;
mod read;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use condition::{Condition, Ordered, rows_most};
pub(crate) use lint::{against_earlier, alone};
pub(crate) use read::{Home, mode, read};

use crate::caching::Caching;
use crate::touched::Consistency;
use crate::yaml::Place;

/// What becomes of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The actions are done.
    Enforce,
    /// The match is told, and nothing is done.
    Audit,
}

/// Where a policy sends reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// The primary.
    Primary,
    /// A replica.
    Replica,
    /// A replica or the primary, whichever is better.
    Any,
}

impl Route {
    /// The route of this name.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "primary" => Some(Self::Primary),
            "replica" => Some(Self::Replica),
            "any" => Some(Self::Any),
            _ => None,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Any => "any",
        })
    }
}

/// How loud a match is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `info`.
    Info,
    /// `warn`.
    Warn,
}

/// The error that a refused client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Five characters.
    pub sqlstate: Box<str>,
    /// The message.
    pub message: Box<str>,
    /// The hint.
    pub hint: Option<Box<str>>,
}

/// What a rate limit counts apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Per {
    /// The user.
    User,
    /// `application_name`.
    Application,
    /// The client's address.
    Client,
    /// The statement without its literals.
    Template,
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Application => "application",
            Self::Client => "client",
            Self::Template => "template",
        })
    }
}

/// How many statements there may be; who counts them is not for a policy to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// What has a limit of its own.
    pub per: Vec<Per>,
    /// Statements in each `every`.
    pub count: u32,
    /// How long.
    pub every: Duration,
    /// Statements at once.
    pub burst: u32,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Actions {
    /// Where reads go.
    pub route: Option<Route>,
    /// How far behind a replica may be.
    pub max_lag: Option<Duration>,
    /// What a read must see.
    pub consistency: Option<Consistency>,
    /// How long a statement may run.
    pub timeout: Option<Duration>,
    /// The statement is not run.
    pub refuse: Option<Arc<Refusal>>,
    /// How many there may be.
    pub rate_limit: Option<RateLimit>,
    /// Matches are logged.
    pub log: Option<LogLevel>,
    /// Whether the developer may choose the route.
    pub overrides: Option<bool>,
    /// Reads are cached.
    pub cache: Option<Arc<Caching>>,
    /// Plugins that are asked, in order.
    pub plugins: Vec<Arc<str>>,
}

/// `route: replica, max_lag: 5s`
impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.refuse.as_ref().map(|refusal| format!("refuse: {}", refusal.sqlstate)));
        parts.extend(self.route.map(|route| format!("route: {route}")));
        parts.extend(self.max_lag.map(|lag| format!("max_lag: {lag:?}")));
        parts.extend(self.consistency.map(|level| format!("consistency: {level}")));
        parts.extend(self.timeout.map(|limit| format!("timeout: {limit:?}")));
        parts.extend(self.rate_limit.as_ref().map(|limit| {
            let per: Vec<String> = limit.per.iter().map(Per::to_string).collect();
            format!("rate_limit: {} in {:?} per {}", limit.count, limit.every, per.join(", "))
        }));
        parts.extend(self.log.map(|level| format!("log: {level:?}").to_lowercase()));
        let word = |allowed| if allowed { "allow" } else { "deny" };
        parts.extend(self.overrides.map(|allowed| format!("overrides: {}", word(allowed))));
        parts.extend(self.cache.as_ref().map(|cache| format!("cache: {:?} per {}", cache.ttl, cache.scope)));
        if !self.plugins.is_empty() {
            parts.push(format!("plugins: {}", self.plugins.join(", ")));
        }
        f.write_str(&parts.join(", "))
    }
}

/// One rule of a policy.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name, unique in its policy.
    pub name: Arc<str>,
    /// The policy's name.
    pub policy: Arc<str>,
    /// The file.
    pub path: Arc<str>,
    /// Where its name stands.
    pub place: Place,
    /// Enforced or audited.
    pub mode: Mode,
    /// The search goes on after it.
    pub continues: bool,
    /// What it does.
    pub actions: Actions,
    pub(crate) conditions: Vec<Condition>,
}

/// `guard-rails/no-unbounded-reads`
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.policy, self.name)
    }
}
