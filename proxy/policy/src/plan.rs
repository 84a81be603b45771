//! The plan: where a text goes, by which rule and why. A pure function of its class and the session.

use pointsman_sql::{Facts, Isolation, Kind};

use crate::class::{Access, Class};

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
}

/// Where a text goes. `rule` names what decided.
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
        /// `write`, `primary-read`, `session`, `begin`, `read-only-transaction`, `read`, `serializable`,
        /// `replicas-behind` or `no-replica`.
        rule: &'static str,
        /// The pool's servers.
        role: Role,
    },
}

impl Plan {
    /// The role of the server that gets the text.
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            Self::Held { role, .. } | Self::Single { role, .. } => *role,
        }
    }

    /// The rule that decided.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Held { rule, .. } | Self::Single { rule, .. } => rule,
        }
    }
}

/// Plans one text. A pin and an open transaction come before every rule.
#[must_use]
pub fn plan(facts: &Facts, class: &Class, view: &SessionView) -> Plan {
    match view.held {
        Held::Transaction(role) => return Plan::Held { rule: "transaction", role, pin: None },
        Held::Pinned(pin, role) => return Plan::Held { rule: "pin", role, pin: Some(pin) },
        Held::Nothing => {}
    }
    let primary = |rule| Plan::Single { rule, role: Role::Primary };
    match class.access {
        Access::Write => primary("write"),
        Access::PrimaryRead => primary("primary-read"),
        Access::Session => match facts.single().map(|statement| &statement.kind) {
            Some(Kind::Begin(modes)) => {
                let read_only = modes.read_only.unwrap_or(view.read_only);
                let serializable =
                    modes.isolation.map_or(view.serializable, |level| level == Isolation::Serializable);
                if read_only && !modes.snapshot {
                    on_replica("read-only-transaction", serializable, view.replicas)
                } else {
                    primary("begin")
                }
            }
            _ => primary("session"),
        },
        Access::Read => on_replica("read", view.serializable, view.replicas),
    }
}

fn on_replica(rule: &'static str, serializable: bool, replicas: Replicas) -> Plan {
    let primary = |rule| Plan::Single { rule, role: Role::Primary };
    match (serializable, replicas) {
        (true, _) => primary("serializable"),
        (false, Replicas::None) => primary("no-replica"),
        (false, Replicas::Behind) => primary("replicas-behind"),
        (false, Replicas::Fresh) => Plan::Single { rule, role: Role::Replica },
    }
}

#[cfg(test)]
mod tests;
