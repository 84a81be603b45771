//! A statement that runs longer than a rule lets it is cancelled, as `statement_timeout` would cancel it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use super::Session;
use super::cancel::cancel_in_background;
use crate::fault::Fault;

/// SQLSTATE of a statement that was cancelled.
pub(super) const CANCELLED: &str = "57014";

/// The time that what is under way may take.
#[derive(Debug, Default)]
pub(super) struct Overrun {
    /// The shortest time that a rule allows of what is about to be sent, and the rule, if it is known here.
    due: Option<(Duration, Option<usize>)>,
    /// Nothing while no rule sets a time: most sessions never take the room for a timer.
    running: Option<Box<Running>>,
    /// The cancel was sent: the rule, and the time that it allows.
    over: Option<(Option<usize>, Duration)>,
    /// A cancel may still be on its way to the connection held.
    cancelling: bool,
}

#[derive(Debug)]
struct Running {
    timer: Pin<Box<Sleep>>,
    rule: Option<usize>,
    limit: Duration,
}

impl Overrun {
    /// Ready when the time is up.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.running {
            Some(running) => running.timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// What is about to be sent may take this long by a rule, and no longer. Of a part of a statement, another session knows the rule.
    pub fn allow(&mut self, limit: Duration, rule: Option<usize>) {
        self.due = Some(self.due.map_or((limit, rule), |due| due.min((limit, rule))));
    }

    /// What was about to be sent is not.
    pub fn forget(&mut self) {
        self.due = None;
    }

    /// Everything that was under way has been answered.
    pub fn disarm(&mut self) {
        self.running = None;
        self.over = None;
    }
}

impl Session {
    /// What was admitted is sent: its time begins.
    pub(super) fn limit_time(&mut self) {
        let Some((limit, rule)) = self.flow.overrun.due.take() else { return };
        let timer = Box::pin(tokio::time::sleep(limit));
        let sooner = |running: &Running| running.timer.deadline() <= timer.deadline();
        if !self.flow.overrun.running.as_deref().is_some_and(sooner) {
            self.flow.overrun.running = Some(Box::new(Running { timer, rule, limit }));
        }
    }

    /// The time is up: the server is asked to cancel what it does.
    pub(super) fn cancel_overrun(&mut self) {
        let Some(running) = self.flow.overrun.running.take() else { return };
        let Some(held) = self.held.as_mut().filter(|_| !self.owed.is_empty()) else { return };
        self.flow.overrun.over = Some((running.rule, running.limit));
        self.flow.overrun.cancelling = true;
        if let Some(counts) = running.rule.and_then(|rule| self.steering.policies().counts(rule)) {
            counts.timed_out.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        cancel_in_background(&held.lease.connection().cancel);
    }

    /// What the client hears in place of the server's word for a cancel that was ours.
    pub(super) fn overrun_told(&mut self, sqlstate: &str) -> Option<Vec<u8>> {
        let (rule, limit) = self.flow.overrun.over.filter(|_| sqlstate == CANCELLED)?;
        let rule = self.steering.policies().set.rules().get(rule?)?;
        let fault = Fault::pointsman("57014", "canceling statement due to statement timeout")
            .hint(format!("Rule {rule} allows it {limit:?}."));
        Some(fault.encode("ERROR").to_vec())
    }

    /// A cancel of ours must not meet the next statement on the connection held.
    pub(super) async fn await_cancelled(&mut self) {
        if !std::mem::take(&mut self.flow.overrun.cancelling) {
            return;
        }
        if let Some(held) = &mut self.held {
            let target = std::sync::Arc::clone(&held.lease.connection().cancel);
            target.released().await;
        }
    }
}
