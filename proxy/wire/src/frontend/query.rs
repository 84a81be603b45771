//! The messages of the simple and the extended query protocol that are small and flat.

use bytes::{BufMut, BytesMut};

use crate::error::WireError;
use crate::oids::Oids;
use crate::read::Reader;
use crate::write::{put_cstr, put_frame};

/// `Query`: the simple protocol's text of one statement or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// The text, without its terminating zero.
    pub sql: &'a [u8],
}

impl<'a> Query<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let sql = reader.cstr()?;
        reader.end()?;
        Ok(Self { sql })
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'Q', |out| put_cstr(out, self.sql));
    }
}

/// `Parse`: prepares a statement. The empty name's statement is replaced by the next Parse of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    /// The statement's name.
    pub name: &'a [u8],
    /// The text of one statement.
    pub sql: &'a [u8],
    /// Types of the first parameters; the server infers the others.
    pub parameter_types: Oids<'a>,
}

impl<'a> Parse<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let parse =
            Self { name: reader.cstr()?, sql: reader.cstr()?, parameter_types: Oids::read(&mut reader)? };
        reader.end()?;
        Ok(parse)
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'P', |out| {
            put_cstr(out, self.name);
            put_cstr(out, self.sql);
            self.parameter_types.put(out);
        });
    }
}

/// What `Describe` and `Close` mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// A prepared statement.
    Statement,
    /// A portal.
    Portal,
}

impl Target {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'S' => Some(Self::Statement),
            b'P' => Some(Self::Portal),
            _ => None,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Statement => b'S',
            Self::Portal => b'P',
        }
    }
}

/// `Describe`: asks for the columns of a statement or portal, and for a statement's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Describe<'a> {
    /// Which kind of thing.
    pub target: Target,
    /// Its name.
    pub name: &'a [u8],
}

impl<'a> Describe<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let (subtype, name) = subtype_and_name(body)?;
        let target = Target::from_byte(subtype).ok_or(WireError::DescribeSubtype(subtype))?;
        Ok(Self { target, name })
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'D', |out| put_target(out, self.target, self.name));
    }
}

/// `Close`: forgets a statement or portal. A name that is not there is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close<'a> {
    /// Which kind of thing.
    pub target: Target,
    /// Its name.
    pub name: &'a [u8],
}

impl<'a> Close<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let (subtype, name) = subtype_and_name(body)?;
        let target = Target::from_byte(subtype).ok_or(WireError::CloseSubtype(subtype))?;
        Ok(Self { target, name })
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'C', |out| put_target(out, self.target, self.name));
    }
}

fn subtype_and_name(body: &[u8]) -> Result<(u8, &[u8]), WireError> {
    let mut reader = Reader::new(body);
    let subtype = reader.u8()?;
    let name = reader.cstr()?;
    reader.end()?;
    Ok((subtype, name))
}

fn put_target(out: &mut BytesMut, target: Target, name: &[u8]) {
    out.put_u8(target.byte());
    put_cstr(out, name);
}

/// `Execute`: runs a portal, or goes on with a suspended one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execute<'a> {
    /// The portal's name.
    pub portal: &'a [u8],
    /// Most rows to send before `PortalSuspended`; 0 or less for all.
    pub max_rows: i32,
}

impl<'a> Execute<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let execute = Self { portal: reader.cstr()?, max_rows: reader.i32()? };
        reader.end()?;
        Ok(execute)
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'E', |out| {
            put_cstr(out, self.portal);
            out.put_i32(self.max_rows);
        });
    }
}

/// `CopyFail`: ends a COPY from the client with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyFail<'a> {
    /// The cause, which becomes part of the server's error.
    pub message: &'a [u8],
}

impl<'a> CopyFail<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        Query::decode(body).map(|Query { sql }| Self { message: sql })
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'f', |out| put_cstr(out, self.message));
    }
}
