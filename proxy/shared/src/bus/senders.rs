//! Who is on the bus, and whether all that they said was heard. Pure: times are passed in.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::message::{Message, Said};

/// More than a fleet has; beyond, whoever was heard least recently is forgotten, as if it had left without a
/// word.
const SENDERS_MAX: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Sender {
    sequence: u64,
    heard: Instant,
}

#[derive(Debug)]
pub(crate) struct Senders {
    since: Instant,
    silence: Duration,
    known: HashMap<u64, Sender>,
}

impl Senders {
    /// Of a subscription that began now. Others have said things before.
    pub(crate) fn new(now: Instant, silence: Duration) -> Self {
        Self { since: now, silence, known: HashMap::new() }
    }

    /// A message is heard. Whether one before it was not.
    pub(crate) fn heard(&mut self, message: &Message, now: Instant) -> bool {
        // An invalidation's number is its own, all else repeats the last: heard before it must be all up to
        // here.
        let before = message.sequence.saturating_sub(u64::from(message.said.is_invalidation()));
        let missed = match self.known.get(&message.sender) {
            // One that is repeated is one whose answer the sender did not get.
            Some(sender) => before > sender.sequence,
            // Whoever was there when the subscription began was heard soon after; who comes later begins at
            // nothing.
            None => before > 0 && now.duration_since(self.since) > self.silence,
        };
        if message.said == Said::Bye {
            self.known.remove(&message.sender);
            return missed;
        }
        let sequence = self.known.get(&message.sender).map_or(0, |sender| sender.sequence);
        let sequence = sequence.max(message.sequence);
        self.known.insert(message.sender, Sender { sequence, heard: now });
        let crowded = self.known.len() > SENDERS_MAX;
        if crowded && let Some(oldest) = self.known.iter().min_by_key(|(_, s)| s.heard).map(|(id, _)| *id) {
            self.known.remove(&oldest);
        }
        missed || crowded
    }

    /// Forgets whom nobody has heard for too long; whether there was one.
    pub(crate) fn departed(&mut self, now: Instant) -> bool {
        let before = self.known.len();
        self.known.retain(|_, sender| now.duration_since(sender.heard) <= self.silence);
        self.known.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::DatabaseId;

    const SILENCE: Duration = Duration::from_secs(3);

    fn says(sender: u64, sequence: u64, said: Said) -> Message {
        Message { sender, sequence, said }
    }

    fn marks(sender: u64, sequence: u64) -> Message {
        says(sender, sequence, Said::Everything(DatabaseId(1)))
    }

    #[test]
    fn a_number_left_out_is_a_gap_and_one_repeated_is_none() {
        let now = Instant::now();
        let mut senders = Senders::new(now, SILENCE);
        assert!(!senders.heard(&marks(1, 40), now), "said before the subscription");
        assert!(!senders.heard(&marks(1, 41), now));
        assert!(!senders.heard(&marks(1, 41), now));
        assert!(!senders.heard(&says(1, 41, Said::Beat), now));
        assert!(senders.heard(&marks(1, 43), now));
        assert!(!senders.heard(&marks(1, 44), now));
        assert!(senders.heard(&says(1, 45, Said::Beat), now), "the last before the heartbeat");
        assert!(!senders.heard(&marks(1, 42), now), "repeated late");
        assert!(!senders.heard(&marks(1, 46), now), "numbers do not go back");
        assert!(senders.heard(&says(1, 47, Said::Bye), now), "the last before it left");
    }

    #[test]
    fn a_newcomer_begins_at_nothing() {
        let start = Instant::now();
        let mut senders = Senders::new(start, SILENCE);
        let later = start + SILENCE * 2;
        assert!(!senders.heard(&says(2, 0, Said::Beat), later));
        assert!(!senders.heard(&marks(3, 1), later));
        assert!(senders.heard(&marks(4, 2), later));
        assert!(senders.heard(&says(5, 1, Said::Beat), later));
    }

    #[test]
    fn who_falls_silent_has_departed_and_who_says_so_has_not() {
        let start = Instant::now();
        let mut senders = Senders::new(start, SILENCE);
        senders.heard(&says(1, 0, Said::Beat), start);
        senders.heard(&says(2, 0, Said::Beat), start);
        senders.heard(&says(2, 0, Said::Bye), start);
        assert!(!senders.departed(start + SILENCE));
        assert!(senders.departed(start + SILENCE + Duration::from_millis(1)));
        assert!(!senders.departed(start + SILENCE * 2));
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let now = Instant::now();
        let mut senders = Senders::new(now, SILENCE);
        for sender in 0..SENDERS_MAX as u64 {
            assert!(!senders.heard(&says(sender, 0, Said::Beat), now));
        }
        assert!(senders.heard(&says(u64::MAX, 0, Said::Beat), now));
        assert_eq!(senders.known.len(), SENDERS_MAX);
    }
}
