//! A byte stream to a client or a server: TCP or a Unix-domain socket, in plain or under TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A stream in plain.
#[derive(Debug)]
pub enum Plain {
    /// TCP, without Nagle's delay.
    Tcp(TcpStream),
    /// A Unix-domain socket.
    Unix(UnixStream),
    /// In this process.
    Memory(DuplexStream),
}

/// A stream, in plain or under TLS.
#[derive(Debug)]
pub enum Stream {
    /// In plain.
    Plain(Plain),
    /// Under TLS, as either side of it.
    Tls(Box<TlsStream<Plain>>),
    /// Taken away for a TLS handshake that has not succeeded.
    Closed,
}

/// The addresses of a TCP stream's two ends; none of a Unix-domain socket's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ends {
    /// The other side's.
    pub peer: Option<SocketAddr>,
    /// Ours.
    pub local: Option<SocketAddr>,
}

impl Stream {
    /// Its two ends. What the system does not tell of a socket that has just closed is left out.
    pub fn ends(&self) -> Ends {
        let plain = match self {
            Self::Plain(plain) => plain,
            Self::Tls(tls) => tls.get_ref().0,
            Self::Closed => return Ends::default(),
        };
        match plain {
            Plain::Tcp(tcp) => Ends { peer: tcp.peer_addr().ok(), local: tcp.local_addr().ok() },
            Plain::Unix(_) | Plain::Memory(_) => Ends::default(),
        }
    }

    /// The version of TLS that is spoken, if any.
    pub fn tls_version(&self) -> Option<&'static str> {
        let Self::Tls(tls) = self else { return None };
        tls.get_ref().1.protocol_version().map(|version| version.as_str().unwrap_or("TLS"))
    }

    /// Whether the stream is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether the stream is a Unix-domain socket.
    pub fn is_unix(&self) -> bool {
        match self {
            Self::Plain(plain) => matches!(plain, Plain::Unix(_)),
            Self::Tls(tls) => matches!(tls.get_ref().0, Plain::Unix(_)),
            Self::Closed => false,
        }
    }

    /// Takes the plain stream, to put it under TLS.
    pub fn take_plain(&mut self) -> Option<Plain> {
        match std::mem::replace(self, Self::Closed) {
            Self::Plain(plain) => Some(plain),
            Self::Tls(_) | Self::Closed => None,
        }
    }
}

impl AsyncRead for Plain {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
            Self::Memory(memory) => Pin::new(memory).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Plain {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_write(cx, buf),
            Self::Memory(memory) => Pin::new(memory).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Self::Memory(memory) => Pin::new(memory).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(plain).poll_read(cx, buf),
            Self::Closed => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(plain).poll_write(cx, buf),
            Self::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_) | Self::Closed => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(plain).poll_shutdown(cx),
            Self::Closed => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
        }
    }
}
