//! One connection's breaker. The first call that is too slow makes it *suspect*: others are turned away at
//! once, and the keeper asks the server whether it is there. So a server that hangs costs its deadline once,
//! not once for every failure that it takes until the breaker opens; and one that was slow once is asked
//! again within a millisecond.
//!
//! Each connection has its own, so that a call that ends late says nothing about the connection after it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use tokio::sync::Notify;

use crate::miss::{Miss, Severity};

/// What the breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BreakerState {
    /// Every call.
    Closed,
    /// None, until a question in the background is answered.
    Suspect,
    /// None, until the time to the next try has passed and the server answers.
    Open,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    state: AtomicU8,
    failures: AtomicU32,
    failures_max: u32,
    /// The connection is of no use any more.
    lost: AtomicBool,
    /// Tells the keeper that there is trouble.
    pub(crate) trouble: Notify,
}

impl Breaker {
    pub(crate) fn new(failures_max: u32) -> Self {
        Self {
            state: AtomicU8::new(BreakerState::Closed as u8),
            failures: AtomicU32::new(0),
            failures_max,
            lost: AtomicBool::new(false),
            trouble: Notify::new(),
        }
    }

    pub(crate) fn state(&self) -> BreakerState {
        match self.state.load(Ordering::Acquire) {
            0 => BreakerState::Closed,
            1 => BreakerState::Suspect,
            _ => BreakerState::Open,
        }
    }

    pub(crate) fn permits(&self) -> bool {
        self.state() == BreakerState::Closed && !self.is_lost()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// A call was answered. What was answered before it became suspect closes nothing: only the keeper does.
    pub(crate) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 && self.permits() {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A call, or a question of the keeper, failed.
    pub(crate) fn failed(&self, miss: Miss) {
        let state = match miss.severity() {
            Severity::None => return,
            Severity::Slow => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                if failures < self.failures_max { BreakerState::Suspect } else { BreakerState::Open }
            }
            Severity::Fatal => {
                self.lost.store(true, Ordering::Release);
                BreakerState::Open
            }
        };
        self.state.fetch_max(state as u8, Ordering::AcqRel);
        self.trouble.notify_one();
    }

    /// The keeper's question was answered: calls go through again. After an opening the count begins anew;
    /// after a mere suspicion only an answered call ends it, so that a server that answers questions but no
    /// calls is found out.
    pub(crate) fn close(&self) {
        if self.state() == BreakerState::Open {
            self.failures.store(0, Ordering::Relaxed);
        }
        self.state.store(BreakerState::Closed as u8, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_slow_call_stops_the_others_and_the_third_opens() {
        let breaker = Breaker::new(3);
        assert!(breaker.permits());
        breaker.failed(Miss::Deadline);
        assert_eq!(breaker.state(), BreakerState::Suspect);
        breaker.close();
        assert!(breaker.permits());
        breaker.failed(Miss::Deadline);
        breaker.failed(Miss::Loading);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(!breaker.is_lost());
        breaker.close();
        breaker.failed(Miss::Deadline);
        assert_eq!(breaker.state(), BreakerState::Suspect);
    }

    #[test]
    fn an_answer_ends_the_count_but_not_a_suspicion() {
        let breaker = Breaker::new(2);
        breaker.failed(Miss::Deadline);
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Suspect);
        breaker.close();
        breaker.succeeded();
        breaker.failed(Miss::Deadline);
        assert_eq!(breaker.state(), BreakerState::Suspect);
    }

    #[test]
    fn a_lost_connection_opens_at_once_and_a_bad_key_never() {
        let breaker = Breaker::new(3);
        for miss in [Miss::Full, Miss::Other, Miss::TooLarge] {
            breaker.failed(miss);
            assert!(breaker.permits());
        }
        breaker.failed(Miss::Down);
        assert!(breaker.is_lost() && breaker.state() == BreakerState::Open);
    }
}
