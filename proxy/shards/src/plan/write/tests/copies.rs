//! `COPY`.

use super::{all_are, plan};
use crate::plan::{CopyFormat, Many};

#[test]
fn where_it_goes() {
    all_are(&[
        ("COPY agents FROM STDIN", "all: deal by [0] of 8"),
        ("COPY interactions FROM STDIN", "all: deal by [1] of 6"),
        (
            "COPY interactions (content, initiator_id) FROM STDIN (FORMAT csv) WHERE content <> ''",
            "all: deal by [1] of 2",
        ),
        ("COPY orders (total, number, region) FROM STDIN WITH BINARY", "all: deal by [2, 1] of 3"),
        ("COPY interactions (content) FROM STDIN", "all: Unknown"),
        ("COPY communities FROM STDIN", "all: copy to all"),
        ("COPY settings FROM STDIN", "first: Statement"),
        ("COPY agents TO STDOUT", "all: copy"),
        ("COPY agents TO STDOUT (FORMAT csv, HEADER)", "all: copy header"),
        ("COPY communities TO STDOUT", "any: Statement"),
        ("COPY settings TO STDOUT", "first: Statement"),
        ("COPY (SELECT * FROM agents WHERE id = 1) TO STDOUT", "1: copy"),
        ("COPY (SELECT name FROM agents WHERE active) TO STDOUT WITH CSV HEADER", "all: copy header"),
        ("COPY (SELECT count(*) FROM agents) TO STDOUT", "all: Statement"),
        ("COPY (SELECT name FROM agents ORDER BY name) TO STDOUT", "all: Statement"),
        ("COPY (SELECT name FROM agents LIMIT 1) TO STDOUT", "all: Statement"),
        ("COPY (DELETE FROM agents RETURNING id) TO STDOUT", "all: Write"),
        ("COPY agents FROM '/tmp/x'", "all: Statement"),
        ("COPY settings TO PROGRAM 'cat'", "all: Statement"),
    ]);
}

#[test]
fn how_rows_are_written() {
    let format = |text: &str| match plan(text).many {
        Many::CopyFrom(from) => Some(from.format),
        Many::Refused(_) => None,
        other => panic!("{text}: {other:?}"),
    };
    let text = |delimiter, null: &str| Some(CopyFormat::Text { delimiter, null: null.as_bytes().into() });
    assert_eq!(format("COPY agents FROM STDIN"), text(b'\t', "\\N"));
    assert_eq!(format("COPY agents FROM STDIN DELIMITERS '|' WITH NULL AS ''"), text(b'|', ""));
    assert_eq!(
        format("COPY agents FROM STDIN (DELIMITER ';', NULL 'x', ENCODING 'utf8', FREEZE)"),
        text(b';', "x")
    );
    assert_eq!(format("COPY agents FROM STDIN (FORMAT binary)"), Some(CopyFormat::Binary));
    let csv = |header, force_not_null: &[usize], force_null: &[usize]| CopyFormat::Csv {
        delimiter: b';',
        quote: b'\'',
        escape: b'\'',
        null: b"nil".as_slice().into(),
        header,
        force_not_null: force_not_null.into(),
        force_null: force_null.into(),
    };
    assert_eq!(
        format(
            "COPY agents (name, id) FROM STDIN (FORMAT csv, DELIMITER ';', QUOTE '''', NULL 'nil', HEADER match, FORCE_NULL (id))"
        ),
        Some(csv(true, &[], &[1]))
    );
    assert_eq!(
        format(
            "COPY agents (name, id) FROM STDIN DELIMITER ';' NULL 'nil' CSV QUOTE '''' FORCE NOT NULL name, id"
        ),
        Some(csv(false, &[0, 1], &[]))
    );
    for refused in [
        "COPY agents FROM STDIN (HEADER)",
        "COPY agents FROM STDIN (DELIMITER 'ab')",
        "COPY agents FROM STDIN (ENCODING 'sjis')",
        "COPY agents FROM STDIN (DEFAULT 'd')",
        "COPY agents FROM STDIN (ON_ERROR ignore, REJECT_LIMIT 3)",
        "COPY agents FROM STDIN (FORMAT parquet)",
        "COPY agents (id) FROM STDIN (FORMAT csv, FORCE_NULL (name))",
    ] {
        assert_eq!(format(refused), None, "{refused}");
    }
}
