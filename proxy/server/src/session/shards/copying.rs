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

/// A whole `CopyDone`.
const COPY_DONE: &[u8] = b"c\0\0\0\x04";

/// A whole `CopyFail`; the client hears another reason.
const COPY_FAIL: &[u8] = b"f\0\0\0\x05\0";

/// What a stream of the client's is dealt out by.
struct Dealer<'a> {
    copy: &'a CopyFrom,
    types: Vec<KeyType>,
    shards: usize,
    /// Rows for each shard that were not sent.
    chunks: Vec<BytesMut>,
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
    fn new(copy: &'a CopyFrom, shards: usize) -> Result<Self, Fault> {
        let types = copy.types.iter().map(|oid| KeyType::of_oid(*oid)).collect::<Option<Vec<_>>>();
        let types = types.ok_or_else(|| no_shard(KeyError::Unclear))?;
        Ok(Self { copy, types, shards, chunks: vec![BytesMut::new(); shards] })
    }

    fn deal(&mut self, row: Row<'_>) -> Result<(), Stopped> {
        if row.header {
            self.chunks.iter_mut().for_each(|chunk| chunk.put_slice(row.raw));
            return Ok(());
        }
        let shard = self.owner(&row).map_err(|error| Stopped::Key(row.line, error))?;
        self.chunks[shard].put_slice(row.raw);
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

impl Session {
    /// `COPY ... FROM STDIN` on all shards; of a table whose rows are whole on each, if there is nothing to deal out by.
    pub(super) async fn copy_from(&mut self, copy: Option<&CopyFrom>, sql: &[u8]) -> Result<Outcome, Fault> {
        let two_phase = self.two_phase()?;
        if copy.is_some() && matches!(self.wants.rules().encoding, ClientEncoding::EmbeddedAscii) {
            return Err(Fault::pointsman("0A000", "rows in this client_encoding cannot be told apart")
                .hint("Set client_encoding to UTF8."));
        }
        let spans = self.spans();
        if !spans {
            two_phase.ready().await?;
        }
        let count = self.shards.as_ref().map_or(0, |shards| shards.len());
        let all: Vec<usize> = (0..count).collect();
        let mut legs = self.lease_legs(&all).await?;
        let taken = self.copy_into(copy, sql, &mut legs).await;
        let complete = |total: u64| Outcome::Complete(format!("COPY {total}"));
        if spans {
            self.return_legs(legs, false).await;
            return taken.map(complete);
        }
        // If it has failed, their connections are closed: a half-read copy cannot be ended otherwise by those who may not wait.
        let total = taken?;
        let outcome = commit(&two_phase, &mut legs).await?;
        self.warn(&outcome);
        all.into_iter().for_each(|shard| self.note_written_on(shard));
        Ok(complete(total))
    }

    /// Copies what the client sends; returns how many rows were taken.
    async fn copy_into(
        &mut self,
        copy: Option<&CopyFrom>,
        sql: &[u8],
        legs: &mut [Leg],
    ) -> Result<u64, Fault> {
        let begin = !self.spans();
        let dealt = match self.attend_work(false, begin_copies(legs, sql, begin)).await {
            Ok(begun) => {
                self.io.to_client.extend(&begun);
                self.deal_stream(copy, legs).await
            }
            Err(fault) => Err(fault),
        };
        if let Err(fault) = dealt {
            give_up(legs);
            return Err(fault);
        }
        let counts = self.attend_work(false, end_copies(legs)).await?;
        Ok(if copy.is_some() { counts.iter().sum() } else { counts.first().copied().unwrap_or(0) })
    }

    /// `COPY ... FROM STDIN` on one shard, which has told that it has begun.
    pub(super) async fn copy_through(&mut self, leg: &mut Leg, begun: &Frame) -> Result<(), Fault> {
        self.io.to_client.extend(&begun.bytes);
        let legs = std::slice::from_mut(leg);
        if let Err(fault) = self.deal_stream(None, legs).await {
            give_up(legs);
            leg.settle().await?;
            return Err(fault);
        }
        leg.out.put_slice(COPY_DONE);
        Ok(())
    }

    /// Deals the client's stream out to its end: each row to its shard, or all to each.
    async fn deal_stream(&mut self, copy: Option<&CopyFrom>, legs: &mut [Leg]) -> Result<(), Fault> {
        let bytes_max = self.shared.message_bytes_max;
        let mut dealing = match copy {
            Some(copy) => Some((Dealer::new(copy, legs.len())?, Splitter::new(copy, bytes_max))),
            None => None,
        };
        if let Some((dealer, splitter)) = &mut dealing {
            dealer.chunks.iter_mut().for_each(|chunk| chunk.put_slice(splitter.opening()));
        }
        loop {
            let (tag, body) = self.copy_message(legs).await?;
            match (tag, &mut dealing) {
                (b'd', Some((dealer, splitter))) => {
                    splitter.feed::<Stopped, _>(&body, |row| dealer.deal(row))?;
                    dealer.load(legs, false);
                    self.attend_work(false, send_all(legs)).await?;
                }
                (b'd', None) => {
                    legs.iter_mut().for_each(|leg| put_copy_data(&mut leg.out, &body));
                    self.attend_work(false, send_all(legs)).await?;
                }
                (b'c', _) => break,
                (b'f', _) => {
                    let why = String::from_utf8_lossy(body.strip_suffix(b"\0").unwrap_or(&body)).into_owned();
                    return Err(Fault::client("57014", format!("COPY from stdin failed: {why}")));
                }
                (b'H' | b'S', _) => {}
                (other, _) => {
                    let told = format!("unexpected message type 0x{other:02X} during COPY from stdin");
                    return Err(Fault::protocol(told));
                }
            }
        }
        if let Some((dealer, splitter)) = &mut dealing {
            splitter.end::<Stopped, _>(|row| dealer.deal(row))?;
            dealer.chunks.iter_mut().for_each(|chunk| chunk.put_slice(splitter.closing()));
            dealer.load(legs, true);
        }
        Ok(())
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
            let mut leg = self.lease_leg(*shard).await?;
            let ends = (place == 0, place + 1 == shards.len());
            let rows = self.copy_out(&mut leg, copy, sql, ends).await;
            self.return_legs(vec![leg], rows.is_err()).await;
            total += rows?;
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
                b'C' => rows = count_of(&frame),
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

/// Begins the copy on each shard, and a transaction before it if asked to; returns what the client is told.
async fn begin_copies(legs: &mut [Leg], sql: &[u8], begin: bool) -> Result<Bytes, Fault> {
    for leg in legs.iter_mut() {
        if begin {
            leg.query(b"BEGIN");
        }
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

/// Ends copies that cannot go on. Those that have failed already drop it.
fn give_up(legs: &mut [Leg]) {
    legs.iter_mut().for_each(|leg| leg.out.put_slice(COPY_FAIL));
}

/// Ends the copies; returns how many rows each has taken.
async fn end_copies(legs: &mut [Leg]) -> Result<Vec<u64>, Fault> {
    for leg in legs.iter_mut() {
        leg.out.put_slice(COPY_DONE);
        std::future::poll_fn(|cx| leg.poll_send(cx)).await?;
    }
    let mut counts = Vec::with_capacity(legs.len());
    for leg in legs {
        loop {
            let frame = leg.frame().await?;
            match frame.tag {
                b'C' => counts.push(count_of(&frame)),
                b'E' => return Err(Fault::from_server(frame.bytes)),
                b'Z' => break,
                _ => {}
            }
        }
    }
    Ok(counts)
}

/// How many rows a command's tag tells of.
fn count_of(frame: &Frame) -> u64 {
    tag_of(frame).rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn put_copy_data(out: &mut BytesMut, data: &[u8]) {
    out.put_u8(b'd');
    out.put_u32(u32::try_from(data.len() + 4).unwrap_or(u32::MAX));
    out.put_slice(data);
}
