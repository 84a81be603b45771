//! What a load works on: tables of items, proxies that may be killed, sessions that come back, and the history.
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pointsman_tests::{Frame, Proxy, Stage, Wire, msg};

use super::checker::{Item, Micros, Read, Route};

/// Items of each table, and writers: each writes one item of each table.
pub(super) const AGENTS: usize = 32;
/// How many wrong answers are told of.
const TOLD_MAX: usize = 4;

/// A table, and how it is written and read. `version` only grows.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub name: String,
    /// The column that tells items apart.
    pub key: &'static str,
    /// Versions are rows of their own.
    pub feed: bool,
    /// How often it is chosen, of all tables' shares together.
    pub share: u32,
    /// What its rule says of caching.
    pub cache: &'static str,
    /// Nobody writes it through a proxy.
    pub foreign: bool,
    /// How late other proxies' writes may show.
    pub bound: Duration,
}

impl Table {
    /// One statement that writes a version; what was sent long ago and comes late changes nothing.
    pub fn change(&self, agent: &str, version: &str) -> String {
        let Self { name, key, .. } = self;
        if self.feed {
            format!("INSERT INTO {name} ({key}, version) VALUES ({agent}, {version})")
        } else {
            format!("UPDATE {name} SET version = {version} WHERE {key} = {agent} AND version < {version}")
        }
    }

    /// Two statements that do, the second an `INSERT`.
    pub fn replace(&self, agent: usize, version: i64) -> [String; 2] {
        let Self { name, key, .. } = self;
        let older = if self.feed { version - 5 } else { version };
        [
            format!("DELETE FROM {name} WHERE {key} = {agent} AND version < {older}"),
            format!("INSERT INTO {name} ({key}, version) VALUES ({agent}, {version})"),
        ]
    }

    /// One statement that writes a version in another way, in simple queries' messages.
    pub fn change_otherwise(&self, agent: usize, version: i64) -> Vec<u8> {
        let Self { name, key, .. } = self;
        let row = format!("{key} = {agent} AND {name}.version < {version}");
        let sql = match version % 3 {
            _ if self.feed => {
                let copy = msg::query(&format!("COPY {name} ({key}, version) FROM STDIN"));
                let row = format!("{agent}\t{version}\n");
                return [copy, msg::copy_data(row.as_bytes()), msg::copy_done()].concat();
            }
            0 => format!("UPDATE {name} SET version = {version}, {key} = {key} WHERE {row}"),
            1 => format!(
                "INSERT INTO {name} ({key}, version) VALUES ({agent}, {version})
                 ON CONFLICT ({key}) DO UPDATE SET version = excluded.version WHERE {name}.{row}"
            ),
            _ => format!(
                "MERGE INTO {name} USING (VALUES ({agent})) v (k) ON {name}.{key} = v.k AND {name}.{row}
                 WHEN MATCHED THEN UPDATE SET version = {version}"
            ),
        };
        msg::query(&sql)
    }

    /// A read of an item, the newest version first.
    pub fn read(&self, agent: &str) -> String {
        self.read_where(&format!("{} = {agent}", self.key))
    }

    /// The same, asked in a way that says less about what is read.
    pub fn read_otherwise(&self, agent: usize, way: u32) -> String {
        let Self { name, key, .. } = self;
        self.read_where(&match way % 3 {
            0 => format!("{key} IN (-1, {agent})"),
            1 => format!("{key} = ANY ('{{{agent},-2}}')"),
            _ => format!("{key} = (SELECT max(o.{key}) FROM {name} o WHERE o.{key} = {agent})"),
        })
    }

    fn read_where(&self, condition: &str) -> String {
        let order = if self.feed { " ORDER BY version DESC LIMIT 5" } else { "" };
        format!("SELECT version FROM {} WHERE {condition}{order}", self.name)
    }

    /// Makes it, with version 1 of each item.
    pub fn define(&self) -> String {
        let Self { name, key, .. } = self;
        let unique = if self.feed { "" } else { " PRIMARY KEY" };
        format!(
            "CREATE TABLE {name} ({key} int NOT NULL{unique}, version bigint NOT NULL);
             CREATE INDEX ON {name} ({key}, version);
             ALTER TABLE {name} REPLICA IDENTITY FULL;
             INSERT INTO {name} SELECT i, 1 FROM generate_series(0, {AGENTS} - 1) i;
             GRANT ALL ON {name} TO PUBLIC;"
        )
    }
}

/// One item: a table's number and an agent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub table: usize,
    pub agent: usize,
}

/// What everybody shares.
pub(super) struct World {
    pub proxies: Vec<Proxy>,
    pub tables: Vec<Table>,
    pub stop: AtomicBool,
    pub reads: AtomicU64,
    pub writes: AtomicU64,
    pub doubts: AtomicU64,
    pub steps_back: AtomicU64,
    pub direct_writes: AtomicU64,
    /// The longest that a commit took, in microseconds.
    pub slowest: AtomicU64,
    /// Errors that reads were answered with, by proxy.
    pub read_errors: [AtomicU64; 2],
    /// How often each proxy was started.
    lives: Vec<AtomicU32>,
    /// The item that was committed last, as `table * AGENTS + agent`.
    last: AtomicUsize,
    sessions: AtomicUsize,
    items: Vec<Mutex<Item>>,
    told: Mutex<Vec<String>>,
    began: Instant,
    /// Last, so that servers end after their proxies.
    pub stage: Stage,
}

impl World {
    pub fn new(stage: Stage, proxies: Vec<Proxy>, tables: Vec<Table>) -> Self {
        let items = tables.iter().flat_map(|table| {
            let bound = Micros::try_from(table.bound.as_micros()).expect("a short time");
            (0..AGENTS)
                .map(move |agent| Mutex::new(Item::new(format!("{} of agent {agent}", table.name), bound)))
        });
        Self {
            items: items.collect(),
            lives: proxies.iter().map(|_| AtomicU32::new(0)).collect(),
            proxies,
            tables,
            stop: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            doubts: AtomicU64::new(0),
            steps_back: AtomicU64::new(0),
            direct_writes: AtomicU64::new(0),
            slowest: AtomicU64::new(0),
            read_errors: [AtomicU64::new(0), AtomicU64::new(0)],
            last: AtomicUsize::new(0),
            sessions: AtomicUsize::new(1),
            told: Mutex::new(Vec::new()),
            began: Instant::now(),
            stage,
        }
    }

    pub fn now(&self) -> Micros {
        Micros::try_from(self.began.elapsed().as_micros()).expect("a short test")
    }

    pub fn item(&self, place: Place) -> MutexGuard<'_, Item> {
        lock(&self.items[place.table * AGENTS + place.agent])
    }

    pub fn places(&self) -> impl Iterator<Item = Place> {
        let tables = self.tables.len();
        (0..tables).flat_map(|table| (0..AGENTS).map(move |agent| Place { table, agent }))
    }

    pub fn last(&self) -> Place {
        let last = self.last.load(Ordering::Relaxed);
        Place { table: last / AGENTS, agent: last % AGENTS }
    }

    pub fn set_last(&self, place: Place) {
        self.last.store(place.table * AGENTS + place.agent, Ordering::Relaxed);
    }

    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub fn next_session(&self) -> usize {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    /// Judges an answer; the first that is wrong ends the load.
    pub fn judge(&self, place: Place, read: &Read) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let mut item = self.item(place);
        if let Err(wrong) = item.judge(read.clone()) {
            self.tell(item.report(wrong, read));
        }
    }

    /// Something is wrong.
    pub fn tell(&self, what: String) {
        let mut told = lock(&self.told);
        if told.len() < TOLD_MAX {
            told.push(what);
        }
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Ends the test if anything was wrong.
    pub fn assert_right(&self) {
        let told = lock(&self.told);
        assert!(told.is_empty(), "the history does not explain what was read:\n{}", told.join("\n"));
    }

    /// Kills a proxy and starts it again. What it says from now on it says as another.
    pub async fn crash(&self, proxy: usize) {
        self.lives[proxy].fetch_add(1, Ordering::SeqCst);
        self.proxies[proxy].crash_and_restart().await;
    }
}

/// Nothing in these locks is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sessions, one after the other, by one way: a new one when the last was lost.
pub(super) struct Line {
    /// The proxy, or none.
    proxy: Option<usize>,
    pub session: usize,
    life: u32,
    wire: Option<Wire>,
    prepared: HashSet<String>,
}

impl Line {
    pub fn new(proxy: Option<usize>) -> Self {
        Self { proxy, session: 0, life: 0, wire: None, prepared: HashSet::new() }
    }

    /// Whether it goes by this proxy.
    pub fn is_by(&self, proxy: usize) -> bool {
        self.proxy == Some(proxy)
    }

    pub fn route(&self) -> Route {
        self.proxy.map_or(Route::Direct, |number| Route::Proxy { number, life: self.life })
    }

    /// Connects if it must; false if that takes too long or the load has ended.
    pub async fn ready(&mut self, world: &World) -> bool {
        let since = Instant::now();
        while self.wire.is_none() {
            if world.stopped() {
                return false;
            }
            if since.elapsed() > Duration::from_secs(30) {
                world.tell(format!("nobody can log in by {}", self.route()));
                return false;
            }
            let port = match self.proxy {
                Some(number) => {
                    self.life = world.lives[number].load(Ordering::SeqCst);
                    world.proxies[number].port
                }
                None => world.stage.primary.port,
            };
            self.prepared.clear();
            self.session = world.next_session();
            self.wire = Wire::try_login(port).await;
            // Killed between the question for its life and the login: whose word this is, is not known.
            if self.proxy.is_some_and(|number| world.lives[number].load(Ordering::SeqCst) != self.life) {
                self.wire = None;
            }
            if self.wire.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        true
    }

    /// Sends and reads up to `ReadyForQuery`; none when the connection was lost.
    pub async fn ask(&mut self, bytes: &[u8]) -> Option<Vec<Frame>> {
        let answer = match &mut self.wire {
            Some(wire) => wire.try_ask(bytes).await,
            None => None,
        };
        if answer.is_none() {
            self.wire = None;
        }
        answer
    }

    /// Runs a statement that is prepared under its own text's name once for each session.
    pub async fn run_prepared(
        &mut self,
        name: &str,
        sql: &str,
        values: &[Option<&str>],
        format: u16,
    ) -> Option<Vec<Frame>> {
        if self.wire.is_some() && !self.prepared.contains(name) {
            let prepare = [msg::parse(name, sql), msg::describe_statement(name), msg::sync()].concat();
            let frames = self.ask(&prepare).await?;
            if frames.iter().any(|frame| frame.tag == b'E') {
                return Some(frames);
            }
            self.prepared.insert(name.to_owned());
        }
        let values: Vec<Option<&[u8]>> = values.iter().map(|value| value.map(str::as_bytes)).collect();
        let bind = msg::bind_with("", name, &values, [&[], &[format]]);
        self.ask(&[bind, msg::execute("", 0), msg::sync()].concat()).await
    }
}
