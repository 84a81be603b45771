//! Performs a [`Gather`]: its lookups first, then its text on each of its shards at once, their rows merged as they come.

use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use pointsman_shards::Values;
use pointsman_shards::key::{Key, KeyType};
use pointsman_shards::lookup::{LookupRows, substitute};
use pointsman_shards::merge::{Merger, Order, Progress, Rows};
use pointsman_shards::pick::{Pick, Picked};
use pointsman_shards::plan::{Gather, Merge, Owned, Slice};
use pointsman_sql::ValueRef;
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::{Bind, BindParameters, Describe, Execute, Target};

use super::super::Session;
use super::super::cached::Execution;
use super::super::judge::with_text;
use super::described::{Told, format_of, put_parse, until_columns, without_hidden};
use super::leg::{Frame, Leg};
use crate::fault::Fault;

/// `pg_type.oid` of `bigint`.
const INT8: u32 = 20;
/// Rows made ready at once, in bytes.
const OUT_BYTES: usize = 64 * 1024;
/// A shard that is so many bytes ahead of the others is not read.
const AHEAD_BYTES_MAX: usize = 256 * 1024;

/// Where gathered rows go.
pub(super) enum Sink<'s> {
    /// To the client, in these formats (codes as `Bind` has them), after what it is told of the columns.
    Client { formats: &'s [i16], told: Told },
    /// Into a later query, which begins with them.
    Rows(&'s mut Option<FoundRows>),
}

impl Sink<'_> {
    /// Whether the columns' types have to be known before the shards are asked.
    fn needs_types(&self, hidden: usize) -> bool {
        match self {
            Self::Client { formats, .. } => hidden > 0 || formats.len() > 1,
            Self::Rows(_) => true,
        }
    }
}

/// One execution whose rows are gathered.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub asked: &'a Execution<'a>,
    /// The types of all its parameters.
    pub types: &'a [u32],
}

/// Rows for a later query, and their columns' types.
pub(super) struct FoundRows {
    rows: LookupRows,
    types: Vec<u32>,
    bytes_max: usize,
}

/// Lookups that were found, each with the number that texts name it by.
type Found<'g> = Vec<(u32, Arc<FoundRows>, Option<&'g Owned>)>;

impl Session {
    /// Gathers; returns how many rows there were. `around` are the lookups of the gathers that this is a part of: each shard
    /// needs all of their rows here.
    pub(super) fn gather<'f>(
        &'f mut self,
        gather: &'f Gather,
        run: Run<'f>,
        sink: Sink<'f>,
        around: &'f [(u32, Arc<FoundRows>)],
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<u64, Fault>> + Send + 'f>> {
        Box::pin(async move {
            let mut known = around.to_vec();
            for lookup in &gather.lookups {
                let mut rows = None;
                self.gather(&lookup.gather, run, Sink::Rows(&mut rows), &known).await?;
                known.extend(rows.map(|rows| (lookup.number, Arc::new(rows))));
            }
            let owned = |number: u32| {
                let own = gather.lookups.iter().find(|lookup| lookup.number == number);
                own.and_then(|lookup| lookup.owned.as_ref())
            };
            let named = known.into_iter().filter(|(number, _)| names(&gather.sql, *number));
            let found = named.map(|(number, rows)| (number, rows, owned(number))).collect();
            self.gather_from(gather, run, found, sink).await
        })
    }

    async fn gather_from(
        &mut self,
        gather: &Gather,
        run: Run<'_>,
        found: Found<'_>,
        mut sink: Sink<'_>,
    ) -> Result<u64, Fault> {
        let (sql, types) = with_lookups(gather, &found, run.types)?;
        let numbers = self.shards_of(&gather.on, run.asked)?;
        let mut legs = self.lease_legs(&numbers).await?;
        let outcome = self.gather_on(gather, run, &found, (&sql, &types), &mut legs, &mut sink).await;
        self.return_legs(legs, outcome.is_err()).await;
        outcome
    }

    /// Gathers on these legs.
    #[expect(clippy::too_many_arguments, reason = "a step of `gather_from`, which lends it all that it has")]
    async fn gather_on(
        &mut self,
        gather: &Gather,
        run: Run<'_>,
        found: &Found<'_>,
        (sql, types): (&str, &[u32]),
        legs: &mut [Leg],
        sink: &mut Sink<'_>,
    ) -> Result<u64, Fault> {
        let Some(first) = legs.first_mut() else { return Ok(0) };
        let columns = match sink.needs_types(gather.hidden) {
            true => self.describe_on(first, sql.as_bytes(), types).await?.columns.clone().unwrap_or_default(),
            false => Vec::new(),
        };
        let formats = self.formats(&columns, gather.hidden, sink)?;
        let asks = matches!(sink, Sink::Client { told: Told::Theirs, .. });
        for (index, leg) in legs.iter_mut().enumerate() {
            put_parse(&mut leg.out, sql.as_bytes(), types);
            self.put_bind(leg, run.asked, found, &formats)?;
            if asks && index == 0 {
                Describe { target: Target::Portal, name: b"" }.encode(&mut leg.out);
            }
            Execute { portal: b"", max_rows: 0 }.encode(&mut leg.out);
            leg.sync();
        }
        let merger = self.merger(gather, &columns, run.asked, legs.len())?;
        self.tell_columns(legs, sink, gather.hidden).await?;
        self.merge(merger, legs, sink).await
    }

    /// Tells the client of the columns.
    async fn tell_columns(&mut self, legs: &mut [Leg], sink: &Sink<'_>, hidden: usize) -> Result<(), Fault> {
        match sink {
            Sink::Client { told: Told::This(description), .. } => self.io.to_client.extend(description),
            Sink::Client { told: Told::Theirs, .. } => {
                for frame in self.attend_work(false, until_columns(legs)).await? {
                    match frame.tag {
                        b'T' => self.io.to_client.extend(&without_hidden(&frame, hidden)?),
                        _ => self.io.to_client.extend(&frame.bytes),
                    }
                }
            }
            Sink::Client { told: Told::Nothing, .. } | Sink::Rows(_) => {}
        }
        Ok(())
    }

    /// The shards that a query is for.
    fn shards_of(&mut self, on: &Pick, asked: &Execution<'_>) -> Result<Vec<usize>, Fault> {
        let Some(shards) = &mut self.shards else { return Ok(Vec::new()) };
        let count = shards.len();
        shards.turn = (shards.turn + 1) % count.max(1);
        let turn = shards.turn;
        let picked = with_text(asked.sql, self.wants.rules(), |literals, _| {
            on.shards(&self.values(asked, literals), count).map_err(super::way::no_shard)
        })?;
        Ok(match picked {
            Picked::Any => vec![turn],
            Picked::Shards(set) => set.iter().collect(),
        })
    }

    /// The formats in which each column is asked for.
    fn formats(&self, columns: &[u32], hidden: usize, sink: &mut Sink<'_>) -> Result<Vec<i16>, Fault> {
        match sink {
            Sink::Client { formats, .. } if columns.is_empty() => Ok(formats.to_vec()),
            Sink::Client { formats, .. } => {
                let visible = columns.len().saturating_sub(hidden);
                if formats.len() > 1 && formats.len() != visible {
                    let told = format!(
                        "bind message has {} result formats but query has {visible} columns",
                        formats.len()
                    );
                    return Err(Fault::client("08P01", told));
                }
                let shown = (0..visible).map(|index| format_of(formats, index));
                Ok(shown.chain(std::iter::repeat_n(1, hidden)).collect())
            }
            Sink::Rows(rows) => {
                let limit = self.shards.as_ref().map_or(0, |shards| shards.group.config.gather_bytes_max);
                let visible = columns.get(..columns.len().saturating_sub(hidden)).unwrap_or_default();
                let found = LookupRows::new(visible).map_err(unsupported)?;
                let mut formats = found.formats();
                formats.resize(columns.len(), 1);
                **rows = Some(FoundRows { rows: found, types: visible.to_vec(), bytes_max: limit });
                Ok(formats)
            }
        }
    }

    /// Appends the `Bind`: the client's values, then the lookups'.
    fn put_bind(
        &self,
        leg: &mut Leg,
        asked: &Execution<'_>,
        found: &Found<'_>,
        result_formats: &[i16],
    ) -> Result<(), Fault> {
        let own = asked.parameters;
        let count = own.map_or(0, |own| own.values.len());
        let mut formats: Vec<i16> = (0..count).map(|index| own.map_or(0, |own| own.format(index))).collect();
        let arrays = self.arrays(leg.shard, found);
        formats.extend(arrays.iter().map(|_| 1));
        let mut values: Vec<Option<&[u8]>> = own.map(|own| own.values.clone()).unwrap_or_default();
        values.extend(arrays.iter().map(|array| Some(&**array)));
        let parameters = BindParameters { formats, values, result_formats: result_formats.to_vec() };
        let mut rest = BytesMut::new();
        parameters.encode(&mut rest);
        Bind { portal: b"", statement: b"", rest: &rest }.encode(&mut leg.out);
        Ok(())
    }

    /// The arrays that lookups become for one shard.
    fn arrays(&self, shard: usize, found: &Found<'_>) -> Vec<Bytes> {
        let count = self.shards.as_ref().map_or(1, |shards| shards.len());
        let of = |(_, found, owned): &(u32, Arc<FoundRows>, Option<&Owned>)| match owned {
            Some(owned) => found.owned_by(owned, shard, count).parameters(),
            None => found.rows.parameters(),
        };
        found.iter().flat_map(of).map(|(_, array)| array).collect()
    }

    fn merger(
        &self,
        gather: &Gather,
        columns: &[u32],
        asked: &Execution<'_>,
        legs: usize,
    ) -> Result<Merger, Fault> {
        let types = columns.get(columns.len().saturating_sub(gather.hidden)..).unwrap_or_default();
        let (slice, order) = match &gather.merge {
            Merge::Append(slice) => (*slice, None),
            Merge::One if legs > 1 => {
                return Err(unsupported("its values do not say which one shard it is for"));
            }
            Merge::One => (Slice::default(), None),
            Merge::Ordered(ordered) => {
                let order = Order { keys: &ordered.keys, types, unique: ordered.unique };
                (ordered.slice, Some(order))
            }
        };
        let (limit, offset) = self.slice(&slice, asked)?;
        let rows = Rows { hidden: gather.hidden, order, limit, offset, with_ties: slice.with_ties };
        Merger::new(&rows, legs).map_err(unsupported)
    }

    /// The values of `LIMIT` and `OFFSET`.
    fn slice(&self, slice: &Slice, asked: &Execution<'_>) -> Result<(Option<u64>, u64), Fault> {
        let number = |value: Option<ValueRef>, name: &str| -> Result<Option<u64>, Fault> {
            let Some(value) = value else { return Ok(None) };
            let found = with_text(asked.sql, self.wants.rules(), |literals, _| {
                integer(&self.values(asked, literals), value)
            });
            match found {
                Some(None) => Ok(None),
                Some(Some(number)) => u64::try_from(number)
                    .map(Some)
                    .map_err(|_| Fault::client("2201W", format!("{name} must not be negative"))),
                None => Err(Fault::client(
                    "0A000",
                    format!("{name} of rows of several shards is no whole number"),
                )
                .hint("Write it as a number or a parameter.")),
            }
        };
        Ok((number(slice.limit, "LIMIT")?, number(slice.offset, "OFFSET")?.unwrap_or(0)))
    }

    /// Merges rows as they come, until all have or no more are needed.
    async fn merge(
        &mut self,
        mut merger: Merger,
        legs: &mut [Leg],
        sink: &mut Sink<'_>,
    ) -> Result<u64, Fault> {
        let mut out = BytesMut::with_capacity(OUT_BYTES);
        let mut total = 0;
        let mut ended = vec![false; legs.len()];
        loop {
            let progress =
                merger.pop(&mut out, OUT_BYTES).map_err(|bad| Fault::upstream("XX000", bad.to_string()))?;
            if progress == Progress::Full || progress == Progress::Done {
                total += self.deliver(&mut out, sink).await?;
            }
            match progress {
                Progress::Full => continue,
                Progress::Done => return Ok(total),
                Progress::Wanting => {}
            }
            let (index, frame) = self.attend_work(false, next(legs, &merger, &ended)).await?;
            match frame.tag {
                b'D' => merger.push(index, frame.bytes),
                b'C' | b'I' => merger.finish(index),
                b'Z' => ended[index] = true,
                b'E' => return Err(Fault::from_server(frame.bytes)),
                b'N' => self.io.to_client.extend(&frame.bytes),
                _ => {}
            }
        }
    }

    /// Hands rows on; returns how many.
    async fn deliver(&mut self, out: &mut BytesMut, sink: &mut Sink<'_>) -> Result<u64, Fault> {
        let rows = count_rows(out);
        match sink {
            Sink::Client { .. } => self.emit(out).await?,
            Sink::Rows(found) => {
                if let Some(found) = found {
                    found.push(out)?;
                }
            }
        }
        out.clear();
        Ok(rows)
    }

    /// Writes to the client until little is left.
    pub(super) async fn drain_client(&mut self) -> Result<(), Fault> {
        if self.io.to_client.len() < OUT_BYTES {
            return Ok(());
        }
        let written = std::future::poll_fn(|cx| self.io.poll_farewell(cx)).await;
        written.map_err(|error| {
            self.flow.client = super::super::leaving::Attendance::Gone;
            Fault::client("08006", "the client is gone").because(error)
        })
    }
}

impl FoundRows {
    /// Takes whole `DataRow` frames.
    fn push(&mut self, mut frames: &[u8]) -> Result<(), Fault> {
        while let Some(header) = Header::peek(frames)? {
            let Some(body) = frames.get(5..header.frame_len()) else { break };
            self.rows.push_row(body)?;
            frames = &frames[header.frame_len()..];
        }
        if self.rows.bytes() > self.bytes_max {
            return Err(too_many(self.bytes_max));
        }
        Ok(())
    }

    /// The rows whose key a shard owns.
    fn owned_by(&self, owned: &Owned, shard: usize, shards: usize) -> LookupRows {
        let types: Vec<Option<(KeyType, u32)>> = owned
            .columns
            .iter()
            .zip(&owned.types)
            .map(|(column, oid)| Some((KeyType::of_oid(*oid)?, *self.types.get(*column)?)))
            .collect();
        self.rows.owned_by(&owned.columns, |values| {
            let key = values.iter().zip(&types).map(|(value, types)| {
                let (kind, oid) = (*types)?;
                kind.of_binary(oid, value)
            });
            match key.collect::<Option<Vec<Key<'_>>>>() {
                // A key without a shard equals no row's.
                Some(key) => owned.sharded.function.shard(&key, shards).is_ok_and(|owner| owner == shard),
                None => true,
            }
        })
    }
}

/// The text with its lookups in place, and the types of all its parameters.
fn with_lookups(gather: &Gather, found: &Found<'_>, own: &[u32]) -> Result<(String, Vec<u32>), Fault> {
    let mut types = own.to_vec();
    let mut relations = Vec::new();
    for (number, found, _) in found {
        let first = u32::try_from(types.len() + 1).unwrap_or(u32::MAX);
        relations.push((*number, found.rows.relation_sql(first)));
        types.extend(found.rows.parameters().iter().map(|(oid, _)| oid));
    }
    let sql = substitute(&gather.sql, &relations);
    Ok((sql.map_err(|error| Fault::pointsman("XX000", error.to_string()))?, types))
}

/// Whether a text names a lookup.
fn names(sql: &str, number: u32) -> bool {
    let name = format!("pointsman.lookup_{number}");
    sql.match_indices(&name).any(|(at, _)| !sql[at + name.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

/// What one of the shards says that the merge waits for, or that is not far ahead.
async fn next(legs: &mut [Leg], merger: &Merger, ended: &[bool]) -> Result<(usize, Frame), Fault> {
    std::future::poll_fn(|cx| {
        for (index, leg) in legs.iter_mut().enumerate() {
            if ended[index] || merger.queued(index) > AHEAD_BYTES_MAX {
                continue;
            }
            if let Poll::Ready(outcome) = leg.poll_frame(cx) {
                return Poll::Ready(outcome.map(|frame| (index, frame)));
            }
        }
        Poll::Pending
    })
    .await
}

/// A whole number, or NULL; `None`: it is neither.
fn integer(values: &Values<'_>, value: ValueRef) -> Option<Option<i64>> {
    match values.key(value, KeyType::of_oid(INT8)?)? {
        Key::Null => Some(None),
        Key::Int(number) => Some(Some(number)),
        _ => None,
    }
}

/// Frames in a run of rows.
fn count_rows(mut frames: &[u8]) -> u64 {
    let mut count = 0;
    while let Some(length) = frames.get(1..5).and_then(|word| <[u8; 4]>::try_from(word).ok()) {
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        frames = frames.get(length.saturating_add(1)..).unwrap_or_default();
        count += 1;
    }
    count
}

fn unsupported(error: impl std::fmt::Display) -> Fault {
    Fault::pointsman("0A000", format!("rows of several shards cannot be put together: {error}"))
        .hint("Pin the statement to one shard by its shard key, or ask the coordinator.")
}

pub(super) fn too_many(bytes_max: usize) -> Fault {
    Fault::pointsman(
        "54000",
        format!("rows of several shards take more than {bytes_max} bytes while they are put together"),
    )
    .hint("Narrow the statement, or raise `sharded[].gather_bytes_max`.")
}
