//! The first packet of a connection, which has no type byte: a start-up, a cancel, or a wish for encryption.

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::WireError;
use crate::read::Reader;
use crate::write::{put_counted, put_cstr};

/// The whole `SSLRequest` packet.
pub const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// The whole `GSSENCRequest` packet.
pub const GSSENC_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];

/// Most bytes of a first packet after its length word (`MAX_STARTUP_PACKET_LENGTH` in `pqcomm.h`).
pub const STARTUP_PACKET_MAX: usize = 10_000;

/// Shortest and longest secret of a cancel key, in bytes; always 4 before protocol 3.2.
pub const SECRET_LEN: std::ops::RangeInclusive<usize> = 4..=256;

const CANCEL_CODE: u32 = (1234 << 16) | 5678;
const SSL_CODE: u32 = (1234 << 16) | 5679;
const GSSENC_CODE: u32 = (1234 << 16) | 5680;

/// A version of the protocol, as its first packet names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolVersion {
    /// 3 for every server since PostgreSQL 7.4.
    pub major: u16,
    /// 0, or 2 with cancel keys of variable length.
    pub minor: u16,
}

impl ProtocolVersion {
    /// What every client and server of today speaks.
    pub const V3_0: Self = Self { major: 3, minor: 0 };
    /// Cancel keys of up to 256 bytes (PostgreSQL 18).
    pub const V3_2: Self = Self { major: 3, minor: 2 };

    /// From the 32-bit word on the wire.
    pub fn from_word(word: u32) -> Self {
        let [a, b, c, d] = word.to_be_bytes();
        Self { major: u16::from_be_bytes([a, b]), minor: u16::from_be_bytes([c, d]) }
    }

    /// The 32-bit word on the wire.
    pub fn to_word(self) -> u32 {
        (u32::from(self.major) << 16) | u32::from(self.minor)
    }
}

impl std::fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a connection begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstPacket {
    /// `SSLRequest`: answer `S` or `N`, then another first packet comes.
    Ssl,
    /// `GSSENCRequest`: answer `G` or `N`, then another first packet comes.
    Gss,
    /// `CancelRequest`: no answer, the connection closes.
    Cancel(CancelRequest),
    /// `StartupMessage`.
    Startup(Startup),
}

/// `CancelRequest`: stop what the backend with this key is doing.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelRequest {
    /// The process id in the backend's `BackendKeyData`.
    pub process_id: i32,
    /// The secret in the backend's `BackendKeyData`: [`SECRET_LEN`] bytes.
    pub secret: Bytes,
}

impl CancelRequest {
    /// Appends the whole packet.
    pub fn encode(&self, out: &mut BytesMut) {
        put_counted(out, |out| {
            out.put_u32(CANCEL_CODE);
            out.put_i32(self.process_id);
            out.extend_from_slice(&self.secret);
        });
    }
}

impl std::fmt::Debug for CancelRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelRequest").field("process_id", &self.process_id).finish_non_exhaustive()
    }
}

/// `StartupMessage`: the protocol version and the session's first settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// Major 3; the minor is what the client asks for, known to us or not.
    pub version: ProtocolVersion,
    /// Names and values in the order sent. They come before any encoding is agreed on; a packet that is
    /// not UTF-8 is refused rather than read approximately.
    pub parameters: Vec<(String, String)>,
}

impl Startup {
    /// The value of a parameter; of several, the last, as in PostgreSQL.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The user.
    ///
    /// # Errors
    /// [`WireError::NoUser`] if there is none.
    pub fn user(&self) -> Result<&str, WireError> {
        self.get("user").filter(|user| !user.is_empty()).ok_or(WireError::NoUser)
    }

    /// The database, which is named after the user if the packet names none.
    ///
    /// # Errors
    /// [`WireError::NoUser`] if there is neither.
    pub fn database(&self) -> Result<&str, WireError> {
        match self.get("database") {
            Some(database) if !database.is_empty() => Ok(database),
            _ => self.user(),
        }
    }

    /// Names of the protocol options asked for (`_pq_.` parameters), none of which is known here.
    pub fn protocol_options(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("_pq_."))
    }

    /// Appends the whole packet.
    pub fn encode(&self, out: &mut BytesMut) {
        put_counted(out, |out| {
            out.put_u32(self.version.to_word());
            for (name, value) in &self.parameters {
                put_cstr(out, name.as_bytes());
                put_cstr(out, value.as_bytes());
            }
            out.put_u8(0);
        });
    }

    /// Reads what follows the version word (`ProcessStartupPacket` in `backend_startup.c`).
    fn decode(version: ProtocolVersion, body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let mut parameters = Vec::new();
        loop {
            let name = reader.cstr().map_err(|_| WireError::StartupLayout)?;
            if name.is_empty() {
                break;
            }
            let value = reader.cstr().map_err(|_| WireError::StartupLayout)?;
            parameters.push((text(name)?, text(value)?));
        }
        reader.end().map_err(|_| WireError::StartupLayout)?;
        Ok(Self { version, parameters })
    }
}

fn text(bytes: &[u8]) -> Result<String, WireError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| WireError::StartupEncoding)
}

/// Takes the first packet off `buf`; `max` bounds its bytes after the length word. `None` means "read more".
///
/// # Errors
/// Any start-up fault of [`WireError`]; `buf` has then no meaning any more.
pub fn take_first_packet(buf: &mut BytesMut, max: usize) -> Result<Option<FirstPacket>, WireError> {
    let Some(len) = buf.first_chunk::<4>().map(|len| i32::from_be_bytes(*len)) else { return Ok(None) };
    let len = usize::try_from(len).map_err(|_| WireError::StartupLength)?;
    if len < 8 || len - 4 > max {
        return Err(WireError::StartupLength);
    }
    if buf.len() < len {
        return Ok(None);
    }
    let packet = buf.split_to(len).freeze().slice(4..);
    let word = Reader::new(&packet).u32()?;
    decode_first_packet(word, packet.slice(4..)).map(Some)
}

fn decode_first_packet(word: u32, rest: Bytes) -> Result<FirstPacket, WireError> {
    match word {
        SSL_CODE if rest.is_empty() => Ok(FirstPacket::Ssl),
        GSSENC_CODE if rest.is_empty() => Ok(FirstPacket::Gss),
        SSL_CODE | GSSENC_CODE => Err(WireError::StartupLength),
        CANCEL_CODE => {
            let process_id = Reader::new(&rest).i32().map_err(|_| WireError::CancelLength)?;
            let secret = rest.slice(4..);
            if !SECRET_LEN.contains(&secret.len()) {
                return Err(WireError::CancelLength);
            }
            Ok(FirstPacket::Cancel(CancelRequest { process_id, secret }))
        }
        word => match ProtocolVersion::from_word(word) {
            version @ ProtocolVersion { major: 3, .. } => {
                Startup::decode(version, &rest).map(FirstPacket::Startup)
            }
            ProtocolVersion { major, minor } => Err(WireError::ProtocolVersion { major, minor }),
        },
    }
}

#[cfg(test)]
mod tests;
