//! Sequences by hand, and random ones against a model of the server.
use proptest::prelude::*;

use super::*;

fn pushed(asks: &[Ask]) -> Owed<usize> {
    let mut owed = Owed::default();
    for (index, ask) in asks.iter().enumerate() {
        owed.push(ask.clone(), Deal::Forward, Some(index));
    }
    owed
}

#[test]
fn an_extended_query_settles_in_order() {
    let mut owed = pushed(&[Ask::Parse, Ask::Bind, Ask::DescribePortal, Ask::Execute, Ask::Sync]);
    let mut settled = Vec::new();
    for tag in *b"12TDDCZ" {
        settled.extend(owed.reply(tag).expect("expected").settled.and_then(|entry| entry.effect));
    }
    assert_eq!(settled, [0, 1, 2, 3, 4]);
    assert!(owed.is_empty());
}

#[test]
fn an_error_skips_to_the_next_sync() {
    let mut owed = pushed(&[Ask::Parse, Ask::Bind, Ask::Local(Bytes::new()), Ask::Sync, Ask::Bind]);
    let reply = owed.reply(b'E').expect("expected");
    assert_eq!(reply.skipped.len(), 3);
    assert!(!owed.is_skipping());
    assert!(owed.reply(b'Z').expect("expected").settled.is_some());
    assert_eq!(owed.reply(b'E').expect("expected").skipped.len(), 1);
    assert!(owed.is_skipping(), "no Sync was sent: the server skips what comes");
    owed.push(Ask::Sync, Deal::Forward, None);
    assert!(!owed.is_skipping());
}

#[test]
fn a_sync_inside_copy_data_is_not_owed() {
    let mut owed = pushed(&[Ask::Bind, Ask::Execute, Ask::Sync]);
    owed.reply(b'2').expect("expected");
    owed.reply(b'G').expect("expected");
    assert_eq!(owed.len(), 1);
    owed.push(Ask::Sync, Deal::Forward, None);
    owed.push(Ask::CopyEnd, Deal::Forward, None);
    owed.push(Ask::Sync, Deal::Forward, None);
    assert_eq!(owed.len(), 2);
    owed.reply(b'C').expect("expected");
    owed.reply(b'Z').expect("expected");
    assert!(owed.is_empty());
}

#[test]
fn copy_data_sent_ahead_of_its_invitation() {
    let mut owed = pushed(&[Ask::Execute, Ask::Sync, Ask::CopyEnd, Ask::Sync]);
    owed.reply(b'G').expect("expected");
    assert!(!owed.is_copying());
    owed.reply(b'C').expect("expected");
    owed.reply(b'Z').expect("expected");
    assert!(owed.is_empty());
}

#[test]
fn what_nobody_asked_for_is_refused() {
    assert_eq!(Owed::<()>::default().reply(b'Z').err(), Some(Unexpected(b'Z')));
    assert_eq!(pushed(&[Ask::Parse]).reply(b'2').err(), Some(Unexpected(b'2')));
    assert!(pushed(&[Ask::Parse]).reply(b'N').is_ok());
}

#[test]
fn a_notification_reaches_the_client_whatever_is_owed() {
    let mut owed = Owed::<()>::default();
    owed.push(Ask::Query, Deal::Swallow, None);
    assert_eq!(owed.reply(b'A').expect("expected").deal, Deal::Forward);
    assert_eq!(owed.reply(b'N').expect("expected").deal, Deal::Swallow);
}

#[test]
fn after_an_extended_error_only_a_sync_counts() {
    let mut owed = pushed(&[Ask::Bind, Ask::Query, Ask::FunctionCall, Ask::Sync, Ask::Query]);
    let skipped = owed.reply(b'E').expect("expected").skipped;
    assert_eq!(skipped.iter().filter_map(|entry| entry.effect).collect::<Vec<_>>(), [0, 1, 2]);
    owed.reply(b'Z').expect("the Sync's");
    owed.reply(b'E').expect("the query's own error");
    assert!(!owed.is_skipping(), "a simple query that fails is followed by its ReadyForQuery");
    owed.reply(b'Z').expect("the query's");
    let mut owed = pushed(&[Ask::Parse, Ask::Query]);
    owed.reply(b'E').expect("expected");
    assert!(owed.is_skipping(), "the query is ignored, and what follows it");
}

/// PostgreSQL's main loop: `doing_extended_query_message` and `ignore_till_sync` of `postgres.c`.
#[derive(Default)]
struct Server {
    ignoring: bool,
    inbox: VecDeque<(Ask, bool, usize)>,
}

impl Server {
    /// Serves its next message: the tags of its replies, and the number of the message.
    fn serve(&mut self) -> Option<(Vec<u8>, usize)> {
        let (ask, fails, number) = self.inbox.pop_front()?;
        self.ignoring &= ask != Ask::Sync;
        if self.ignoring {
            return Some((Vec::new(), number));
        }
        let tags: &[u8] = match (&ask, fails) {
            (Ask::Sync, false) => b"Z",
            (Ask::Query, false) => b"TDCZ",
            (Ask::FunctionCall, false) => b"VZ",
            (Ask::Sync | Ask::Query | Ask::FunctionCall, true) => b"EZ",
            (_, true) => b"E",
            (Ask::Parse, _) => b"1",
            (Ask::Bind, _) => b"2",
            (Ask::Close, _) => b"3",
            (Ask::DescribeStatement, _) => b"tT",
            (Ask::DescribePortal, _) => b"n",
            _ => b"DC",
        };
        self.ignoring = tags == b"E";
        Some((tags.to_vec(), number))
    }
}

fn asks() -> impl Strategy<Value = Ask> {
    prop_oneof![
        Just(Ask::Parse),
        Just(Ask::Bind),
        Just(Ask::DescribeStatement),
        Just(Ask::DescribePortal),
        Just(Ask::Execute),
        Just(Ask::Close),
        Just(Ask::Sync),
        Just(Ask::Query),
        Just(Ask::FunctionCall),
    ]
}

/// Gives the queue what the server says to its next message, and notes what becomes of that message.
fn answer(owed: &mut Owed<usize>, server: &mut Server, skipped: &mut Vec<usize>) -> bool {
    let Some((tags, number)) = server.serve() else { return false };
    if tags.is_empty() {
        assert!(skipped.contains(&number), "message {number} was ignored by the server");
    }
    for (place, tag) in tags.iter().enumerate() {
        let head = owed.head().and_then(|head| head.effect);
        assert_eq!(head, Some(number), "the reply finds its question");
        let reply = owed.reply(*tag).expect("a reply that was asked for");
        let noted: Vec<usize> = reply.skipped.iter().filter_map(|entry| entry.effect).collect();
        assert!(noted.first().is_none_or(|first| *first == number));
        skipped.extend(noted);
        if place + 1 == tags.len() && *tag != b'E' {
            assert_eq!(reply.settled.and_then(|entry| entry.effect), Some(number));
        }
    }
    true
}

proptest! {
    /// Whatever is sent, fails and is answered how late: the queue and the server agree on what is ignored.
    #[test]
    fn the_queue_agrees_with_the_server(
        messages in prop::collection::vec((asks(), prop::bool::weighted(0.2), 0_usize..4), 0..40),
    ) {
        let (mut owed, mut server, mut skipped) = (Owed::default(), Server::default(), Vec::new());
        for (number, (ask, fails, served)) in messages.into_iter().enumerate() {
            if owed.is_skipping() && ask != Ask::Sync {
                continue;
            }
            owed.push(ask.clone(), Deal::Forward, Some(number));
            server.inbox.push_back((ask, fails, number));
            for _ in 0..served {
                answer(&mut owed, &mut server, &mut skipped);
            }
        }
        while answer(&mut owed, &mut server, &mut skipped) {}
        prop_assert!(owed.is_empty());
        prop_assert_eq!(owed.is_skipping(), server.ignoring);
    }
}
