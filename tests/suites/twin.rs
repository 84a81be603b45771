//! Twins: the same random script of protocol messages, direct and through the proxy, gets the same replies.
//!
//! `TWIN_SCRIPTS` says how many (2,000 when nobody says), `TWIN_FIRST` which number comes first.
use std::fmt::Write as _;
use std::time::Duration;

use pointsman_tests::{Frame, Proxy, Stage, Wire, normalise, pretty};
use tokio::task::JoinSet;

use crate::common::shared;

mod script;

use script::Script;

/// Tasks that run scripts at once, each with two databases of its own.
const WORKERS: u64 = 2;

/// Differences to print before giving up.
const DIFFERENCES_MAX: usize = 5;

const TABLES: &str = "\
CREATE TABLE t (id int PRIMARY KEY, v text, n numeric(8,2) DEFAULT 1.5);
CREATE TABLE log (line text);
CREATE SEQUENCE s;
CREATE VIEW w AS SELECT id, upper(v) AS v FROM t;
CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql STABLE AS 'SELECT a + count(*)::int FROM t';
CREATE FUNCTION g(a int) RETURNS int LANGUAGE plpgsql AS
  'BEGIN INSERT INTO log VALUES (a::text); RAISE NOTICE ''g %'', a; RETURN a; END';
GRANT ALL ON ALL TABLES IN SCHEMA public TO staff;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO staff";

const RESET: &str = "\
TRUNCATE t, log; INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 8) i; SELECT setval('s', 1, false)";

/// One of the two sides: where to connect, and the connection that resets its tables.
struct Side {
    port: u16,
    database: String,
    keeper: Wire,
}

impl Side {
    async fn new(stage: &Stage, port: u16, database: String) -> Self {
        let mut owner = stage.primary.wire().await;
        owner.run(&format!("CREATE DATABASE {database}")).await;
        let mut keeper = Wire::login(port, "app", &database).await;
        keeper.run(TABLES).await;
        Self { port, database, keeper }
    }

    /// The replies to each step, by a client of its own.
    async fn play(&mut self, script: &Script) -> Vec<Vec<Frame>> {
        self.keeper.run(RESET).await;
        let mut wire = Wire::login(self.port, "app", &self.database).await;
        let mut replies = Vec::new();
        for step in &script.steps {
            for (number, piece) in step.pieces.iter().enumerate() {
                if number > 0 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                if wire.try_send(piece).await.is_err() {
                    break;
                }
            }
            let mut frames = Vec::new();
            for _ in 0..step.ready {
                frames.extend(wire.until(b'Z').await);
            }
            replies.push(normalise(&frames));
        }
        replies
    }
}

/// Equal frame by frame; but a `Bind` with the wrong number of parameters in a failed transaction may be refused for
/// either reason: there the proxy has an empty statement stand in for one that it cannot prepare.
///
/// The place of an error in a text that names a prepared statement is counted with the proxy's own, longer name.
fn alike(direct: &[Frame], proxied: &[Frame], step: &str) -> bool {
    let renamed = ["PREPARE", "EXECUTE"].iter().any(|word| step.contains(word));
    let but_for_place = |one: &Frame, other: &Frame| {
        let told = |frame: &Frame| ['S', 'C', 'M', 'D', 'H', 'F', 'L', 'R'].map(|field| frame.field(field));
        renamed && one.tag == b'E' && other.tag == b'E' && told(one) == told(other)
    };
    let refused_bind = |frame: &Frame| {
        frame.tag == b'E'
            && frame.field('R') == "exec_bind_message"
            && matches!(frame.sqlstate().as_str(), "08P01" | "25P02")
    };
    let pairs = || direct.iter().zip(proxied);
    direct.len() == proxied.len()
        && pairs().all(|(one, other)| {
            one == other || refused_bind(one) && refused_bind(other) || but_for_place(one, other)
        })
}

/// What differs between two transcripts, shown with the script; `None` when nothing does.
fn difference(script: &Script, direct: &[Vec<Frame>], proxied: &[Vec<Frame>]) -> Option<String> {
    let at =
        (0..script.steps.len()).find(|at| !alike(&direct[*at], &proxied[*at], &script.steps[*at].shown))?;
    let mut text = format!("script {} differs at its step {at}:\n", script.number);
    for step in &script.steps[..=at] {
        writeln!(text, "  {}", step.shown).expect("a string takes it");
    }
    let (direct, proxied) = (pretty(&direct[at]), pretty(&proxied[at]));
    writeln!(text, "  direct:\n{direct}  proxied:\n{proxied}").expect("a string takes it");
    Some(text)
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

async fn work(stage: &'static Stage, port: u16, worker: u64) -> Vec<String> {
    let (first, count) = (number("TWIN_FIRST", 0), number("TWIN_SCRIPTS", 2000));
    let mut direct = Side::new(stage, stage.primary.port, format!("twin_direct_{worker}")).await;
    let mut proxied = Side::new(stage, port, format!("twin_proxied_{worker}")).await;
    let mut differences = Vec::new();
    for number in (first + worker..first + count).step_by(WORKERS.try_into().expect("a few")) {
        let script = Script::new(number);
        let want = direct.play(&script).await;
        let got = proxied.play(&script).await;
        differences.extend(difference(&script, &want, &got));
        if differences.len() >= DIFFERENCES_MAX {
            break;
        }
    }
    differences
}

/// Two thousand scripts, with nothing between the two sides but the proxy.
#[tokio::test]
async fn random_scripts_get_equal_replies() {
    let stage = shared().await;
    let proxy: Proxy = stage.proxy("pool: {size: 3, prepared_statements_max: 20}\n").await;
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let port = proxy.port;
        workers.spawn(work(stage, port, worker));
    }
    let mut differences = Vec::new();
    while let Some(found) = workers.join_next().await {
        differences.extend(found.expect("a worker ends"));
    }
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}
