//! The sessions of a load: writers in every way to commit, readers in every way to ask.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Buf;
use pointsman_tests::{Frame, msg, pretty};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::checker::{Fate, Read, Route};
use super::world::{AGENTS, Line, Place, Table, World};

/// How a load is made up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    /// Of a hundred writes, those by each proxy; the others go past them.
    pub by_proxy: [u32; 2],
    /// Between two writes of one writer, at the most.
    pub write_pause: Duration,
    /// Between two reads of one reader, at the most.
    pub read_pause: Duration,
    /// The proxy by which transactions are prepared: not one that may be killed between the two phases.
    pub two_phases: Option<usize>,
}

impl Habits {
    /// As fast as leaves something to serve from memory.
    pub const USUAL: Self = Self {
        by_proxy: [50, 50],
        write_pause: Duration::from_millis(500),
        read_pause: Duration::from_millis(40),
        two_phases: None,
    };
}

/// Writes one item of each table, which nobody else does, until the load ends.
pub(super) async fn write(world: Arc<World>, agent: usize, habits: Habits) {
    let mut rng = StdRng::seed_from_u64(agent as u64);
    let mut lines = [Line::new(Some(0)), Line::new(Some(1)), Line::new(None)];
    let mut witness = [Line::new(Some(0)), Line::new(Some(1))];
    while !world.stopped() {
        let place = Place { table: table(&world, &mut rng), agent };
        let dice = rng.random_range(0..100);
        let way = match habits.by_proxy {
            _ if world.tables[place.table].foreign => 2,
            [first, _] if dice < first => 0,
            [first, second] if dice < first + second => 1,
            _ => 2,
        };
        let line = &mut lines[way];
        if !line.ready(&world).await {
            return;
        }
        let fate = write_once(&world, line, place, (&mut rng, &habits)).await;
        if fate == Fate::Unknown {
            find(&world, &mut lines[2], place).await;
        } else if fate == Fate::Committed && rng.random_bool(0.4) {
            // Whoever hears of it, reads it; so does another session of the same proxy.
            read_once(&world, &mut lines[way], place, &mut rng).await;
            if way < 2 && witness[way].ready(&world).await {
                read_once(&world, &mut witness[way], place, &mut rng).await;
            }
        }
        tokio::time::sleep(habits.write_pause.mul_f64(rng.random())).await;
    }
}

/// Reads until the load ends.
pub(super) async fn read(world: Arc<World>, number: usize, habits: Habits) {
    let mut rng = StdRng::seed_from_u64(1_000 + number as u64);
    let mut line = Line::new(Some(number % world.proxies.len()));
    let mut seen = std::collections::HashMap::new();
    while !world.stopped() && line.ready(&world).await {
        // Some agents are asked for all the time; what was written a moment ago is asked for at once.
        let place = match rng.random_range(0..10) {
            0 | 1 => world.last(),
            2..=7 => Place { table: table(&world, &mut rng), agent: rng.random_range(0..4) },
            _ => Place { table: table(&world, &mut rng), agent: rng.random_range(0..AGENTS) },
        };
        if let Some(newest) = read_once(&world, &mut line, place, &mut rng).await {
            let before = seen.insert((line.session, place.table, place.agent), newest);
            if before.is_some_and(|before| before > newest) {
                world.steps_back.fetch_add(1, Ordering::Relaxed);
            }
        }
        tokio::time::sleep(habits.read_pause.mul_f64(rng.random())).await;
    }
}

/// A table, by its share.
fn table(world: &World, rng: &mut StdRng) -> usize {
    let all = world.tables.iter().map(|table| table.share).sum();
    let mut dice = rng.random_range(0..all);
    for (number, table) in world.tables.iter().enumerate() {
        if dice < table.share {
            return number;
        }
        dice -= table.share;
    }
    unreachable!("the shares make up the whole")
}

/// What an answer says of the transaction that it ends.
fn fate(frames: Option<Vec<Frame>>) -> Fate {
    let Some(frames) = frames else { return Fate::Unknown };
    let tags: Vec<String> =
        frames.iter().filter(|frame| frame.tag == b'C').map(|frame| frame.text()).collect();
    if tags.last().is_some_and(|tag| tag == "ROLLBACK") {
        return Fate::RolledBack;
    }
    if let Some(error) = frames.iter().find(|frame| frame.tag == b'E') {
        let lost = ["57P", "08"].iter().any(|class| error.sqlstate().starts_with(class));
        assert!(lost, "a write fails by itself: {}", pretty(&frames));
        return Fate::Unknown;
    }
    let nothing = |tag: &String| ["UPDATE 0", "MERGE 0", "INSERT 0 0"].contains(&tag.as_str());
    assert!(!tags.iter().any(nothing), "nobody else writes newer versions: {tags:?}");
    Fate::Committed
}

/// Writes the next version in one of the ways to do it.
async fn write_once(world: &World, line: &mut Line, place: Place, how: (&mut StdRng, &Habits)) -> Fate {
    let (rng, habits) = how;
    let table = &world.tables[place.table];
    let begun = world.now();
    let version = world.item(place).send(line.session, line.route(), begun);
    let two_phases = habits.two_phases.is_some_and(|proxy| line.is_by(proxy));
    let way = rng.random_range(0..if two_phases { 13 } else { 12 });
    let fate = match way {
        0..7 => alone(line, table, place.agent, version, way).await,
        7 => {
            // This version is taken back, and another one stays.
            let sql = table.change(&place.agent.to_string(), &version.to_string());
            let taken_back = chain(line, &["BEGIN", "SAVEPOINT s", &sql, "ROLLBACK TO s"]).await;
            let next = {
                let mut item = world.item(place);
                item.end(version, Fate::RolledBack, world.now());
                item.send(line.session, line.route(), world.now())
            };
            let fate = match taken_back {
                Some(_) => {
                    let sql = table.change(&place.agent.to_string(), &next.to_string());
                    fate(chain(line, &[&sql, "COMMIT"]).await)
                }
                None => Fate::RolledBack,
            };
            return ended(world, line, place, (next, begun), fate);
        }
        _ => in_transaction(line, table, place.agent, version, way).await,
    };
    ended(world, line, place, (version, begun), fate)
}

fn ended(world: &World, line: &Line, place: Place, (version, begun): (i64, u64), fate: Fate) -> Fate {
    let mut item = world.item(place);
    let now = world.now();
    item.end(version, fate, now);
    drop(item);
    world.writes.fetch_add(1, Ordering::Relaxed);
    match fate {
        Fate::Committed => {
            world.set_last(place);
            world.slowest.fetch_max(now - begun, Ordering::Relaxed);
            let direct = u64::from(line.route() == Route::Direct);
            world.direct_writes.fetch_add(direct, Ordering::Relaxed);
        }
        Fate::Unknown => drop(world.doubts.fetch_add(1, Ordering::Relaxed)),
        Fate::RolledBack | Fate::Found => {}
    }
    fate
}

/// One statement or one message that commits by itself.
async fn alone(line: &mut Line, table: &Table, agent: usize, version: i64, way: u32) -> Fate {
    let (agent_text, version_text) = (agent.to_string(), version.to_string());
    let sql = table.change(&agent_text, &version_text);
    let bound = table.change("$2", "$1");
    let values = [Some(version_text.as_str()), Some(agent_text.as_str())];
    let name = format!("write_{}", table.name);
    fate(match way {
        0 => line.ask(&msg::query(&sql)).await,
        1 => line.ask(&[msg::statement(&bound, &values), msg::sync()].concat()).await,
        2 => line.run_prepared(&name, &bound, &values, 0).await,
        3 => line.ask(&msg::query(&format!("BEGIN; {sql}; COMMIT"))).await,
        4 => line.ask(&msg::query(&table.replace(agent, version).join("; "))).await,
        5 => line.ask(&table.change_otherwise(agent, version)).await,
        _ => {
            let returning = format!("WITH w AS ({sql} RETURNING 1) SELECT count(*) FROM w");
            line.ask(&msg::query(&returning)).await
        }
    })
}

/// Several messages, of which the last ends the transaction.
async fn in_transaction(line: &mut Line, table: &Table, agent: usize, version: i64, way: u32) -> Fate {
    let sql = table.change(&agent.to_string(), &version.to_string());
    let name = format!("{}_{agent}_{version}", table.name);
    let answer = match way {
        8 => chain(line, &["BEGIN", &sql, "COMMIT"]).await,
        9 => {
            let [delete, insert] = table.replace(agent, version);
            chain(line, &["BEGIN", &delete, &insert, "COMMIT"]).await
        }
        10 => {
            let statements = ["BEGIN", &sql, "COMMIT"].map(|sql| msg::statement(sql, &[]));
            line.ask(&[statements.concat(), msg::sync()].concat()).await
        }
        11 => {
            // Nothing of this is ever there, lost or not.
            let end = if version % 2 == 0 { "ROLLBACK" } else { "SELECT 1 / 0" };
            chain(line, &["BEGIN", &sql, end, "ROLLBACK"]).await;
            return Fate::RolledBack;
        }
        _ => {
            let (prepare, commit) =
                (format!("PREPARE TRANSACTION '{name}'"), format!("COMMIT PREPARED '{name}'"));
            chain(line, &["BEGIN", &sql, &prepare, &commit]).await
        }
    };
    fate(answer)
}

/// One query after the other; the last one's answer.
async fn chain(line: &mut Line, texts: &[&str]) -> Option<Vec<Frame>> {
    let mut answer = None;
    for text in texts {
        answer = Some(line.ask(&msg::query(text)).await?);
    }
    answer
}

/// Finds out what became of a write whose session was lost, once nobody holds the row.
async fn find(world: &World, direct: &mut Line, place: Place) {
    if !direct.ready(world).await {
        return;
    }
    let table = &world.tables[place.table];
    let sql = format!("{} FOR UPDATE", table.read(&place.agent.to_string()));
    let Some(frames) = direct.ask(&msg::query(&sql)).await else { return };
    if let Some(newest) = versions(&frames, false).first() {
        let mut item = world.item(place);
        if *newest > item.committed() {
            let now = world.now();
            item.end(*newest, Fate::Found, now);
        }
    }
}

fn versions(frames: &[Frame], binary: bool) -> Vec<i64> {
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    rows.map(|row| {
        if binary {
            let mut body = &row.body[..];
            let (columns, length) = (body.get_u16(), body.get_i32());
            assert_eq!((columns, length), (1, 8), "one column of type bigint");
            return body.get_i64();
        }
        let value = row.values().into_iter().next().flatten().expect("a version");
        value.parse().expect("a number")
    })
    .collect()
}

/// How many ways there are to ask for an item.
pub(super) const WAYS: u32 = 7;

/// Reads an item in one of the ways to ask, and has the answer judged: its newest version.
pub(super) async fn read_once(world: &World, line: &mut Line, place: Place, rng: &mut StdRng) -> Option<i64> {
    let way = if rng.random_bool(0.9) { rng.random_range(0..4) } else { rng.random_range(4..WAYS) };
    let (read, frames) = ask(world, line, place, way).await?;
    if frames.iter().any(|frame| frame.tag == b'E') {
        if let Route::Proxy { number, .. } = read.route
            && world.read_errors[number].fetch_add(1, Ordering::Relaxed) < 3
        {
            println!("a read by {} fails: {}", read.route, pretty(&frames));
        }
        return None;
    }
    world.judge(place, &read);
    read.versions.first().copied()
}

/// The newest version of an item by one of the ways to ask.
pub(super) async fn newest(world: &World, line: &mut Line, place: Place, way: u32) -> Option<i64> {
    let (read, _) = ask(world, line, place, way).await?;
    read.versions.first().copied()
}

async fn ask(world: &World, line: &mut Line, place: Place, way: u32) -> Option<(Read, Vec<Frame>)> {
    let table = &world.tables[place.table];
    let agent = place.agent.to_string();
    let values = [Some(agent.as_str())];
    let bound = table.read("$1");
    let (session, route, begun) = (line.session, line.route(), world.now());
    let frames = match way {
        0 => line.ask(&msg::query(&table.read(&agent))).await,
        1 => line.ask(&[msg::statement(&bound, &values), msg::sync()].concat()).await,
        4.. => line.ask(&msg::query(&table.read_otherwise(place.agent, way))).await,
        _ => {
            let name = format!("read_{}", table.name);
            line.run_prepared(&name, &bound, &values, u16::from(way == 3)).await
        }
    }?;
    let versions = versions(&frames, way == 3);
    Some((Read { session, route, begun, ended: world.now(), versions }, frames))
}
