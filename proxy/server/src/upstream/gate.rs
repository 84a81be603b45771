//! Whether a database's connections are handed out: closed by PAUSE, opened by RESUME.

use std::sync::atomic::{AtomicBool, Ordering};

/// A gate, open at first.
#[derive(Debug, Default)]
pub struct Gate(AtomicBool);

impl Gate {
    /// Whether nothing is handed out.
    pub fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Hands out nothing from now on; false if that was so already.
    pub fn close(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Hands out again; false if that was so already.
    pub fn open(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}
