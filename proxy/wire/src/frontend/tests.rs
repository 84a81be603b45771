//! Each client message: encode then decode is the identity, and what is wrong is said as PostgreSQL says it.

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::error::WireError;
use crate::frame::{HEADER_LEN, take_frontend_frame};
use crate::oids::Oids;

/// The body of the one frame that `encode` appends.
fn body(tag: u8, encode: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::from(&b"before"[..]);
    encode(&mut out);
    let mut out = out.split_off(6);
    let frame = take_frontend_frame(&mut out).unwrap().unwrap();
    assert_eq!((frame.tag, out.len()), (tag, 0));
    assert_eq!(frame.body(), &frame.bytes()[HEADER_LEN..]);
    frame.body().to_vec()
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    vec(1u8.., 0..40)
}

fn values() -> impl Strategy<Value = Vec<Option<Vec<u8>>>> {
    vec(option::of(vec(any::<u8>(), 0..40)), 0..20)
}

/// No formats, one for all, or one for each.
fn formats(values: usize) -> impl Strategy<Value = Vec<i16>> {
    prop_oneof![vec(0i16..2, 0..=1), vec(0i16..2, values)]
}

fn values_and_formats() -> impl Strategy<Value = (Vec<Option<Vec<u8>>>, Vec<i16>)> {
    values().prop_flat_map(|values| {
        let count = values.len();
        (Just(values), formats(count))
    })
}

fn borrowed(values: &[Option<Vec<u8>>]) -> Vec<Option<&[u8]>> {
    values.iter().map(Option::as_deref).collect()
}

/// Encode then decode gives the same message.
macro_rules! survives {
    ($type:ident, $tag:expr, $message:expr) => {
        let bytes = body($tag, |out| $message.encode(out));
        let decoded = $type::decode(&bytes);
        prop_assert_eq!(decoded.as_ref(), Ok(&$message));
    };
}

proptest! {
    #[test]
    fn flat_messages((name, sql) in (text(), text()), max_rows: i32, oids in vec(any::<[u8; 4]>(), 0..20)) {
        let query = Query { sql: &sql };
        survives!(Query, b'Q', query);
        let raw = oids.concat();
        let parse = Parse { name: &name, sql: &sql, parameter_types: Oids::from_raw(&raw).unwrap() };
        survives!(Parse, b'P', parse);
        let execute = Execute { portal: &name, max_rows };
        survives!(Execute, b'E', execute);
        let fail = CopyFail { message: &sql };
        survives!(CopyFail, b'f', fail);
        for target in [Target::Statement, Target::Portal] {
            let describe = Describe { target, name: &name };
            survives!(Describe, b'D', describe);
            let close = Close { target, name: &name };
            survives!(Close, b'C', close);
        }
    }

    #[test]
    fn login_messages(password in text(), mechanism in "[A-Z0-9-]{0,20}", data in option::of(text())) {
        let message = PasswordMessage(&password);
        survives!(PasswordMessage, b'p', message);
        let initial = SaslInitialResponse { mechanism: &mechanism, data: data.as_deref() };
        survives!(SaslInitialResponse, b'p', initial);
        let response = SaslResponse(&password);
        survives!(SaslResponse, b'p', response);
    }

    #[test]
    fn values_survive((portal, statement) in (text(), text()), (values, formats) in values_and_formats(),
                      result_formats in vec(any::<i16>(), 0..5), function_oid: u32, result_format: i16) {
        let values = borrowed(&values);
        let call = FunctionCall { function_oid, formats: formats.clone(), arguments: values.clone(), result_format };
        survives!(FunctionCall, b'F', call);
        let parameters = BindParameters { formats, values, result_formats };
        let mut rest = BytesMut::new();
        parameters.encode(&mut rest);
        let bind = Bind { portal: &portal, statement: &statement, rest: &rest };
        let bytes = body(b'B', |out| bind.encode(out));
        let decoded = Bind::decode(&bytes).unwrap();
        prop_assert_eq!(decoded, bind);
        prop_assert_eq!(decoded.parameters(), Ok(parameters));
    }
}

#[test]
fn frames_without_a_body() {
    for (encode, tag) in [
        (encode_sync as fn(&mut BytesMut), b'S'),
        (encode_flush, b'H'),
        (encode_terminate, b'X'),
        (encode_copy_done, b'c'),
    ] {
        assert_eq!(body(tag, encode), b"");
    }
}

#[test]
fn faults_in_postgresqls_words() {
    let said = |error: WireError| (error.sqlstate(), error.to_string());
    let protocol = |message: &str| ("08P01", message.to_owned());
    assert_eq!(said(Query::decode(b"select 1").unwrap_err()), protocol("invalid string in message"));
    assert_eq!(said(Query::decode(b"a\0b").unwrap_err()), protocol("invalid message format"));
    assert_eq!(said(Describe::decode(b"").unwrap_err()), protocol("no data left in message"));
    assert_eq!(said(Describe::decode(b"X\0").unwrap_err()), protocol("invalid DESCRIBE message subtype 88"));
    assert_eq!(said(Close::decode(b"X\0").unwrap_err()), protocol("invalid CLOSE message subtype 88"));
    assert_eq!(
        said(Execute::decode(b"\0\0\0\x01").unwrap_err()),
        protocol("insufficient data left in message")
    );
    let unknown = take_frontend_frame(&mut BytesMut::from(&b"!"[..])).unwrap_err();
    assert_eq!(said(unknown), protocol("invalid frontend message type 33"));
}

#[test]
fn bind_counts_must_fit() {
    let decode = BindParameters::decode;
    let two_formats_three_values =
        b"\0\x02\0\0\0\0\0\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0";
    let error = decode(two_formats_three_values).unwrap_err();
    assert_eq!(error.to_string(), "bind message has 2 parameter formats but 3 parameters");
    // 65,535 values promised, none there; a value of length -2; a value longer than the message.
    assert_eq!(decode(b"\0\0\xff\xff").unwrap_err(), WireError::Truncated);
    assert_eq!(decode(b"\0\0\0\x01\xff\xff\xff\xfe\0\0").unwrap_err(), WireError::Truncated);
    assert_eq!(decode(b"\0\0\0\x01\x7f\xff\xff\xffx\0\0").unwrap_err(), WireError::Truncated);
    assert_eq!(decode(b"\0\0\0\0\0\0\0").unwrap_err(), WireError::Format);
    let one_for_all = decode(b"\0\x01\0\x01\0\x01\0\0\0\0\0\0").unwrap();
    assert_eq!((one_for_all.format(0), one_for_all.format(1)), (1, 1));
}

#[test]
fn sixty_five_thousand_parameters() {
    let parameters =
        BindParameters { formats: vec![], values: vec![Some(&b"x"[..]); 65_535], result_formats: vec![1] };
    let mut rest = BytesMut::new();
    parameters.encode(&mut rest);
    assert_eq!(BindParameters::decode(&rest), Ok(parameters));
}

#[test]
fn a_zero_byte_cannot_forge_a_field() {
    let body = body(b'P', |out| {
        Parse { name: b"a\0b", sql: b"select 1\0x", parameter_types: Oids::EMPTY }.encode(out);
    });
    let parse = Parse::decode(&body).unwrap();
    assert_eq!((parse.name, parse.sql), (&b"a"[..], &b"select 1"[..]));
}
