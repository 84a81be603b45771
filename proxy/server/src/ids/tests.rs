//! What may be made, by the clock.

use super::*;

const NOW: u64 = pointsman_shards::ids::EPOCH_MS + 1_000_000;

fn maker(grant: Grant) -> Maker {
    let maker = Maker::new(&ShardedConfig::new("tests".into()), None);
    maker.grant.store(Arc::new(grant));
    maker
}

fn ms(made: Result<i64, Missing>) -> Result<u64, u64> {
    match made {
        Ok(id) => Ok(Parts::of(id).unix_ms),
        Err(Missing::For(ms)) => Err(ms),
        Err(_) => Err(u64::MAX),
    }
}

/// A process that begins in the millisecond in which the one before ended, which was as far ahead as it may be.
#[test]
fn a_set_node_begins_after_what_was_made_before() {
    let made = |now: u64| {
        let maker = maker(Grant::Set(Arc::new(Set::new(5, now).unwrap())));
        let mut last = 0;
        while let Ok(ms) = ms(maker.next(now)) {
            last = last.max(ms);
        }
        for _ in 0..10_000 {
            last = last.max(ms(maker.next(now + 1)).unwrap_or(0));
        }
        let first = (now + 1..now + 10).find_map(|now| {
            ms(self::maker(Grant::Set(Arc::new(Set::new(5, now).unwrap()))).next(now + 1)).ok()
        });
        (last, first.unwrap())
    };
    let (last, next_first) = made(NOW);
    assert!(last <= NOW + 1 + AHEAD_MAX_MS);
    assert!(next_first > last, "{next_first} {last}");
}

#[test]
fn a_lease_ends_where_its_row_says() {
    let maker = maker(Grant::Leased(Leased::new(9, NOW, NOW + 100).unwrap()));
    assert_eq!(ms(maker.next(NOW - 50)), Ok(NOW + 1));
    assert_eq!(ms(maker.next(NOW + 100)), Ok(NOW + 100));
    assert_eq!(ms(maker.next(NOW + 101)), Err(u64::MAX));
    maker.grant.store(Arc::new(Grant::None("lost".into())));
    assert_eq!(ms(maker.next(NOW)), Err(u64::MAX));
}

/// This machine's clock does not matter: the lease is by the store's.
#[test]
fn a_lease_goes_by_its_own_clock() {
    let leased = Leased::new(9, NOW, NOW + 100).unwrap();
    leased.ahead_ms.store(-60_000, Ordering::Release);
    let maker = maker(Grant::Leased(leased));
    assert_eq!(ms(maker.next(NOW + 60_050)), Ok(NOW + 50));
    assert_eq!(ms(maker.next(NOW + 60_101)), Err(u64::MAX));
}

#[test]
fn a_node_that_is_set_has_one_generator() {
    let one = set("one database", 3, NOW).unwrap();
    assert!(Arc::ptr_eq(&one, &set("one database", 3, NOW).unwrap()));
    assert!(!Arc::ptr_eq(&one, &set("another", 3, NOW).unwrap()));
    assert!(set("one database", 1024, NOW).is_none());
}
