//! A client's first packets and its proof of identity.
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use std::sync::Arc;

use bytes::BytesMut;
use pointsman_wire::backend::{Authentication, NegotiateProtocolVersion};
use pointsman_wire::startup::{CancelRequest, FirstPacket, ProtocolVersion, Startup, take_first_packet};
use tokio_rustls::TlsAcceptor;

use super::config::{AuthMethod, ClientLimits, Secret};
use super::prove::{Claim, Proof, Prover};
use crate::fault::Fault;
use crate::transport::framed::{Framed, FramedError};
use crate::transport::stream::Stream;
use crate::transport::tls::Acceptance;

/// Where users' secrets are found.
pub trait Secrets: Send + Sync {
    /// The secret of `user`, for a client that asks for `database`. `Ok(None)`: no such user, or one without a secret.
    ///
    /// # Errors
    /// The place where it would be found cannot be reached.
    fn secret(
        &self,
        user: &str,
        database: &str,
    ) -> impl Future<Output = Result<Option<Secret>, Fault>> + Send;

    /// A proof of `user` did not fit the secret: it may have been changed.
    fn doubt(&self, user: &str, database: &str);
}

/// What a client meets at the door.
#[derive(Debug)]
pub struct Door {
    /// TLS, if there is any.
    pub tls: Option<Acceptance>,
    /// TCP clients must use it.
    pub tls_required: bool,
    /// Limits.
    pub limits: ClientLimits,
    /// How identities are proven.
    pub method: AuthMethod,
    /// Proves them.
    pub prover: Arc<Prover>,
}

/// A client that has proven who it is.
#[derive(Debug)]
pub struct Admitted {
    /// The stream, with what came after the login.
    pub framed: Framed,
    /// The startup packet.
    pub startup: Startup,
    /// The role.
    pub user: String,
    /// The database asked for.
    pub database: String,
    /// What the proof is good for at a server.
    pub proof: Proof,
    /// The version spoken from now on.
    pub version: ProtocolVersion,
    /// The last of the login, to be sent with the welcome.
    pub out: BytesMut,
}

/// Who came.
#[derive(Debug)]
pub enum Arrival {
    /// A client, admitted.
    Admitted(Box<Admitted>),
    /// Somebody who wants a statement cancelled, and waits for the connection to be closed: then it has been done.
    Cancel(CancelRequest, Box<Framed>),
    /// Nobody: the connection was closed before it said anything whole.
    Left,
}

/// Receives a client: first packets, TLS, proof. A refused client has been told so.
///
/// # Errors
/// Why it was refused.
pub async fn receive(stream: Stream, door: &Door, secrets: &impl Secrets) -> Result<Arrival, Fault> {
    let mut framed = Framed::new(stream);
    let outcome = admit(&mut framed, door, secrets).await;
    match outcome {
        Ok(Some(Entered::Start(entered))) => {
            let Identity { startup, user, database, proof, version, out } = *entered;
            Ok(Arrival::Admitted(Box::new(Admitted { framed, startup, user, database, proof, version, out })))
        }
        Ok(Some(Entered::Cancel(request))) => Ok(Arrival::Cancel(request, Box::new(framed))),
        Ok(None) => Ok(Arrival::Left),
        Err(fault) => {
            // The client may be gone: then nobody hears it.
            let _unheard = framed.send(&fault.encode("FATAL")).await;
            Err(fault)
        }
    }
}

struct Identity {
    startup: Startup,
    user: String,
    database: String,
    proof: Proof,
    version: ProtocolVersion,
    out: BytesMut,
}

enum Entered {
    Start(Box<Identity>),
    Cancel(CancelRequest),
}

async fn admit(framed: &mut Framed, door: &Door, secrets: &impl Secrets) -> Result<Option<Entered>, Fault> {
    let Some(first) = first_packets(framed, door).await? else { return Ok(None) };
    let startup = match first {
        FirstPacket::Cancel(request) => return Ok(Some(Entered::Cancel(request))),
        FirstPacket::Startup(startup) => startup,
        FirstPacket::Ssl | FirstPacket::Gss => {
            return Err(Fault::protocol("unsupported frontend protocol: encryption was asked for twice"));
        }
    };
    let mut out = BytesMut::new();
    let version = negotiate(&startup, &mut out)?;
    if door.tls_required && !framed.stream.is_tls() && !framed.stream.is_unix() {
        return Err(
            Fault::client("28000", "connection requires TLS").hint("Set sslmode=require or stronger.")
        );
    }
    let user = startup.user().map_err(|error| Fault::client("28000", error.to_string()))?.to_owned();
    let database = startup.database().map_err(|error| Fault::client("28000", error.to_string()))?.to_owned();
    let secret = secrets.secret(&user, &database).await?;
    if !out.is_empty() {
        framed.send(&out).await.map_err(|error| left(&error.into()))?;
        out.clear();
    }
    let end_point_hash = door.tls.as_ref().and_then(|tls| tls.end_point_hash.clone());
    let claim = Claim { user: &user, secret: secret.as_ref(), method: door.method, end_point_hash };
    let proof = door.prover.prove(framed, claim, &mut out).await.inspect_err(|fault| {
        if fault.sqlstate == "28P01" {
            secrets.doubt(&user, &database);
        }
    })?;
    Authentication::Ok.encode(&mut out);
    Ok(Some(Entered::Start(Box::new(Identity { startup, user, database, proof, version, out }))))
}

/// Reads up to the packet that says what the client wants; answers requests for encryption on the way.
async fn first_packets(framed: &mut Framed, door: &Door) -> Result<Option<FirstPacket>, Fault> {
    let (mut asked_tls, mut asked_gss) = (false, false);
    loop {
        let packet = loop {
            if let Some(packet) = take_first_packet(&mut framed.inbox, door.limits.startup_bytes_max)? {
                break packet;
            }
            if framed.read_more().await.is_err() {
                return Ok(None);
            }
        };
        match packet {
            FirstPacket::Ssl if !asked_tls && !framed.stream.is_tls() => {
                asked_tls = true;
                if !start_tls(framed, door).await? {
                    return Ok(None);
                }
            }
            FirstPacket::Gss if !asked_gss && !framed.stream.is_tls() => {
                asked_gss = true;
                refuse_early_bytes(framed, "GSSAPI encryption")?;
                if framed.send(b"N").await.is_err() {
                    return Ok(None);
                }
            }
            packet => return Ok(Some(packet)),
        }
    }
}

/// Bytes sent in plain together with the request could be a man in the middle's.
fn refuse_early_bytes(framed: &Framed, what: &str) -> Result<(), Fault> {
    if framed.inbox.is_empty() {
        return Ok(());
    }
    Err(Fault::protocol(format!("received unencrypted data after {what} request")).hint(
        "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
    ))
}

/// Answers SSLRequest; false when the client left in the handshake.
async fn start_tls(framed: &mut Framed, door: &Door) -> Result<bool, Fault> {
    let Some(acceptance) = door.tls.as_ref().filter(|_| !framed.stream.is_unix()) else {
        return Ok(framed.send(b"N").await.is_ok());
    };
    refuse_early_bytes(framed, "SSL")?;
    if framed.send(b"S").await.is_err() {
        return Ok(false);
    }
    let Some(plain) = framed.stream.take_plain() else { return Ok(false) };
    match TlsAcceptor::from(Arc::clone(&acceptance.config)).accept(plain).await {
        Ok(tls) => {
            framed.stream = Stream::Tls(Box::new(tls.into()));
            Ok(true)
        }
        Err(error) => {
            tracing::info!(%error, "TLS handshake with a client failed");
            Ok(false)
        }
    }
}

/// Agrees on a protocol version. <https://www.postgresql.org/docs/current/protocol-versions.html>
fn negotiate(startup: &Startup, out: &mut BytesMut) -> Result<ProtocolVersion, Fault> {
    let asked = startup.version;
    if asked.major != 3 {
        let told = format!(
            "unsupported frontend protocol {}.{}: server supports 3.0 to 3.2",
            asked.major, asked.minor
        );
        return Err(Fault::client("0A000", told));
    }
    // 3.1 was never a version.
    let version = if asked >= ProtocolVersion::V3_2 { ProtocolVersion::V3_2 } else { ProtocolVersion::V3_0 };
    let options: Vec<&[u8]> = startup.protocol_options().map(str::as_bytes).collect();
    if version != asked || !options.is_empty() {
        NegotiateProtocolVersion { version, options }.encode(out);
    }
    Ok(version)
}

/// The client left, or sent what is no message.
pub(super) fn left(error: &FramedError) -> Fault {
    match error {
        FramedError::Wire(error) => Fault::client(error.sqlstate(), error.to_string()),
        FramedError::Io(error) => {
            Fault::client("08006", "the client closed the connection during login").because(error)
        }
    }
}
