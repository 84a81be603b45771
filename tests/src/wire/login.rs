//! Logging in, by whatever method the server asks for, with postgres-protocol's SCRAM client.
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use super::{Frame, Wire};
use crate::msg;

/// What the client proves itself with.
#[derive(Debug, Clone)]
pub enum Secret<'a> {
    /// A password.
    Password(&'a str),
    /// A password, and the server's certificate hash for SCRAM-SHA-256-PLUS.
    Bound(&'a str, Vec<u8>),
    /// A password, over TLS whose server certificate the client did not look at.
    Unbound(&'a str),
}

/// Who logs in and how.
#[derive(Debug, Clone)]
pub struct Credentials<'a> {
    /// The protocol's version.
    pub version: i32,
    /// The startup packet's parameters.
    pub parameters: Vec<(&'a str, &'a str)>,
    /// The proof.
    pub secret: Secret<'a>,
}

impl<'a> Credentials<'a> {
    /// Protocol 3.0.
    pub fn new(parameters: &[(&'a str, &'a str)], secret: Secret<'a>) -> Self {
        Self { version: msg::V3_0, parameters: parameters.to_vec(), secret }
    }

    fn user(&self) -> &str {
        self.parameters.iter().find(|(name, _)| *name == "user").map_or("", |(_, value)| value)
    }

    fn password(&self) -> &str {
        match &self.secret {
            Secret::Password(password) | Secret::Bound(password, _) | Secret::Unbound(password) => password,
        }
    }

    fn binding(&self) -> ChannelBinding {
        match &self.secret {
            Secret::Password(_) => ChannelBinding::unsupported(),
            Secret::Bound(_, hash) => ChannelBinding::tls_server_end_point(hash.clone()),
            Secret::Unbound(_) => ChannelBinding::unrequested(),
        }
    }

    fn mechanism(&self) -> &'static str {
        if matches!(self.secret, Secret::Bound(..)) { "SCRAM-SHA-256-PLUS" } else { "SCRAM-SHA-256" }
    }
}

impl Wire {
    /// Sends the startup packet and answers what the server asks, up to `ReadyForQuery`.
    ///
    /// # Errors
    /// Every message of the server when the login ends in an error or a closed connection.
    pub async fn authenticate(&mut self, credentials: &Credentials<'_>) -> Result<Vec<Frame>, Vec<Frame>> {
        let startup = msg::startup(credentials.version, &credentials.parameters);
        if self.try_send(&startup).await.is_err() {
            return Err(Vec::new());
        }
        let mut seen = Vec::new();
        let mut scram = None;
        loop {
            let Some(frame) = self.frame().await else { return Err(seen) };
            seen.push(frame.clone());
            match frame.tag {
                b'Z' => return Ok(seen),
                b'E' => {
                    seen.extend(self.until_closed().await);
                    return Err(seen);
                }
                b'R' => {
                    if let Some(answer) = answer(&frame, credentials, &mut scram)
                        && self.try_send(&answer).await.is_err()
                    {
                        return Err(seen);
                    }
                }
                _ => {}
            }
        }
    }
}

/// The answer to an authentication request, if it needs one.
fn answer(frame: &Frame, credentials: &Credentials<'_>, scram: &mut Option<ScramSha256>) -> Option<Vec<u8>> {
    let (code, data) = frame.body.split_at(4);
    match u32::from_be_bytes(code.try_into().expect("four bytes")) {
        3 => Some(msg::password(credentials.password())),
        5 => {
            let salt = data.try_into().expect("four bytes of salt");
            let (user, password) = (credentials.user().as_bytes(), credentials.password().as_bytes());
            Some(msg::password(&md5_hash(user, password, salt)))
        }
        10 => {
            let offered = String::from_utf8_lossy(data);
            let mechanism = credentials.mechanism();
            assert!(offered.split('\0').any(|offer| offer == mechanism), "{mechanism} is not in {offered:?}");
            let client = ScramSha256::new(credentials.password().as_bytes(), credentials.binding());
            let first = msg::sasl_initial(mechanism, client.message());
            *scram = Some(client);
            Some(first)
        }
        11 => {
            let client = scram.as_mut().expect("SASL has begun");
            client.update(data).expect("a well-formed server-first-message");
            Some(msg::message(b'p', client.message()))
        }
        12 => {
            scram.as_mut().expect("SASL has begun").finish(data).expect("the server knows the verifier");
            None
        }
        _ => None,
    }
}
