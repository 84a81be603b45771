//! The time between tries: it doubles, and begins anew after a long time without any.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    delay: Duration,
    due: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest: longest.max(first), delay: first, due: None }
    }

    /// How long to wait now.
    pub(crate) fn next(&mut self, now: Instant) -> Duration {
        let quiet = self.due.is_none_or(|due| now.saturating_duration_since(due) > self.longest);
        self.delay = if quiet { self.first } else { (self.delay * 2).min(self.longest) };
        self.due = Some(now + self.delay);
        self.delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_to_its_bound_and_forgets() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(350));
        let mut now = Instant::now();
        let mut delays = vec![];
        for _ in 0..4 {
            delays.push(backoff.next(now));
            now += delays[delays.len() - 1] + ms(10);
        }
        assert_eq!(delays, [ms(100), ms(200), ms(350), ms(350)]);
        assert_eq!(backoff.next(now + ms(400)), ms(100));
    }
}
