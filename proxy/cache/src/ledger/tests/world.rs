//! A model of one proxy over the model of PostgreSQL: its entries, its shared store, its sessions, its change stream; and
//! the promises, checked at every hit.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::super::check::{Check, Checks};
use super::super::{Doubt, Era, Fill, Ledger, Lsn, Refusal, Seq, Snapshot, Source, Watch, Write};
use super::random::Random;
use super::server::{KEYS, RELATIONS, Row, Server, Stage};
use crate::tag::{RelationTags, Tag, Tags};

/// Steps that the stream may be behind before the ledger is closed: nothing served is older.
pub(super) const BUDGET: u64 = 40;

/// What a query reads: rows, and their tags.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub rows: Vec<Row>,
    pub tags: Tags,
}

#[derive(Debug, Clone)]
pub(super) struct Stored {
    stamp: Seq,
    tags: Tags,
    values: Vec<u64>,
}

/// A fill on its way.
#[derive(Debug)]
pub(super) struct Filling {
    pub query: usize,
    pub era: u64,
    pub source: Source,
    fill: Result<Fill, Refusal>,
    /// Of the shared store's tags, at the start.
    generations: Vec<u64>,
    /// What was read, once it was; `None` inside if the shared store has nothing valid.
    values: Option<Option<Vec<u64>>>,
}

/// A write that a session waits for.
#[derive(Debug)]
pub(super) struct Writing {
    pub write: Write,
    /// Once it has begun at the server.
    pub at: Option<usize>,
    pub rows: Vec<Row>,
}

/// How often each thing happened, so that a simulation that does nothing is noticed.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub hits: u64,
    pub stored_primary: u64,
    pub stored_replica: u64,
    pub stored_shared: u64,
    pub refused: HashMap<Refusal, u64>,
    pub told: u64,
}

pub(super) struct World {
    pub now: u64,
    pub random: Random,
    pub server: Server,
    pub ledger: Arc<Ledger>,
    pub watch: Watch,
    /// Nothing breaks.
    pub calm: bool,
    pub report: Report,
    without: Option<Check>,
    sizes: (usize, usize),
    queries: Vec<Query>,
    entries: HashMap<usize, Stored>,
    pub fills: Vec<Filling>,
    pub writes: Vec<Writing>,
    /// Doubts, and the transaction whose end resolves each; `None` if it never began.
    pub doubts: Vec<(Doubt, Option<usize>)>,
    /// The stream's place in the log.
    pub cursor: usize,
    pub snapshots: VecDeque<(Era, Snapshot)>,
    pub positions: VecDeque<(Era, Seq, Option<Lsn>)>,
    shared: HashMap<usize, (Vec<u64>, Vec<u64>)>,
    generations: HashMap<Tag, u64>,
    unpublished: VecDeque<(Seq, Tags)>,
    published: Seq,
}

pub(super) fn relation(at: usize) -> RelationTags {
    RelationTags::new(b"app", b"public", format!("r{at}").as_bytes())
}

/// The tags of a write whose keys are known.
pub(super) fn key_tags(rows: &[Row]) -> Tags {
    let mut tags = Tags::new();
    for (at, key) in rows {
        tags.writes_key(relation(*at), b"id", key.to_string().as_bytes());
    }
    tags
}

fn queries() -> Vec<Query> {
    let mut queries = Vec::new();
    for at in 0..RELATIONS {
        let mut tags = Tags::new();
        tags.reads(relation(at));
        queries.push(Query { rows: (0..KEYS).map(|key| (at, key)).collect(), tags });
        for key in 0..KEYS {
            let mut tags = Tags::new();
            tags.reads_key(relation(at), b"id", key.to_string().as_bytes());
            queries.push(Query { rows: vec![(at, key)], tags: tags.clone() });
            tags.reads_key(relation((at + 1) % RELATIONS), b"id", b"0");
            queries.push(Query { rows: vec![(at, key), ((at + 1) % RELATIONS, 0)], tags });
        }
    }
    queries
}

impl World {
    pub(super) fn new(seed: u64, without: Option<Check>) -> Self {
        let mut random = Random(seed);
        let turn = 1_u64 << 32;
        let first_xid = random.of(&[1000, turn - 6, 3 * turn - 20, 2 * turn + 7]);
        let sizes = (random.of(&[1, 16, 4096, 4096, 4096]), random.of(&[1, 2, 1000]));
        let watch = random.of(&[Watch::Stream, Watch::Stream, Watch::Stream, Watch::OwnWritesOnly]);
        let calm = random.once_in(3);
        let mut world = Self {
            now: 0,
            random,
            server: Server::new(first_xid),
            ledger: Arc::new(Ledger::with(sizes.0, sizes.1, Checks { without })),
            watch,
            calm,
            report: Report::default(),
            without,
            sizes,
            queries: queries(),
            entries: HashMap::new(),
            fills: Vec::new(),
            writes: Vec::new(),
            doubts: Vec::new(),
            cursor: 0,
            snapshots: VecDeque::new(),
            positions: VecDeque::new(),
            shared: HashMap::new(),
            generations: HashMap::new(),
            unpublished: VecDeque::new(),
            published: Seq(0),
        };
        world.open();
        world
    }

    pub(super) fn query_count(&self) -> usize {
        self.queries.len()
    }

    /// Opens the ledger with what the primary says now.
    pub(super) fn open(&mut self) {
        self.ledger.open(self.server.era(), self.watch, &self.server.snapshot());
        self.mark_shared(&Tags::everything());
    }

    /// The process dies and another one starts: what it knew is gone, but not what the shared store holds.
    pub(super) fn restart(&mut self) {
        for transaction in &mut self.server.transactions {
            transaction.orphan |= transaction.through_us && !transaction.told;
        }
        let checks = Checks { without: self.without };
        self.ledger = Arc::new(Ledger::with(self.sizes.0, self.sizes.1, checks));
        self.entries.clear();
        self.fills.clear();
        self.writes.clear();
        self.doubts.clear();
        self.snapshots.clear();
        self.positions.clear();
        self.unpublished.clear();
        self.published = Seq(0);
    }

    /// What the ledger marked is to be told to the shared store, in this order.
    pub(super) fn mark_shared(&mut self, tags: &Tags) {
        self.unpublished.push_back((self.ledger.last(), tags.clone()));
    }

    pub(super) fn publish(&mut self) {
        for _ in 0..self.random.below(16) {
            let Some((seq, tags)) = self.unpublished.pop_front() else { return };
            if tags.is_everything() {
                self.shared.clear();
            }
            for tag in tags.as_slice() {
                *self.generations.entry(*tag).or_default() += 1;
            }
            self.published = seq;
        }
    }

    fn generations(&self, query: usize) -> Vec<u64> {
        let tags = self.queries[query].tags.as_slice();
        tags.iter().map(|tag| self.generations.get(tag).copied().unwrap_or_default()).collect()
    }

    /// The entry is pushed out.
    pub(super) fn evict(&mut self, query: usize) {
        self.entries.remove(&query);
    }

    /// A client asks: a hit is checked, a miss begins a fill.
    pub(super) fn ask(&mut self, query: usize) -> Result<bool, String> {
        if let Some(entry) = self.entries.get(&query)
            && self.ledger.permits(entry.stamp, entry.tags.as_slice())
        {
            self.report.hits += 1;
            let values = entry.values.clone();
            self.check("served", query, &values)?;
            return Ok(true);
        }
        let replica = Source::Replica { replayed: self.server.replayed_lsn() };
        let shared = Source::Shared { published: self.published };
        let source = self.random.of(&[Source::Primary, replica, shared]);
        // Now and then a session still holds a connection to the old primary.
        let old = self.server.era > 1 && source == Source::Primary && self.random.once_in(4);
        self.begin(query, self.server.era - u64::from(old), source);
        Ok(false)
    }

    pub(super) fn begin(&mut self, query: usize, era: u64, source: Source) {
        let fill = self.ledger.begin_fill(Era(era), source);
        let generations = self.generations(query);
        self.fills.push(Filling { query, era, source, fill, generations, values: None });
    }

    /// A fill reads or, having read, ends; true once it was stored.
    pub(super) fn go_on(&mut self, at: usize) -> Result<bool, String> {
        if self.fills[at].values.is_none() {
            let values = self.read(at);
            self.fills[at].values = Some(values);
            return Ok(false);
        }
        let filling = self.fills.swap_remove(at);
        let (Ok(fill), Some(values)) = (filling.fill, filling.values.flatten()) else { return Ok(false) };
        let tags = self.queries[filling.query].tags.clone();
        let stamp = match self.ledger.end_fill(&fill, &tags) {
            Ok(stamp) => stamp,
            Err(refusal) => {
                *self.report.refused.entry(refusal).or_default() += 1;
                return Ok(false);
            }
        };
        if self.ledger.is_closed() {
            return Err("stored while the ledger is closed".to_owned());
        }
        self.check("stored", filling.query, &values)?;
        match filling.source {
            Source::Primary => self.report.stored_primary += 1,
            Source::Replica { .. } => self.report.stored_replica += 1,
            Source::Shared { .. } => self.report.stored_shared += 1,
        }
        if !matches!(filling.source, Source::Shared { .. }) {
            self.shared.insert(filling.query, (values.clone(), filling.generations));
        }
        self.entries.insert(filling.query, Stored { stamp, tags, values });
        Ok(true)
    }

    fn read(&self, at: usize) -> Option<Vec<u64>> {
        let filling = &self.fills[at];
        let rows = self.queries[filling.query].rows.iter();
        match filling.source {
            Source::Primary => Some(rows.map(|row| self.server.on_primary(filling.era, *row)).collect()),
            Source::Replica { .. } => Some(rows.map(|row| self.server.on_replica(*row)).collect()),
            Source::Shared { .. } => {
                let (values, generations) = self.shared.get(&filling.query)?;
                (*generations == self.generations(filling.query)).then(|| values.clone())
            }
        }
    }

    /// The promises. `values` are about to be served, or were just stored for others to serve.
    fn check(&self, how: &str, query: usize, values: &[u64]) -> Result<(), String> {
        for (row, value) in self.queries[query].rows.iter().zip(values) {
            for transaction in self.server.transactions.iter().filter(|done| done.rows.contains(row)) {
                let visible = match transaction.stage {
                    Stage::Visible(since) => Some(since),
                    Stage::Written => None,
                    Stage::Lost if transaction.value == *value && *value > 0 => {
                        return Err(format!("{how}: {row:?} holds what the promotion lost: {transaction:?}"));
                    }
                    _ => continue,
                };
                let streaming = self.watch == Watch::Stream;
                let ours = transaction.through_us && !transaction.orphan && visible.is_some();
                let heard = streaming && transaction.delivered;
                let old = streaming && visible.is_some_and(|since| since + BUDGET < self.now);
                let must = transaction.told || ours || heard || old;
                if must && *value < transaction.value {
                    let why = (transaction.told, ours, heard, old);
                    return Err(format!(
                        "{how} at {}: {row:?} = {value} without {transaction:?}, told/ours/heard/old {why:?}",
                        self.now
                    ));
                }
            }
        }
        Ok(())
    }

    /// After quiet: an entry is exactly what the primary shows.
    pub(super) fn check_exact(&self, query: usize) -> Result<(), String> {
        let Some(entry) = self.entries.get(&query) else { return Err(format!("{query} is not stored")) };
        for (row, value) in self.queries[query].rows.iter().zip(&entry.values) {
            let mut writers = self.server.transactions.iter().filter(|done| done.rows.contains(row));
            let unseen = self.watch == Watch::OwnWritesOnly && writers.any(|done| done.orphan);
            let truth = self.server.on_primary(self.server.era, *row);
            if *value != truth && !unseen {
                return Err(format!("after quiet: {row:?} = {value}, not {truth}"));
            }
        }
        Ok(())
    }
}
