//! Leaders and followers, on one thread with a counting waker and on many with a parking one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use std::thread::Thread;

use super::*;
use crate::entry::{About, Lifetime, Millis, Parts};
use pointsman_policy::Scope;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread.
fn wait(mut follower: Follower) -> Option<Arc<Entry>> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match Pin::new(&mut follower).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(entry) => return entry,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn entry(stamp: u64) -> Arc<Entry> {
    let about = About {
        stamp: Seq(stamp),
        tags: &[],
        created: Millis(0),
        as_of: Millis(0),
        lifetime: Lifetime::default(),
        scope: Scope::Role,
    };
    Entry::new(Key::new(b"one"), Parts::default(), about)
}

fn lead(flights: &Arc<Flights>, now: u64, own: u64) -> Leader {
    match flights.join(Key::new(b"one"), Seq(now), Seq(own), |_| true) {
        Join::Lead(leader) => leader,
        Join::Follow(_) => panic!("a flight was joined"),
    }
}

fn follow(flights: &Arc<Flights>) -> Follower {
    match flights.join(Key::new(b"one"), Seq(9), Seq(0), |_| true) {
        Join::Follow(follower) => follower,
        Join::Lead(_) => panic!("no flight was joined"),
    }
}

#[test]
fn followers_get_the_leaders_entry() {
    let flights = Flights::new();
    let leader = lead(&flights, 1, 0);
    let (mut first, second, gone) = (follow(&flights), follow(&flights), follow(&flights));
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    for _ in 0..3 {
        assert!(Pin::new(&mut first).poll(&mut context).is_pending());
    }
    let mut gone = gone;
    assert!(Pin::new(&mut gone).poll(&mut context).is_pending());
    drop(gone);
    let fetched = entry(1);
    leader.land(Arc::clone(&fetched));
    assert_eq!(count.0.load(Ordering::SeqCst), 1, "each who waits is woken once");
    for follower in [first, second] {
        assert!(wait(follower).is_some_and(|served| Arc::ptr_eq(&served, &fetched)));
    }
    assert!(flights.is_empty());
    drop(lead(&flights, 2, 0));
}

#[test]
fn a_failed_flight_leaves_each_to_itself() {
    let flights = Flights::new();
    let leader = lead(&flights, 1, 0);
    let follower = follow(&flights);
    drop(leader);
    assert!(wait(follower).is_none());
    assert!(flights.is_empty());
}

#[test]
fn whoever_has_written_since_does_not_join() {
    let flights = Flights::new();
    let old = lead(&flights, 5, 0);
    let waiting = follow(&flights);
    let new = lead(&flights, 8, 7);
    let later = follow(&flights);
    assert_eq!(flights.len(), 1);
    // The old leader serves those who joined it, and leaves the new flight alone.
    old.land(entry(5));
    assert_eq!(wait(waiting).map(|served| served.stamp()), Some(Seq(5)));
    assert_eq!(flights.len(), 1);
    new.land(entry(8));
    assert_eq!(wait(later).map(|served| served.stamp()), Some(Seq(8)));
}

#[test]
fn a_flight_that_was_overtaken_is_not_joined() {
    let flights = Flights::new();
    let old = lead(&flights, 5, 0);
    let join = flights.join(Key::new(b"one"), Seq(9), Seq(0), |start| start > Seq(5));
    assert!(matches!(join, Join::Lead(_)));
    drop(old);
    assert_eq!(flights.len(), 1);
}

#[test]
fn many_threads_fetch_once_at_a_time() {
    let (flights, fetching) = (Flights::new(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..500 {
                    match flights.join(Key::new(b"one"), Seq(1), Seq(0), |_| true) {
                        Join::Lead(leader) => {
                            assert_eq!(fetching.fetch_add(1, Ordering::SeqCst), 0);
                            std::thread::yield_now();
                            fetching.fetch_sub(1, Ordering::SeqCst);
                            leader.land(entry(1));
                        }
                        Join::Follow(follower) => assert!(wait(follower).is_some()),
                    }
                }
            });
        }
    });
    assert!(flights.is_empty());
}
