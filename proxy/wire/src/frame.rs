//! Cuts a byte stream into frames: a type byte, a length word, a body.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::WireError;

/// Bytes before the body: the type and the length word.
pub const HEADER_LEN: usize = 5;

/// Most bytes of body in a message that may be large (`PQ_LARGE_MESSAGE_LIMIT` less the length word).
pub const LARGE_BODY_MAX: usize = 0x3fff_fffe - 4;

/// Most bytes of body in a message that is always small (`PQ_SMALL_MESSAGE_LIMIT` less the length word).
pub const SMALL_BODY_MAX: usize = 10_000 - 4;

/// Most bytes of body in a password or SASL message (`PG_MAX_AUTH_TOKEN_LENGTH` less the length word).
pub const PASSWORD_BODY_MAX: usize = 65_535 - 4;

/// The first five bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The message type.
    pub tag: u8,
    /// Bytes of body; the length word is not counted.
    pub body_len: usize,
}

impl Header {
    /// Reads the header at the start of `buf` and leaves `buf` as it is. `None` means "read more".
    ///
    /// # Errors
    /// [`WireError::Length`] for a length word below 4 or above `i32::MAX`.
    #[inline]
    pub fn peek(buf: &[u8]) -> Result<Option<Header>, WireError> {
        let Some(&[tag, a, b, c, d]) = buf.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let len = i32::from_be_bytes([a, b, c, d]);
        match usize::try_from(len) {
            Ok(len) if len >= 4 => Ok(Some(Header { tag, body_len: len - 4 })),
            _ => Err(WireError::Length),
        }
    }

    /// Bytes of the whole frame, header included.
    #[inline]
    pub fn frame_len(self) -> usize {
        HEADER_LEN + self.body_len
    }
}

/// One whole message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The message type.
    pub tag: u8,
    bytes: Bytes,
}

impl Frame {
    /// The message after its header.
    pub fn body(&self) -> &[u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// The message after its header, sharing the frame's memory.
    pub fn body_bytes(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN..)
    }

    /// The message with its header.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The message with its header.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

/// Takes one whole frame off `buf`. `None` means "read more", never "wrong".
///
/// # Errors
/// [`WireError::Length`] for an impossible length word or a body above `body_max` bytes; `buf` is as it was.
pub fn take_frame(buf: &mut BytesMut, body_max: usize) -> Result<Option<Frame>, WireError> {
    let Some(header) = Header::peek(buf)? else { return Ok(None) };
    if header.body_len > body_max {
        return Err(WireError::Length);
    }
    if buf.len() < header.frame_len() {
        return Ok(None);
    }
    let bytes = buf.split_to(header.frame_len()).freeze();
    Ok(Some(Frame { tag: header.tag, bytes }))
}

/// Most bytes of body that PostgreSQL takes from a client for this message type (`SocketBackend` in
/// `postgres.c`, `auth.c` for `p`). `None`: no client sends this type.
pub fn frontend_body_max(tag: u8) -> Option<usize> {
    match tag {
        b'Q' | b'F' | b'B' | b'P' | b'd' => Some(LARGE_BODY_MAX),
        b'X' | b'C' | b'D' | b'E' | b'H' | b'S' | b'c' | b'f' => Some(SMALL_BODY_MAX),
        b'p' => Some(PASSWORD_BODY_MAX),
        _ => None,
    }
}

/// Takes one whole frame of a client off `buf`, with PostgreSQL's own limit for its type.
///
/// # Errors
/// [`WireError::FrontendType`] as soon as the type byte is there, else as [`take_frame`].
pub fn take_frontend_frame(buf: &mut BytesMut) -> Result<Option<Frame>, WireError> {
    let Some(&tag) = buf.chunk().first() else { return Ok(None) };
    let body_max = frontend_body_max(tag).ok_or(WireError::FrontendType(tag))?;
    take_frame(buf, body_max)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::write::put_frame;

    #[test]
    fn length_words() {
        assert_eq!(Header::peek(b"Q\0\0\0"), Ok(None));
        assert_eq!(Header::peek(b"Q\0\0\0\x04"), Ok(Some(Header { tag: b'Q', body_len: 0 })));
        for impossible in [b"Q\0\0\0\0", b"Q\0\0\0\x03", b"Q\xff\xff\xff\xff", b"Q\x80\0\0\0"] {
            assert_eq!(Header::peek(impossible), Err(WireError::Length));
        }
        let largest = Header::peek(b"Q\x7f\xff\xff\xff").unwrap().unwrap();
        assert_eq!(largest.frame_len(), 0x8000_0000);
    }

    #[test]
    fn limits_are_postgresqls() {
        // The header alone decides: nothing is read or kept of a message that is too long.
        for (tag, longest) in [(b'Q', 0x3fff_fffeu32), (b'X', 10_000), (b'p', 65_535)] {
            let with_len = |len: u32| BytesMut::from(&[&[tag][..], &len.to_be_bytes()].concat()[..]);
            assert_eq!(take_frontend_frame(&mut with_len(longest)), Ok(None));
            assert_eq!(take_frontend_frame(&mut with_len(longest + 1)), Err(WireError::Length));
        }
        assert_eq!(take_frontend_frame(&mut BytesMut::new()), Ok(None));
        for tag in 0..=u8::MAX {
            assert_eq!(frontend_body_max(tag).is_some(), b"QFBPdXCDEHScfp".contains(&tag));
        }
    }

    proptest! {
        #[test]
        fn any_split_yields_the_same_frames(bodies in vec((any::<u8>(), vec(any::<u8>(), 0..50)), 0..12),
                                            cuts in vec(1usize..40, 1..30)) {
            let mut stream = BytesMut::new();
            for (tag, body) in &bodies {
                put_frame(&mut stream, *tag, |out| out.extend_from_slice(body));
            }
            let (mut buf, mut frames) = (BytesMut::new(), Vec::new());
            let mut cuts = cuts.iter().cycle();
            while !stream.is_empty() {
                let cut = cuts.next().map_or(1, |cut| *cut).min(stream.len());
                buf.extend_from_slice(&stream.split_to(cut));
                while let Some(frame) = take_frame(&mut buf, 50).unwrap() {
                    frames.push((frame.tag, frame.body().to_vec()));
                }
            }
            prop_assert!(buf.is_empty());
            prop_assert_eq!(frames, bodies);
        }
    }
}
