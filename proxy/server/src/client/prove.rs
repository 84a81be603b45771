//! Proof of identity: SCRAM, md5, cleartext, certificate, trust. An unknown user is asked like a known one, and fails
//! like one that has the password wrong.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;
use pointsman_wire::backend::Authentication;
use pointsman_wire::frontend::{PasswordMessage, SaslInitialResponse, SaslResponse};
use pointsman_wire::md5;
use pointsman_wire::scram::{Proved, ServerBinding, ServerExchange, Verifier, mechanisms};

use super::config::{AuthMethod, Secret};
use super::login::left;
use crate::fault::Fault;
use crate::random::{nonce, same};
use crate::transport::framed::Framed;
use crate::transport::stream::Stream;
use crate::transport::tls::common_name;

/// Longest message of a client that has not proven itself, in bytes (PostgreSQL: `PG_MAX_AUTH_TOKEN_LENGTH`).
const PROOF_BODY_MAX: usize = 65_535;
/// Iterations of verifiers made here (PostgreSQL: `scram_iterations`).
const ITERATIONS: u32 = 4096;
/// Verifiers kept that were derived from plain passwords.
const DERIVED_MAX: usize = 10_000;

/// What a proof is good for at a server.
#[derive(Clone)]
pub enum Proof {
    /// Nothing was proven that a server could use.
    None,
    /// The password.
    Password(String),
    /// `md5` and the digest.
    Md5(String),
    /// The keys of the SCRAM exchange.
    ScramKeys {
        /// `ClientKey`.
        client_key: [u8; 32],
        /// `ServerKey`.
        server_key: [u8; 32],
    },
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proof(..)")
    }
}

/// Who a client says it is, and how it is to prove that.
#[derive(Debug)]
pub struct Claim<'a> {
    /// The role's name.
    pub user: &'a str,
    /// Its secret; None for an unknown user.
    pub secret: Option<&'a Secret>,
    /// The method asked for.
    pub method: AuthMethod,
    /// Of our own certificate, for SCRAM-SHA-256-PLUS.
    pub end_point_hash: Option<Vec<u8>>,
}

/// Proves identities.
#[derive(Debug)]
pub struct Prover {
    /// Makes the challenge of unknown users look like that of known ones: the same at each try.
    mock_secret: [u8; 32],
    /// Verifiers of users with a plain password, by both, so that PBKDF2 runs once for each.
    derived: Mutex<HashMap<(String, String), Verifier>>,
}

impl Default for Prover {
    fn default() -> Self {
        Self { mock_secret: rand::random(), derived: Mutex::default() }
    }
}

impl Prover {
    /// Asks the client to prove its claim, and checks the proof. The last message of the exchange is left in
    /// `out`.
    ///
    /// # Errors
    /// 28P01 for a wrong password and an unknown user alike, 28000, 08P01.
    pub async fn prove(
        &self,
        framed: &mut Framed,
        claim: Claim<'_>,
        out: &mut BytesMut,
    ) -> Result<Proof, Fault> {
        let Claim { user, secret, .. } = claim;
        match (claim.method, secret) {
            (AuthMethod::Trust, _) => Ok(known(secret)),
            (AuthMethod::Certificate, _) => {
                certified(&framed.stream, user)?;
                Ok(known(secret))
            }
            (AuthMethod::Cleartext, _) => self.cleartext(framed, user, secret).await,
            (AuthMethod::Md5, Some(Secret::Password(_) | Secret::Md5(_)) | None)
            | (AuthMethod::Scram, Some(Secret::Md5(_))) => digest(framed, user, secret).await,
            (AuthMethod::Scram | AuthMethod::Md5, _) => self.scram(framed, claim, out).await,
        }
    }

    async fn cleartext(
        &self,
        framed: &mut Framed,
        user: &str,
        secret: Option<&Secret>,
    ) -> Result<Proof, Fault> {
        if !framed.stream.is_tls() && !framed.stream.is_unix() {
            return Err(Fault::client("28000", "a password in clear text is accepted over TLS only")
                .hint("Set sslmode=require or stronger."));
        }
        let given = ask(framed, &Authentication::CleartextPassword).await?;
        let verifier = self.verifier(user, secret);
        let expected = Verifier::derive(&given, &verifier.salt, verifier.iterations);
        let right = match secret {
            Some(Secret::Md5(hash)) => same(md5::hash(&given, user.as_bytes()).as_bytes(), hash.as_bytes()),
            Some(_) => same(&expected.stored_key, &verifier.stored_key),
            None => false,
        };
        match String::from_utf8(given) {
            Ok(password) if right => Ok(Proof::Password(password)),
            _ => Err(wrong(user)),
        }
    }

    /// SCRAM-SHA-256, and -PLUS over TLS (RFC 5802, 7677, 5929).
    async fn scram(&self, framed: &mut Framed, claim: Claim<'_>, out: &mut BytesMut) -> Result<Proof, Fault> {
        let Claim { user, secret, .. } = claim;
        let binding = match claim.end_point_hash {
            Some(hash) if framed.stream.is_tls() => ServerBinding::EndPoint(hash),
            _ => ServerBinding::Plain,
        };
        let offered = mechanisms(&binding).to_vec();
        let body = ask(framed, &Authentication::Sasl { mechanisms: offered }).await?;
        let first = SaslInitialResponse::decode(&body)?;
        let verifier = self.verifier(user, secret);
        let server_key = verifier.server_key;
        let refused = |error: &pointsman_wire::scram::ScramError| match error.sqlstate() {
            "28P01" => wrong(user),
            sqlstate => Fault::client(sqlstate, error.to_string()),
        };
        let (exchange, server_first) = ServerExchange::start(
            verifier,
            binding,
            &nonce(),
            first.mechanism,
            first.data.unwrap_or_default(),
        )
        .map_err(|error| refused(&error))?;
        let body = ask(framed, &Authentication::SaslContinue(&server_first)).await?;
        let last = SaslResponse::decode(&body)?;
        let Proved { server_final, client_key } = exchange.finish(last.0).map_err(|error| refused(&error))?;
        if secret.is_none() {
            return Err(wrong(user));
        }
        Authentication::SaslFinal(&server_final).encode(out);
        match secret {
            Some(Secret::Password(password)) => Ok(Proof::Password(password.clone())),
            _ => Ok(Proof::ScramKeys { client_key, server_key }),
        }
    }

    /// The verifier of a user; of one without a usable secret, one that no password fits.
    fn verifier(&self, user: &str, secret: Option<&Secret>) -> Verifier {
        let mock = || Verifier::mock(&self.mock_secret, user);
        match secret {
            Some(Secret::Verifier(text)) => Verifier::parse(text).unwrap_or_else(mock),
            Some(Secret::Password(password)) => self.derive(user, password),
            Some(Secret::Md5(_)) | None => mock(),
        }
    }

    fn derive(&self, user: &str, password: &str) -> Verifier {
        let key = (user.to_owned(), password.to_owned());
        if let Some(verifier) = self.derived().get(&key) {
            return verifier.clone();
        }
        let verifier = Verifier::derive(password.as_bytes(), &rand::random::<[u8; 16]>(), ITERATIONS);
        let mut derived = self.derived();
        if derived.len() >= DERIVED_MAX {
            derived.clear();
        }
        derived.insert(key, verifier.clone());
        verifier
    }

    fn derived(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Verifier>> {
        self.derived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a request and reads the answer's body.
async fn ask(framed: &mut Framed, request: &Authentication<'_>) -> Result<Vec<u8>, Fault> {
    let mut out = BytesMut::new();
    request.encode(&mut out);
    framed.send(&out).await.map_err(|error| left(&error.into()))?;
    let frame = framed.read_frame(PROOF_BODY_MAX).await.map_err(|error| left(&error))?;
    if frame.tag != b'p' {
        let told = format!("expected password response, got message type {}", frame.tag);
        return Err(Fault::protocol(told));
    }
    match request {
        Authentication::CleartextPassword | Authentication::Md5Password { .. } => {
            Ok(PasswordMessage::decode(frame.body())?.0.to_vec())
        }
        _ => Ok(frame.body().to_vec()),
    }
}

async fn digest(framed: &mut Framed, user: &str, secret: Option<&Secret>) -> Result<Proof, Fault> {
    let salt: [u8; 4] = rand::random();
    let given = ask(framed, &Authentication::Md5Password { salt }).await?;
    let hash = match secret {
        Some(Secret::Password(password)) => md5::hash(password.as_bytes(), user.as_bytes()),
        Some(Secret::Md5(hash)) => hash.clone(),
        _ => md5::hash(&rand::random::<[u8; 16]>(), user.as_bytes()),
    };
    let right = same(md5::response(&hash, salt).as_bytes(), &given);
    match secret {
        Some(Secret::Password(password)) if right => Ok(Proof::Password(password.clone())),
        Some(_) if right => Ok(Proof::Md5(hash)),
        _ => Err(wrong(user)),
    }
}

/// What is known of the user without a proof.
fn known(secret: Option<&Secret>) -> Proof {
    match secret {
        Some(Secret::Password(password)) => Proof::Password(password.clone()),
        Some(Secret::Md5(hash)) => Proof::Md5(hash.clone()),
        Some(Secret::Verifier(_)) | None => Proof::None,
    }
}

/// The certificate was verified in the handshake; here its common name must be the user's.
fn certified(stream: &Stream, user: &str) -> Result<(), Fault> {
    let name = match stream {
        Stream::Tls(tls) => {
            let chain = tls.get_ref().1.peer_certificates();
            chain.and_then(|chain| chain.first()).and_then(|leaf| common_name(leaf))
        }
        Stream::Plain(_) | Stream::Closed => None,
    };
    if name.as_deref() == Some(user) {
        return Ok(());
    }
    Err(Fault::client("28000", format!("certificate authentication failed for user \"{user}\"")))
}

fn wrong(user: &str) -> Fault {
    Fault::client("28P01", format!("password authentication failed for user \"{user}\""))
}
