//! What one user of one database has used, counted by each worker for itself, and as Prometheus hears of it.

use std::time::{Duration, Instant};

use super::counters::Count;

/// The counters of one account on one worker: only its thread adds to them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Usage {
    assignments: Count,
    transactions: Count,
    queries: Count,
    received: Count,
    sent: Count,
    transaction_micros: Count,
    query_micros: Count,
    wait_micros: Count,
    client_parses: Count,
    server_parses: Count,
    binds: Count,
}

impl Usage {
    /// A server connection was given to a client.
    pub fn assigned(&self) {
        self.assignments.add(1);
    }

    /// A client has waited for a server connection.
    pub fn waited(&self, time: Duration) {
        self.wait_micros.add(micros(time));
    }

    /// A request was answered, up to its ReadyForQuery.
    pub fn query(&self, time: Duration) {
        self.queries.add(1);
        self.query_micros.add(micros(time));
    }

    /// A transaction ended, one of a single statement included.
    pub fn transaction(&self, time: Duration) {
        self.transactions.add(1);
        self.transaction_micros.add(micros(time));
    }

    /// Bytes came from the client and went to it.
    pub fn traffic(&self, received: usize, sent: usize) {
        self.received.add(received as u64);
        self.sent.add(sent as u64);
    }

    /// A client prepared a statement with a name.
    pub fn client_parsed(&self) {
        self.client_parses.add(1);
    }

    /// A statement with a name was prepared on a server.
    pub fn server_parsed(&self) {
        self.server_parses.add(1);
    }

    /// A client bound a statement with a name.
    pub fn bound(&self) {
        self.binds.add(1);
    }

    /// What it says now.
    pub fn used(&self) -> Used {
        Used {
            assignments: self.assignments.get(),
            transactions: self.transactions.get(),
            queries: self.queries.get(),
            received: self.received.get(),
            sent: self.sent.get(),
            transaction_micros: self.transaction_micros.get(),
            query_micros: self.query_micros.get(),
            wait_micros: self.wait_micros.get(),
            client_parses: self.client_parses.get(),
            server_parses: self.server_parses.get(),
            binds: self.binds.get(),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Sums at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// Times that a server connection was given to a client.
    pub assignments: u64,
    /// Transactions ended, those of a single statement included.
    pub transactions: u64,
    /// Requests answered: simple queries, and batches up to their Sync.
    pub queries: u64,
    /// Bytes from clients.
    pub received: u64,
    /// Bytes to clients.
    pub sent: u64,
    /// Microseconds in transactions, on a server connection.
    pub transaction_micros: u64,
    /// Microseconds with a request under way, on a server connection.
    pub query_micros: u64,
    /// Microseconds that clients waited for a server connection.
    pub wait_micros: u64,
    /// Statements that clients prepared under a name.
    pub client_parses: u64,
    /// Statements prepared on servers under a name.
    pub server_parses: u64,
    /// Statements with a name that clients bound.
    pub binds: u64,
}

impl Used {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.each(other, u64::wrapping_add)
    }

    /// What came after `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        self.each(earlier, u64::saturating_sub)
    }

    fn each(self, other: Self, of: fn(u64, u64) -> u64) -> Self {
        Self {
            assignments: of(self.assignments, other.assignments),
            transactions: of(self.transactions, other.transactions),
            queries: of(self.queries, other.queries),
            received: of(self.received, other.received),
            sent: of(self.sent, other.sent),
            transaction_micros: of(self.transaction_micros, other.transaction_micros),
            query_micros: of(self.query_micros, other.query_micros),
            wait_micros: of(self.wait_micros, other.wait_micros),
            client_parses: of(self.client_parses, other.client_parses),
            server_parses: of(self.server_parses, other.server_parses),
            binds: of(self.binds, other.binds),
        }
    }
}

/// What was used in the last whole period, for averages.
#[derive(Debug, Default)]
pub struct Period {
    last: Used,
    begun: Option<Instant>,
    within: Used,
    lasted: Duration,
}

impl Period {
    /// A period ends `now`, and the next begins.
    pub fn turn(&mut self, used: Used, now: Instant) {
        if let Some(begun) = self.begun {
            self.within = used.since(self.last);
            self.lasted = now.duration_since(begun);
        }
        self.last = used;
        self.begun = Some(now);
    }

    /// What was used in the last whole period, and how long it was; zero before there was one.
    pub fn last(&self) -> (Used, Duration) {
        (self.within, self.lasted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_holds_what_came_within_it() {
        let usage = Usage::default();
        let mut period = Period::default();
        let start = Instant::now();
        usage.query(Duration::from_micros(10));
        period.turn(usage.used(), start);
        assert_eq!(period.last(), (Used::default(), Duration::ZERO));
        usage.query(Duration::from_micros(30));
        usage.transaction(Duration::from_micros(40));
        usage.traffic(5, 7);
        let minute = Duration::from_secs(60);
        period.turn(usage.used(), start + minute);
        let (used, lasted) = period.last();
        let expected = Used {
            queries: 1,
            query_micros: 30,
            transactions: 1,
            transaction_micros: 40,
            received: 5,
            sent: 7,
            ..Used::default()
        };
        assert_eq!((used, lasted), (expected, minute));
        period.turn(usage.used(), start + 2 * minute);
        assert_eq!(period.last(), (Used::default(), minute));
    }
}
