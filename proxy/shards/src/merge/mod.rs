//! Rows of several shards become one result, as they come.
//!
//! Rows are whole `DataRow` frames. Columns at their end are hidden: in binary, for the merge only. The visible ones are passed
//! on without being looked at.

mod array;
mod compare;
mod head;
mod number;
mod output;
mod tree;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

pub use compare::Unsupported;
use compare::{Key, Kind};
use head::Head;
use output::{Output, Verdict};
use tree::Tree;

use crate::plan::SortKey;

/// What is merged, with the values of one execution.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Hidden columns at the end of each row.
    pub hidden: usize,
    /// The order in which each shard's rows come, or `None` if they come in any.
    pub order: Option<Order<'a>>,
    /// `LIMIT`.
    pub limit: Option<u64>,
    /// `OFFSET`.
    pub offset: u64,
    /// `FETCH FIRST ... WITH TIES`. It counts only where there is an order.
    pub with_ties: bool,
}

/// An order by hidden columns.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// One for each hidden column.
    pub keys: &'a [SortKey],
    /// Types of the hidden columns (`pg_type.oid`), from `RowDescription`.
    pub types: &'a [u32],
    /// Of rows that are equal in the first so many keys, only the first stays.
    pub unique: Option<usize>,
}

/// A shard sent what is no row of this result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("shard {shard} sent a row that its result cannot have")]
pub struct BadRow {
    /// Which, from 0.
    pub shard: usize,
}

/// How far [`Merger::pop`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It cannot go on before it hears of one of [`Merger::wanting`].
    Wanting,
    /// The output has as many bytes as were asked for; there may be more rows.
    Full,
    /// No row will follow: what shards still have to send is not needed.
    Done,
}

/// What a shard has sent and was not merged yet.
#[derive(Debug, Default)]
struct Source {
    /// Whole frames each; the first may be used up to `at`.
    chunks: VecDeque<Bytes>,
    at: usize,
    /// Bytes in `chunks` that are not used up.
    bytes: usize,
    finished: bool,
}

impl Source {
    /// The bytes from the next frame on, and drops what is used up.
    fn rest(&mut self) -> Option<&[u8]> {
        while self.chunks.front().is_some_and(|chunk| self.at >= chunk.len()) {
            self.chunks.pop_front();
            self.at = 0;
        }
        self.chunks.front().map(|chunk| &chunk[self.at..])
    }

    fn used(&mut self, bytes: usize) {
        self.at += bytes;
        self.bytes -= bytes;
    }
}

/// Merges the rows of some shards.
#[derive(Debug)]
pub struct Merger {
    sources: Vec<Source>,
    /// Each shard's next row, where there is an order.
    heads: Vec<Option<Head>>,
    keys: Box<[Key]>,
    ordered: bool,
    hidden: usize,
    tree: Tree,
    output: Output,
}

impl Merger {
    /// For so many shards.
    ///
    /// # Errors
    /// [`Unsupported`] for the first key whose order is not known here.
    pub fn new(rows: &Rows<'_>, shards: usize) -> Result<Self, Unsupported> {
        let keys: Box<[Key]> = match rows.order {
            Some(order) => order
                .keys
                .iter()
                .zip(order.types)
                .enumerate()
                .map(|(column, (key, oid))| Ok(Key { kind: Kind::new(*oid, key, column)?, sort: *key }))
                .collect::<Result<_, _>>()?,
            None => Box::default(),
        };
        let ordered = rows.order.is_some();
        // A key without a column, or the other way round, would be compared with what it does not belong to.
        let short = rows
            .order
            .is_some_and(|order| order.keys.len() != rows.hidden || order.types.len() != rows.hidden);
        if short {
            return Err(Unsupported { column: keys.len(), type_oid: 0 });
        }
        Ok(Self {
            sources: (0..shards).map(|_| Source::default()).collect(),
            heads: (0..shards).map(|_| None).collect(),
            ordered,
            hidden: rows.hidden,
            tree: Tree::new(shards),
            output: Output::new(rows, keys.len()),
            keys,
        })
    }

    /// Takes whole `DataRow` frames of a shard, one or more, in the order in which it sent them.
    pub fn push(&mut self, shard: usize, frames: Bytes) {
        let source = &mut self.sources[shard];
        source.bytes += frames.len();
        source.chunks.push_back(frames);
    }

    /// The shard has no more rows.
    pub fn finish(&mut self, shard: usize) {
        self.sources[shard].finished = true;
    }

    /// Bytes of a shard's rows that were not merged yet: a shard that is far ahead of the others need not be read.
    #[must_use]
    pub fn queued(&self, shard: usize) -> usize {
        self.sources[shard].bytes
    }

    /// The shards without a row here that are not finished. With an order, the merge cannot go on before it has heard of each;
    /// without one, of any.
    pub fn wanting(&self) -> impl Iterator<Item = usize> + '_ {
        let lacks = |shard: &usize| {
            let source = &self.sources[*shard];
            !source.finished && source.bytes == 0 && self.heads[*shard].is_none()
        };
        (0..self.sources.len()).filter(lacks)
    }

    /// Whether no row will follow: the limit is reached, or every shard is finished and merged.
    #[must_use]
    pub fn done(&self) -> bool {
        let drained = |source: &Source| source.finished && source.bytes == 0;
        self.output.done() || (self.sources.iter().all(drained) && self.heads.iter().all(Option::is_none))
    }

    /// Appends rows, without their hidden columns, until `out` has `bytes_max` bytes or more.
    ///
    /// # Errors
    /// [`BadRow`]: the merge cannot go on.
    pub fn pop(&mut self, out: &mut BytesMut, bytes_max: usize) -> Result<Progress, BadRow> {
        loop {
            if self.done() {
                return Ok(Progress::Done);
            }
            if out.len() >= bytes_max {
                return Ok(Progress::Full);
            }
            let moved = if self.ordered { self.merge_one(out)? } else { self.append_one(out)? };
            if !moved {
                return Ok(if self.done() { Progress::Done } else { Progress::Wanting });
            }
        }
    }

    /// The next row of the first shard that has one.
    fn append_one(&mut self, out: &mut BytesMut) -> Result<bool, BadRow> {
        let Some(shard) = self.sources.iter().position(|source| source.bytes > 0) else { return Ok(false) };
        let source = &mut self.sources[shard];
        let Some(rest) = source.rest() else { return Ok(false) };
        let head = Head::read(rest, self.hidden, &[]).ok_or(BadRow { shard })?;
        if self.output.admit(None, &[]) == Verdict::Row {
            head.write(rest, out);
        }
        source.used(head.len());
        Ok(true)
    }

    /// The least row of all; nothing while a shard's next row is not known.
    fn merge_one(&mut self, out: &mut BytesMut) -> Result<bool, BadRow> {
        if !self.tree.built() {
            for shard in 0..self.sources.len() {
                if self.heads[shard].is_none() && !self.fetch(shard)? {
                    return Ok(false);
                }
            }
        } else if self.heads[self.tree.winner()].is_none() && !self.fetch(self.tree.winner())? {
            return Ok(false);
        }
        let (tree, heads, sources, keys) = (&mut self.tree, &self.heads, &self.sources, &self.keys);
        tree.settle(|one, other| match (&heads[one], &heads[other]) {
            (Some(a), Some(b)) => {
                let order = a.compare(row(&sources[one]), b, row(&sources[other]), keys);
                order.then(one.cmp(&other)).is_lt()
            }
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => one < other,
        });
        let winner = tree.winner();
        let Some(head) = self.heads[winner].take() else { return Ok(false) };
        let bytes = row(&self.sources[winner]);
        if self.output.admit(Some(head.hidden(bytes)), &self.keys) == Verdict::Row {
            head.write(bytes, out);
        }
        self.sources[winner].used(head.len());
        Ok(true)
    }

    /// Makes a shard's next row its head. False if that is not known yet.
    fn fetch(&mut self, shard: usize) -> Result<bool, BadRow> {
        let source = &mut self.sources[shard];
        let finished = source.finished;
        let Some(rest) = source.rest() else { return Ok(finished) };
        self.heads[shard] = Some(Head::read(rest, self.hidden, &self.keys).ok_or(BadRow { shard })?);
        Ok(true)
    }
}

/// The bytes of the source's next frame, and what follows.
fn row(source: &Source) -> &[u8] {
    source.chunks.front().map_or(&[], |chunk| &chunk[source.at..])
}

#[cfg(test)]
mod tests;
