//! COPY over several shards: rows from the client are dealt out as they come, rows to the client come from one shard after another.

use std::task::Poll;

use bytes::{BufMut as _, Bytes, BytesMut};
use pointsman_shards::copy::{BINARY_HEADER, BINARY_TRAILER, CopyError, Row, Splitter};
use pointsman_shards::function::KeyError;
use pointsman_shards::key::{Key, KeyType};
use pointsman_shards::plan::{CopyFormat, CopyFrom, CopyTo};
use pointsman_sql::ClientEncoding;
use pointsman_wire::frame::Header;

use super::super::Session;
use super::across::tag_of;
use super::leg::{Frame, Leg};
use super::query::Outcome;
use super::way::no_shard;
use crate::fault::Fault;
use crate::twophase::commit;

/// Rows that are sent to a shard at once, in bytes.
const CHUNK_BYTES: usize = 32 * 1024;

/// Where a stream of the client's goes.
struct Dealer<'a> {
    /// What cuts it, and deals the rows out; none: every shard gets all.
    by: Option<(Splitter, Keys<'a>)>,
    /// What is for each shard and was not sent.
    chunks: Vec<BytesMut>,
}

/// What rows are dealt out by.
struct Keys<'a> {
    copy: &'a CopyFrom,
    types: Vec<KeyType>,
    shards: usize,
}

/// Why a stream cannot go on.
enum Stopped {
    Copy(CopyError),
    Key(u64, KeyError),
}

impl From<CopyError> for Stopped {
    fn from(error: CopyError) -> Self {
        Self::Copy(error)
    }
}

impl From<Stopped> for Fault {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Copy(error) => Self::client(error.sqlstate(), error.to_string()),
            Stopped::Key(line, KeyError::Unclear) => {
                Self::client("22P02", format!("invalid input for the shard key, line {line}"))
            }
            Stopped::Key(line, error) => {
                let mut fault = no_shard(error);
                fault.told = format!("{}, line {line}", fault.told).into();
                fault
            }
        }
    }
}

impl<'a> Dealer<'a> {
    fn new(copy: Option<&'a CopyFrom>, shards: usize, row_bytes_max: usize) -> Result<Self, Fault> {
        let by = copy.map(|copy| {
            let types = copy.types.iter().map(|oid| KeyType::of_oid(*oid)).collect::<Option<Vec<_>>>();
            let types = types.ok_or_else(|| no_shard(KeyError::Unclear))?;
            Ok::<_, Fault>((Splitter::new(copy, row_bytes_max), Keys { copy, types, shards }))
        });
        let by = by.transpose()?;
        let opening = by.as_ref().map_or(&b""[..], |(splitter, _)| splitter.opening());
        Ok(Self { by, chunks: vec![BytesMut::from(opening); shards] })
    }

    fn feed(&mut self, body: &[u8]) -> Result<(), Stopped> {
        let Self { by, chunks } = self;
        match by {
            Some((splitter, keys)) => splitter.feed(body, |row| keys.deal(row, chunks)),
            None => {
                chunks.iter_mut().for_each(|chunk| chunk.put_slice(body));
                Ok(())
            }
        }
    }

    fn end(&mut self) -> Result<(), Stopped> {
        let Self { by: Some((splitter, keys)), chunks } = self else { return Ok(()) };
        splitter.end(|row| keys.deal(row, chunks))?;
        chunks.iter_mut().for_each(|chunk| chunk.put_slice(splitter.closing()));
        Ok(())
    }

    /// How many rows the client is told of, if the shards took so many.
    fn rows(&self, taken: u64) -> u64 {
        let copies = if self.by.is_some() { 1 } else { self.chunks.len() as u64 };
        taken / copies.max(1)
    }

    /// Moves what has gathered for each shard to its leg, all of it or only where it is much.
    fn load(&mut self, legs: &mut [Leg], all: bool) {
        for (chunk, leg) in self.chunks.iter_mut().zip(legs) {
            if chunk.len() >= CHUNK_BYTES || (all && !chunk.is_empty()) {
                put_copy_data(&mut leg.out, chunk);
                chunk.clear();
            }
        }
    }
}

impl Keys<'_> {
    fn deal(&self, row: Row<'_>, chunks: &mut [BytesMut]) -> Result<(), Stopped> {
        if row.header {
            chunks.iter_mut().for_each(|chunk| chunk.put_slice(row.raw));
            return Ok(());
        }
        let shard = self.owner(&row).map_err(|error| Stopped::Key(row.line, error))?;
        chunks[shard].put_slice(row.raw);
        Ok(())
    }

    fn owner(&self, row: &Row<'_>) -> Result<usize, KeyError> {
        let values: Vec<_> = (0..self.types.len()).map(|at| row.key(at)).collect();
        let binary = self.copy.format == CopyFormat::Binary;
        let keys = values.iter().zip(&self.types).map(|(value, kind)| match value.as_deref() {
            None => Some(Key::Null),
            Some(value) if binary => kind.of_binary(kind.oid(), value),
            Some(value) => kind.of_text(value),
        });
        let keys: Vec<Key<'_>> = keys.collect::<Option<_>>().ok_or(KeyError::Unclear)?;
        self.copy.sharded.function.shard(&keys, self.shards)
    }
}

impl Session {
    /// `COPY ... FROM STDIN`: rows are dealt out as `copy` says, or all go to every shard.
    pub(super) async fn copy_from(&mut self, copy: Option<&CopyFrom>, sql: &[u8]) -> Result<Outcome, Fault> {
        let two_phase = self.two_phase()?;
        if copy.is_some() && matches!(self.wants.rules().encoding, ClientEncoding::EmbeddedAscii) {
            return Err(Fault::pointsman("0A000", "rows in this client_encoding cannot be told apart")
                .hint("Set client_encoding to UTF8."));
        }
        let count = self.shards.as_ref().map_or(0, |shards| shards.len());
        let mut dealer = Dealer::new(copy, count, self.shared.message_bytes_max)?;
        two_phase.ready().await?;
        let mut legs: Vec<Leg> = (0..count).filter_map(|shard| self.open_leg(shard)).collect();
        let begun = self.attend_work(false, begin_copies(&mut legs, sql)).await?;
        self.io.to_client.extend(&begun);
        let total = match self.deal_stream(&mut dealer, &mut legs).await {
            Ok(total) => total,
            Err(fault) => {
                // Their connections are closed: a half-read copy cannot be ended otherwise by those who may not wait.
                drop(legs);
                return Err(fault);
            }
        };
        let outcome = commit(&two_phase, &mut legs).await?;
        self.warn(&outcome);
        (0..count).for_each(|shard| self.note_written_on(shard));
        Ok(Outcome::Complete(format!("COPY {}", dealer.rows(total))))
    }

    /// Deals the client's stream out to its end; returns how many rows the shards took.
    async fn deal_stream(&mut self, dealer: &mut Dealer<'_>, legs: &mut [Leg]) -> Result<u64, Fault> {
        loop {
            let (tag, body) = self.copy_message(legs).await?;
            match tag {
                b'd' => {
                    dealer.feed(&body)?;
                    dealer.load(legs, false);
                    self.attend_work(false, send_all(legs)).await?;
                }
                b'c' => break,
                b'f' => {
                    let why = String::from_utf8_lossy(body.strip_suffix(b"\0").unwrap_or(&body)).into_owned();
                    return Err(Fault::client("57014", format!("COPY from stdin failed: {why}")));
                }
                b'H' | b'S' => {}
                other => {
                    let told = format!("unexpected message type 0x{other:02X} during COPY from stdin");
                    return Err(Fault::protocol(told));
                }
            }
        }
        dealer.end()?;
        dealer.load(legs, true);
        self.attend_work(false, end_copies(legs)).await
    }

    /// The client's next message. A shard that ends its copy meanwhile ends all.
    async fn copy_message(&mut self, legs: &mut [Leg]) -> Result<(u8, Bytes), Fault> {
        loop {
            if let Some(header) = Header::peek(self.io.from_client.bytes())? {
                if header.body_len > self.shared.message_bytes_max {
                    return Err(pointsman_wire::WireError::Length.into());
                }
                let len = header.frame_len();
                if let Some(frame) = self.io.from_client.bytes().get(..len) {
                    let body = Bytes::copy_from_slice(&frame[5..]);
                    self.io.from_client.consume(len);
                    return Ok((header.tag, body));
                }
            }
            self.more_from_client(legs).await?;
        }
    }

    /// Waits until more has come from the client.
    async fn more_from_client(&mut self, legs: &mut [Leg]) -> Result<(), Fault> {
        let gone = |flow: &mut super::super::Flow| {
            flow.client = super::super::leaving::Attendance::Gone;
            Fault::client("08006", "the client has left in the middle of a COPY")
        };
        let Self { io, flow, handle, .. } = self;
        std::future::poll_fn(|cx| {
            if handle.take_cancelled() {
                return Poll::Ready(Err(super::super::control::cancelled()));
            }
            if matches!(io.poll_farewell(cx), Poll::Ready(Err(_))) {
                return Poll::Ready(Err(gone(flow)));
            }
            for leg in legs.iter_mut() {
                match leg.poll_frame(cx) {
                    Poll::Ready(Ok(Frame { tag: b'E', bytes })) => {
                        return Poll::Ready(Err(Fault::from_server(bytes)));
                    }
                    Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                    Poll::Ready(Ok(_)) | Poll::Pending => {}
                }
            }
            match io.from_client.poll_fill(&mut io.client, cx) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    io.traffic.from_client += count;
                    Poll::Ready(Ok(()))
                }
                Poll::Ready(_) => Poll::Ready(Err(gone(flow))),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// `COPY ... TO STDOUT`: one shard after another, as one stream.
    pub(super) async fn copy_to(
        &mut self,
        copy: CopyTo,
        sql: &[u8],
        shards: &[usize],
    ) -> Result<Outcome, Fault> {
        let mut total = 0;
        for (place, shard) in shards.iter().enumerate() {
            let Some(mut leg) = self.open_leg(*shard) else { continue };
            let ends = (place == 0, place + 1 == shards.len());
            total += self.copy_out(&mut leg, copy, sql, ends).await?;
        }
        Ok(Outcome::Complete(format!("COPY {total}")))
    }

    /// Passes one shard's part on. `ends` says whether it is the first, and whether it is the last.
    async fn copy_out(
        &mut self,
        leg: &mut Leg,
        copy: CopyTo,
        sql: &[u8],
        (first, last): (bool, bool),
    ) -> Result<u64, Fault> {
        leg.query(sql);
        let (mut binary, mut rows, mut failed, mut begun) = (false, 0, None, false);
        loop {
            let frame = self.attend_work(false, leg.frame()).await?;
            match frame.tag {
                b'H' => {
                    binary = frame.body().first() == Some(&1);
                    if first {
                        self.io.to_client.extend(&frame.bytes);
                    }
                }
                b'd' => {
                    let opens = !std::mem::replace(&mut begun, true);
                    let kept = part(frame.body(), (opens, binary, copy.header), (first, last));
                    if let Some(kept) = kept {
                        super::super::message::frame(&mut self.io.to_client, b'd', &[kept]);
                        self.drain_client().await?;
                    }
                }
                b'c' if last => self.io.to_client.extend(&frame.bytes),
                b'C' => {
                    rows = tag_of(&frame).rsplit(' ').next().and_then(|last| last.parse().ok()).unwrap_or(0)
                }
                b'E' => failed = Some(Fault::from_server(frame.bytes)),
                b'N' => self.io.to_client.extend(&frame.bytes),
                b'Z' => return failed.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }
}

/// What of a shard's CopyData goes to the client: headers of the first shard only, the trailer of the last.
fn part(
    data: &[u8],
    (opens, binary, header): (bool, bool, bool),
    (first, last): (bool, bool),
) -> Option<&[u8]> {
    if binary {
        let data = if opens && !first { data.get(BINARY_HEADER.len()..)? } else { data };
        let data = if data == BINARY_TRAILER && !last { b"" } else { data };
        return (!data.is_empty()).then_some(data);
    }
    (!(opens && header && !first)).then_some(data)
}

/// Begins a transaction and the copy on each shard; returns what the client is told.
async fn begin_copies(legs: &mut [Leg], sql: &[u8]) -> Result<Bytes, Fault> {
    for leg in legs.iter_mut() {
        leg.query(b"BEGIN");
        leg.query(sql);
        std::future::poll_fn(|cx| leg.poll_send(cx)).await?;
    }
    let mut told = Bytes::new();
    for leg in legs {
        loop {
            let frame = leg.frame().await?;
            match frame.tag {
                b'G' => {
                    told = frame.bytes;
                    break;
                }
                b'E' => return Err(Fault::from_server(frame.bytes)),
                _ => {}
            }
        }
    }
    Ok(told)
}

async fn send_all(legs: &mut [Leg]) -> Result<(), Fault> {
    for leg in legs {
        std::future::poll_fn(|cx| leg.poll_send(cx)).await?;
    }
    Ok(())
}

/// Ends the copies; returns how many rows were taken.
async fn end_copies(legs: &mut [Leg]) -> Result<u64, Fault> {
    for leg in legs.iter_mut() {
        leg.out.put_slice(b"c\0\0\0\x04");
        std::future::poll_fn(|cx| leg.poll_send(cx)).await?;
    }
    let mut total = 0;
    for leg in legs {
        loop {
            let frame = leg.frame().await?;
            match frame.tag {
                b'C' => {
                    total +=
                        tag_of(&frame).rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
                }
                b'E' => return Err(Fault::from_server(frame.bytes)),
                b'Z' => break,
                _ => {}
            }
        }
    }
    Ok(total)
}

fn put_copy_data(out: &mut BytesMut, data: &[u8]) {
    out.put_u8(b'd');
    out.put_u32(u32::try_from(data.len() + 4).unwrap_or(u32::MAX));
    out.put_slice(data);
}
