//! Sockets that clients connect to: bound once, accepted from on every worker.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::config::Listen;
use super::dial::keep_alive;
use super::stream::Plain;

/// Connections that the kernel may hold for us (bounded by `net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// A bound socket, not yet part of a runtime.
#[derive(Debug)]
pub enum Bound {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix-domain; the file goes when the last listener does.
    Unix(std::os::unix::net::UnixListener, Arc<SocketFile>),
}

/// A Unix-domain socket's file.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may have been removed by hand.
        let _absent = std::fs::remove_file(&self.0);
    }
}

/// Binds an address.
///
/// # Errors
/// `AddrInUse` and what else the socket says.
pub fn bind(listen: &Listen) -> io::Result<Bound> {
    match listen {
        Listen::Tcp(address) => {
            let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&(*address).into())?;
            socket.listen(BACKLOG)?;
            Ok(Bound::Tcp(socket.into()))
        }
        Listen::Unix { path, mode } => {
            remove_leftover(path)?;
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.bind(&socket2::SockAddr::unix(path)?)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode))?;
            socket.listen(BACKLOG)?;
            Ok(Bound::Unix(socket.into(), Arc::new(SocketFile(path.clone()))))
        }
    }
}

/// A socket file that nobody listens on is a leftover of a process that died.
fn remove_leftover(path: &Path) -> io::Result<()> {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on this socket")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

impl Bound {
    /// Another handle to the same socket.
    ///
    /// # Errors
    /// No file descriptor left.
    pub fn again(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => Ok(Self::Tcp(listener.try_clone()?)),
            Self::Unix(listener, file) => Ok(Self::Unix(listener.try_clone()?, Arc::clone(file))),
        }
    }

    /// Makes it part of the runtime that calls.
    ///
    /// # Errors
    /// The runtime's reactor refuses it.
    pub fn listen(self) -> io::Result<Listener> {
        match self {
            Self::Tcp(listener) => Ok(Listener::Tcp(TcpListener::from_std(listener)?)),
            Self::Unix(listener, file) => Ok(Listener::Unix(UnixListener::from_std(listener)?, file)),
        }
    }
}

/// A socket that accepts.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix-domain.
    Unix(UnixListener, Arc<SocketFile>),
}

impl Listener {
    /// The next client.
    ///
    /// # Errors
    /// No file descriptor left, or the client gave up meanwhile.
    pub async fn accept(&self) -> io::Result<Plain> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                keep_alive(&stream)?;
                Ok(Plain::Tcp(stream))
            }
            Self::Unix(listener, _) => Ok(Plain::Unix(listener.accept().await?.0)),
        }
    }
}
