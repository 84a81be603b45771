//! Each server message: encode then decode is the identity.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::error::WireError;
use crate::fields::{ErrorResponse, Fields};
use crate::frame::take_frame;
use crate::oids::Oids;
use crate::startup::ProtocolVersion;

/// The body of the one frame that `encode` appends.
fn body(tag: u8, encode: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(&mut out);
    let frame = take_frame(&mut out, usize::MAX).unwrap().unwrap();
    assert_eq!((frame.tag, out.len()), (tag, 0));
    frame.body().to_vec()
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    vec(1u8.., 0..40)
}

fn authentication(authentication: &Authentication<'_>) {
    let body = body(b'R', |out| authentication.encode(out));
    assert_eq!(Authentication::decode(&body).as_ref(), Ok(authentication));
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
    fn login(salt: [u8; 4], data in vec(any::<u8>(), 0..60), names in vec("[A-Z0-9-]{1,20}", 0..4),
             process_id: i32, secret in vec(any::<u8>(), 4..=256), word: u32, options in vec(text(), 0..4)) {
        authentication(&Authentication::Ok);
        authentication(&Authentication::CleartextPassword);
        authentication(&Authentication::Md5Password { salt });
        authentication(&Authentication::Sasl { mechanisms: names.iter().map(String::as_str).collect() });
        authentication(&Authentication::SaslContinue(&data));
        authentication(&Authentication::SaslFinal(&data));
        authentication(&Authentication::Other { code: 7, data: &data });
        let key = BackendKeyData { process_id, secret: Bytes::from(secret) };
        survives!(BackendKeyData, b'K', key);
        let version = ProtocolVersion::from_word(word);
        let options = options.iter().map(Vec::as_slice).collect();
        let negotiate = NegotiateProtocolVersion { version, options };
        survives!(NegotiateProtocolVersion, b'v', negotiate);
    }

    #[test]
    fn session((name, value) in (text(), text()), process_id: i32) {
        let status = ParameterStatus { name: &name, value: &value };
        survives!(ParameterStatus, b'S', status);
        let complete = CommandComplete { tag: &name };
        survives!(CommandComplete, b'C', complete);
        let notification = NotificationResponse { process_id, channel: &name, payload: &value };
        survives!(NotificationResponse, b'A', notification);
    }

    #[test]
    fn rows(names in vec(text(), 0..10), numbers: (u32, i16, u32, i16, i32, i16), oids in vec(any::<[u8; 4]>(), 0..9),
            values in vec(option::of(vec(any::<u8>(), 0..40)), 0..20)) {
        let (table_oid, column, type_oid, type_len, type_modifier, format) = numbers;
        let field = |name| Field { name, table_oid, column, type_oid, type_len, type_modifier, format };
        let description = RowDescription { fields: names.iter().map(|name| field(name)).collect() };
        survives!(RowDescription, b'T', description);
        let row = DataRow { values: values.iter().map(Option::as_deref).collect() };
        survives!(DataRow, b'D', row);
        let result = FunctionCallResponse(values.first().and_then(Option::as_deref));
        survives!(FunctionCallResponse, b'V', result);
        let raw = oids.concat();
        let types = ParameterDescription { types: Oids::from_raw(&raw).unwrap() };
        survives!(ParameterDescription, b't', types);
        prop_assert_eq!(types.types.iter().map(u32::to_be_bytes).collect::<Vec<_>>(), oids);
    }

    #[test]
    fn copies(format in 0u8..2, column_formats in vec(any::<i16>(), 0..20)) {
        for direction in [CopyDirection::In, CopyDirection::Out, CopyDirection::Both] {
            let response = CopyResponse { direction, format, column_formats: column_formats.clone() };
            let bytes = body(direction.tag(), |out| response.encode(out));
            prop_assert_eq!(CopyResponse::decode(direction.tag(), &bytes), Ok(response));
        }
    }

    #[test]
    fn errors(message in "[^\0]{0,40}", detail in option::of("[^\0]{0,40}"), hint in option::of("[^\0]{0,40}")) {
        let mut error = ErrorResponse::new("FATAL", "08P01", message.as_str());
        if let Some(detail) = &detail { error = error.detail(detail.as_str()) }
        if let Some(hint) = &hint { error = error.hint(hint.as_str()) }
        let bytes = body(b'E', |out| error.encode(out));
        prop_assert_eq!(&body(b'N', |out| error.encode_notice(out)), &bytes);
        let fields = Fields::decode(&bytes).unwrap();
        prop_assert_eq!(fields.severity(), Some(&b"FATAL"[..]));
        prop_assert_eq!(fields.get(b'S'), Some(&b"FATAL"[..]));
        prop_assert_eq!(fields.sqlstate(), Some(&b"08P01"[..]));
        prop_assert_eq!(fields.message(), Some(message.as_bytes()));
        prop_assert_eq!(fields.get(b'D'), detail.as_ref().map(|text| text.as_bytes()));
        prop_assert_eq!(fields.get(b'H'), hint.as_ref().map(|text| text.as_bytes()));
        prop_assert_eq!(fields.iter().count(), 4 + usize::from(detail.is_some()) + usize::from(hint.is_some()));
    }
}

#[test]
fn transaction_status() {
    for status in [TransactionStatus::Idle, TransactionStatus::InTransaction, TransactionStatus::Failed] {
        let body = body(b'Z', |out| ReadyForQuery(status).encode(out));
        assert_eq!(ReadyForQuery::decode(&body), Ok(ReadyForQuery(status)));
    }
    assert_eq!(ReadyForQuery::decode(b"X"), Err(WireError::Format));
    assert_eq!(ReadyForQuery::decode(b""), Err(WireError::NoData));
    assert_eq!(ReadyForQuery::decode(b"II"), Err(WireError::Format));
}

#[test]
fn frames_without_a_body() {
    for (frame, tag) in [
        (PARSE_COMPLETE, b'1'),
        (BIND_COMPLETE, b'2'),
        (CLOSE_COMPLETE, b'3'),
        (NO_DATA, b'n'),
        (PORTAL_SUSPENDED, b's'),
        (EMPTY_QUERY_RESPONSE, b'I'),
    ] {
        assert_eq!(body(tag, |out| out.extend_from_slice(frame)), b"");
    }
}

#[test]
fn faults() {
    assert_eq!(Fields::decode(b"SERROR\0"), Err(WireError::NoData));
    assert_eq!(Fields::decode(b"SERROR"), Err(WireError::Text));
    assert_eq!(Fields::decode(b"\0x"), Err(WireError::Format));
    assert_eq!(RowDescription::decode(b"\xff\xff"), Err(WireError::Text));
    assert_eq!(DataRow::decode(b"\0\x01\x80\0\0\0"), Err(WireError::Truncated));
    assert_eq!(NegotiateProtocolVersion::decode(b"\0\x03\0\0\x7f\xff\xff\xff"), Err(WireError::Text));
    assert_eq!(NegotiateProtocolVersion::decode(b"\0\x03\0\0\xff\xff\xff\xff"), Err(WireError::Format));
    assert_eq!(BackendKeyData::decode(b"\0\0\0\x01abc"), Err(WireError::Format));
    assert_eq!(CopyResponse::decode(b'Q', b"\0\0\0"), Err(WireError::BackendType(b'Q')));
}
