//! The client's side: we prove ourselves to a PostgreSQL server, with a password or with a client's key.

use std::fmt;

use subtle::ConstantTimeEq;

use super::attributes::{Attributes, base64, from_base64, is_nonce, key, number, text};
use super::error::ScramError;
use super::keys::{client_key, hmac, salted_password, server_key, sha256, xor};
use super::{END_POINT, SCRAM_SHA_256, SCRAM_SHA_256_PLUS};

/// Most PBKDF2 iterations that a server may ask for; a hostile one would ask for hours.
pub const ITERATIONS_MAX: u32 = 10_000_000;

/// What we know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ClientSecret<'a> {
    /// The password, before SASLprep.
    Password(&'a [u8]),
    /// The keys of the verifier that the server stores: [`super::Proved::client_key`] of a client that has
    /// logged in to us, and [`super::Verifier::server_key`].
    Keys {
        /// `ClientKey`.
        client_key: [u8; 32],
        /// `ServerKey`.
        server_key: [u8; 32],
    },
}

impl fmt::Debug for ClientSecret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(..)",
            Self::Keys { .. } => "Keys { .. }",
        })
    }
}

/// What channel binding the connection allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientBinding {
    /// No TLS.
    None,
    /// TLS, and the server did not offer SCRAM-SHA-256-PLUS: we say that we would have.
    Unused,
    /// TLS: the `tls-server-end-point` hash of the server's certificate.
    EndPoint(Vec<u8>),
}

/// An exchange whose client-first-message is out.
pub struct ClientExchange {
    /// The gs2-header and the binding data.
    channel: Vec<u8>,
    nonce: String,
}

/// An exchange whose client-final-message is out.
#[derive(Debug)]
pub struct ClientFinal {
    /// What the server must prove itself with.
    signature: [u8; 32],
}

impl ClientExchange {
    /// The exchange, the mechanism to name, and the client-first-message.
    ///
    /// `nonce` is fresh for each exchange: printable ASCII without commas (18 random bytes in base64).
    pub fn start(binding: ClientBinding, nonce: &str) -> (Self, &'static str, Vec<u8>) {
        let (mechanism, header, data) = match binding {
            ClientBinding::None => (SCRAM_SHA_256, "n,,".to_owned(), Vec::new()),
            ClientBinding::Unused => (SCRAM_SHA_256, "y,,".to_owned(), Vec::new()),
            ClientBinding::EndPoint(hash) => (SCRAM_SHA_256_PLUS, format!("p={END_POINT},,"), hash),
        };
        let client_first = format!("{header}{}", bare(nonce)).into_bytes();
        let channel = [header.as_bytes(), &data].concat();
        (Self { channel, nonce: nonce.to_owned() }, mechanism, client_first)
    }

    /// Takes the server-first-message; gives the client-final-message. With a password this is one PBKDF2.
    ///
    /// # Errors
    /// [`ScramError`] for a message that no honest server sends.
    pub fn respond(
        self,
        server_first: &[u8],
        secret: &ClientSecret<'_>,
    ) -> Result<(ClientFinal, Vec<u8>), ScramError> {
        let server_first = text(server_first)?;
        let ServerFirst { nonce, salt, iterations } = ServerFirst::parse(server_first, &self.nonce)?;
        let (client_key, server_key) = match *secret {
            ClientSecret::Keys { client_key, server_key } => (client_key, server_key),
            ClientSecret::Password(password) => {
                let salted = salted_password(password, &salt, iterations);
                (client_key(&salted), server_key(&salted))
            }
        };
        let without_proof = format!("c={},r={nonce}", base64(&self.channel));
        let auth_message = format!("{},{server_first},{without_proof}", bare(&self.nonce));
        let proof = xor(client_key, &hmac(&sha256(&client_key), &[auth_message.as_bytes()]));
        let signature = hmac(&server_key, &[auth_message.as_bytes()]);
        Ok((ClientFinal { signature }, format!("{without_proof},p={}", base64(&proof)).into_bytes()))
    }
}

impl ClientFinal {
    /// Takes the server-final-message. Until this succeeds the server may be anyone.
    ///
    /// # Errors
    /// [`ScramError::ServerSignature`] if the server does not know the verifier, [`ScramError::Server`] if it
    /// ended the exchange.
    pub fn verify(self, server_final: &[u8]) -> Result<(), ScramError> {
        let mut attributes = Attributes::new(text(server_final)?);
        let piece = attributes.piece().unwrap_or_default();
        if let Some(error) = piece.strip_prefix("e=") {
            return Err(ScramError::Server(error.to_owned()));
        }
        let signature = piece
            .strip_prefix("v=")
            .and_then(key)
            .ok_or(ScramError::Malformed("Malformed signature in server-final-message."))?;
        attributes.extensions()?;
        if signature.ct_eq(&self.signature).into() { Ok(()) } else { Err(ScramError::ServerSignature) }
    }
}

/// client-first-message-bare. The server takes the user name from the start-up packet.
fn bare(nonce: &str) -> String {
    format!("n=,r={nonce}")
}

struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> ServerFirst<'a> {
    fn parse(message: &'a str, client_nonce: &str) -> Result<Self, ScramError> {
        if message.starts_with("m=") {
            return Err(ScramError::Malformed("The server requires an unsupported SCRAM extension."));
        }
        let mut attributes = Attributes::new(message);
        let nonce = attributes.value('r', "Attribute \"r\" expected in server-first-message.")?;
        if !is_nonce(nonce) || nonce.strip_prefix(client_nonce).is_none_or(str::is_empty) {
            return Err(ScramError::Malformed("The server's nonce does not extend ours."));
        }
        let salt = attributes.value('s', "Attribute \"s\" expected in server-first-message.")?;
        let salt = from_base64(salt)
            .filter(|salt| !salt.is_empty())
            .ok_or(ScramError::Malformed("Malformed salt in server-first-message."))?;
        let iterations = attributes.value('i', "Attribute \"i\" expected in server-first-message.")?;
        let iterations = number(iterations)
            .ok_or(ScramError::Malformed("Malformed iteration count in server-first-message."))?;
        let bounded = u32::try_from(iterations).ok().filter(|count| (1..=ITERATIONS_MAX).contains(count));
        attributes.extensions()?;
        Ok(Self { nonce, salt, iterations: bounded.ok_or(ScramError::Iterations(iterations))? })
    }
}
