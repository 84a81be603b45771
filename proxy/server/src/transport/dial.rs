//! Opens a stream to a server: resolve, connect, and TLS as `sslmode` says.
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>

use std::io;

use pointsman_wire::startup::SSL_REQUEST;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::config::{ServerTls, TlsMode};
use super::stream::{Plain, Stream};
use super::tls;

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
    let mut tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    keep_alive(&tcp)?;
    let optional = matches!(tls.mode, TlsMode::Allow | TlsMode::Prefer);
    if tls.mode == TlsMode::Disable || (optional && plain) {
        return Ok(Stream::Plain(Plain::Tcp(tcp)));
    }
    tcp.write_all(SSL_REQUEST).await?;
    match tcp.read_u8().await? {
        b'S' => {}
        b'N' if matches!(tls.mode, TlsMode::Prefer | TlsMode::Allow) => {
            return Ok(Stream::Plain(Plain::Tcp(tcp)));
        }
        b'N' => {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the server does not support TLS"));
        }
        other => {
            let text = format!("the server answered SSLRequest with byte {other}, not S or N");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
    }
    let stream = tls::connect(tls, host, Plain::Tcp(tcp)).await?;
    Ok(Stream::Tls(Box::new(stream.into())))
}

/// Notices a peer that vanished without a word within about two minutes.
fn keep_alive(tcp: &TcpStream) -> io::Result<()> {
    let keep = socket2::TcpKeepalive::new()
        .with_time(std::time::Duration::from_secs(60))
        .with_interval(std::time::Duration::from_secs(15))
        .with_retries(4);
    socket2::SockRef::from(tcp).set_tcp_keepalive(&keep)
}
