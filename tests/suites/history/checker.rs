//! What was written and read, and whether the one explains the other: pure, times passed in, so that it can be shown to
//! tell each kind of wrong.
use std::collections::VecDeque;
use std::fmt::{self, Write as _};

/// Events of one item that a report shows, and reads that are remembered for it.
const SHOWN: usize = 14;

/// Microseconds since the test began.
pub(super) type Micros = u64;

/// By which way something was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// Past every proxy, to the primary.
    Direct,
    /// One proxy's process: a proxy that was killed and started again is another.
    Proxy { number: usize, life: u32 },
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is under way, or its connection was lost and nobody knows.
    Unknown,
    /// Its session heard that it is committed.
    Committed,
    /// Its session heard that it is not, or asked for that.
    RolledBack,
    /// Nobody was told, and it was found on the primary.
    Found,
}

/// One version of an item.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub version: i64,
    pub session: usize,
    pub route: Route,
    pub sent: Micros,
    pub ended: Micros,
    pub fate: Fate,
}

/// One answer: the newest version in it first.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub session: usize,
    pub route: Route,
    pub begun: Micros,
    pub ended: Micros,
    pub versions: Vec<i64>,
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// There is always something to read, and nothing was.
    Nothing,
    /// Nobody had sent this version when the answer came.
    NeverWritten(i64),
    /// This version was rolled back.
    RolledBack(i64),
    /// The same session had heard that this newer one is committed.
    OwnWrite(i64),
    /// A session of the same proxy had.
    Acknowledged(i64),
    /// This newer one had been committed for longer than the bound allows.
    Stale(i64),
}

/// All that happened to one item: a row, or the rows of one key.
#[derive(Debug)]
pub(super) struct Item {
    /// What it is, for reports.
    pub name: String,
    /// How long a version may be read after its successor was committed elsewhere.
    pub bound: Micros,
    writes: Vec<Write>,
    reads: VecDeque<Read>,
}

impl Item {
    /// An item whose first version, 1, everybody knows.
    pub fn new(name: String, bound: Micros) -> Self {
        let first =
            Write { version: 1, session: 0, route: Route::Direct, sent: 0, ended: 0, fate: Fate::Committed };
        Self { name, bound, writes: vec![first], reads: VecDeque::new() }
    }

    /// The next version is about to be sent.
    pub fn send(&mut self, session: usize, route: Route, now: Micros) -> i64 {
        let version = self.writes.last().map_or(1, |write| write.version + 1);
        self.writes.push(Write {
            version,
            session,
            route,
            sent: now,
            ended: Micros::MAX,
            fate: Fate::Unknown,
        });
        version
    }

    /// A version's end is known.
    pub fn end(&mut self, version: i64, fate: Fate, now: Micros) {
        let write = self.writes.iter_mut().rev().find(|write| write.version == version);
        let write = write.expect("only what was sent ends");
        (write.fate, write.ended) = (fate, now);
    }

    /// Judges an answer, and remembers it.
    pub fn judge(&mut self, read: Read) -> Result<(), Wrong> {
        let judged = self.check(&read);
        if self.reads.len() >= SHOWN {
            self.reads.pop_front();
        }
        self.reads.push_back(read);
        judged
    }

    fn check(&self, read: &Read) -> Result<(), Wrong> {
        let newest = *read.versions.first().ok_or(Wrong::Nothing)?;
        for version in &read.versions {
            let write = self.writes.iter().rev().find(|write| write.version == *version);
            let write =
                write.filter(|write| write.sent <= read.ended).ok_or(Wrong::NeverWritten(*version))?;
            if write.fate == Fate::RolledBack {
                return Err(Wrong::RolledBack(*version));
            }
        }
        // The newest first: what is missed that is nearest to the truth tells the most.
        for write in self.writes.iter().rev().take_while(|write| write.version > newest) {
            let heard = write.fate == Fate::Committed && write.ended <= read.begun;
            if heard && write.route == read.route && write.route != Route::Direct {
                let own = write.session == read.session;
                let wrong = if own { Wrong::OwnWrite } else { Wrong::Acknowledged };
                return Err(wrong(write.version));
            }
            let there = matches!(write.fate, Fate::Committed | Fate::Found);
            if there && write.ended.saturating_add(self.bound) < read.begun {
                return Err(Wrong::Stale(write.version));
            }
        }
        Ok(())
    }

    /// The last version that somebody heard to be committed.
    pub fn committed(&self) -> i64 {
        let mut done = self.writes.iter().rev().filter(|write| write.fate == Fate::Committed);
        done.next().map_or(1, |write| write.version)
    }

    /// An answer that is wrong, with what happened to the item last.
    pub fn report(&self, wrong: Wrong, read: &Read) -> String {
        let mut told = format!(
            "{wrong:?} was missed or read of {} (bound {} ms):\n  {read}\n",
            self.name,
            self.bound / 1000
        );
        let shown = self.writes.iter().rev().filter(|write| write.sent <= read.ended).take(SHOWN);
        let mut events: Vec<_> = shown.map(|write| (write.sent, write.to_string())).collect();
        events.extend(self.reads.iter().map(|read| (read.begun, read.to_string())));
        events.sort();
        for (_, event) in events {
            writeln!(told, "    {event}").expect("a string takes it");
        }
        told
    }
}

/// Milliseconds, to the microsecond.
fn millis(at: Micros) -> String {
    if at == Micros::MAX { "...".to_owned() } else { format!("{}.{:03}", at / 1000, at % 1000) }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => write!(f, "direct"),
            Self::Proxy { number, life } => write!(f, "proxy {number}.{life}"),
        }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, session, route, fate, .. } = self;
        let (sent, ended) = (millis(self.sent), millis(self.ended));
        write!(f, "{sent} to {ended} ms: session {session} by {route} writes {version}: {fate:?}")
    }
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, route, versions, .. } = self;
        let (begun, ended) = (millis(self.begun), millis(self.ended));
        write!(f, "{begun} to {ended} ms: session {session} by {route} reads {versions:?}")
    }
}

mod tests {
    use super::{Fate, Item, Micros, Read, Route, Wrong};

    const FIRST: Route = Route::Proxy { number: 0, life: 0 };
    const SECOND: Route = Route::Proxy { number: 1, life: 0 };

    /// An item with version 2 rolled back, 3 and 4 committed by these ways at 100 and 200 ms, 5 unknown since 300 ms.
    fn item(third: Route, fourth: Route) -> Item {
        let mut item = Item::new("an item".to_owned(), 1_000_000);
        for (route, sent, ended, fate) in [
            (FIRST, 10_000, 20_000, Fate::RolledBack),
            (third, 90_000, 100_000, Fate::Committed),
            (fourth, 190_000, 200_000, Fate::Committed),
            (FIRST, 300_000, Micros::MAX, Fate::Unknown),
        ] {
            let version = item.send(7, route, sent);
            item.end(version, fate, ended);
        }
        item
    }

    fn judged(
        item: &mut Item,
        session: usize,
        route: Route,
        begun: Micros,
        versions: &[i64],
    ) -> Result<(), Wrong> {
        let read = Read { session, route, begun, ended: begun + 1_000, versions: versions.to_vec() };
        let judged = item.judge(read.clone());
        if let Err(wrong) = judged {
            let told = item.report(wrong, &read);
            assert!(told.contains("an item") && told.contains("writes 3"), "{told}");
        }
        judged
    }

    /// A good history has nothing wrong.
    #[test]
    fn what_is_allowed_passes() {
        let mut item = item(FIRST, Route::Direct);
        assert_eq!(judged(&mut item, 7, FIRST, 95_000, &[1]), Ok(()), "it may be committed, or not yet");
        assert_eq!(judged(&mut item, 7, FIRST, 95_000, &[3]), Ok(()), "it may be committed, or not yet");
        assert_eq!(judged(&mut item, 9, SECOND, 150_000, &[1]), Ok(()), "elsewhere it shows later");
        assert_eq!(judged(&mut item, 7, FIRST, 1_100_000, &[3]), Ok(()), "4 was written elsewhere");
        assert_eq!(judged(&mut item, 7, FIRST, 1_100_000, &[4, 3, 1]), Ok(()));
        assert_eq!(judged(&mut item, 7, FIRST, 9_000_000, &[5]), Ok(()), "nobody knows of 5");
        assert_eq!(judged(&mut item, 7, FIRST, 9_000_000, &[4]), Ok(()), "nobody knows of 5");
        item.end(5, Fate::Found, 9_000_000);
        assert_eq!(judged(&mut item, 7, FIRST, 9_900_000, &[4]), Ok(()), "5 was found not long ago");
        assert_eq!(item.committed(), 4);
    }

    /// Each kind of wrong is told.
    #[test]
    fn what_is_wrong_is_told() {
        let mut item = item(FIRST, Route::Direct);
        assert_eq!(judged(&mut item, 7, FIRST, 95_000, &[]), Err(Wrong::Nothing));
        assert_eq!(judged(&mut item, 7, FIRST, 95_000, &[6]), Err(Wrong::NeverWritten(6)));
        assert_eq!(
            judged(&mut item, 7, FIRST, 95_000, &[5]),
            Err(Wrong::NeverWritten(5)),
            "not sent by then"
        );
        assert_eq!(judged(&mut item, 7, FIRST, 95_000, &[2]), Err(Wrong::RolledBack(2)));
        assert_eq!(judged(&mut item, 7, FIRST, 250_000, &[4, 3, 2]), Err(Wrong::RolledBack(2)), "anywhere");
        assert_eq!(judged(&mut item, 7, FIRST, 100_000, &[1]), Err(Wrong::OwnWrite(3)));
        assert_eq!(judged(&mut item, 8, FIRST, 100_000, &[1]), Err(Wrong::Acknowledged(3)));
        assert_eq!(judged(&mut item, 8, SECOND, 1_100_001, &[1]), Err(Wrong::Stale(3)));
        assert_eq!(judged(&mut item, 8, SECOND, 1_200_001, &[3]), Err(Wrong::Stale(4)));
        item.end(5, Fate::Found, 9_000_000);
        assert_eq!(judged(&mut item, 8, SECOND, 10_000_001, &[4]), Err(Wrong::Stale(5)));
    }

    /// A proxy that was started again vouches for what it heard itself, and so does every other.
    #[test]
    fn a_proxys_word_is_its_own() {
        let again = Route::Proxy { number: 0, life: 1 };
        let mut item = item(FIRST, again);
        assert_eq!(judged(&mut item, 7, again, 150_000, &[1]), Ok(()));
        assert_eq!(judged(&mut item, 7, again, 200_000, &[3]), Err(Wrong::OwnWrite(4)));
        assert_eq!(judged(&mut item, 7, again, 200_000, &[1]), Err(Wrong::OwnWrite(4)));
    }
}
