//! Those who wait for a connection of a pool, first come, first served, each until a deadline. A wait is part of many a
//! statement's life under load: one timer of the pool's watches all deadlines, and a wait arms none of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Inner, Pool};
use crate::fault::Fault;
use crate::upstream::connection::Connection;
use crate::upstream::lease::{Grant, Lease};

/// What comes to those who wait.
pub(super) type Granted = oneshot::Receiver<Result<Grant, Fault>>;

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Waiter {
    grant: oneshot::Sender<Result<Grant, Fault>>,
    since: Instant,
    until: Instant,
    patience: Duration,
}

impl Waiter {
    fn has_left(&self) -> bool {
        self.grant.is_closed()
    }

    /// Gives it a connection; back comes what it cannot take any more.
    pub(super) fn grant(self, lease: Lease) -> Option<Box<Connection>> {
        match self.grant.send(Ok(Grant::new(lease))) {
            Err(Ok(back)) => back.accept().and_then(Lease::into_connection),
            Ok(()) | Err(Err(_)) => None,
        }
    }

    /// Tells it that it gets none.
    pub(super) fn refuse(self, fault: Fault) {
        // A waiter that has left needs no answer.
        let _left = self.grant.send(Err(fault));
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiters: VecDeque<Waiter>,
    /// When the timer rings, if one runs.
    alarm: Option<Instant>,
    /// Since when time stands still.
    stopped: Option<Instant>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Waiter> {
        self.waiters.pop_front()
    }

    pub(super) fn take_all(&mut self) -> Vec<Waiter> {
        std::mem::take(&mut self.waiters).into()
    }

    /// Forgets those who wait no longer. Usually found out when it is their turn.
    pub(super) fn drop_leavers(&mut self) {
        self.waiters.retain(|waiter| !waiter.has_left());
    }

    /// How many wait, and how long the first of them has.
    pub(super) fn waiting(&self) -> (usize, Duration) {
        let mut there = self.waiters.iter().filter(|waiter| !waiter.has_left());
        let longest = there.clone().next().map(|waiter| waiter.since.elapsed());
        (there.by_ref().count(), longest.unwrap_or_default())
    }

    /// Time stands still from now on, if it did not already.
    pub(super) fn stop_clock(&mut self, now: Instant) {
        self.stopped.get_or_insert(now);
    }

    /// Time goes on: what passed meanwhile does not count against those who wait.
    pub(super) fn start_clock(&mut self, now: Instant) {
        let Some(stopped) = self.stopped.take() else { return };
        for waiter in &mut self.waiters {
            waiter.until += now.saturating_duration_since(stopped.max(waiter.since));
        }
    }

    /// The time for which a timer has to be armed, if the one that runs rings too late.
    fn due_alarm(&mut self) -> Option<Instant> {
        let first = self.waiters.iter().map(|waiter| waiter.until).min()?;
        self.arm(first)
    }

    fn arm(&mut self, at: Instant) -> Option<Instant> {
        let due = self.stopped.is_none() && self.alarm.is_none_or(|alarm| at < alarm);
        due.then(|| *self.alarm.insert(at))
    }

    /// The timer that was armed for `alarm` has rung: who has waited too long, and when it is to ring again.
    fn ring(&mut self, alarm: Instant) -> (VecDeque<Waiter>, Option<Instant>) {
        // An earlier timer has taken its place.
        if self.alarm != Some(alarm) {
            return (VecDeque::new(), None);
        }
        self.alarm = None;
        if self.stopped.is_some() {
            return (VecDeque::new(), None);
        }
        let late = |waiter: &Waiter| waiter.until <= alarm;
        let (late, rest) = std::mem::take(&mut self.waiters).into_iter().partition(late);
        self.waiters = rest;
        (late, self.due_alarm())
    }
}

impl Pool {
    /// Takes a place at the queue's end.
    pub(super) fn queue_up(
        self: &Arc<Self>,
        inner: &mut Inner,
        since: Instant,
        patience: Duration,
    ) -> Granted {
        let (grant, granted) = oneshot::channel();
        let until = since + patience;
        if !self.may_hand_out() {
            inner.queue.stop_clock(since);
        }
        inner.queue.waiters.push_back(Waiter { grant, since, until, patience });
        if let Some(alarm) = inner.queue.arm(until) {
            self.ring_at(alarm);
        }
        granted
    }

    /// Sees to it that those who wait now are told when they have waited too long.
    pub(super) fn watch_deadlines(self: &Arc<Self>, inner: &mut Inner) {
        if let Some(alarm) = inner.queue.due_alarm() {
            self.ring_at(alarm);
        }
    }

    fn ring_at(self: &Arc<Self>, first: Instant) {
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            let mut next = Some(first);
            while let Some(alarm) = next {
                tokio::time::sleep_until(alarm.into()).await;
                let late;
                (late, next) = pool.inner().queue.ring(alarm);
                for waiter in late {
                    let why = format!("none became free within {:?}", waiter.patience);
                    waiter.refuse(pool.full(&why));
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn join(queue: &mut Queue, since: Instant, patience: Duration) -> Granted {
        let (grant, granted) = oneshot::channel();
        queue.waiters.push_back(Waiter { grant, since, until: since + patience, patience });
        granted
    }

    #[test]
    fn one_timer_serves_all_who_wait() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let _first = join(&mut queue, start, PATIENCE);
        assert_eq!(queue.due_alarm(), Some(start + PATIENCE));
        let _second = join(&mut queue, start + Duration::from_secs(1), PATIENCE);
        assert_eq!(queue.due_alarm(), None, "the timer that runs rings first");
        let (late, next) = queue.ring(start + PATIENCE);
        assert_eq!((late.len(), next), (1, Some(start + Duration::from_secs(1) + PATIENCE)));
    }

    #[test]
    fn a_shorter_patience_arms_an_earlier_timer_and_the_later_one_is_ignored() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let _patient = join(&mut queue, start, PATIENCE);
        queue.due_alarm();
        let _hasty = join(&mut queue, start, PATIENCE / 2);
        assert_eq!(queue.due_alarm(), Some(start + PATIENCE / 2));
        let (late, next) = queue.ring(start + PATIENCE / 2);
        assert_eq!((late.len(), next), (1, Some(start + PATIENCE)));
        assert_eq!(queue.ring(start + PATIENCE * 2).0.len(), 0, "that timer is not the one that counts");
    }

    #[test]
    fn a_pause_does_not_count() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let _before = join(&mut queue, start, PATIENCE);
        let alarm = queue.due_alarm().unwrap();
        queue.stop_clock(start + PATIENCE / 3);
        let _meanwhile = join(&mut queue, start + PATIENCE / 2, PATIENCE);
        assert_eq!((queue.ring(alarm).0.len(), queue.due_alarm()), (0, None));
        queue.start_clock(start + PATIENCE);
        let until = |waiter: &Waiter| waiter.until - start;
        let deadlines: Vec<_> = queue.waiters.iter().map(until).collect();
        assert_eq!(deadlines, [PATIENCE + PATIENCE * 2 / 3, PATIENCE * 2]);
        assert_eq!(queue.due_alarm(), Some(start + deadlines[0]));
    }
}
