//! How the process reaches into a session: drain when idle, stop now.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::fault::Fault;

/// Longest time spent on a client's last message.
pub(super) const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// What a session is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Leave as soon as no transaction is in progress.
    Drain,
    /// Leave now.
    Stop,
}

/// A session's handle: the order it was given, and how to wake it.
#[derive(Debug, Default)]
pub struct Handle {
    /// 0: none, 1: drain, 2: stop. Read at each turn, so that waiting costs nothing.
    order: AtomicU8,
    /// A cancel came that no server was there for.
    cancelled: AtomicBool,
    /// Set once by the session's own task.
    waker: Mutex<Option<Waker>>,
}

impl Handle {
    /// Called by the task that follows the orders, before it waits for the first time.
    pub fn attach(&self, waker: Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
    }

    /// Gives an order.
    pub fn give(&self, order: Order) {
        let number = match order {
            Order::Drain => 1,
            Order::Stop => 2,
        };
        self.order.fetch_max(number, Ordering::AcqRel);
        self.wake();
    }

    /// Cancels what the session waits for, if it waits for something.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether a cancel came since this was asked last.
    pub fn take_cancelled(&self) -> bool {
        self.cancelled.swap(false, Ordering::AcqRel)
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake_by_ref();
        }
    }

    /// Waits for an order, whichever it is. For a task that waits for nothing else through this handle.
    pub async fn ordered(&self) {
        std::future::poll_fn(|cx| {
            self.attach(cx.waker().clone());
            if self.order(true).is_some() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The order to follow now; `Drain` counts only for a session that is `idle`.
    pub(crate) fn order(&self, idle: bool) -> Option<Order> {
        match self.order.load(Ordering::Acquire) {
            0 => None,
            1 => idle.then_some(Order::Drain),
            _ => Some(Order::Stop),
        }
    }
}

/// What PostgreSQL says when it is shut down.
pub(crate) fn shutting_down() -> Fault {
    Fault::pointsman("57P01", "terminating connection due to administrator command")
}

/// What PostgreSQL says of a statement that was cancelled.
pub(crate) fn cancelled() -> Fault {
    Fault::client("57014", "canceling statement due to user request")
}
