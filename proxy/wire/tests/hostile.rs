//! Ten thousand random inputs, and ten thousand damaged valid ones, into every decoder.

pub mod drivers;

use bytes::{Bytes, BytesMut};
use pointsman_wire::backend::{
    Authentication, BackendKeyData, CopyDirection, CopyResponse, DataRow, Field, NegotiateProtocolVersion,
    NotificationResponse, ParameterDescription, RowDescription,
};
use pointsman_wire::fields::ErrorResponse;
use pointsman_wire::frontend::{
    Bind, Close, Describe, Execute, FunctionCall, Parse, Query, SaslInitialResponse, Target,
};
use pointsman_wire::startup::{CancelRequest, ProtocolVersion, Startup};
use pointsman_wire::{Oids, frame};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

fn every_decoder(data: &[u8]) {
    drivers::first_packet(data);
    drivers::frontend(data);
    drivers::backend(data);
    drivers::options(data);
    drivers::error_head(data);
    drivers::owed(data);
    drivers::scram_server(data);
    drivers::scram_client(data);
}

/// Valid messages of every shape: whole frames, bodies, and the texts of SCRAM and `options`.
fn valid() -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> = frontend_frames();
    frames.extend(backend_frames());
    let bodies: Vec<Vec<u8>> = frames.iter().map(|frame| frame[frame::HEADER_LEN..].to_vec()).collect();
    let all_in_one_stream = frames.concat();
    frames.extend(bodies);
    frames.push(all_in_one_stream);
    frames.extend(first_packets());
    frames.extend(
        [
            "n,,n=,r=abc\nc=biws,r=abcnonce,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "p=tls-server-end-point,,n=,r=abc,x=y\nc=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsaGFzaA==,r=abcnonce,p=YWJj",
            "r=nonceabc,s=c2FsdA==,i=4096\nv=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            "SCRAM-SHA-256$4096:PTYMnhw7jBbXQf5JBOe4FQ==$Tlc/cEHf0QMgb6gNtHDdZj1v7pZMdHrVKH2SUl+eUR0=:\
             2DL1S8YV+RLWQ/EoCMdYVJqJCgLSPM9kuLbP7pHTnmM=",
            "-c search_path=a\\ b --statement-timeout=5s -c geqo=off",
        ]
        .map(|text| text.as_bytes().to_vec()),
    );
    frames
}

fn frontend_frames() -> Vec<Vec<u8>> {
    let rest = b"\0\x01\0\x01\0\x02\0\0\0\x03abc\xff\xff\xff\xff\0\x01\0\0";
    let arguments = vec![Some(&b"7"[..]), None];
    let types = Oids::from_raw(b"\0\0\0\x17\0\0\0\x19").expect("two types");
    let mut frames = Vec::new();
    let mut add = |encode: &dyn Fn(&mut BytesMut)| {
        let mut out = BytesMut::new();
        encode(&mut out);
        frames.push(out.to_vec());
    };
    add(&|out| Query { sql: b"select 1" }.encode(out));
    add(&|out| Parse { name: b"s1", sql: b"select $1", parameter_types: types }.encode(out));
    add(&|out| Bind { portal: b"", statement: b"s1", rest }.encode(out));
    add(&|out| Describe { target: Target::Statement, name: b"s1" }.encode(out));
    add(&|out| Close { target: Target::Portal, name: b"p" }.encode(out));
    add(&|out| Execute { portal: b"p", max_rows: 100 }.encode(out));
    add(&|out| SaslInitialResponse { mechanism: "SCRAM-SHA-256", data: Some(b"n,,n=,r=x") }.encode(out));
    add(&|out| {
        let formats = vec![0, 1];
        FunctionCall { function_oid: 1, formats, arguments: arguments.clone(), result_format: 0 }.encode(out);
    });
    frames
}

fn backend_frames() -> Vec<Vec<u8>> {
    let field = Field {
        name: b"id",
        table_oid: 16_384,
        column: 1,
        type_oid: 23,
        type_len: 4,
        type_modifier: -1,
        format: 0,
    };
    let types = Oids::from_raw(b"\0\0\0\x17\0\0\0\x19").expect("two types");
    let mut frames = Vec::new();
    let mut add = |encode: &dyn Fn(&mut BytesMut)| {
        let mut out = BytesMut::new();
        encode(&mut out);
        frames.push(out.to_vec());
    };
    add(&|out| Authentication::Sasl { mechanisms: vec!["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"] }.encode(out));
    add(&|out| Authentication::Md5Password { salt: *b"salt" }.encode(out));
    add(&|out| BackendKeyData { process_id: 7, secret: Bytes::from_static(b"key!") }.encode(out));
    add(&|out| {
        NegotiateProtocolVersion { version: ProtocolVersion::V3_2, options: vec![b"_pq_.x", b"_pq_.y"] }
            .encode(out);
    });
    add(&|out| RowDescription { fields: vec![field, field] }.encode(out));
    add(&|out| DataRow { values: vec![Some(b"1"), None, Some(b"")] }.encode(out));
    add(&|out| ParameterDescription { types }.encode(out));
    add(&|out| NotificationResponse { process_id: 7, channel: b"c", payload: b"hello" }.encode(out));
    add(&|out| {
        CopyResponse { direction: CopyDirection::In, format: 1, column_formats: vec![1, 1] }.encode(out);
    });
    add(&|out| ErrorResponse::new("ERROR", "42601", "syntax error").detail("d").hint("h").encode(out));
    frames
}

fn first_packets() -> [Vec<u8>; 2] {
    let parameters = [("user", "alice"), ("database", "feed"), ("options", "-c geqo=off")];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let (mut startup, mut cancel) = (BytesMut::new(), BytesMut::new());
    Startup { version: ProtocolVersion::V3_2, parameters }.encode(&mut startup);
    CancelRequest { process_id: 7, secret: Bytes::from_static(&[7; 32]) }.encode(&mut cancel);
    [startup.to_vec(), cancel.to_vec()]
}

/// One way to damage a message.
#[derive(Debug, Clone)]
enum Damage {
    Set(Index, u8),
    Cut(Index),
    Drop(Index),
    Insert(Index, Vec<u8>),
    /// An extreme length or count in the place of whatever is there.
    Number(Index, i32),
}

fn damage() -> impl Strategy<Value = Damage> {
    let extreme = prop_oneof![Just(-1), Just(0), Just(3), Just(i32::MAX), Just(i32::MIN), any::<i32>()];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        any::<Index>().prop_map(Damage::Cut),
        any::<Index>().prop_map(Damage::Drop),
        (any::<Index>(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<Index>(), extreme).prop_map(|(at, number)| Damage::Number(at, number)),
    ]
}

fn damaged(mut message: Vec<u8>, damages: Vec<Damage>) -> Vec<u8> {
    for damage in damages {
        if message.is_empty() {
            break;
        }
        match damage {
            Damage::Set(at, byte) => *at.get_mut(&mut message) = byte,
            Damage::Cut(at) => message.truncate(at.index(message.len())),
            Damage::Drop(at) => drop(message.remove(at.index(message.len()))),
            Damage::Insert(at, bytes) => {
                let at = at.index(message.len());
                message.splice(at..at, bytes);
            }
            Damage::Number(at, number) => {
                let at = at.index(message.len());
                let word = number.to_be_bytes();
                for (place, byte) in message[at..].iter_mut().zip(word) {
                    *place = byte;
                }
            }
        }
    }
    message
}

#[test]
fn valid_messages_are_taken() {
    for message in valid() {
        every_decoder(&message);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn random_bytes(data in vec(any::<u8>(), 0..300)) {
        every_decoder(&data);
    }

    #[test]
    fn damaged_messages(which: Index, damages in vec(damage(), 1..5)) {
        let valid = valid();
        every_decoder(&damaged(which.get(&valid).clone(), damages));
    }
}
