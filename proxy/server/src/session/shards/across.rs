//! Statements that inner sessions run as they are: on one shard that the session cannot turn to, or, writing, on several, where
//! they commit together.

use bytes::{Bytes, BytesMut};
use pointsman_cache::Protocol;
use pointsman_shards::pick::Picked;
use pointsman_shards::plan::{Each, Insert, Many};
use pointsman_wire::frontend::{Bind, Describe, Execute, Target};

use super::super::Session;
use super::super::cached::Execution;
use super::super::judge::with_text;
use super::described::{Described, put_parse};
use super::leg::{Frame, Leg};
use super::planned::Planned;
use super::query::Outcome;
use crate::fault::Fault;
use crate::twophase::{Participant, Trouble, commit};
use std::sync::Arc;

/// What PostgreSQL says of a command that cannot run inside a transaction block.
const ACTIVE_TRANSACTION: &str = "25001";

/// What one shard answered.
#[derive(Debug, Default)]
struct Reply {
    description: Option<Bytes>,
    /// Runs of rows.
    rows: Vec<Bytes>,
    notices: Vec<Bytes>,
    tag: String,
}

impl Reply {
    /// Takes messages to the end of the statement.
    async fn read(leg: &mut Leg, bytes_max: usize) -> Result<Self, Fault> {
        let mut reply = Self::default();
        let mut bytes = 0;
        loop {
            let frame = leg.frame().await?;
            bytes += frame.bytes.len();
            if bytes > bytes_max {
                return Err(Fault::pointsman("54000", "the rows returned take more memory than they may")
                    .hint("Write fewer rows at once, or raise `sharded[].gather_bytes_max`."));
            }
            match frame.tag {
                b'T' => reply.description = Some(frame.bytes),
                b'D' => reply.rows.push(frame.bytes),
                b'N' => reply.notices.push(frame.bytes),
                b'C' => reply.tag = tag_of(&frame),
                b'E' => {
                    let fault = Fault::from_server(frame.bytes);
                    leg.failed = true;
                    while leg.frame().await?.tag != b'Z' {}
                    return Err(fault);
                }
                b'Z' => return Ok(reply),
                _ => {}
            }
        }
    }
}

impl Participant for Leg {
    fn shard(&self) -> usize {
        self.shard
    }

    async fn run(&mut self, sql: &str) -> Result<String, Trouble> {
        self.settle().await.map_err(Trouble::Lost)?;
        self.query(sql.as_bytes());
        let mut tag = String::new();
        let mut refused = None;
        loop {
            let frame = self.frame().await.map_err(Trouble::Lost)?;
            match frame.tag {
                b'C' => tag = tag_of(&frame),
                b'E' => refused = Some(Fault::from_server(frame.bytes)),
                b'Z' => return refused.map_or(Ok(tag), |fault| Err(Trouble::Refused(fault))),
                _ => {}
            }
        }
    }
}

impl Session {
    /// Has one shard execute a statement, and passes its answer on.
    pub(super) async fn perform_on_shard(
        &mut self,
        shard: usize,
        asked: &Execution<'_>,
    ) -> Result<Outcome, Fault> {
        let mut leg = self.lease_leg(shard).await?;
        let outcome = self.pass_execution(&mut leg, asked).await;
        self.return_legs(vec![leg], outcome.is_err()).await;
        self.note_written_on(shard);
        outcome
    }

    async fn pass_execution(&mut self, leg: &mut Leg, asked: &Execution<'_>) -> Result<Outcome, Fault> {
        self.put_execution(leg, asked, asked.sql)?;
        let mut failed = None;
        loop {
            let frame = self.attend_work(false, leg.frame()).await?;
            match frame.tag {
                b'Z' => break,
                b'E' => failed = Some(Fault::from_server(frame.bytes)),
                b'G' if asked.protocol == Protocol::Simple => self.copy_through(leg, &frame).await?,
                b'G' | b'W' => return Err(copy_by_extended()),
                b'1' | b'2' | b'n' => {}
                _ => {
                    self.emit(&frame.bytes).await?;
                }
            }
        }
        failed.map_or(Ok(Outcome::Answered), Err)
    }

    /// What a server says of the client's own text.
    pub(super) async fn describe_original(&mut self, asked: &Execution<'_>) -> Result<Arc<Described>, Fault> {
        let types =
            asked.types.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word)).collect::<Vec<_>>();
        if let Some(known) = self.known_description(asked.sql, &types) {
            return Ok(known);
        }
        let at = self.shards.as_ref().map_or(0, |shards| shards.at);
        // A shard that takes no part in the transaction does not begin to for this.
        if self.spans() && self.spanning_shard().is_none() {
            let mut leg = self.open_leg(at).ok_or_else(no_shards)?;
            return self.describe_on(&mut leg, asked.sql, &types).await;
        }
        let mut leg = self.lease_leg(self.spanning_shard().unwrap_or(at)).await?;
        let described = self.describe_on(&mut leg, asked.sql, &types).await;
        self.return_legs(vec![leg], described.is_err()).await;
        described
    }

    /// Writes on several shards, together.
    pub(super) async fn write_across(
        &mut self,
        many: &Many,
        planned: &Planned,
        asked: &Execution<'_>,
    ) -> Result<Outcome, Fault> {
        let two_phase = self.two_phase()?;
        let Picked::Shards(set) = self.picked(planned, asked)? else { return Err(no_shards()) };
        let limit = self.shards.as_ref().map_or(0, |shards| shards.group.config.gather_bytes_max);
        two_phase.ready().await?;
        self.count_across(|counts| &counts.written);
        let texts = self.texts(many, asked, set.iter())?;
        if self.spans() {
            return self.write_spanning(many, asked, &texts, limit).await;
        }
        let mut legs: Vec<Leg> = texts.iter().filter_map(|(shard, _)| self.open_leg(*shard)).collect();
        for (leg, (_, text)) in legs.iter_mut().zip(&texts) {
            leg.query(b"BEGIN");
            self.put_execution(leg, asked, text)?;
        }
        let replies = match self.attend_work(false, replies(&mut legs, limit, 2)).await {
            Ok(replies) => replies,
            Err(fault) => {
                for leg in &mut legs {
                    // Whatever became of it, its connection is closed or clean.
                    let _ended = leg.run("ROLLBACK").await;
                }
                if many == &Many::Each(Each::Definition) && fault.sqlstate == ACTIVE_TRANSACTION {
                    return self.define_one_by_one(&mut legs, asked, limit).await;
                }
                return Err(match many {
                    Many::Each(Each::Definition) => self.failed_on(fault, legs.iter().find(|leg| leg.failed)),
                    _ => fault,
                });
            }
        };
        let outcome = commit(&two_phase, &mut legs).await?;
        for (shard, _) in &texts {
            self.note_written_on(*shard);
        }
        self.warn(&outcome);
        self.answer_writes(many, asked, replies).await
    }

    /// What commits on several shards, if that is allowed.
    pub(super) fn two_phase(&self) -> Result<Arc<crate::twophase::Group>, Fault> {
        let group = self.shards.as_ref().and_then(|shards| shards.group.two_phase.clone());
        group.ok_or_else(|| {
            Fault::pointsman("0A000", "the statement writes on several shards")
                .hint("Set `cross_shard_writes: two_phase` for the database, or write the rows of one shard at a time.")
        })
    }

    /// Tells the client what there is to say of a commit.
    pub(super) fn warn(&mut self, outcome: &crate::twophase::Outcome) {
        if let Some(warning) = outcome.warning() {
            self.tell_warning("01000", &warning);
        }
    }

    pub(super) fn tell_warning(&mut self, sqlstate: &str, warning: &str) {
        let mut out = BytesMut::new();
        pointsman_wire::fields::ErrorResponse::new("WARNING", sqlstate, warning).encode_notice(&mut out);
        self.io.to_client.extend(&out);
    }

    /// The same as a part of the client's transaction.
    async fn write_spanning(
        &mut self,
        many: &Many,
        asked: &Execution<'_>,
        texts: &[(usize, Vec<u8>)],
        limit: usize,
    ) -> Result<Outcome, Fault> {
        let numbers: Vec<usize> = texts.iter().map(|(shard, _)| *shard).collect();
        let mut legs = self.lease_legs(&numbers).await?;
        for (leg, (_, text)) in legs.iter_mut().zip(texts) {
            self.put_execution(leg, asked, text)?;
        }
        let replies = self.attend_work(false, replies(&mut legs, limit, 1)).await;
        self.return_legs(legs, replies.is_err()).await;
        self.answer_writes(many, asked, replies?).await
    }

    /// What each shard is to run.
    fn texts(
        &self,
        many: &Many,
        asked: &Execution<'_>,
        shards: impl Iterator<Item = usize>,
    ) -> Result<Vec<(usize, Vec<u8>)>, Fault> {
        let Many::Insert(insert) = many else {
            return Ok(shards.map(|shard| (shard, asked.sql.to_vec())).collect());
        };
        let owners = self.owners(insert, asked)?;
        let text = |shard: usize| {
            let own = insert.rows.iter().zip(&owners).filter(|(_, owner)| **owner == shard);
            let rows: Vec<&str> = own.map(|(row, _)| &*row.text).collect();
            (!rows.is_empty()).then(|| {
                (shard, [&*insert.around[0], &rows.join(","), &*insert.around[1]].concat().into_bytes())
            })
        };
        Ok(shards.filter_map(text).collect())
    }

    /// The shard of each row.
    fn owners(&self, insert: &Insert, asked: &Execution<'_>) -> Result<Vec<usize>, Fault> {
        let count = self.shards.as_ref().map_or(1, |shards| shards.len());
        with_text(asked.sql, self.wants.rules(), |literals, _| {
            let values = self.values(asked, literals);
            let owner = |row: &pointsman_shards::plan::InsertRow| row.key.shard(&values, count);
            insert.rows.iter().map(owner).collect::<Result<_, _>>().map_err(super::way::no_shard)
        })
    }

    /// Appends an execution of a text with the client's values.
    fn put_execution(&self, leg: &mut Leg, asked: &Execution<'_>, sql: &[u8]) -> Result<(), Fault> {
        if asked.protocol == Protocol::Simple {
            leg.query(sql);
            return Ok(());
        }
        put_parse(&mut leg.out, sql, asked.known_types);
        let Some(own) = asked.parameters else { return Err(no_shards()) };
        let mut rest = BytesMut::new();
        own.encode(&mut rest);
        Bind { portal: b"", statement: b"", rest: &rest }.encode(&mut leg.out);
        if asked.described == b'P' {
            Describe { target: Target::Portal, name: b"" }.encode(&mut leg.out);
        }
        Execute { portal: b"", max_rows: 0 }.encode(&mut leg.out);
        leg.sync();
        Ok(())
    }

    /// A command that runs in no transaction: on one shard after another. What was done stays done.
    async fn define_one_by_one(
        &mut self,
        legs: &mut [Leg],
        asked: &Execution<'_>,
        limit: usize,
    ) -> Result<Outcome, Fault> {
        let mut done: Vec<String> = Vec::new();
        let mut last = None;
        for leg in legs {
            self.put_execution(leg, asked, asked.sql)?;
            match self.attend_work(false, Reply::read(leg, limit)).await {
                Ok(reply) => last = Some(reply),
                Err(fault) => {
                    let mut failed = self.failed_on(fault, Some(leg));
                    failed.hint = Some(match done.as_slice() {
                        [] => "It was done on no shard.".into(),
                        done => format!("It was done on shard {} before.", done.join(", ")).into(),
                    });
                    return Err(failed);
                }
            }
            self.note_written_on(leg.shard);
            done.push(leg.shard.to_string());
        }
        Ok(Outcome::Complete(last.unwrap_or_default().tag))
    }

    /// A fault that says on which shard.
    fn failed_on(&self, fault: Fault, leg: Option<&Leg>) -> Fault {
        let Some(leg) = leg else { return fault };
        let lane = self.shards.as_ref().and_then(|shards| shards.lanes.get(leg.shard));
        let cluster = lane.map(|lane| lane.cluster.config().name.clone()).unwrap_or_default();
        let told = format!("{} (on shard {}, cluster {cluster})", fault.told, leg.shard);
        let mut failed = fault.retold();
        failed.told = told.into();
        failed
    }

    /// Tells the client what its writes came to.
    async fn answer_writes(
        &mut self,
        many: &Many,
        asked: &Execution<'_>,
        replies: Vec<(usize, Reply)>,
    ) -> Result<Outcome, Fault> {
        for notice in replies.iter().flat_map(|(_, reply)| &reply.notices) {
            self.io.to_client.extend(notice);
        }
        let first = replies.first().map(|(_, reply)| reply);
        if let Some(description) = first.and_then(|reply| reply.description.as_ref()) {
            self.io.to_client.extend(description);
        }
        let tag = match many {
            Many::Each(Each::Copies | Each::Definition) => {
                for rows in first.iter().flat_map(|reply| &reply.rows) {
                    self.emit(rows).await?;
                }
                first.map(|reply| reply.tag.clone()).unwrap_or_default()
            }
            Many::Insert(insert) => {
                let owners = self.owners(insert, asked)?;
                for row in in_order(&owners, &replies) {
                    self.emit(&row).await?;
                }
                summed(&replies)
            }
            _ => {
                for rows in replies.iter().flat_map(|(_, reply)| &reply.rows) {
                    self.emit(rows).await?;
                }
                summed(&replies)
            }
        };
        Ok(Outcome::Complete(tag))
    }

    /// An inner session may have written on a shard: the client's later reads there see it.
    pub(super) fn note_written_on(&mut self, shard: usize) {
        let Some(shards) = &mut self.shards else { return };
        let here = shards.at == shard;
        let Some(lane) = shards.lanes.get_mut(shard) else { return };
        let database = &lane.account.database;
        let token = database.freshness.written();
        let own = database.ledger().map(|ledger| ledger.last());
        let (mine, cached) =
            if here { (&mut self.token, &mut self.own) } else { (&mut lane.token, &mut lane.own) };
        *mine = token;
        *cached = own.unwrap_or(*cached);
    }
}

/// The replies of all to the last of `each` statements.
async fn replies(legs: &mut [Leg], limit: usize, each: usize) -> Result<Vec<(usize, Reply)>, Fault> {
    // All are sent before the first is waited for.
    for leg in legs.iter_mut() {
        std::future::poll_fn(|cx| leg.poll_send(cx)).await?;
    }
    let (mut replies, mut left) = (Vec::new(), limit);
    for leg in legs {
        for _ in 1..each {
            Reply::read(leg, left).await?;
        }
        let reply = Reply::read(leg, left).await?;
        left = left.saturating_sub(reply.rows.iter().map(Bytes::len).sum());
        replies.push((leg.shard, reply));
    }
    Ok(replies)
}

/// Rows of several shards in the order of the rows that were inserted, as far as each row gave one.
fn in_order(owners: &[usize], replies: &[(usize, Reply)]) -> Vec<Bytes> {
    let mut queues: Vec<(usize, std::vec::IntoIter<Bytes>)> =
        replies.iter().map(|(shard, reply)| (*shard, split_rows(&reply.rows).into_iter())).collect();
    let mut rows = Vec::new();
    for owner in owners {
        if let Some((_, queue)) = queues.iter_mut().find(|(shard, _)| shard == owner) {
            rows.extend(queue.next());
        }
    }
    rows.extend(queues.into_iter().flat_map(|(_, queue)| queue));
    rows
}

/// Runs of rows as single ones.
fn split_rows(runs: &[Bytes]) -> Vec<Bytes> {
    let mut rows = Vec::new();
    for run in runs {
        let mut rest = run.clone();
        while let Ok(Some(header)) = pointsman_wire::frame::Header::peek(&rest) {
            rows.push(rest.split_to(header.frame_len().min(rest.len())));
        }
    }
    rows
}

/// A command tag with the counts of all added up.
fn summed(replies: &[(usize, Reply)]) -> String {
    let count = |tag: &str| tag.rsplit(' ').next().and_then(|last| last.parse::<u64>().ok()).unwrap_or(0);
    let total: u64 = replies.iter().map(|(_, reply)| count(&reply.tag)).sum();
    let first = replies.first().map(|(_, reply)| reply.tag.as_str()).unwrap_or_default();
    match first.rsplit_once(' ') {
        Some((command, last)) if last.parse::<u64>().is_ok() => format!("{command} {total}"),
        _ => first.to_owned(),
    }
}

pub(super) fn tag_of(frame: &Frame) -> String {
    String::from_utf8_lossy(frame.body().strip_suffix(b"\0").unwrap_or(frame.body())).into_owned()
}

/// A `COPY` whose stream would have to be told from the messages of its batch.
pub(super) fn copy_by_extended() -> Fault {
    Fault::pointsman("0A000", "COPY on another shard, or on several, by the extended protocol")
        .hint("Send it as a simple query, as COPY is by all drivers.")
}

pub(super) fn no_shards() -> Fault {
    Fault::pointsman("XX000", "the database has no such shard")
}
