//! What may happen next in the simulated world, in any order, and how it comes to rest.

use super::super::{Backend, Commit, Lsn, Source, Watch};
use super::server::{KEYS, RELATIONS, Row, Stage};
use super::world::{BUDGET, World, Writing, key_tags, relation};
use crate::tag::Tags;

/// At a time: with more, each would take so long that all are overtaken.
const FILLS_MAX: usize = 3;
const WRITES_MAX: usize = 2;

impl World {
    /// One step.
    pub(super) fn step(&mut self) -> Result<(), String> {
        self.now += 1;
        if self.is_behind() {
            self.ledger.close();
        }
        match self.random.below(100) {
            0..20 => self.ask_any()?,
            20..42 => self.fill_any()?,
            42..45 => self.send_write(),
            45..48 => self.write_elsewhere(),
            48..62 => self.server_goes_on(),
            62..69 => self.acknowledge(),
            69..74 => self.stream(),
            74..77 => self.replay(),
            77..82 => self.ask_snapshot(),
            82..90 => self.ask_position(),
            90..94 => self.publish(),
            94 => self.resolve(),
            95 => self.rewind(),
            96 => self.reopen(),
            _ => self.disturb(),
        }
        Ok(())
    }

    /// What seldom happens, and in some runs never.
    fn disturb(&mut self) {
        if self.calm {
            return;
        }
        match self.random.below(12) {
            0..8 => self.lose_connection(),
            8 | 9 => self.ledger.close(),
            10 => self.promote(),
            _ => {
                self.restart();
                self.open();
            }
        }
    }

    fn ask_any(&mut self) -> Result<(), String> {
        if self.fills.len() >= FILLS_MAX {
            return self.fill_any();
        }
        let query = self.random.below(self.query_count());
        if self.random.once_in(3) {
            self.evict(query);
        }
        self.ask(query).map(drop)
    }

    fn fill_any(&mut self) -> Result<(), String> {
        if self.fills.is_empty() {
            return Ok(());
        }
        let at = self.random.below(self.fills.len());
        self.go_on(at).map(drop)
    }

    fn row(&mut self) -> Row {
        (self.random.below(RELATIONS), self.random.below(KEYS))
    }

    /// A session's write is sent: a keyed one, one to a whole relation, or one that nobody understands. It may have
    /// begun long before, in a transaction whose COMMIT this is.
    fn send_write(&mut self) {
        if self.writes.len() >= WRITES_MAX {
            return self.acknowledge();
        }
        let (at, key) = self.row();
        let (rows, tags) = match self.random.below(16) {
            0 | 2..4 => {
                let mut tags = Tags::new();
                tags.writes(relation(at));
                ((0..KEYS).map(|key| (at, key)).collect(), tags)
            }
            1 => (vec![(at, key), self.row()], Tags::everything()),
            4..10 => (vec![(at, key)], key_tags(&[(at, key)])),
            _ => {
                let rows = vec![(at, key), self.row()];
                (rows.clone(), key_tags(&rows))
            }
        };
        let begun = if self.random.once_in(2) { self.server.begin(rows.clone(), true) } else { None };
        let write = self.ledger.sent(&tags, Backend(1));
        self.mark_shared(&tags);
        self.writes.push(Writing { write, at: begun, rows });
    }

    fn write_elsewhere(&mut self) {
        if self.watch == Watch::Stream {
            let rows = vec![self.row(), self.row()];
            self.server.begin(rows, false);
        }
    }

    /// The server goes on with a write that was sent, or with a transaction in progress.
    fn server_goes_on(&mut self) {
        let waiting: Vec<usize> = (0..self.writes.len()).filter(|at| self.writes[*at].at.is_none()).collect();
        if !waiting.is_empty() && self.random.once_in(2) {
            let at = self.random.of(&waiting);
            let rows = self.writes[at].rows.clone();
            self.writes[at].at = self.server.begin(rows, true);
            return;
        }
        let stages = self.server.transactions.iter().map(|transaction| transaction.stage).enumerate();
        let open: Vec<_> =
            stages.filter(|(_, stage)| matches!(stage, Stage::Running | Stage::Written)).collect();
        if open.is_empty() {
            return;
        }
        let (at, stage) = self.random.of(&open);
        let sent = !self.server.transactions[at].through_us
            || self.server.transactions[at].orphan
            || self.writes.iter().any(|write| write.at == Some(at));
        match stage {
            Stage::Running if !sent || self.random.once_in(5) => {
                self.server.transactions[at].stage = Stage::Aborted;
            }
            Stage::Running => self.server.write(at),
            _ => self.server.show(at, self.now),
        }
    }

    /// The server's answer reaches the proxy, and then the client.
    fn acknowledge(&mut self) {
        let stage = |at: usize| self.server.transactions[at].stage;
        let ended = self.writes.iter().position(|write| {
            write.at.is_some_and(|at| matches!(stage(at), Stage::Visible(_) | Stage::Aborted))
        });
        let Some(ended) = ended else { return };
        let Writing { write, at, .. } = self.writes.swap_remove(ended);
        let transaction = &mut self.server.transactions[at.expect("it has begun")];
        if transaction.stage == Stage::Aborted {
            write.rolled_back();
            return;
        }
        let tags = write.tags.clone();
        write.acknowledged();
        transaction.told = true;
        self.report.told += 1;
        self.mark_shared(&tags);
    }

    fn stream(&mut self) {
        let Some(at) = self.server.log.get(self.cursor).copied() else { return };
        self.cursor += 1;
        if self.watch == Watch::OwnWritesOnly {
            return;
        }
        let transaction = &mut self.server.transactions[at];
        transaction.delivered = true;
        #[expect(clippy::cast_possible_truncation, reason = "the stream has 32 bits")]
        let commit = Commit { end: Lsn(transaction.end), xid: transaction.xid as u32 };
        let tags = key_tags(&transaction.rows);
        self.ledger.change(commit, &tags);
        self.mark_shared(&tags);
    }

    fn replay(&mut self) {
        let left = self.server.log.len() - self.server.replayed;
        self.server.replayed += self.random.below(left.min(3) + 1);
    }

    /// A snapshot is asked for, or one of those asked for arrives.
    fn ask_snapshot(&mut self) {
        if self.snapshots.len() < 2 {
            self.snapshots.push_back((self.server.era(), self.server.snapshot()));
        } else if !self.snapshots.is_empty() {
            let at = self.random.below(self.snapshots.len());
            if let Some((era, snapshot)) = self.snapshots.remove(at) {
                self.ledger.settle(era, &snapshot);
            }
        }
    }

    /// A position is asked for, or the primary answers, or its answer arrives.
    fn ask_position(&mut self) {
        let (era, now) = (self.server.era(), self.server.insert_lsn());
        let unanswered = self.positions.iter_mut().find(|(of, _, position)| *of == era && position.is_none());
        match self.random.below(3) {
            0 => self.positions.push_back((era, self.ledger.last(), None)),
            1 => {
                if let Some((.., position)) = unanswered {
                    *position = Some(now);
                }
            }
            _ => {
                self.positions.retain(|(of, _, position)| *of == era || position.is_some());
                if let Some((era, asked, Some(position))) = self.positions.front().copied() {
                    self.positions.pop_front();
                    self.ledger.positioned(era, asked, position);
                }
            }
        }
    }

    /// A connection breaks while its write is on its way; the server may go on with it.
    fn lose_connection(&mut self) {
        if self.writes.is_empty() {
            return;
        }
        let at = self.random.below(self.writes.len());
        let Writing { write, at, rows } = self.writes.swap_remove(at);
        // What was sent may begin yet, if only the stream or a doubt will tell of it.
        let at = at.or_else(|| self.server.begin(rows, true));
        if let Some(at) = at {
            // Without a stream it is held in doubt, so that it still counts as ours.
            self.server.transactions[at].orphan = self.watch == Watch::Stream;
        }
        let tags = write.tags.clone();
        match write.lost() {
            Some(doubt) => self.doubts.push((doubt, at)),
            None => self.mark_shared(&tags),
        }
        self.let_orphans_end(at);
    }

    /// A transaction nobody waits for is one that the server goes on with all the same.
    fn let_orphans_end(&mut self, at: Option<usize>) {
        if let Some(at) = at
            && self.server.transactions[at].stage == Stage::Running
            && self.random.once_in(2)
        {
            self.server.write(at);
        }
    }

    fn resolve(&mut self) {
        let over = |at: &Option<usize>| {
            at.is_none_or(|at| !matches!(self.server.transactions[at].stage, Stage::Running | Stage::Written))
        };
        if let Some(at) = self.doubts.iter().position(|(_, at)| over(at)) {
            let (doubt, _) = self.doubts.swap_remove(at);
            self.ledger.resolve(doubt);
            self.mark_shared(&Tags::everything());
        }
    }

    /// The stream connects anew and repeats what it brought.
    fn rewind(&mut self) {
        self.cursor -= self.random.below(self.cursor.min(4) + 1);
    }

    /// The stream is whole again: from where it was, or with a slot made anew.
    fn reopen(&mut self) {
        if !self.ledger.is_closed() || self.random.once_in(3) {
            return;
        }
        if self.random.once_in(2) {
            self.new_slot();
        }
        while self.cursor < self.server.log.len() {
            self.stream();
        }
        self.open();
    }

    fn new_slot(&mut self) {
        for at in &self.server.log[self.cursor.min(self.server.log.len())..] {
            self.server.transactions[*at].skipped = true;
        }
        self.cursor = self.server.log.len();
    }

    fn promote(&mut self) {
        self.ledger.close();
        self.server.promote(self.now);
        while let Some(Writing { write, at, .. }) = self.writes.pop() {
            if let Some(at) = at {
                self.server.transactions[at].orphan = true;
            }
            if let Some(doubt) = write.lost() {
                self.doubts.push((doubt, at));
            }
        }
        self.cursor = self.cursor.min(self.server.log.len());
        if self.random.once_in(2) {
            self.reopen();
        }
    }

    fn is_behind(&self) -> bool {
        let late = |at: &usize| {
            let transaction = &self.server.transactions[*at];
            let unheard = !transaction.delivered && !transaction.skipped;
            unheard && matches!(transaction.stage, Stage::Visible(since) if since + BUDGET <= self.now)
        };
        self.watch == Watch::Stream && self.server.log.iter().any(late)
    }

    /// Everything in progress ends and is heard of; then each query is asked, stored, and asked again.
    pub(super) fn come_to_rest(&mut self) -> Result<(), String> {
        while let Some(write) = self.writes.pop() {
            let Some(at) = write.at else {
                write.write.rolled_back();
                continue;
            };
            self.end(at);
            let visible = matches!(self.server.transactions[at].stage, Stage::Visible(_));
            if visible {
                write.write.acknowledged();
            } else {
                write.write.rolled_back();
            }
        }
        for at in 0..self.server.transactions.len() {
            self.end(at);
        }
        while !self.doubts.is_empty() {
            self.resolve();
        }
        while self.cursor < self.server.log.len() {
            self.stream();
        }
        self.server.replayed = self.server.log.len();
        if self.ledger.is_closed() {
            self.open();
        }
        // Fills that began before are stale by now, or right.
        while !self.fills.is_empty() {
            self.go_on(0)?;
        }
        self.now += 10 * BUDGET;
        self.ledger.settle(self.server.era(), &self.server.snapshot());
        self.ledger.positioned(self.server.era(), self.ledger.last(), self.server.insert_lsn());
        for query in 0..self.query_count() {
            self.ask_at_rest(query)?;
        }
        Ok(())
    }

    fn ask_at_rest(&mut self, query: usize) -> Result<(), String> {
        let fills = self.fills.len();
        if !self.ask(query)? {
            self.fills.truncate(fills);
            let replica =
                Source::Replica { replayed: self.server.replayed_lsn().max(self.server.insert_lsn()) };
            let source = self.random.of(&[Source::Primary, replica]);
            self.begin(query, self.server.era, source);
            self.go_on(fills)?;
            if !self.go_on(fills)? || !self.ask(query)? {
                return Err(format!("at rest nothing is stored for {query} from {source:?}"));
            }
        }
        self.check_exact(query)
    }

    fn end(&mut self, at: usize) {
        match self.server.transactions[at].stage {
            Stage::Running => self.server.transactions[at].stage = Stage::Aborted,
            Stage::Written => self.server.show(at, self.now),
            _ => {}
        }
    }
}
