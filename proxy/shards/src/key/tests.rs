//! Texts and bytes, and the values that they are; what is left open.

use super::*;

fn read(kind: KeyType, text: &str) -> Option<String> {
    kind.of_text(text.as_bytes()).map(|key| key.to_string())
}

/// Each text with the value that it is, or nothing.
fn check(kind: KeyType, cases: &[(&str, &str)]) {
    for (text, value) in cases {
        let expected = (!value.is_empty()).then(|| (*value).to_owned());
        assert_eq!(read(kind, text), expected, "{kind:?} {text:?}");
    }
}

#[test]
fn integers() {
    check(
        KeyType::Int8,
        &[
            ("42", "42"),
            (" \t+42\n", "42"),
            ("-007", "-7"),
            ("-0", "0"),
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9223372036854775808", ""),
            ("", ""),
            ("-", ""),
            ("- 1", ""),
            ("4.0", ""),
            ("1e3", ""),
            ("0x10", ""),
            ("1_000", ""),
            ("٤", ""),
        ],
    );
    check(KeyType::Int4, &[("2147483647", "2147483647"), ("2147483648", "")]);
    check(KeyType::Int2, &[("-32768", "-32768"), ("32768", "")]);
}

#[test]
fn texts_uuids_and_bytes() {
    check(KeyType::Text, &[("", "''"), (" a ", "' a '"), ("a\0", "")]);
    check(KeyType::Varchar, &[(" a", "' a'"), ("a ", "")]);
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    check(
        KeyType::Uuid,
        &[
            (uuid, uuid),
            ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", uuid),
            ("{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}", uuid),
            ("a0eebc999c0b4ef8bb6d6bb9bd380a11", uuid),
            ("a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", uuid),
            ("{a0eebc999c0b4ef8bb6d6bb9bd380a11", ""),
            (" a0eebc999c0b4ef8bb6d6bb9bd380a11", ""),
            ("a0-eebc999c0b4ef8bb6d6bb9bd380a11", ""),
            ("a0eebc999c0b4ef8bb6d6bb9bd380a1", ""),
            ("a0eebc999c0b4ef8bb6d6bb9bd380a11-", ""),
        ],
    );
    check(
        KeyType::Bytea,
        &[
            ("\\x", "'\\x'"),
            ("\\xDEad Be\nef", "'\\xdeadbeef'"),
            ("\\xd ead", ""),
            ("\\xdea", ""),
            ("a\\\\b\\001\\377", "'\\x615c6201ff'"),
            ("\\400", ""),
            ("\\1", ""),
            ("\\X00", ""),
        ],
    );
}

#[test]
fn dates_and_timestamps() {
    check(
        KeyType::Date,
        &[
            ("2000-01-01", "2000-01-01"),
            (" 2024-02-29 ", "2024-02-29"),
            ("0001-01-01", "0001-01-01"),
            ("Infinity", "infinity"),
            ("-infinity", "-infinity"),
            ("2023-02-29", ""),
            ("2024-13-01", ""),
            ("0000-01-01", ""),
            ("1/2/2020", ""),
            ("20240101", ""),
            ("24-01-01", ""),
            ("2024-01-01 BC", ""),
            ("today", ""),
            ("epoch", ""),
        ],
    );
    check(
        KeyType::Timestamp,
        &[
            ("2024-06-01", "2024-06-01 00:00:00"),
            ("2024-06-01T12:34", "2024-06-01 12:34:00"),
            ("2024-06-01 12:34:56.7", "2024-06-01 12:34:56.700000"),
            ("1999-12-31 23:59:59.999999+07", "1999-12-31 23:59:59.999999"),
            ("infinity", "infinity"),
            ("2024-06-01 12:34:56.1234567", ""),
            ("2024-06-01 24:00", ""),
            ("2024-06-01 12:34:60", ""),
            ("2024-06-01 1:34", ""),
            ("2024-06-01 01:34 PM", ""),
            ("now", ""),
        ],
    );
    check(
        KeyType::TimestampTz,
        &[
            ("2024-06-01 12:34:56Z", "2024-06-01 12:34:56+00"),
            ("2024-06-01 00:30:00+0130", "2024-05-31 23:00:00+00"),
            ("2024-06-01 00:30-11:30", "2024-06-01 12:00:00+00"),
            ("-infinity", "-infinity"),
            ("2024-06-01 12:34:56", ""),
            ("2024-06-01", ""),
            ("2024-06-01 12:34:56 UTC", ""),
            ("2024-06-01 12:34:56+16", ""),
        ],
    );
}

#[test]
fn binary_values_are_of_their_own_type() {
    let int8 = 42_i64.to_be_bytes();
    assert_eq!(KeyType::Int8.of_binary(20, &int8), Some(Key::Int(42)));
    assert_eq!(KeyType::Int2.of_binary(20, &int8), Some(Key::Int(42)));
    assert_eq!(KeyType::Int8.of_binary(0, &42_i32.to_be_bytes()), Some(Key::Int(42)));
    assert_eq!(KeyType::Int8.of_binary(23, &(-1_i32).to_be_bytes()), Some(Key::Int(-1)));
    assert_eq!(KeyType::Int2.of_binary(23, &70_000_i32.to_be_bytes()), None);
    for (kind, oid, bytes) in [
        (KeyType::Int8, 23, &int8[..]),
        (KeyType::Int8, 701, &int8[..]),
        (KeyType::Int8, 1114, &int8[..]),
        (KeyType::Timestamp, 1184, &int8[..]),
        (KeyType::Date, 1082, &int8[..]),
        (KeyType::Uuid, 2950, &int8[..]),
        (KeyType::Text, 1042, b"a"),
        (KeyType::Varchar, 25, b"a "),
    ] {
        assert_eq!(kind.of_binary(oid, bytes), None, "{kind:?} {oid}");
    }
    assert_eq!(KeyType::Text.of_binary(1043, b"a "), Some(Key::Text(b"a ".into())));
    assert_eq!(KeyType::Timestamp.of_binary(1114, &int8), Some(Key::Timestamp(42)));
}

#[test]
fn texts_of_other_types() {
    assert_eq!(KeyType::Int8.of_typed_text(1700, b"42"), Some(Key::Int(42)));
    assert_eq!(KeyType::Int8.of_typed_text(1700, b"42.5"), None);
    for (kind, oid) in [(KeyType::Int8, 701), (KeyType::Int8, 25), (KeyType::Text, 23), (KeyType::Text, 1042)]
    {
        assert_eq!(kind.of_typed_text(oid, b"42"), None, "{kind:?} {oid}");
    }
}

#[test]
fn arrays_in_text() {
    let all = |text: &str| {
        let mut found = Vec::new();
        let known = text_elements(text.as_bytes(), |element| {
            found.push(element.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()));
            true
        });
        known.then_some(found)
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(all("{}"), Some(vec![]));
    assert_eq!(all(" { 1 , NULL,x y } "), Some(vec![some("1"), None, some("x y")]));
    assert_eq!(
        all(r#"{"a,b" ,"say \"hi\"","NULL","","\\"}"#),
        Some(vec![some("a,b"), some("say \"hi\""), some("NULL"), some(""), some("\\")])
    );
    for wrong in [
        "",
        "{",
        "1,2",
        "{1,}",
        "{,1}",
        "{{1},{2}}",
        "[0:1]={1,2}",
        r#"{a"b"}"#,
        r#"{"a"b}"#,
        r"{a\,b}",
        "{\"a}",
        "{1}x",
    ] {
        assert_eq!(all(wrong), None, "{wrong}");
    }
}

fn array(dimensions: &[u32], oid: u32, elements: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(u32::try_from(dimensions.len()).unwrap().to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(oid.to_be_bytes());
    for length in dimensions {
        bytes.extend(length.to_be_bytes());
        bytes.extend(1_u32.to_be_bytes());
    }
    for element in elements {
        match element {
            None => bytes.extend([0xFF; 4]),
            Some(element) => {
                bytes.extend(u32::try_from(element.len()).unwrap().to_be_bytes());
                bytes.extend(*element);
            }
        }
    }
    bytes
}

#[test]
fn arrays_in_binary() {
    let all = |bytes: &[u8]| {
        let mut found = Vec::new();
        binary_elements(bytes, |oid, element| {
            found.push((oid, element.map(<[u8]>::to_vec)));
            true
        })
        .then_some(found)
    };
    assert_eq!(all(&array(&[], 23, &[])), Some(vec![]));
    let one = array(&[2], 25, &[Some(b"a"), None]);
    assert_eq!(all(&one), Some(vec![(25, Some(b"a".to_vec())), (25, None)]));
    let square = array(&[2, 2], 25, &[Some(b"a"), Some(b"b"), Some(b"c"), Some(b"d")]);
    assert_eq!(all(&square).unwrap().len(), 4);
    for end in 0..one.len() {
        assert_eq!(all(&one[..end]), None, "{end}");
    }
    assert_eq!(all(&[&one[..], &[0]].concat()), None);
    assert_eq!(all(&array(&[u32::MAX, u32::MAX], 25, &[])), None);
    assert_eq!(all(&array(&[1; 7], 25, &[Some(b"a")])), None);
}
