//! Where rows end in `text` and `csv` (`CopyReadLineText` in `copyfromparse.c`). The first line says how lines end.

use memchr::{memchr_iter, memchr2, memchr3};

use super::Fault;

/// What was found in a piece of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A row ends before this byte.
    Row(usize),
    /// The end-of-copy marker ends before this byte.
    Marker(usize),
    /// The piece is part of a row.
    Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Eol {
    Unknown,
    Newline,
    Return,
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At a row's first byte.
    Start,
    Plain,
    /// After a backslash that is a row's first byte.
    StartEscaped,
    /// After any other backslash of `text`.
    Escaped,
    /// After a carriage return, before what may be its newline.
    Return,
    Quoted,
    /// In quotes, after the escape character.
    QuotedEscaped,
    /// After `\.` at a row's start.
    Marker,
    /// After that and a carriage return.
    MarkerReturn,
    /// After the end-of-copy marker and its line end.
    Ended,
}

#[derive(Debug, Clone, Copy)]
struct Csv {
    quote: u8,
    escape: u8,
    /// A row of one column may be `\.` itself, for newer servers.
    single: bool,
}

/// Where in the stream it is.
#[derive(Debug)]
pub(super) struct Lines {
    state: State,
    eol: Eol,
    csv: Option<Csv>,
    /// The line on which the row begins that is being read, from 1, and line ends within it.
    line: u64,
    embedded: u64,
    /// Bytes of the line end of the last row found.
    ending: usize,
}

impl Lines {
    fn new(csv: Option<Csv>) -> Self {
        Self { state: State::Start, eol: Eol::Unknown, csv, line: 1, embedded: 0, ending: 0 }
    }

    pub(super) fn text() -> Self {
        Self::new(None)
    }

    pub(super) fn csv(quote: u8, escape: u8, width: usize) -> Self {
        Self::new(Some(Csv { quote, escape, single: width < 2 }))
    }

    /// The line that is being read, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line + self.embedded
    }

    /// The line on which the row begins that is being read.
    pub(super) fn begins(&self) -> u64 {
        self.line
    }

    /// The line on which the row began that was found last; the next is being read.
    pub(super) fn begun(&mut self) -> u64 {
        let line = self.line;
        self.line += 1 + std::mem::take(&mut self.embedded);
        line
    }

    /// The last row found, without its line end.
    pub(super) fn content<'a>(&self, raw: &'a [u8]) -> &'a [u8] {
        &raw[..raw.len() - self.ending]
    }

    /// Whether the stream declared its end.
    pub(super) fn ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Looks for the end of the row. After [`Found::Part`] the next piece goes on where this one ended.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<Found, Fault> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::Plain => {
                    let Some(next) = self.special(&bytes[at..]) else { return Ok(Found::Part) };
                    at += next + 1;
                    if let Some(found) = self.plain(bytes[at - 1], at)? {
                        return Ok(found);
                    }
                }
                State::Start if byte == b'\\' && self.csv.is_none_or(|csv| csv.quote != b'\\') => {
                    (self.state, at) = (State::StartEscaped, at + 1);
                }
                State::Start => self.state = State::Plain,
                State::StartEscaped if byte == b'.' => (self.state, at) = (State::Marker, at + 1),
                State::StartEscaped => {
                    self.state = State::Plain;
                    at += usize::from(self.csv.is_none());
                }
                State::Escaped if byte == b'.' => return Err(Fault::Marker),
                State::Escaped => (self.state, at) = (State::Plain, at + 1),
                State::Return => return self.after_return(byte, at),
                State::Quoted => at += self.quoted(&bytes[at..]),
                State::QuotedEscaped => {
                    self.count(&[byte]);
                    (self.state, at) = (State::Quoted, at + 1);
                }
                State::Marker | State::MarkerReturn => {
                    if let Some(found) = self.marker(byte, at)? {
                        return Ok(found);
                    }
                    at += usize::from(self.state == State::MarkerReturn);
                }
                State::Ended if self.csv.is_some() => return Err(Fault::AfterEnd),
                State::Ended => return Ok(Found::Part),
            }
        }
        Ok(Found::Part)
    }

    /// The next byte outside quotes that is not simply part of a value.
    #[inline]
    fn special(&self, bytes: &[u8]) -> Option<usize> {
        memchr3(b'\n', b'\r', self.csv.map_or(b'\\', |csv| csv.quote), bytes)
    }

    /// A special byte outside quotes; `after` is the place behind it.
    fn plain(&mut self, byte: u8, after: usize) -> Result<Option<Found>, Fault> {
        match (byte, self.eol) {
            (b'\n', Eol::Return | Eol::Both) => Err(Fault::Newline),
            (b'\n', _) => {
                self.eol = Eol::Newline;
                Ok(Some(self.row(1, after)))
            }
            (b'\r', Eol::Newline) => Err(Fault::CarriageReturn),
            (b'\r', Eol::Return) => Ok(Some(self.row(1, after))),
            (b'\r', _) => {
                self.state = State::Return;
                Ok(None)
            }
            _ => {
                self.state = if self.csv.is_some() { State::Quoted } else { State::Escaped };
                Ok(None)
            }
        }
    }

    fn row(&mut self, ending: usize, end: usize) -> Found {
        (self.state, self.ending) = (State::Start, ending);
        Found::Row(end)
    }

    fn after_return(&mut self, byte: u8, at: usize) -> Result<Found, Fault> {
        if byte == b'\n' {
            self.eol = Eol::Both;
            return Ok(self.row(2, at + 1));
        }
        if self.eol == Eol::Both {
            return Err(Fault::CarriageReturn);
        }
        self.eol = Eol::Return;
        Ok(self.row(1, at))
    }

    /// Bytes within quotes up to what may end them; returns how many.
    fn quoted(&mut self, bytes: &[u8]) -> usize {
        let Some(csv) = self.csv else { return bytes.len() };
        let next = memchr2(csv.quote, csv.escape, bytes);
        self.count(&bytes[..next.unwrap_or(bytes.len())]);
        let Some(next) = next else { return bytes.len() };
        // If one character is both, two of it leave the quotes and enter them again.
        self.state = if bytes[next] == csv.quote { State::Plain } else { State::QuotedEscaped };
        next + 1
    }

    /// Line ends within quotes, as PostgreSQL counts them.
    fn count(&mut self, bytes: &[u8]) {
        let end = if self.eol == Eol::Newline { b'\n' } else { b'\r' };
        self.embedded += memchr_iter(end, bytes).count() as u64;
    }

    /// A byte after `\.`: its line must end as the others do. `None`: go on, from the next byte if a carriage return was seen.
    fn marker(&mut self, byte: u8, at: usize) -> Result<Option<Found>, Fault> {
        let end = match (self.state, byte, self.eol) {
            (State::Marker, b'\n', Eol::Unknown | Eol::Newline) | (State::Marker, b'\r', Eol::Return) => {
                at + 1
            }
            (State::Marker, b'\r', Eol::Unknown | Eol::Both) => {
                self.state = State::MarkerReturn;
                return Ok(None);
            }
            (State::MarkerReturn, b'\n', _) => at + 1,
            (State::MarkerReturn, _, Eol::Unknown) => at,
            // In CSV a line that only begins so is a row.
            (State::Marker, _, _) if self.csv.is_some() => {
                self.state = State::Plain;
                return Ok(None);
            }
            _ => return Err(Fault::Marker),
        };
        if self.csv.is_some_and(|csv| csv.single) {
            return Err(Fault::Marker);
        }
        self.state = State::Ended;
        Ok(Some(Found::Marker(end)))
    }

    /// The stream has ended; `part` says that bytes of a row are left. Whether they are a row.
    pub(super) fn end(&mut self, part: bool) -> Result<bool, Fault> {
        self.ending = 0;
        match self.state {
            State::Quoted | State::QuotedEscaped => Err(Fault::Unterminated),
            State::Return if self.eol == Eol::Both => Err(Fault::CarriageReturn),
            State::Return => {
                self.ending = 1;
                Ok(true)
            }
            State::Marker if self.csv.is_none() => Err(Fault::Marker),
            State::MarkerReturn if self.eol != Eol::Unknown || self.csv.is_some_and(|csv| csv.single) => {
                Err(Fault::Marker)
            }
            State::MarkerReturn | State::Ended => Ok(false),
            _ => Ok(part),
        }
    }
}
