//! What went wrong, whose fault it is, and what the client may hear of it.

use std::borrow::Cow;
use std::fmt;

use pointsman_wire::fields::ErrorResponse;

/// Who is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client: bad bytes, wrong password.
    Client,
    /// A server: gone, refusing.
    Upstream,
    /// This program: a limit reached, a drain.
    Pointsman,
}

/// An error that a client is told. `Display` is for the log and includes the cause, which never crosses the wire.
/// Boxed: the way of a statement that succeeds does not carry the room for one that fails.
#[derive(Debug, Clone)]
pub struct Fault(Box<Story>);

/// What there is to tell of a fault.
#[derive(Debug, Clone)]
pub struct Story {
    /// Whose fault.
    pub side: Side,
    /// Five characters, PostgreSQL's appendix A.
    pub sqlstate: Cow<'static, str>,
    /// The message the client gets.
    pub told: Cow<'static, str>,
    /// The hint the client gets.
    pub hint: Option<Cow<'static, str>>,
    /// What the log gets besides.
    pub cause: Option<String>,
    /// An ErrorResponse frame from a server, passed on as it is instead of the fields above.
    pub verbatim: Option<bytes::Bytes>,
}

impl Fault {
    fn new(side: Side, sqlstate: &'static str, told: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Story {
            side,
            sqlstate: sqlstate.into(),
            told: told.into(),
            hint: None,
            cause: None,
            verbatim: None,
        }))
    }

    /// The client's fault.
    pub fn client(sqlstate: &'static str, told: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Side::Client, sqlstate, told)
    }

    /// A server's fault.
    pub fn upstream(sqlstate: &'static str, told: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Side::Upstream, sqlstate, told)
    }

    /// Our own limit or state.
    pub fn pointsman(sqlstate: &'static str, told: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Side::Pointsman, sqlstate, told)
    }

    /// A rule of a policy refuses the statement.
    pub fn ruled(refusal: &pointsman_policy::Refusal) -> Self {
        let mut fault = Self::pointsman("42501", refusal.message.to_string());
        fault.0.sqlstate = refusal.sqlstate.to_string().into();
        fault.0.hint = refusal.hint.as_ref().map(|hint| hint.to_string().into());
        fault
    }

    /// A protocol violation by the client.
    pub fn protocol(told: impl Into<Cow<'static, str>>) -> Self {
        Self::client("08P01", told)
    }

    /// Adds a hint for the client.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a cause for the log.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// An ErrorResponse of a server, to be passed on as it is.
    pub fn from_server(frame: bytes::Bytes) -> Self {
        let fields = frame.get(5..).and_then(|body| pointsman_wire::fields::Fields::decode(body).ok());
        let text = |code: u8| {
            fields
                .as_ref()
                .and_then(|fields| fields.get(code))
                .map(|text| String::from_utf8_lossy(text).into_owned())
        };
        Self(Box::new(Story {
            side: Side::Upstream,
            sqlstate: text(b'C').unwrap_or_else(|| "XX000".to_owned()).into(),
            told: text(b'M').unwrap_or_default().into(),
            hint: None,
            cause: None,
            verbatim: Some(frame),
        }))
    }

    /// The same, told in our own frame: the server's has a severity that does not fit.
    #[must_use]
    pub fn retold(mut self) -> Self {
        self.verbatim = None;
        self
    }

    /// The ErrorResponse frame for the client.
    pub fn encode(&self, severity: &'static str) -> Vec<u8> {
        if let Some(frame) = &self.verbatim {
            return frame.to_vec();
        }
        let mut out = bytes::BytesMut::new();
        let mut response = ErrorResponse::new(severity, &self.sqlstate, &*self.told);
        if let Some(hint) = &self.hint {
            response = response.hint(&**hint);
        }
        response.encode(&mut out);
        out.to_vec()
    }
}

impl std::ops::Deref for Fault {
    type Target = Story;

    fn deref(&self) -> &Story {
        &self.0
    }
}

impl std::ops::DerefMut for Fault {
    fn deref_mut(&mut self) -> &mut Story {
        &mut self.0
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.told, self.sqlstate)?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

impl From<pointsman_wire::error::WireError> for Fault {
    fn from(error: pointsman_wire::error::WireError) -> Self {
        Self::client(error.sqlstate(), error.to_string())
    }
}
