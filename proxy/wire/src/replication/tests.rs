//! Messages as PostgreSQL 15 sends them, and anything else.

use proptest::prelude::*;

use super::*;

/// A message from its parts.
fn bytes(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn tuple(columns: &[Option<&str>]) -> Vec<u8> {
    let mut out = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
    for column in columns {
        match column {
            None => out.push(b'n'),
            Some(text) => {
                out.push(b't');
                out.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                out.extend(text.as_bytes());
            }
        }
    }
    out
}

fn texts<'a>(tuple: &Tuple<'a>) -> Vec<Option<&'a [u8]>> {
    let text = |column| match column {
        TupleColumn::Value(text) => Some(text),
        TupleColumn::Null | TupleColumn::Unchanged => None,
    };
    tuple.columns().map(text).collect()
}

#[test]
fn pieces_and_keepalives_are_told_apart() {
    let data = bytes(&[b"w", &7u64.to_be_bytes(), &9u64.to_be_bytes(), &[0; 8], b"payload"]);
    assert_eq!(
        FromSender::decode(&data).unwrap(),
        FromSender::Data { start: 7, end: 9, payload: b"payload" }
    );
    let keepalive = bytes(&[b"k", &9u64.to_be_bytes(), &[0; 8], &[1]]);
    assert_eq!(FromSender::decode(&keepalive).unwrap(), FromSender::Keepalive { end: 9, reply: true });
    assert_eq!(FromSender::decode(b"x"), Err(WireError::BackendType(b'x')));
    assert!(FromSender::decode(b"").is_err());
}

#[test]
fn a_status_says_three_times_what_is_done_with() {
    let mut out = BytesMut::new();
    StandbyStatus { flushed: 5, now_micros: EPOCH_MICROS + 3, ask: true }.encode(&mut out);
    let position = 5u64.to_be_bytes();
    assert_eq!(out[..], bytes(&[b"r", &position, &position, &position, &3i64.to_be_bytes(), &[1]]));
}

#[test]
fn a_transaction_begins_and_ends() {
    let begin = bytes(&[b"B", &70u64.to_be_bytes(), &[0; 8], &733u32.to_be_bytes()]);
    assert_eq!(Change::decode(&begin).unwrap(), Change::Begin { commit: 70, xid: 733 });
    let commit = bytes(&[b"C", &[0], &70u64.to_be_bytes(), &80u64.to_be_bytes(), &[0; 8]]);
    assert_eq!(Change::decode(&commit).unwrap(), Change::Commit { commit: 70, end: 80 });
}

#[test]
fn a_relation_names_its_key() {
    let column =
        |flags: u8, name: &[u8], oid: u32| bytes(&[&[flags], name, b"\0", &oid.to_be_bytes(), &[255; 4]]);
    let message = bytes(&[
        b"R",
        &16_384u32.to_be_bytes(),
        b"public\0agents\0d",
        &2u16.to_be_bytes(),
        &column(1, b"id", 20),
        &column(0, b"name", 25),
    ]);
    let Change::Relation(relation) = Change::decode(&message).unwrap() else { panic!("a relation") };
    assert_eq!((relation.oid, relation.schema, relation.name), (16_384, "public", "agents"));
    assert_eq!(relation.identity, Identity::Default);
    assert_eq!(relation.columns[0], Column { key: true, name: "id", type_oid: 20 });
    assert!(!relation.columns[1].key);
}

#[test]
fn rows_come_with_what_was_there_before() {
    let oid = 9u32.to_be_bytes();
    let insert = bytes(&[b"I", &oid, b"N", &tuple(&[Some("1"), None])]);
    let Change::Insert { relation: 9, new } = Change::decode(&insert).unwrap() else { panic!("an insert") };
    assert_eq!(texts(&new), [Some(&b"1"[..]), None]);
    assert_eq!(new.column(1), Some(TupleColumn::Null));
    assert_eq!(new.column(2), None);

    let update = bytes(&[b"U", &oid, b"N", &tuple(&[Some("1")])]);
    assert!(matches!(Change::decode(&update).unwrap(), Change::Update { relation: 9, old: None, .. }));
    let update = bytes(&[b"U", &oid, b"K", &tuple(&[Some("1")]), b"N", &tuple(&[Some("2")])]);
    let Change::Update { old: Some(old @ Old::Key(_)), new, .. } = Change::decode(&update).unwrap() else {
        panic!("an update with its old key")
    };
    assert_eq!((texts(&old.tuple()), texts(&new)), (vec![Some(&b"1"[..])], vec![Some(&b"2"[..])]));

    let delete = bytes(&[b"D", &oid, b"O", &tuple(&[Some("1")])]);
    assert!(matches!(Change::decode(&delete).unwrap(), Change::Delete { relation: 9, old: Old::Row(_) }));
    let truncate = bytes(&[b"T", &2u32.to_be_bytes(), &[1], &oid, &oid]);
    assert_eq!(Change::decode(&truncate).unwrap(), Change::Truncate { relations: vec![9, 9] });
}

#[test]
fn a_message_says_whether_it_belongs_to_the_transaction() {
    let message = bytes(&[b"M", &[1], &[0; 8], b"pointsman\0", &3u32.to_be_bytes(), b"ddl"]);
    let expected = Change::Message { transactional: true, prefix: "pointsman", content: b"ddl" };
    assert_eq!(Change::decode(&message).unwrap(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn nothing_panics_and_nothing_is_read_past_the_end(
        tag in prop::sample::select(b"BCRIUDTMYOwkx".to_vec()),
        body in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let message = bytes(&[&[tag], &body]);
        let _any = FromSender::decode(&message);
        if let Ok(Change::Insert { new, .. }) = Change::decode(&message) {
            prop_assert!(new.columns().count() <= body.len());
        }
    }
}

#[test]
fn a_truncated_update_is_an_error() {
    let (old, new) = (tuple(&[Some("1")]), tuple(&[Some("22"), None]));
    let whole = bytes(&[b"U", &9u32.to_be_bytes(), b"K", &old, b"N", &new]);
    assert!(Change::decode(&whole).is_ok());
    for cut in 0..whole.len() {
        assert!(Change::decode(&whole[..cut]).is_err(), "cut at {cut}");
    }
}
