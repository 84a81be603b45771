//! Whether a server is up, slow or down, judged by its answers in a row, so that one bad answer moves nothing.

use std::time::Duration;

use super::server::State;

/// When a state changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A longer round trip is a slow one.
    pub slow: Duration,
    /// Failed, or slow, answers in a row after which a server is down, or slow.
    pub failures: u32,
    /// Good answers in a row after which it is up again.
    pub recoveries: u32,
}

/// The answers of one server to its health questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Condition {
    failed: u32,
    slow: u32,
    good: u32,
    /// It was down because it did not answer, and is not up yet.
    lost: bool,
}

impl Condition {
    /// An answer came after `round_trip`. Returns the state that follows `now`.
    pub fn answered(&mut self, now: State, round_trip: Duration, patience: &Patience) -> State {
        self.failed = 0;
        if round_trip > patience.slow {
            self.good = 0;
            self.slow = self.slow.saturating_add(1);
        } else {
            self.slow = 0;
            self.good = self.good.saturating_add(1);
        }
        match now {
            // A session lost it and it answers all the same: only that connection was lost.
            State::Down if !self.lost && self.slow == 0 => State::Up,
            // A server that is asked for the first time is believed at once.
            State::Unknown if self.good > 0 => State::Up,
            State::Unknown => State::Slow,
            State::Up if self.slow >= patience.failures => State::Slow,
            State::Slow | State::Down if self.good >= patience.recoveries => State::Up,
            State::Down if self.slow >= patience.recoveries => State::Slow,
            other => other,
        }
    }

    /// Whether it comes back from not answering; forgotten by this look.
    pub fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// No answer came. Returns the state that follows `now`.
    pub fn failed(&mut self, now: State, patience: &Patience) -> State {
        (self.good, self.slow) = (0, 0);
        self.failed = self.failed.saturating_add(1);
        match now {
            // A server that was never reached keeps the role that the configuration expects of it.
            State::Unknown => State::Unknown,
            other if self.failed < patience.failures && other != State::Down => other,
            _ => {
                self.lost = true;
                State::Down
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { slow: Duration::from_millis(500), failures: 2, recoveries: 3 };
    const FAST: Duration = Duration::from_millis(1);
    const SLOW: Duration = Duration::from_millis(501);

    #[test]
    fn slow_and_back_only_after_several_in_a_row() {
        let mut condition = Condition::default();
        let mut now = State::Up;
        for (round_trip, want) in [
            (SLOW, State::Up),
            (FAST, State::Up),
            (SLOW, State::Up),
            (SLOW, State::Slow),
            (FAST, State::Slow),
            (FAST, State::Slow),
            (SLOW, State::Slow),
            (FAST, State::Slow),
            (FAST, State::Slow),
            (FAST, State::Up),
        ] {
            now = condition.answered(now, round_trip, &PATIENCE);
            assert_eq!(now, want, "{condition:?}");
        }
    }

    #[test]
    fn down_and_back_only_after_several_in_a_row() {
        let mut condition = Condition::default();
        assert_eq!(condition.failed(State::Up, &PATIENCE), State::Up);
        assert_eq!(condition.answered(State::Up, FAST, &PATIENCE), State::Up);
        assert_eq!(condition.failed(State::Up, &PATIENCE), State::Up);
        assert_eq!(condition.failed(State::Up, &PATIENCE), State::Down);
        assert_eq!(condition.answered(State::Down, FAST, &PATIENCE), State::Down);
        assert_eq!(condition.answered(State::Down, FAST, &PATIENCE), State::Down);
        assert_eq!(condition.answered(State::Down, FAST, &PATIENCE), State::Up);
    }

    #[test]
    fn one_lost_connection_is_no_lost_server() {
        let mut condition = Condition::default();
        assert_eq!(condition.answered(State::Down, FAST, &PATIENCE), State::Up);
        assert!(!condition.take_lost());
        assert_eq!(condition.failed(State::Down, &PATIENCE), State::Down);
        assert_eq!(condition.answered(State::Down, FAST, &PATIENCE), State::Down);
        assert!(condition.take_lost());
    }

    #[test]
    fn the_first_answer_counts_at_once() {
        assert_eq!(Condition::default().answered(State::Unknown, FAST, &PATIENCE), State::Up);
        assert_eq!(Condition::default().answered(State::Unknown, SLOW, &PATIENCE), State::Slow);
        assert_eq!(Condition::default().failed(State::Unknown, &PATIENCE), State::Unknown);
    }
}
