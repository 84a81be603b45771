//! A pool whose gate is closed: time stands still for those who wait, and what comes back is closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;

use super::{Inner, Pool};

impl Inner {
    /// Who has left waits no longer. Usually found out when it is their turn.
    pub(super) fn forget_departed(&mut self) {
        self.waiters.retain(|waiter| !waiter.grant.is_closed());
    }
}

impl Pool {
    /// Waits for the grant, for as long as `left`; while the gate is closed, time stands still. None: too late.
    pub(super) async fn granted<T>(
        &self,
        mut grant: oneshot::Receiver<T>,
        mut left: Duration,
    ) -> Option<Result<T, RecvError>> {
        loop {
            let since = Instant::now();
            tokio::select! {
                biased;
                granted = &mut grant => return Some(granted),
                () = tokio::time::sleep(left) => return None,
                () = self.gate.becomes(true) => left = left.saturating_sub(since.elapsed()),
            }
            tokio::select! {
                granted = &mut grant => return Some(granted),
                () = self.gate.becomes(false) => {}
            }
        }
    }

    pub(super) fn may_hand_out(&self) -> bool {
        !self.gate.is_closed()
    }

    /// The gate was closed: what is idle is closed, as what comes back is until it opens.
    pub fn pause(&self) {
        if !self.may_hand_out() {
            self.close_idle();
        }
    }

    /// The gate was opened: whoever waits gets a connection.
    pub fn resume(self: &Arc<Self>) {
        let waited_for = || {
            let mut inner = self.inner();
            if inner.waiters.is_empty() { None } else { inner.idle.pop() }
        };
        while let Some(connection) = waited_for() {
            self.hand_over(connection);
        }
        let config = self.config();
        let mut inner = self.inner();
        inner.forget_departed();
        self.open_for_waiters(&mut inner, &config);
    }
}
