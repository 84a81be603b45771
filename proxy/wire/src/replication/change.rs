//! The messages of `pgoutput`, protocol version 1.

use super::tuple::Tuple;
use crate::error::WireError;
use crate::read::Reader;

/// What of an old row its table logs: `pg_class.relreplident`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The primary key, if there is one.
    Default,
    /// Nothing.
    Nothing,
    /// The whole row.
    Full,
    /// The columns of an index.
    Index,
}

/// A column of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// Whether it is part of the replica identity.
    pub key: bool,
    /// Its name.
    pub name: &'a str,
    /// Its type.
    pub type_oid: u32,
}

/// What the rows of a relation that follow look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation<'a> {
    /// Its oid.
    pub oid: u32,
    /// Its schema; empty stands for `pg_catalog`.
    pub schema: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What of old rows comes.
    pub identity: Identity,
    /// Its columns.
    pub columns: Vec<Column<'a>>,
}

/// What came of an old row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old<'a> {
    /// The columns of the replica identity; the others are NULL here.
    Key(Tuple<'a>),
    /// The whole row.
    Row(Tuple<'a>),
}

impl<'a> Old<'a> {
    /// Its columns.
    #[must_use]
    pub fn tuple(&self) -> Tuple<'a> {
        match self {
            Self::Key(tuple) | Self::Row(tuple) => *tuple,
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<'a> {
    /// A transaction's changes follow.
    Begin {
        /// Position of its commit record.
        commit: u64,
        /// Its transaction id, without the epoch.
        xid: u32,
    },
    /// The transaction's last message.
    Commit {
        /// Position of the commit record.
        commit: u64,
        /// Position behind it: what to ask a replica for.
        end: u64,
    },
    /// Comes before the first row of a relation, and again after its definition changed.
    Relation(Relation<'a>),
    /// A row was inserted.
    Insert {
        /// The relation.
        relation: u32,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row was updated.
    Update {
        /// The relation.
        relation: u32,
        /// The row before; None if its replica identity did not change and is not the whole row.
        old: Option<Old<'a>>,
        /// The row after.
        new: Tuple<'a>,
    },
    /// A row was deleted.
    Delete {
        /// The relation.
        relation: u32,
        /// The row.
        old: Old<'a>,
    },
    /// Relations were emptied.
    Truncate {
        /// Their oids.
        relations: Vec<u32>,
    },
    /// `pg_logical_emit_message`.
    Message {
        /// Whether it belongs to the transaction.
        transactional: bool,
        /// Who it is for.
        prefix: &'a str,
        /// What it says.
        content: &'a [u8],
    },
    /// A type of a column that is not built in, or where a transaction came from: of no concern to a cache.
    Other,
}

impl<'a> Change<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// [`WireError`] if it is none of them.
    pub fn decode(message: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(message);
        let change = match reader.u8()? {
            b'B' => {
                let (commit, _at, xid) = (reader.u64()?, reader.u64()?, reader.u32()?);
                Self::Begin { commit, xid }
            }
            b'C' => {
                let (_flags, commit, end, _at) = (reader.u8()?, reader.u64()?, reader.u64()?, reader.u64()?);
                Self::Commit { commit, end }
            }
            b'R' => Self::Relation(relation(&mut reader)?),
            b'I' => {
                let relation = reader.u32()?;
                Self::Insert { relation, new: new_row(&mut reader)? }
            }
            b'U' => update(&mut reader)?,
            b'D' => {
                let (relation, kind) = (reader.u32()?, reader.u8()?);
                Self::Delete { relation, old: old_row(kind, &mut reader)? }
            }
            b'T' => {
                let (count, _options) = (reader.u32()?, reader.u8()?);
                let relations = (0..count).map(|_| reader.u32()).collect::<Result<_, _>>()?;
                Self::Truncate { relations }
            }
            b'M' => {
                let (flags, _position, prefix) = (reader.u8()?, reader.u64()?, reader.name()?);
                let content = reader.value()?.ok_or(WireError::Format)?;
                Self::Message { transactional: flags & 1 != 0, prefix, content }
            }
            b'Y' | b'O' => return Ok(Self::Other),
            other => return Err(WireError::BackendType(other)),
        };
        reader.end()?;
        Ok(change)
    }
}

fn relation<'a>(reader: &mut Reader<'a>) -> Result<Relation<'a>, WireError> {
    let (oid, schema, name) = (reader.u32()?, reader.name()?, reader.name()?);
    let identity = match reader.u8()? {
        b'd' => Identity::Default,
        b'n' => Identity::Nothing,
        b'f' => Identity::Full,
        b'i' => Identity::Index,
        _ => return Err(WireError::Format),
    };
    let count = reader.u16()?;
    let columns = (0..count).map(|_| column(reader)).collect::<Result<_, _>>()?;
    Ok(Relation { oid, schema, name, identity, columns })
}

fn column<'a>(reader: &mut Reader<'a>) -> Result<Column<'a>, WireError> {
    let (flags, name, type_oid, _modifier) = (reader.u8()?, reader.name()?, reader.u32()?, reader.u32()?);
    Ok(Column { key: flags & 1 != 0, name, type_oid })
}

fn new_row<'a>(reader: &mut Reader<'a>) -> Result<Tuple<'a>, WireError> {
    match reader.u8()? {
        b'N' => Tuple::read(reader),
        _ => Err(WireError::Format),
    }
}

fn old_row<'a>(kind: u8, reader: &mut Reader<'a>) -> Result<Old<'a>, WireError> {
    match kind {
        b'K' => Tuple::read(reader).map(Old::Key),
        b'O' => Tuple::read(reader).map(Old::Row),
        _ => Err(WireError::Format),
    }
}

fn update<'a>(reader: &mut Reader<'a>) -> Result<Change<'a>, WireError> {
    let (relation, kind) = (reader.u32()?, reader.u8()?);
    if kind == b'N' {
        return Ok(Change::Update { relation, old: None, new: Tuple::read(reader)? });
    }
    let old = Some(old_row(kind, reader)?);
    Ok(Change::Update { relation, old, new: new_row(reader)? })
}
