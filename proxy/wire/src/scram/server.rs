//! The server's side: we hold a verifier and a client proves that it knows the password.

use subtle::ConstantTimeEq;

use super::attributes::{Attributes, base64, is_attribute, is_nonce, key, text};
use super::error::ScramError;
use super::keys::{hmac, sha256, xor};
use super::verifier::Verifier;
use super::{END_POINT, SCRAM_SHA_256, SCRAM_SHA_256_PLUS};

/// What channel binding the connection allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerBinding {
    /// No TLS: only SCRAM-SHA-256 is offered.
    Plain,
    /// TLS: the `tls-server-end-point` hash of our certificate; SCRAM-SHA-256-PLUS is offered too.
    EndPoint(Vec<u8>),
}

/// The mechanisms to offer, best first.
pub fn mechanisms(binding: &ServerBinding) -> &'static [&'static str] {
    match binding {
        ServerBinding::Plain => &[SCRAM_SHA_256],
        ServerBinding::EndPoint(_) => &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256],
    }
}

/// An exchange whose server-first-message is out.
pub struct ServerExchange {
    verifier: Verifier,
    /// What `c=` of the final message must be.
    channel: String,
    /// Whether `channel` holds a certificate's hash.
    bound: bool,
    /// Client's and server's nonce together.
    nonce: String,
    /// The first two messages of the `AuthMessage`, with the comma after them.
    transcript: String,
}

/// A client that has proved itself.
pub struct Proved {
    /// The server-final-message.
    pub server_final: Vec<u8>,
    /// `ClientKey`: with [`Verifier::server_key`] it logs in to any server that stores the same verifier.
    pub client_key: [u8; 32],
}

impl ServerExchange {
    /// Takes the client-first-message; gives the server-first-message.
    ///
    /// `server_nonce` is fresh for each exchange: printable ASCII without commas (18 random bytes in base64,
    /// as PostgreSQL has it).
    ///
    /// # Errors
    /// [`ScramError`], never `Proof`.
    pub fn start(
        verifier: Verifier,
        binding: ServerBinding,
        server_nonce: &str,
        mechanism: &str,
        client_first: &[u8],
    ) -> Result<(Self, Vec<u8>), ScramError> {
        let plus = match mechanism {
            SCRAM_SHA_256 => false,
            SCRAM_SHA_256_PLUS if matches!(binding, ServerBinding::EndPoint(_)) => true,
            _ => return Err(ScramError::Mechanism),
        };
        let message = text(client_first)?;
        let (header, bare) = split_header(message)?;
        let flag = header.split(',').next().unwrap_or_default();
        check_flag(flag, plus, &binding)?;
        let client_nonce = client_nonce(bare)?;

        let mut channel = header.as_bytes().to_vec();
        if let (true, ServerBinding::EndPoint(hash)) = (plus, &binding) {
            channel.extend_from_slice(hash);
        }
        let nonce = format!("{client_nonce}{server_nonce}");
        let server_first = format!("r={nonce},s={},i={}", base64(&verifier.salt), verifier.iterations);
        let transcript = format!("{bare},{server_first},");
        let exchange = Self { verifier, channel: base64(&channel), bound: plus, nonce, transcript };
        Ok((exchange, server_first.into_bytes()))
    }

    /// Takes the client-final-message and judges its proof.
    ///
    /// # Errors
    /// `Proof` for a wrong password, any other for a message that no honest client sends.
    pub fn finish(self, client_final: &[u8]) -> Result<Proved, ScramError> {
        let message = text(client_final)?;
        let mut attributes = Attributes::new(message);
        let channel = attributes.value('c', "Attribute \"c\" expected in client-final-message.")?;
        if channel != self.channel {
            let mismatch =
                if self.bound { ScramError::BindingMismatch } else { ScramError::BindingAttribute };
            return Err(mismatch);
        }
        let nonce = attributes.value('r', "Attribute \"r\" expected in client-final-message.")?;
        let (without_proof, proof) = split_proof(message, attributes)?;
        let proof = key(proof).ok_or(ScramError::Malformed("Malformed proof in client-final-message."))?;
        if !bool::from(nonce.as_bytes().ct_eq(self.nonce.as_bytes())) {
            return Err(ScramError::Nonce);
        }

        let auth_message: [&[u8]; 2] = [self.transcript.as_bytes(), without_proof.as_bytes()];
        let client_key = xor(proof, &hmac(&self.verifier.stored_key, &auth_message));
        if !bool::from(sha256(&client_key).ct_eq(&self.verifier.stored_key)) {
            return Err(ScramError::Proof);
        }
        let signature = hmac(&self.verifier.server_key, &auth_message);
        Ok(Proved { server_final: format!("v={}", base64(&signature)).into_bytes(), client_key })
    }
}

/// The gs2-header with its two commas, and client-first-message-bare.
fn split_header(message: &str) -> Result<(&str, &str), ScramError> {
    let malformed = ScramError::Malformed("Comma expected in the gs2-header of client-first-message.");
    let mut commas = message.match_indices(',').map(|(at, _)| at);
    let (Some(first), Some(second)) = (commas.next(), commas.next()) else { return Err(malformed) };
    match &message[first + 1..second] {
        "" => Ok(message.split_at(second + 1)),
        identity if identity.starts_with("a=") => Err(ScramError::AuthorizationIdentity),
        _ => Err(ScramError::Malformed("Unexpected attribute in client-first-message.")),
    }
}

/// Whether the channel-binding flag fits the mechanism and what we offered.
fn check_flag(flag: &str, plus: bool, binding: &ServerBinding) -> Result<(), ScramError> {
    match (flag, plus) {
        ("n" | "y", true) => Err(ScramError::Malformed(
            "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.",
        )),
        ("n", false) => Ok(()),
        ("y", false) if matches!(binding, ServerBinding::EndPoint(_)) => Err(ScramError::Downgrade),
        ("y", false) => Ok(()),
        (flag, plus) => match (flag.strip_prefix("p="), plus) {
            (Some(END_POINT), true) => Ok(()),
            (Some(_), true) => Err(ScramError::BindingType),
            (Some(_), false) => Err(ScramError::Malformed(
                "The client selected SCRAM-SHA-256 without channel binding, \
                 but the SCRAM message includes channel binding data.",
            )),
            (None, _) => Err(ScramError::Malformed("Unexpected channel-binding flag.")),
        },
    }
}

/// The nonce in client-first-message-bare; the user name before it is not looked at.
fn client_nonce(bare: &str) -> Result<&str, ScramError> {
    if bare.starts_with("m=") {
        return Err(ScramError::Extension);
    }
    let mut attributes = Attributes::new(bare);
    attributes.value('n', "Attribute \"n\" expected in client-first-message.")?;
    let nonce = attributes.value('r', "Attribute \"r\" expected in client-first-message.")?;
    if !is_nonce(nonce) {
        return Err(ScramError::Malformed("Non-printable characters in SCRAM nonce."));
    }
    attributes.extensions()?;
    Ok(nonce)
}

/// client-final-message-without-proof and the proof. `left` is what follows the nonce: extensions, then `p=`
/// as the last attribute.
fn split_proof<'a>(message: &'a str, left: Attributes<'a>) -> Result<(&'a str, &'a str), ScramError> {
    let mut attributes = left;
    while let Some(piece) = attributes.piece() {
        if !is_attribute(piece) {
            break;
        }
        let Some(proof) = piece.strip_prefix("p=") else { continue };
        if attributes.rest().is_some() {
            return Err(ScramError::Malformed("Garbage found at the end of client-final-message."));
        }
        return Ok((&message[..message.len() - ",p=".len() - proof.len()], proof));
    }
    Err(ScramError::Malformed("Attribute \"p\" expected in client-final-message."))
}
