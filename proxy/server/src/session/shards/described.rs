//! What a server says of a text: its parameters' types and its columns. Remembered, since definitions change seldom; or heard
//! from a shard that is about to give rows.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use lru::LruCache;
use pointsman_wire::Oids;
use pointsman_wire::backend::{ParameterDescription, RowDescription};
use pointsman_wire::frontend::{Describe, Parse, Target};

use super::super::Session;
use super::super::statements::Under;
use super::leg::{Frame, Leg};
use crate::fault::Fault;

/// Texts remembered by each worker.
const KEPT_MAX: usize = 1_000;

/// What a server says of a text.
#[derive(Debug)]
pub(super) struct Described {
    /// The types of its parameters.
    pub parameters: Vec<u32>,
    /// The types of its columns; `None` if it returns no rows.
    pub columns: Option<Vec<u32>>,
    /// The whole RowDescription, in text formats.
    pub row_description: Bytes,
}

/// What the client is told of the columns before their rows.
pub(super) enum Told {
    /// Nothing: it did not ask.
    Nothing,
    /// This `RowDescription`.
    This(Bytes),
    /// What a shard says of them.
    Theirs,
}

type Known = LruCache<(Box<[u8]>, Vec<u32>, Under), Arc<Described>>;

thread_local! {
    static KNOWN: RefCell<Known> =
        RefCell::new(LruCache::new(NonZeroUsize::new(KEPT_MAX).unwrap_or(NonZeroUsize::MIN)));
}

impl Described {
    /// The RowDescription with these formats: none for all text, one for all, or one for each column.
    pub fn with_formats(&self, formats: &[i16]) -> Result<Bytes, Fault> {
        if formats.is_empty() {
            return Ok(self.row_description.clone());
        }
        let mut description = RowDescription::decode(self.row_description.get(5..).unwrap_or_default())?;
        for (index, field) in description.fields.iter_mut().enumerate() {
            field.format = format_of(formats, index);
        }
        let mut out = BytesMut::with_capacity(self.row_description.len());
        description.encode(&mut out);
        Ok(out.freeze())
    }
}

/// The format of a column, by codes as `Bind` has them.
pub(super) fn format_of(formats: &[i16], index: usize) -> i16 {
    match formats {
        [] => 0,
        [one] => *one,
        each => each.get(index).copied().unwrap_or(0),
    }
}

impl Session {
    /// What a server has said of a text.
    pub(super) fn known_description(&mut self, sql: &[u8], types: &[u32]) -> Option<Arc<Described>> {
        let key = (Box::from(sql), types.to_vec(), self.under());
        KNOWN.with_borrow_mut(|known| known.get(&key).cloned())
    }

    /// What a server says of a text, asked on this leg if it is not known.
    pub(super) async fn describe_on(
        &mut self,
        leg: &mut Leg,
        sql: &[u8],
        types: &[u32],
    ) -> Result<Arc<Described>, Fault> {
        if let Some(known) = self.known_description(sql, types) {
            return Ok(known);
        }
        let key = (Box::from(sql), types.to_vec(), self.under());
        put_parse(&mut leg.out, sql, types);
        Describe { target: Target::Statement, name: b"" }.encode(&mut leg.out);
        leg.sync();
        let described = Arc::new(self.attend_work(false, read(leg)).await?);
        if key.2.alone == 0 {
            KNOWN.with_borrow_mut(|known| known.put(key, Arc::clone(&described)));
        }
        Ok(described)
    }
}

/// Appends the `Parse` of the unnamed statement.
pub(super) fn put_parse(out: &mut BytesMut, sql: &[u8], types: &[u32]) {
    let raw: Vec<u8> = types.iter().flat_map(|oid| oid.to_be_bytes()).collect();
    let parameter_types = Oids::from_raw(&raw).unwrap_or(Oids::EMPTY);
    Parse { name: b"", sql, parameter_types }.encode(out);
}

async fn read(leg: &mut Leg) -> Result<Described, Fault> {
    let mut described = Described { parameters: Vec::new(), columns: None, row_description: Bytes::new() };
    let mut failed = None;
    loop {
        let frame = leg.frame().await?;
        match frame.tag {
            b't' => described.parameters = ParameterDescription::decode(frame.body())?.types.iter().collect(),
            b'T' => {
                let fields = RowDescription::decode(frame.body())?.fields;
                described.columns = Some(fields.iter().map(|field| field.type_oid).collect());
                described.row_description = frame.bytes;
            }
            b'E' => failed = Some(Fault::from_server(frame.bytes)),
            b'Z' => return failed.map_or(Ok(described), Err),
            _ => {}
        }
    }
}

/// What the first leg says up to its columns that is for the client, the columns last; the others are sent their parts meanwhile.
pub(super) async fn until_columns(legs: &mut [Leg]) -> Result<Vec<Frame>, Fault> {
    let mut said = Vec::new();
    loop {
        let frame = std::future::poll_fn(|cx| {
            let Some((first, others)) = legs.split_first_mut() else {
                return Poll::Ready(Err(Fault::pointsman("XX000", "no shard was asked")));
            };
            for leg in others {
                if let Poll::Ready(Err(fault)) = leg.poll_send(cx) {
                    return Poll::Ready(Err(fault));
                }
            }
            first.poll_frame(cx)
        });
        let frame = frame.await?;
        match frame.tag {
            b'E' => return Err(Fault::from_server(frame.bytes)),
            b'N' => said.push(frame),
            b'T' => {
                said.push(frame);
                return Ok(said);
            }
            b'1' | b'2' => {}
            _ => return Ok(said),
        }
    }
}

/// A `RowDescription` without its last columns.
pub(super) fn without_hidden(frame: &Frame, hidden: usize) -> Result<Bytes, Fault> {
    if hidden == 0 {
        return Ok(frame.bytes.clone());
    }
    let mut description = RowDescription::decode(frame.body())?;
    description.fields.truncate(description.fields.len().saturating_sub(hidden));
    let mut out = BytesMut::with_capacity(frame.bytes.len());
    description.encode(&mut out);
    Ok(out.freeze())
}
