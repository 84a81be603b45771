//! A pool whose gate is closed: time stands still for those who wait, and what comes back is closed.

use std::sync::Arc;
use std::time::Instant;

use super::Pool;

impl Pool {
    pub(super) fn may_hand_out(&self) -> bool {
        !self.gate.is_closed()
    }

    /// The gate was closed: what is idle is closed, as what comes back is until it opens.
    pub fn pause(&self) {
        if !self.may_hand_out() {
            self.inner().queue.stop_clock(Instant::now());
            self.close_idle();
        }
    }

    /// The gate was opened: whoever waits gets a connection.
    pub fn resume(self: &Arc<Self>) {
        let waited_for = || {
            let mut inner = self.inner();
            if inner.queue.is_empty() { None } else { inner.idle.pop() }
        };
        while let Some(connection) = waited_for() {
            self.hand_over(connection);
        }
        let config = self.config();
        let mut inner = self.inner();
        inner.queue.drop_leavers();
        inner.queue.start_clock(Instant::now());
        self.watch_deadlines(&mut inner);
        self.open_for_waiters(&mut inner, &config);
    }
}
