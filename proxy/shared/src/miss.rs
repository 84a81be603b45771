//! Why the shared level had no answer: every way to fail is a kind of miss, to be counted, and never an error
//! for a client.

use pointsman_cache::codec::Unreadable;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a call gave nothing. The caller goes on without the shared level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Miss {
    /// Not asked: there is no connection, or the breaker is open, or what may have been missed is not
    /// published yet.
    Closed,
    /// No answer within the deadline.
    Deadline,
    /// The connection failed.
    Down,
    /// A wrong password, or not permitted.
    Refused,
    /// The store has no memory left, or cannot save what is written.
    Full,
    /// It takes no writes: a replica.
    ReadOnly,
    /// It is reading its data, or busy with a script.
    Loading,
    /// The slot is elsewhere, or the cluster is not whole.
    Moved,
    /// What is stored is no entry that can be read.
    Unreadable(Unreadable),
    /// Larger than may be stored.
    TooLarge,
    /// Its tags are not all known, or their generations are not those of [`crate::Database::generations`].
    Unlisted,
    /// Any other answer.
    Other,
}

/// What a failure says of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Nothing: the server answered, this key is the trouble.
    None,
    /// The server is slow or busy.
    Slow,
    /// What comes over this connection later is not to be trusted.
    Fatal,
}

/// How many kinds of misses are told apart.
pub const MISS_KINDS: usize = 12;

impl Miss {
    /// Names for metrics, by [`Miss::index`].
    pub const NAMES: [&'static str; MISS_KINDS] = [
        "closed",
        "deadline",
        "down",
        "refused",
        "full",
        "read_only",
        "loading",
        "moved",
        "unreadable",
        "too_large",
        "unlisted",
        "other",
    ];

    /// Its place among the kinds.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Closed => 0,
            Self::Deadline => 1,
            Self::Down => 2,
            Self::Refused => 3,
            Self::Full => 4,
            Self::ReadOnly => 5,
            Self::Loading => 6,
            Self::Moved => 7,
            Self::Unreadable(_) => 8,
            Self::TooLarge => 9,
            Self::Unlisted => 10,
            Self::Other => 11,
        }
    }

    /// Its kind's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::Closed
            | Self::Full
            | Self::Unreadable(_)
            | Self::TooLarge
            | Self::Unlisted
            | Self::Other => Severity::None,
            Self::Deadline | Self::Loading => Severity::Slow,
            Self::Down | Self::Refused | Self::ReadOnly | Self::Moved => Severity::Fatal,
        }
    }
}

/// In the words of a person.
impl std::fmt::Display for Miss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Closed => "there is no connection",
            Self::Deadline => "no answer in time",
            Self::Down => "the connection failed",
            Self::Refused => "the password is wrong, or a command is not permitted",
            Self::Full => "it has no memory left, or cannot save what is written",
            Self::ReadOnly => "it is a replica and takes no writes",
            Self::Loading => "it is reading its data, or busy",
            Self::Moved => "the cluster is not whole, or has changed",
            Self::Unreadable(_) => "something else is stored there",
            Self::TooLarge => "too large to be stored",
            Self::Unlisted => "it is not known what it depends on",
            Self::Other => "an unexpected answer",
        })
    }
}

impl From<RedisError> for Miss {
    fn from(error: RedisError) -> Self {
        let by_code = error.code().and_then(of_code);
        let by_kind = match error.kind() {
            ErrorKind::Io => Some(Self::Down),
            ErrorKind::AuthenticationFailed => Some(Self::Refused),
            // The stream of replies is out of step: nothing after it can be believed.
            ErrorKind::Parse | ErrorKind::Client => Some(Self::Down),
            ErrorKind::Server(kind) => of_kind(kind),
            _ => None,
        };
        // A pipeline's error has a code in each of its failed commands only.
        let of_pipeline = || {
            let errors = error.into_server_errors()?;
            errors.iter().find_map(|(_, error)| of_code(error.code()))
        };
        by_code.or(by_kind).or_else(of_pipeline).unwrap_or(Self::Other)
    }
}

fn of_code(code: &str) -> Option<Miss> {
    match code {
        "OOM" | "MISCONF" | "NOREPLICAS" => Some(Miss::Full),
        "NOAUTH" | "WRONGPASS" | "NOPERM" => Some(Miss::Refused),
        "READONLY" => Some(Miss::ReadOnly),
        "LOADING" | "BUSY" | "MASTERDOWN" => Some(Miss::Loading),
        "MOVED" | "ASK" | "CLUSTERDOWN" | "TRYAGAIN" | "CROSSSLOT" => Some(Miss::Moved),
        "WRONGTYPE" => Some(Miss::Unreadable(Unreadable::Magic)),
        _ => None,
    }
}

fn of_kind(kind: ServerErrorKind) -> Option<Miss> {
    match kind {
        ServerErrorKind::NoPerm => Some(Miss::Refused),
        ServerErrorKind::ReadOnly => Some(Miss::ReadOnly),
        ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown => Some(Miss::Loading),
        ServerErrorKind::Moved
        | ServerErrorKind::Ask
        | ServerErrorKind::ClusterDown
        | ServerErrorKind::TryAgain => Some(Miss::Moved),
        _ => None,
    }
}
