//! Whether a database's connections are handed out: closed by PAUSE, opened by RESUME.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A gate, open at first.
#[derive(Debug, Default)]
pub struct Gate {
    closed: AtomicBool,
    changed: Notify,
}

impl Gate {
    /// Whether nothing is handed out.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Hands out nothing from now on; false if that was so already.
    pub fn close(&self) -> bool {
        self.set(true)
    }

    /// Hands out again; false if that was so already.
    pub fn open(&self) -> bool {
        self.set(false)
    }

    fn set(&self, closed: bool) -> bool {
        let changed = self.closed.swap(closed, Ordering::AcqRel) != closed;
        self.changed.notify_waiters();
        changed
    }

    /// Waits until it is closed, or open.
    pub async fn becomes(&self, closed: bool) {
        loop {
            let changed = self.changed.notified();
            if self.is_closed() == closed {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_hears_of_each_change() {
        let gate = Arc::new(Gate::default());
        gate.becomes(false).await;
        let waiting = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move {
                gate.becomes(true).await;
                gate.becomes(false).await;
            }
        });
        tokio::task::yield_now().await;
        assert!(gate.close() && !gate.close());
        tokio::task::yield_now().await;
        assert!(gate.open() && !gate.open());
        waiting.await.unwrap();
    }
}
