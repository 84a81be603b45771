//! The plan: where a text goes, by which rule and why. A pure function of its class, the policies' decision and the
//! session.

use pointsman_sql::{Facts, Isolation, Kind};

use crate::class::{Access, Class};
use crate::decide::Decision;
use crate::rule::Route;

/// A server's part in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The server that takes writes.
    Primary,
    /// A standby.
    Replica,
}

/// Why a session stays on its connection between transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pin {
    /// Session mode.
    SessionMode,
    /// A temporary relation.
    TempTable,
    /// A session-level advisory lock.
    AdvisoryLock,
    /// `LISTEN`.
    Listen,
    /// A cursor `WITH HOLD`.
    HoldCursor,
    /// A loaded library.
    Load,
    /// Something that was not understood, or a function that is suspected of leaving state.
    Unknown,
    /// A portal or a pipeline that is not at its end.
    Unfinished,
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::SessionMode => "session mode",
            Self::TempTable => "temporary table",
            Self::AdvisoryLock => "session-level advisory lock",
            Self::Listen => "LISTEN",
            Self::HoldCursor => "cursor WITH HOLD",
            Self::Load => "loaded library",
            Self::Unknown => "session state that is not known",
            Self::Unfinished => "unfinished pipeline",
        })
    }
}

/// The connection that a session holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// None: the text may go anywhere.
    Nothing,
    /// A transaction is open on a server of this role.
    Transaction(Role),
    /// The session is pinned to a connection to a server of this role.
    Pinned(Pin, Role),
}

/// What the replicas can serve now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replicas {
    /// There is none, or none is up.
    None,
    /// None has replayed every acknowledged write.
    Behind,
    /// At least one has.
    Fresh,
}

/// What a plan must know of the session and the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionView {
    /// The connection held.
    pub held: Held,
    /// `default_transaction_isolation` is `serializable`, which no standby offers.
    pub serializable: bool,
    /// `default_transaction_read_only` is on: a plain `BEGIN` begins a read-only transaction.
    pub read_only: bool,
    /// The replicas.
    pub replicas: Replicas,
    /// The route that the developer asks for, by `SET pointsman.route` or a comment's hint.
    pub wanted: Option<Route>,
}

/// What becomes of a text. `rule` names what decided; `by` is the place of a policy's rule in
/// [`PolicySet::rules`](crate::PolicySet::rules), where one had a say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// To the connection that the session holds.
    Held {
        /// `transaction` or `pin`.
        rule: &'static str,
        /// The held connection's server.
        role: Role,
        /// The pin, if that is what holds it.
        pin: Option<Pin>,
    },
    /// To a connection from the pool.
    Single {
        /// One of the names that [`Plan::why`] explains.
        rule: &'static str,
        /// The policy's rule.
        by: Option<usize>,
        /// The pool's servers.
        role: Role,
        /// The primary may serve it as well as a replica.
        any: bool,
        /// A policy or the developer asked for a replica, and no replica may ever serve it.
        impossible: bool,
    },
    /// Nowhere: the client gets [`Decision::refuse`].
    Refuse {
        /// The policy's rule.
        by: Option<usize>,
    },
}

impl Plan {
    /// The role of the server that gets the text; `None` if none does.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::Held { role, .. } | Self::Single { role, .. } => Some(*role),
            Self::Refuse { .. } => None,
        }
    }

    /// What decided.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Held { rule, .. } | Self::Single { rule, .. } => rule,
            Self::Refuse { .. } => "policy",
        }
    }

    /// The policy's rule that had a say, by its place in the set.
    #[must_use]
    pub fn by(&self) -> Option<usize> {
        match self {
            Self::Held { .. } => None,
            Self::Single { by, .. } | Self::Refuse { by } => *by,
        }
    }

    /// Whether a replica was asked for that may never serve it.
    #[must_use]
    pub fn is_impossible(&self) -> bool {
        matches!(self, Self::Single { impossible: true, .. })
    }

    /// What [`Plan::rule`] means.
    #[must_use]
    pub fn why(&self) -> &'static str {
        match self.rule() {
            "transaction" => "a transaction is open there",
            "pin" => "the session is pinned to a connection",
            "write" => "it may change data",
            "primary-read" => "only the primary may serve this read",
            "session" => "it concerns the session",
            "begin" => "the transaction may write",
            "read-only-transaction" => "the transaction only reads",
            "read" => "it provably only reads",
            "serializable" => "a standby does not offer serializable transactions",
            "replicas-behind" => "no replica is as fresh as it must be",
            "no-replica" => "there is no replica",
            "table" => "a policy keeps reads of the table on the primary",
            "override" => "the developer asked for it",
            _ => "a policy says so",
        }
    }
}

/// Plans one text. A refusal comes before everything; a pin and an open transaction come before every route.
#[must_use]
pub fn plan(facts: &Facts, class: &Class, decision: &Decision, view: &SessionView) -> Plan {
    if decision.refuse.is_some() {
        return Plan::Refuse { by: decision.decided_by };
    }
    match view.held {
        Held::Transaction(role) => return Plan::Held { rule: "transaction", role, pin: None },
        Held::Pinned(pin, role) => return Plan::Held { rule: "pin", role, pin: Some(pin) },
        Held::Nothing => {}
    }
    let asked = Asked::of(decision, view);
    match class.access {
        Access::Write => asked.never_on_replica("write"),
        Access::PrimaryRead => asked.never_on_replica("primary-read"),
        Access::Session => match facts.single().map(|statement| &statement.kind) {
            Some(Kind::Begin(modes)) => {
                let read_only = modes.read_only.unwrap_or(view.read_only);
                let serializable =
                    modes.isolation.map_or(view.serializable, |level| level == Isolation::Serializable);
                if read_only && !modes.snapshot {
                    asked.steer("read-only-transaction", serializable, view.replicas)
                } else {
                    primary("begin")
                }
            }
            _ => primary("session"),
        },
        Access::Read if decision.keep_on_primary => asked.never_on_replica("table"),
        Access::Read => asked.steer("read", view.serializable, view.replicas),
    }
}

fn primary(rule: &'static str) -> Plan {
    Plan::Single { rule, by: None, role: Role::Primary, any: false, impossible: false }
}

/// The route that was asked for, and by whom.
#[derive(Clone, Copy)]
struct Asked {
    route: Option<Route>,
    rule: Option<&'static str>,
    by: Option<usize>,
}

impl Asked {
    fn of(decision: &Decision, view: &SessionView) -> Self {
        match (view.wanted, decision.route) {
            (Some(wanted), _) if decision.overrides_allowed => {
                Self { route: Some(wanted), rule: Some("override"), by: None }
            }
            (_, Some(route)) => Self { route: Some(route), rule: Some("policy"), by: decision.routed_by },
            (_, None) => Self { route: None, rule: None, by: None },
        }
    }

    /// To the primary, whatever was asked for.
    fn never_on_replica(self, rule: &'static str) -> Plan {
        let impossible = self.route == Some(Route::Replica);
        let by = self.by.filter(|_| impossible);
        Plan::Single { rule, by, role: Role::Primary, any: false, impossible }
    }

    /// Where it was asked to go, or to a replica.
    fn steer(self, rule: &'static str, serializable: bool, replicas: Replicas) -> Plan {
        let by = self.by;
        let to = |rule, role, any| Plan::Single { rule, by, role, any, impossible: false };
        if self.route == Some(Route::Primary) {
            return to(self.rule.unwrap_or(rule), Role::Primary, false);
        }
        match (serializable, replicas) {
            (true, _) => self.never_on_replica("serializable"),
            (false, Replicas::None) => to("no-replica", Role::Primary, false),
            (false, Replicas::Behind) => to("replicas-behind", Role::Primary, false),
            (false, Replicas::Fresh) => {
                to(self.rule.unwrap_or(rule), Role::Replica, self.route == Some(Route::Any))
            }
        }
    }
}

#[cfg(test)]
mod tests;
