//! What a server says until the first `ReadyForQuery`.

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::WireError;
use crate::read::Reader;
use crate::startup::{ProtocolVersion, SECRET_LEN};
use crate::write::{put_cstr, put_frame};

/// The `Authentication…` messages, all of type `R`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// The client is who it says.
    Ok,
    /// Asks for the password in the clear.
    CleartextPassword,
    /// Asks for an md5 response.
    Md5Password {
        /// What the response is salted with.
        salt: [u8; 4],
    },
    /// Asks for one of these mechanisms.
    Sasl {
        /// Names in the server's order of preference.
        mechanisms: Vec<&'a str>,
    },
    /// A challenge of the mechanism.
    SaslContinue(&'a [u8]),
    /// The mechanism's last message; `Ok` follows.
    SaslFinal(&'a [u8]),
    /// A method that is not spoken here (Kerberos, GSSAPI, SSPI, or one still to come).
    Other {
        /// The method's code.
        code: i32,
        /// What follows the code.
        data: &'a [u8],
    },
}

impl<'a> Authentication<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let authentication = match reader.i32()? {
            0 => Self::Ok,
            3 => Self::CleartextPassword,
            5 => Self::Md5Password { salt: reader.salt()? },
            10 => Self::Sasl { mechanisms: mechanisms(&mut reader)? },
            11 => Self::SaslContinue(reader.rest()),
            12 => Self::SaslFinal(reader.rest()),
            code => Self::Other { code, data: reader.rest() },
        };
        reader.end()?;
        Ok(authentication)
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'R', |out| match self {
            Self::Ok => out.put_i32(0),
            Self::CleartextPassword => out.put_i32(3),
            Self::Md5Password { salt } => {
                out.put_i32(5);
                out.extend_from_slice(salt);
            }
            Self::Sasl { mechanisms } => {
                out.put_i32(10);
                for mechanism in mechanisms {
                    put_cstr(out, mechanism.as_bytes());
                }
                out.put_u8(0);
            }
            Self::SaslContinue(data) => put_code(out, 11, data),
            Self::SaslFinal(data) => put_code(out, 12, data),
            Self::Other { code, data } => put_code(out, *code, data),
        });
    }
}

fn mechanisms<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a str>, WireError> {
    let mut mechanisms = Vec::new();
    loop {
        match reader.name()? {
            "" => return Ok(mechanisms),
            name => mechanisms.push(name),
        }
    }
}

fn put_code(out: &mut BytesMut, code: i32, data: &[u8]) {
    out.put_i32(code);
    out.extend_from_slice(data);
}

/// `BackendKeyData`: what a `CancelRequest` must name.
#[derive(Clone, PartialEq, Eq)]
pub struct BackendKeyData {
    /// The backend's process id.
    pub process_id: i32,
    /// The secret: 4 bytes in protocol 3.0, up to 256 in 3.2.
    pub secret: Bytes,
}

impl BackendKeyData {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one, [`WireError::Format`] for a secret of another length.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let process_id = reader.i32()?;
        let secret = reader.rest();
        if !SECRET_LEN.contains(&secret.len()) {
            return Err(WireError::Format);
        }
        Ok(Self { process_id, secret: Bytes::copy_from_slice(secret) })
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'K', |out| put_code(out, self.process_id, &self.secret));
    }
}

impl std::fmt::Debug for BackendKeyData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackendKeyData").field("process_id", &self.process_id).finish_non_exhaustive()
    }
}

/// `NegotiateProtocolVersion`: the server speaks less than the client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiateProtocolVersion<'a> {
    /// What is spoken from here on. The wire has the whole version word, not its minor half alone
    /// (`SendNegotiateProtocolVersion` in `backend_startup.c`).
    pub version: ProtocolVersion,
    /// Protocol options (`_pq_.` parameters) that the server does not know.
    pub options: Vec<&'a [u8]>,
}

impl<'a> NegotiateProtocolVersion<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let version = ProtocolVersion::from_word(reader.u32()?);
        let count = usize::try_from(reader.i32()?).map_err(|_| WireError::Format)?;
        let mut options = Vec::with_capacity(count.min(reader.left()));
        for _ in 0..count {
            options.push(reader.cstr()?);
        }
        reader.end()?;
        Ok(Self { version, options })
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'v', |out| {
            out.put_u32(self.version.to_word());
            out.put_i32(i32::try_from(self.options.len()).expect("options fit in a start-up packet"));
            for option in &self.options {
                put_cstr(out, option);
            }
        });
    }
}
