//! The messages that carry values: `Bind` and `FunctionCall`.

use bytes::{BufMut, BytesMut};

use crate::error::WireError;
use crate::read::Reader;
use crate::write::{put_cstr, put_formats, put_frame, put_values};

/// `Bind`: makes a portal of a prepared statement and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind<'a> {
    /// The portal's name.
    pub portal: &'a [u8],
    /// The prepared statement's name.
    pub statement: &'a [u8],
    /// Everything after the names as it came: formats, values, result formats. [`Bind::parameters`] reads it.
    pub rest: &'a [u8],
}

impl<'a> Bind<'a> {
    /// Reads the names; the rest is not looked at.
    ///
    /// # Errors
    /// [`WireError`] if there are not two names.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        Ok(Self { portal: reader.cstr()?, statement: reader.cstr()?, rest: reader.rest() })
    }

    /// Reads the values and formats.
    ///
    /// # Errors
    /// [`WireError`] if the rest is not what a Bind holds.
    pub fn parameters(&self) -> Result<BindParameters<'a>, WireError> {
        BindParameters::decode(self.rest)
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'B', |out| {
            put_cstr(out, self.portal);
            put_cstr(out, self.statement);
            out.extend_from_slice(self.rest);
        });
    }
}

/// What a `Bind` holds after its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindParameters<'a> {
    /// Format codes (0 text, 1 binary): none for all text, one for all, or one for each value.
    pub formats: Vec<i16>,
    /// The values; `None` is NULL.
    pub values: Vec<Option<&'a [u8]>>,
    /// Format codes of the result's columns: none for all text, one for all, or one for each column.
    pub result_formats: Vec<i16>,
}

/// The format code at `index`, from 0, of a list of them: none for all text, one for all, or one for each.
pub fn format_of(formats: &[i16], index: usize) -> i16 {
    match formats {
        [] => 0,
        [one] => *one,
        each => each.get(index).copied().unwrap_or(0),
    }
}

impl<'a> BindParameters<'a> {
    /// Reads [`Bind::rest`].
    ///
    /// # Errors
    /// [`WireError`] if it is not what a Bind holds, with `BindFormats` where PostgreSQL says so.
    pub fn decode(rest: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(rest);
        let formats = reader.formats()?;
        let values = reader.values()?;
        let result_formats = reader.formats()?;
        reader.end()?;
        if formats.len() > 1 && formats.len() != values.len() {
            return Err(WireError::BindFormats { formats: formats.len(), parameters: values.len() });
        }
        Ok(Self { formats, values, result_formats })
    }

    /// How many values there are in what [`Bind::rest`] holds, without a look at them. `None`: it does not say.
    pub fn count(rest: &[u8]) -> Option<u16> {
        let word = |at: usize| Some(u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?]));
        word(2 + 2 * usize::from(word(0)?))
    }

    /// The format code of the value at `index`, from 0.
    pub fn format(&self, index: usize) -> i16 {
        format_of(&self.formats, index)
    }

    /// The whole number at `index`, from 0; in binary, of any of PostgreSQL's integer types.
    pub fn integer(&self, index: usize) -> Option<i64> {
        let value = (*self.values.get(index)?)?;
        if self.format(index) == 0 {
            return std::str::from_utf8(value).ok()?.trim().parse().ok();
        }
        match value.len() {
            2 => value.try_into().ok().map(i16::from_be_bytes).map(i64::from),
            4 => value.try_into().ok().map(i32::from_be_bytes).map(i64::from),
            8 => value.try_into().ok().map(i64::from_be_bytes),
            _ => None,
        }
    }

    /// Appends the wire form that [`Bind::rest`] holds.
    pub fn encode(&self, out: &mut BytesMut) {
        put_formats(out, &self.formats);
        put_values(out, &self.values);
        put_formats(out, &self.result_formats);
    }
}

/// `FunctionCall`: the old fast-path call of one function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionCall<'a> {
    /// The function in `pg_proc`.
    pub function_oid: u32,
    /// Format codes: none for all text, one for all, or one for each argument.
    pub formats: Vec<i16>,
    /// The arguments; `None` is NULL.
    pub arguments: Vec<Option<&'a [u8]>>,
    /// Format code of the result.
    pub result_format: i16,
}

impl<'a> FunctionCall<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError`] if the body is not one.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let call = Self {
            function_oid: reader.u32()?,
            formats: reader.formats()?,
            arguments: reader.values()?,
            result_format: reader.i16()?,
        };
        reader.end()?;
        let (formats, arguments) = (call.formats.len(), call.arguments.len());
        if formats > 1 && formats != arguments {
            return Err(WireError::FunctionCallFormats { formats, arguments });
        }
        Ok(call)
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        put_frame(out, b'F', |out| {
            out.put_u32(self.function_oid);
            put_formats(out, &self.formats);
            put_values(out, &self.arguments);
            out.put_i16(self.result_format);
        });
    }
}
