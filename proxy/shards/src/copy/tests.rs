//! Any split of a stream gives the same rows, and the rows together are the stream.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::function::Function;
use crate::layout::Sharded;

/// A row: its bytes, its key, its line; the header has no key.
type Seen = (Vec<u8>, Vec<Option<Vec<u8>>>, u64);

fn copy(format: CopyFormat, columns: &[usize], width: usize) -> CopyFrom {
    let sharded = Sharded { keys: Box::default(), function: Arc::new(Function::Modulo), id: None };
    CopyFrom {
        sharded: Arc::new(sharded),
        columns: columns.into(),
        types: columns.iter().map(|_| 25).collect(),
        width,
        format,
    }
}

fn text() -> CopyFormat {
    CopyFormat::Text { delimiter: b'\t', null: Box::from(&b"\\N"[..]) }
}

fn csv(escape: u8, header: bool) -> CopyFormat {
    CopyFormat::Csv {
        delimiter: b',',
        quote: b'"',
        escape,
        null: Box::default(),
        header,
        force_not_null: Box::default(),
        force_null: Box::default(),
    }
}

/// The rows up to the first error.
fn split(copy: &CopyFrom, stream: &[u8], cuts: &[usize], max: usize) -> (Vec<Seen>, Option<CopyError>) {
    let mut splitter = Splitter::new(copy, max);
    let mut seen = Vec::new();
    let mut each = |row: Row<'_>| {
        let keys = if row.header { 0 } else { copy.columns.len() };
        let keys = (0..keys).map(|at| row.key(at).map(Cow::into_owned)).collect();
        seen.push((row.raw.to_vec(), keys, row.line));
        Ok(())
    };
    let (mut rest, mut cuts) = (stream, cuts.iter().cycle());
    let mut result = Ok(());
    while result.is_ok() && !rest.is_empty() {
        let (piece, after) = rest.split_at(cuts.next().copied().unwrap_or(usize::MAX).min(rest.len()));
        rest = after;
        result = splitter.feed(piece, &mut each);
    }
    if result.is_ok() {
        result = splitter.end(&mut each);
    }
    (seen, result.err())
}

fn keys(format: CopyFormat, columns: &[usize], stream: &[u8]) -> Vec<Vec<Option<String>>> {
    let (seen, error) = split(&copy(format, columns, 9), stream, &[1], 1000);
    assert_eq!(error, None);
    let string = |value: Vec<u8>| String::from_utf8(value).unwrap();
    seen.into_iter().map(|(_, keys, _)| keys.into_iter().map(|value| value.map(string)).collect()).collect()
}

fn fault(format: CopyFormat, stream: &[u8]) -> (Fault, u64) {
    let error = split(&copy(format, &[0], 2), stream, &[1], 50).1.expect("an error");
    (error.fault, error.line)
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn text_values() {
    let stream = b"1\ta\\tb\n\\N\t\\\\N\n\\101\\x42\\q\\0\tx\\\ny\n\t\n\\.\nrubbish";
    let found = keys(text(), &[1, 0], stream);
    assert_eq!(found[0], [some("a\tb"), some("1")]);
    assert_eq!(found[1], [some("\\N"), None]);
    assert_eq!(found[2], [some("x\ny"), some("ABq\0")]);
    assert_eq!(found[3], [some(""), some("")]);
    assert_eq!(found.len(), 4);
}

#[test]
fn csv_values() {
    let stream = b"id,\"n\nl\"\r\n\"a\"\"b\nc\",\r\nx\"y,z\"w,\"\"\r\n\\.\r\n";
    let found = keys(csv(b'"', true), &[0, 1], stream);
    assert_eq!(found, [vec![], vec![some("a\"b\nc"), None], vec![some("xy,zw"), some("")]]);
    let found = keys(csv(b'\\', false), &[0], b"\"a\\\"b\\\\\\c\",\n\\.x\n");
    assert_eq!(found, [[some("a\"b\\\\c")], [some("\\.x")]]);
    let mut forced = csv(b'"', false);
    if let CopyFormat::Csv { force_not_null, force_null, .. } = &mut forced {
        (*force_not_null, *force_null) = (Box::new([0]), Box::new([1]));
    }
    assert_eq!(keys(forced, &[0, 1], b",\"\"\n"), [[some(""), None]]);
}

#[test]
fn line_ends_are_those_of_the_first_line() {
    assert_eq!(keys(text(), &[0], b"a\rb\rc"), [[some("a")], [some("b")], [some("c")]]);
    assert_eq!(keys(text(), &[0], b"a\r\nb\r\n\\.\r\n"), [[some("a")], [some("b")]]);
    assert_eq!(fault(text(), b"a\tb\nc\rd"), (Fault::CarriageReturn, 2));
    assert_eq!(fault(text(), b"a\tb\r\nc\n"), (Fault::Newline, 2));
    assert_eq!(fault(text(), b"a\rb\nc"), (Fault::Newline, 2));
    assert_eq!(fault(text(), b"a\r\n\\.\n"), (Fault::Marker, 2));
    assert_eq!(fault(text(), b"a\\.\n"), (Fault::Marker, 1));
}

#[test]
fn what_is_wrong_is_said() {
    assert_eq!(fault(csv(b'"', false), b"a,b\n\"c\nd"), (Fault::Unterminated, 3));
    assert_eq!(fault(csv(b'"', false), b"a\n\\.\nb\n"), (Fault::AfterEnd, 2));
    assert_eq!(fault(text(), &[b'a'; 60]), (Fault::TooLong(50), 1));
    let short = split(&copy(text(), &[3], 4), b"a\tb\tc\td\na\tb\tc\n", &[5], 50).1;
    assert_eq!(short, Some(CopyError { fault: Fault::Short, line: 2 }));
    assert_eq!(short.map(|error| error.sqlstate()), Some("22P04"));
    let single = split(&copy(csv(b'"', false), &[0], 1), b"a\n\\.\n", &[3], 50).1;
    assert_eq!(single, Some(CopyError { fault: Fault::Marker, line: 2 }));
    assert_eq!(fault(CopyFormat::Binary, b"PGCOPX"), (Fault::Signature, 1));
    assert_eq!(fault(CopyFormat::Binary, b""), (Fault::Signature, 1));
    let with = |rows: &[u8]| fault(CopyFormat::Binary, &[BINARY_HEADER, rows].concat());
    assert_eq!(with(b"\0\x01\0\0\0\0"), (Fault::Width(1, 2), 1));
    assert_eq!(with(b"\0\x02\xff\xff\xff\xfe"), (Fault::Size, 1));
    assert_eq!(with(b"\0\x02\0\0\0\x40"), (Fault::TooLong(50), 1));
    assert_eq!(with(b"\0\x02\0\0"), (Fault::Truncated, 1));
    assert_eq!(with(b"\xff\xff\0"), (Fault::AfterEnd, 1));
}

fn binary(rows: &[(Option<Vec<u8>>, Vec<u8>)], extension: &[u8]) -> Vec<u8> {
    let mut out = BINARY_HEADER[..15].to_vec();
    out.extend_from_slice(&u32::try_from(extension.len()).unwrap().to_be_bytes());
    out.extend_from_slice(extension);
    for (key, other) in rows {
        out.extend_from_slice(b"\0\x02");
        for value in [key.as_ref(), Some(other)] {
            out.extend_from_slice(
                &value.map_or(-1, |value| i32::try_from(value.len()).unwrap()).to_be_bytes(),
            );
            out.extend_from_slice(value.map_or(&[], Vec::as_slice));
        }
    }
    out
}

proptest! {
    #[test]
    fn any_split_gives_the_same_lines(stream in "[ab,\"\\\\\n]{0,60}|[ab,\"\\\\.\r\n\t]{0,40}", cuts in vec(1usize..9, 1..9), kind in 0usize..4) {
        let format = [text(), csv(b'"', false), csv(b'\\', true), csv(b'"', true)][kind].clone();
        let copy = copy(format, &[0], 2);
        // Of two mistakes in one row, that one is found which comes first in the pieces.
        let (rows, error) = split(&copy, stream.as_bytes(), &[], 20);
        let cut = split(&copy, stream.as_bytes(), &cuts, 20);
        prop_assert_eq!((&rows, error.is_some()), (&cut.0, cut.1.is_some()));
        let whole = split(&copy, stream.as_bytes(), &[], 100);
        prop_assert_eq!(&whole, &split(&copy, stream.as_bytes(), &cuts, 100));
        prop_assert_eq!(&whole, &split(&copy, stream.as_bytes(), &[1], 100));
        let together: Vec<u8> = whole.0.iter().flat_map(|(raw, ..)| raw.clone()).collect();
        prop_assert!(stream.as_bytes().starts_with(&together));
        if whole.1.is_none() && !stream.contains("\\.") {
            prop_assert_eq!(together, stream.as_bytes());
        }
    }

    #[test]
    fn any_split_gives_the_same_binary_rows(rows in vec((proptest::option::of(vec(any::<u8>(), 0..9)), vec(any::<u8>(), 0..9)), 0..6),
                                            extension in vec(any::<u8>(), 0..5), trailer in any::<bool>(), cuts in vec(1usize..30, 1..9)) {
        let mut stream = binary(&rows, &extension);
        if trailer {
            stream.extend_from_slice(BINARY_TRAILER);
        }
        for cuts in [&cuts[..], &[1], &[]] {
            let (seen, error) = split(&copy(CopyFormat::Binary, &[0, 1], 2), &stream, cuts, 100);
            prop_assert_eq!(error, None);
            let keys: Vec<_> = seen.iter().map(|(_, keys, _)| (keys[0].clone(), keys[1].clone().unwrap())).collect();
            prop_assert_eq!(&keys, &rows);
            let raw: Vec<u8> = seen.iter().flat_map(|(raw, ..)| raw.clone()).collect();
            prop_assert_eq!(&raw[..], &binary(&rows, &[])[BINARY_HEADER.len()..]);
        }
    }

    #[test]
    fn damaged_binary_harms_nobody(rows in vec(any::<u8>(), 0..60), cuts in vec(1usize..9, 1..9)) {
        let stream = [BINARY_HEADER, &rows].concat();
        let copy = copy(CopyFormat::Binary, &[1], 2);
        prop_assert_eq!(split(&copy, &stream, &cuts, 40), split(&copy, &stream, &[1], 40));
    }
}

/// A format's name; a stream; the rows that PostgreSQL 15 makes of it, or `!` where it refuses it.
const STREAMS: &str = include_str!("streams.tsv");

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

fn named(name: &str) -> CopyFormat {
    match name {
        "text" => CopyFormat::Text { delimiter: b',', null: Box::from(&b"\\N"[..]) },
        "text0" => CopyFormat::Text { delimiter: b',', null: Box::default() },
        "csv" => csv(b'"', false),
        "csvh" => csv(b'"', true),
        "csve" => csv(b'\\', false),
        _ => CopyFormat::Csv {
            delimiter: b',',
            quote: b'\'',
            escape: b'\'',
            null: Box::from(&b"N"[..]),
            header: false,
            force_not_null: Box::new([0]),
            force_null: Box::new([1]),
        },
    }
}

/// What PostgreSQL takes is taken here, as the same rows.
#[test]
fn streams_are_read_as_postgresql_reads_them() {
    let mut taken = 0;
    for line in STREAMS.lines() {
        let [name, stream, due] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        if due == "!" {
            continue;
        }
        taken += 1;
        let value = |text: &str| text.strip_prefix(':').map(bytes);
        let due: Vec<Vec<_>> =
            due.split_terminator(' ').map(|row| row.split(',').map(value).collect()).collect();
        let (seen, error) = split(&copy(named(name), &[0, 1], 2), &bytes(stream), &[3], 1000);
        let keys: Vec<_> =
            seen.into_iter().map(|(_, keys, _)| keys).filter(|keys| !keys.is_empty()).collect();
        assert_eq!((error, &keys), (None, &due), "{name} {:?}", String::from_utf8(bytes(stream)));
    }
    assert!(taken > 100);
}
