//! The same random statements on one database with all rows and on four shards get the same answers, or a refusal.
//!
//! `SHARDS_STATEMENTS` says how many (1,000 when nobody says), `SHARDS_SEED` which: a number, or `random` for those of the hour; the same
//! ones always when nobody says. A seed is good for a chunk of statements on fresh tables, the next one is the next chunk's.
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use pointsman_tests::{Frame, Proxy, SOCIAL, Stage, Wire};

use super::generate::{Case, Generator};
use super::outcome::{Verdict, verdict};
use super::protocol::Protocol;
use super::shrink;
use super::sql::{Statement, Style};
use super::world::{self, World};

/// Statements to a chunk.
const CHUNK: u64 = 50;

/// The seed when nobody says.
const SEED: u64 = 1;

/// Differences to print before giving up.
const DIFFERENCES_MAX: usize = 5;

/// What is printed of a difference.
const DIFFERENCE_CHARS_MAX: usize = 2000;

/// Statements to try when one is made smaller.
const TRIES_MAX: usize = 150;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(45);

/// The two sides, and what has been found.
struct Runner {
    port: u16,
    sharded: Wire,
    whole: Wire,
    world: World,
    done: u64,
    /// SQLSTATEs of errors that were the same.
    failed: HashMap<String, u64>,
    refused: HashMap<String, u64>,
    differences: usize,
}

impl Runner {
    async fn new(stage: &Stage, proxy: &Proxy) -> Self {
        let sharded = Wire::login(proxy.port, "app", SOCIAL).await;
        let (failed, refused, differences) = Default::default();
        let (whole, world) = (world::whole(stage).await, World::new(stage).await);
        Self { port: proxy.port, sharded, whole, world, done: 0, failed, refused, differences }
    }

    /// Runs a chunk of statements on fresh tables.
    async fn chunk(&mut self, seed: u64, count: u64) {
        let mut generator = Generator::new(seed);
        self.world.reset().await;
        for number in 0..count {
            let case = generator.case();
            let protocol = Protocol::random(&mut generator, &case.statement);
            self.done += 1;
            match self.run(&case, &protocol).await {
                Verdict::Same => {}
                Verdict::Failed(state) => *self.failed.entry(state).or_default() += 1,
                Verdict::Refused(reason) => *self.refused.entry(reason).or_default() += 1,
                Verdict::Differs(what) => {
                    let shrunk = self.shrink(case, protocol, what).await;
                    let difference = format!("difference: seed {seed}, statement {number}: {shrunk}");
                    say(difference.chars().take(DIFFERENCE_CHARS_MAX).collect());
                    self.differences += 1;
                    self.world.reset().await;
                }
            }
            if self.differences >= DIFFERENCES_MAX {
                break;
            }
        }
    }

    /// Runs one statement on both sides and compares; a write must leave both with the same rows.
    async fn run(&mut self, case: &Case, protocol: &Protocol) -> Verdict {
        let bytes = protocol.messages(&case.statement);
        let Ok(sharded) = tokio::time::timeout(PATIENCE, ask(&mut self.sharded, &bytes)).await else {
            self.sharded = Wire::login(self.port, "app", SOCIAL).await;
            return Verdict::Differs("no answer".to_owned());
        };
        if sharded.last().is_none_or(|frame| frame.tag != b'Z') {
            self.sharded = Wire::login(self.port, "app", SOCIAL).await;
        }
        let write = match &case.statement {
            Statement::Write { table, .. } => Some(world::table(table)),
            Statement::Query(_) => None,
        };
        // What was refused must not be done on the other side either.
        let refused = sharded.iter().any(|frame| frame.tag == b'E' && frame.sqlstate() == "0A000");
        let whole = if write.is_some() && refused {
            // Its answer is not asked for: it stands for one that is not a refusal.
            vec![Frame { tag: b'C', body: bytes::Bytes::from_static(b"\0") }]
        } else {
            ask(&mut self.whole, &bytes).await
        };
        let found = verdict(&whole, &sharded, &case.order);
        let Some(table) = write.filter(|_| !matches!(found, Verdict::Differs(_))) else { return found };
        self.world.wrong(table).await.map_or(found, Verdict::Differs)
    }

    /// Drops clauses while there is a difference, and shows what is left.
    async fn shrink(&mut self, case: Case, protocol: Protocol, what: String) -> String {
        let (mut case, mut protocol, mut what) = (case, protocol, what);
        let mut tries = 0;
        if let Verdict::Differs(simpler) = self.again(&case, &Protocol::Simple).await {
            (protocol, what) = (Protocol::Simple, simpler);
        } else {
            // Without other values beforehand it may be gone: then nothing is smaller.
            protocol.once();
        }
        'smaller: loop {
            for smaller in shrink::smaller(&case) {
                tries += 1;
                if tries > TRIES_MAX {
                    break 'smaller;
                }
                if let Verdict::Differs(found) = self.again(&smaller, &protocol).await {
                    (case, what) = (smaller, found);
                    continue 'smaller;
                }
            }
            break;
        }
        format!("{}\n  {}", protocol.shown(&case.statement), what)
    }

    /// Runs a statement on fresh tables if it writes.
    async fn again(&mut self, case: &Case, protocol: &Protocol) -> Verdict {
        if matches!(case.statement, Statement::Write { .. }) {
            self.world.reset().await;
        }
        self.run(case, protocol).await
    }

    fn report(&self, seed: u64) -> String {
        let mut text = format!("shards: seed {seed}, {} statements", self.done);
        let share = |count: u64| count as f64 * 100.0 / self.done.max(1) as f64;
        for (what, found) in [("failed on both sides", &self.failed), ("refused", &self.refused)] {
            let all: u64 = found.values().sum();
            write!(text, "\n  {what}: {all} ({:.1} %)", share(all)).expect("a string takes it");
            let mut each: Vec<_> = found.iter().collect();
            each.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            for (reason, count) in each.iter().take(25) {
                write!(text, "\n    {count:5} {reason}").expect("a string takes it");
            }
        }
        text
    }
}

async fn ask(wire: &mut Wire, bytes: &[u8]) -> Vec<Frame> {
    if wire.try_send(bytes).await.is_err() {
        return Vec::new();
    }
    wire.until(b'Z').await
}

/// Prints past the test harness, which keeps the output of what passes to itself.
fn say(text: String) {
    writeln!(std::io::stderr(), "{text}").expect("standard error takes it");
}

/// The number that an environment variable says; `None`: it is not set.
fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

fn first_seed() -> u64 {
    if std::env::var("SHARDS_SEED").is_ok_and(|seed| seed == "random") {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        return now.as_secs() * 1000;
    }
    number("SHARDS_SEED").unwrap_or(SEED)
}

async fn compare(stage: &Stage) {
    let seed = first_seed();
    let proxy = world::proxy(stage, "").await;
    let mut runner = Runner::new(stage, &proxy).await;
    let mut left = number("SHARDS_STATEMENTS").unwrap_or(1000);
    for chunk in 0.. {
        if left == 0 || runner.differences >= DIFFERENCES_MAX {
            break;
        }
        runner.chunk(seed + chunk, left.min(CHUNK)).await;
        left -= left.min(CHUNK);
    }
    let report = runner.report(seed);
    say(report.clone());
    let failed: u64 = runner.failed.values().sum();
    assert!(
        runner.differences == 0,
        "{report}\n{} differences, printed as they were found",
        runner.differences
    );
    assert!(failed * 20 <= runner.done, "{report}\nmore than 5 % of the statements are not valid");
}

/// Texts sort by their bytes.
#[tokio::test]
async fn random_statements_get_equal_answers() {
    compare(&world::empty(Stage::new().shards(4)).await).await;
}

/// Texts sort as a language has it: what depends on that is right or refused.
#[tokio::test]
async fn random_statements_get_equal_answers_under_a_language() {
    let how = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";
    compare(&world::empty(Stage::new().shards(4).shard_databases(how)).await).await;
}

/// The generator says what it says twice.
#[test]
fn a_seed_gives_the_same_statements() {
    let texts = |seed| {
        let mut generator = Generator::new(seed);
        (0..100).map(|_| super::sql::Rendered::new(&generator.case().statement, Style::Inline).text).collect()
    };
    let (first, second): (Vec<String>, Vec<String>) = (texts(7), texts(7));
    assert_eq!(first, second);
}
