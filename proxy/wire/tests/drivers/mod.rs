//! Feeds any bytes to every decoder and checks what must hold whatever they are: no panic, nothing kept that is
//! larger than the input, and a message that was read is written back as it was. Random tests and fuzz targets
//! share this file.

use bytes::BytesMut;
use pointsman_wire::backend::{
    Authentication, BackendKeyData, CommandComplete, CopyResponse, DataRow, FunctionCallResponse,
    NegotiateProtocolVersion, NotificationResponse, ParameterDescription, ParameterStatus, ReadyForQuery,
    RowDescription,
};
use pointsman_wire::fields::{ErrorHead, Fields};
use pointsman_wire::frame::{HEADER_LEN, take_frame, take_frontend_frame};
use pointsman_wire::frontend::{
    Bind, BindParameters, Close, CopyFail, Describe, Execute, FunctionCall, Parse, PasswordMessage, Query,
    SaslInitialResponse, SaslResponse,
};
use pointsman_wire::options::parse_options;
use pointsman_wire::owed::{Ask, Deal, Owed};
use pointsman_wire::scram::{
    ClientBinding, ClientExchange, ClientSecret, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ServerBinding,
    ServerExchange, Verifier,
};
use pointsman_wire::startup::{
    FirstPacket, GSSENC_REQUEST, ProtocolVersion, SSL_REQUEST, STARTUP_PACKET_MAX, take_first_packet,
};

/// What `encode` appends.
fn written(encode: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    encode(&mut out);
    out
}

/// Reads `data` as each of these messages; what can be read is written back the same.
macro_rules! same_again {
    ($data:expr, $($message:ident)*) => {
        $(if let Ok(message) = $message::decode($data) {
            assert_eq!(&written(|out| message.encode(out))[HEADER_LEN..], $data, stringify!($message));
        })*
    };
}

/// First packets.
pub fn first_packet(data: &[u8]) {
    let mut buf = BytesMut::from(data);
    let Ok(Some(packet)) = take_first_packet(&mut buf, STARTUP_PACKET_MAX) else { return };
    let again = match packet {
        FirstPacket::Ssl => BytesMut::from(SSL_REQUEST),
        FirstPacket::Gss => BytesMut::from(GSSENC_REQUEST),
        FirstPacket::Cancel(cancel) => written(|out| cancel.encode(out)),
        FirstPacket::Startup(startup) => {
            let _ = (startup.user(), startup.database(), startup.protocol_options().count());
            assert!(startup.version >= ProtocolVersion::V3_0);
            written(|out| startup.encode(out))
        }
    };
    assert_eq!(again[..], data[..data.len() - buf.len()]);
}

/// A stream of client messages, and `data` as the body of each client message.
pub fn frontend(data: &[u8]) {
    let mut stream = BytesMut::from(data);
    let mut taken = 0;
    while let Ok(Some(frame)) = take_frontend_frame(&mut stream) {
        taken += frame.bytes().len();
        frontend_body(frame.body());
    }
    assert_eq!(taken + stream.len(), data.len());
    frontend_body(data);
}

fn frontend_body(data: &[u8]) {
    same_again!(data, Query Parse Bind Describe Close Execute CopyFail FunctionCall);
    same_again!(data, PasswordMessage SaslInitialResponse SaslResponse);
    if let Ok(parameters) = Bind::decode(data).and_then(|bind| bind.parameters()) {
        assert!(parameters.values.capacity() + parameters.formats.capacity() <= 2 * data.len());
    }
    if let Ok(parameters) = BindParameters::decode(data) {
        assert_eq!(&written(|out| parameters.encode(out))[..], data);
        let _ = parameters.format(usize::MAX);
    }
}

/// A stream of server messages, and `data` as the body of each server message.
pub fn backend(data: &[u8]) {
    let mut stream = BytesMut::from(data);
    while let Ok(Some(frame)) = take_frame(&mut stream, 1 << 20) {
        backend_body(frame.tag, frame.body());
    }
    backend_body(data.first().copied().unwrap_or_default(), data);
}

fn backend_body(tag: u8, data: &[u8]) {
    same_again!(data, Authentication BackendKeyData ParameterStatus ReadyForQuery CommandComplete);
    same_again!(data, NegotiateProtocolVersion NotificationResponse ParameterDescription RowDescription);
    same_again!(data, DataRow FunctionCallResponse);
    if let Ok(copy) = CopyResponse::decode(tag, data) {
        assert_eq!(&written(|out| copy.encode(out))[HEADER_LEN..], data);
    }
    if let Ok(row) = DataRow::decode(data) {
        assert!(row.values.capacity() <= data.len());
    }
    if let Ok(fields) = Fields::decode(data) {
        let _ = (fields.severity(), fields.sqlstate(), fields.message());
        let texts: usize = fields.iter().map(|(_, text)| text.len() + 2).sum();
        assert_eq!(texts + 1, data.len());
    }
}

/// The `options` of a start-up packet.
pub fn options(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(settings) = parse_options(text) {
        let kept: usize = settings.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(kept <= text.len());
    }
}

/// The front of an error, whole or cut: what its whole says of the SQLSTATE, its front says too.
pub fn error_head(data: &[u8]) {
    let head = ErrorHead::read(data);
    assert!(head.sqlstate.len() <= 3 * data.len());
    if let Ok(fields) = Fields::decode(data) {
        let sqlstate = fields.sqlstate().map(String::from_utf8_lossy).unwrap_or_default();
        assert_eq!(head.sqlstate, sqlstate);
    }
}

/// Replies owed, whatever is asked and answered: nothing asked is lost or comes twice, and what answers nothing changes nothing.
pub fn owed(data: &[u8]) {
    let mut owed = Owed::default();
    let mut due: Vec<usize> = Vec::new();
    for (number, byte) in data.iter().enumerate() {
        if byte & 0x80 != 0 {
            let ask = ask(byte & 0x0f);
            let kept = owed.len();
            owed.push(ask, if byte & 0x40 == 0 { Deal::Forward } else { Deal::Swallow }, Some(number));
            due.extend((owed.len() > kept).then_some(number));
            continue;
        }
        let before = owed.len();
        let mut gone = Vec::new();
        while let Some((_, number)) = owed.pop_local() {
            gone.extend(number);
        }
        match owed.reply(*byte) {
            Ok(reply) => {
                let settled = reply.settled.into_iter().chain(reply.skipped);
                gone.extend(settled.filter_map(|entry| entry.effect));
            }
            Err(_) => assert!(owed.len() + gone.len() <= before),
        }
        assert!(gone.iter().all(|number| due.contains(number)), "answered twice");
        due.retain(|number| !gone.contains(number));
        assert!(owed.readies() <= owed.len() && owed.len() <= due.len());
        assert!(!owed.is_skipping() || !matches!(owed.head(), Some(head) if head.ask == Ask::Sync));
    }
    let rest: Vec<usize> = owed.abandon().into_iter().filter_map(|entry| entry.effect).collect();
    assert!(rest.iter().all(|number| due.contains(number)), "what is left was asked and not answered");
    assert!(owed.is_empty() && !owed.is_copying() && !owed.is_skipping());
}

fn ask(number: u8) -> Ask {
    match number {
        0 => Ask::Parse,
        1 => Ask::Bind,
        2 => Ask::DescribeStatement,
        3 => Ask::DescribePortal,
        4 => Ask::Execute,
        5 => Ask::Close,
        6 | 7 => Ask::Sync,
        8 => Ask::Query,
        9 => Ask::FunctionCall,
        10 => Ask::CopyEnd,
        11 => Ask::Local(bytes::Bytes::from_static(b"local")),
        _ => Ask::Execute,
    }
}

/// Two messages in one input, parted by the first newline.
fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    let cut = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    (&data[..cut], data.get(cut + 1..).unwrap_or_default())
}

/// A client that does not know the password: it may say anything and does not get in.
pub fn scram_server(data: &[u8]) {
    let verifier = Verifier::mock(b"a secret of this test", "user");
    let (first, last) = halves(data);
    for mechanism in [SCRAM_SHA_256, SCRAM_SHA_256_PLUS] {
        for binding in [ServerBinding::Plain, ServerBinding::EndPoint(b"hash".to_vec())] {
            let started = ServerExchange::start(verifier.clone(), binding, "nonce", mechanism, first);
            if let Ok((exchange, server_first)) = started {
                assert!(server_first.len() <= first.len() + 64);
                assert!(exchange.finish(last).is_err());
            }
        }
    }
    if let Some(parsed) = std::str::from_utf8(data).ok().and_then(Verifier::parse) {
        assert!(Verifier::parse(&parsed.to_string()) == Some(parsed));
    }
}

/// A server that does not know the verifier: it may say anything and is not believed.
pub fn scram_client(data: &[u8]) {
    let secret = ClientSecret::Keys { client_key: [1; 32], server_key: [2; 32] };
    let (first, last) = halves(data);
    for binding in [ClientBinding::None, ClientBinding::Unused, ClientBinding::EndPoint(b"hash".to_vec())] {
        let (exchange, ..) = ClientExchange::start(binding, "nonce");
        if let Ok((exchange, client_final)) = exchange.respond(first, &secret) {
            assert!(client_final.len() <= first.len() + 128);
            assert!(exchange.verify(last).is_err());
        }
    }
}
