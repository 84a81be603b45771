//! A client that speaks frames: it sends any bytes and reads whole messages, each with a deadline.
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::{PASSWORD, msg};

mod frame;
mod login;
mod tls;

pub use frame::{Frame, normalise, pretty, tags};
pub use login::{Credentials, Secret};
pub use tls::TlsClient;

/// Either side of a connection, TLS or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// How long a reply may take unless a test says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that speaks frames.
pub struct Wire {
    stream: Pin<Box<dyn Stream>>,
    buffer: BytesMut,
    /// How long `frame` waits.
    pub patience: Duration,
    /// The process id of `BackendKeyData`.
    pub process_id: i32,
    /// The cancel key of `BackendKeyData`.
    pub secret: Bytes,
    /// What `ParameterStatus` has said, newest last.
    pub parameters: Vec<(String, String)>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("process_id", &self.process_id).finish_non_exhaustive()
    }
}

impl Wire {
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::pin(stream),
            buffer: BytesMut::with_capacity(8192),
            patience: PATIENCE,
            process_id: 0,
            secret: Bytes::new(),
            parameters: Vec::new(),
        }
    }

    /// Connects to 127.0.0.1 and says nothing yet.
    pub async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("somebody listens");
        stream.set_nodelay(true).expect("no delay");
        Self::over(stream)
    }

    /// Connects to a Unix-domain socket and says nothing yet.
    pub async fn connect_unix(path: &std::path::Path) -> Self {
        Self::over(UnixStream::connect(path).await.expect("somebody listens"))
    }

    /// Connects and logs in with the usual password.
    ///
    /// # Panics
    /// When the login fails.
    pub async fn login(port: u16, user: &str, database: &str) -> Self {
        Self::login_with(port, &[("user", user), ("database", database)]).await
    }

    /// Connects and logs in with the usual password and these startup parameters.
    ///
    /// # Panics
    /// When the login fails.
    pub async fn login_with(port: u16, parameters: &[(&str, &str)]) -> Self {
        let mut wire = Self::connect(port).await;
        let credentials = Credentials::new(parameters, Secret::Password(PASSWORD));
        if let Err(frames) = wire.authenticate(&credentials).await {
            panic!("login failed:\n{}", pretty(&frames));
        }
        wire
    }

    /// Connects and logs in as `app` to the usual database; `None` when nobody listens or the login is refused.
    pub async fn try_login(port: u16) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let mut wire = Self::over(stream);
        let parameters = [("user", "app"), ("database", crate::DATABASE)];
        let credentials = Credentials::new(&parameters, Secret::Password(PASSWORD));
        wire.authenticate(&credentials).await.is_ok().then_some(wire)
    }

    /// Sends bytes and reads up to `ReadyForQuery`; `None` when the connection has ended before.
    pub async fn try_ask(&mut self, bytes: &[u8]) -> Option<Vec<Frame>> {
        self.try_send(bytes).await.ok()?;
        let frames = self.until(b'Z').await;
        frames.last().is_some_and(|frame| frame.tag == b'Z').then_some(frames)
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.expect("the peer takes it");
    }

    /// Sends bytes; a closed connection is an error and not a panic.
    pub async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match tokio::time::timeout(self.patience, write).await {
            Ok(done) => done,
            Err(_) => panic!("the peer took nothing for {:?}", self.patience),
        }
    }

    /// Ends the sending side: the peer reads to its end and may still answer.
    pub async fn end_sending(&mut self) {
        self.stream.shutdown().await.expect("the sending side ends");
    }

    /// The next message, or `None` when the peer has closed.
    ///
    /// # Panics
    /// When nothing came in time.
    pub async fn frame(&mut self) -> Option<Frame> {
        let patience = self.patience;
        match tokio::time::timeout(patience, self.read_frame()).await {
            Ok(frame) => frame,
            Err(_) => panic!("no message for {patience:?}; unfinished: {:?}", self.buffer),
        }
    }

    /// Nothing comes within `span`.
    ///
    /// # Panics
    /// When a message came.
    pub async fn quiet(&mut self, span: Duration) {
        if let Ok(frame) = tokio::time::timeout(span, self.read_frame()).await {
            panic!("expected silence, came {frame:?}");
        }
    }

    async fn read_frame(&mut self) -> Option<Frame> {
        loop {
            if self.buffer.len() >= 5 {
                let length = (&self.buffer[1..5]).get_u32() as usize;
                if self.buffer.len() > length {
                    let bytes = self.buffer.split_to(length + 1).freeze();
                    let frame = Frame { tag: bytes[0], body: bytes.slice(5..) };
                    self.note(&frame);
                    return Some(frame);
                }
                self.buffer.reserve(length + 1 - self.buffer.len());
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Remembers what a message says about the connection.
    fn note(&mut self, frame: &Frame) {
        match frame.tag {
            b'K' if frame.body.len() >= 4 => {
                self.process_id = (&frame.body[..4]).get_i32();
                self.secret = frame.body.slice(4..);
            }
            b'S' => self.parameters.push(frame.two_texts()),
            _ => {}
        }
    }

    /// The newest value of a parameter that `ParameterStatus` has named.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// One byte, as the answer to `SSLRequest` is; `None` when the peer has closed.
    pub async fn byte(&mut self) -> Option<u8> {
        let patience = self.patience;
        let byte = tokio::time::timeout(patience, self.stream.read_u8()).await;
        byte.unwrap_or_else(|_| panic!("no byte for {patience:?}")).ok()
    }

    /// Reads up to and with the first message of `tag`, or to the end of the connection.
    pub async fn until(&mut self, tag: u8) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.frame().await {
            let found = frame.tag == tag;
            frames.push(frame);
            if found {
                break;
            }
        }
        frames
    }

    /// Reads `count` messages.
    pub async fn frames(&mut self, count: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        for _ in 0..count {
            frames.extend(self.frame().await);
        }
        frames
    }

    /// Reads until the peer closes; every message it still sent.
    pub async fn until_closed(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.frame().await {
            frames.push(frame);
        }
        frames
    }

    /// Sends bytes and reads up to `ReadyForQuery`.
    pub async fn ask(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.send(bytes).await;
        self.until(b'Z').await
    }

    /// A simple query's replies up to `ReadyForQuery`.
    pub async fn query(&mut self, sql: &str) -> Vec<Frame> {
        self.ask(&msg::query(sql)).await
    }

    /// A simple query that must not fail.
    ///
    /// # Panics
    /// When it fails.
    pub async fn run(&mut self, sql: &str) -> Vec<Frame> {
        let frames = self.query(sql).await;
        let fails = frames.iter().any(|frame| frame.tag == b'E');
        assert!(
            !fails && frames.last().is_some_and(|frame| frame.tag == b'Z'),
            "{sql}:\n{}",
            pretty(&frames)
        );
        frames
    }

    /// The first column of the first row of a simple query, `NULL` for null.
    ///
    /// # Panics
    /// When there is none.
    pub async fn value(&mut self, sql: &str) -> String {
        let frames = self.run(sql).await;
        let row = frames.iter().find(|frame| frame.tag == b'D');
        let row = row.unwrap_or_else(|| panic!("{sql}: no row:\n{}", pretty(&frames)));
        row.values().into_iter().next().flatten().unwrap_or_else(|| "NULL".to_owned())
    }

    /// The SQLSTATE of a simple query that must fail.
    ///
    /// # Panics
    /// When it succeeds.
    pub async fn error(&mut self, sql: &str) -> String {
        let frames = self.query(sql).await;
        let error = frames.iter().find(|frame| frame.tag == b'E');
        error.unwrap_or_else(|| panic!("{sql}: no error:\n{}", pretty(&frames))).sqlstate()
    }

    /// A prepared query by protocol with the unnamed statement: the first column of the first row.
    ///
    /// # Panics
    /// When there is none.
    pub async fn extended_value(&mut self, sql: &str, values: &[Option<&str>]) -> String {
        let frames = self.ask(&[msg::statement(sql, values), msg::sync()].concat()).await;
        let row = frames.iter().find(|frame| frame.tag == b'D');
        let row = row.unwrap_or_else(|| panic!("{sql}: no row:\n{}", pretty(&frames)));
        row.values().into_iter().next().flatten().unwrap_or_else(|| "NULL".to_owned())
    }

    /// Asks the same port to cancel what this connection runs; returns when the cancel connection is closed.
    pub async fn cancel(&self, port: u16) {
        let mut other = Self::connect(port).await;
        other.send(&msg::cancel(self.process_id, &self.secret)).await;
        other.until_closed().await;
    }
}
