//! What a server says about results: their columns, their rows.

use bytes::{BufMut, BytesMut};

use crate::error::WireError;
use crate::oids::Oids;
use crate::read::Reader;
use crate::write::{put_count, put_cstr, put_frame, put_value, put_values};

/// `ParameterDescription`: the types of a prepared statement's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterDescription<'a> {
    /// One type for each parameter.
    pub types: Oids<'a>,
}

impl<'a> ParameterDescription<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let types = Oids::read(&mut reader)?;
        reader.end()?;
        Ok(Self { types })
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b't', |out| self.types.put(out));
    }
}

/// One column of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The column's name.
    pub name: &'a [u8],
    /// The table it comes from, or 0.
    pub table_oid: u32,
    /// Its number in that table, or 0.
    pub column: i16,
    /// Its type.
    pub type_oid: u32,
    /// `pg_type.typlen`: bytes, or negative for a variable width.
    pub type_len: i16,
    /// `pg_attribute.atttypmod`: the type's modifier, or -1.
    pub type_modifier: i32,
    /// 0 text, 1 binary; 0 also while not known (Describe of a statement).
    pub format: i16,
}

/// Bytes of a field after its name.
const FIELD_TAIL: usize = 18;

impl<'a> Field<'a> {
    /// A column of type `text` that is no table's. Its values are the same in either format.
    #[must_use]
    pub fn text(name: &'a [u8], format: i16) -> Self {
        const OID: u32 = 25;
        Self { name, table_oid: 0, column: 0, type_oid: OID, type_len: -1, type_modifier: -1, format }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(Self {
            name: reader.cstr()?,
            table_oid: reader.u32()?,
            column: reader.i16()?,
            type_oid: reader.u32()?,
            type_len: reader.i16()?,
            type_modifier: reader.i32()?,
            format: reader.i16()?,
        })
    }

    fn put(&self, out: &mut BytesMut) {
        put_cstr(out, self.name);
        out.put_u32(self.table_oid);
        out.put_i16(self.column);
        out.put_u32(self.type_oid);
        out.put_i16(self.type_len);
        out.put_i32(self.type_modifier);
        out.put_i16(self.format);
    }
}

/// `RowDescription`: the columns of the rows that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowDescription<'a> {
    /// The columns in order.
    pub fields: Vec<Field<'a>>,
}

impl<'a> RowDescription<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let count = usize::from(reader.u16()?);
        let mut fields = Vec::with_capacity(count.min(reader.left() / FIELD_TAIL));
        for _ in 0..count {
            fields.push(Field::read(&mut reader)?);
        }
        reader.end()?;
        Ok(Self { fields })
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'T', |out| {
            put_count(out, self.fields.len());
            for field in &self.fields {
                field.put(out);
            }
        });
    }
}

/// `DataRow`: one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataRow<'a> {
    /// The values in column order; `None` is NULL.
    pub values: Vec<Option<&'a [u8]>>,
}

impl<'a> DataRow<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let values = reader.values()?;
        reader.end()?;
        Ok(Self { values })
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'D', |out| put_values(out, &self.values));
    }
}

/// `FunctionCallResponse`: the result of a fast-path call; `None` is NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionCallResponse<'a>(pub Option<&'a [u8]>);

impl<'a> FunctionCallResponse<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let value = reader.value()?;
        reader.end()?;
        Ok(Self(value))
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'V', |out| put_value(out, self.0));
    }
}
