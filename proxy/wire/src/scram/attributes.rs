//! The grammar of SCRAM messages: attributes of one letter and a value, between commas.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::error::ScramError;

/// What is left of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a> {
    /// `None` once the last attribute has been taken.
    left: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(message: &'a str) -> Self {
        Self { left: Some(message) }
    }

    /// The next piece, whatever it is.
    pub(super) fn piece(&mut self) -> Option<&'a str> {
        let left = self.left?;
        let (piece, rest) = match left.split_once(',') {
            Some((piece, rest)) => (piece, Some(rest)),
            None => (left, None),
        };
        self.left = rest;
        Some(piece)
    }

    /// The value of the next attribute, which must be `name`.
    pub(super) fn value(&mut self, name: char, missing: &'static str) -> Result<&'a str, ScramError> {
        self.piece()
            .and_then(|piece| piece.strip_prefix(name))
            .and_then(|piece| piece.strip_prefix('='))
            .ok_or(ScramError::Malformed(missing))
    }

    /// What has not been taken yet.
    pub(super) fn rest(self) -> Option<&'a str> {
        self.left
    }

    /// Only extensions may be left; they are skipped, as RFC 5802 says of those one does not know.
    pub(super) fn extensions(mut self) -> Result<(), ScramError> {
        while let Some(piece) = self.piece() {
            if !is_attribute(piece) {
                return Err(ScramError::Malformed("Attribute expected, but found an invalid character."));
            }
        }
        Ok(())
    }
}

/// Whether this is a letter, `=` and a value.
pub(super) fn is_attribute(piece: &str) -> bool {
    let mut characters = piece.chars();
    characters.next().is_some_and(|letter| letter.is_ascii_alphabetic()) && characters.next() == Some('=')
}

/// A message as text. Zero bytes and bytes that are not UTF-8 are in no SCRAM message.
pub(super) fn text(message: &[u8]) -> Result<&str, ScramError> {
    match std::str::from_utf8(message) {
        Ok("") => Err(ScramError::Malformed("The message is empty.")),
        Ok(text) if text.contains('\0') => {
            Err(ScramError::Malformed("Message length does not match input length."))
        }
        Ok(text) => Ok(text),
        Err(_) => Err(ScramError::Malformed("The message is not valid UTF-8.")),
    }
}

/// Whether this is one or more printable ASCII characters other than the comma (RFC 5802 `printable`).
pub(super) fn is_nonce(nonce: &str) -> bool {
    !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// 32 bytes from base64.
pub(super) fn key(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// A decimal number without sign.
pub(super) fn number(text: &str) -> Option<u64> {
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
