//! What can be wrong with bytes from outside, in PostgreSQL's own words and SQLSTATEs.

use thiserror::Error;

/// A message that is not what the protocol says it must be.
///
/// `Display` is the text that PostgreSQL's backend uses for the same fault (`pqformat.c`, `pqcomm.c`,
/// `postgres.c`, `backend_startup.c`).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// A length word below 4, above `i32::MAX`, or above the limit for that message.
    #[error("invalid message length")]
    Length,
    /// A message type that no client sends.
    #[error("invalid frontend message type {0}")]
    FrontendType(u8),
    /// A message type that no server sends.
    #[error("invalid backend message type {0}")]
    BackendType(u8),
    /// A single byte was expected and the body had ended.
    #[error("no data left in message")]
    NoData,
    /// A number or a counted run of bytes goes past the end of the body.
    #[error("insufficient data left in message")]
    Truncated,
    /// A string without its terminating zero byte, or not UTF-8 where only UTF-8 is possible.
    #[error("invalid string in message")]
    Text,
    /// Bytes are left over after the last field, or a field has an impossible value.
    #[error("invalid message format")]
    Format,
    /// `Describe` of something that is neither a statement nor a portal.
    #[error("invalid DESCRIBE message subtype {0}")]
    DescribeSubtype(u8),
    /// `Close` of something that is neither a statement nor a portal.
    #[error("invalid CLOSE message subtype {0}")]
    CloseSubtype(u8),
    /// `Bind` with a number of formats that is neither 0, 1 nor the number of parameters.
    #[error("bind message has {formats} parameter formats but {parameters} parameters")]
    BindFormats {
        /// How many format codes came.
        formats: usize,
        /// How many parameter values came.
        parameters: usize,
    },
    /// `FunctionCall` with a number of formats that is neither 0, 1 nor the number of arguments.
    #[error("function call message contains {formats} argument formats but {arguments} arguments")]
    FunctionCallFormats {
        /// How many format codes came.
        formats: usize,
        /// How many arguments came.
        arguments: usize,
    },
    /// A first packet whose length no first packet can have.
    #[error("invalid length of startup packet")]
    StartupLength,
    /// A cancel key shorter or longer than the protocol allows.
    #[error("invalid length of cancel request packet")]
    CancelLength,
    /// A start-up packet that does not end where its last parameter ends.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    StartupLayout,
    /// A start-up parameter that is not UTF-8.
    #[error("invalid byte sequence for encoding \"UTF8\" in startup packet")]
    StartupEncoding,
    /// A major protocol version other than 3.
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2")]
    ProtocolVersion {
        /// Upper half of the version word.
        major: u16,
        /// Lower half of the version word.
        minor: u16,
    },
    /// A start-up packet without `user`, or with an empty one.
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    /// A switch in `options` that is not a setting.
    #[error("invalid command-line argument for server process: {0}")]
    Option(String),
    /// A setting in `options` without a value.
    #[error("{0} requires a value")]
    OptionValue(String),
}

impl WireError {
    /// The SQLSTATE that PostgreSQL reports for this fault.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::ProtocolVersion { .. } => "0A000",
            Self::StartupEncoding => "22021",
            Self::NoUser => "28000",
            Self::Option(_) | Self::OptionValue(_) => "42601",
            _ => "08P01",
        }
    }

    /// Whether the connection is lost with this fault.
    ///
    /// A frame whose body is wrong is an `ERROR` and the stream goes on after it. A wrong length or type
    /// means that the place of the next frame is unknown, and a wrong first packet ends the start-up.
    pub fn ends_connection(&self) -> bool {
        !matches!(
            self,
            Self::NoData
                | Self::Truncated
                | Self::Text
                | Self::Format
                | Self::DescribeSubtype(_)
                | Self::CloseSubtype(_)
                | Self::BindFormats { .. }
                | Self::FunctionCallFormats { .. }
        )
    }
}
