//! Round trips; and every way in which bytes may be wrong is an error, not a panic and not an entry.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const KEY: &[u8] = b"a key";
const BODY_MAX: usize = 1 << 20;

fn portable() -> impl Strategy<Value = Portable> {
    let part = || vec(prop_oneof![Just(b'a'), any::<u8>()], 0..200);
    let optional = || proptest::option::of(part().prop_map(Bytes::from));
    let parts = (optional(), optional(), part());
    let numbers = any::<[u64; 5]>();
    let scope = prop_oneof![Just(Scope::Role), Just(Scope::User), Just(Scope::Shared)];
    let tags = vec((any::<u64>(), any::<u64>()), 0..6);
    (numbers, scope, tags, parts).prop_map(|(numbers, scope, tags, (parameters, description, rows))| {
        let [created_unix, ttl, stale_while_revalidate, position, era] = numbers;
        Portable {
            created_unix,
            lifetime: Lifetime { ttl, stale_while_revalidate },
            scope,
            position: Lsn(position),
            era: Era(era),
            tags: tags.into_iter().map(|(tag, generation)| (Tag::from_number(tag), generation)).collect(),
            parts: Parts { parameters, description, rows: rows.into() },
        }
    })
}

fn written(entry: &Portable, compress_from: usize) -> Vec<u8> {
    encode(entry, KEY, compress_from).expect("small parts")
}

fn read(bytes: Vec<u8>) -> Result<Portable, Unreadable> {
    decode(&Bytes::from(bytes), KEY, BODY_MAX)
}

/// With its checksum made right again, as only a fault of ours would write it.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= CHECKED_FROM {
        let sum = checksum(&bytes);
        bytes[8..CHECKED_FROM].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn what_is_written_is_read(entry in portable(), compress_from in 0_usize..500) {
        prop_assert_eq!(read(written(&entry, compress_from)), Ok(entry));
    }

    #[test]
    fn garbage_is_no_entry(bytes in vec(any::<u8>(), 0..300), headed in any::<bool>()) {
        let mut bytes = bytes;
        if headed && bytes.len() > 8 {
            bytes[..4].copy_from_slice(&MAGIC);
            bytes[4] = VERSION;
        }
        prop_assert!(read(bytes.clone()).is_err());
        // With a right checksum every later check is reached; whatever is read, nothing panics.
        if headed {
            drop(read(resealed(bytes)));
        }
    }

    #[test]
    fn any_change_is_noticed(entry in portable(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = written(&entry, 100);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(read(bytes.clone()).is_err());
        drop(read(resealed(bytes)));
    }
}

#[test]
fn any_other_length_is_an_error() {
    let parts = Parts {
        parameters: Some(Bytes::from_static(b"t")),
        description: None,
        rows: Bytes::from(vec![b'r'; 600]),
    };
    let entry = Portable {
        created_unix: 1,
        lifetime: Lifetime { ttl: 2, stale_while_revalidate: 3 },
        scope: Scope::User,
        position: Lsn(4),
        era: Era(5),
        tags: vec![(Tag::named(b"app", b"feed:1"), 6); 3],
        parts,
    };
    for compress_from in [0, usize::MAX] {
        let whole = written(&entry, compress_from);
        assert_eq!(read(whole.clone()), Ok(entry.clone()));
        for length in 0..whole.len() {
            assert!(read(whole[..length].to_vec()).is_err(), "{length}");
            assert!(read(resealed(whole[..length].to_vec())).is_err(), "{length} with a checksum");
        }
        let longer = resealed([whole, vec![0]].concat());
        assert!(read(longer).is_err());
    }
}

#[test]
fn each_mistake_has_its_name() {
    let entry = Portable {
        created_unix: 0,
        lifetime: Lifetime::default(),
        scope: Scope::Role,
        position: Lsn(0),
        era: Era(0),
        tags: vec![],
        parts: Parts { rows: Bytes::from(vec![b'r'; 5000]), ..Parts::default() },
    };
    let plain = written(&entry, usize::MAX);
    let packed = written(&entry, COMPRESS_FROM_DEFAULT);
    assert!(packed.len() < plain.len() / 10);
    let changed = |at: usize, to: u8| {
        let mut bytes = plain.clone();
        bytes[at] = to;
        bytes
    };
    assert_eq!(read(changed(0, b'X')), Err(Unreadable::Magic));
    assert_eq!(read(changed(4, VERSION + 1)), Err(Unreadable::Version));
    assert_eq!(read(changed(plain.len() - 1, 0)), Err(Unreadable::Checksum));
    assert_eq!(read(resealed(changed(5, 0x80))), Err(Unreadable::Field));
    assert_eq!(read(resealed(changed(5, COMPRESSED))), Err(Unreadable::Compression));
    assert_eq!(decode(&plain.clone().into(), b"other", BODY_MAX), Err(Unreadable::Key));
    assert_eq!(decode(&plain.into(), KEY, 4999), Err(Unreadable::TooLarge));
    assert_eq!(decode(&packed.into(), KEY, 4999), Err(Unreadable::TooLarge));
}

#[test]
fn tags_are_where_others_look_for_them() {
    let entry = Portable {
        created_unix: 0,
        lifetime: Lifetime::default(),
        scope: Scope::Role,
        position: Lsn(0),
        era: Era(0),
        tags: vec![(Tag::from_number(7), 8), (Tag::from_number(9), 10)],
        parts: Parts::default(),
    };
    let bytes = written(&entry, 0);
    assert_eq!(bytes[..HEAD.len()], HEAD);
    assert_eq!(bytes[TAGS_COUNT_AT..TAGS_COUNT_AT + 4], 2_u32.to_le_bytes());
    let numbers: Vec<u8> = [7_u64, 8, 9, 10].iter().flat_map(|number| number.to_le_bytes()).collect();
    assert_eq!(bytes[TAGS_AT..TAGS_AT + 32], numbers);
}
