//! A lookup's rows come back from a server as they went in, whatever their types.
use std::fmt::Write as _;

use pointsman_shards::lookup::{LookupRows, substitute};
use pointsman_tests::{Frame, Stage, Wire, msg, pretty};

/// A value of each built-in type that is not written as a number may be.
const VALUES: &[(&str, &str)] = &[
    ("bool", "t"),
    ("bytea", "\\x00ff"),
    ("\"char\"", "a"),
    ("name", "n"),
    ("int8", "-9223372036854775808"),
    ("int2", "-1"),
    ("int2vector", "1 2"),
    ("int4", "7"),
    ("regproc", "now"),
    ("text", "it's \"é\", {\\} NULL"),
    ("oid", "4294967295"),
    ("tid", "(1,2)"),
    ("xid", "3"),
    ("cid", "4"),
    ("oidvector", "5 6"),
    ("json", "{\"a\": [1]}"),
    ("xml", "<a>b</a>"),
    ("point", "(1.5,-2)"),
    ("lseg", "[(0,0),(1,1)]"),
    ("path", "((0,0),(1,1))"),
    ("box", "(1,1),(0,0)"),
    ("polygon", "((0,0),(1,1),(1,0))"),
    ("line", "{1,2,3}"),
    ("circle", "<(0,0),1>"),
    ("cidr", "10.0.0.0/8"),
    ("inet", "fe80::1/64"),
    ("float4", "1.17549435e-38"),
    ("float8", "0.1"),
    ("macaddr8", "08:00:2b:01:02:03:04:05"),
    ("money", "12.5"),
    ("macaddr", "08:00:2b:01:02:03"),
    ("bpchar", "ab  "),
    ("varchar", "v "),
    ("date", "-infinity"),
    ("time", "24:00"),
    ("timestamp", "1999-12-31 23:59:59.999999"),
    ("timestamptz", "2000-01-01 00:00+14"),
    ("interval", "-1 month 3 days 4 seconds"),
    ("timetz", "12:00:00.5-08"),
    ("varbit", "10101010101"),
    ("numeric", "-12345.678900"),
    ("refcursor", "r"),
    ("regclass", "pg_class"),
    ("regtype", "int4"),
    ("uuid", "00000000-0000-0000-ffff-000000000001"),
    ("txid_snapshot", "1:3:2"),
    ("pg_lsn", "1/2"),
    ("tsvector", "a:1 b"),
    ("tsquery", "a & !b"),
    ("regconfig", "english"),
    ("jsonb", "{\"a\": null}"),
    ("int4range", "[1,5)"),
    ("numrange", "(,1.50]"),
    ("tstzrange", "[2000-01-01 00:00+00,)"),
    ("daterange", "empty"),
    ("jsonpath", "$.a[*]"),
    ("regrole", "postgres"),
    ("int8multirange", "{[1,2),[4,9)}"),
    ("pg_snapshot", "1:3:2"),
    ("xid8", "18446744073709551615"),
];

/// The rows of an extended query; the values are in binary, the results in these formats.
async fn rows(wire: &mut Wire, sql: &str, parameters: &[(u32, bytes::Bytes)], formats: &[i16]) -> Vec<Frame> {
    let types: Vec<u32> = parameters.iter().map(|(oid, _)| *oid).collect();
    let values: Vec<Option<&[u8]>> = parameters.iter().map(|(_, value)| Some(&value[..])).collect();
    let formats: Vec<u16> = formats.iter().map(|format| format.cast_unsigned()).collect();
    let parts = [
        msg::parse_typed("", sql, &types),
        msg::bind_with("", "", &values, [&[1], &formats]),
        msg::execute("", 0),
        msg::sync(),
    ];
    let frames = wire.ask(&parts.concat()).await;
    assert!(frames.iter().all(|frame| frame.tag != b'E'), "{sql}:\n{}", pretty(&frames));
    frames.into_iter().filter(|frame| frame.tag == b'D').collect()
}

/// A value, an array of it and NULLs go into arrays and come out again, in their order.
#[tokio::test]
async fn every_type_comes_back_from_its_array() {
    let stage = Stage::new().start().await;
    let mut wire = stage.primary.wire().await;
    let mut types: Vec<u32> = Vec::new();
    let (mut values, mut nulls) = (String::new(), String::new());
    for (name, value) in VALUES {
        let oid = wire.value(&format!("SELECT '{name}'::regtype::oid")).await;
        let array = wire.value(&format!("SELECT typarray FROM pg_type WHERE oid = {oid}")).await;
        types.extend([oid.parse::<u32>().expect("a number"), array.parse::<u32>().expect("a number")]);
        let literal = value.replace('\'', "''");
        let comma = if values.is_empty() { "" } else { ", " };
        write!(values, "{comma}'{literal}'::{name}, ARRAY['{literal}', NULL]::{name}[]")
            .expect("a string takes it");
        write!(nulls, "{comma}NULL, NULL").expect("a string takes it");
    }
    let mut lookup = LookupRows::new(&types).expect("built-in types");
    let formats = lookup.formats();
    let sql = format!("SELECT {values} UNION ALL SELECT {nulls} UNION ALL SELECT {values}");
    // A json or point has no equality, which UNION ALL does not need.
    let sent = rows(&mut wire, &sql, &[], &formats).await;
    assert_eq!(sent.len(), 3);
    sent.iter().for_each(|frame| lookup.push_row(&frame.body).expect("a row"));
    let sql = "SELECT l.*, 'pointsman.lookup_1' = $1 FROM pointsman.lookup_1 AS l";
    let sql = substitute(sql, &[(1, lookup.relation_sql(2))]).expect("a text");
    let mut parameters = vec![(25, bytes::Bytes::from_static(b"pointsman.lookup_1"))];
    parameters.extend(lookup.parameters());
    let back = rows(&mut wire, &sql, &parameters, &[&formats[..], &[0]].concat()).await;
    let values = |frame: &Frame| frame.body[2..].to_vec();
    let sent: Vec<Vec<u8>> =
        sent.iter().map(|frame| [&values(frame)[..], &[0, 0, 0, 1, b't']].concat()).collect();
    assert_eq!(back.iter().map(values).collect::<Vec<_>>(), sent);
}

/// No rows, no columns, and as many columns as a query can have.
#[tokio::test]
async fn lookups_of_any_shape_are_relations() {
    let stage = Stage::new().start().await;
    let mut wire = stage.primary.wire().await;
    for (types, count) in [(vec![23; 1600], 2), (vec![23, 1021], 0), (vec![], 3)] {
        let mut lookup = LookupRows::new(&types).expect("built-in types");
        let columns: Vec<String> = types.iter().map(|_| "g".to_owned()).collect();
        if count > 0 {
            let sql = format!("SELECT {} FROM generate_series(1, {count}) AS g", columns.join(", "));
            let sent = rows(&mut wire, &sql, &[], &lookup.formats()).await;
            sent.iter().for_each(|frame| lookup.push_row(&frame.body).expect("a row"));
        }
        let sql = substitute("SELECT count(*) FROM pointsman.lookup_9 AS l", &[(9, lookup.relation_sql(1))]);
        let found = rows(&mut wire, &sql.expect("a text"), &lookup.parameters(), &[0]).await;
        assert_eq!(found[0].body[6..], *count.to_string().as_bytes());
    }
}
