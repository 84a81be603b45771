//! Why a SCRAM exchange ended.

use thiserror::Error;

/// What went wrong. `Display` is PostgreSQL's text for it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScramError {
    /// A message that does not follow the grammar of RFC 5802; says what of it.
    #[error("malformed SCRAM message")]
    Malformed(&'static str),
    /// The client chose a mechanism that was not offered.
    #[error("client selected an invalid SASL authentication mechanism")]
    Mechanism,
    /// The client wants to act as another user.
    #[error("client uses authorization identity, but it is not supported")]
    AuthorizationIdentity,
    /// The client needs an extension.
    #[error("client requires an unsupported SCRAM extension")]
    Extension,
    /// A binding type other than `tls-server-end-point`.
    #[error("unsupported SCRAM channel-binding type")]
    BindingType,
    /// The client believes that binding is not offered, while it is: someone changed the offer on the way.
    #[error("SCRAM channel binding negotiation error")]
    Downgrade,
    /// The client is bound to another TLS certificate than ours.
    #[error("SCRAM channel binding check failed")]
    BindingMismatch,
    /// The final message repeats another binding than the first one announced.
    #[error("unexpected SCRAM channel-binding attribute in client-final-message")]
    BindingAttribute,
    /// The final message has another nonce than the exchange.
    #[error("invalid SCRAM response")]
    Nonce,
    /// The client does not know the password.
    #[error("password authentication failed")]
    Proof,
    /// The server asks for no iteration, or for more than [`super::ITERATIONS_MAX`].
    #[error("SCRAM iteration count {0} is out of range")]
    Iterations(u64),
    /// The server ended the exchange with this error.
    #[error("error received from server in SCRAM exchange: {0}")]
    Server(String),
    /// The server does not know the password either.
    #[error("incorrect server signature")]
    ServerSignature,
}

impl ScramError {
    /// The SQLSTATE that PostgreSQL reports for this.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Proof => "28P01",
            Self::AuthorizationIdentity | Self::Extension => "0A000",
            Self::Downgrade | Self::BindingMismatch => "28000",
            _ => "08P01",
        }
    }

    /// The detail that PostgreSQL adds, if any.
    pub fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Malformed(detail) => Some(detail),
            Self::Nonce => Some("Nonce does not match."),
            Self::Downgrade => Some(
                "The client supports SCRAM channel binding but thinks the server does not.  \
                 However, this server does support channel binding.",
            ),
            _ => None,
        }
    }
}
