//! A connection to a server, logged in: what it is, what it has prepared and set, and whether it still lives.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use lru::LruCache;
use tokio::sync::Notify;

use super::config::Address;
use super::settings::Settings;
use crate::transport::buffer::Buffer;
use crate::transport::config::ServerTls;
use crate::transport::stream::Stream;

/// What a cancel request needs to know, and how many of them are under way.
#[derive(Debug)]
pub struct CancelTarget {
    /// The server's address.
    pub address: Address,
    /// TLS towards it.
    pub tls: ServerTls,
    /// `BackendKeyData`: process id.
    pub process_id: i32,
    /// `BackendKeyData`: secret key, 4 to 256 bytes.
    pub secret: Bytes,
    under_way: AtomicUsize,
    doubtful: AtomicBool,
    ended: Notify,
}

impl CancelTarget {
    /// A target with no cancel under way.
    pub fn new(address: Address, tls: ServerTls, process_id: i32, secret: Bytes) -> Self {
        let (under_way, doubtful) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { address, tls, process_id, secret, under_way, doubtful, ended: Notify::new() }
    }

    /// Whether a cancel is under way: the connection may serve nobody else until it has ended.
    pub fn is_held(&self) -> bool {
        self.under_way.load(Ordering::Acquire) > 0
    }

    /// Nobody knows any more when a cancel will arrive.
    pub fn doubt(&self) {
        self.doubtful.store(true, Ordering::Release);
    }

    /// Whether a cancel may still arrive that nobody waits for: the connection may serve nobody else.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Acquire)
    }

    /// Waits until no cancel is under way.
    pub async fn released(&self) {
        loop {
            let ended = self.ended.notified();
            if !self.is_held() {
                return;
            }
            ended.await;
        }
    }
}

/// Holds a cancel's target for as long as the cancel is under way.
#[derive(Debug)]
pub struct CancelHold(Arc<CancelTarget>);

impl CancelHold {
    /// Holds `target`. Taken under the same lock that says whose statement it runs.
    pub fn new(target: &Arc<CancelTarget>) -> Self {
        target.under_way.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(target))
    }

    /// The target.
    pub fn target(&self) -> &Arc<CancelTarget> {
        &self.0
    }
}

impl Drop for CancelHold {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
        self.0.ended.notify_waiters();
    }
}

/// What stands under a statement's global name on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The statement.
    Taken,
    /// The statement, something else, or nothing: to be closed before it is used again.
    Unknown,
}

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub stream: Stream,
    /// Bytes that came while nobody used the connection: asynchronous messages.
    pub unread: Buffer,
    /// For cancel requests.
    pub cancel: Arc<CancelTarget>,
    /// Values of the settings that the server reports, by name.
    pub reported: Vec<(Bytes, Bytes)>,
    /// Settings changed since login.
    pub settings: Arc<Settings>,
    /// Statements prepared here under their global names, by number; bounded.
    pub prepared: LruCache<u64, Place>,
    /// Number of the unnamed statement here; 0 when there is none.
    pub unnamed: u64,
    /// Statement names to close before anything else is sent.
    pub to_close: Vec<Bytes>,
    /// The server's generation at connect.
    pub generation: u64,
    /// Worker whose runtime drives the socket.
    pub worker: usize,
    /// When it was logged in.
    pub since: Instant,
    /// When it came back to its pool.
    pub idle_since: Instant,
}

impl Connection {
    /// A connection just logged in.
    pub fn new(stream: Stream, cancel: CancelTarget, prepared_max: usize) -> Self {
        let now = Instant::now();
        Self {
            stream,
            unread: Buffer::default(),
            cancel: Arc::new(cancel),
            reported: Vec::new(),
            settings: Settings::default().intern(),
            prepared: LruCache::new(NonZeroUsize::new(prepared_max).unwrap_or(NonZeroUsize::MIN)),
            unnamed: 0,
            to_close: Vec::new(),
            generation: 0,
            worker: 0,
            since: now,
            idle_since: now,
        }
    }

    /// Notes a reported setting.
    pub fn note_reported(&mut self, name: &[u8], value: &[u8]) {
        match self.reported.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = Bytes::copy_from_slice(value),
            None => self.reported.push((Bytes::copy_from_slice(name), Bytes::copy_from_slice(value))),
        }
    }

    /// Looks, without waiting and without a system call where nothing has come, whether the server closed the
    /// connection or said something fatal while nobody used it.
    pub fn is_alive(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            match self.unread.poll_fill(&mut self.stream, &mut cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(0) | Err(_)) => return false,
                Poll::Ready(Ok(_)) => {}
            }
        }
        // Only ParameterStatus, NoticeResponse and NotificationResponse may come unasked.
        let mut rest = self.unread.bytes();
        while let Ok(Some(header)) = pointsman_wire::frame::Header::peek(rest) {
            if !matches!(header.tag, b'S' | b'N' | b'A') {
                return false;
            }
            rest = rest.get(header.frame_len()..).unwrap_or_default();
        }
        if self.unread.is_empty() {
            self.unread.release();
        }
        true
    }
}
