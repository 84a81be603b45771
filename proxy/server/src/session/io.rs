//! The four buffers of a session and the one place where it waits: written first, then read, each at most once a turn.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

use crate::transport::buffer::Buffer;
use crate::transport::stream::Stream;

/// While more bytes than this wait for a server, nothing more is read from the client.
const TO_SERVER_MAX: usize = 256 * 1024;
/// While a session waits for a connection, no more than this many of the client's bytes are read ahead.
const AHEAD_BYTES_MAX: usize = 64 * 1024;
/// While more bytes than this wait for the client, nothing more is read from the server.
const TO_CLIENT_MAX: usize = 64 * 1024;

/// Shorter ones than this are copied: that costs less than a write of their own.
const SHARED_BYTES_MIN: usize = 16 * 1024;

/// What a session woke up for.
#[derive(Debug)]
pub enum Event {
    /// Bytes came from the client.
    Client,
    /// The client closed its side: it may still hear.
    ClientLeft,
    /// The client's socket failed.
    ClientGone,
    /// Bytes came from the server.
    Server,
    /// The server closed its side, or its socket failed.
    ServerGone(io::Error),
    /// There is room for more bytes to the server, or to the client, where there was none.
    Room,
}

/// Bytes by side and direction.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Read from the client.
    pub from_client: usize,
    /// Written to the client.
    pub to_client: usize,
    /// Read from servers.
    pub from_server: usize,
    /// Written to servers.
    pub to_server: usize,
}

/// A client's socket and the bytes under way on both sides.
#[derive(Debug)]
pub struct Io {
    /// The client.
    pub client: Stream,
    /// From the client, not handled yet.
    pub from_client: Buffer,
    /// To the client, made here.
    pub to_client: Buffer,
    /// To the client after `to_client`, shared with others and so not copied; until it is written, nothing may follow.
    shared: VecDeque<Bytes>,
    /// From the server: `approved` bytes for the client, then what was not looked at yet.
    pub from_server: Buffer,
    /// Bytes at the front of `from_server` that go to the client after `to_client`.
    pub approved: usize,
    /// To the server.
    pub to_server: Buffer,
    /// Bytes read and written since they were last counted.
    pub traffic: Traffic,
    client_unflushed: bool,
    server_unflushed: bool,
}

impl Io {
    /// Nothing under way but what came with the login.
    pub fn new(client: Stream, unread: &[u8]) -> Self {
        let mut from_client = Buffer::default();
        if !unread.is_empty() {
            from_client.extend(unread);
        }
        Self {
            client,
            from_client,
            to_client: Buffer::default(),
            shared: VecDeque::new(),
            from_server: Buffer::default(),
            approved: 0,
            to_server: Buffer::default(),
            traffic: Traffic::default(),
            client_unflushed: false,
            server_unflushed: false,
        }
    }

    /// Bytes from the server that nobody has looked at.
    pub fn unscanned(&self) -> &[u8] {
        self.from_server.bytes().get(self.approved..).unwrap_or_default()
    }

    /// Removes `count` bytes that follow the approved ones: they are not for the client.
    pub fn drop_unscanned(&mut self, count: usize) {
        self.settle_approved();
        self.from_server.consume(count);
    }

    /// Copies what is approved into `to_client`, so that other bytes can follow it.
    pub fn settle_approved(&mut self) {
        if self.approved > 0 {
            self.to_client.extend(&self.from_server.bytes()[..self.approved]);
            self.from_server.consume(self.approved);
            self.approved = 0;
        }
    }

    /// Whether anything waits to be written to the client.
    pub fn owes_client(&self) -> bool {
        !self.to_client.is_empty() || self.is_sharing() || self.approved > 0 || self.client_unflushed
    }

    /// Gives the client bytes that others have, too: long ones as they are.
    pub fn share(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES_MIN && !self.is_sharing() {
            self.to_client.extend(bytes);
        } else {
            self.shared.push_back(bytes.clone());
        }
    }

    /// Whether shared bytes wait to be written.
    pub fn is_sharing(&self) -> bool {
        !self.shared.is_empty()
    }

    /// Writes what can be written, then reads from one side. `listen` says whether the client may be read.
    pub fn poll_event(
        &mut self,
        server: Option<&mut Stream>,
        listen: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Event> {
        let (full, sharing) = (self.is_full(), self.is_sharing());
        if self.poll_write_client(cx).is_err() {
            return Poll::Ready(Event::ClientGone);
        }
        if sharing && !self.is_sharing() {
            return Poll::Ready(Event::Room);
        }
        if let Some(server) = server {
            if let Err(error) = self.poll_write_server(server, cx) {
                // What the server said before it closed is worth more than the failed write.
                return match self.poll_read_server(server, cx) {
                    Poll::Ready(Event::Server) => Poll::Ready(Event::Server),
                    _ => Poll::Ready(Event::ServerGone(error)),
                };
            }
            if full && !self.is_full() {
                return Poll::Ready(Event::Room);
            }
            let room = self.approved == 0 && self.to_client.len() < TO_CLIENT_MAX;
            if room && let Poll::Ready(event) = self.poll_read_server(server, cx) {
                return Poll::Ready(event);
            }
        }
        if listen && !full {
            match self.from_client.poll_fill(&mut self.client, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Event::ClientLeft),
                Poll::Ready(Err(_)) => return Poll::Ready(Event::ClientGone),
                Poll::Ready(Ok(count)) => {
                    self.traffic.from_client += count;
                    return Poll::Ready(Event::Client);
                }
                Poll::Pending => self.from_client.release(),
            }
        }
        Poll::Pending
    }

    /// While the session waits for a connection: writes what the client is owed, and reads ahead to see whether it stays.
    /// Ready when it does not.
    pub fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.poll_write_client(cx).is_err() {
            return Poll::Ready(Event::ClientGone);
        }
        while self.from_client.len() < AHEAD_BYTES_MAX {
            match self.from_client.poll_fill(&mut self.client, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Event::ClientLeft),
                Poll::Ready(Err(_)) => return Poll::Ready(Event::ClientGone),
                Poll::Ready(Ok(count)) => self.traffic.from_client += count,
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    /// Whether so much waits for the server that nothing more may be added.
    pub fn is_full(&self) -> bool {
        self.to_server.len() >= TO_SERVER_MAX
    }

    /// Writes all that the client is owed.
    pub fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_write_client(cx) {
            Ok(()) if self.owes_client() => Poll::Pending,
            outcome => Poll::Ready(outcome),
        }
    }

    fn poll_read_server(&mut self, server: &mut Stream, cx: &mut Context<'_>) -> Poll<Event> {
        match self.from_server.poll_fill(server, cx) {
            Poll::Ready(Ok(0)) => Poll::Ready(Event::ServerGone(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Err(error)) => Poll::Ready(Event::ServerGone(error)),
            Poll::Ready(Ok(count)) => {
                self.traffic.from_server += count;
                Poll::Ready(Event::Server)
            }
            Poll::Pending => {
                self.from_server.release();
                Poll::Pending
            }
        }
    }

    fn poll_write_server(&mut self, server: &mut Stream, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.to_server.is_empty() {
            match self.to_server.poll_drain(server, cx) {
                Poll::Ready(Ok(count)) => {
                    self.traffic.to_server += count;
                    self.server_unflushed = server.is_tls();
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
        self.to_server.release();
        flush(server, &mut self.server_unflushed, cx)
    }

    fn poll_write_client(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.to_client.is_empty() {
            match self.to_client.poll_drain(&mut self.client, cx) {
                Poll::Ready(Ok(count)) => self.note_sent(count),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
        self.to_client.release();
        while let Some(bytes) = self.shared.front_mut() {
            match Pin::new(&mut self.client).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    bytes.advance(count);
                    if bytes.is_empty() {
                        self.shared.pop_front();
                    }
                    self.note_sent(count);
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
        while self.approved > 0 {
            let approved = &self.from_server.bytes()[..self.approved];
            match Pin::new(&mut self.client).poll_write(cx, approved) {
                Poll::Ready(Ok(count)) => {
                    self.from_server.consume(count);
                    self.approved -= count;
                    self.note_sent(count);
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
        self.from_server.release();
        flush(&mut self.client, &mut self.client_unflushed, cx)
    }

    fn note_sent(&mut self, count: usize) {
        self.traffic.to_client += count;
        self.client_unflushed = self.client.is_tls();
    }
}

fn flush(stream: &mut Stream, unflushed: &mut bool, cx: &mut Context<'_>) -> io::Result<()> {
    if *unflushed {
        match Pin::new(stream).poll_flush(cx) {
            Poll::Ready(outcome) => {
                outcome?;
                *unflushed = false;
            }
            Poll::Pending => {}
        }
    }
    Ok(())
}
