//! Each function's shards.

use super::*;

fn int(value: i64) -> Key<'static> {
    Key::Int(value)
}

fn text(value: &str) -> Key<'static> {
    Key::Text(value.as_bytes().to_vec().into())
}

fn range(from: Option<i64>, to: Option<i64>, shard: usize) -> Range {
    Range { from: from.map(Key::Int), to: to.map(Key::Int), shard }
}

fn ranges() -> Function {
    let list = vec![range(Some(100), Some(200), 1), range(None, Some(0), 2), range(Some(200), None, 0)];
    Function::Range(Ranges::new(list).unwrap())
}

#[test]
fn modulo_is_never_negative() {
    for (key, shard) in [(0, 0), (5, 1), (7, 3), (-1, 3), (-4, 0), (i64::MIN, 0), (i64::MAX, 3)] {
        assert_eq!(Function::Modulo.shard(&[int(key)], 4), Ok(shard), "{key}");
    }
    assert_eq!(Function::Modulo.shard(&[Key::Null], 4), Err(KeyError::Null));
    let wrong = Function::Modulo.shard(&[text("a")], 4).unwrap_err();
    assert_eq!(wrong.to_string(), "the shard function `modulo` does not take the key 'a'");
    assert!(Function::Modulo.shard(&[int(1), int(2)], 4).is_err());
}

#[test]
fn hash_passes_nulls_over() {
    assert_eq!(Function::Hash.shard(&[Key::Null], 4), Ok(0));
    assert_eq!(
        Function::Hash.shard(&[Key::Null, int(42)], 7),
        Function::Hash.shard(&[int(42), Key::Null], 7)
    );
    assert_eq!(Function::Hash.shard(&[int(42)], 9973), Ok(1991));
}

#[test]
fn ranges_include_their_first_value_and_not_their_last() {
    let function = ranges();
    for (key, shard) in [(-1, 2), (i64::MIN, 2), (100, 1), (199, 1), (200, 0), (i64::MAX, 0)] {
        assert_eq!(function.shard(&[int(key)], 3), Ok(shard), "{key}");
    }
    for key in [0, 50, 99] {
        assert_eq!(function.shard(&[int(key)], 3), Err(KeyError::NoShard(key.to_string().into())));
    }
    assert!(matches!(function.shard(&[int(-5)], 2), Err(KeyError::NotThere { shard: 2, shards: 2, .. })));
    assert!(matches!(function.shard(&[text("5")], 3), Err(KeyError::Type { .. })));
    assert_eq!(function.shard(&[Key::Null], 3), Err(KeyError::Null));
    let Function::Range(ranges) = &function else { panic!() };
    assert_eq!(ranges.gaps().collect::<Vec<_>>(), [(Some(&int(0)), Some(&int(100)))]);
}

#[test]
fn wrong_ranges_are_told() {
    let wrong = |list: Vec<Range>| Ranges::new(list).unwrap_err();
    assert_eq!(wrong(vec![range(Some(1), Some(1), 0)]), [RangeError::Empty(0)]);
    let list = vec![range(Some(10), None, 0), range(Some(0), Some(11), 1)];
    assert_eq!(wrong(list), [RangeError::Overlap(0, 1)]);
    assert_eq!(wrong(vec![range(None, None, 0), range(Some(3), Some(5), 1)]), [RangeError::Overlap(0, 1)]);
    assert_eq!(wrong(vec![range(None, Some(1), 0), range(None, Some(2), 0)]), [RangeError::Overlap(0, 1)]);
    let mixed = Range { from: Some(text("a")), to: None, shard: 0 };
    assert_eq!(wrong(vec![range(None, Some(1), 0), mixed]), [RangeError::Type(1)]);
}

#[test]
fn ranges_between_bounds() {
    let function = ranges();
    let between = |low: Option<(i64, bool)>, high: Option<(i64, bool)>| {
        let (low, high) = (low.map(|(key, open)| (int(key), open)), high.map(|(key, open)| (int(key), open)));
        let low = low.as_ref().map(|(key, included)| (key, *included));
        let high = high.as_ref().map(|(key, included)| (key, *included));
        function.shards_between(low, high, 3).iter().collect::<Vec<_>>()
    };
    assert_eq!(between(None, None), [0, 1, 2]);
    assert_eq!(between(Some((150, true)), Some((160, true))), [1]);
    assert_eq!(between(Some((150, true)), Some((200, true))), [0, 1]);
    assert_eq!(between(Some((150, true)), Some((200, false))), [1]);
    assert_eq!(between(Some((0, true)), Some((99, true))), Vec::<usize>::new());
    assert_eq!(between(Some((160, true)), Some((150, true))), Vec::<usize>::new());
    assert_eq!(between(Some((150, true)), Some((150, false))), Vec::<usize>::new());
    assert_eq!(between(Some((200, true)), None), [0]);
    assert_eq!(between(None, Some((100, false))), [2]);
    assert_eq!(Function::Modulo.shards_between(None, None, 3), ShardSet::all(3));
    let other = text("a");
    assert_eq!(function.shards_between(Some((&other, true)), None, 3), ShardSet::all(3));
}

/// Every key between two bounds is on one of the shards that are said.
#[test]
fn between_leaves_no_key_out() {
    let function = ranges();
    for low in (-20..260).step_by(7) {
        for high in (low..260).step_by(5) {
            let set = function.shards_between(Some((&int(low), true)), Some((&int(high), true)), 3);
            let each: ShardSet = (low..=high).filter_map(|key| function.shard(&[int(key)], 3).ok()).collect();
            assert_eq!(set, each, "{low}..={high}");
        }
    }
}

#[test]
fn lists_have_a_default_or_none() {
    let listed = [(text("de"), 0), (text("at"), 0), (text("fr"), 1)];
    let strict = Function::List(List::new(&listed, None).unwrap());
    let open = Function::List(List::new(&listed, Some(2)).unwrap());
    assert_eq!(strict.shard(&[text("fr")], 3), Ok(1));
    assert_eq!(strict.shard(&[text("es")], 3), Err(KeyError::NoShard("'es'".into())));
    assert_eq!(strict.shard(&[Key::Null], 3), Err(KeyError::Null));
    assert_eq!(open.shard(&[text("es")], 3), Ok(2));
    assert_eq!(open.shard(&[Key::Null], 3), Ok(2));
    assert!(matches!(open.shard(&[int(1)], 3), Err(KeyError::Type { .. })));
    assert_eq!((strict.highest(), open.highest(), ranges().highest()), (Some(1), Some(2), Some(2)));
    let twice = [(int(1), 0), (int(2), 0), (int(1), 1), (text("a"), 1)];
    assert_eq!(List::new(&twice, None).unwrap_err(), [ListError::Twice(0, 2), ListError::Type(3)]);
}

/// The construction is the same everywhere: these shards were written down once.
#[test]
fn a_ring_is_the_same_everywhere() {
    let ring = Function::Ring(Ring::new(64));
    let shards: Vec<usize> = (0..16).map(|key| ring.shard(&[int(key)], 4).unwrap()).collect();
    assert_eq!(shards, RING_OF_64);
    assert_eq!(ring, Function::Ring(Ring::new(64)));
    assert_ne!(ring, Function::Ring(Ring::new(65)));
    assert_eq!(ring.shard(&[Key::Null], 4), Err(KeyError::Null));
}

const RING_OF_64: [usize; 16] = [3, 2, 0, 2, 3, 2, 1, 0, 1, 2, 0, 1, 3, 2, 1, 0];

#[test]
fn a_new_shard_takes_its_share_and_no_more_moves() {
    let ring = Function::Ring(Ring::new(POINTS_DEFAULT));
    let keys = 100_000_i64;
    for shards in [1, 3, 4, 7] {
        let mut counts = vec![0_i64; shards + 1];
        let mut moved = 0;
        for key in 0..keys {
            let before = ring.shard(&[int(key)], shards).unwrap();
            let after = ring.shard(&[int(key)], shards + 1).unwrap();
            assert!(before == after || after == shards, "{key} moves from {before} to {after}");
            moved += i64::from(before != after);
            counts[after] += 1;
        }
        let share = keys / i64::try_from(shards + 1).unwrap();
        assert!((moved - share).abs() < share / 5, "{shards}: {moved} of {keys} move");
        assert!(counts.iter().all(|count| (count - share).abs() < share / 5), "{shards}: {counts:?}");
    }
}
