//! The same random transactions on one database with all rows and on four shards with two-phase commit get the same answers, or a
//! refusal, and leave the same rows.
//!
//! `SHARDS_TRANSACTIONS` says how many (200 when nobody says, fewer if 20 s have passed), `SHARDS_SEED` which. A seed is good for a
//! chunk of transactions on fresh tables, the next one is the next chunk's.
use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::{Duration, Instant};

use pointsman_tests::{Frame, Stage, Wire, msg};

use super::generate::{Case, Generator};
use super::outcome::{Verdict, verdict};
use super::protocol::Protocol;
use super::sql::{Order, Statement};
use super::world::{self, World};

/// Transactions to a chunk.
const CHUNK: u64 = 10;

/// The usual seed.
const SEED: u64 = 1;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(45);

/// How long the test goes on when nobody said how many transactions.
const SPAN: Duration = Duration::from_secs(20);

/// Names of savepoints: few, so that they are used again, and missing at times.
const NAMES: [&str; 3] = ["a", "b", "\"C\""];

/// One thing that a client says.
enum Step {
    /// What steers the transaction, or fails it.
    Said(String),
    Run(Case),
}

/// The two sides, and what was said to them in the transaction at hand.
struct Runner {
    sharded: Wire,
    whole: Wire,
    world: World,
    said: Vec<String>,
    written: BTreeSet<&'static str>,
    /// Names of savepoints that it has set, perhaps given up since.
    set: Vec<&'static str>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    transactions: u64,
    statements: u64,
    committed: u64,
    failed: u64,
    refused: u64,
}

impl Runner {
    /// Runs a chunk of transactions on fresh tables.
    async fn chunk(&mut self, seed: u64, count: u64) {
        let mut generator = Generator::new(seed);
        self.world.reset().await;
        for number in 0..count {
            self.said.clear();
            self.counts.transactions += 1;
            if let Err(what) = self.transaction(&mut generator).await {
                panic!("seed {seed}, transaction {number}:\n{}\n{what}", self.said.join("\n"));
            }
        }
    }

    /// Runs one transaction, or a statement by itself; both sides have the same rows then.
    async fn transaction(&mut self, generator: &mut Generator) -> Result<(), String> {
        let (mut status, alone) = (b'I', generator.chance(0.15));
        if !alone {
            status = self.step(generator, &Step::Said("BEGIN".to_owned())).await?;
        }
        self.set.clear();
        for _ in 0..if alone { 1 } else { 1 + generator.below(8) } {
            let step = step(generator, status, &mut self.set);
            status = self.step(generator, &step).await?;
        }
        if status != b'I' {
            let commits = generator.chance(0.7);
            self.counts.committed += u64::from(commits && status == b'T');
            let end = if commits { "COMMIT" } else { "ROLLBACK" };
            status = self.step(generator, &Step::Said(end.to_owned())).await?;
        }
        if status != b'I' {
            return Err(format!("its end leaves the status {}", char::from(status)));
        }
        for name in std::mem::take(&mut self.written) {
            if let Some(wrong) = self.world.wrong(world::table(name)).await {
                return Err(wrong);
            }
        }
        Ok(())
    }

    /// Takes one step on both sides; what ReadyForQuery says then, on both.
    async fn step(&mut self, generator: &mut Generator, step: &Step) -> Result<u8, String> {
        let (bytes, order, writes) = match step {
            Step::Said(sql) => {
                self.said.push(sql.clone());
                let bytes = match generator.chance(0.5) {
                    true => msg::query(sql),
                    false => [msg::statement(sql, &[]), msg::sync()].concat(),
                };
                (bytes, &Order::List, false)
            }
            Step::Run(case) => {
                let protocol = Protocol::random(generator, &case.statement);
                self.said.push(protocol.shown(&case.statement));
                let table = match &case.statement {
                    Statement::Write { table, .. } => Some(*table),
                    Statement::Query(_) => None,
                };
                self.written.extend(table);
                (protocol.messages(&case.statement), &case.order, table.is_some())
            }
        };
        self.counts.statements += 1;
        let within = self.said.len() > 1;
        let sharded = answer(&mut self.sharded, &bytes).await?;
        let refused = sharded.iter().any(|frame| frame.tag == b'E' && frame.sqlstate() == "0A000");
        if refused {
            self.counts.refused += 1;
            return self.refused(&sharded, within, writes).await;
        }
        let whole = answer(&mut self.whole, &bytes).await?;
        match verdict(&whole, &sharded, order) {
            Verdict::Same => {}
            Verdict::Failed(_) => self.counts.failed += 1,
            Verdict::Refused(what) | Verdict::Differs(what) => return Err(what),
        }
        same_status(&whole, &sharded)
    }

    /// What was refused is not done on the other side either; it fails a transaction there, too.
    async fn refused(&mut self, sharded: &[Frame], within: bool, writes: bool) -> Result<u8, String> {
        if !within {
            return same_status(sharded, sharded);
        }
        let rows = sharded.iter().filter(|frame| frame.tag == b'D').count();
        if rows > 0 && writes {
            return Err("a write was refused after it had begun".to_owned());
        }
        let whole = answer(&mut self.whole, &msg::query("SELECT 1 / 0")).await?;
        same_status(&whole, sharded)
    }
}

/// What a client says next, where its transaction stands like this.
fn step(generator: &mut Generator, status: u8, set: &mut Vec<&'static str>) -> Step {
    let names = if set.is_empty() || generator.chance(0.1) { &NAMES } else { set.as_slice() };
    let name = names[generator.below(names.len())];
    let savepoint = |what: &str| Step::Said(format!("{what} {name}"));
    let weight = generator.below(100);
    match (status, weight) {
        (b'E', 0..80) => savepoint("ROLLBACK TO"),
        (b'E', 80..90) => Step::Said("SELECT 1".to_owned()),
        (b'T', 0..18) => {
            let name = NAMES[generator.below(NAMES.len())];
            set.push(name);
            Step::Said(format!("SAVEPOINT {name}"))
        }
        (b'T', 18..22) => savepoint("ROLLBACK TO SAVEPOINT"),
        (b'T', 22..24) => savepoint("RELEASE"),
        (b'T', 24..26) => Step::Said("SELECT id / 0 FROM agents".to_owned()),
        (b'T', 26..28) => Step::Said("BEGIN".to_owned()),
        (b'T', 28) => Step::Said("COMMIT AND CHAIN".to_owned()),
        (b'T', 29) => Step::Said("ROLLBACK AND CHAIN".to_owned()),
        (_, 30..65) => written(generator),
        _ => Step::Run(generator.case()),
    }
}

/// A write. The generator's statements are mostly reads.
fn written(generator: &mut Generator) -> Step {
    loop {
        let case = generator.case();
        if matches!(case.statement, Statement::Write { .. }) {
            return Step::Run(case);
        }
    }
}

/// All up to ReadyForQuery.
async fn answer(wire: &mut Wire, bytes: &[u8]) -> Result<Vec<Frame>, String> {
    wire.send(bytes).await;
    let frames =
        tokio::time::timeout(PATIENCE, wire.until(b'Z')).await.map_err(|_| "no answer".to_owned())?;
    match frames.last() {
        Some(frame) if frame.tag == b'Z' => Ok(frames),
        _ => Err(format!("the connection ended: {}", pointsman_tests::pretty(&frames))),
    }
}

fn same_status(whole: &[Frame], sharded: &[Frame]) -> Result<u8, String> {
    let status = |frames: &[Frame]| frames.last().and_then(|frame| frame.body.first().copied()).unwrap_or(0);
    let (want, got) = (status(whole), status(sharded));
    let told = || format!("the status is {} on one database and {} here", char::from(want), char::from(got));
    if want == got { Ok(want) } else { Err(told()) }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test]
async fn random_transactions_get_equal_answers() {
    let stage = world::empty(Stage::new().shards(4)).await;
    let proxy = world::proxy(&stage, "").await;
    let mut runner = Runner {
        sharded: world::social(&proxy).await,
        whole: world::whole(&stage).await,
        world: World::new(&stage).await,
        said: Vec::new(),
        written: BTreeSet::new(),
        set: Vec::new(),
        counts: Counts::default(),
    };
    let asked = number("SHARDS_TRANSACTIONS");
    let (seed, start, mut left) =
        (number("SHARDS_SEED").unwrap_or(SEED), Instant::now(), asked.unwrap_or(200));
    for chunk in 0.. {
        if left == 0 || (asked.is_none() && start.elapsed() > SPAN) {
            break;
        }
        runner.chunk(seed + chunk, left.min(CHUNK)).await;
        left -= left.min(CHUNK);
    }
    // Past the test harness, which keeps the output of what passes to itself.
    writeln!(std::io::stderr(), "shards: seed {seed}, {:?}", runner.counts).expect("standard error takes it");
    let Counts { transactions, statements, committed, refused, .. } = runner.counts;
    assert!(committed * 6 > transactions, "few of {transactions} transactions are committed: {committed}");
    assert!(refused * 4 < statements, "many of {statements} statements are refused: {refused}");
}
