//! Opens a stream to a server: resolve, connect, and TLS as `sslmode` says.
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>

use std::io;

use pointsman_wire::fields::Fields;
use pointsman_wire::startup::SSL_REQUEST;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::config::{ServerTls, TlsMode};
use super::stream::{Plain, Stream};
use super::tls;

/// Longest refusal read from a server that should have answered SSLRequest.
const REFUSAL_BYTES_MAX: u64 = 8 * 1024;

/// Where to.
#[derive(Debug, Clone, Copy)]
pub enum To<'a> {
    /// Host name or address, and port.
    Tcp(&'a str, u16),
    /// Path of a Unix-domain socket.
    Unix(&'a std::path::Path),
}

/// Connects, and starts TLS as `tls` says. Unix-domain sockets are never encrypted, as in libpq.
/// `plain` asks for no TLS where the mode leaves the choice.
///
/// # Errors
/// What the socket or TLS says; `PermissionDenied` if TLS is required and the server has none.
pub async fn dial(to: To<'_>, tls: &ServerTls, plain: bool) -> io::Result<Stream> {
    let host = match to {
        To::Unix(path) => return Ok(Stream::Plain(Plain::Unix(UnixStream::connect(path).await?))),
        To::Tcp(host, _) => host,
    };
    let To::Tcp(_, port) = to else { unreachable!("Unix-domain sockets returned above") };
    let mut tcp = connect(host, port).await?;
    let optional = matches!(tls.mode, TlsMode::Allow | TlsMode::Prefer);
    if tls.mode == TlsMode::Disable || (optional && plain) {
        return Ok(Stream::Plain(Plain::Tcp(tcp)));
    }
    tcp.write_all(SSL_REQUEST).await?;
    match tcp.read_u8().await? {
        b'S' => {}
        b'N' if optional => return Ok(Stream::Plain(Plain::Tcp(tcp))),
        b'N' => {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the server does not support TLS"));
        }
        b'E' => return Err(refusal(&mut tcp).await),
        other => {
            let text = format!("the server answered SSLRequest with byte {other}, not S or N");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
    }
    match tls::connect(tls, host, Plain::Tcp(tcp)).await {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream.into()))),
        Err(error) if tls.mode == TlsMode::Prefer && error.kind() != io::ErrorKind::InvalidInput => {
            // As libpq: where TLS is only preferred, a handshake that fails is no reason not to connect.
            tracing::debug!(%error, host, port, "TLS handshake failed; trying in plain");
            Ok(Stream::Plain(Plain::Tcp(connect(host, port).await?)))
        }
        Err(error) => Err(error),
    }
}

async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    keep_alive(&tcp)?;
    Ok(tcp)
}

/// What a server says in place of an answer to SSLRequest: it has no room for another connection, or is no PostgreSQL.
/// Nothing vouches for its words, so they go to the log only.
async fn refusal(tcp: &mut TcpStream) -> io::Error {
    let mut said = Vec::new();
    // What has come before the connection failed is all there is.
    let _cut = tcp.take(REFUSAL_BYTES_MAX).read_to_end(&mut said).await;
    let text = match said.get(4..).map(Fields::decode) {
        Some(Ok(fields)) => String::from_utf8_lossy(fields.get(b'M').unwrap_or_default()).into_owned(),
        // A server that could not even start a process says it as version 2 of the protocol did: the bare text.
        _ => String::from_utf8_lossy(&said).trim_matches(['\0', '\n']).to_owned(),
    };
    io::Error::new(
        io::ErrorKind::ConnectionRefused,
        format!("the server answered SSLRequest with an error: {text}"),
    )
}

/// Notices a peer that vanished without a word within about two minutes.
pub(super) fn keep_alive(tcp: &TcpStream) -> io::Result<()> {
    let keep = socket2::TcpKeepalive::new()
        .with_time(std::time::Duration::from_secs(60))
        .with_interval(std::time::Duration::from_secs(15))
        .with_retries(4);
    socket2::SockRef::from(tcp).set_tcp_keepalive(&keep)
}
