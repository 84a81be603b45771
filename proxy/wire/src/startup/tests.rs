//! First packets: what is taken, what is refused and how, and that they survive being written.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn take(bytes: &[u8]) -> Result<Option<FirstPacket>, WireError> {
    take_first_packet(&mut BytesMut::from(bytes), STARTUP_PACKET_MAX)
}

/// A packet with this version word and rest.
fn packet(word: u32, rest: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    put_counted(&mut out, |out| {
        out.put_u32(word);
        out.extend_from_slice(rest);
    });
    out.to_vec()
}

fn startup(rest: &[u8]) -> Result<Startup, WireError> {
    match take(&packet(196_608, rest))? {
        Some(FirstPacket::Startup(startup)) => Ok(startup),
        other => panic!("not a start-up: {other:?}"),
    }
}

#[test]
fn wishes_for_encryption() {
    assert_eq!(take(SSL_REQUEST), Ok(Some(FirstPacket::Ssl)));
    assert_eq!(take(GSSENC_REQUEST), Ok(Some(FirstPacket::Gss)));
    assert_eq!(take(&packet(80_877_103, b"x")), Err(WireError::StartupLength));
    // What follows stays: whoever sends on before the answer must be noticed by the caller.
    let mut buf = BytesMut::from(&[SSL_REQUEST, b"more"].concat()[..]);
    assert_eq!(take_first_packet(&mut buf, STARTUP_PACKET_MAX), Ok(Some(FirstPacket::Ssl)));
    assert_eq!(&buf[..], b"more");
}

#[test]
fn lengths() {
    for wrong in
        [&b"\0\0\0\0"[..], b"\0\0\0\x07", b"\0\0\x27\x15", b"\xff\xff\xff\xff", b"\x80\0\0\0", b"GET / HTTP"]
    {
        assert_eq!(take(wrong), Err(WireError::StartupLength), "{}", wrong.escape_ascii());
    }
    assert_eq!(take(b"\0\0\x27\x14"), Ok(None));
    let whole = packet(196_608, b"user\0a\0\0");
    for cut in 0..whole.len() {
        assert_eq!(take(&whole[..cut]), Ok(None));
    }
}

#[test]
fn parameters_as_postgresql_reads_them() {
    let found =
        startup(b"user\0alice\0database\0\0application_name\0one\0application_name\0two\0\0").unwrap();
    assert_eq!(found.version, ProtocolVersion::V3_0);
    assert_eq!((found.user(), found.database()), (Ok("alice"), Ok("alice")));
    assert_eq!(found.get("application_name"), Some("two"));
    assert_eq!(found.get("options"), None);
    let refused = startup(b"user\0\0\0").unwrap();
    assert_eq!(refused.user(), Err(WireError::NoUser));
    assert_eq!(startup(b"\0").unwrap().database(), Err(WireError::NoUser));
    for broken in [&b""[..], b"user", b"user\0", b"user\0a", b"user\0a\0", b"user\0a\0\0\0", b"user\0a\0\0x"]
    {
        assert_eq!(startup(broken), Err(WireError::StartupLayout), "{}", broken.escape_ascii());
    }
    assert_eq!(startup(b"user\0\xff\0\0"), Err(WireError::StartupEncoding));
}

#[test]
fn versions() {
    let minor = |minor: u16| take(&packet(196_608 + u32::from(minor), b"user\0a\0_pq_.x\0y\0\0"));
    for asked in [0, 2, 9999] {
        let Ok(Some(FirstPacket::Startup(startup))) = minor(asked) else { panic!("not a start-up") };
        assert_eq!(startup.version, ProtocolVersion { major: 3, minor: asked });
        assert_eq!(startup.protocol_options().collect::<Vec<_>>(), ["_pq_.x"]);
    }
    assert!(ProtocolVersion::V3_0 < ProtocolVersion::V3_2);
    let old = take(&packet(2 << 16, b"anything")).unwrap_err();
    assert_eq!(old.sqlstate(), "0A000");
    assert_eq!(old.to_string(), "unsupported frontend protocol 2.0: server supports 3.0 to 3.2");
}

#[test]
fn cancels() {
    let cancel =
        |secret: usize| take(&packet(80_877_102, &[&7i32.to_be_bytes()[..], &vec![b'k'; secret]].concat()));
    for len in [4, 32, 256] {
        let secret = Bytes::from(vec![b'k'; len]);
        assert_eq!(cancel(len), Ok(Some(FirstPacket::Cancel(CancelRequest { process_id: 7, secret }))));
    }
    for len in [0, 3, 257] {
        assert_eq!(cancel(len), Err(WireError::CancelLength));
    }
    assert_eq!(take(&packet(80_877_102, b"abc")), Err(WireError::CancelLength));
}

proptest! {
    #[test]
    fn encode_then_take_is_the_identity(parameters in vec(("[^\0]{1,12}", "[^\0]{0,12}"), 0..8), minor in 0u16..5,
                                        process_id: i32, secret in vec(any::<u8>(), 4..=256)) {
        let version = ProtocolVersion { major: 3, minor };
        let startup = Startup { version, parameters };
        let mut out = BytesMut::new();
        startup.encode(&mut out);
        prop_assert_eq!(take(&out), Ok(Some(FirstPacket::Startup(startup))));
        let cancel = CancelRequest { process_id, secret: Bytes::from(secret) };
        let mut out = BytesMut::new();
        cancel.encode(&mut out);
        prop_assert_eq!(take(&out), Ok(Some(FirstPacket::Cancel(cancel))));
    }
}
