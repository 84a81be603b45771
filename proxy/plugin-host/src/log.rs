//! Lines that plugins log: bounded in rate and length.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Lines a second, in the long run.
const LINES_PER_SECOND: f64 = 20.0;

/// Lines at once.
const BURST: f64 = 100.0;

/// Bytes of a line.
const LINE_BYTES_MAX: usize = 1024;

/// How many lines may be written now, and how many were not.
#[derive(Debug)]
pub(crate) struct LogLimit(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    lines: f64,
    at: Instant,
    dropped: u64,
}

impl LogLimit {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Bucket { lines: BURST, at: Instant::now(), dropped: 0 }))
    }

    /// Whether a line may be written; if so, how many before it were not.
    pub(crate) fn take(&self) -> Option<u64> {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let gained = now.duration_since(bucket.at).as_secs_f64() * LINES_PER_SECOND;
        bucket.at = now;
        bucket.lines = (bucket.lines + gained).min(BURST);
        if bucket.lines < 1.0 {
            bucket.dropped += 1;
            return None;
        }
        bucket.lines -= 1.0;
        Some(std::mem::take(&mut bucket.dropped))
    }
}

/// A line that does not break the log: cut, and without control characters.
pub(crate) fn line(message: &str) -> String {
    let cut = message.floor_char_boundary(LINE_BYTES_MAX);
    message[..cut].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_off_and_counted() {
        let limit = LogLimit::new();
        let written = (0..10_000).filter(|_| limit.take().is_some()).count();
        assert!((100..=200).contains(&written), "{written}");
        assert_eq!(line("a\nb\u{1b}[31m"), "a b [31m");
        assert_eq!(line(&"ä".repeat(1000)).len(), 1024);
    }
}
