//! Opens a connection to a server and logs in: TLS, startup packet, proof of identity, first parameters.
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pointsman_wire::backend::{Authentication, BackendKeyData, ParameterStatus};
use pointsman_wire::frame::Frame;
use pointsman_wire::frontend::{PasswordMessage, SaslInitialResponse, SaslResponse};
use pointsman_wire::md5;
use pointsman_wire::scram::{ClientBinding, ClientExchange, ClientSecret};
use pointsman_wire::startup::{ProtocolVersion, Startup};

use super::config::{Address, PoolConfig, Role, ServerConfig};
use super::connection::{CancelTarget, Connection};
use super::credentials::Credentials;
use super::server::Server;
use crate::fault::Fault;
use crate::random::nonce;
use crate::transport::config::TlsMode;
use crate::transport::dial::{To, dial};
use crate::transport::framed::Framed;
use crate::transport::stream::Stream;
use crate::transport::tls;

/// Longest message accepted from a server during login, in bytes.
const LOGIN_BODY_MAX: usize = 1024 * 1024;

/// SQLSTATE of a server whose pg_hba.conf has no place for this kind of connection.
pub const REFUSED: &str = "28000";

/// Who logs in, and with what.
#[derive(Debug, Clone)]
pub struct Login {
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// Proof of identity.
    pub credentials: Credentials,
    /// Further startup parameters.
    pub parameters: Vec<(String, String)>,
}

/// The startup parameters by which a pool's settings become its connections' own defaults, so that the server
/// itself enforces its timeouts and `RESET` returns to them.
pub fn pool_parameters(pool: &PoolConfig) -> Vec<(String, String)> {
    let milliseconds = |time: std::time::Duration| time.as_millis().to_string();
    let named = [
        ("application_name", pool.application_name.clone()),
        ("TimeZone", pool.timezone.clone()),
        ("statement_timeout", pool.statement_timeout.map(milliseconds)),
        ("idle_in_transaction_session_timeout", pool.idle_transaction_timeout.map(milliseconds)),
    ];
    named.into_iter().filter_map(|(name, value)| value.map(|value| (name.to_owned(), value))).collect()
}

/// A logged-in stream that has said nothing after its login yet.
#[derive(Debug)]
pub struct LoggedIn {
    /// The stream, and bytes that came after ReadyForQuery.
    pub framed: Framed,
    /// `BackendKeyData`.
    pub key: BackendKeyData,
    /// The parameters reported, in their order.
    pub reported: Vec<(Bytes, Bytes)>,
}

/// Connects to `server` and logs in, within the pool's `connect_timeout`.
///
/// # Errors
/// The server's own ErrorResponse, or 08001/08006 with the socket's error as its cause.
pub async fn connect(server: &Arc<Server>, login: &Login, pool: &PoolConfig) -> Result<Connection, Fault> {
    let generation = server.generation();
    let logged_in = within(pool.connect_timeout, &server.config, log_in(&server.config, login)).await?;
    let LoggedIn { framed, key, reported } = logged_in;
    if server.said() == Some(Role::Primary) && is_standby(&reported) {
        return Err(Fault::upstream(
            "25006",
            format!("server {} is no longer the primary", server.config.address),
        ));
    }
    let target = CancelTarget::new(
        server.config.address.clone(),
        server.config.tls.clone(),
        key.process_id,
        key.secret,
    );
    let mut connection = Connection::new(framed.stream, target, pool.prepared_statements_max);
    connection.generation = generation;
    connection.reported = reported;
    connection.unread.extend(&framed.inbox);
    Ok(connection)
}

/// Whether a server said at login that it is a standby (from version 14 on).
fn is_standby(reported: &[(Bytes, Bytes)]) -> bool {
    reported.iter().any(|(name, value)| &name[..] == b"in_hot_standby" && &value[..] == b"on")
}

async fn within<T>(
    limit: std::time::Duration,
    server: &ServerConfig,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let late =
        || Fault::upstream("08001", format!("connecting to {} took longer than {limit:?}", server.address));
    tokio::time::timeout(limit, work).await.map_err(|_| late())?
}

/// Opens the stream to an address; `plain` asks for no TLS where the mode leaves the choice.
///
/// # Errors
/// 08001, with the socket's error as its cause.
pub async fn open(server: &ServerConfig, plain: bool) -> Result<Stream, Fault> {
    let to = match &server.address {
        Address::Tcp { host, port } => To::Tcp(host, *port),
        Address::Unix(path) => To::Unix(path),
    };
    dial(to, &server.tls, plain).await.map_err(|error| {
        Fault::upstream("08001", format!("could not connect to server {}", server.address)).because(error)
    })
}

/// Connects and logs in, without a time limit; `TlsMode::Allow` and `Prefer` try again
/// the other way when the server refuses the first.
///
/// # Errors
/// As `connect`.
pub async fn log_in(server: &ServerConfig, login: &Login) -> Result<LoggedIn, Fault> {
    let stream = open(server, server.tls.mode == TlsMode::Allow).await?;
    let encrypted = stream.is_tls();
    match exchange(stream, server, login).await {
        Err(fault) if goes_other_way(server, encrypted, &fault) => {
            exchange(open(server, encrypted).await?, server, login).await
        }
        outcome => outcome,
    }
}

/// Whether a login that failed is tried once more with the other kind of stream: pg_hba.conf may take only that, and the
/// mode leaves the choice.
pub fn goes_other_way(server: &ServerConfig, encrypted: bool, fault: &Fault) -> bool {
    let free = match server.tls.mode {
        TlsMode::Allow => !encrypted,
        TlsMode::Prefer => encrypted,
        _ => false,
    };
    free && fault.sqlstate == REFUSED
}

async fn exchange(stream: Stream, server: &ServerConfig, login: &Login) -> Result<LoggedIn, Fault> {
    let lost = |error: &dyn std::fmt::Display| {
        Fault::upstream("08006", format!("server {} closed the connection during login", server.address))
            .because(error)
    };
    let mut framed = Framed::new(stream);
    let mut out = BytesMut::new();
    startup(login).encode(&mut out);
    framed.send(&out).await.map_err(|error| lost(&error))?;
    authenticate(&mut framed, login, &lost).await?;
    let mut key = None;
    let mut reported = Vec::new();
    loop {
        let frame = next(&mut framed, &lost).await?;
        match frame.tag {
            b'S' => {
                let status = ParameterStatus::decode(frame.body()).map_err(|error| lost(&error))?;
                reported.push((Bytes::copy_from_slice(status.name), Bytes::copy_from_slice(status.value)));
            }
            b'K' => key = Some(BackendKeyData::decode(frame.body()).map_err(|error| lost(&error))?),
            b'N' => {}
            b'Z' => break,
            tag => return Err(lost(&format!("message '{}' where none was due", char::from(tag)))),
        }
    }
    // Poolers in front of the server may send no key: such a connection cannot be cancelled.
    let key = key.unwrap_or(BackendKeyData { process_id: 0, secret: Bytes::from_static(&[0; 4]) });
    Ok(LoggedIn { framed, key, reported })
}

fn startup(login: &Login) -> Startup {
    let mut parameters =
        vec![("user".to_owned(), login.user.clone()), ("database".to_owned(), login.database.clone())];
    parameters.extend(login.parameters.iter().cloned());
    Startup { version: ProtocolVersion::V3_0, parameters }
}

async fn next(framed: &mut Framed, lost: &impl Fn(&dyn std::fmt::Display) -> Fault) -> Result<Frame, Fault> {
    let frame = framed.read_frame(LOGIN_BODY_MAX).await.map_err(|error| lost(&error))?;
    if frame.tag == b'E' {
        return Err(Fault::from_server(frame.into_bytes()));
    }
    Ok(frame)
}

async fn authenticate(
    framed: &mut Framed,
    login: &Login,
    lost: &impl Fn(&dyn std::fmt::Display) -> Fault,
) -> Result<(), Fault> {
    loop {
        let frame = next(framed, lost).await?;
        if frame.tag == b'N' || frame.tag == b'v' {
            continue;
        }
        if frame.tag != b'R' {
            return Err(lost(&"no authentication request"));
        }
        let mut out = BytesMut::new();
        match Authentication::decode(frame.body()).map_err(|error| lost(&error))? {
            Authentication::Ok => return Ok(()),
            Authentication::CleartextPassword => {
                let Credentials::Password(password) = &login.credentials else {
                    return Err(missing(login, "a password"));
                };
                PasswordMessage(password.as_bytes()).encode(&mut out);
            }
            Authentication::Md5Password { salt } => {
                let hash = match &login.credentials {
                    Credentials::Password(password) => md5::hash(password.as_bytes(), login.user.as_bytes()),
                    Credentials::Md5(hash) => hash.clone(),
                    Credentials::None | Credentials::ScramKeys { .. } => {
                        return Err(missing(login, "a password or its md5 hash"));
                    }
                };
                PasswordMessage(md5::response(&hash, salt).as_bytes()).encode(&mut out);
            }
            Authentication::Sasl { mechanisms } => {
                let plus = mechanisms.contains(&"SCRAM-SHA-256-PLUS");
                scram(framed, login, plus, lost).await?;
                continue;
            }
            other => return Err(lost(&format!("authentication {other:?} is not supported"))),
        }
        framed.send(&out).await.map_err(|error| lost(&error))?;
    }
}

fn missing(login: &Login, what: &str) -> Fault {
    Fault::pointsman("28000", format!("the server asks for {what} of user \"{}\"", login.user))
        .hint("Give this user's secret in the configuration in a form that answers the server's method.")
}

async fn scram(
    framed: &mut Framed,
    login: &Login,
    plus_offered: bool,
    lost: &impl Fn(&dyn std::fmt::Display) -> Fault,
) -> Result<(), Fault> {
    let secret = match &login.credentials {
        Credentials::Password(password) => ClientSecret::Password(password.as_bytes()),
        Credentials::ScramKeys { client_key, server_key } => {
            ClientSecret::Keys { client_key: *client_key, server_key: *server_key }
        }
        Credentials::None | Credentials::Md5(_) => return Err(missing(login, "a SCRAM proof")),
    };
    let binding = binding(&framed.stream, plus_offered);
    let (exchange, mechanism, first) = ClientExchange::start(binding, &nonce());
    let mut out = BytesMut::new();
    SaslInitialResponse { mechanism, data: Some(&first) }.encode(&mut out);
    framed.send(&out).await.map_err(|error| lost(&error))?;
    let reply = next(framed, lost).await?;
    let Ok(Authentication::SaslContinue(data)) = Authentication::decode(reply.body()) else {
        return Err(lost(&"no SASL continuation"));
    };
    let (last, response) = exchange.respond(data, &secret).map_err(|error| lost(&error))?;
    out.clear();
    SaslResponse(&response).encode(&mut out);
    framed.send(&out).await.map_err(|error| lost(&error))?;
    let reply = next(framed, lost).await?;
    let Ok(Authentication::SaslFinal(data)) = Authentication::decode(reply.body()) else {
        return Err(lost(&"no SASL outcome"));
    };
    last.verify(data).map_err(|error| lost(&error))
}

fn binding(stream: &Stream, plus_offered: bool) -> ClientBinding {
    let Stream::Tls(tls) = stream else { return ClientBinding::None };
    let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    match certificate.and_then(|certificate| tls::end_point_hash(certificate)) {
        Some(hash) if plus_offered => ClientBinding::EndPoint(hash),
        // Without a hash for the certificate's algorithm the client cannot bind at all: it must not claim to.
        None if plus_offered => ClientBinding::None,
        _ => ClientBinding::Unused,
    }
}
