//! Arrays byte by byte as PostgreSQL sends them, and the texts that take them.

use super::*;

/// A type, its array type; an array of some values and a NULL as PostgreSQL 15 sends it; the values as it sends them.
const ARRAYS: &str = include_str!("arrays.tsv");

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

fn body(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut out = BytesMut::new();
    DataRow { values: values.to_vec() }.encode(&mut out);
    out[5..].to_vec()
}

#[test]
fn arrays_are_what_postgresql_sends() {
    for line in ARRAYS.lines() {
        let [oid, array_oid, array, values] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let mut rows = LookupRows::new(&[oid.parse().unwrap()]).unwrap();
        assert_eq!(rows.formats(), [1]);
        for value in values.split(' ') {
            rows.push_row(&body(&[Some(&bytes(value))])).unwrap();
        }
        rows.push_row(&body(&[None])).unwrap();
        assert_eq!(
            rows.parameters(),
            [(array_oid.parse().unwrap(), Bytes::from(bytes(array)))],
            "type {oid}"
        );
    }
}

#[test]
fn no_rows_are_empty_arrays() {
    let rows = LookupRows::new(&[23, 1021]).unwrap();
    assert_eq!(rows.parameters()[0], (1007, Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\0\0\x17")));
    assert_eq!(rows.parameters()[1], (1009, Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\0\0\x19")));
    assert!(rows.is_empty());
}

#[test]
fn the_subquery_names_each_parameter() {
    let sql = |types: &[u32]| LookupRows::new(types).unwrap().relation_sql(3);
    assert_eq!(sql(&[20]), "(SELECT c1 FROM ROWS FROM (pg_catalog.unnest($3)) AS u(c1))");
    let two = "(SELECT c1, c2::pg_catalog.\"float4\"[] AS c2 FROM ROWS FROM (pg_catalog.unnest($3), pg_catalog.unnest($4)) AS u(c1, c2))";
    assert_eq!(sql(&[20, 1021]), two);
    assert_eq!(sql(&[]), "(SELECT FROM pg_catalog.generate_series(1, $3))");
    assert_eq!(LookupRows::new(&[20, 1021]).unwrap().formats(), [1, 0]);
    assert_eq!(LookupRows::new(&[20, 99_999]).err(), Some(Unsupported { column: 1, type_oid: 99_999 }));
}

#[test]
fn a_shard_gets_the_rows_that_it_owns() {
    let mut rows = LookupRows::new(&[25, 20]).unwrap();
    for number in [4_i64, 1, 4, 2] {
        rows.push_row(&body(&[Some(b"t"), Some(&number.to_be_bytes())])).unwrap();
    }
    rows.push_row(&body(&[Some(b"t"), None])).unwrap();
    let even = rows.owned_by(&[1], |key| key[0][7] % 2 == 0);
    assert_eq!((even.len(), rows.len()), (3, 5));
    let values: Vec<u8> = even.columns[1].iter().map(|value| value.unwrap()[7]).collect();
    assert_eq!(values, [4, 4, 2]);
    assert!(rows.push_row(&body(&[None])).is_err());
    let mut none = LookupRows::new(&[]).unwrap();
    none.push_row(&body(&[])).unwrap();
    assert_eq!(none.parameters(), [(20, Bytes::copy_from_slice(&1_i64.to_be_bytes()))]);
}

#[test]
fn only_the_relation_itself_is_replaced() {
    let lookups = [(1, "(A)".to_owned()), (12, "(B)".to_owned())];
    let with = |sql: &str| substitute(sql, &lookups).unwrap();
    assert_eq!(
        with("SELECT 1 FROM pointsman.lookup_1 AS l, pointsman.lookup_12 m"),
        "SELECT 1 FROM (A) AS l, (B) m"
    );
    for same in [
        "SELECT 'pointsman.lookup_1', $$pointsman.lookup_1$$, \"pointsman.lookup_1\", \"pointsman\".lookup_1",
        "SELECT 1 -- pointsman.lookup_1\n/* pointsman.lookup_1 */",
        "SELECT pointsman.lookup_1(), pointsman.lookup_1.c1, a.pointsman.lookup_1, pointsman.lookup_11, xpointsman.lookup_1",
    ] {
        assert_eq!(with(same), same);
    }
    assert!(substitute("SELECT 'a", &lookups).is_err());
}
